//! The `ragq` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == ragq::extract::SUBCOMMAND) {
        return ragq::extract::child_main();
    }
    ExitCode::SUCCESS
}
