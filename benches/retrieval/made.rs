//! Made-up documents that weigh on an index as real ones do: word frequencies after Zipf and Mandelbrot, the most
//! frequent being English stop words, documents with topics; vectors in clusters. The same number, the same text.

use rand::{RngExt as _, SeedableRng, rngs::StdRng};

const WORDS: usize = 200_000;
const TOPICS: u64 = 1_000;
pub const DIMENSIONS: usize = 384;
pub const CHUNKS_PER_DOCUMENT: usize = 10;
const WORDS_PER_CHUNK: usize = 125;

/// The made-up language.
pub struct Language {
    words: Vec<String>,
    cumulated: Vec<f64>,
    stop_words: usize,
}

impl Language {
    pub fn new() -> Self {
        let mut words: Vec<String> = stop_words::get("en").iter().map(|word| (*word).to_owned()).collect();
        words.retain(|word| !word.contains('\''));
        let stop_words = words.len();
        let mut rng = StdRng::seed_from_u64(1);
        while words.len() < WORDS {
            words.push(invented(&mut rng));
        }
        let mut sum = 0.0;
        let cumulated = (0..WORDS).map(|rank| {
            sum += 1.0 / (rank as f64 + 2.7).powf(1.05);
            sum
        });
        Self { cumulated: cumulated.collect(), words, stop_words }
    }

    fn word(&self, rng: &mut StdRng) -> usize {
        let at = rng.random::<f64>() * self.cumulated[WORDS - 1];
        self.cumulated.partition_point(|sum| *sum < at).min(WORDS - 1)
    }

    /// The text of a chunk.
    pub fn chunk(&self, number: u64) -> String {
        let mut rng = StdRng::seed_from_u64(number + 1_000_000);
        let topic = number / CHUNKS_PER_DOCUMENT as u64 % TOPICS;
        let mut text = String::new();
        for n in 0..WORDS_PER_CHUNK {
            // Every eighth word belongs to the document's topic.
            let word = if n % 8 == 7 {
                let mut topical = StdRng::seed_from_u64(topic * 64 + rng.random_range(0..64));
                self.stop_words + topical.random_range(0..20_000)
            } else {
                self.word(&mut rng)
            };
            text.push_str(&self.words[word]);
            text.push_str(if n % 14 == 13 { ". " } else { " " });
        }
        text
    }

    /// A question about a chunk: six of its words that are no stop words, in a sentence.
    pub fn question(&self, chunk: u64) -> String {
        let text = self.chunk(chunk);
        let mut rng = StdRng::seed_from_u64(chunk);
        let stop_words = &self.words[..self.stop_words];
        let telling: Vec<&str> = text.split([' ', '.']).filter(|word| word.len() > 1).collect();
        let telling: Vec<&str> =
            telling.into_iter().filter(|word| !stop_words.iter().any(|stop_word| stop_word == word)).collect();
        let mut pick = || telling[rng.random_range(0..telling.len())];
        format!("what are the {} and {} of the {} {} when a {} is {}", pick(), pick(), pick(), pick(), pick(), pick())
    }
}

fn invented(rng: &mut StdRng) -> String {
    const ONSETS: [&str; 16] = ["b", "c", "d", "f", "g", "l", "m", "n", "p", "r", "s", "t", "v", "st", "tr", "pl"];
    const ENDS: [&str; 12] = ["a", "e", "i", "o", "u", "an", "er", "in", "or", "al", "is", "on"];
    let syllables = rng.random_range(2..=4);
    (0..syllables)
        .flat_map(|_| [ONSETS[rng.random_range(0..ONSETS.len())], ENDS[rng.random_range(0..ENDS.len())]])
        .collect()
}

/// The vector of a chunk: around its topic's.
pub fn vector(chunk: u64) -> Vec<f32> {
    let topic = chunk / CHUNKS_PER_DOCUMENT as u64 % TOPICS;
    mixed(topic, chunk + 5_000_000, 1.0)
}

/// The vector of a question about a chunk: near the chunk's, not the same.
pub fn question_vector(chunk: u64) -> Vec<f32> {
    let noise = random(chunk + 9_000_000);
    vector(chunk).iter().zip(noise).map(|(x, y)| x + 0.7 * y).collect()
}

fn mixed(topic: u64, seed: u64, share: f32) -> Vec<f32> {
    random(topic + 3_000_000).into_iter().zip(random(seed)).map(|(x, y)| x + share * y).collect()
}

/// A random direction, length about one.
fn random(seed: u64) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    let spread = (3.0 / DIMENSIONS as f32).sqrt();
    (0..DIMENSIONS).map(|_| rng.random_range(-spread..spread)).collect()
}
