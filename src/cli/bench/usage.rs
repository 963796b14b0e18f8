//! CPU time of processes and a clock that all processes of a machine share.

use std::{io, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// The instant by the clock that all processes of the machine share.
pub(super) fn monotonic() -> Duration {
    since(ClockId::Monotonic)
}

/// CPU time that this process has used, all threads together.
pub(super) fn own_cpu() -> Duration {
    since(ClockId::ProcessCPUTime)
}

fn since(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Processes of the deployment under measurement.
#[derive(Clone, Debug)]
pub(super) struct Processes(Vec<u32>);

impl Processes {
    /// Those named, or else whoever listens at this port of this machine. Fails if one named is not there.
    pub(super) fn find(named: &[u32], port: Option<u16>) -> io::Result<Self> {
        let found = Self(if named.is_empty() { port.map(listening_at).unwrap_or_default() } else { named.to_vec() });
        found.cpu().map(|_| found)
    }

    /// CPU time that they have used, all threads together, to a hundredth of a second; none if there are none.
    pub(super) fn cpu(&self) -> io::Result<Option<Duration>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        self.0.iter().map(|pid| cpu_of(*pid)).sum::<io::Result<Duration>>().map(Some)
    }
}

#[cfg(target_os = "linux")]
fn cpu_of(pid: u32) -> io::Result<Duration> {
    let stat = procfs::process::Process::new(pid.cast_signed())
        .and_then(|process| process.stat())
        .map_err(|error| io::Error::other(format!("process {pid}: {error}")))?;
    Ok(Duration::from_secs_f64((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64))
}

#[cfg(not(target_os = "linux"))]
fn cpu_of(pid: u32) -> io::Result<Duration> {
    Err(io::Error::other(format!("process {pid}: the CPU time of another process can be measured on Linux only")))
}

/// Who listens at the port; nobody if this can't be found out, as with processes of other users.
#[cfg(target_os = "linux")]
fn listening_at(port: u16) -> Vec<u32> {
    use procfs::{
        net::TcpState,
        process::{FDTarget, all_processes},
    };
    let sockets = [procfs::net::tcp(), procfs::net::tcp6()].into_iter().flatten().flatten();
    let listeners: Vec<u64> = sockets
        .filter(|socket| socket.state == TcpState::Listen && socket.local_address.port() == port)
        .map(|socket| socket.inode)
        .collect();
    let listens = |process: &procfs::process::Process| {
        process.fd().is_ok_and(|files| {
            files.flatten().any(|file| matches!(file.target, FDTarget::Socket(inode) if listeners.contains(&inode)))
        })
    };
    let processes = all_processes().into_iter().flatten().flatten();
    processes.filter(listens).map(|process| process.pid().cast_unsigned()).collect()
}

#[cfg(not(target_os = "linux"))]
fn listening_at(_: u16) -> Vec<u32> {
    Vec::new()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_by_the_port_it_listens_at_and_measured() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(listening_at(port), [std::process::id()]);
        let found = Processes::find(&[], Some(port)).unwrap();
        assert!(found.cpu().unwrap().unwrap() <= own_cpu() + Duration::from_millis(20));
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        let error = Processes::find(&[u32::MAX >> 1], None).unwrap_err();
        assert!(error.to_string().contains(&(u32::MAX >> 1).to_string()), "{error}");
    }
}
