//! Rules that one value's shape can't say: between settings, and about texts that stand for something.
//!
//! A rule that involves a value already refused is left out: it would blame what is right. Limits of single
//! numbers are at their fields in [`settings`](super::settings).

use tracing_subscriber::EnvFilter;

use super::{
    Purpose, Sources,
    problem::{Origin, Origins, Problem},
    secret::Secret,
    settings::{Fallback, RedisMode, Settings},
};

/// What the rules found.
#[derive(Default)]
pub(super) struct Findings {
    pub problems: Vec<Problem>,
    pub notices: Vec<Problem>,
}

/// Judges the settings by every rule that applies.
pub(super) fn check(settings: &Settings, origins: &Origins, spoiled: &[&str], sources: &Sources) -> Findings {
    let purpose = sources.purpose;
    let mut rules = Rules { settings, origins, spoiled, found: Findings::default() };
    rules.client();
    if purpose != Purpose::Client {
        rules.traces();
        rules.stores(purpose);
        rules.listening(purpose);
        rules.queue_and_workers();
        rules.draining(purpose, sources.deploying);
        rules.redis();
        rules.index();
        rules.ingestion_and_retrieval();
        rules.models(purpose);
    }
    rules.found
}

struct Rules<'a> {
    settings: &'a Settings,
    origins: &'a Origins,
    spoiled: &'a [&'a str],
    found: Findings,
}

