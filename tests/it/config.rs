//! The settings from outside: layers, names, secrets, rules, and what `ragq config` prints.
#![allow(clippy::unwrap_used)] // helpers of tests fail the test

use std::path::Path;

use ragq::config::{
    self, Environment, Loaded, Origin, Problems, Purpose, Sources, catalog, docs,
    settings::{Durability, LogFormat, RedisMode, Settings},
    show,
};

/// Sources with these variables and an empty folder to work in.
struct Case {
    directory: tempfile::TempDir,
    sources: Sources,
}

fn case<const N: usize>(variables: [(&str, &str); N]) -> Case {
    let directory = tempfile::tempdir().unwrap();
    let sources = Sources {
        environment: variables.into_iter().collect(),
        directory: directory.path().to_owned(),
        ..Sources::default()
    };
    Case { directory, sources }
}

impl Case {
    fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.directory.path().join(name), text).unwrap();
        self
    }

    fn flag(mut self, name: &'static str, setting: &'static str, value: &str) -> Self {
        self.sources = self.sources.with_flag(name, setting, Some(value));
        self
    }

    fn load(&self) -> Result<Loaded, Problems> {
        config::load(&self.sources)
    }

    fn settings(&self) -> Settings {
        self.load().map(|loaded| loaded.settings).unwrap()
    }

    /// The problems' lines; fails the test if there are none.
    fn problems(&self) -> Vec<String> {
        self.load().map(|_| "no problem").unwrap_err().to_string().lines().map(str::to_owned).collect()
    }

    /// The only problem.
    fn problem(&self) -> String {
        let problems = self.problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.into_iter().next().unwrap()
    }
}

