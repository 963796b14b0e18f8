//! Multipart bodies, sound ones and such as only a broken or ill-meaning client sends.

use proptest::{prelude::*, sample::select};

const BOUNDARY: &str = "a-boundary";

/// A part: the lines of its head, and what is in it.
type Part = (String, Vec<u8>);

fn file() -> impl Strategy<Value = Part> {
    let name =
        prop_oneof![4 => "[a-z]{1,8}\\.(md|txt|html)", 1 => "[a-z]{1,4}/[a-z]{1,4}\\.md", 1 => "[a-z]{1,8}\\.exe"];
    let content = prop_oneof![4 => "[a-z]{1,9}[a-z \n]{0,40}", 1 => Just(String::new())];
    (name, content).prop_map(|(name, content)| {
        (format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\""), content.into())
    })
}

fn collection() -> impl Strategy<Value = Part> {
    "[A-Za-z0-9._-]{1,20}"
        .prop_map(|name| ("Content-Disposition: form-data; name=\"collection\"".to_owned(), name.into()))
}

/// Heads that hardly anybody sends.
fn odd() -> impl Strategy<Value = Part> {
    let heads = [
        "",
        "X: y",
        "Content-Disposition: form-data",
        "Content-Disposition: form-data; name=\"file\"; filename=\"\"",
        "Content-Disposition: form-data; name=\"tag\"",
        "Content-Disposition: attachment; filename=\"a.md\"",
        "Content-Disposition: form-data; name=\"file\"; filename=\"../../etc/passwd.md\"",
        "Content-Disposition: form-data; name=\"file\"; filename=\"a\u{1}b.md\"",
        "Content-Disposition: form-data; name=\"file\"; filename=\"\u{202e}dm.exe.md\"",
        "Content-Disposition: form-data; name=\"file\"; filename=\"a\\\"b.md\"",
        "Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''%e2%82%ac.md",
        "Content-Disposition: form-data; name=\"collection\"; filename=\"a.md\"",
        "Content-Disposition: form-data; name=\"file\"; filename=\"a.pdf\"\r\nContent-Type: multipart/mixed; boundary=x",
        "Content-Disposition: form-data; name=\"file\"; filename=\"unclosed.md",
        "no colon at all",
    ];
    let contents: [&[u8]; 5] = [b"", b"text", b"\xff\xfe\0\0", b"%PDF-1.7\n", b"PK\x03\x04"];
    let long = Just(format!("Content-Disposition: form-data; name=\"file\"; filename=\"{}.md\"", "x".repeat(600)));
    let heads = prop_oneof![8 => select(heads.to_vec()).prop_map(str::to_owned), 1 => long];
    (heads, select(contents.to_vec())).prop_map(|(head, content)| (head, content.to_vec()))
}

fn written(parts: &[Part], end: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (head, content) in parts {
        body.extend(format!("--{BOUNDARY}\r\n{head}\r\n\r\n").into_bytes());
        body.extend(content);
        body.extend(b"\r\n");
    }
    body.extend(end.as_bytes());
    body
}

/// The content type with the body.
pub type Form = (Option<String>, Vec<u8>);

fn form(body: Vec<u8>) -> Form {
    (Some(format!("multipart/form-data; boundary={BOUNDARY}")), body)
}

/// Forms as the contract describes them.
pub fn forms() -> BoxedStrategy<Form> {
    let parts = (prop::option::of(collection()), prop::collection::vec(file(), 1..4));
    let end = format!("--{BOUNDARY}--\r\n");
    parts
        .prop_map(move |(collection, files)| {
            form(written(&collection.into_iter().chain(files).collect::<Vec<_>>(), &end))
        })
        .boxed()
}

/// Forms of which anything may become, but no defect.
pub fn odd_forms() -> BoxedStrategy<Form> {
    let end = select(vec![
        "--a-boundary--\r\n",
        "--a-boundary--",
        "--a-boundary\r\n",
        "--a-bound",
        "",
        "--a-boundary--\r\n trailing",
    ]);
    let some = prop::collection::vec(prop_oneof![odd().boxed(), file().boxed(), collection().boxed()], 0..4);
    let many = (odd(), select(vec![1_000_usize, 1_001])).prop_map(|(part, times)| vec![part; times]);
    let parts = prop_oneof![12 => some, 1 => many];
    (parts, end).prop_map(|(parts, end)| form(written(&parts, end))).boxed()
}