impl Rules<'_> {
    /// The rule's message as a problem of the first of `paths` that somebody set; none if one is spoiled.
    fn problem(&self, paths: &[&str], message: impl Into<String>) -> Option<Problem> {
        if paths.iter().any(|path| self.spoiled.contains(path)) {
            return None;
        }
        let given = paths.iter().find(|path| self.origins.of(path) != Origin::Default);
        let blamed = given.or(paths.first())?;
        Some(Problem::of(blamed, &self.origins.of(blamed), message))
    }

    fn require(&mut self, holds: bool, paths: &[&str], message: impl Into<String>) {
        if !holds {
            let problem = self.problem(paths, message);
            self.found.problems.extend(problem);
        }
    }

    fn note(&mut self, applies: bool, paths: &[&str], message: impl Into<String>) {
        if applies {
            let notice = self.problem(paths, message);
            self.found.notices.extend(notice);
        }
    }

    /// `short` must not be longer than `long` (or, if `strictly`, must be shorter), both in milliseconds.
    fn order(&mut self, short: (&str, u64), long: (&str, u64), strictly: bool) {
        let holds = short.1 < long.1 || (!strictly && short.1 == long.1);
        let relation = if strictly { "less than" } else { "at most" };
        let message = format!("{} ({}) must be {relation} {} ({})", short.0, short.1, long.0, long.1);
        self.require(holds, &[short.0, long.0], message);
    }

    fn url(&mut self, path: &str, url: &str) {
        if let Err(why) = http_url(url) {
            self.require(false, &[path], why);
        }
    }

    fn token(&mut self, path: &str, token: Option<&Secret>) {
        let holds = token.is_none_or(|token| super::keys::is_token(token.expose()));
        self.require(holds, &[path], "must be printable ASCII without spaces or line breaks");
    }

    fn client(&mut self) {
        let settings = self.settings;
        self.url("client.url", &settings.client.url);
        self.token("client.api_key", settings.client.api_key.as_ref());
        if let Err(error) = EnvFilter::builder().parse(&settings.log.filter) {
            self.require(false, &["log.filter"], format!("is no log filter ({error}); allowed: info, ragq=debug,warn"));
        }
    }

    fn traces(&mut self) {
        let trace = &self.settings.trace;
        if let Some(endpoint) = &trace.otlp_endpoint {
            self.url("trace.otlp_endpoint", endpoint);
            let port = reqwest::Url::parse(endpoint).ok().and_then(|url| url.port());
            let odd = "names the port of OTLP over gRPC; ragq speaks it over HTTP, to port 4318 of most collectors";
            self.note(port == Some(4317), &["trace.otlp_endpoint"], odd);
        }
        let readable = "must be name=value,... with values percent-encoded";
        self.require(trace.headers().is_some(), &["trace.otlp_headers"], readable);
    }

    fn stores(&mut self, purpose: Purpose) {
        let Settings { store, index, queue, .. } = self.settings;
        let name = queue.name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or_default();
        self.require(
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
            &["queue.name"],
            "must be a name of letters, digits, - _ and . in braces, such as {ragq}",
        );
        if matches!(purpose, Purpose::Api | Purpose::Worker) {
            let needed = |variable| {
                format!(
                    "must be set ({variable}): `ragq api` and `ragq worker` are processes of their own and need \
                     stores that both can reach; everything in one process is `ragq up`"
                )
            };
            self.require(store.redis_url.is_some(), &["store.redis_url"], needed("REDIS_URL"));
            self.require(index.qdrant_url.is_some(), &["index.qdrant_url"], needed("QDRANT_URL"));
        }
    }

    fn listening(&mut self, purpose: Purpose) {
        if purpose != Purpose::Worker {
            return self.api();
        }
        if let Some(listen) = &self.settings.worker.listen {
            let message = format!("must be ADDRESS:PORT, localhost:PORT or :PORT, not {listen:?}");
            self.require(super::listen_address(listen).is_some(), &["worker.listen"], message);
        }
    }

    fn api(&mut self) {
        let Settings { api, queue, .. } = self.settings;
        let keys = self.settings.api_keys();
        let keyless = keys.as_ref().is_ok_and(Vec::is_empty);
        if let Err(problem) = keys {
            self.require(false, &["api.keys"], problem.message);
        }
        self.token("api.admin_token", api.admin_token.as_ref());
        if let Err(problem) = self.settings.admin_tokens() {
            self.require(false, &["api.admin_tokens"], problem.message);
        }
        match api.listen_address() {
            None => {
                let message = format!("must be ADDRESS:PORT, localhost:PORT or :PORT, not {:?}", api.listen);
                self.require(false, &["api.listen"], message);
            }
            Some(address) => self.require(
                address.ip().is_loopback() || !keyless || api.allow_anonymous,
                &["api.listen", "api.keys", "api.allow_anonymous"],
                format!(
                    "{address} is open to other machines and there are no API keys: \
                     set RAGQ_API__KEYS=name:key, or RAGQ_API__ALLOW_ANONYMOUS=true to let everyone in"
                ),
            ),
        }
        let message = format!(
            "api.max_body_bytes ({}) must be at most queue.max_bytes ({})",
            api.max_body_bytes, queue.max_bytes
        );
        self.require(api.max_body_bytes <= queue.max_bytes, &["api.max_body_bytes", "queue.max_bytes"], message);
    }

    fn queue_and_workers(&mut self) {
        let Settings { queue, worker, ingest, .. } = self.settings;
        // Two beats may be lost on the way before a lease is.
        self.require(
            worker.heartbeat_ms.saturating_mul(3) <= queue.lease_ms,
            &["worker.heartbeat_ms", "queue.lease_ms"],
            format!(
                "worker.heartbeat_ms ({}) must be at most a third of queue.lease_ms ({})",
                worker.heartbeat_ms, queue.lease_ms
            ),
        );
        let message = "below 1000 a busy machine loses leases of living workers";
        self.note(queue.lease_ms < 1_000, &["queue.lease_ms"], message);
        let (base, cap) = (queue.backoff_base_ms, queue.backoff_cap_ms);
        self.order(("queue.backoff_base_ms", base), ("queue.backoff_cap_ms", cap), false);
        let (parser, attempt) = (ingest.parser_timeout_ms, worker.ingest_timeout_ms);
        self.order(("ingest.parser_timeout_ms", parser), ("worker.ingest_timeout_ms", attempt), true);
    }

    /// A worker of its own may be stopped at any time, by an autoscaler or an update: that must break off no answer.
    /// One that has few seconds (a machine on call, say) hands back what it can't finish, and may start all the same.
    fn draining(&mut self, purpose: Purpose, deploying: bool) {
        if purpose != Purpose::Worker {
            return;
        }
        let worker = &self.settings.worker;
        let grace = worker.grace(true).as_millis();
        let holds = u128::from(worker.chat_timeout_ms) < grace;
        let paths = ["worker.grace_ms", "worker.chat_timeout_ms"];
        let message = format!(
            "worker.grace_ms ({grace}) should be more than worker.chat_timeout_ms ({}): a worker that is told to stop \
             breaks off the answers that take longer, and they begin anew elsewhere",
            worker.chat_timeout_ms
        );
        if deploying {
            self.require(holds, &paths, message);
        } else {
            self.note(!holds, &paths, message);
        }
    }

    fn redis(&mut self) {
        let Settings { store, redis, queue, .. } = self.settings;
        let by_sentinels = redis.mode == RedisMode::Sentinel;
        self.require(
            !by_sentinels || redis.sentinel_master.is_some(),
            &["redis.sentinel_master", "redis.mode"],
            "must be the name under which the sentinels know the server, as redis.mode is sentinel",
        );
        let unused = !by_sentinels && redis.sentinel_master.is_some();
        self.note(unused, &["redis.sentinel_master"], "has no effect unless redis.mode is sentinel");
        let Some(url) = &store.redis_url else {
            let message = "has no effect on the embedded job store";
            self.note(queue.min_replicas > 0, &["queue.min_replicas"], message);
            self.note(queue.allow_unsafe, &["queue.allow_unsafe"], message);
            return;
        };
        let encrypted = ["rediss://", "valkeys://"].iter().any(|scheme| url.expose().trim_start().starts_with(scheme));
        self.require(
            redis.tls_ca_file.is_none() || encrypted,
            &["redis.tls_ca_file", "store.redis_url"],
            "is for a URL that begins with rediss:// only",
        );
        // A worker whose every heartbeat has to wait as long as that would lose its jobs.
        let answer = ("redis.response_timeout_ms", redis.response_timeout_ms);
        self.order(answer, ("queue.lease_ms", queue.lease_ms), true);
    }

    fn ingestion_and_retrieval(&mut self) {
        let Settings { ingest, retrieval, .. } = self.settings;
        // A token of English prose is about four characters.
        self.require(
            retrieval.context_tokens.saturating_mul(4) >= ingest.chunk_chars,
            &["retrieval.context_tokens", "ingest.chunk_chars"],
            format!(
                "retrieval.context_tokens ({}) must hold a chunk of ingest.chunk_chars ({}): \
                 at least one token per four characters",
                retrieval.context_tokens, ingest.chunk_chars
            ),
        );
    }

    fn index(&mut self) {
        let index = &self.settings.index;
        if let Some(url) = &index.qdrant_url {
            self.url("index.qdrant_url", url);
        }
        self.token("index.qdrant_api_key", index.qdrant_api_key.as_ref());
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let message = "must be made of letters, digits, `-`, `_` and `.`";
        self.require(index.qdrant_collection.chars().all(plain), &["index.qdrant_collection"], message);
        let connect = ("index.qdrant_connect_timeout_ms", index.qdrant_connect_timeout_ms);
        self.order(connect, ("index.qdrant_read_timeout_ms", index.qdrant_read_timeout_ms), false);
        self.order(connect, ("index.qdrant_write_timeout_ms", index.qdrant_write_timeout_ms), false);
    }

    fn models(&mut self, purpose: Purpose) {
        let Settings { model, embedding, worker, .. } = self.settings;
        // An API beside workers calls no provider, and may be told of one without being given its key.
        let told = model.has_provider() || purpose == Purpose::Api;
        if let Some(url) = &model.base_url {
            self.url("model.base_url", url);
        }
        self.token("model.api_key", model.api_key.as_ref());
        let call = ("model.call_timeout_ms", model.call_timeout_ms);
        let first_token = ("model.first_token_timeout_ms", model.first_token_timeout_ms);
        self.order(("model.connect_timeout_ms", model.connect_timeout_ms), first_token, false);
        self.order(first_token, call, false);
        self.order(("model.idle_timeout_ms", model.idle_timeout_ms), call, false);
        self.order(call, ("worker.chat_timeout_ms", worker.chat_timeout_ms), true);
        self.require(
            embedding.model.is_none() || told,
            &["embedding.model", "model.base_url", "model.api_key"],
            "needs a provider: set OPENAI_API_KEY or OPENAI_BASE_URL, or unset it for lexical retrieval",
        );
        self.fallbacks(told);
        let breaker = &self.settings.breaker;
        let longest = ("breaker.longest_pause_ms", breaker.longest_pause_ms);
        self.order(("breaker.pause_ms", breaker.pause_ms), longest, false);
    }

    fn fallbacks(&mut self, told: bool) {
        let settings = self.settings;
        let mut names = vec![settings.model.provider.as_str()];
        for (section, fallback) in settings.fallbacks() {
            let [name, provider, url, key] =
                ["name", "provider", "base_url", "api_key"].map(|key| format!("{section}.{key}"));
            if let Some(base_url) = &fallback.base_url {
                self.url(&url, base_url);
            }
            self.token(&key, fallback.api_key.as_ref());
            if fallback.name.is_none() {
                let half_set = *fallback != Fallback::default();
                self.note(half_set, &[&name], "is not set: the rest of this fallback is of no use");
                continue;
            }
            let message = "falls back from nothing: set OPENAI_API_KEY or OPENAI_BASE_URL too";
            self.require(told, &[&name], message);
            let own = fallback.provider.as_deref().unwrap_or(section);
            let message = format!("must be a name of its own: another provider is called {own} too");
            self.require(!names.contains(&own), &[&provider], message);
            names.push(own);
        }
    }
}

/// Why the text is not an address that paths can be added to. The text itself is not shown: it may hold a password.
fn http_url(text: &str) -> Result<(), String> {
    let url = reqwest::Url::parse(text).map_err(|error| format!("must be an http or https URL ({error})"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("must be an http or https URL, not {}:", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or password: there is a setting for the key".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with its path: paths are added to it".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_addresses_are_taken() {
        for good in ["http://127.0.0.1:8080", "https://api.example.com/v1", "http://[::1]:11434/v1/"] {
            assert_eq!(http_url(good), Ok(()), "{good}");
        }
        for bad in
            ["", "localhost:8080", "ftp://example.com", "http://", "http://a:99999", "http://a/v1?x=1", "http://a/#b"]
        {
            assert!(http_url(bad).is_err(), "{bad}");
        }
        let message = http_url("http://user:swordfish@example.com").unwrap_err();
        assert!(!message.contains("swordfish"), "{message}");
    }
}
