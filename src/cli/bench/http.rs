//! A connection to the API that costs the client next to nothing, so that on a small machine it is the API that is
//! measured: one request at a time, kept open.

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};

use crate::cli::{
    client::{ClientError, Connection},
    error::CliError,
};

/// Where requests go and what is shown there.
#[derive(Clone, Debug)]
pub(super) struct Target {
    host: String,
    port: u16,
    path: String,
    authorization: Option<String>,
    url: String,
}

impl Target {
    /// The API of this connection. Fails for an address that begins with `https`.
    pub(super) fn new(connection: &Connection) -> Result<Self, CliError> {
        let url = &connection.url;
        let unfit = || {
            CliError::Usage(format!(
                "this measures the API itself, over plain HTTP: give an address that begins with http:// (not {url})"
            ))
        };
        let uri: Uri = url.parse().map_err(|_| unfit())?;
        if uri.scheme_str() != Some("http") {
            return Err(unfit());
        }
        let host = uri.host().ok_or_else(unfit)?.trim_matches(['[', ']']).to_owned();
        Ok(Self {
            host,
            port: uri.port_u16().unwrap_or(80),
            path: uri.path().trim_end_matches('/').to_owned(),
            authorization: connection.api_key.as_ref().map(|key| format!("Bearer {}", key.expose())),
            url: url.clone(),
        })
    }

    /// The port, if it is one of this machine.
    pub(super) fn local_port(&self) -> Option<u16> {
        let local = self.host == "localhost"
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        local.then_some(self.port)
    }

    /// A request for a route.
    pub(super) fn request(&self, method: Method, route: &str, body: Bytes) -> http::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{route}", self.path))
            .header(header::HOST, format!("{}:{}", self.host, self.port));
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request.body(Full::new(body))
    }

    fn unreachable(&self, error: &std::io::Error) -> CliError {
        ClientError::Unreachable { url: self.url.clone(), reason: error.to_string() }.into()
    }
}

/// An open connection; opened anew when it was lost.
pub(super) struct Http {
    target: Target,
    sender: SendRequest<Full<Bytes>>,
    /// Moves the connection's bytes.
    driver: JoinSet<()>,
}

impl Http {
    pub(super) async fn connect(target: &Target) -> Result<Self, CliError> {
        let mut driver = JoinSet::new();
        let sender = open(target, &mut driver).await?;
        Ok(Self { target: target.clone(), sender, driver })
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<(StatusCode, Bytes)> {
        if self.sender.is_closed() {
            self.sender = open(&self.target, &mut self.driver).await?;
        }
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await.context("the answer broke off")?.to_bytes();
        Ok((status, body))
    }
}

async fn open(target: &Target, driver: &mut JoinSet<()>) -> Result<SendRequest<Full<Bytes>>, CliError> {
    let stream =
        TcpStream::connect((target.host.as_str(), target.port)).await.map_err(|error| target.unreachable(&error))?;
    stream.set_nodelay(true).map_err(|error| target.unreachable(&error))?;
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(|error| target.unreachable(&std::io::Error::other(error)))?;
    driver.spawn(async move {
        // Its failure is also that of the request under way, which tells it.
        connection.await.ok();
    });
    Ok(sender)
}
