//! Documents that are damaged, hostile or too large: each is refused for the right reason, alone.

use std::{path::PathBuf, time::Duration};

use rand::{RngExt as _, SeedableRng, rngs::StdRng};

use ragq::{
    domain::{document::Format, failure::Code},
    extract::Extractor,
};

use super::{
    extractor, good,
    make::{docx, docx_of, encrypted_pdf, paragraph, pdf},
    read, refused,
};

const MILLION: usize = 1_000_000;

#[tokio::test]
async fn bytes_of_another_kind_are_refused_before_any_parser_runs() {
    let nowhere = Extractor { program: PathBuf::from("/nonexistent/ragq"), ..extractor() };
    let pdf = pdf("t", &["text"]);
    for (format, bytes, code) in [
        (Format::Pdf, &b"\x89PNG\r\n\x1a\n"[..], Code::DocumentMislabelled),
        (Format::Text, pdf.as_slice(), Code::DocumentMislabelled),
        (Format::Markdown, b"\x7fELF\x02\x01", Code::DocumentMislabelled),
        (Format::Text, b"text\0text", Code::DocumentMislabelled),
        (Format::Text, b"", Code::DocumentEmpty),
        (Format::Html, b" \n\t ", Code::DocumentEmpty),
    ] {
        let failure = nowhere.extract(format, bytes.to_vec(), "x").await.expect_err("is refused");
        assert_eq!(failure.code, code);
    }
}

#[tokio::test]
async fn documents_without_a_word_are_empty() {
    assert_eq!(
        refused(Format::Html, "<html><head><title></title></head><body><img src=x></body>").await,
        Code::DocumentEmpty
    );
    assert_eq!(refused(Format::Text, "\u{feff}\u{2028}\u{a0}").await, Code::DocumentEmpty);
    assert_eq!(refused(Format::Docx, docx("")).await, Code::DocumentEmpty);
    assert_eq!(refused(Format::Pdf, pdf("A scan", &["", ""])).await, Code::DocumentEmpty);
}

#[tokio::test]
async fn a_document_behind_a_password_is_encrypted() {
    assert_eq!(refused(Format::Pdf, encrypted_pdf()).await, Code::DocumentEncrypted);
}

#[tokio::test]
async fn documents_cut_short_are_damaged() {
    let whole = docx(&paragraph("", "Some text that is cut."));
    assert_eq!(refused(Format::Docx, &whole[..whole.len() / 2]).await, Code::DocumentDamaged);
    assert_eq!(refused(Format::Docx, docx_of(b"<w:document><w:body><w:p")).await, Code::DocumentDamaged);
    assert_eq!(refused(Format::Pdf, &pdf("t", &["text"])[..60]).await, Code::DocumentDamaged);
}

#[tokio::test]
async fn nesting_up_to_a_million_levels_ends_the_child_at_most() {
    let quotes = ">".repeat(MILLION) + " text";
    let divs = "<div>".repeat(MILLION) + "deep down";
    let lists = "<ul><li>".repeat(MILLION / 4) + "deep down";
    let tables = "<table><tr><td>".repeat(MILLION / 4) + "deep down";
    assert_eq!(good(Format::Html, divs).await.text, "deep down");
    assert!(good(Format::Html, lists).await.text.ends_with("deep down"));
    assert!(good(Format::Html, tables).await.text.ends_with("deep down"));
    assert!(good(Format::Markdown, quotes).await.text.ends_with("text"));
    let xml = "<w:tbl><w:tr><w:tc>".repeat(MILLION / 10) + &paragraph("", "deep down");
    let code = refused(Format::Docx, docx(&xml)).await;
    assert!(matches!(code, Code::DocumentDamaged | Code::ParserCrashed | Code::DocumentTooLarge), "{code}");
}

