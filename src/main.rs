//! The `ragq` program: the parser child if it was started as one, else the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before all else: the child holds nothing of its parent and reads no setting.
    if std::env::args_os().nth(1).is_some_and(|first| first == ragq::extract::SUBCOMMAND) {
        return ragq::extract::child_main();
    }
    ragq::cli::main()
}
