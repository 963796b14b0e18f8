//! Text that must not be seen: keys, tokens, addresses that may hold a password.
//!
//! Printing and serialising show [`MASK`], so that no log line, error or dump of the settings can leak one by
//! accident; [`Secret::expose`] is the one way to the text and easy to search for.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};

/// What is shown in the place of a secret.
pub const MASK: &str = "***";

/// A secret text; an empty one is no secret and is shown as empty.
#[derive(Clone, Default, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the place that sends or compares it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `presented` is the secret; takes the same time wherever the two begin to differ.
    pub fn matches(&self, presented: &str) -> bool {
        // The comparison of hashes is in constant time, and a hash says nothing about how much was right.
        blake3::hash(self.0.as_bytes()) == blake3::hash(presented.as_bytes())
    }

    fn shown(&self) -> &'static str {
        if self.0.is_empty() { "" } else { MASK }
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // `writeOnly` is JSON Schema's word for a value that is never given back; the catalogue goes by it.
        json_schema!({"type": "string", "writeOnly": true})
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed_or_serialised() {
        let secret = Secret::from("swordfish");
        assert_eq!(format!("{secret:?}"), MASK);
        assert_eq!(serde_json::to_value(&secret).unwrap(), MASK);
        assert_eq!(secret.expose(), "swordfish");
    }

    #[test]
    fn a_secret_matches_only_itself() {
        let secret = Secret::from("swordfish");
        assert!(secret.matches("swordfish"));
        for other in ["", "swordfis", "swordfishe", "Swordfish"] {
            assert!(!secret.matches(other), "{other:?}");
        }
    }
}