#[test]
fn nothing_given_means_the_defaults() {
    let loaded = case([]).load().unwrap();
    assert_eq!(loaded.settings, Settings::default());
    assert_eq!(loaded.origins.of("queue.lease_ms"), Origin::Default);
    assert_eq!(loaded.notices, []);
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_defaults() {
    let toml = "[api]\nlisten = '127.0.0.1:1'\nmax_wait_ms = 1\n[queue]\nmax_attempts = 1\n[log]\nformat = 'json'\n";
    let loaded = case([("RAGQ_API__LISTEN", "127.0.0.1:2"), ("RAGQ_API__MAX_WAIT_MS", "2")])
        .file("ragq.toml", toml)
        .flag("--listen", "api.listen", "127.0.0.1:3")
        .load()
        .unwrap();
    let Settings { api, queue, log, .. } = &loaded.settings;
    assert_eq!((api.listen.as_str(), api.max_wait_ms, queue.max_attempts), ("127.0.0.1:3", 2, 1));
    assert_eq!(log.format, LogFormat::Json);
    assert_eq!(loaded.origins.of("api.listen"), Origin::Flag("--listen".into()));
    assert_eq!(loaded.origins.of("api.max_wait_ms"), Origin::Environment("RAGQ_API__MAX_WAIT_MS".into()));
    assert_eq!(loaded.origins.of("queue.max_attempts"), Origin::File("ragq.toml".into()));
}

#[test]
fn a_flag_that_was_not_given_sets_nothing() {
    let sources = Sources::new(Environment::default()).with_flag("--listen", "api.listen", None::<String>);
    assert_eq!(sources.flags, []);
}

#[test]
fn the_file_may_be_named_by_flag_or_variable_and_then_must_be_there() {
    let mut named = case([("RAGQ_CONFIG", "other.toml")]).file("other.toml", "[queue]\nmax_attempts = 7\n");
    assert_eq!(named.settings().queue.max_attempts, 7);
    named.sources.config_file = Some("third.toml".into());
    assert!(named.problem().starts_with("--config: can't read third.toml"), "{}", named.problem());
    let missing = case([("RAGQ_CONFIG", "other.toml")]);
    assert!(missing.problem().starts_with("RAGQ_CONFIG: can't read other.toml"), "{}", missing.problem());
    assert_eq!(case([("RAGQ_CONFIG", "")]).settings(), Settings::default());
}

#[test]
fn standard_names_set_their_settings() {
    let Settings { api, model, client, log, trace, .. } = case([
        ("RAGQ_ADMIN_TOKEN", "admin-token"),
        ("RAGQ_API_KEY", "client-key"),
        ("RAGQ_URL", "https://ragq.example.com"),
        ("OPENAI_API_KEY", "provider-key"),
        ("OPENAI_BASE_URL", "http://localhost:11434/v1"),
        ("RUST_LOG", "ragq=debug"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b, x-other=c"),
        ("OTEL_SERVICE_NAME", "answers"),
    ])
    .settings();
    assert_eq!(api.admin_token.unwrap().expose(), "admin-token");
    assert_eq!(client.api_key.unwrap().expose(), "client-key");
    assert_eq!(client.url, "https://ragq.example.com");
    assert_eq!(model.api_key.unwrap().expose(), "provider-key");
    assert_eq!(model.base_url.as_deref(), Some("http://localhost:11434/v1"));
    assert_eq!(log.filter, "ragq=debug");
    assert_eq!(trace.otlp_endpoint.as_deref(), Some("http://localhost:4318"));
    let headers = [("x-key", "a b"), ("x-other", "c")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(trace.headers(), Some(headers.into()));
    assert_eq!(trace.service_name, "answers");
}

#[test]
fn every_setting_can_be_given_by_its_variable_and_by_file_and_is_then_said_to_come_from_there() {
    for setting in catalog::settings() {
        let text = match &setting.default {
            serde_json::Value::Null if setting.path.ends_with("_url") || setting.path.ends_with("_endpoint") => {
                "http://localhost:1".to_owned()
            }
            serde_json::Value::Null if setting.path.ends_with("_headers") => "name=value".to_owned(),
            serde_json::Value::Null => "1".to_owned(),
            serde_json::Value::String(text) if text.is_empty() => "web:0123456789abcdef".to_owned(),
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let variable = [(setting.variable.as_str(), text.as_str()), ("OPENAI_API_KEY", "needed-to-embed")];
        let quoted = matches!(setting.shape, catalog::Shape::Text { .. } | catalog::Shape::Words(_));
        let value = if quoted { format!("{text:?}") } else { text.clone() };
        let by_file = case([("OPENAI_API_KEY", "needed-to-embed")])
            .file("ragq.toml", &format!("[{}]\n{} = {value}\n", setting.section, setting.key));
        for (case, origin) in [
            (case(variable), Origin::Environment(setting.variable.clone())),
            (by_file, Origin::File("ragq.toml".into())),
        ] {
            match case.load() {
                Ok(loaded) if setting.path != "model.api_key" => {
                    assert_eq!(loaded.origins.of(&setting.path), origin, "{}", setting.path);
                }
                Ok(_) => {}
                Err(problems) => panic!("{}: {problems}", setting.path),
            }
        }
    }
}

#[test]
fn a_value_of_the_wrong_type_or_out_of_bounds_is_told_with_what_is_allowed() {
    for (variable, value, expected) in [
        ("RAGQ_QUEUE__MAX_ATTEMPTS", "many", r#"must be a whole number from 1 to 100, not "many""#),
        ("RAGQ_QUEUE__MAX_ATTEMPTS", "0", r#"must be a whole number from 1 to 100, not "0""#),
        ("RAGQ_QUEUE__MAX_ATTEMPTS", "-1", r#"must be a whole number from 1 to 100, not "-1""#),
        ("RAGQ_QUEUE__MAX_ATTEMPTS", "1.5", r#"must be a whole number from 1 to 100, not "1.5""#),
        ("RAGQ_API__RATE_PER_MINUTE", "4294967296", "must be a whole number from 1 to 4294967295"),
        ("RAGQ_RETRIEVAL__TOP_K", "51", "must be a whole number from 1 to 50"),
        ("RAGQ_INGEST__CHUNK_CHARS", "199", "must be a whole number from 200 to 8000"),
        ("RAGQ_API__MAX_WAIT_MS", "60001", "must be a whole number from 0 to 60000"),
        ("RAGQ_MODEL__TEMPERATURE", "2.1", "must be a number from 0 to 2"),
        ("RAGQ_MODEL__TEMPERATURE", "NaN", "must be a number from 0 to 2"),
        ("RAGQ_API__ALLOW_ANONYMOUS", "yes", r#"must be true or false, not "yes""#),
        ("RAGQ_LOG__FORMAT", "xml", r#"must be pretty or json, not "xml""#),
        ("RUST_LOG", "ragq=loud", "is no log filter"),
        ("RAGQ_API__LISTEN", "8080", "must be ADDRESS:PORT, localhost:PORT or :PORT"),
        ("OPENAI_BASE_URL", "localhost:8000", "must be an http or https URL"),
        ("RAGQ_URL", "localhost", "must be an http or https URL"),
    ] {
        let problem = case([(variable, value)]).problem();
        assert!(problem.starts_with(&format!("{variable}: ")) && problem.contains(expected), "{problem}");
    }
}

#[test]
fn the_file_is_held_to_the_same_types() {
    for (toml, expected) in [
        ("queue.max_attempts = '5'", r#"ragq.toml: queue.max_attempts: must be a whole number from 1 to 100, not "5""#),
        ("queue.max_attempts = 5.5", "ragq.toml: queue.max_attempts: must be a whole number"),
        ("model.temperature = nan", "ragq.toml: model.temperature: must be a number from 0 to 2"),
        ("model.name = ''", "ragq.toml: model.name: must be text that is not empty"),
        ("model.name = 2024-01-01", "ragq.toml: model.name: must be text"),
        ("api.keys = ['web:0123456789abcdef']", "ragq.toml: api.keys: must be text"),
        ("api = 5", "ragq.toml: api: is a section: write [api]"),
        ("a = 1\nb = = 2", "ragq.toml line 2: "),
    ] {
        let problem = case([]).file("ragq.toml", toml).problem();
        assert!(problem.starts_with(expected), "{problem}");
    }
    assert_eq!(case([]).file("ragq.toml", "model.temperature = 1").settings().model.temperature, Some(1.0));
}

#[test]
fn unknown_names_are_refused_with_the_nearest_known_one() {
    for (variable, expected) in [
        ("RAGQ_QUEUE__LEASE_SM", "unknown variable, did you mean RAGQ_QUEUE__LEASE_MS?"),
        ("RAGQ_ADMIN_TOKENZ", "unknown variable, did you mean RAGQ_ADMIN_TOKEN?"),
        ("RAGQ_API__ADMIN_TOKEN", "unknown variable: api.admin_token is set by RAGQ_ADMIN_TOKEN"),
        ("RAGQ_LOG__FORMAT_FILE", "unknown variable, did you mean RAGQ_LOG__FORMAT?"),
        ("RAGQ_ZZ", "unknown variable; `ragq config docs` lists all"),
        ("RAGQ_SOMETHING_ELSE_ALTOGETHER", "unknown variable; `ragq config docs` lists all"),
    ] {
        assert_eq!(case([(variable, "1")]).problem(), format!("{variable}: {expected}"));
    }
    for (toml, expected) in [
        ("[queue]\nlease = 1", "ragq.toml: queue.lease: unknown setting, did you mean queue.lease_ms?"),
        ("[queu]\nlease_ms = 1", "ragq.toml: queu: unknown section, did you mean queue?"),
        ("[api]\ntop_k = 1", "ragq.toml: api.top_k: unknown setting"),
    ] {
        let problem = case([]).file("ragq.toml", toml).problem();
        assert!(problem.starts_with(expected), "{problem}");
    }
}

#[test]
fn empty_variables_and_those_of_others_are_as_if_unset() {
    let case =
        case([("RAGQ_QUEUE__LEASE_MS", ""), ("RAGQ_TYPO", ""), ("REDIS_URL", ""), ("PATH", "/bin"), ("RAGQ", "1")]);
    assert_eq!(case.settings(), Settings::default());
}

#[test]
fn everything_that_is_wrong_is_told_at_once_and_nothing_that_is_right() {
    let problems = case([
        ("RAGQ_QUEUE__LEASE_MS", "soon"),
        ("RAGQ_WORKER__HEARTBEAT_MS", "6000"), // can't be judged without the lease
        ("RAGQ_RETRIEVAL__TOPK", "8"),
        ("REDIS_URL", "redis://:swordfish@localhost"),
        ("RAGQ_MODEL__CALL_TIMEOUT_MS", "300000"),
    ])
    .file("ragq.toml", "[queue]\nmax_atempts = 3\nbackoff_base_ms = 90_000\n")
    .problems();
    let expected = [
        "ragq.toml: queue.max_atempts: unknown setting, did you mean queue.max_attempts?",
        r#"RAGQ_QUEUE__LEASE_MS: must be a whole number from 100 to 3600000, not "soon""#,
        "RAGQ_RETRIEVAL__TOPK: unknown variable, did you mean RAGQ_RETRIEVAL__TOP_K?",
        "ragq.toml: queue.backoff_base_ms: queue.backoff_base_ms (90000) must be at most queue.backoff_cap_ms (60000)",
        "RAGQ_MODEL__CALL_TIMEOUT_MS: model.call_timeout_ms (300000) must be less than worker.chat_timeout_ms (300000)",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (variable, value, expected) in [
        ("RAGQ_WORKER__HEARTBEAT_MS", "5001", "must be at most a third of queue.lease_ms (15000)"),
        ("RAGQ_QUEUE__LEASE_MS", "8999", "must be at most a third of queue.lease_ms (8999)"),
        ("RAGQ_MODEL__CONNECT_TIMEOUT_MS", "60001", "must be at most model.first_token_timeout_ms (60000)"),
        ("RAGQ_MODEL__FIRST_TOKEN_TIMEOUT_MS", "240001", "must be at most model.call_timeout_ms (240000)"),
        ("RAGQ_MODEL__IDLE_TIMEOUT_MS", "240001", "must be at most model.call_timeout_ms (240000)"),
        ("RAGQ_WORKER__CHAT_TIMEOUT_MS", "240000", "must be less than worker.chat_timeout_ms (240000)"),
        ("RAGQ_INGEST__PARSER_TIMEOUT_MS", "900000", "must be less than worker.ingest_timeout_ms (900000)"),
        ("RAGQ_RETRIEVAL__CONTEXT_TOKENS", "499", "must hold a chunk of ingest.chunk_chars (2000)"),
        ("RAGQ_QUEUE__MAX_BYTES", "1048576", "must be at most queue.max_bytes (1048576)"),
        ("RAGQ_EMBEDDING__MODEL", "small", "needs a provider: set OPENAI_API_KEY or OPENAI_BASE_URL"),
        ("QDRANT_URL", "localhost:6334", "must be an http or https URL"),
        ("RAGQ_QUEUE__NAME", "ragq", "in braces, such as {ragq}"),
        ("RAGQ_INDEX__QDRANT_COLLECTION", "a/b", "must be made of letters, digits"),
        ("RAGQ_INDEX__QDRANT_READ_TIMEOUT_MS", "2999", "must be at most index.qdrant_read_timeout_ms (2999)"),
        ("RAGQ_INDEX__QDRANT_WRITE_TIMEOUT_MS", "2999", "must be at most index.qdrant_write_timeout_ms (2999)"),
        ("RAGQ_API__KEYS", "web:short", "the key of web must have at least 16 characters"),
        ("RAGQ_ADMIN_TOKEN", "two words", "must be printable ASCII"),
        ("RAGQ_ADMIN_TOKENS", "ana:short", "the token of ana must have at least 16 characters"),
    ] {
        let problem = case([(variable, value)]).problem();
        assert!(problem.starts_with(&format!("{variable}: ")) && problem.contains(expected), "{problem}");
    }
    case([("RAGQ_WORKER__HEARTBEAT_MS", "5000"), ("RAGQ_MODEL__CALL_TIMEOUT_MS", "299999")]).settings();
}

#[test]
fn listening_beyond_loopback_needs_keys_or_a_word() {
    for address in [":8080", "0.0.0.0:8080", "[::]:8080", "192.0.2.1:80"] {
        let open = ("RAGQ_API__LISTEN", address);
        let problem = case([open]).problem();
        assert!(problem.contains("RAGQ_API__KEYS=") && problem.contains("RAGQ_API__ALLOW_ANONYMOUS=true"), "{problem}");
        case([open, ("RAGQ_API__ALLOW_ANONYMOUS", "true")]).settings();
        case([open, ("RAGQ_API__KEYS", "web:0123456789abcdef")]).settings();
    }
    for address in ["localhost:8080", "127.0.0.2:0", "[::1]:8080"] {
        case([("RAGQ_API__LISTEN", address)]).settings();
    }
}

#[test]
fn a_secret_can_be_given_as_a_file_but_not_twice() {
    let by_file = |name: &str, text: &str| case([("OPENAI_API_KEY_FILE", name)]).file("key", text);
    for text in ["swordfish", "swordfish\n", "swordfish\r\n"] {
        let loaded = by_file("key", text).load().unwrap();
        assert_eq!(loaded.settings.model.api_key.unwrap().expose(), "swordfish");
        assert_eq!(loaded.origins.of("model.api_key"), Origin::Environment("OPENAI_API_KEY_FILE".into()));
    }
    let problem = by_file("key", "\n").problem();
    assert!(problem.starts_with("OPENAI_API_KEY_FILE: the file ") && problem.ends_with("is empty"), "{problem}");
    let problem = by_file("nothing", "").problem();
    assert!(problem.starts_with("OPENAI_API_KEY_FILE: can't read "), "{problem}");
    let twice = case([("OPENAI_API_KEY_FILE", "key"), ("OPENAI_API_KEY", "swordfish")]).file("key", "swordfish");
    assert_eq!(twice.problem(), "OPENAI_API_KEY: is given twice, also as OPENAI_API_KEY_FILE: unset one of the two");
}

#[test]
fn a_mask_copied_from_what_was_shown_is_no_secret() {
    let problem = case([]).file("ragq.toml", "[model]\napi_key = '***'").problem();
    assert!(problem.starts_with("ragq.toml: model.api_key: is what stands for a secret"), "{problem}");
}

#[test]
fn no_secret_is_ever_shown() {
    let secret = "swordfish-0123456789";
    let loaded = case([
        ("OPENAI_API_KEY", secret),
        ("RAGQ_ADMIN_TOKEN", secret),
        ("RAGQ_API_KEY", secret),
        ("RAGQ_API__KEYS", "web:swordfish-of-web-01"),
        ("RAGQ_ADMIN_TOKENS", "ana:swordfish-of-ana-01"),
    ])
    .load()
    .unwrap();
    let json = show::json(&loaded);
    let shown = [show::text(&loaded), json.to_string(), format!("{loaded:?}")];
    for text in shown {
        assert!(!text.contains("swordfish"), "{text}");
        assert!(text.contains("***"), "{text}");
    }
    for toml in [
        "api.admin_token = ['swordfish']",
        "[api]\nadmin_token = 'swordfish",
        "model.base_url = 'http://a:swordfish@b'",
    ] {
        let problem = case([]).file("ragq.toml", toml).problems().join("\n");
        assert!(!problem.contains("swordfish"), "{problem}");
    }
    let environment: Environment = [("OPENAI_API_KEY", secret)].into_iter().collect();
    assert!(!format!("{environment:?}").contains("swordfish"));
}

#[test]
fn show_lists_every_setting_with_its_value_and_source() {
    let loaded = case([("RAGQ_MODEL__TEMPERATURE", "0.7"), ("RAGQ_ADMIN_TOKEN", "token")]).load().unwrap();
    let text = show::text(&loaded);
    assert_eq!(text.lines().count(), catalog::settings().len());
    let line = |name: &str| {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("model.temperature"), "0.7 environment RAGQ_MODEL__TEMPERATURE");
    assert_eq!(line("api.admin_token"), "*** environment RAGQ_ADMIN_TOKEN");
    assert_eq!(line("api.keys"), "\"\" default");
    assert_eq!(line("embedding.model"), "- default");
    assert_eq!(line("queue.lease_ms"), "15000 default");
    let json = show::json(&loaded);
    let of = |name: &str| json.as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone();
    let expected = serde_json::json!({
        "name": "model.temperature", "variable": "RAGQ_MODEL__TEMPERATURE",
        "value": 0.7, "source": "environment RAGQ_MODEL__TEMPERATURE",
    });
    assert_eq!(of("model.temperature"), expected);
    assert_eq!(of("embedding.model")["value"], serde_json::Value::Null);
}

#[test]
fn a_client_is_not_stopped_by_what_only_a_server_needs() {
    let mut case = case([("RAGQ_QUEUE__NAME", "ragq"), ("RAGQ_API__LISTEN", ":8080")]);
    assert_eq!(case.problems().len(), 2);
    case.sources.purpose = Purpose::Client;
    case.settings();
    case.sources.environment = [("RAGQ_URL", "ftp://localhost"), ("RAGQ_TYPO", "1")].into_iter().collect();
    assert_eq!(case.problems().len(), 2);
}

#[test]
fn a_role_of_its_own_needs_stores_that_others_can_reach() {
    for purpose in [Purpose::Api, Purpose::Worker] {
        let mut alone = case([]);
        alone.sources.purpose = purpose;
        let problems = alone.problems();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("must be set (REDIS_URL)"), "{problems:?}");
        assert!(problems[1].contains("must be set (QDRANT_URL)"), "{problems:?}");
        let mut together = case([("REDIS_URL", "redis://localhost"), ("QDRANT_URL", "http://localhost:6334")]);
        together.sources.purpose = purpose;
        together.settings();
    }
}

#[test]
fn a_worker_listens_nowhere_unless_told_to() {
    let mut worker = case([
        ("REDIS_URL", "redis://localhost"),
        ("QDRANT_URL", "http://localhost:6334"),
        ("RAGQ_API__LISTEN", ":8080"),
        ("RAGQ_WORKER__LISTEN", "nowhere"),
    ]);
    worker.sources.purpose = Purpose::Worker;
    let problem = worker.problem();
    assert!(problem.starts_with("RAGQ_WORKER__LISTEN: must be ADDRESS:PORT"), "{problem}");
}

#[test]
fn settings_of_redis_that_contradict_each_other_are_refused() {
    let sentinel = ("RAGQ_REDIS__MODE", "sentinel");
    let problem = case([sentinel]).problem();
    assert!(problem.starts_with("RAGQ_REDIS__MODE: must be the name under which"), "{problem}");
    let Settings { redis, queue, .. } = case([
        sentinel,
        ("RAGQ_REDIS__SENTINEL_MASTER", "jobs"),
        ("RAGQ_QUEUE__DURABILITY", "fsync"),
        ("RAGQ_QUEUE__MIN_REPLICAS", "1"),
    ])
    .settings();
    assert_eq!((redis.mode, redis.sentinel_master.as_deref()), (RedisMode::Sentinel, Some("jobs")));
    assert_eq!((queue.durability, queue.min_replicas), (Durability::Fsync, 1));
    let url = ("REDIS_URL", "redis://:swordfish@localhost");
    let problems = case([url, ("RAGQ_REDIS__TLS_CA_FILE", "ca.pem"), ("RAGQ_REDIS__RESPONSE_TIMEOUT_MS", "15000")]);
    let problems = problems.problems();
    assert_eq!(
        problems,
        [
            "RAGQ_REDIS__TLS_CA_FILE: is for a URL that begins with rediss:// only",
            "RAGQ_REDIS__RESPONSE_TIMEOUT_MS: redis.response_timeout_ms (15000) must be less than queue.lease_ms \
             (15000)",
        ]
    );
}

#[test]
fn what_is_odd_but_allowed_is_noted() {
    let loaded = case([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
        ("RAGQ_QUEUE__LEASE_MS", "300"),
        ("RAGQ_WORKER__HEARTBEAT_MS", "100"),
        ("RAGQ_QUEUE__MIN_REPLICAS", "1"),
        ("RAGQ_REDIS__SENTINEL_MASTER", "jobs"),
    ])
    .load()
    .unwrap();
    let subjects: Vec<_> = loaded.notices.iter().map(|notice| notice.subject.as_str()).collect();
    let expected = [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "RAGQ_QUEUE__LEASE_MS",
        "RAGQ_REDIS__SENTINEL_MASTER",
        "RAGQ_QUEUE__MIN_REPLICAS",
    ];
    assert_eq!(subjects, expected);
}

#[test]
fn a_flag_that_stands_for_no_setting_is_a_problem() {
    let problem = case([]).flag("--listn", "api.listn", "1").problem();
    assert_eq!(problem, "--listn: there is no setting api.listn");
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_text_is_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let mut case = case([]);
    let value = std::ffi::OsString::from_vec(vec![b'x', 0xff]);
    case.sources.environment = [("RAGQ_MODEL__NAME", value)].into_iter().collect();
    assert_eq!(case.problem(), "RAGQ_MODEL__NAME: must be UTF-8");
}

#[test]
fn the_reference_in_the_repository_is_what_config_docs_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == docs::markdown(), "run: cargo run -- config docs > docs/configuration.md");
}

/// A worker of its own with these settings besides.
fn worker<const N: usize>(more: [(&str, &str); N]) -> Case {
    let mut case = case([]);
    let stores = [("REDIS_URL", "redis://localhost"), ("QDRANT_URL", "http://localhost:6334")];
    case.sources.environment = stores.into_iter().chain(more).collect();
    case.sources.purpose = Purpose::Worker;
    case
}

#[test]
fn a_worker_has_more_time_to_stop_than_an_answer_may_take_and_one_process_for_everything_does_not_wait_so_long() {
    let settings = worker([("RAGQ_WORKER__CHAT_TIMEOUT_MS", "250000")]).settings();
    assert_eq!((settings.worker.grace(true).as_secs(), settings.worker.grace(false).as_secs()), (260, 25));
    let settings = worker([("RAGQ_WORKER__GRACE_MS", "400000")]).settings();
    assert_eq!((settings.worker.grace(true).as_secs(), settings.worker.grace(false).as_secs()), (400, 400));
}

#[test]
fn a_worker_that_would_break_off_answers_is_refused_before_a_deployment_and_says_so_at_start() {
    let mut case = worker([("RAGQ_WORKER__GRACE_MS", "300000")]);
    let said = "RAGQ_WORKER__GRACE_MS: worker.grace_ms (300000) should be more than worker.chat_timeout_ms (300000)";
    let notices = case.load().unwrap().notices;
    assert!(notices.len() == 1 && notices[0].to_string().starts_with(said), "{notices:?}");
    case.sources.deploying = true;
    assert!(case.problem().starts_with(said), "{}", case.problem());
    case.sources.purpose = Purpose::Serve;
    assert_eq!(case.load().unwrap().notices, [], "one process for everything is stopped by somebody who waits");
}

#[test]
fn fallbacks_are_set_by_file_or_variables_and_a_key_goes_to_its_own_provider_alone() {
    let file = "[fallback_1]\nname = 'other-model'\n[fallback_2]\nname = 'local'\nbase_url = 'http://vllm:8000/v1'\n";
    let settings = case([("OPENAI_API_KEY", "first-key"), ("RAGQ_FALLBACK_2__PROVIDER", "cellar")])
        .file("ragq.toml", file)
        .settings();
    let seen: Vec<_> = settings
        .models()
        .into_iter()
        .map(|model| {
            let key = model.api_key.map(|key| key.expose().to_owned());
            (model.provider, model.name, model.base_url, key)
        })
        .collect();
    let first = || Some("first-key".to_owned());
    let own = Some("http://vllm:8000/v1".to_owned());
    assert_eq!(seen[0], ("openai".into(), "gpt-4o-mini".into(), None, first()));
    assert_eq!(seen[1], ("fallback_1".into(), "other-model".into(), None, first()));
    assert_eq!(seen[2], ("cellar".into(), "local".into(), own, None));
}

#[test]
fn a_fallback_that_can_not_be_one_is_refused_by_name() {
    let key = ("OPENAI_API_KEY", "first-key");
    for (variables, says) in [
        (vec![("RAGQ_FALLBACK_1__NAME", "m")], "RAGQ_FALLBACK_1__NAME: falls back from nothing"),
        (
            vec![key, ("RAGQ_FALLBACK_1__NAME", "m"), ("RAGQ_FALLBACK_1__PROVIDER", "openai")],
            "RAGQ_FALLBACK_1__PROVIDER: must be a name of its own",
        ),
        (
            vec![key, ("RAGQ_FALLBACK_1__NAME", "m"), ("RAGQ_FALLBACK_1__BASE_URL", "vllm:8000")],
            "RAGQ_FALLBACK_1__BASE_URL: must be an http or https URL",
        ),
    ] {
        let mut case = case([]);
        case.sources.environment = variables.into_iter().collect();
        assert!(case.problem().contains(says), "{}", case.problem());
    }
    let half = case([key, ("RAGQ_FALLBACK_1__BASE_URL", "http://vllm:8000/v1")]).load().unwrap();
    assert_eq!(half.notices[0].to_string(), "fallback_1.name: is not set: the rest of this fallback is of no use");
}
