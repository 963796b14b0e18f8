//! What a person sees while documents are taken in: one bar for sending, one for ingesting.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::terminal::{printable, short};

/// The bars, shown or not.
#[derive(Clone, Debug)]
pub struct Progress {
    sending: ProgressBar,
    ingesting: ProgressBar,
    _both: MultiProgress,
}

impl Progress {
    /// Bars on standard error.
    pub fn bars() -> Self {
        Self::on(ProgressDrawTarget::stderr())
    }

    /// Nothing is shown.
    pub fn hidden() -> Self {
        Self::on(ProgressDrawTarget::hidden())
    }

    fn on(target: ProgressDrawTarget) -> Self {
        let both = MultiProgress::with_draw_target(target);
        let bar = |name: &'static str| {
            let bar = both.add(ProgressBar::new(0));
            if let Ok(style) = ProgressStyle::with_template("{prefix:<9} [{bar:30}] {pos}/{len} {wide_msg}") {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.with_prefix(name)
        };
        Self { sending: bar("sending"), ingesting: bar("ingesting"), _both: both }
    }

    /// So many more files are to be sent.
    pub fn found(&self, files: usize) {
        self.sending.inc_length(files as u64);
        self.ingesting.inc_length(files as u64);
    }

    /// So many files were accepted.
    pub fn sent(&self, files: usize) {
        self.sending.set_message("");
        self.sending.inc(files as u64);
    }

    /// So many files will not be accepted: they are not waited for either.
    pub fn refused(&self, files: usize) {
        let left = |bar: &ProgressBar| bar.length().unwrap_or(0).saturating_sub(files as u64);
        self.sending.set_length(left(&self.sending));
        self.ingesting.set_length(left(&self.ingesting));
    }

    /// One document's job has ended.
    pub fn settled(&self) {
        self.ingesting.inc(1);
    }

    /// Sending waits.
    pub fn waiting(&self, why: &str, wait: Duration) {
        let why = short(&printable(why), 120);
        self.sending.set_message(format!("{why}: trying again in {} s", wait.as_millis().div_ceil(1000)));
    }

    /// How many files were accepted so far.
    pub fn accepted(&self) -> u64 {
        self.sending.position()
    }

    /// Takes the bars away.
    pub fn finish(&self) {
        self.sending.finish_and_clear();
        self.ingesting.finish_and_clear();
    }
}
