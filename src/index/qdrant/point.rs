//! What a point in Qdrant is: its id, its payload, and how documents become points and points become passages.
//!
//! Each chunk of a version is a point with its text and everything a passage needs. The normalised text is kept
//! in pieces, each a point without vectors; piece 0 is the seal of its version: it is written last, says how
//! many pieces there are, and that a version is complete. Every point of a version carries the version's
//! `content` (a hash of all of it), by which what an earlier write left is told apart.

use std::collections::HashMap;

use qdrant_client::qdrant::{Condition, Filter, PointId, Value, value::Kind};

use crate::domain::{
    answer::Passage,
    document::Chunk,
    failure::{Code, Failure},
    ids::{Collection, DocumentId, Tenant},
};

pub(super) const TENANT: &str = "tenant";
pub(super) const COLLECTION: &str = "collection";
pub(super) const DOCUMENT: &str = "document_id";
pub(super) const VERSION: &str = "version";
pub(super) const CONTENT: &str = "content";
pub(super) const LANGUAGE: &str = "language";
pub(super) const TITLE: &str = "title";
pub(super) const SOURCE: &str = "source";
pub(super) const CHUNK: &str = "chunk";
pub(super) const HEADINGS: &str = "headings";
pub(super) const START: &str = "start";
pub(super) const END: &str = "end";
pub(super) const TEXT: &str = "text";
pub(super) const EMBEDDING_MODEL: &str = "embedding_model";
pub(super) const PIECE: &str = "piece";
pub(super) const PIECES: &str = "pieces";

/// The fields of a point.
pub(super) type Payload = HashMap<String, Value>;

/// What a point holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The chunk of this number.
    Chunk(u32),
    /// The piece of text of this number.
    Piece(u32),
}

/// One version of a document, as points name it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'n> {
    pub(super) tenant: &'n Tenant,
    pub(super) id: &'n DocumentId,
    pub(super) version: u64,
}

impl Name<'_> {
    /// The id of the point with this part: the same each time, so that writing twice is as writing once.
    pub(super) fn point(&self, part: Part) -> PointId {
        let mut hasher = blake3::Hasher::new();
        let mut field = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        field(self.tenant.as_str().as_bytes());
        field(self.id.as_str().as_bytes());
        field(&self.version.to_le_bytes());
        let (kind, number) = match part {
            Part::Chunk(number) => (0_u8, number),
            Part::Piece(number) => (1, number),
        };
        field(&[kind]);
        field(&number.to_le_bytes());
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        PointId::from(uuid(bytes))
    }

    /// All points of this version.
    pub(super) fn filter(&self) -> Filter {
        let mut filter = every_version(self.tenant, self.id);
        filter.must.push(Condition::matches(VERSION, self.version.cast_signed()));
        filter
    }
}

/// All points of a document.
pub(super) fn every_version(tenant: &Tenant, id: &DocumentId) -> Filter {
    let mut filter = scope(tenant, None);
    filter.must.push(Condition::matches(DOCUMENT, id.as_str().to_owned()));
    filter
}

/// All points of a tenant, or of one of its collections.
pub(super) fn scope(tenant: &Tenant, collection: Option<&Collection>) -> Filter {
    let mut conditions = vec![Condition::matches(TENANT, tenant.as_str().to_owned())];
    conditions.extend(collection.map(|name| Condition::matches(COLLECTION, name.as_str().to_owned())));
    Filter::must(conditions)
}

/// The bytes as a UUID of version 8, which is for hashes of one's own choice (RFC 9562, section 5.8).
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// The passage that a found point is.
pub(super) fn passage(mut payload: Payload, score: f32) -> Result<Passage, Failure> {
    Ok(Passage {
        document_id: text(&mut payload, DOCUMENT)?.into(),
        version: number(&payload, VERSION)?,
        title: text(&mut payload, TITLE)?,
        source: if payload.contains_key(SOURCE) { Some(text(&mut payload, SOURCE)?) } else { None },
        collection: text(&mut payload, COLLECTION)?.into(),
        chunk: number(&payload, CHUNK)?,
        headings: texts(&mut payload, HEADINGS)?,
        start: number(&payload, START)?,
        end: number(&payload, END)?,
        text: text(&mut payload, TEXT)?,
        score,
    })
}

/// The chunk that a point is.
pub(super) fn chunk(mut payload: Payload) -> Result<Chunk, Failure> {
    Ok(Chunk {
        ordinal: number(&payload, CHUNK)?,
        start: number(&payload, START)?,
        end: number(&payload, END)?,
        headings: texts(&mut payload, HEADINGS)?,
        text: text(&mut payload, TEXT)?,
    })
}

/// Takes a text out of the payload.
pub(super) fn text(payload: &mut Payload, key: &str) -> Result<String, Failure> {
    match payload.remove(key).and_then(|value| value.kind) {
        Some(Kind::StringValue(text)) => Ok(text),
        _ => Err(foreign(key)),
    }
}

/// Reads a number in the payload.
pub(super) fn number<N: TryFrom<i64>>(payload: &Payload, key: &str) -> Result<N, Failure> {
    match payload.get(key).and_then(|value| value.kind.as_ref()) {
        Some(Kind::IntegerValue(number)) => N::try_from(*number).map_err(|_| foreign(key)),
        _ => Err(foreign(key)),
    }
}

fn texts(payload: &mut Payload, key: &str) -> Result<Vec<String>, Failure> {
    let Some(Kind::ListValue(list)) = payload.remove(key).and_then(|value| value.kind) else {
        return Err(foreign(key));
    };
    let each = list.values.into_iter().map(|value| match value.kind {
        Some(Kind::StringValue(text)) => Ok(text),
        _ => Err(foreign(key)),
    });
    each.collect()
}

fn foreign(key: &str) -> Failure {
    let message = format!("a point in the Qdrant collection has no sound `{key}`: ragq did not write it");
    Failure::new(Code::IndexMismatch, message)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_part_has_the_same_id_each_time_and_no_other_has_it() {
        let id = |tenant: &str, document: &str, version, part| {
            let (tenant, id) = (tenant.into(), document.into());
            format!("{:?}", Name { tenant: &tenant, id: &id, version }.point(part))
        };
        assert_eq!(id("a", "b", 1, Part::Chunk(0)), id("a", "b", 1, Part::Chunk(0)));
        let others = [
            id("a", "b", 1, Part::Chunk(0)),
            id("a", "b", 1, Part::Chunk(1)),
            id("a", "b", 1, Part::Piece(0)),
            id("a", "b", 2, Part::Chunk(0)),
            id("ab", "", 1, Part::Chunk(0)),
            id("", "ab", 1, Part::Chunk(0)),
        ];
        assert_eq!(others.iter().collect::<HashSet<_>>().len(), others.len());
    }

    #[test]
    fn an_id_is_a_uuid_of_version_eight() {
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-8fff-bfff-ffffffffffff");
        assert_eq!(uuid([0; 16]), "00000000-0000-8000-8000-000000000000");
    }

    #[test]
    fn a_point_of_somebody_else_is_refused_naming_the_field() {
        let failure = chunk(HashMap::from([(CHUNK.to_owned(), Value::from("one"))])).unwrap_err();
        assert!(failure.message.contains("`chunk`"), "{failure}");
        assert!(passage(Payload::new(), 1.0).is_err());
    }
}
