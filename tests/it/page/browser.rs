//! Chromium as a child, driven over its debugging protocol.
//!
//! The protocol goes over the browser's own pair of pipes: no port, no WebSocket, and a browser whose test has gone
//! ends by itself. A tab remembers everything that must not happen on the page, such as uncaught errors and whatever
//! the policy refused, and says so at [`Tab::finish`].

use std::{
    collections::HashMap,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use crate::support::eventually;

/// How long the browser may take over one command.
const PATIENCE: Duration = Duration::from_mins(1);

/// Pipes 3 and 4 are where the browser reads commands and writes answers.
const LAUNCH: &str = r#"exec chromium "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;

const FLAGS: [&str; 13] = [
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-sync",
    "--disable-component-update",
    "--disable-background-networking",
    "--disable-domain-reliability",
    "--disable-features=Translate,OptimizationHints,MediaRouter",
    "--force-color-profile=srgb",
    "--window-size=1440,900",
];

#[derive(Default)]
struct Seen {
    answers: HashMap<u64, oneshot::Sender<Value>>,
    events: Vec<Value>,
}

/// A running Chromium.
pub struct Browser {
    commands: mpsc::UnboundedSender<Value>,
    seen: Arc<Mutex<Seen>>,
    last: Arc<AtomicU64>,
    _child: Child,
    _tasks: JoinSet<()>,
    _profile: TempDir,
}

async fn write(mut pipe: ChildStdin, mut commands: mpsc::UnboundedReceiver<Value>) {
    while let Some(command) = commands.recv().await {
        let bytes = [command.to_string().as_bytes(), b"\0"].concat();
        if pipe.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn read(pipe: ChildStdout, seen: Arc<Mutex<Seen>>) {
    let mut messages = BufReader::new(pipe).split(0);
    while let Ok(Some(message)) = messages.next_segment().await {
        let message: Value = serde_json::from_slice(&message).expect("the browser writes JSON");
        let mut seen = seen.lock().unwrap();
        match message["id"].as_u64() {
            Some(id) => {
                if let Some(answer) = seen.answers.remove(&id) {
                    // Who asked may have given up.
                    drop(answer.send(message));
                }
            }
            None => seen.events.push(message),
        }
    }
    // Whoever waits learns that nothing comes any more.
    seen.lock().unwrap().answers.clear();
}

impl Browser {
    /// Starts one with an empty profile of its own.
    pub fn start() -> Self {
        let profile = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new("sh");
        command.args(["-c", LAUNCH, "chromium"]).args(FLAGS);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        // The kernel refuses the sandbox to root, as tests in a container are.
        if rustix::process::geteuid().is_root() {
            command.arg("--no-sandbox");
        }
        command.env("HOME", profile.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("sh starts");
        let (commands, to_write) = mpsc::unbounded_channel();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(write(child.stdin.take().expect("stdin is piped"), to_write));
        tasks.spawn(read(child.stdout.take().expect("stdout is piped"), Arc::clone(&seen)));
        let last = Arc::new(AtomicU64::new(0));
        Self { commands, seen, last, _child: child, _tasks: tasks, _profile: profile }
    }

    /// Opens an address in a tab of its own.
    pub async fn open(&self, url: &str) -> Tab {
        let blank = Tab {
            commands: self.commands.clone(),
            seen: Arc::clone(&self.seen),
            last: Arc::clone(&self.last),
            session: None,
        };
        let target = blank.call("Target.createTarget", json!({ "url": "about:blank" })).await["targetId"].clone();
        let session = blank.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true })).await;
        let tab = Tab { session: session["sessionId"].as_str().map(str::to_owned), ..blank };
        for domain in ["Page", "Runtime", "Network", "Log"] {
            tab.call(&format!("{domain}.enable"), json!({})).await;
        }
        // A tab in the background is throttled, and one test may have several.
        tab.call("Emulation.setFocusEmulationEnabled", json!({ "enabled": true })).await;
        tab.go(url).await;
        tab
    }
}

/// A tab of a browser.
pub struct Tab {
    commands: mpsc::UnboundedSender<Value>,
    seen: Arc<Mutex<Seen>>,
    last: Arc<AtomicU64>,
    session: Option<String>,
}

/// Finds what a person would point at: by what it is and what it is called.
const FIND: &str = r#"
const KINDS = { button: "button", link: "a[href]", field: "input, textarea, select", any: "*" };
const named = (e) => [e.getAttribute("aria-label"), e.labels?.[0]?.textContent, e.textContent, e.title, e.placeholder];
const shown = (e) => e.checkVisibility({ opacityProperty: false, visibilityProperty: true }) && e.getClientRects().length > 0;
const find = (kind, name) => {
  const all = [...document.querySelectorAll(KINDS[kind])].filter(shown);
  const top = document.querySelector("dialog[open]");
  const within = top ? all.filter((e) => top.contains(e)) : all;
  const fits = (test) => within.find((e) => named(e).some((text) => text && test(text.trim().replace(/\s+/g, " "))));
  return fits((text) => text === name) ?? fits((text) => text.startsWith(name)) ?? fits((text) => text.includes(name));
};
const text = () => document.body.innerText.replace(/\s+/g, " ");
"#;

impl Tab {
    /// Sends a command of the protocol; its result.
    pub async fn call(&self, method: &str, params: Value) -> Value {
        let answer = self.attempt(method, params).await;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    async fn attempt(&self, method: &str, params: Value) -> Value {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, answer) = oneshot::channel();
        self.seen.lock().unwrap().answers.insert(id, sender);
        let mut command = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        self.commands.send(command).expect("the browser runs");
        let answer = tokio::time::timeout(PATIENCE, answer).await.expect("the browser answers in time");
        answer.expect("Chromium runs: install Debian's package chromium, or let tests/run do it")
    }

    /// Goes to an address and waits until the page is there.
    pub async fn go(&self, url: &str) {
        self.call("Page.navigate", json!({ "url": url })).await;
        self.loaded().await;
    }

    /// Loads the page anew, as a person does who thinks it hangs.
    pub async fn reload(&self) {
        self.eval("window.leaving = true").await;
        self.call("Page.reload", json!({})).await;
        self.until("!window.leaving").await;
        self.loaded().await;
    }

    async fn loaded(&self) {
        self.until("document.readyState === 'complete' && document.querySelector('header.top')").await;
    }

    /// What an expression gives; it may wait for a promise.
    pub async fn eval(&self, expression: &str) -> Value {
        let answer = self.evaluate(expression).await;
        let details = answer["result"].get("exceptionDetails").or_else(|| answer.get("error"));
        assert!(details.is_none(), "{expression}: {answer}");
        answer["result"]["result"]["value"].clone()
    }

    async fn evaluate(&self, expression: &str) -> Value {
        let expression = format!("(async () => {{ {FIND} return ({expression}); }})()");
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true });
        self.attempt("Runtime.evaluate", params).await
    }

    /// Waits until an expression holds; while the page is being left it does not.
    pub async fn until(&self, expression: &str) {
        let held = async {
            loop {
                let answer = self.evaluate(&format!("Boolean({expression})")).await;
                if answer["result"]["result"]["value"] == true {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, held).await.is_ok();
        assert!(in_time, "{expression} never held; the page says: {}", self.text().await);
    }

    /// Waits until the page says this.
    pub async fn says(&self, words: &str) {
        self.until(&format!("text().includes({})", json!(words))).await;
    }

    /// Waits until the page no longer says this.
    pub async fn silent(&self, words: &str) {
        self.until(&format!("!text().includes({})", json!(words))).await;
    }

    /// What the page says.
    pub async fn text(&self) -> String {
        self.eval("text()").await.as_str().unwrap_or_default().to_owned()
    }

    /// Clicks with the mouse on the `button`, `link` or `field` that is called so; it must be there, and on top.
    pub async fn click(&self, kind: &str, name: &str) {
        let found = format!("find({}, {})", json!(kind), json!(name));
        self.until(&format!("{found} && !{found}.disabled")).await;
        let place = format!(
            "(() => {{ const e = {found}; e.scrollIntoView({{ block: 'center', behavior: 'instant' }});
               const r = e.getBoundingClientRect(); const [x, y] = [r.x + r.width / 2, r.y + r.height / 2];
               const top = document.elementFromPoint(x, y);
               return e.contains(top) || top?.contains(e) ? {{ x, y }} : null; }})()"
        );
        self.until(&format!("{place} !== null")).await;
        let place = self.eval(&place).await;
        for kind in ["mousePressed", "mouseReleased"] {
            let params = json!({ "type": kind, "x": place["x"], "y": place["y"], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", params).await;
        }
    }

    /// Clicks on the button that is called so, and picks these files or folders in the dialog that opens.
    pub async fn choose(&self, button: &str, paths: &[PathBuf]) {
        let opened = || self.events("Page.fileChooserOpened");
        let before = opened().len();
        self.call("Page.setInterceptFileChooserDialog", json!({ "enabled": true })).await;
        self.click("button", button).await;
        let dialog = eventually(async || opened().get(before).cloned()).await;
        let node = &dialog["backendNodeId"];
        self.call("DOM.setFileInputFiles", json!({ "files": paths, "backendNodeId": node })).await;
    }

    /// Drags files or folders from the desk over the element that a selector finds, and lets go of them there.
    pub async fn drop_files(&self, place: &str, paths: &[PathBuf]) {
        self.until(&format!("document.querySelector({})", json!(place))).await;
        let middle = format!(
            "(() => {{ const r = document.querySelector({}).getBoundingClientRect();
               return {{ x: r.x + r.width / 2, y: r.y + r.height / 2 }}; }})()",
            json!(place)
        );
        let place = self.eval(&middle).await;
        let data = json!({ "items": [], "files": paths, "dragOperationsMask": 1 });
        for kind in ["dragEnter", "dragOver", "drop"] {
            let params = json!({ "type": kind, "x": place["x"], "y": place["y"], "data": data });
            self.call("Input.dispatchDragEvent", params).await;
        }
    }

    /// What is on the clipboard.
    pub async fn clipboard(&self) -> String {
        self.call(
            "Browser.grantPermissions",
            json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] }),
        )
        .await;
        let text = self.eval("(window.clipboard ?? navigator.clipboard).readText()").await;
        text.as_str().expect("a text").to_owned()
    }

    /// Types text where the focus is.
    pub async fn type_text(&self, text: &str) {
        self.call("Input.insertText", json!({ "text": text })).await;
    }

    /// Fills a field anew.
    pub async fn fill(&self, name: &str, text: &str) {
        self.click("field", name).await;
        self.eval("document.activeElement.select?.()").await;
        self.type_text(text).await;
    }

    /// Presses a key: `Enter`, `Tab`, `Escape`; with `Alt` held, a digit or letter by its code.
    pub async fn press(&self, key: &str) {
        let (modifiers, key) = key.strip_prefix("Alt+").map_or((0, key), |rest| (1, rest));
        let code = match key {
            digit if digit.len() == 1 && digit.as_bytes()[0].is_ascii_digit() => format!("Digit{digit}"),
            letter if letter.len() == 1 => format!("Key{letter}"),
            other => other.to_owned(),
        };
        let number = match key {
            "Enter" => 13,
            "Tab" => 9,
            "Escape" => 27,
            other => i32::from(other.as_bytes()[0]),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut params = json!({ "type": kind, "key": key, "code": code, "modifiers": modifiers, "windowsVirtualKeyCode": number });
            if key == "Enter" && kind == "keyDown" {
                params["text"] = json!("\r");
            }
            self.call("Input.dispatchKeyEvent", params).await;
        }
    }

    /// Asks a question in the view Ask.
    pub async fn ask(&self, question: &str) {
        self.fill("Your question", question).await;
        self.press("Enter").await;
    }

    fn events(&self, method: &str) -> Vec<Value> {
        let seen = self.seen.lock().unwrap();
        let mine = seen.events.iter().filter(|event| event["sessionId"].as_str() == self.session.as_deref());
        mine.filter(|event| event["method"] == method).map(|event| event["params"].clone()).collect()
    }

    /// Every address asked for so far.
    pub fn requests(&self) -> Vec<String> {
        let sent = self.events("Network.requestWillBeSent");
        sent.iter().filter_map(|event| event["request"]["url"].as_str().map(str::to_owned)).collect()
    }

    /// How many bytes came so far, as they are after the network: uncompressed.
    pub fn bytes(&self) -> u64 {
        self.events("Network.dataReceived").iter().filter_map(|event| event["dataLength"].as_u64()).sum()
    }

    /// What a page must not do: uncaught errors, refusals by the policy, failed assertions in the log.
    fn offences(&self) -> Vec<String> {
        let thrown = self.events("Runtime.exceptionThrown");
        let thrown = thrown.iter().map(|event| event["exceptionDetails"]["exception"]["description"].to_string());
        let logged = self.events("Log.entryAdded");
        // The browser logs every status from 400 on; those a page has to live with.
        let logged = logged
            .iter()
            .map(|event| &event["entry"])
            .filter(|entry| entry["level"] == "error" && entry["source"] != "network");
        let said = self.events("Runtime.consoleAPICalled");
        let said = said.iter().filter(|event| event["type"] == "error").map(|event| event["args"].to_string());
        thrown.chain(logged.map(|entry| entry["text"].to_string())).chain(said).collect()
    }

    /// Nothing has happened on the page that must not.
    pub fn finish(self) {
        assert_eq!(self.offences(), Vec::<String>::new());
    }
}
