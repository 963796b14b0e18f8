//! Arguments, settings and exit codes, with nothing to talk to.

use super::{NOBODY, ragq};

#[tokio::test]
async fn help_and_version_are_no_failure_and_help_shows_every_command_with_examples() {
    let help = ragq(NOBODY, ["--help"]).run().await.expect(0);
    for word in
        ["up", "api", "worker", "ingest", "ask", "jobs", "dlq", "queue", "bench", "config", "health", "Examples:"]
    {
        assert!(help.stdout.contains(word), "{word}");
    }
    assert!(!help.stdout.contains("__extract"));
    let version = ragq(NOBODY, ["--version"]).run().await.expect(0);
    assert_eq!(version.stdout, concat!("ragq ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[tokio::test]
async fn every_command_explains_itself() {
    for command in ["up", "api", "worker", "ingest", "ask", "jobs", "dlq", "queue", "bench", "config", "health"] {
        let help = ragq(NOBODY, [command, "--help"]).run().await.expect(0);
        assert!(help.stdout.contains("Usage: ragq"), "{command}");
    }
}

#[tokio::test]
async fn bad_usage_ends_with_64_and_says_what_is_wrong() {
    ragq(NOBODY, []).run().await.expect(64).says(&["Usage"]);
    ragq(NOBODY, ["question"]).run().await.expect(64).says(&["question"]);
    ragq(NOBODY, ["ask"]).run().await.expect(64).says(&["QUESTION"]);
    ragq(NOBODY, ["ask", "why?", "--top-k", "many"]).run().await.expect(64).says(&["--top-k"]);
    ragq(NOBODY, ["dlq", "list", "--code", "odd"]).operator().run().await.expect(64).says(&["context_too_long"]);
    ragq(NOBODY, ["dlq", "replay"]).operator().run().await.expect(64).says(&["--all"]);
    ragq(NOBODY, ["ingest", "-"]).run().await.expect(64).says(&["--title"]);
    ragq(NOBODY, ["ingest", "a.md", "--title", "t"]).run().await.expect(64).says(&["--title"]);
}

#[tokio::test]
async fn the_roles_of_a_distributed_deployment_say_what_they_would_need() {
    for role in ["api", "worker"] {
        let ended = ragq(NOBODY, [role]).run().await.expect(64);
        ended.says(&["REDIS_URL", "QDRANT_URL", "ragq up"]);
    }
}

#[tokio::test]
async fn nothing_that_answers_ends_with_69_and_says_where_and_what_to_start() {
    for args in [["ask", "why?"], ["jobs", "show"], ["ingest", "a.md"], ["queue", "stats"], ["health", "--json"]] {
        let mut command = ragq(NOBODY, args).operator().file("a.md", "text");
        if args[0] == "jobs" {
            command.command.arg("01J9ZC6M1V7H0Q8T3X5K2B4N6P");
        }
        command.run().await.expect(69).says(&[NOBODY, "ragq up"]);
    }
}

#[tokio::test]
async fn a_flag_wins_over_the_environment() {
    let other = "http://127.0.0.1:2";
    ragq(NOBODY, ["ask", "why?", "--url", other]).run().await.expect(69).says(&[other]);
}

#[tokio::test]
async fn wrong_settings_end_with_64_without_showing_a_secret() {
    ragq("localhost:8080", ["ask", "why?"]).run().await.expect(64).says(&["RAGQ_URL"]);
    let ended = ragq(NOBODY, ["ask", "why?"]).env("RAGQ_API_KEY", "s3cret key\u{7f}").run().await.expect(64);
    ended.says(&["RAGQ_API_KEY"]);
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    ragq(NOBODY, ["queue", "stats"]).run().await.expect(64).says(&["RAGQ_ADMIN_TOKEN"]);
}

#[tokio::test]
async fn the_configuration_is_checked_shown_and_explained() {
    ragq(NOBODY, ["config", "check"]).run().await.expect(0);
    ragq(NOBODY, ["config", "check"]).env("RAGQ_API__LISTEN", "nowhere").run().await.expect(64);
    let shown = ragq(NOBODY, ["config", "show", "--json"]).operator().run().await.expect(0);
    assert!(!shown.stdout.contains("the-operators-token"));
    assert!(ragq(NOBODY, ["config", "docs"]).run().await.expect(0).stdout.contains("RAGQ_URL"));
}