#[tokio::test]
async fn corrupted_documents_are_read_or_refused_but_never_blamed_on_the_machine() {
    let mut random = StdRng::seed_from_u64(7);
    let originals = [
        (Format::Pdf, pdf("Title", &["First page of text.", "Second page of text."])),
        (Format::Docx, docx(&paragraph("Heading1", "Heading").repeat(20))),
    ];
    for (format, original) in originals {
        for _ in 0..12 {
            let mut bytes = original.clone();
            for _ in 0..8 {
                let at = random.random_range(8..bytes.len());
                bytes[at] = random.random();
            }
            if let Err(failure) = read(format, bytes).await {
                let known = failure.code.as_str().starts_with("document_") || failure.code == Code::ParserCrashed;
                assert!(known, "{failure}");
            }
        }
    }
}

#[tokio::test]
async fn a_zip_bomb_is_too_large() {
    let bomb = docx_of(&vec![b' '; 64 * 1024 * 1024]);
    assert!(bomb.len() < 1024 * 1024);
    assert_eq!(refused(Format::Docx, bomb).await, Code::DocumentTooLarge);
}

#[tokio::test]
async fn more_text_than_allowed_is_too_large() {
    let small = Extractor { max_text_bytes: 1_000, ..extractor() };
    for format in [Format::Text, Format::Markdown, Format::Html] {
        let failure = small.extract(format, b"word ".repeat(300), "x").await.expect_err("is refused");
        assert_eq!(failure.code, Code::DocumentTooLarge);
        assert!(failure.message.contains("1000 bytes"), "{}", failure.message);
    }
}

#[tokio::test]
async fn too_little_memory_is_told_apart_from_a_crash() {
    let tight = Extractor { memory_bytes: 24 * 1024 * 1024, ..extractor() };
    let failure = tight.extract(Format::Text, b"word ".repeat(10 * MILLION), "x").await.expect_err("is refused");
    assert_eq!(failure.code, Code::ParserMemory, "{failure}");
    assert_eq!(tight.extract(Format::Text, b"small".to_vec(), "x").await.unwrap().text, "small");
}

#[tokio::test]
async fn a_parser_that_does_not_end_in_time_is_ended() {
    let hasty = Extractor { timeout: Duration::from_millis(1), ..extractor() };
    let failure = hasty.extract(Format::Html, b"<p>word</p>".repeat(MILLION), "x").await.expect_err("is refused");
    assert_eq!(failure.code, Code::ParserTimeout, "{failure}");
}

#[tokio::test]
async fn a_program_that_is_missing_or_no_parser_is_not_the_documents_fault() {
    let missing = Extractor { program: PathBuf::from("/nonexistent/ragq"), ..extractor() };
    let failure = missing.extract(Format::Text, b"text".to_vec(), "x").await.expect_err("fails");
    assert_eq!(failure.code, Code::ParserUnavailable);
    for (program, code) in [("/bin/false", Code::ParserCrashed), ("/bin/echo", Code::ParserCrashed)] {
        let other = Extractor { program: PathBuf::from(program), ..extractor() };
        assert_eq!(other.extract(Format::Text, b"text".to_vec(), "x").await.expect_err("fails").code, code);
    }
}

#[tokio::test]
async fn a_bad_document_does_not_disturb_a_good_one_beside_it() {
    let hostile = "<table><tr><td>".repeat(MILLION / 10);
    let (bad, fine, encrypted) = tokio::join!(
        read(Format::Html, hostile),
        good(Format::Markdown, "# Fine\n\nUndisturbed.\n"),
        read(Format::Pdf, encrypted_pdf()),
    );
    assert_eq!(bad.expect_err("holds no text").code, Code::DocumentEmpty);
    assert_eq!(fine.text, "# Fine\n\nUndisturbed.");
    assert_eq!(encrypted.expect_err("is refused").code, Code::DocumentEncrypted);
}

#[tokio::test]
async fn one_line_of_a_megabyte_without_a_space_is_read() {
    let read = good(Format::Text, "abcdefghij".repeat(MILLION / 10)).await;
    assert_eq!(read.text.len(), MILLION);
    assert!(read.chunks.iter().all(|chunk| chunk.text.len() <= 800));
}
