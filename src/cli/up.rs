//! `ragq up`: API, worker and landing page in one process, on the embedded stores unless others are named.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;

use super::{
    Environment,
    args::UpArgs,
    ask::{self, AskOptions},
    client::{Client, Connection},
    error::CliError,
    exit::Exit,
    ingest::{self, IngestOptions},
    serve::{self, StopSignals},
    terminal::Terminal,
};
use crate::{
    api::Setup,
    app::{App, AppError, Role},
    config::{Secret, Settings, Sources},
    lifecycle::Process,
};

/// Where the admin token that `ragq up` made is kept, within the data folder.
const TOKEN_FILE: &str = "admin-token";

/// Runs everything in one process until it is told to stop.
pub fn run(args: UpArgs, environment: Environment) -> ExitCode {
    let data = args.data.as_ref().map(|data| data.to_string_lossy().into_owned());
    let sources = Sources::new(environment).with_flag("--listen", "api.listen", args.listen.clone()).with_flag(
        "--data",
        "store.data_dir",
        data,
    );
    let shows = args.ask.is_some() || !args.docs.is_empty();
    serve::run(&sources, shows, |settings, terminal| up(args, settings, terminal))
}

async fn up(args: UpArgs, mut settings: Settings, terminal: Terminal) -> anyhow::Result<Exit> {
    // Before anything else, so that an order to stop is not lost while things start.
    let mut stop = StopSignals::new()?;
    let data = settings.store.data_dir.clone();
    let listener = serve::bind(&settings.api.listen).await?;
    let made = admin_token(&mut settings, &data)?;
    let program = std::env::current_exe()?;
    let caller = settings.api_keys()?.into_iter().next().map(|(_, key)| key);
    let app = tokio::select! {
        app = App::open(settings, Role::Everything, program) => app?,
        () = stop.next() => return Ok(Exit::Done),
    };
    serve::warn(&app, terminal);
    let setup = app.setup();
    let mut process = Process::start(app, Some(listener))?;
    let address = process.address.context("it does not listen")?;
    let url = format!("http://{}", serve::reachable(address));
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
    serve::drain(&mut process, &mut stop, terminal).await
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
    let data = fs::canonicalize(data).unwrap_or_else(|_| data.to_owned());
    terminal.line(&format!("ragq {} is ready at {url}", env!("CARGO_PKG_VERSION")))?;
    serve::lines(setup, terminal)?;
    terminal.line(&format!("  data   {}", data.display()))?;
    if let Some(token) = token {
        let file = data.join(TOKEN_FILE);
        terminal.line(&format!("  admin  token {token} (shown once, kept in {})", file.display()))?;
    }
    terminal.line("")
}

/// The admin tokens of the settings, else the one kept in the data folder, else a new one; a new one is
/// returned to be shown.
fn admin_token(settings: &mut Settings, data: &Path) -> anyhow::Result<Option<String>> {
    if !settings.admin_tokens()?.is_empty() {
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
