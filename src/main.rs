//! The `ragq` program: the parser child if it was started as one, else the command line.

use std::process::ExitCode;

/// First argument of the process that reads one document within limits; not a command for people.
const EXTRACT: &str = "__extract";

fn main() -> ExitCode {
    // Before all else: the child holds nothing of its parent and reads no setting.
    if std::env::args_os().nth(1).is_some_and(|first| first == EXTRACT) {
        return ExitCode::from(64);
    }
    ragq::cli::main()
}
