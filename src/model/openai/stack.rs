//! What happens around every call to the provider, as one list of tower layers.
//!
//! From the outside in:
//!
//! 1. the job's deadline, which ends everything below it;
//! 2. rate admission: what the call may cost is reserved of the deployment's budget;
//! 3. concurrency: it takes its place among the calls under way;
//! 4. the circuit breaker: the [`Gate`] gives the call a [`Ticket`] or refuses it. It is asked last, because its answer
//!    may change while a call waits for the two before; all three stand outside the timeouts, so that waiting for a
//!    turn is not held against the provider;
//! 5. the account: what goes wrong below is reported through the ticket; a reply takes it along, for whoever reads the
//!    reply to report how it ended. A call that is dropped drops its ticket;
//! 6. the timeout until the reply has begun: until its headers, or until the whole body if it is an error;
//! 7. the judge: what any reply says of the provider's limits is learned; one that is no success becomes a
//!    [`Failure`], so that everything outside it, and async-openai itself, which logs the bodies of errors, sees a
//!    code and never a body;
//! 8. the transport: one request, with a timeout for connecting, no redirects, and no retry anywhere. The
//!    job retries, nobody else.
//!
//! What can go wrong after the reply has begun is `reading`'s.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_openai::{
    error::OpenAIError,
    middleware::{HttpRequestFactory, ReqwestService},
};
use http::HeaderMap;
use reqwest::Response;
use tokio::time::timeout_at;
use tower::{
    BoxError, Service, ServiceBuilder, ServiceExt as _, layer::layer_fn, service_fn, timeout::TimeoutLayer,
    timeout::error::Elapsed, util::BoxCloneSyncService,
};

use super::{SetupError, classify, echo, error_body::ErrorBody, rate_headers, retry_after, wording::presentable};
use crate::{
    domain::failure::{Code, Failure},
    gate::{Cost, Gate, Place, Reservation, Ticket},
    model::{Bounds, Message},
};

/// How calls to the provider go out.
pub(super) type Stack = BoxCloneSyncService<Call, Response, Failure>;

/// The lower end of it: a request goes out, what is no success is a failure.
pub(super) type Transport = BoxCloneSyncService<HttpRequestFactory, Response, Failure>;

/// Takes out of a failure what repeats the request: whatever leaves the stack, also for the breaker, went through it.
pub(super) type Clean = Arc<dyn Fn(Failure) -> Failure + Send + Sync>;

/// One call.
pub(super) struct Call {
    /// The request.
    pub(super) factory: HttpRequestFactory,
    /// What is asked, where traces tell it.
    pub(super) prompt: Arc<[Message]>,
    /// What it may cost.
    pub(super) cost: Cost,
    /// What the job allows it.
    pub(super) bounds: Bounds,
    /// What is done to its failures.
    pub(super) clean: Clean,
}

/// A call with its share of the budget.
struct Paid {
    call: Call,
    reservation: Reservation,
}

/// The same with its place among those under way.
struct Placed {
    paid: Paid,
    place: Place,
}

/// What is left of a call once it may go out: its prompt, if traces tell it, was told.
struct Admitted {
    factory: HttpRequestFactory,
    clean: Clean,
    ticket: Ticket,
}

/// A ticket on its way out with the reply: extensions want to be cloned.
#[derive(Clone)]
struct Carried(Arc<Mutex<Option<Ticket>>>);

/// So much of an error's body is read; the words that matter stand at its beginning.
const MAX_ERROR_BODY: usize = 64 * 1024;

/// The stack over `transport`: `begin` is the time within which that must have answered.
pub(super) fn stack(gate: &Arc<Gate>, begin: Duration, transport: Transport) -> Stack {
    let timed = ServiceBuilder::new()
        .map_err(move |error: BoxError| timed_out_or(error, begin))
        .layer(TimeoutLayer::new(begin))
        .service(transport);
    let service = ServiceBuilder::new()
        .layer(layer_fn(within_deadline))
        .map_err(|error: BoxError| unboxed(error))
        .filter_async(gated(gate, pay))
        .filter_async(gated(gate, take_place))
        .filter_async(gated(gate, pass_breaker))
        .service(accounted(BoxCloneSyncService::new(timed)));
    BoxCloneSyncService::new(service)
}

/// The judge over the HTTP client; `key` is what is masked in errors.
pub(super) fn transport(http: reqwest::Client, key: &str, gate: Arc<Gate>) -> Transport {
    let key = key.to_owned();
    let service = ServiceBuilder::new()
        .and_then(move |response: Response| {
            gate.learn(rate_headers::read(response.headers()));
            judge(response, key.clone())
        })
        .map_err(|error: OpenAIError| of_client(error))
        .service(ReqwestService::new(http));
    BoxCloneSyncService::new(service)
}

