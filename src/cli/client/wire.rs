//! What the API says, as the client reads it.
//!
//! Words of closed sets stay text here, unlike in `domain`: an older client must be able to read the
//! answers of a newer API.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{answer::Span, clock::Timestamp, job::Status, replay::ReplayProgress};

/// A question to be submitted.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Question {
    /// What is asked.
    pub query: String,
    /// Only in this collection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// The conversation it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// How many passages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
}

/// A text to be taken in.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TextDocument {
    /// Its title.
    pub title: String,
    /// The text.
    pub text: String,
    /// Where it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The collection to put it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
}

/// An accepted submission.
#[derive(Clone, Debug, Deserialize)]
pub struct Accepted {
    /// The job.
    pub job_id: String,
}

/// What became of the files of one upload.
#[derive(Clone, Debug, Deserialize)]
pub struct Uploaded {
    /// One for each file, in order.
    pub items: Vec<UploadedFile>,
}

/// What became of one file.
#[derive(Clone, Debug, Deserialize)]
pub struct UploadedFile {
    /// Its job, if it was accepted.
    #[serde(default)]
    pub job_id: Option<String>,
    /// Why it was refused: text, or an object that says more.
    #[serde(default)]
    pub error: Option<Value>,
}

impl UploadedFile {
    /// Why it was refused, for people.
    pub fn reason(&self) -> String {
        match &self.error {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Object(fields)) => ["message", "detail", "title", "code"]
                .iter()
                .find_map(|name| fields.get(*name).and_then(Value::as_str))
                .unwrap_or("refused without a reason")
                .to_owned(),
            _ => "neither accepted nor refused".to_owned(),
        }
    }

    /// The stable word for it, if it was said.
    pub fn code(&self) -> Option<&str> {
        self.error.as_ref().and_then(|error| error.get("code")).and_then(Value::as_str)
    }
}

/// A job.
#[derive(Clone, Debug, Deserialize)]
pub struct Job {
    /// Its id.
    pub job_id: String,
    /// What it does.
    pub kind: String,
    /// Where it is in its life.
    pub status: String,
    /// The attempt under way, or the last.
    #[serde(default)]
    pub attempt: u32,
    /// How many it has.
    #[serde(default)]
    pub max_attempts: u32,
    /// How often it was handed to a worker.
    #[serde(default)]
    pub deliveries: u64,
    /// How often its worker was lost.
    #[serde(default)]
    pub lost_leases: u32,
    /// How often it was put back without using an attempt.
    #[serde(default)]
    pub deferrals: u32,
    /// How many jobs are taken before it.
    #[serde(default)]
    pub position: Option<u64>,
    /// When it was submitted.
    #[serde(default)]
    pub created_at: Option<Timestamp>,
    /// When it was last handed over.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
    /// How far it has come (kind `replay`).
    #[serde(default)]
    pub progress: Option<ReplayProgress>,
    /// What came of it.
    #[serde(default)]
    pub result: Option<Value>,
    /// What is or was wrong.
    #[serde(default)]
    pub error: Option<JobError>,
}

impl Job {
    /// Whether it will not go on by itself.
    pub fn is_final(&self) -> bool {
        self.status.parse::<Status>().is_ok_and(Status::is_final)
    }

    /// Whether it is in this state.
    pub fn is(&self, status: Status) -> bool {
        self.status == status.as_str()
    }
}

/// Why a job failed, or fails at present.
#[derive(Clone, Debug, Deserialize)]
pub struct JobError {
    /// A stable word.
    pub code: String,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// What follows from it.
    #[serde(default)]
    pub class: String,
    /// When the job goes on, if it does.
    #[serde(default)]
    pub retry_at: Option<Timestamp>,
}

/// The result of a question.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// The text.
    pub answer: String,
    /// What it cites.
    #[serde(default)]
    pub citations: Vec<Citation>,
    /// Whether the provider broke it off at its length limit.
    #[serde(default)]
    pub truncated: bool,
    /// How the passages were found.
    #[serde(default)]
    pub retrieval: Retrieval,
}

/// How the passages were found.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Retrieval {
    /// A part of the configured retrieval was left out.
    pub degraded: bool,
}

/// A passage that the answer cites.
#[derive(Clone, Debug, Deserialize)]
pub struct Citation {
    /// The n of `[n]`.
    pub index: usize,
    /// The document's title.
    #[serde(default)]
    pub title: String,
    /// Where it came from.
    #[serde(default)]
    pub source: Option<String>,
    /// The chunk's number within the document.
    #[serde(default)]
    pub chunk: u32,
    /// The cited text.
    #[serde(default)]
    pub text: String,
    /// Where the text begins in its document, in bytes.
    #[serde(default)]
    pub start: usize,
    /// What of it the answer draws on, if that can be told.
    #[serde(default)]
    pub support: Vec<Span>,
}

/// One entry of a job's event log.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its number.
    pub seq: u64,
    /// The attempt it belongs to.
    pub attempt: u32,
    /// What happened.
    pub name: String,
    /// The rest.
    pub data: Value,
}

impl Event {
    /// A text field of it.
    pub fn text(&self, field: &str) -> &str {
        self.data.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// A time field of it.
    pub fn time(&self, field: &str) -> Option<Timestamp> {
        self.data.get(field).and_then(|value| serde_json::from_value(value.clone()).ok())
    }

    /// Whether the log ends here.
    pub fn is_final(&self) -> bool {
        self.name.parse::<Status>().is_ok_and(Status::is_final)
    }
}
