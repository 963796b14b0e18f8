//! How a closed set of words is described in the API's schema.

use utoipa::openapi::{
    RefOr, Schema,
    schema::{ObjectBuilder, Type},
};

/// One of these words.
pub fn one_of(words: impl Iterator<Item = &'static str>) -> RefOr<Schema> {
    let words: Vec<&str> = words.collect();
    RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build()))
}