fn within_deadline<S>(inner: S) -> impl Service<Call, Response = Response, Error = Failure, Future: Send> + Clone + Sync
where
    S: Service<Call, Response = Response, Error = Failure, Future: Send> + Clone + Send + Sync + 'static,
{
    service_fn(move |call: Call| {
        let (inner, deadline) = (inner.clone(), call.bounds.deadline);
        async move {
            let answer = inner.oneshot(call);
            match deadline {
                Some(deadline) => timeout_at(deadline, answer).await.unwrap_or_else(|_| {
                    Err(Failure::new(Code::DeadlineExceeded, "the job was not done by its deadline"))
                }),
                None => answer.await,
            }
        }
    })
}

/// `step` at `gate`, as a filter of calls.
fn gated<Q, A, F>(gate: &Arc<Gate>, step: fn(Arc<Gate>, Q) -> F) -> impl Fn(Q) -> F + Clone + Send + Sync + use<Q, A, F>
where
    F: Future<Output = Result<A, Failure>>,
{
    let gate = gate.clone();
    move |call| step(gate.clone(), call)
}

async fn pay(gate: Arc<Gate>, call: Call) -> Result<Paid, Failure> {
    Ok(Paid { reservation: gate.reserve(call.cost, call.bounds.patience).await?, call })
}

async fn take_place(gate: Arc<Gate>, paid: Paid) -> Result<Placed, Failure> {
    Ok(Placed { place: gate.enter(paid.call.bounds.patience).await?, paid })
}

async fn pass_breaker(gate: Arc<Gate>, Placed { paid, place }: Placed) -> Result<Admitted, Failure> {
    let Paid { call, reservation } = paid;
    let prompt = call.prompt.iter().map(|message| (message.role.as_str(), &*message.content));
    let ticket = gate.admit().await?.with(reservation, place, call.bounds.spent.clone()).asking(prompt);
    Ok(Admitted { factory: call.factory, clean: call.clean, ticket })
}

fn accounted(
    inner: Transport,
) -> impl Service<Admitted, Response = Response, Error = Failure, Future: Send> + Clone + Sync {
    service_fn(move |Admitted { factory, clean, ticket }: Admitted| {
        let inner = inner.clone();
        async move {
            match inner.oneshot(factory).await {
                Ok(mut response) => {
                    response.extensions_mut().insert(Carried(Arc::new(Mutex::new(Some(ticket)))));
                    Ok(response)
                }
                Err(failure) => Err(ticket.failed(clean(failure))),
            }
        }
    })
}

