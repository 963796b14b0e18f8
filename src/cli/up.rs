//! `ragq up`: API, worker and landing page in one process on the embedded stores.

use std::{
    fs, io,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};

use super::{
    Environment,
    args::UpArgs,
    ask::{self, AskOptions},
    client::{Client, Connection},
    descriptors,
    error::CliError,
    exit::Exit,
    ingest::{self, IngestOptions},
    terminal::Terminal,
};
use crate::{
    api::Setup,
    app::{App, AppError},
    config::{self, Secret, Settings, Sources},
    lifecycle::Process,
    telemetry,
};

/// Where the admin token that `ragq up` made is kept, within the data folder.
const TOKEN_FILE: &str = "admin-token";

/// Runs everything in one process until it is told to stop.
pub fn run(args: UpArgs, environment: Environment) -> ExitCode {
    let terminal = Terminal::detect(&environment);
    let sources = Sources::new(environment).with_flag("--listen", "api.listen", args.listen.clone()).with_flag(
        "--data",
        "store.data_dir",
        args.data.as_ref().map(|data| data.to_string_lossy().into_owned()),
    );
    let loaded = match config::load(&sources) {
        Ok(loaded) => loaded,
        Err(problems) => {
            eprintln!("{problems}");
            return Exit::Usage.into();
        }
    };
    if let Err(error) = telemetry::logs::init(&loaded.settings.log) {
        eprintln!("log.filter (RUST_LOG): {error}");
        return Exit::Usage.into();
    }
    for notice in &loaded.notices {
        terminal.say(&notice.to_string());
    }
    if let Some(warning) = descriptors::raise(&loaded.settings.worker) {
        terminal.say(&format!("ragq: {warning}"));
    }
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(up(args, loaded.settings, terminal)));
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            terminal.say(&format!("ragq: {error:#}"));
            Exit::Failed.into()
        }
    }
}

async fn up(args: UpArgs, mut settings: Settings, terminal: Terminal) -> anyhow::Result<Exit> {
    // Before anything else, so that an order to stop is not lost while things start.
    let mut stop = StopSignals::new()?;
    let data = settings.store.data_dir.clone();
    let listener = bind(&settings).await?;
    let made = admin_token(&mut settings, &data)?;
    let program = std::env::current_exe()?;
    let caller = settings.api_keys()?.into_iter().next().map(|(_, key)| key);
    let app = App::embedded(settings, &data, program)?;
    let setup = app.setup();
    let mut process = Process::start(app, listener)?;
    let url = format!("http://{}", reachable(process.address));
    announce(&url, &setup, &data, made.as_deref(), terminal)?;

    let client = Client::new(Connection { api_key: caller, ..Connection::to(&url) })?;
    let served = tokio::select! {
        result = process.ended() => return Ok(result.map(|()| Exit::Done)?),
        () = stop.next() => None,
        served = first_requests(&client, &args, terminal) => Some(served),
    };
    if let Some(served) = served {
        if let Err(error) = served {
            // What was asked for at start is no reason to go down: the service is up.
            terminal.error(&error);
        }
        terminal.say(&format!("ragq stays up at {url} (Ctrl-C ends it)"));
        tokio::select! {
            result = process.ended() => return Ok(result.map(|()| Exit::Done)?),
            () = stop.next() => {}
        }
    }
    terminal.say("ragq is stopping: finishing what runs, Ctrl-C again stops at once");
    tokio::select! {
        result = process.drain() => Ok(result.map(|()| Exit::Done)?),
        () = stop.next() => {
            terminal.say("ragq stopped at once; what ran is delivered again at the next start");
            std::process::exit(Exit::Interrupted.code().into());
        }
    }
}

/// Takes in `--docs`, asks `--ask`.
async fn first_requests(client: &Client, args: &UpArgs, terminal: Terminal) -> Result<(), CliError> {
    if !args.docs.is_empty() {
        let progress = if terminal.stderr { ingest::Progress::bars() } else { ingest::Progress::hidden() };
        let summary = ingest::run_paths(client, &args.docs, &IngestOptions::default(), &progress).await;
        terminal.say(&format!("documents: {}", summary.line()));
        for failure in &summary.failures {
            terminal.say(&format!("  {}: {}", failure.name, failure.reason));
        }
        if let Some(error) = summary.error {
            return Err(error.into());
        }
    }
    if let Some(question) = &args.ask {
        let (collection, conversation, top_k) = (None, None, None);
        let options = AskOptions { collection, conversation, top_k, stream: true, json: false, terminal };
        ask::ask_and_print(client, question, &options).await?;
    }
    Ok(())
}

fn announce(url: &str, setup: &Setup, data: &Path, token: Option<&str>, terminal: Terminal) -> io::Result<()> {
    let Setup { queue, index, model } = setup;
    let data = fs::canonicalize(data).unwrap_or_else(|_| data.to_owned());
    terminal.line(&format!("ragq {} is ready at {url}", env!("CARGO_PKG_VERSION")))?;
    terminal.line(&format!("  queue  {queue}"))?;
    terminal.line(&format!("  index  {index}"))?;
    terminal.line(&format!("  model  {model}"))?;
    terminal.line(&format!("  data   {}", data.display()))?;
    if let Some(token) = token {
        let file = data.join(TOKEN_FILE);
        terminal.line(&format!("  admin  token {token} (shown once, kept in {})", file.display()))?;
    }
    terminal.line("")
}

async fn bind(settings: &Settings) -> anyhow::Result<TcpListener> {
    let address = settings.api.listen_address().context("api.listen is no address")?;
    TcpListener::bind(address).await.map_err(|error| {
        let hint = if error.kind() == io::ErrorKind::AddrInUse {
            ": another program listens there, choose another address with --listen"
        } else {
            ""
        };
        anyhow::anyhow!("can't listen on {address}: {error}{hint}")
    })
}

/// An address that clients on this machine can use, also if it listens on all addresses.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if !ip.is_unspecified() => address,
        IpAddr::V4(_) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        IpAddr::V6(_) => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()),
    }
}

/// The admin token of the settings, else the one kept in the data folder, else a new one; a new one is
/// returned to be shown.
fn admin_token(settings: &mut Settings, data: &Path) -> anyhow::Result<Option<String>> {
    if settings.api.admin_token.is_some() {
        return Ok(None);
    }
    let unusable = |error| AppError::Data(data.to_owned(), error);
    fs::create_dir_all(data).map_err(unusable)?;
    let path = data.join(TOKEN_FILE);
    let (token, made) = match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => (text.trim().to_owned(), false),
        Ok(_) => (write_token(&path).map_err(unusable)?, true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (write_token(&path).map_err(unusable)?, true),
        Err(error) => return Err(unusable(error).into()),
    };
    settings.api.admin_token = Some(Secret::from(token.as_str()));
    Ok(made.then_some(token))
}

/// 256 random bits, written so that a crash leaves no half of them.
fn write_token(path: &PathBuf) -> io::Result<String> {
    let token = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
    let unfinished = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(token.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    Ok(token)
}

/// Ctrl-C and the order to terminate.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
