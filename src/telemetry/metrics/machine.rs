//! What the process takes up of its machine, and what became of its spans.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::{
    Metrics,
    words::{SpanFate, Version},
};
use crate::{
    domain::clock::{Clock as _, SystemClock},
    telemetry::traces,
};

impl Metrics {
    /// Notes what holds for as long as the process lives.
    pub(super) fn begin(&self) {
        self.process().build_info.at((Version,)).set(1.0);
        self.process().start_time.at(()).set(SystemClock.now().0 as f64 / 1_000.0);
    }

    /// Notes what the process takes up at present, and has sent.
    pub(super) fn measure(&self) {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        self.process().cpu.at(()).set(Duration::new(time.tv_sec as u64, time.tv_nsec as u32));
        self.measure_memory();
        let (sent, lost) = traces::sent_and_lost();
        self.process().spans.at((SpanFate::Sent,)).absolute(sent);
        self.process().spans.at((SpanFate::Lost,)).absolute(lost);
    }

    /// Where this can't be read it stays 0.
    #[cfg(target_os = "linux")]
    fn measure_memory(&self) {
        let Ok(own) = procfs::process::Process::myself() else { return };
        if let Ok(memory) = own.statm() {
            self.process().resident.at(()).set((memory.resident * procfs::page_size()) as f64);
        }
        if let Ok(open) = own.fd_count() {
            self.process().descriptors.at(()).set(open as f64);
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn measure_memory(&self) {}
}