/// The ticket that a reply brought along.
pub(super) fn ticket_of(response: &mut Response) -> Option<Ticket> {
    let Carried(ticket) = response.extensions_mut().remove()?;
    ticket.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The HTTP client at the bottom of the stack.
pub(super) fn client(connect_timeout: Duration) -> Result<reqwest::Client, SetupError> {
    reqwest::Client::builder()
        .connect_timeout(connect_timeout)
        .tcp_keepalive(Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .build()
        .map_err(SetupError::Http)
}

impl From<Failure> for OpenAIError {
    fn from(failure: Failure) -> Self {
        Self::Boxed(Box::new(failure))
    }
}

/// What async-openai's client came back with; a failure of the stack comes back as it was.
pub(super) fn of_client(error: OpenAIError) -> Failure {
    match error {
        OpenAIError::Boxed(error) => match error.downcast::<Failure>() {
            Ok(failure) => *failure,
            Err(error) => Failure::new(Code::Unknown, "the call to the provider failed").with_source(error),
        },
        OpenAIError::Reqwest(error) => of_transport(error, false),
        OpenAIError::JSONDeserialize(error, _body) => garbled("its JSON could not be read").with_source(place(&error)),
        // The stack lets no error body through, and only streams of its own reading.
        OpenAIError::ApiError(_) | OpenAIError::StreamError(_) => garbled("it was no reply to the request"),
        OpenAIError::InvalidArgument(_) | OpenAIError::FileSaveError(_) | OpenAIError::FileReadError(_) => {
            Failure::new(Code::Unknown, "the request to the provider could not be built")
        }
    }
}

/// An error below HTTP; the address is left out of it, for it may hold a password.
pub(super) fn of_transport(error: reqwest::Error, began: bool) -> Failure {
    let code = classify::transport(&error, began);
    let message = match code {
        Code::StreamCut => "the provider's reply broke off before its end",
        Code::ProviderGarbled => "the provider's reply was not HTTP",
        Code::ProviderTimeout => "the provider did not reply in time",
        _ if error.is_connect() && error.is_timeout() => "connecting to the provider took too long",
        _ if error.is_connect() => "the provider can't be reached",
        _ => "the connection to the provider was lost before it replied",
    };
    Failure::new(code, message).with_source(error.without_url())
}

/// Where JSON could not be read, for logs: the error's own words may quote an answer.
pub(super) fn place(error: &serde_json::Error) -> String {
    format!("{:?} error in line {}, column {}", error.classify(), error.line(), error.column())
}

/// A reply that is not what the protocol says; `what` completes "the provider's reply was garbled: ".
pub(super) fn garbled(what: &str) -> Failure {
    Failure::new(Code::ProviderGarbled, format!("the provider's reply was garbled: {what}"))
}

fn timed_out_or(error: BoxError, begin: Duration) -> Failure {
    if error.is::<Elapsed>() {
        return Failure::new(Code::ProviderTimeout, format!("the provider did not reply within {begin:?}"));
    }
    unboxed(error)
}

fn unboxed(error: BoxError) -> Failure {
    match error.downcast::<Failure>() {
        Ok(failure) => *failure,
        Err(error) => Failure::new(Code::Unknown, "the call to the provider failed").with_source(error),
    }
}

async fn judge(mut response: Response, key: String) -> Result<Response, Failure> {
    if response.status().is_success() {
        return Ok(response);
    }
    let mut body = Vec::new();
    // An error whose body breaks off is still that error.
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() >= MAX_ERROR_BODY {
            break;
        }
    }
    body.truncate(MAX_ERROR_BODY);
    Err(of_error_body(Some(response.status()), response.headers(), ErrorBody::of(&body), &key))
}

/// What a provider said of an error, kept behind the failure for `dialect` and for logs.
#[derive(Debug, thiserror::Error)]
#[error("{words} (type {kind:?}, code {code:?}, param {param:?})")]
pub(super) struct Said {
    words: String,
    kind: Option<String>,
    code: Option<String>,
    param: Option<String>,
}

impl Said {
    /// Whether the error is that the provider does not take the request's field `field` at all, as against
    /// its value.
    pub(super) fn refuses(&self, field: &str) -> bool {
        const SAYS: [&str; 7] =
            ["unsupported", "not supported", "unknown", "unrecognized", "unexpected", "extra", "not permitted"];
        let said = self.words.to_lowercase();
        let code = self.code.as_deref().unwrap_or_default().to_lowercase();
        (self.param.as_deref() == Some(field) || said.contains(field))
            && SAYS.iter().any(|words| said.contains(words) || code.starts_with(words))
    }
}

/// The failure that an error's description makes; no status for an error inside a stream.
pub(super) fn of_error_body(
    status: Option<reqwest::StatusCode>,
    headers: &HeaderMap,
    body: ErrorBody,
    key: &str,
) -> Failure {
    let code = classify::reply(status.map(|status| status.as_u16()), &body);
    let shown = |text: Option<String>| text.map(|text| presentable(&text, key));
    let said = Said {
        words: shown(body.message).unwrap_or_default(),
        kind: shown(body.kind),
        code: shown(body.code),
        param: shown(body.param),
    };
    let mut message = match status.filter(|status| !status.is_success()) {
        Some(status) => format!("the provider answered {status}"),
        None => "the provider broke off with an error".to_owned(),
    };
    if body.html {
        message.push_str(" with a page instead of JSON");
    } else if !said.words.is_empty() {
        message.push_str(": ");
        message.push_str(&said.words);
    }
    if let Some(hint) = hint(code) {
        message.push_str(hint);
    }
    let wait = retry_after::asked(headers)
        .or_else(|| (code == Code::RateLimited).then(|| retry_after::reset(headers)).flatten());
    Failure::new(code, message).with_retry_after(wait).with_source(said)
}

const fn hint(code: Code) -> Option<&'static str> {
    match code {
        Code::ProviderUnauthorized => Some(" (check OPENAI_API_KEY)"),
        Code::ModelNotFound => Some(" (check the model's name and OPENAI_BASE_URL)"),
        Code::QuotaExhausted => Some(" (the account has no quota left)"),
        _ => None,
    }
}

/// `failure` without what its message repeats of `sent`.
pub(super) fn without_echo<'a>(mut failure: Failure, sent: impl IntoIterator<Item = &'a str> + Clone) -> Failure {
    failure.message = echo::without_echo(&failure.message, sent.clone());
    if let Some(said) = failure.source.as_mut().and_then(|source| source.downcast_mut::<Said>()) {
        said.words = echo::without_echo(&said.words, sent);
    }
    failure
}
