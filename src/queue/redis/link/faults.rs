//! What a failure of Redis means for the call that met it: the one place that knows error codes.

use redis::{ErrorKind, RedisError};

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing was done; it can be tried again, best on a new connection.
    Undone,
    /// Nobody knows whether it was done; to be tried again by a call that knows this.
    Unclear,
    /// The server does not have the script.
    Unloaded,
    /// The server's memory is full: it takes no more.
    Full,
    /// The server can't write to its disk.
    Disk,
    /// The server does not let us in.
    Locked,
    /// The server does not let us do this.
    Denied,
    /// The server is not as this store needs it.
    Unsafe,
    /// The call itself is wrong, or the reply is: another try would not help.
    Broken,
}

/// What is said of a reply that is not shown.
pub(super) const UNREADABLE: &str = "a reply was not of the expected kind";

/// A failure with what it means. The text is fit to be shown: it repeats no argument of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub fault: Fault,
    pub text: String,
}

impl Trouble {
    pub(super) fn new(fault: Fault, text: impl Into<String>) -> Self {
        Self { fault, text: text.into() }
    }

    /// Something did not happen in time.
    pub(super) fn late(what: &str) -> Self {
        Self::new(Fault::Unclear, format!("{what} took too long"))
    }

    /// The same after the call itself was done, and only what belongs to it failed.
    pub(super) fn after_the_call(mut self) -> Self {
        if self.passes() {
            self.fault = Fault::Unclear;
        }
        self
    }

    /// Whether another try may help.
    pub(super) fn passes(&self) -> bool {
        match self.fault {
            Fault::Undone | Fault::Unclear | Fault::Unloaded => true,
            Fault::Full | Fault::Disk | Fault::Locked | Fault::Denied | Fault::Unsafe | Fault::Broken => false,
        }
    }
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        // Of several commands sent together the first that failed.
        if let Some(said) = error.clone().into_server_errors().as_deref().and_then(<[_]>::first) {
            let (code, detail) = (said.1.code(), said.1.details().unwrap_or_default());
            // An unknown command is repeated together with its arguments.
            let shown = detail.split(", with args beginning with").next().unwrap_or_default();
            // What follows on protected mode is advice by the hundred words.
            let shown = if code == "DENIED" { shown.split(". ").next().unwrap_or_default() } else { shown };
            return Self::new(by_code(code, detail), format!("{code} {shown}").trim_end());
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::new(Fault::Locked, error.to_string()),
            ErrorKind::InvalidClientConfig => Self::new(Fault::Broken, error.to_string()),
            // The library's words hold the reply, which may be anybody's payload.
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::new(Fault::Unclear, UNREADABLE),
            // Connections that break or time out, and whatever the library may add.
            _ => Self::new(Fault::Unclear, error.to_string()),
        }
    }
}

fn by_code(code: &str, detail: &str) -> Fault {
    match code {
        // The server is not, or not yet, or no longer the one to ask. A slot on its way to another node is waited
        // for (ASK, TRYAGAIN): a script must not run while half of its keys are somewhere else.
        "READONLY" | "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "MOVED" | "ASK" | "TRYAGAIN" | "BUSY"
        | "NOREPLICAS" => Fault::Undone,
        // A blocked client of a server that became a replica.
        "UNBLOCKED" => Fault::Unclear,
        "OOM" => Fault::Full,
        "MISCONF" => Fault::Disk,
        "NOAUTH" | "WRONGPASS" | "DENIED" => Fault::Locked,
        "NOPERM" => Fault::Denied,
        "NOSCRIPT" => Fault::Unloaded,
        "ERR" if detail.contains("max number of clients") => Fault::Undone,
        // What 7.0 says where later versions say NOPERM.
        "ERR" if detail.contains("The user executing the script can't") => Fault::Denied,
        // A script ran into a key of its slot that had been moved away, possibly half way through.
        "ERR" if detail.contains("non local key") => Fault::Unclear,
        _ => Fault::Broken,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// The error that a server's reply becomes.
    fn reply(line: &str) -> RedisError {
        redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap().extract_error().unwrap_err()
    }

    #[test]
    fn every_error_of_a_server_is_sorted_by_what_follows_from_it() {
        let table = [
            (Fault::Undone, "READONLY You can't write against a read only replica."),
            (Fault::Undone, "READONLY You can't write against a read only replica. script: 2f1, on @user_script:1."),
            (Fault::Undone, "LOADING Redis is loading the dataset in memory"),
            (Fault::Undone, "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
            (Fault::Undone, "CLUSTERDOWN The cluster is down"),
            (Fault::Undone, "CLUSTERDOWN Hash slot not served"),
            (Fault::Undone, "MOVED 3999 127.0.0.1:6381"),
            (Fault::Undone, "ASK 3999 127.0.0.1:6381"),
            (Fault::Undone, "TRYAGAIN Multiple keys request during rehashing of slot"),
            (Fault::Undone, "BUSY Redis is busy running a script. You can only call SCRIPT KILL."),
            (Fault::Undone, "NOREPLICAS Not enough good replicas to write."),
            (Fault::Undone, "ERR max number of clients reached"),
            (Fault::Unclear, "UNBLOCKED force unblock from blocking operation, instance state changed"),
            (Fault::Unclear, "ERR Script attempted to access a non local key in a cluster node script: 2f1"),
            (Fault::Unloaded, "NOSCRIPT No matching script. Please use EVAL."),
            (Fault::Full, "OOM command not allowed when used memory > 'maxmemory'."),
            (Fault::Disk, "MISCONF Errors writing to the AOF file: No space left on device"),
            (Fault::Locked, "NOAUTH Authentication required."),
            (Fault::Locked, "WRONGPASS invalid username-password pair or user is disabled."),
            (Fault::Denied, "NOPERM User app has no permissions to run the 'evalsha' command"),
            (Fault::Denied, "NOPERM ACL failure in script: User app has no permissions to run the 'set' command"),
            (Fault::Denied, "ERR The user executing the script can't run this command or subcommand script: 2f1"),
            (Fault::Locked, "DENIED Redis is running in protected mode"),
            (Fault::Broken, "ERR value is not an integer or out of range"),
            (Fault::Broken, "WRONGTYPE Operation against a key holding the wrong kind of value"),
            (Fault::Broken, "CROSSSLOT Keys in request don't hash to the same slot"),
            (Fault::Broken, "SOMETHING new"),
        ];
        for (fault, line) in table {
            assert_eq!(Trouble::from(reply(line)).fault, fault, "{line}");
        }
    }

    #[test]
    fn what_happens_to_a_connection_leaves_it_open_whether_the_call_was_done() {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidData, TimedOut, UnexpectedEof,
        };
        for kind in
            [BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidData, TimedOut, UnexpectedEof]
        {
            let error = RedisError::from(io::Error::from(kind));
            assert_eq!(Trouble::from(error).fault, Fault::Unclear, "{kind}");
        }
        let garbage = redis::parse_redis_value(b"?\r\n").unwrap_err();
        assert_eq!(Trouble::from(garbage).fault, Fault::Unclear);
    }

    #[test]
    fn the_words_for_a_failure_name_the_missing_right_but_no_argument() {
        let denied = Trouble::from(reply("NOPERM User app has no permissions to run the 'evalsha' command"));
        assert_eq!(denied.text, "NOPERM User app has no permissions to run the 'evalsha' command");
        let unknown = Trouble::from(reply("ERR unknown command 'EVALSHA', with args beginning with: 'swordfish' "));
        assert_eq!(unknown.text, "ERR unknown command 'EVALSHA'");
    }
}
