//! Cases of the analysis, each a promise that search relies on.

use super::*;

fn stems(language: &str, text: &str) -> Vec<String> {
    Analyzer::for_language(language).terms(text).into_iter().map(|term| term.stem).collect()
}

#[test]
fn words_of_one_stem_are_one_term_and_stop_words_are_none() {
    assert_eq!(stems("en", "The studies of a study"), ["studi", "studi"]);
    assert_eq!(stems("de", "Die Häuser und das Haus"), ["haus", "haus"]);
    assert_eq!(stems("fr", "l'étude et les études"), ["etud", "etud"]);
    assert!(stems("en", "what is it that they don't do").is_empty());
}

#[test]
fn spans_point_at_the_words_in_the_text() {
    let text = "Überall: kleine Häuser, max_attempts, l’été 東京都";
    for term in Analyzer::for_language("de").terms(text) {
        assert!(text.get(term.start..term.end).is_some(), "{term:?}");
    }
    let terms = Analyzer::for_language("de").terms(text);
    let house = terms.iter().find(|term| term.stem == "haus").unwrap();
    assert_eq!(&text[house.start..house.end], "Häuser");
}

#[test]
fn an_identifier_is_found_whole_and_by_part() {
    assert_eq!(stems("en", "max_attempts"), ["max_attempts", "max", "attempt"]);
    assert_eq!(stems("en", "RAGQ_QUEUE__LEASE_MS"), ["ragq_queue__lease_ms", "ragq", "queue", "leas", "ms"]);
    assert_eq!(stems("en", "foo::bar"), ["foo", "bar", "foo::bar"]);
    assert_eq!(stems("en", "v1.2.3"), ["v1.2.3", "1.2.3", "v1", "2", "3"]);
    assert_eq!(stems("en", "leaseTimeout"), ["leasetimeout", "leas", "timeout"]);
    assert_eq!(stems("en", "HTTPServer PDFs"), ["httpserver", "http", "server", "pdfs"]);
    assert_eq!(stems("en", "CVE-2024-1234"), ["cve", "2024", "1234", "cve-2024-1234"]);
    assert_eq!(stems("en", "C++ and C#."), ["c++", "c#"]);
    assert_eq!(stems("en", "__init__"), ["init"]);
}

#[test]
fn hyphens_part_words_and_numbers_stay_whole() {
    assert_eq!(stems("en", "boundary-layer 3.14 0.05"), ["boundari", "layer", "3.14", "0.05"]);
    assert_eq!(stems("en", "the U.S.A. aircraft's O'Brien"), ["usa", "aircraft", "obrien"]);
}

#[test]
fn diacritics_ligatures_and_invisible_signs_make_no_difference() {
    assert_eq!(stems("en", "naïve cafés"), stems("en", "naive cafes"));
    assert_eq!(stems("en", "eﬃ\u{ad}ciency"), stems("en", "efficiency"));
    assert_eq!(stems("de", "Straße"), stems("de", "STRASSE"));
    assert_eq!(stems("en", "ｆｕｌｌ ｗｉｄｔｈ"), stems("en", "full width"));
    assert_eq!(stems("en", "e\u{301}tude"), stems("en", "étude"));
    assert_eq!(stems("ru", "ёлка"), stems("ru", "елка"));
}

#[test]
fn scripts_without_spaces_are_found_by_pairs_of_characters() {
    assert_eq!(stems("zh", "東京都"), ["東", "京", "東京", "都", "京都"]);
    assert_eq!(stems("ja", "カメラ"), ["カメ", "メラ"]);
    assert_eq!(stems("ko", "검색"), ["검색"]);
    assert!(stems("zh", "向量数据库").contains(&"数据".to_owned()));
    assert_eq!(stems("ko", "C언어"), ["c", "언어"]);
    assert_eq!(stems("ja", "あ"), ["あ"]);
}

#[test]
fn the_language_is_told_from_the_text_and_is_english_when_unsure() {
    let of = |text: &str| Analyzer::for_text(text).language();
    assert_eq!(of("Die Kündigungsfrist beträgt drei Monate zum Ende des Quartals, wenn nichts anderes gilt."), "de");
    assert_eq!(of("Le contrat peut être résilié par l'une des parties avec un préavis de trois mois."), "fr");
    assert_eq!(of("The lease is renewed by a heartbeat, and a job whose lease has expired is taken back."), "en");
    assert_eq!(of("Wie lange ist die Frist?"), "de");
    assert_eq!(of("lease_ms 15000"), "en");
    assert_eq!(of(""), "en");
    assert_eq!(of("Договор может быть расторгнут любой из сторон."), "ru");
    assert_eq!(of("契約は三か月前の通知により解約できます。"), "ja");
    assert_eq!(Analyzer::for_language("nowhere").language(), "en");
}

#[test]
fn encoded_data_is_no_word() {
    assert!(stems("en", &"a1".repeat(400)).is_empty());
}

proptest::proptest! {
    #[test]
    fn any_text_gives_terms_with_spans_inside_it(text in "\\PC{0,60}", language in "en|de|fr|zh|ru|ta|ar|tr|pl") {
        for term in Analyzer::for_language(&language).terms(&text) {
            proptest::prop_assert!(text.get(term.start..term.end).is_some_and(|word| !word.is_empty()));
            proptest::prop_assert!(!term.stem.is_empty());
        }
    }
}
