//! Who calls: API keys (the key's name is the tenant) and admin tokens (the token's name is the actor of the audit log).
//!
//! Secrets are kept and compared as BLAKE3 hashes, whose comparison takes the same time whatever
//! differs; all keys are looked at every time. A handler takes a [`Caller`], [`Submitter`] or [`Admin`]
//! as an argument, so none can be written that forgets to ask.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::extract::{ConnectInfo, FromRequestParts};
use http::{HeaderMap, HeaderValue, header, request::Parts};

use super::{
    problem::{Problem, ProblemCode, Result},
    request::Received,
    state::ApiState,
};
use crate::{
    config::Secret,
    domain::ids::{JobId, Tenant},
};

/// Secrets that callers present, kept as their hashes, each with what it stands for.
#[derive(Clone)]
pub struct Tokens<N>(Vec<(N, blake3::Hash)>);

/// The API keys with their tenants; none: everybody may call.
pub type ApiKeys = Tokens<Tenant>;

/// The admin tokens with their names; none: the admin routes are closed.
pub type AdminTokens = Tokens<Arc<str>>;

impl<N> Tokens<N> {
    /// These.
    pub fn new(named: impl IntoIterator<Item = (N, Secret)>) -> Self {
        Self(named.into_iter().map(|(name, secret)| (name, blake3::hash(secret.expose().as_bytes()))).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the presented secret stands for; takes the same time whichever it is, also if it is none of them.
    fn holder(&self, presented: &str) -> Option<&N> {
        let presented = blake3::hash(presented.as_bytes());
        self.0.iter().fold(None, |found, (name, token)| if *token == presented { Some(name) } else { found })
    }
}

impl<N> Default for Tokens<N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<N: fmt::Debug> fmt::Debug for Tokens<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// The bearer token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(ProblemCode::Unauthorized, detail)
        .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"ragq\""))
}

/// Whoever calls, by key.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose everything is that the call touches.
    pub tenant: Tenant,
}

impl Caller {
    /// The caller, if the request names one that may call.
    pub fn of(state: &ApiState, headers: &HeaderMap) -> Option<Self> {
        if state.keys.is_empty() {
            return Some(Self { tenant: Tenant::default() });
        }
        state.keys.holder(bearer(headers)?).map(|tenant| Self { tenant: tenant.clone() })
    }
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self> {
        Self::of(state, &parts.headers).ok_or_else(|| unauthorized("send an API key as \"Authorization: Bearer KEY\""))
    }
}

/// A caller who is about to submit and has not done so too often.
#[derive(Clone, Debug)]
pub struct Submitter {
    /// Whose the job will be.
    pub tenant: Tenant,
}

impl FromRequestParts<ApiState> for Submitter {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self> {
        let Caller { tenant } = Caller::from_request_parts(parts, state).await?;
        if let Some(Err(wait)) = state.rate.as_ref().map(|rate| rate.take(&tenant)) {
            return Err(
                Problem::new(ProblemCode::RateLimited, "this key has used up its requests for now").retry_after(wait)
            );
        }
        Ok(Self { tenant })
    }
}

/// Whoever may look at a job: the tenant whose it is, or the operator if it is a replay.
#[derive(Clone, Debug)]
pub struct Viewer {
    tenant: Option<Tenant>,
    operator: Option<Admin>,
}

impl Viewer {
    /// The tenant by whose right this one looks at the job; none: it is not there, or not for this one.
    pub async fn tenant_of(&self, state: &ApiState, job: JobId) -> Result<Option<Tenant>> {
        let operator = Tenant::operator();
        if self.operator.is_some() && state.store.job(&operator, job).await?.is_some() {
            return Ok(Some(operator));
        }
        Ok(self.tenant.clone())
    }

    /// The operator, if the job is the operator's.
    pub fn operator_of(&self, tenant: &Tenant) -> Option<&Admin> {
        self.operator.as_ref().filter(|_| *tenant == Tenant::operator())
    }
}

impl FromRequestParts<ApiState> for Viewer {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self> {
        let operator = Admin::from_request_parts(parts, state).await.ok();
        match Caller::from_request_parts(parts, state).await {
            Ok(Caller { tenant }) => Ok(Self { tenant: Some(tenant), operator }),
            Err(_) if operator.is_some() => Ok(Self { tenant: None, operator }),
            Err(problem) => Err(problem),
        }
    }
}

/// Somebody with an admin token.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The token's name.
    pub name: Arc<str>,
    /// Where the connection came from, if that is known.
    pub remote_address: Option<IpAddr>,
    /// The request's id.
    pub request_id: String,
}

impl FromRequestParts<ApiState> for Admin {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self> {
        if state.admin_tokens.is_empty() {
            return Err(unauthorized("no admin token is set (RAGQ_ADMIN_TOKEN): the admin routes are closed"));
        }
        let name = bearer(&parts.headers).and_then(|presented| state.admin_tokens.holder(presented));
        let name = name.ok_or_else(|| unauthorized("send the admin token as \"Authorization: Bearer TOKEN\""))?;
        Ok(Self {
            name: name.clone(),
            remote_address: parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip()),
            request_id: parts.extensions.get::<Received>().map(|request| request.id.clone()).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_for_its_tenant_and_nothing_else_does() {
        let keys = ApiKeys::new([("acme".into(), "k:1".into()), ("umbrella".into(), "k2".into())]);
        assert_eq!(keys.holder("k:1").unwrap().as_str(), "acme");
        assert_eq!(keys.holder("k2").unwrap().as_str(), "umbrella");
        assert!(keys.holder("k").is_none());
        assert!(keys.holder("").is_none());
        assert!(ApiKeys::default().is_empty());
        assert_eq!(format!("{keys:?}"), r#"[Tenant("acme"), Tenant("umbrella")]"#);
    }
}
