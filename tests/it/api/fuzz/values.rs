//! Values made from schemas, and values that fit none.
//!
//! A value made from a schema always fits it; edges (shortest, longest, smallest, largest, characters that
//! look like nothing) come far more often than chance would have it.

use std::{fmt, sync::Arc};

use jsonschema::Validator;
use proptest::{prelude::*, sample::select, string::string_regex};
use serde_json::{Map, Number, Value, json};

use super::contract::{Contract, resolved};

/// Characters that programs stumble over: controls, white space in disguise, marks of direction, wide ones.
const ODD: [char; 20] = [
    '\0',
    '\t',
    '\n',
    '\u{1b}',
    '\u{7f}',
    '\u{85}',
    '\u{a0}',
    '\u{200b}',
    '\u{2028}',
    '\u{202e}',
    '\u{3000}',
    '\u{feff}',
    '\u{fffd}',
    '\u{ffff}',
    '\u{1f600}',
    '\u{301}',
    '"',
    '\\',
    '/',
    'é',
];

/// Any text, odd ones often.
pub fn text() -> BoxedStrategy<String> {
    let odd = prop::collection::vec(select(&ODD[..]), 0..4);
    prop_oneof![
        3 => "[a-z0-9 ]{0,12}",
        3 => odd.prop_map(String::from_iter),
        3 => ".{0,12}",
        1 => (select(vec!['a', 'é', '\u{1f600}']), select(vec![99_usize, 200, 501, 2_001, 17_000]))
            .prop_map(|(c, times)| c.to_string().repeat(times)),
    ]
    .boxed()
}

/// Any number that can be written in JSON.
fn number() -> BoxedStrategy<Value> {
    let edges = [
        json!(0),
        json!(-1),
        json!(1),
        json!(51),
        json!(501),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1.5),
        json!(-0.0),
        json!(5.0),
        json!(1e300),
        json!(9_007_199_254_740_993_u64),
    ];
    prop_oneof![select(edges.to_vec()), any::<i64>().prop_map(Value::from)].boxed()
}

/// Any JSON.
pub fn anything() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        3 => number(),
        4 => text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
    .boxed()
}

/// What must be given always is, anything else with this probability.
pub fn given<T: fmt::Debug + Clone + 'static>(
    required: bool,
    else_with: f64,
    value: BoxedStrategy<T>,
) -> BoxedStrategy<Option<T>> {
    if required { value.prop_map(Some).boxed() } else { prop::option::weighted(else_with, value).boxed() }
}

/// Values that fit the schema.
pub fn fitting(contract: &Contract, schema: &Value) -> BoxedStrategy<Value> {
    let schema = resolved(&contract.document, schema);
    if let Some(words) = schema["enum"].as_array() {
        return select(words.clone()).boxed();
    }
    if let Some(options) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        return one_of(options.iter().map(|option| fitting(contract, option)));
    }
    match &schema["type"] {
        Value::Array(kinds) => one_of(kinds.iter().map(|kind| {
            let mut single = schema.clone();
            single["type"] = kind.clone();
            fitting(contract, &single)
        })),
        Value::String(kind) => match kind.as_str() {
            "null" => Just(Value::Null).boxed(),
            "boolean" => any::<bool>().prop_map(Value::from).boxed(),
            "integer" => integer(schema),
            "number" => fraction(schema),
            "string" => string(schema),
            "array" => array(contract, schema),
            "object" => object(contract, schema),
            other => panic!("the generator does not know the type {other}"),
        },
        _ => panic!("the generator does not know {schema}"),
    }
}

fn one_of(options: impl Iterator<Item = BoxedStrategy<Value>>) -> BoxedStrategy<Value> {
    proptest::strategy::Union::new(options).boxed()
}

fn integer(schema: &Value) -> BoxedStrategy<Value> {
    let low = schema["minimum"].as_u64().unwrap_or(0);
    let high = schema["maximum"].as_u64().unwrap_or(i64::MAX as u64);
    // JSON knows no integers: 5.0 is one.
    let whole = Number::from_f64(low as f64).unwrap();
    prop_oneof![
        3 => (low..=high).prop_map(Value::from),
        3 => (low..=high.min(low + 5)).prop_map(Value::from),
        1 => Just(Value::from(high)),
        1 => Just(Value::Number(whole)),
    ]
    .boxed()
}

