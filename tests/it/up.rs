//! `ragq up` as a newcomer meets it: the real binary, started, asked, stopped, started again.

use std::{
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::{
    eventually,
    process::{Up, ragq, signal},
    terminal::terminal,
};

const HANDBOOK: &str = "# Coffee machine\n\nThe coffee machine is descaled every second Friday by the office team.\n\n\
# Parking\n\nVisitors park on level three; the barrier opens with the code on their invitation.\n";

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("docs")).unwrap();
    std::fs::write(folder.path().join("docs/office.md"), HANDBOOK).unwrap();
    folder
}

async fn get(url: &str) -> Value {
    reqwest::get(url).await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn documents_in_a_question_and_a_cited_answer_in_one_command() {
    let folder = folder();
    let mut child = ragq()
        .args(["up", "--listen", "127.0.0.1:0", "--data", "data", "--docs", "docs"])
        .args(["--ask", "When is the coffee machine descaled?"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.contains("stays up") {
            break;
        }
    }
    assert!(child.try_wait().unwrap().is_none(), "it stays up");
    signal(child.id().unwrap(), "INT");
    let drained = tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let output = child.wait_with_output().await.unwrap();
    drained.await.unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("every second Friday"), "{printed}");
    assert!(printed.contains("[1]"), "{printed}");
    assert!(printed.contains("office.md"), "the citation names its source: {printed}");
}

/// All that the first command shows on a terminal until it stays up.
async fn shown_at_a_terminal(environment: &[(&str, &str)]) -> String {
    let folder = folder();
    let (mut screen, half) = terminal();
    let mut command = ragq();
    command
        .args(["up", "--listen", "127.0.0.1:0", "--data", "data", "--docs", "docs"])
        .args(["--ask", "When is the coffee machine descaled?"])
        .envs(environment.iter().copied())
        .env("NO_COLOR", "1")
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(half.try_clone().unwrap())
        .stderr(half);
    let mut child = command.spawn().unwrap();
    // It holds the terminal's second half, too.
    drop(command);
    let shown = Arc::<Mutex<Vec<u8>>>::default();
    let text = |shown: &Mutex<Vec<u8>>| String::from_utf8_lossy(&shown.lock().unwrap()).replace("\r\n", "\n");
    let seen = shown.clone();
    let reading = std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = screen.read(&mut piece) {
            seen.lock().unwrap().extend_from_slice(&piece[..length]);
        }
    });
    eventually(async || text(&shown).contains("stays up").then_some(())).await;
    signal(child.id().unwrap(), "INT");
    assert!(child.wait().await.unwrap().success());
    reading.join().unwrap();
    text(&shown)
}

#[tokio::test]
async fn on_a_terminal_no_line_of_the_log_stands_in_the_first_answer_unless_it_is_asked_for() {
    let sentence = "The coffee machine is descaled every second Friday by the office team.";
    let calm = shown_at_a_terminal(&[]).await;
    assert!(calm.contains(sentence) && calm.contains("documents: 1"), "{calm}");
    assert!(!calm.contains("INFO") && !calm.contains("job completed"), "{calm}");
    let told = shown_at_a_terminal(&[("RUST_LOG", "info")]).await;
    assert!(told.contains("INFO") && told.contains("job completed"), "{told}");
}

#[tokio::test]
async fn a_second_start_goes_on_with_the_same_jobs_documents_and_token() {
    let folder = folder();
    let data = folder.path().join("data");
    let first = Up::start_with(&data, &[], &["--docs", "docs"]).await;
    let token = first.admin_token();
    assert!(first.banner.contains(token.trim()), "a new token is shown: {}", first.banner);
    let mode = std::fs::metadata(data.join("admin-token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let listed = eventually(async || {
        let listed = get(&format!("{}/documents", first.url)).await;
        (listed["items"][0]["state"] == "ready").then_some(listed)
    })
    .await;
    let question = json!({ "query": "Where do visitors park?" });
    let accepted = reqwest::Client::builder().build().unwrap().post(format!("{}/chat", first.url)).json(&question);
    let job = accepted.send().await.unwrap().json::<Value>().await.unwrap()["job_id"].as_str().unwrap().to_owned();
    let answered = get(&format!("{}/job-status?job_id={job}&wait_ms=30000", first.url)).await;
    assert_eq!(answered["status"], "completed", "{answered}");
    assert!(first.stop().await.success());

    let second = Up::start(&data, &[]).await;
    assert!(!second.banner.contains(token.trim()), "a kept token is not shown again");
    assert_eq!(second.admin_token(), token);
    assert_eq!(get(&format!("{}/job-status?job_id={job}", second.url)).await, answered);
    assert_eq!(get(&format!("{}/documents", second.url)).await, listed);
    assert!(second.stop().await.success());
}

#[tokio::test]
async fn a_second_process_on_the_same_folder_is_refused() {
    let folder = folder();
    let data = folder.path().join("data");
    let first = Up::start(&data, &[]).await;
    let second = ragq()
        .args(["up", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .current_dir(folder.path())
        .output()
        .await
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("in use by another ragq process"), "{said}");
    assert!(said.contains("--data"), "{said}");
    assert!(first.stop().await.success());
}

#[tokio::test]
async fn an_address_in_use_is_named_with_a_way_out() {
    let folder = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output =
        ragq().args(["up", "--data", "data", "--listen", &address]).current_dir(folder.path()).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&address) && said.contains("--listen"), "{said}");
}
