//! Citation markers: `[n]`, or several numbers in one pair of brackets, with the spaces before.
//!
//! In a streamed answer a marker stays only where n is a passage's number. Works on deltas of any size, so that what
//! readers of the stream see is what the result holds. Text in Markdown code is left alone: there `a[0]` is no
//! citation.

use std::{collections::BTreeSet, iter::repeat_n};

/// What stands between the brackets of a marker is at most so many bytes long.
const LONGEST: usize = 64;

/// Finds the markers of a text that comes character by character.
#[derive(Debug, Default)]
struct Scanner {
    /// How many spaces came last: they go with the marker that may follow.
    spaces: usize,
    /// What has come of what may turn out to be a marker: digits, commas, spaces behind a bracket.
    inside: Option<String>,
    /// Length of the run of backticks being read.
    ticks: usize,
    /// Length of the run that opened the code we are in; 0 outside code.
    code: usize,
    after_newline: bool,
}

/// A marker that was found.
struct Marker {
    /// How many spaces stand before it.
    spaces: usize,
    numbers: Vec<usize>,
}

/// A number however long: one that no machine word holds is no passage's number either.
fn parse(digits: &str) -> Option<usize> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(usize::MAX))
}

impl Scanner {
    /// Takes the next character; adds to `text` what is no part of a marker, and says when a marker is whole.
    fn step(&mut self, character: char, text: &mut String) -> Option<Marker> {
        self.count_ticks(character);
        if self.code > 0 {
            self.let_go(text);
            text.push(character);
            return None;
        }
        match (&mut self.inside, character) {
            (None, ' ') => self.spaces += 1,
            (None, '[') => self.inside = Some(String::new()),
            (Some(inside), '0'..='9' | ',' | ' ') if inside.len() < LONGEST => inside.push(character),
            (Some(inside), ']') => {
                let numbers: Option<Vec<usize>> = inside.split(',').map(|number| parse(number.trim())).collect();
                if let Some(numbers) = numbers {
                    self.inside = None;
                    return Some(Marker { spaces: std::mem::take(&mut self.spaces), numbers });
                }
                self.let_go(text);
                text.push(']');
            }
            (_, character) => {
                self.let_go(text);
                // A second opening bracket begins a marker of its own.
                if character == '[' { self.inside = Some(String::new()) } else { text.push(character) }
            }
        }
        None
    }

    /// What was held back is no marker.
    fn let_go(&mut self, text: &mut String) {
        text.extend(repeat_n(' ', std::mem::take(&mut self.spaces)));
        if let Some(inside) = self.inside.take() {
            text.push('[');
            text.push_str(&inside);
        }
    }

    /// A run of n backticks opens code that the next run of n closes (`CommonMark`, "code spans").
    fn count_ticks(&mut self, character: char) {
        // Code within a line ends with its paragraph at the latest, so that a stray backtick does no harm.
        if character == '\n' && self.after_newline && self.code < 3 {
            self.code = 0;
        }
        self.after_newline = character == '\n';
        if character == '`' {
            self.ticks += 1;
        } else if self.ticks > 0 {
            self.code = match self.code {
                0 => self.ticks,
                opened if opened == self.ticks => 0,
                opened => opened,
            };
            self.ticks = 0;
        }
    }
}

/// Filters an answer as it comes.
#[derive(Debug)]
pub struct MarkerFilter {
    passages: usize,
    cited: BTreeSet<usize>,
    scanner: Scanner,
}

impl MarkerFilter {
    /// A filter for an answer from `passages` passages.
    pub fn new(passages: usize) -> Self {
        Self { passages, cited: BTreeSet::new(), scanner: Scanner::default() }
    }

    /// Takes the next piece of the answer; returns what can be shown already.
    pub fn push(&mut self, delta: &str) -> String {
        let mut shown = String::with_capacity(delta.len());
        for character in delta.chars() {
            if let Some(marker) = self.scanner.step(character, &mut shown) {
                self.show(marker, &mut shown);
            }
        }
        shown
    }

