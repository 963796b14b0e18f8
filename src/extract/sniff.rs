//! What a document is, by its name and a first look at its bytes: refuses without parsing.

use crate::domain::{
    document::Format,
    failure::{Code, Failure},
};

/// The extensions that are read.
const EXTENSIONS: &[(&str, Format)] = &[
    ("md", Format::Markdown),
    ("markdown", Format::Markdown),
    ("txt", Format::Text),
    ("text", Format::Text),
    ("html", Format::Html),
    ("htm", Format::Html),
    ("pdf", Format::Pdf),
    ("docx", Format::Docx),
];

/// First bytes that give away what a file is, whatever it is called.
const SIGNATURES: &[(&[u8], &str)] = &[
    (b"%PDF-", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"RIFF", "a media file"),
    (b"OggS", "a media file"),
    (b"ID3\x03", "a media file"),
    (b"ID3\x04", "a media file"),
    (b"\x7fELF", "a program"),
    (b"\xcf\xfa\xed\xfe", "a program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"\0asm", "a program"),
    (b"MZ\x90\0", "a program"),
    (b"\x1f\x8b\x08", "a gzip archive"),
    (b"BZh91AY&SY", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"SQLite format 3\0", "a database"),
    (b"{\\rtf1", "an RTF document"),
    (CFB, "an old Microsoft Office document"),
];

/// The first bytes of a Compound File Binary, the container of old Office files and of encrypted new ones.
const CFB: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

/// Decides whether an upload can be taken, from its name and a first look, without parsing it.
///
/// Fails with `UnsupportedFormat`, `DocumentMislabelled`, `DocumentEmpty`, `DocumentEncrypted` or
/// `DocumentDamaged`.
pub fn accept(name: &str, bytes: &[u8]) -> Result<Format, Failure> {
    let format = format_of(name)?;
    check(format, bytes)?;
    Ok(format)
}

fn format_of(name: &str) -> Result<Format, Failure> {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let extension = file.rsplit_once('.').map(|(_, extension)| extension);
    let known = EXTENSIONS.iter().find(|(known, _)| extension.is_some_and(|ext| ext.eq_ignore_ascii_case(known)));
    known.map(|(_, format)| *format).ok_or_else(|| {
        let supported: Vec<String> = EXTENSIONS.iter().map(|(known, _)| format!(".{known}")).collect();
        let message = format!("files of this type are not read; supported: {}", supported.join(", "));
        Failure::new(Code::UnsupportedFormat, message)
    })
}

/// Whether the bytes can be of the format, at a first look.
pub(super) fn check(format: Format, bytes: &[u8]) -> Result<(), Failure> {
    if bytes.trim_ascii().is_empty() {
        return Err(Failure::new(Code::DocumentEmpty, "the file is empty"));
    }
    match format {
        Format::Markdown | Format::Text | Format::Html => check_text(format, bytes),
        Format::Pdf => check_pdf(bytes),
        Format::Docx => check_docx(bytes),
    }
}

fn check_text(format: Format, bytes: &[u8]) -> Result<(), Failure> {
    if let Some(what) = signature(bytes) {
        return Err(mislabelled(format, what));
    }
    let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    let sample = &bytes[..bytes.len().min(64 * 1024)];
    let controls = sample.iter().filter(|byte| matches!(byte, 1..=7 | 0x0e..=0x1a | 0x1c..=0x1f)).count();
    if !utf16 && (bytes.contains(&0) || controls * 20 > sample.len()) {
        return Err(mislabelled(format, "binary data"));
    }
    Ok(())
}

fn check_pdf(bytes: &[u8]) -> Result<(), Failure> {
    // Readers allow the header anywhere in the first 1024 bytes.
    let head = &bytes[..bytes.len().min(1024)];
    if head.windows(5).any(|window| window == b"%PDF-") {
        return Ok(());
    }
    Err(mislabelled(Format::Pdf, signature(bytes).unwrap_or("something else")))
}

fn check_docx(bytes: &[u8]) -> Result<(), Failure> {
    if bytes.starts_with(CFB) {
        let encrypted: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
        return Err(if bytes.windows(encrypted.len()).any(|window| window == encrypted) {
            Failure::new(Code::DocumentEncrypted, "the document is protected by a password")
        } else {
            mislabelled(Format::Docx, "an old Microsoft Office document")
        });
    }
    if !bytes.starts_with(b"PK\x03\x04") {
        return Err(mislabelled(Format::Docx, signature(bytes).unwrap_or("something else")));
    }
    let Some(directory) = zip_directory(bytes) else {
        return Err(Failure::new(
            Code::DocumentDamaged,
            "the document is cut short: the end of its archive is missing",
        ));
    };
    if directory.windows(5).any(|window| window == b"word/") {
        return Ok(());
    }
    Err(mislabelled(Format::Docx, "another kind of archive"))
}

/// The central directory of a ZIP archive (APPNOTE 4.3.16), the only place where all names stand together.
fn zip_directory(bytes: &[u8]) -> Option<&[u8]> {
    let tail = bytes.len().saturating_sub(22 + 0xffff);
    let end = tail + bytes[tail..].windows(4).rposition(|window| window == b"PK\x05\x06")?;
    let offset = u32::from_le_bytes(bytes.get(end + 16..end + 20)?.try_into().ok()?) as usize;
    // With a wrong or 64-bit offset everything before the end is looked at: slower, and still right.
    Some(bytes.get(offset..end).unwrap_or(&bytes[..end]))
}

fn signature(bytes: &[u8]) -> Option<&'static str> {
    SIGNATURES.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, what)| *what)
}

