//! Citation markers in a streamed answer: `[n]` stays only where n is a passage's number.
//!
//! Works on deltas of any size, so that what readers of the stream see is what the result holds. Text in
//! Markdown code is left alone: there `a[0]` is no citation.

use std::collections::BTreeSet;

/// Filters an answer as it comes.
#[derive(Debug)]
pub struct MarkerFilter {
    passages: usize,
    cited: BTreeSet<usize>,
    /// What may turn out to belong to a marker: spaces, then `[`, digits, commas.
    held: String,
    /// Length of the run of backticks being read.
    ticks: usize,
    /// Length of the run that opened the code we are in; 0 outside code.
    code: usize,
    after_newline: bool,
}

/// A number however long: one that no machine word holds is no passage's number either.
fn parse(digits: &str) -> Option<usize> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(usize::MAX))
}

impl MarkerFilter {
    /// A filter for an answer from `passages` passages.
    pub fn new(passages: usize) -> Self {
        Self { passages, cited: BTreeSet::new(), held: String::new(), ticks: 0, code: 0, after_newline: false }
    }

    /// Takes the next piece of the answer; returns what can be shown already.
    pub fn push(&mut self, delta: &str) -> String {
        let mut shown = String::with_capacity(delta.len() + self.held.len());
        for character in delta.chars() {
            self.step(character, &mut shown);
        }
        shown
    }

    /// The answer is whole; returns the rest of it and the numbers of the passages it cites.
    pub fn finish(mut self) -> (String, Vec<usize>) {
        let rest = std::mem::take(&mut self.held);
        (rest, self.cited.into_iter().collect())
    }

    fn step(&mut self, character: char, shown: &mut String) {
        self.count_ticks(character);
        if self.code > 0 {
            shown.push_str(&std::mem::take(&mut self.held));
            shown.push(character);
            return;
        }
        let open = self.held.contains('[');
        match character {
            ' ' if !open => self.held.push(' '),
            '[' if !open => self.held.push('['),
            '0'..='9' | ',' | ' ' if open && self.held.len() < 64 => self.held.push(character),
            ']' if open => self.close(shown),
            _ => {
                shown.push_str(&std::mem::take(&mut self.held));
                // A second opening bracket begins a marker of its own.
                if character == '[' { self.held.push('[') } else { shown.push(character) }
            }
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

    /// Decides on the marker in `held`, whose closing bracket has just come.
    fn close(&mut self, shown: &mut String) {
        let held = std::mem::take(&mut self.held);
        let at = held.find('[').unwrap_or(held.len());
        let inside = &held[at.saturating_add(1).min(held.len())..];
        let numbers: Option<Vec<usize>> = inside.split(',').map(|number| parse(number.trim())).collect();
        let Some(numbers) = numbers else {
            shown.push_str(&held);
            shown.push(']');
            return;
        };
        let kept: Vec<usize> = numbers.into_iter().filter(|number| (1..=self.passages).contains(number)).collect();
        if kept.is_empty() {
            // The spaces before a removed marker go with it: "so [9]." becomes "so.".
            return;
        }
        shown.push_str(&held[..at]);
        for number in kept {
            self.cited.insert(number);
            shown.push_str(&format!("[{number}]"));
        }
    }
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
    }
}
