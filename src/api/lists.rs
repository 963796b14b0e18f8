//! Pages of lists: `?limit=&cursor=` and `next_cursor`.
//!
//! A cursor is opaque and carries a check sum, so that a store is only ever given a cursor of its own.

use super::fields::{CURSOR, Fields};
use crate::queue::Page;

const DEFAULT_LIMIT: u64 = 50;
const MAX_LIMIT: u64 = 500;
const CHECK: usize = 8;

/// Which page is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// How many items at most.
    pub limit: usize,
    /// Where it begins.
    pub cursor: Option<String>,
}

fn check(cursor: &str) -> String {
    blake3::hash(cursor.as_bytes()).to_hex()[..CHECK].to_owned()
}

fn hex(text: &str) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    text.bytes().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn unhex(text: &str) -> Option<String> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect::<Option<_>>()?;
    String::from_utf8(bytes).ok()
}

/// A cursor as callers are given it.
pub fn seal(cursor: &str) -> String {
    check(cursor) + &hex(cursor)
}

fn open(sealed: &str) -> Option<String> {
    let (sum, rest) = sealed.split_at_checked(CHECK)?;
    unhex(rest).filter(|cursor| check(cursor) == sum)
}

impl PageRequest {
    /// Reads `limit` and `cursor`.
    pub fn read(fields: &mut Fields) -> Self {
        let limit = fields.integer("limit", 1..=MAX_LIMIT).unwrap_or(DEFAULT_LIMIT) as usize;
        let sealed = fields.text("cursor", CURSOR);
        let cursor = sealed.as_deref().and_then(open);
        if sealed.is_some() && cursor.is_none() {
            fields.fail("cursor", CURSOR.rule);
        }
        Self { limit, cursor }
    }
}

/// A page as callers are given it.
pub fn sealed<T>(page: Page<T>) -> Page<T> {
    Page { items: page.items, next_cursor: page.next_cursor.as_deref().map(seal) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(cursor: &str) -> (PageRequest, bool) {
        let mut fields = Fields::of_query(vec![("cursor".into(), cursor.into())]);
        (PageRequest::read(&mut fields), fields.finish().is_ok())
    }

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        for cursor in ["", "doc_1", "17:Ä/\u{1f600}"] {
            let (page, fine) = read(&seal(cursor));
            assert!(fine);
            assert_eq!(page.cursor.as_deref(), Some(cursor));
        }
    }

    #[test]
    fn a_cursor_that_was_never_given_out_is_refused() {
        let real = seal("doc_1");
        let changed = real.replace('6', "7");
        for bad in ["", "x", "abcdefgh", &real[..real.len() - 1], &changed, "aaaaaaaaé"] {
            assert!(!read(bad).1, "{bad}");
        }
    }
}