fn mislabelled(format: Format, what: &str) -> Failure {
    Failure::new(Code::DocumentMislabelled, format!("the file is named as {} but holds {what}", name_of(format)))
}

/// The format's name for people.
pub(super) const fn name_of(format: Format) -> &'static str {
    match format {
        Format::Markdown => "Markdown",
        Format::Text => "plain text",
        Format::Html => "HTML",
        Format::Pdf => "a PDF",
        Format::Docx => "a Word document",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(name: &str, bytes: &[u8]) -> Code {
        accept(name, bytes).expect_err("is refused").code
    }

    #[test]
    fn a_name_decides_the_format_whatever_its_case_or_path() {
        for (name, format) in [
            ("a.md", Format::Markdown),
            ("C:\\docs\\A.MARKDOWN", Format::Markdown),
            ("dir.pdf/a.TXT", Format::Text),
            ("a.b.htm", Format::Html),
        ] {
            assert_eq!(accept(name, b"text").unwrap(), format, "{name}");
        }
        assert_eq!(accept("a.pdf", b"junk first\n%PDF-1.4").unwrap(), Format::Pdf);
    }

    #[test]
    fn an_unknown_extension_is_refused_and_all_known_ones_are_named() {
        for name in ["a.exe", "README", "a.", "", "md"] {
            let failure = accept(name, b"text").expect_err("is refused");
            assert_eq!(failure.code, Code::UnsupportedFormat, "{name}");
            for (extension, _) in EXTENSIONS {
                assert!(failure.message.contains(&format!(".{extension}")), "{}", failure.message);
            }
        }
    }

    #[test]
    fn bytes_that_are_not_what_the_name_says_are_refused() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        for (name, bytes) in [
            ("a.pdf", &png[..]),
            ("a.md", b"\x7fELF\x02\x01\x01"),
            ("a.txt", b"%PDF-1.7\n"),
            ("a.html", b"PK\x03\x04rest"),
            ("a.txt", b"text and\0then not"),
            ("a.txt", b"\x01\x02\x03\x04\x05\x06\x07"),
            ("a.docx", b"{\\rtf1 hello}"),
            ("a.docx", b"plain"),
            ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 WordDocument"),
        ] {
            assert_eq!(code(name, bytes), Code::DocumentMislabelled, "{name}");
        }
        assert!(accept("a.pdf", png).expect_err("is refused").message.contains("PNG image"));
    }

    #[test]
    fn empty_cut_and_encrypted_files_are_told_apart() {
        assert_eq!(code("a.txt", b""), Code::DocumentEmpty);
        assert_eq!(code("a.pdf", b" \r\n\t "), Code::DocumentEmpty);
        assert_eq!(code("a.docx", b"PK\x03\x04 and then nothing"), Code::DocumentDamaged);
        let mut encrypted = CFB.to_vec();
        encrypted.extend("EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(code("a.docx", &encrypted), Code::DocumentEncrypted);
    }

    #[test]
    fn text_in_any_usual_encoding_is_taken() {
        for bytes in
            [&b"\xff\xfeh\0i\0"[..], b"\xfe\xff\0h\0i", b"caf\xe9", b"\xef\xbb\xbfhi", b"N\x08NAME \x1b[1mx\x1b[0m"]
        {
            assert_eq!(accept("a.txt", bytes).unwrap(), Format::Text);
        }
    }
}
