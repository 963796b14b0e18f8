//! Whether the right passage comes first, on small corpora of several languages, and that the scores are those of
//! the published formula. Large judged collections are measured by `cargo bench --bench retrieval`.

use ragq::index::{PassageIndex, embedded::EmbeddedIndex};

use super::contract::{document, question};

const CORPUS: &[(&str, &str)] = &[
    ("lease", "A worker renews its lease by a heartbeat. A job whose lease has expired is handed to another worker."),
    ("retry", "A failed attempt is repeated after a pause that doubles each time, up to max_attempts."),
    ("breaker", "The circuit breaker opens after five consecutive failures of the provider and probes it later."),
    ("setting", "Set RAGQ_QUEUE__LEASE_MS to change how long a silent worker keeps its jobs."),
    ("release", "Version v1.2.3 mends a fault in the parser; v1.2.4 brings back the old behaviour of foo::bar."),
    ("noise", "The worker, the job and the provider are words that every page of this manual uses."),
    ("kuendigung", "Die Kündigungsfrist beträgt drei Monate zum Ende eines Quartals. Sie muss schriftlich erfolgen."),
    ("urlaub", "Urlaubsanträge stellt man vier Wochen vorher. Der Urlaub verfällt am Ende des ersten Quartals."),
    ("reise", "Reisekosten werden erstattet, wenn die Belege vollständig sind und die Reise genehmigt war."),
    ("japan", "解約する場合は三か月前までに書面で通知する必要があります。"),
];

const QUESTIONS: &[(&str, &str)] = &[
    ("What happens to jobs when a lease expires?", "lease"),
    ("how often are failing attempts repeated", "retry"),
    ("max_attempts", "retry"),
    ("max attempts", "retry"),
    ("When does the breaker open?", "breaker"),
    ("RAGQ_QUEUE__LEASE_MS", "setting"),
    ("ragq lease ms setting", "setting"),
    ("what is new in v1.2.3", "release"),
    ("1.2.3", "release"),
    ("what does foo::bar do", "release"),
    ("Wie lang sind die Kündigungsfristen?", "kuendigung"),
    ("Wie lang ist die Kundigungsfrist", "kuendigung"),
    ("Was ist mit dem Urlaub am Ende des Quartals?", "urlaub"),
    ("Welche Belege brauche ich für die Reise?", "reise"),
    ("解約の通知", "japan"),
];

#[tokio::test]
async fn the_right_passage_comes_first_in_every_language() {
    let folder = tempfile::tempdir().unwrap();
    let index = EmbeddedIndex::open(&folder.path().join("index.db")).unwrap();
    for (id, text) in CORPUS {
        index.put(document(id, 1, &[text])).await.unwrap();
    }
    let mut wrong = Vec::new();
    for (asked, expected) in QUESTIONS {
        let passages = index.search(question(asked)).await.unwrap().passages;
        let first = passages.first().map(|passage| passage.document_id.to_string());
        if first.as_deref() != Some(expected) {
            wrong.push(format!("{asked}: {first:?} instead of {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A manual: title, then sections of heading and text.
type Manual = (&'static str, &'static [(&'static str, &'static str)]);

const MANUALS: &[Manual] = &[
    (
        "stash",
        &[
            (
                "pop",
                "Takes the state saved last off the list and applies it to the working tree. It stays if it conflicts.",
            ),
            ("drop", "Removes one saved state from the list without applying it."),
            ("list", "Shows the saved states, the newest first, each with the branch it was made on."),
        ],
    ),
    (
        "bisect",
        &[
            ("run", "Calls a script for every commit tried. Its exit code says whether the commit is good or bad."),
            ("reset", "Ends the session and goes back to where it began."),
        ],
    ),
    (
        "Release notes",
        &[
            ("1.1", "Stash and bisect say more clearly what they do. A script may now be run from any folder."),
            ("1.2", "The list of branches is sorted. Commits are drawn faster. Conflicts are shown in colour."),
        ],
    ),
];

#[tokio::test]
async fn a_question_that_names_the_subject_finds_the_section_that_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let index = EmbeddedIndex::open(&folder.path().join("index.db")).unwrap();
    for (title, sections) in MANUALS {
        let texts: Vec<&str> = sections.iter().map(|(_, text)| *text).collect();
        let mut manual = document(title, 1, &texts);
        manual.title = (*title).to_owned();
        for (chunk, (heading, _)) in manual.chunks.iter_mut().zip(*sections) {
            chunk.headings = vec![(*title).to_owned(), (*heading).to_owned()];
        }
        index.put(manual).await.unwrap();
    }
    let first = async |asked| {
        let passages = index.search(question(asked)).await.unwrap().passages;
        passages.first().map(|passage| format!("{} {}", passage.document_id.as_str(), passage.headings[1]))
    };
    assert_eq!(first("What does stash pop do?").await.as_deref(), Some("stash pop"));
    assert_eq!(first("How do I remove a saved state from the stash?").await.as_deref(), Some("stash drop"));
    assert_eq!(first("Which exit code must the script give to bisect run?").await.as_deref(), Some("bisect run"));
    assert_eq!(first("How are conflicts shown in release 1.2?").await.as_deref(), Some("Release notes 1.2"));
}

#[tokio::test]
async fn scores_are_those_of_bm25_over_title_and_text() {
    let folder = tempfile::tempdir().unwrap();
    let index = EmbeddedIndex::open(&folder.path().join("index.db")).unwrap();
    for (title, text) in [("Ovens", "heat, heat and bread"), ("Trains", "steam heat"), ("Boats", "sail, wind, water")] {
        let mut document = document(title, 1, &[text]);
        document.title = title.to_owned();
        index.put(document).await.unwrap();
    }
    let passages = index.search(question("heat of the heat in the oven")).await.unwrap().passages;
    // Lengths without stop words, title included: 4, 3, 4. Lucene's form, without the constant factor k1 + 1.
    let part = |times: f32, holding: f32, count: f32, length: f32| {
        let rarity = (1.0 + (3.0 - holding + 0.5) / (holding + 0.5)).ln();
        times * rarity * count / (count + 1.2 * (1.0 - 0.75 + 0.75 * length / (11.0 / 3.0)))
    };
    let expected = [part(2.0, 2.0, 2.0, 4.0) + part(1.0, 1.0, 1.0, 4.0), part(2.0, 2.0, 1.0, 3.0)];
    let scores: Vec<f32> = passages.iter().map(|passage| passage.score).collect();
    assert_eq!(scores.len(), expected.len());
    for (score, expected) in scores.iter().zip(expected) {
        assert!((score - expected).abs() < 1e-5, "{scores:?} instead of {expected}");
    }
}
