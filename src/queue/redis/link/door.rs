//! Opens connections: TCP or TLS, sign-in, database. Which server it opens one to is `resolve`'s matter.
//!
//! Signing in is done here and not by the client library, which makes "wrong password" of every failure of it.

use std::{path::Path, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, Pipeline, ProtocolVersion,
    RedisConnectionInfo, TlsCertificates,
    aio::{MultiplexedConnection, PubSub},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::{
    address::Address,
    faults::{Fault, Trouble},
};

/// How many calls may wait to be written to a connection; the library's own 50 makes callers queue for a place.
const CALLS_TO_BE_WRITTEN: usize = 1_024;

/// How long a server that hung up is listened to, for why: it speaks at once or not at all.
const REFUSED_WITHIN: Duration = Duration::from_millis(250);
/// So much of what it says is read, in bytes.
const REFUSAL: u64 = 4_096;

/// How connections are opened.
pub(super) struct Door {
    pub address: Address,
    /// Our own authorities and not the system's: a connection with them, to take its settings from.
    trust: Option<ConnectionAddr>,
    connect_timeout: Duration,
    response_timeout: Duration,
}

/// Whether a connection signs in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SignIn {
    /// With user, password and database.
    Yes,
    /// With user and password: a sentinel has no databases.
    WithoutDatabase,
    /// Not at all.
    No,
}

impl Door {
    pub(super) fn new(
        address: Address,
        authorities: Option<&Path>,
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> Result<Self, String> {
        let trust = match authorities {
            Some(_) if !address.tls => {
                return Err("certificate authorities are named, but the URL begins with redis://, not rediss://".into());
            }
            Some(path) => Some(read_authorities(path)?),
            None => None,
        };
        if address.tls {
            // Two implementations of the cryptography are compiled in, so TLS needs to be told which is meant.
            // An error says that somebody has already told it.
            rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        }
        Ok(Self { address, trust, connect_timeout, response_timeout })
    }

    /// A connection to this host; `answer_within` bounds each answer.
    pub(super) async fn open(
        &self,
        host: &(String, u16),
        answer_within: Option<Duration>,
        sign_in: SignIn,
    ) -> Result<MultiplexedConnection, Trouble> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(answer_within)
            .set_pipeline_buffer_size(CALLS_TO_BE_WRITTEN);
        let client = Client::open(self.info(host)?)?;
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let signed_in = match sign_in {
            SignIn::Yes => self.sign_in(connection.clone(), self.address.database).await,
            SignIn::WithoutDatabase => self.sign_in(connection.clone(), 0).await,
            SignIn::No => Ok(()),
        };
        match signed_in {
            Ok(()) => Ok(connection),
            Err(trouble) if trouble.fault == Fault::Unclear && !self.address.tls => {
                Err(self.refusal(host).await.unwrap_or(trouble))
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// What a server says to a connection before it was asked anything. One in protected mode, or with as many clients
    /// as it may have, says so and hangs up: whoever had begun to write sees a broken pipe and no word of it.
    async fn refusal(&self, (host, port): &(String, u16)) -> Option<Trouble> {
        let hearing = async {
            let stream = TcpStream::connect((host.as_str(), *port)).await.ok()?;
            let mut line = String::new();
            BufReader::new(stream.take(REFUSAL)).read_line(&mut line).await.ok()?;
            let said = redis::parse_redis_value(line.as_bytes()).ok()?.extract_error().err()?;
            Some(Trouble::from(said))
        };
        timeout(REFUSED_WITHIN, hearing).await.ok()?
    }

    /// A connection to this host for subscriptions.
    pub(super) async fn subscriber(&self, host: &(String, u16)) -> Result<PubSub, Trouble> {
        // Only the library itself can sign in on such a connection.
        let mut settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(user) = &self.address.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &self.address.password {
            settings = settings.set_password(password);
        }
        let client = Client::open(self.info(host)?.set_redis_settings(settings))?;
        let opening = timeout(self.connect_timeout + self.response_timeout, client.get_async_pubsub());
        Ok(opening.await.map_err(|_| Trouble::late("connecting"))??)
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    pub(super) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    fn info(&self, (host, port): &(String, u16)) -> Result<ConnectionInfo, Trouble> {
        let address = if self.address.tls {
            let tls_params = match &self.trust {
                Some(ConnectionAddr::TcpTls { tls_params, .. }) => tls_params.clone(),
                // The enum is open to new kinds of addresses.
                Some(_) | None => None,
            };
            ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params }
        } else {
            ConnectionAddr::Tcp(host.clone(), *port)
        };
        // A peer that vanished without a word is noticed even by a connection that only listens.
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(10))
            .with_interval(Duration::from_secs(5))
            .with_retries(3);
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        let settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
        Ok(address.into_connection_info()?.set_tcp_settings(tcp).set_redis_settings(settings))
    }

    async fn sign_in(&self, mut connection: MultiplexedConnection, database: i64) -> Result<(), Trouble> {
        let Address { user, password, .. } = &self.address;
        let mut greeting = Pipeline::new();
        if let Some(password) = password {
            greeting.cmd("AUTH").arg(user).arg(password);
        }
        if database != 0 {
            greeting.cmd("SELECT").arg(database);
        }
        // Shown to whoever lists the server's clients; servers before 7.2 don't know it, which is no matter.
        greeting.cmd("CLIENT").arg("SETINFO").arg("LIB-NAME").arg("ragq");
        let needed = greeting.len() - 1;
        connection.set_response_timeout(self.response_timeout);
        let replies = connection.send_packed_commands(&greeting, 0, greeting.len()).await?;
        for (number, reply) in replies.into_iter().enumerate() {
            if let Err(error) = reply.extract_error() {
                let mut trouble = Trouble::from(error);
                if number >= needed && matches!(trouble.fault, Fault::Denied | Fault::Broken) {
                    continue;
                }
                // A password for a server that knows none.
                if number == 0 && password.is_some() && trouble.fault == Fault::Broken {
                    trouble.fault = Fault::Locked;
                }
                return Err(trouble);
            }
        }
        Ok(())
    }
}

fn read_authorities(path: &Path) -> Result<ConnectionAddr, String> {
    let certificates = std::fs::read(path).map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    let any = ConnectionAddr::TcpTls { host: "localhost".into(), port: 1, insecure: false, tls_params: None };
    let built =
        Client::build_with_tls(any, TlsCertificates { client_tls: None, root_cert: Some(certificates.clone()) });
    let held = String::from_utf8_lossy(&certificates).contains("-----BEGIN CERTIFICATE-----");
    match built {
        Ok(client) if held => Ok(client.get_connection_info().addr().clone()),
        Ok(_) | Err(_) => Err(format!("{} holds no certificates in PEM", path.display())),
    }
}
