//! Which points a filter lets through.

use qdrant_client::qdrant::{Condition, Filter, Value, condition::ConditionOneOf, r#match::MatchValue, value::Kind};
use tonic::Status;

use super::store::{Collection, Point, invalid};

/// A filter that was looked at and can be applied.
pub struct Sieve(Filter);

impl Sieve {
    /// Refuses what this server does not know, and fields without an index.
    pub fn new(filter: Option<Filter>, collection: &Collection) -> Result<Self, Status> {
        let filter = filter.unwrap_or_default();
        if !filter.should.is_empty() || filter.min_should.is_some() {
            return Err(invalid("should is not known here"));
        }
        for condition in filter.must.iter().chain(&filter.must_not) {
            match &condition.condition_one_of {
                Some(ConditionOneOf::Field(field)) if field.r#match.is_some() => {
                    if !collection.indexes.contains_key(&field.key) {
                        return Err(Status::permission_denied(format!(
                            "Index required but not found for {}",
                            field.key
                        )));
                    }
                }
                Some(ConditionOneOf::HasVector(_)) => {}
                other => return Err(invalid(&format!("{other:?} is not known here"))),
            }
        }
        Ok(Self(filter))
    }

    pub fn lets_through(&self, point: &Point) -> bool {
        self.0.must.iter().all(|condition| holds(condition, point))
            && !self.0.must_not.iter().any(|condition| holds(condition, point))
    }
}

fn holds(condition: &Condition, point: &Point) -> bool {
    match &condition.condition_one_of {
        Some(ConditionOneOf::Field(field)) => {
            let wanted = field.r#match.as_ref().and_then(|wanted| wanted.match_value.as_ref());
            point.payload.get(&field.key).is_some_and(|value| wanted.is_some_and(|wanted| matches(value, wanted)))
        }
        Some(ConditionOneOf::HasVector(vector)) => point.dense.contains_key(&vector.has_vector),
        _ => false,
    }
}

fn matches(value: &Value, wanted: &MatchValue) -> bool {
    match (&value.kind, wanted) {
        (Some(Kind::StringValue(value)), MatchValue::Keyword(wanted)) => value == wanted,
        (Some(Kind::IntegerValue(value)), MatchValue::Integer(wanted)) => value == wanted,
        _ => false,
    }
}