    /// The answer is whole; returns the rest of it and the numbers of the passages it cites.
    pub fn finish(mut self) -> (String, Vec<usize>) {
        let mut rest = String::new();
        self.scanner.let_go(&mut rest);
        (rest, self.cited.into_iter().collect())
    }

    fn show(&mut self, Marker { spaces, numbers }: Marker, shown: &mut String) {
        let mut kept = numbers.into_iter().filter(|number| (1..=self.passages).contains(number)).peekable();
        // The spaces before a removed marker go with it: "so [9]." becomes "so.".
        if kept.peek().is_some() {
            shown.extend(repeat_n(' ', spaces));
        }
        for number in kept {
            self.cited.insert(number);
            shown.push_str(&format!("[{number}]"));
        }
    }
}

/// The text without its markers and the spaces before them, and where these stood: their numbers, each with a place in
/// what is left, in order.
pub fn without_markers(text: &str) -> (String, Vec<(usize, usize)>) {
    let (mut plain, mut markers) = (String::with_capacity(text.len()), Vec::new());
    let mut scanner = Scanner::default();
    for character in text.chars() {
        if let Some(marker) = scanner.step(character, &mut plain) {
            markers.extend(marker.numbers.into_iter().map(|number| (number, plain.len())));
        }
    }
    scanner.let_go(&mut plain);
    (plain, markers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(text: &str, passages: usize) -> (String, Vec<usize>) {
        let mut filter = MarkerFilter::new(passages);
        let mut shown = filter.push(text);
        let (rest, cited) = filter.finish();
        shown.push_str(&rest);
        (shown, cited)
    }

    #[test]
    fn markers_without_a_passage_go_and_the_others_stay() {
        for (text, expected, cited) in [
            ("Yes [1]. No [9].", "Yes [1]. No.", vec![1]),
            ("Both [1, 2] and [2,7].", "Both [1][2] and [2].", vec![1, 2]),
            ("[0] and [99999999999999999999999]", " and", vec![]),
            ("a stray ` here\n\nand [9] [1]", "a stray ` here\n\nand [1]", vec![1]),
            ("a [link](x) and [note] [ ] []", "a [link](x) and [note] [ ] []", vec![]),
            ("[[2]] [3", "[[2]] [3", vec![2]),
            ("`a[7]` and ```\nb[8]\n``` [7]", "`a[7]` and ```\nb[8]\n```", vec![]),
        ] {
            assert_eq!(whole(text, 3), (expected.to_owned(), cited), "{text}");
        }
    }

    #[test]
    fn a_text_is_told_apart_from_its_markers() {
        for (text, plain, markers) in [
            ("Yes [1]. No [2, 3] [9]", "Yes. No", vec![(1, 3), (2, 7), (3, 7), (9, 7)]),
            ("[1] `a[7]` b[x] [", " `a[7]` b[x] [", vec![(1, 0)]),
        ] {
            assert_eq!(without_markers(text), (plain.to_owned(), markers), "{text}");
        }
    }

    proptest! {
        #[test]
        fn how_the_answer_is_cut_into_deltas_does_not_matter(text in "[\\[\\]0-9, `ab\n]{0,40}", cut in 1_usize..5) {
            let mut filter = MarkerFilter::new(3);
            let mut shown = String::new();
            let characters: Vec<char> = text.chars().collect();
            for piece in characters.chunks(cut) {
                shown.push_str(&filter.push(&piece.iter().collect::<String>()));
            }
            let (rest, cited) = filter.finish();
            shown.push_str(&rest);
            prop_assert_eq!((shown, cited), whole(&text, 3));
        }

        #[test]
        fn what_is_left_without_markers_is_what_a_filter_without_passages_shows(text in "[\\[\\]0-9, `ab\n]{0,40}") {
            let (plain, markers) = without_markers(&text);
            prop_assert_eq!(&plain, &whole(&text, 0).0);
            prop_assert!(markers.iter().all(|(_, at)| plain.is_char_boundary(*at)) && markers.is_sorted_by_key(|it| it.1));
        }
    }
}
