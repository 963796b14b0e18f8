//! From bytes in any encoding to normalised text.
//!
//! The order of trust: a byte order mark, valid UTF-8, the encoding that HTML declares, UTF-8 with a few
//! broken bytes, a guess (`chardetng`, which falls back to Windows-1252).

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8};

/// Decodes and normalises; `declared` is an encoding's label found in the document.
pub(super) fn text(bytes: &[u8], declared: Option<&[u8]>) -> String {
    let decoded = decode(bytes, declared);
    normalise(&decoded)
}

fn decode<'a>(bytes: &'a [u8], declared: Option<&[u8]>) -> Cow<'a, str> {
    if let Some((encoding, _)) = Encoding::for_bom(bytes) {
        return encoding.decode(bytes).0;
    }
    let declared = declared.and_then(Encoding::for_label);
    // The only encoding in use whose bytes are valid UTF-8 and mean something else.
    let seven_bit = declared.is_some_and(|encoding| encoding == encoding_rs::ISO_2022_JP);
    if !seven_bit && let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    if let Some(encoding) = declared
        && encoding != UTF_8
    {
        return encoding.decode_without_bom_handling(bytes).0;
    }
    if mostly_utf8(bytes) {
        return String::from_utf8_lossy(bytes);
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes, true);
    detector.guess(None, Utf8Detection::Deny).decode_without_bom_handling(bytes).0
}

/// Whether far more of the bytes beyond ASCII are well-formed UTF-8 than not: one bad byte in a large
/// document must not turn all its umlauts into rubbish.
fn mostly_utf8(bytes: &[u8]) -> bool {
    let (mut good, mut bad) = (0_usize, 0_usize);
    for chunk in bytes.utf8_chunks() {
        good += chunk.valid().len() - chunk.valid().bytes().filter(u8::is_ascii).count();
        bad += chunk.invalid().len();
    }
    good > 8 * bad
}

/// The encoding that an HTML document declares for itself in its first bytes: `charset=` of a `<meta>` or
/// `encoding=` of an XML declaration.
pub(super) fn declared_in_html(bytes: &[u8]) -> Option<&[u8]> {
    let head = &bytes[..bytes.len().min(4096)];
    ["charset", "encoding"].iter().find_map(|word| label_after(head, word.as_bytes()))
}

fn label_after<'a>(head: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let at = head.windows(word.len()).position(|window| window.eq_ignore_ascii_case(word))?;
    let rest = head[at + word.len()..].trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let rest = rest.strip_prefix(b"\"").or_else(|| rest.strip_prefix(b"'")).unwrap_or(rest);
    let end = rest.iter().position(|byte| !(byte.is_ascii_alphanumeric() || b"-_:.".contains(byte)));
    let label = &rest[..end.unwrap_or(rest.len())];
    (!label.is_empty()).then_some(label)
}

/// Lines ended by `\n`; no byte order marks, soft hyphens or control characters; a form feed is a blank
/// line; terminal escapes and overstruck characters (as manual pages have them) are resolved.
pub(super) fn normalise(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' => {
                if chars.peek() != Some(&'\n') {
                    out.push('\n');
                }
            }
            '\u{c}' => out.push_str("\n\n"),
            '\u{2028}' | '\u{2029}' | '\u{85}' | '\u{b}' => out.push('\n'),
            '\u{8}' => {
                if !out.ends_with('\n') {
                    out.pop();
                }
            }
            '\u{1b}' => {
                if chars.next_if_eq(&'[').is_some() {
                    while chars.next_if(|c| matches!(c, '\u{20}'..='\u{3f}')).is_some() {}
                    chars.next_if(|c| matches!(c, '\u{40}'..='\u{7e}'));
                }
            }
            '\u{feff}' | '\u{ad}' => {}
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_comes_out_as_the_same_text() {
        let want = "Größe – 5 €";
        let utf16 = |big: bool| -> Vec<u8> {
            let units = std::iter::once('\u{feff}').chain(want.chars()).collect::<String>();
            units.encode_utf16().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
        };
        let windows = encoding_rs::WINDOWS_1252.encode(want).0.into_owned();
        for (name, bytes) in [
            ("utf-8", want.as_bytes().to_vec()),
            ("utf-8 with mark", [b"\xef\xbb\xbf", want.as_bytes()].concat()),
            ("utf-16le", utf16(false)),
            ("utf-16be", utf16(true)),
            ("windows-1252", windows),
        ] {
            assert_eq!(text(&bytes, None), want, "{name}");
        }
        let koi = encoding_rs::KOI8_R.encode("Привет, мир").0.into_owned();
        assert_eq!(text(&koi, Some(b"koi8-r")), "Привет, мир");
    }

    #[test]
    fn one_broken_byte_does_not_spoil_the_rest() {
        let bytes = ["Straße, Größe, Übung, Ärger, Öl".as_bytes(), b"\xff"].concat();
        assert_eq!(text(&bytes, None), "Straße, Größe, Übung, Ärger, Öl\u{fffd}");
    }

    #[test]
    fn lines_controls_escapes_and_overstrikes_are_normalised() {
        assert_eq!(normalise("a\r\nb\rc\u{c}d"), "a\nb\nc\n\nd");
        assert_eq!(
            normalise("N\u{8}NA\u{8}AM\u{8}ME\u{8}E \u{1b}[1mbold\u{1b}[0m soft\u{ad}ly\0\u{7f}"),
            "NAME bold softly"
        );
    }

    #[test]
    fn html_names_its_encoding_in_several_ways() {
        for html in [
            "<meta charset=\"iso-8859-2\">",
            "<META HTTP-EQUIV='Content-Type' content='text/html; Charset = iso-8859-2'>",
            "<?xml version=\"1.0\" encoding='iso-8859-2'?>",
        ] {
            assert_eq!(declared_in_html(html.as_bytes()), Some(&b"iso-8859-2"[..]), "{html}");
        }
        assert_eq!(declared_in_html(b"<p>charset</p>"), None);
    }
}
