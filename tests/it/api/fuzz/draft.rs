//! Requests to be: one as the contract describes it, then twisted, not at all, once or twice.
//!
//! A draft names things that exist by number only, since their ids are made by the run; what is sent is
//! written out by the world, which knows them.

use proptest::{prelude::*, sample::select};
use reqwest::Method;
use serde_json::Value;

use super::{
    contract::{Contract, Operation, Parameter, Place},
    multipart::{self, Form},
    values::{Change, change, changed, fitting, given, text},
};

/// What is put in for a parameter.
#[derive(Clone, Debug)]
pub enum Argument {
    /// One of the things that exist.
    Existing(usize),
    /// This text.
    Text(String),
    /// This, without being encoded.
    Raw(&'static str),
}

/// What the caller shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Access {
    /// What opens the operation.
    Right,
    /// The key of another tenant.
    Other,
    /// This header, or none: opens nothing.
    Wrong(Option<&'static [u8]>),
}

#[derive(Clone, Debug)]
pub struct Draft {
    pub operation: usize,
    pub method: Method,
    pub path: Argument,
    pub query: Vec<(String, Argument)>,
    /// Put at the end of the query string as it is.
    pub tail: &'static str,
    pub headers: Vec<(String, Vec<u8>)>,
    pub access: Access,
    pub media_type: Option<String>,
    pub body: Vec<u8>,
    /// Whether the contract says what is to become of the body.
    pub judged: bool,
}

/// One thing done to a draft.
#[derive(Clone, Debug)]
enum Twist {
    Path(Argument),
    Method(&'static str),
    Argument(usize, Argument),
    DropArgument(usize),
    RepeatArgument(usize),
    UnknownArgument(String, Argument),
    Tail(&'static str),
    Access(Access),
    Header(&'static str, &'static [u8]),
    MediaType(Option<&'static str>),
    Json(usize, Change),
    Insert(usize, &'static [u8]),
    Cut(usize),
    Body(Vec<u8>),
    Form(Form),
}

/// Requests for an operation.
pub fn drafts(contract: &Contract, number: usize) -> BoxedStrategy<Draft> {
    let twists = prop_oneof![
        4 => Just(Vec::new()),
        5 => prop::collection::vec(twist(&contract.operations[number]), 1..3),
    ];
    (straight(contract, number), twists).prop_map(|(draft, twists)| twists.iter().fold(draft, twisted)).boxed()
}

/// Whether things exist that such a parameter can name.
fn names_things(parameter: &Parameter) -> bool {
    matches!(parameter.name.as_str(), "id" | "job_id" | "cursor" | "collection")
}

fn argument(contract: &Contract, parameter: &Parameter) -> BoxedStrategy<Argument> {
    let plain = |value: Value| match value {
        Value::String(text) => text,
        // In a query string there are no fractions.
        value => value.as_f64().filter(|_| value.is_f64()).map_or(value.to_string(), |whole| format!("{whole:.0}")),
    };
    let made = fitting(contract, &parameter.schema).prop_map(move |value| Argument::Text(plain(value)));
    if names_things(parameter) {
        return prop_oneof![3 => (0..64_usize).prop_map(Argument::Existing), 1 => made].boxed();
    }
    made.boxed()
}

/// Requests as the contract describes them.
fn straight(contract: &Contract, number: usize) -> BoxedStrategy<Draft> {
    let operation = &contract.operations[number];
    let arguments = |place: Place| {
        let one = |parameter: &Parameter| {
            let name = parameter.name.clone();
            given(parameter.required, 0.4, argument(contract, parameter))
                .prop_map(move |argument| Some((name.clone(), argument?)))
        };
        let list: Vec<_> = operation.at(place).map(one).collect();
        list.prop_map(|list| list.into_iter().flatten().collect::<Vec<_>>())
    };
    let method = operation.method.clone();
    let parts = (arguments(Place::Path), arguments(Place::Query), arguments(Place::Header), body(contract, operation));
    parts
        .prop_map(move |(path, query, headers, (media_type, body))| Draft {
            operation: number,
            method: method.clone(),
            path: path.into_iter().map(|(_, argument)| argument).next().unwrap_or(Argument::Raw("")),
            query,
            tail: "",
            headers: headers.into_iter().filter_map(|(name, argument)| header(name, argument)).collect(),
            access: Access::Right,
            media_type,
            body,
            judged: true,
        })
        .boxed()
}

/// A header's value; now and then a key that was used before.
fn header(name: String, argument: Argument) -> Option<(String, Vec<u8>)> {
    let Argument::Text(text) = argument else { return None };
    let again = name == "Idempotency-Key" && text.len() % 3 == 0;
    let value = if again { format!("key-{}", text.len() % 7) } else { text };
    Some((name, value.into()))
}

fn body(contract: &Contract, operation: &Operation) -> BoxedStrategy<(Option<String>, Vec<u8>)> {
    let mut options = Vec::new();
    if !operation.body_required {
        options.push(Just((None, Vec::new())).boxed());
    }
    for content in &operation.contents {
        options.push(match content.media_type.as_str() {
            "multipart/form-data" => multipart::forms(),
            media_type => {
                let media_type = media_type.to_owned();
                fitting(contract, &content.schema)
                    .prop_map(move |value| (Some(media_type.clone()), value.to_string().into()))
                    .boxed()
            }
        });
    }
    proptest::strategy::Union::new(options).boxed()
}

/// Ids and other texts that no route should stumble over.
fn hostile() -> BoxedStrategy<Argument> {
    let raw = [
        "%",
        "%zz",
        "%00",
        "%0d%0aset-cookie:x",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e%2f",
        "a%2Fb",
        "a/b",
        "",
        "%u0041",
        "+",
        "a+b",
        "*",
        "'%20or%201=1--",
        "7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "01arz3ndektsv4rrffq69g5fav",
        "01ARZ3NDEKTSV4RRFFQ69G5FAU",
        "deadbeef",
        "0000",
    ];
    prop_oneof![
        1 => select(vec!["%FF", "%C3%28", "%ED%A0%80"]).prop_map(Argument::Raw),
        2 => select(raw.to_vec()).prop_map(Argument::Raw),
        1 => text().prop_map(Argument::Text),
        1 => (0..64_usize).prop_map(Argument::Existing),
        1 => select(vec!["-1", "0", "1.5", "1e3", "99999999999999999999", "007", " 5", "null", "true"]).prop_map(Argument::Raw),
    ]
    .boxed()
}

const HEADERS: [(&str, &[u8]); 24] = [
    ("idempotency-key", b""),
    ("idempotency-key", b"\""),
    ("idempotency-key", b"\"open"),
    ("idempotency-key", b"\"a\"b\""),
    ("idempotency-key", b"\"a\\x\""),
    ("idempotency-key", b"a\tb"),
    ("idempotency-key", b"\xff\xfe"),
    ("idempotency-key", b"key-1"),
    ("idempotency-key", &[b'k'; 256]),
    ("idempotency-key", &[b'k'; 6_000]),
    ("last-event-id", b""),
    ("last-event-id", b"-1"),
    ("last-event-id", b"0x1"),
    ("last-event-id", b"18446744073709551616"),
    ("last-event-id", b"\xc3\x28"),
    ("last-event-id", b"0"),
    ("x-request-id", b"\xff"),
    ("x-request-id", b"a b\"c"),
    ("traceparent", b"00-0-0-0"),
    ("accept", b"application/xml"),
    ("accept-encoding", b"gzip, br;q=0"),
    ("range", b"bytes=0-1"),
    ("if-none-match", b"*"),
    ("x-http-method-override", b"DELETE"),
];

const BODIES: [&[u8]; 18] = [
    b"",
    b"null",
    b"{}",
    b"[]",
    b"\"x\"",
    b"NaN",
    b"{\"query\":",
    b"{'query':'x'}",
    b"{\"query\":\"\\ud800\"}",
    b"{\"query\":\"\\udc00 and \\ud83d\\ude00\"}",
    b"{\"query\":\"\\u0000\"}",
    b"{\"query\":\"a\",\"query\":\"b\"}",
    b"{\"query\":\"a\",\"metadata\":{\"n\":1e999}}",
    b"{\"query\":\"a\",\"metadata\":{\"n\":123456789012345678901234567890}}",
    b"\xef\xbb\xbf{\"query\":\"a\"}",
    b"{\"query\":\"caf\xe9\"}",
    b"{\"title\":\"t\",\"text\":\"a\\u0000b\"}",
    b"{\"query\":\"a\"} {\"query\":\"b\"}",
];

fn twist(operation: &Operation) -> BoxedStrategy<Twist> {
    let access = [
        Access::Other,
        Access::Wrong(None),
        Access::Wrong(Some(b"")),
        Access::Wrong(Some(b"Bearer")),
        Access::Wrong(Some(b"Bearer ")),
        Access::Wrong(Some(b"Bearer wrong")),
        Access::Wrong(Some(b"Basic b3BlbjpzZXNhbWU=")),
        Access::Wrong(Some(b"Bearer \xff\xfe")),
        Access::Wrong(Some(&[b'x'; 5_000])),
    ];
    let media_types = [
        None,
        Some(""),
        Some("text/plain"),
        Some("application/json; charset=latin1"),
        Some("application/problem+json"),
        Some("multipart/form-data"),
        Some("multipart/form-data; boundary="),
        Some("multipart/form-data; boundary=other"),
        Some("application/x-www-form-urlencoded"),
        Some("application/json, text/html"),
        Some("/"),
    ];
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND"];
    let tails =
        ["&", "&&", "=", "&=x", "&a", "&%FF=1", "&%", "&x=%zz", "&query=%ff", ";a=b", "&limit=1&limit=2", "&=", "#x"];
    let inserts: [&[u8]; 8] = [b"\\ud800", b"\xff", b"\xef\xbb\xbf", b"\0", b"\"", b"{", b",", b"\r\n--"];
    let deep = |(open, times): (&str, usize)| Twist::Body(open.repeat(times).into());
    let nested = |depth: usize| {
        let metadata = "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth);
        Twist::Body(format!("{{\"query\":\"q\",\"metadata\":{metadata}}}").into())
    };
    let anywhere = prop_oneof![
        3 => (0..8_usize, hostile()).prop_map(|(which, argument)| Twist::Argument(which, argument)),
        1 => (0..8_usize).prop_map(Twist::DropArgument),
        1 => (0..8_usize).prop_map(Twist::RepeatArgument),
        1 => (text(), hostile()).prop_map(|(name, argument)| Twist::UnknownArgument(name, argument)),
        1 => select(tails.to_vec()).prop_map(Twist::Tail),
        2 => select(access.to_vec()).prop_map(Twist::Access),
        2 => select(HEADERS.to_vec()).prop_map(|(name, value)| Twist::Header(name, value)),
        1 => select(methods.to_vec()).prop_map(Twist::Method),
        1 => select(BODIES.to_vec()).prop_map(|body| Twist::Body(body.to_vec())),
    ];
    let in_path = hostile().prop_map(Twist::Path);
    let in_body = prop_oneof![
        8 => (any::<usize>(), change()).prop_map(|(place, change)| Twist::Json(place, change)),
        2 => select(BODIES.to_vec()).prop_map(|body| Twist::Body(body.to_vec())),
        3 => select(media_types.to_vec()).prop_map(Twist::MediaType),
        1 => (any::<usize>(), select(inserts.to_vec())).prop_map(|(place, bytes)| Twist::Insert(place, bytes)),
        1 => any::<usize>().prop_map(Twist::Cut),
        2 => select(vec![("[", 10_000), ("{\"a\":", 5_000), ("x", 300_000)]).prop_map(deep),
        1 => select(vec![50_usize, 120, 130, 3_000]).prop_map(nested),
    ];
    let mut kinds = vec![(2, anywhere.boxed())];
    if operation.path.contains('{') {
        kinds.push((1, in_path.boxed()));
    }
    if !operation.contents.is_empty() {
        kinds.push((2, in_body.boxed()));
    }
    if operation.content("multipart/form-data").is_some() {
        kinds.push((1, multipart::odd_forms().prop_map(Twist::Form).boxed()));
    }
    proptest::strategy::Union::new_weighted(kinds).boxed()
}

fn twisted(mut draft: Draft, twist: &Twist) -> Draft {
    let which = |number: usize, draft: &Draft| (!draft.query.is_empty()).then(|| number % draft.query.len());
    match twist {
        Twist::Path(argument) => draft.path = argument.clone(),
        Twist::Method(method) => draft.method = method.parse().unwrap(),
        Twist::Argument(number, argument) => match which(*number, &draft) {
            Some(at) => draft.query[at].1 = argument.clone(),
            None => draft.query.push(("limit".into(), argument.clone())),
        },
        Twist::DropArgument(number) => {
            which(*number, &draft).map(|at| draft.query.remove(at));
        }
        Twist::RepeatArgument(number) => {
            let again = which(*number, &draft).map(|at| draft.query[at].clone());
            draft.query.extend(again);
        }
        Twist::UnknownArgument(name, argument) => draft.query.push((name.clone(), argument.clone())),
        Twist::Tail(tail) => draft.tail = tail,
        Twist::Access(access) => draft.access = access.clone(),
        Twist::Header(name, value) => draft.headers.push(((*name).into(), value.to_vec())),
        Twist::MediaType(media_type) => draft.media_type = media_type.map(Into::into),
        Twist::Json(place, change) => {
            if let Ok(value) = serde_json::from_slice(&draft.body) {
                draft.body = changed(value, *place, change).to_string().into();
            }
        }
        Twist::Insert(place, bytes) => {
            let at = place % (draft.body.len() + 1);
            draft.body.splice(at..at, bytes.iter().copied());
        }
        Twist::Cut(place) => draft.body.truncate(place % (draft.body.len() + 1)),
        Twist::Body(body) => draft.body.clone_from(body),
        Twist::Form(form) => (draft.media_type, draft.body) = form.clone(),
    }
    let of_the_body =
        matches!(twist, Twist::MediaType(_) | Twist::Insert(..) | Twist::Cut(_) | Twist::Body(_) | Twist::Form(_));
    let is_form = |media_type: &String| media_type.starts_with("multipart/");
    if of_the_body && draft.media_type.as_ref().is_some_and(is_form) {
        draft.judged = false;
    }
    draft
}
