//! Vectors without a model: each word counts in one dimension, so that texts with the same words lie near each other.
//!
//! They depend on the text alone, on every machine. For drills; nothing is found by them that words would not find.

use murmur3_32::Murmur3;

/// The vector of a text, of length one.
pub(super) fn of(text: &str, dimensions: u32) -> Vec<f32> {
    let mut vector = vec![0.0_f32; dimensions as usize];
    let lower = text.to_lowercase();
    for word in lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let place = Murmur3::hash(0, word.as_bytes()) % dimensions;
        if let Some(value) = vector.get_mut(place as usize) {
            *value += 1.0;
        }
    }
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    match (length == 0.0, vector.first_mut()) {
        // A text without words has a direction too.
        (true, Some(first)) => *first = 1.0,
        _ => vector.iter_mut().for_each(|value| *value /= length),
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    fn likeness(one: &str, other: &str) -> f32 {
        of(one, 256).iter().zip(of(other, 256)).map(|(one, other)| one * other).sum()
    }

    #[test]
    fn texts_with_the_same_words_lie_near_each_other() {
        assert!((likeness("High water, low water.", "low WATER high water") - 1.0).abs() < 1e-5);
        assert!(likeness("the tide table", "the tide of the year") > likeness("the tide table", "a lamp"));
        assert_eq!(of("", 3), [1.0, 0.0, 0.0]);
    }
}
