//! Whether the right passage comes first, on a small corpus in two languages. Large judged collections are
//! measured by `cargo bench --bench retrieval`.

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
