//! Documents of every format as people write them.

use ragq::domain::document::Format;

use super::{
    good,
    make::{self, docx, paragraph, pdf, table},
};

#[tokio::test]
async fn markdown_is_kept_and_its_headings_name_the_chunks() {
    let long = "A sentence of the part on installing. ".repeat(12);
    let source =
        format!("\u{feff}# Guide\r\n\r\nWelcome.\r\n\r\n## Install\r\n\r\n{long}\r\n\r\n## Use\r\n\r\n{long}\r\n");
    let read = good(Format::Markdown, source.as_bytes()).await;
    assert_eq!(read.title.as_deref(), Some("Guide"));
    assert_eq!(read.text, source.trim_start_matches('\u{feff}').replace("\r\n", "\n").trim_end());
    let last = read.chunks.last().unwrap();
    assert_eq!(last.headings, ["Guide", "Use"]);
}

#[tokio::test]
async fn a_front_matter_title_is_used_when_no_heading_is_one() {
    let read = good(Format::Markdown, "---\ntitle: \"From the front\"\n---\n\nText.\n").await;
    assert_eq!(read.title.as_deref(), Some("From the front"));
}

#[tokio::test]
async fn plain_text_of_any_encoding_comes_out_as_utf8() {
    let utf16: Vec<u8> = "\u{feff}Größe".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(good(Format::Text, utf16).await.text, "Größe");
    assert_eq!(good(Format::Text, &b"Gr\xf6\xdfe und \xdcbung"[..]).await.text, "Größe und Übung");
}

#[tokio::test]
async fn html_keeps_headings_lists_tables_and_code_and_drops_the_rest() {
    let html = "<!doctype html><html><head><title>Page &amp; more</title><style>p { color: red }</style></head><body>\
        <nav><ul><li>Home<li>About</ul></nav><h1>Main<a href='#m'>¶</a></h1><p>Hello <b>big</b>\n   world<br>next<p>1 &lt; 2\
        <ul><li>one<li>two<ul><li>deep</ul></ul><ol><li>first<li>second</ol>\
        <table><tr><th>Name<th>Size<tr><td>a|b<td><p>1</p><p>2</p></table>\
        <pre><code class='language-rust'>fn main() {\n    run();\n}\n</code></pre>\
        <table><tr><td><h2>Boxed</h2><p>in a layout table</table><script>alert('<p>no</p>')</script>";
    let read = good(Format::Html, html).await;
    assert_eq!(read.title.as_deref(), Some("Main"));
    assert_eq!(
        read.text,
        "# Main\n\nHello big world\nnext\n\n1 < 2\n\n- one\n- two\n  - deep\n\n1. first\n2. second\n\n\
         | Name | Size |\n| --- | --- |\n| a\\|b | 1 2 |\n\n```rust\nfn main() {\n    run();\n}\n```\n\n\
         ## Boxed\n\nin a layout table"
    );
}

#[tokio::test]
async fn an_html_page_in_a_declared_encoding_is_decoded() {
    let html =
        [&b"<html><head><meta charset='windows-1251'><title>x</title><body><p>"[..], b"\xcf\xf0\xe8\xe2\xe5\xf2"]
            .concat();
    let read = good(Format::Html, html).await;
    assert_eq!((read.text.as_str(), read.title.as_deref()), ("Привет", Some("x")));
}

#[tokio::test]
async fn html_that_is_nothing_but_an_unclosed_navigation_is_not_lost() {
    assert_eq!(good(Format::Html, "<nav><p>All there is</p>").await.text, "All there is");
    assert_eq!(good(Format::Html, "<p>Before</p><nav><a>Menu</a><p>After").await.text, "Before\n\nMenu\n\nAfter");
}

#[tokio::test]
async fn pdf_lines_become_paragraphs_and_pages_blank_lines() {
    let first = "The reconciler compares the wanted state with the state it has ob-\nserved and then takes the small\
                 est step that brings them nearer.";
    let read = good(Format::Pdf, pdf("Operators at work", &[first, "The second page says something else."])).await;
    assert_eq!(read.title.as_deref(), Some("Operators at work"));
    assert_eq!(
        read.text,
        "The reconciler compares the wanted state with the state it has observed and then takes the smallest step \
         that brings them nearer.\n\nThe second page says something else."
    );
}

#[tokio::test]
async fn word_documents_become_markdown_with_headings_and_tables() {
    let body = [
        paragraph("Heading1", "Report"),
        paragraph("", "Revenue rose."),
        paragraph("Heading2", "Figures"),
        table(&[&["Year", "Sum"], &["2024", "12"]]),
    ];
    let read = good(Format::Docx, docx(&body.concat())).await;
    assert_eq!(read.title.as_deref(), Some("Report"));
    for part in ["# Report", "Revenue rose.", "## Figures", "| Year | Sum |", "| 2024 | 12 |"] {
        assert!(read.text.contains(part), "{part} in {}", read.text);
    }
    let plain = good(Format::Docx, docx(&paragraph("", "No heading here."))).await;
    assert_eq!(plain.title.as_deref(), Some("Named inside"));
}

#[tokio::test]
async fn a_term_is_told_from_its_definition() {
    let html = "<dl><dt>-s</dt><dt>--sign <dd>Make a signed tag.</dd><dt>Why?</dt><dd><p>To be sure.</p></dd><dd>And \
                to show it.</dd></dl>";
    let read = good(Format::Html, html.as_bytes()).await;
    assert_eq!(read.text, "-s\n\n--sign:\nMake a signed tag.\n\nWhy?\nTo be sure.\nAnd to show it.");
}

#[tokio::test]
async fn a_word_document_with_a_link_to_nowhere_is_read() {
    let link = "<Relationship Id=\"r9\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/\
                hyperlink\" Target=\"\" TargetMode=\"External\"/>";
    let document = make::main_part(&paragraph("", "Read me all the same."));
    let read = good(Format::Docx, make::docx_with(document.as_bytes(), link)).await;
    assert_eq!(read.text, "Read me all the same.");
    assert_eq!(read.title.as_deref(), Some("Named inside"));
}

#[tokio::test]
async fn the_name_of_the_upload_is_no_title() {
    let read = good(Format::Markdown, "# upload\n\nText.\n").await;
    assert_eq!(read.title, None);
}
