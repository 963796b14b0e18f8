//! What a serving process does around its parts, whichever they are: settings, logs, signals, the end. And the two
//! roles that do no more than that: `ragq api` and `ragq worker`.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
};

use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};

use super::{
    Environment,
    args::{ApiArgs, WorkerArgs},
    descriptors,
    exit::Exit,
    terminal::Terminal,
};
use crate::{
    api::Setup,
    app::{App, AppError, Role, process_name},
    config::{self, Origin, Purpose, Settings, Sources, settings::LogFormat},
    domain::{failure::chain, ids},
    lifecycle::Process,
    telemetry,
};

/// Runs the API until it is told to stop.
pub(super) fn api(args: ApiArgs, environment: Environment) -> ExitCode {
    let sources = Sources { purpose: Purpose::Api, ..Sources::new(environment) };
    let sources = sources.with_flag("--listen", "api.listen", args.listen);
    run(&sources, false, |settings, terminal| role(settings, Role::Api, terminal))
}

/// Runs a worker until it is told to stop.
pub(super) fn worker(args: WorkerArgs, environment: Environment) -> ExitCode {
    let sources = Sources { purpose: Purpose::Worker, ..Sources::new(environment) };
    let sources = sources.with_flag("--listen", "worker.listen", args.listen);
    run(&sources, false, |settings, terminal| role(settings, Role::Worker, terminal))
}

/// Reads the settings, begins to log, runs, and turns what came of it into an exit code. A command that shows a person
/// what it does (`shows`) logs no more beside it on a terminal than what is wrong, unless told otherwise.
pub(super) fn run<F>(sources: &Sources, shows: bool, serve: impl FnOnce(Settings, Terminal) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<Exit>>,
{
    let mut terminal = Terminal::detect(&sources.environment);
    let mut loaded = match config::load(sources) {
        Ok(loaded) => loaded,
        Err(problems) => {
            eprintln!("{problems}");
            return Exit::Usage.into();
        }
    };
    let log = &mut loaded.settings.log;
    let for_people = log.format == LogFormat::Pretty;
    if shows && for_people && terminal.stderr && loaded.origins.of("log.filter") == Origin::Default {
        "warn".clone_into(&mut log.filter);
    }
    let instance = ids::boot(&process_name(&loaded.settings));
    let export = match telemetry::start(&loaded.settings, &instance) {
        Ok(export) => export,
        Err(error) => {
            terminal.error(&chain(&error));
            return Exit::Usage.into();
        }
    };
    if !for_people {
        terminal = terminal.logged();
    }
    for notice in &loaded.notices {
        terminal.warn(notice);
    }
    if let Some(warning) = descriptors::raise(&loaded.settings.worker) {
        terminal.warn(&warning);
    }
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(serve(loaded.settings, terminal)));
    if let Some(export) = export {
        export.finish();
    }
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            terminal.error(&format_args!("{error:#}"));
            error.downcast_ref::<AppError>().map_or(Exit::Failed, exit_of).into()
        }
    }
}

/// The exit code that a process ends with which could not be put together.
pub(super) const fn exit_of(error: &AppError) -> Exit {
    match error {
        error if error.is_unavailable() => Exit::Unavailable,
        error if error.is_misconfigured() => Exit::Usage,
        _ => Exit::Failed,
    }
}

async fn role(settings: Settings, role: Role, terminal: Terminal) -> anyhow::Result<Exit> {
    // Before anything else, so that an order to stop is not lost while things start.
    let mut stop = StopSignals::new()?;
    let listener = match role {
        Role::Everything | Role::Api => Some(bind(&settings.api.listen).await?),
        Role::Worker => match &settings.worker.listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        },
    };
    let program = std::env::current_exe()?;
    let app = tokio::select! {
        app = App::open(settings, role, program) => app?,
        () = stop.next() => return Ok(Exit::Done),
    };
    warn(&app, terminal);
    let setup = app.setup();
    let mut process = Process::start(app, listener)?;
    announce(role, process.address, &setup, terminal)?;
    tokio::select! {
        result = process.ended() => return Ok(result.map(|()| Exit::Done)?),
        () = stop.next() => {}
    }
    drain(&mut process, &mut stop, terminal).await
}

/// Says what the operator should know of the stores.
pub(super) fn warn(app: &App, terminal: Terminal) {
    for warning in app.warnings() {
        terminal.warn(&warning);
    }
}

fn announce(role: Role, address: Option<SocketAddr>, setup: &Setup, terminal: Terminal) -> io::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let name = match role {
        Role::Everything => "ragq",
        Role::Api => "ragq api",
        Role::Worker => "ragq worker",
    };
    let at = address.map(|address| format!(" at http://{}", reachable(address))).unwrap_or_default();
    terminal.line(&format!("{name} {version} is ready{at}"))?;
    lines(setup, terminal)
}

/// What is configured, a line each.
pub(super) fn lines(setup: &Setup, terminal: Terminal) -> io::Result<()> {
    let Setup { queue, index, model } = setup;
    terminal.line(&format!("  queue  {queue}"))?;
    terminal.line(&format!("  index  {index}"))?;
    terminal.line(&format!("  model  {model}"))
}

/// Lets the process finish what runs; another order to stop ends it on the spot.
pub(super) async fn drain(process: &mut Process, stop: &mut StopSignals, terminal: Terminal) -> anyhow::Result<Exit> {
    terminal.say("ragq is stopping: finishing what runs, Ctrl-C again stops at once");
    tokio::select! {
        result = process.drain() => Ok(result.map(|()| Exit::Done)?),
        () = stop.next() => {
            terminal.say("ragq stopped at once; what ran is delivered again");
            std::process::exit(Exit::Interrupted.code().into());
        }
    }
}

/// A listener on an address as the settings write it.
pub(super) async fn bind(listen: &str) -> anyhow::Result<TcpListener> {
    let address =
        config::listen_address(listen).ok_or_else(|| anyhow::anyhow!("{listen:?} is no address to listen on"))?;
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
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if !ip.is_unspecified() => address,
        IpAddr::V4(_) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        IpAddr::V6(_) => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()),
    }
}

/// Ctrl-C and the order to terminate.
pub(super) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