fn fraction(schema: &Value) -> BoxedStrategy<Value> {
    let low = schema["minimum"].as_f64().unwrap_or(0.0);
    let high = schema["maximum"].as_f64().unwrap_or(1e15);
    prop_oneof![3 => (low..=high).prop_map(Value::from), 1 => select(vec![low, high]).prop_map(Value::from)].boxed()
}

fn string(schema: &Value) -> BoxedStrategy<Value> {
    let made = match schema["pattern"].as_str() {
        Some(pattern) => patterned(pattern),
        None => text(),
    };
    let longest = schema["maxLength"].as_u64().unwrap_or(64) as usize;
    // As long as it may be, now and then.
    let stretched = (made, prop::bool::weighted(0.1)).prop_map(move |(text, long)| {
        if long && !text.is_empty() { text.chars().cycle().take(longest).collect() } else { text }
    });
    let fits = Arc::new(jsonschema::validator_for(schema).unwrap());
    stretched.prop_map(Value::from).prop_filter("it fits", move |text| Validator::is_valid(&fits, text)).boxed()
}

/// Texts that a pattern finds; around a pattern without anchors there may be anything.
fn patterned(pattern: &str) -> BoxedStrategy<String> {
    let inside = pattern.trim_start_matches('^').trim_end_matches('$');
    let made = string_regex(inside).expect("the generator knows the pattern");
    let around = |anchored: bool| if anchored { Just(String::new()).boxed() } else { text() };
    let parts = (around(pattern.starts_with('^')), made, around(pattern.ends_with('$')));
    parts.prop_map(|(before, made, after)| before + &made + &after).boxed()
}

fn array(contract: &Contract, schema: &Value) -> BoxedStrategy<Value> {
    let least = schema["minItems"].as_u64().unwrap_or(0) as usize;
    prop::collection::vec(fitting(contract, &schema["items"]), least..least + 3).prop_map(Value::from).boxed()
}

fn object(contract: &Contract, schema: &Value) -> BoxedStrategy<Value> {
    let Some(properties) = schema["properties"].as_object() else {
        let members = prop::collection::vec((text(), anything()), 0..3);
        return members.prop_map(|members| Value::Object(members.into_iter().collect())).boxed();
    };
    let required = |name: &String| schema["required"].as_array().is_some_and(|list| list.contains(&json!(name)));
    let member = |(name, schema): (&String, &Value)| {
        let value = given(required(name), 0.25, fitting(contract, schema));
        let name = name.clone();
        value.prop_map(move |value| Some((name.clone(), value?)))
    };
    let members: Vec<_> = properties.iter().map(member).collect();
    members.prop_map(|members| Value::Object(members.into_iter().flatten().collect::<Map<_, _>>())).boxed()
}

/// The same JSON with one thing in it changed: `place` picks the value to change.
pub fn changed(mut value: Value, place: usize, change: &Change) -> Value {
    let mut count = 0;
    each(&mut value, &mut |_| count += 1);
    let (chosen, mut at) = (place % count, 0);
    each(&mut value, &mut |node| {
        if at == chosen {
            apply(node, change);
        }
        at += 1;
    });
    value
}

/// A change to one value.
#[derive(Clone, Debug)]
pub enum Change {
    Replace(Value),
    RemoveMember(usize),
    AddMember(String, Value),
    Wrap,
}

pub fn change() -> BoxedStrategy<Change> {
    prop_oneof![
        4 => anything().prop_map(Change::Replace),
        2 => (0..8_usize).prop_map(Change::RemoveMember),
        2 => (text(), anything()).prop_map(|(name, value)| Change::AddMember(name, value)),
        1 => Just(Change::Wrap),
    ]
    .boxed()
}

fn each(value: &mut Value, visit: &mut impl FnMut(&mut Value)) {
    // Inside first: what is put in place of a value is not visited.
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| each(item, visit)),
        Value::Object(members) => members.values_mut().for_each(|member| each(member, visit)),
        _ => {}
    }
    visit(value);
}

fn apply(node: &mut Value, change: &Change) {
    match (change, node) {
        (Change::Replace(other), node) => *node = other.clone(),
        (Change::RemoveMember(which), Value::Object(members)) => {
            let name = members.keys().nth(which % members.len().max(1)).cloned();
            name.map(|name| members.remove(&name));
        }
        (Change::AddMember(name, value), Value::Object(members)) => {
            members.insert(name.clone(), value.clone());
        }
        (Change::Wrap | Change::RemoveMember(_) | Change::AddMember(..), node) => *node = json!([node.take()]),
    }
}
