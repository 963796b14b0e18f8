//! Estimates of token counts, for budgets that need no exact figure.

/// What a message of a chat takes beside its text, for who says it and where it ends.
pub const OF_MESSAGE: usize = 4;

/// About how many tokens a model makes of `text`, rather too many than too few.
///
/// English runs at about four characters a token in the common byte-pair encodings, other scripts at one
/// to two; an exact count would need each provider's own vocabulary.
pub fn estimate(text: &str) -> usize {
    let (ascii, other) =
        text.chars().fold(
            (0, 0),
            |(ascii, other), character| {
                if character.is_ascii() { (ascii + 1, other) } else { (ascii, other + 1) }
            },
        );
    (ascii as usize).div_ceil(4) + (other as usize * 2).div_ceil(3)
}

/// The longest beginning of `text` that is estimated at no more than `budget` tokens, cut between characters.
pub fn clip(text: &str, budget: usize) -> &str {
    if estimate(text) <= budget {
        return text;
    }
    let mut twelfths = budget * 12;
    for (at, character) in text.char_indices() {
        let cost = if character.is_ascii() { 3 } else { 8 };
        if cost > twelfths {
            return &text[..at];
        }
        twelfths -= cost;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clipped_text_fits_its_budget() {
        for text in ["plain words of English", "Grüße aus Köln — schön", "東京都の人口", ""] {
            for budget in 0..8 {
                let clipped = clip(text, budget);
                assert!(text.starts_with(clipped));
                assert!(estimate(clipped) <= budget + 1, "{clipped:?} {budget}");
            }
        }
    }
}
