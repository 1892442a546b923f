use std::{collections::BTreeSet, time::Duration};

use quota::{By, Caps, Price};
use upstream::{Resilience, Tolerance};

use super::*;

mod endpoints;
mod files;

/// Every key there is, as an operator would write it.
const FULL: &str = r#"
[gateway]
url = "https://mcp.example.com"
anonymous = false
allowed_origins = ["https://app.example.com"]
audit = "relaxed"
max_body_bytes = 65536
operators = "platform"

[[issuers]]
issuer = "https://login.example.com"
jwks_url = "https://login.example.com/jwks"
tenant_claim = "org"
roles_claim = "roles"

[[issuers]]
issuer = "https://ci.example.com"
jwks_file = "ci.jwks.json"

[[servers]]
name = "files"
instances = ["https://a.files.example/mcp", "http://127.0.0.1:3102/mcp?x=1"]
tenants = ["acme", "globex"]
scopes = ["files:read", "files:write"]
timeout_ms = 1500
idle_ms = 60000
secret = "FILES_SECRET"
era = "modern"
pins = "quarantine"
concurrency = 1
queue = 0
queue_ms = 0
connect_timeout_ms = 1000
stream_idle_ms = 90000
retries = 0
[servers.breaker]
failure_rate = 0.25
min_requests = 4
consecutive_failures = 2
window_ms = 5000
open_ms = 250

[[servers]]
name = "open"
instances = ["https://open.example/mcp"]

[[endpoints]]
name = "research"
tenants = ["acme"]
scopes = ["research"]
instructions = "Look things up."
servers = ["open"]
prompts = ["files"]
resources = ["files"]
[[endpoints.tools]]
server = "files"
tool = "export"
name = "save"
title = "Save"
description = "Saves."

[[limits]]
by = ["agent"]
requests_per_minute = 60

[[limits]]
by = ["tenant", "server"]
requests_per_minute = 600
tokens_per_minute = 100000
tokens_per_day = 1000000
tokens_per_month = 20000000
money_per_day = 5
money_per_month = 99.5

[[prices]]
server = "files"
per_call = 0.01

[[prices]]
server = "files"
tool = "export"
per_million_tokens = 3
"#;

/// The least that holds together.
const LEAST: &str = r#"
[gateway]
url = "http://127.0.0.1:8787"
[[issuers]]
issuer = "https://login.example.com"
jwks_url = "https://login.example.com/jwks"
[[servers]]
name = "files"
instances = ["https://files.example/mcp"]
[[limits]]
by = ["agent"]
requests_per_minute = 1
"#;

/// RFC 8037 appendix A.2.
const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"ci","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn raw(text: &str) -> Raw {
    toml::from_str(text).unwrap()
}

fn bundle(text: &str) -> Bundle {
    Bundle::new(raw(text), |_| Ok(KEYS.to_owned())).unwrap()
}

/// The configuration `text`, through the form in which it is stored.
pub(crate) fn config(text: &str) -> Config {
    let bundle = bundle(text);
    Bundle::open(&bundle.id, &bundle.json).unwrap().validate(&bundle.id).unwrap()
}

fn problems(text: &str) -> Vec<Problem> {
    raw(text).validate("b").err().unwrap_or_default()
}

/// [`LEAST`] with one line instead of another.
fn with(line: &str, other: &str) -> String {
    assert!(LEAST.contains(line), "{line}");
    LEAST.replace(line, other)
}

#[test]
fn a_full_file_means_what_it_says() {
    let config = config(FULL);
    assert_eq!(config.site.origin(), "https://mcp.example.com");
    assert!(config.site.allows_origin("https://app.example.com"));
    assert!(config.anonymous.is_none());
    assert_eq!((config.audit, config.max_body_bytes), (AuditMode::Relaxed, 65536));

    let [login, ci] = &config.issuers[..] else { panic!("{:?}", config.issuers) };
    assert_eq!((login.issuer.tenant_claim.as_str(), login.issuer.roles_claim.as_deref()), ("org", Some("roles")));
    assert!(matches!(&login.keys, KeySource::Url(url) if url == "https://login.example.com/jwks"));
    assert_eq!((ci.issuer.tenant_claim.as_str(), ci.issuer.roles_claim.as_deref()), ("tenant", None));
    assert!(matches!(&ci.keys, KeySource::Given(keys) if keys.knows(Some("ci")) && !keys.knows(Some("other"))));

    let files = config.registry.find("files", "acme").unwrap();
    let files = files.server();
    assert_eq!(files.instances.len(), 2);
    assert_eq!(files.scopes, ["files:read", "files:write"]);
    assert_eq!(files.era, EraSetting::Modern);
    assert_eq!(config.registry.find("open", "acme").unwrap().server().era, EraSetting::Auto);
    assert_eq!((files.timeout.as_millis(), files.idle.as_millis()), (1500, 60000));
    assert_eq!(files.secret.as_deref(), Some("FILES_SECRET"));
    assert!(config.registry.find("files", "umbrella").is_err());
    assert!(config.registry.find("open", "umbrella").is_ok());

    let by: Vec<&[By]> = config.limits.iter().map(|limit| &limit.by[..]).collect();
    assert_eq!(by, [&[By::Agent][..], &[By::Tenant, By::Server]]);
}

#[test]
fn what_a_full_file_says_of_trouble_and_money() {
    let config = config(FULL);
    assert_eq!(config.operators.as_deref(), Some("platform"));
    assert_eq!(config.admission["files"], Admission::Quarantine);
    let breaker = Tolerance {
        failure_permille: 250,
        min_requests: 4,
        consecutive_failures: 2,
        window: Duration::from_secs(5),
        open: Duration::from_millis(250),
        probe: Duration::from_millis(6500),
    };
    let expected = Resilience {
        concurrency: 1,
        queue: 0,
        queue_wait: Duration::ZERO,
        connect_timeout: Duration::from_secs(1),
        stream_idle: Duration::from_secs(90),
        retries: 0,
        breaker,
    };
    assert_eq!(config.resilience(config.registry.find("files", "acme").unwrap().server()), expected);

    let [agent, both] = &config.limits[..] else { panic!("{:?}", config.limits) };
    assert_eq!(agent.caps, Caps { requests_per_minute: Some(60), ..Caps::default() });
    let caps = Caps {
        requests_per_minute: Some(600),
        tokens_per_minute: Some(100_000),
        tokens_per_day: Some(1_000_000),
        tokens_per_month: Some(20_000_000),
        money_per_day_micros: Some(5_000_000),
        money_per_month_micros: Some(99_500_000),
    };
    assert_eq!(both.caps, caps);
    let price = |per_call_micros, per_million_tokens_micros| Price { per_call_micros, per_million_tokens_micros };
    assert_eq!(config.prices.of("files", None), price(10_000, 0));
    assert_eq!(config.prices.of("files", Some("export")), price(0, 3_000_000));
}

#[test]
fn what_is_left_out_has_a_default() {
    let config = config(LEAST);
    assert_eq!((config.audit, config.max_body_bytes), (AuditMode::Strict, 4 * 1024 * 1024));
    let files = config.registry.find("files", "anyone").unwrap();
    assert_eq!((files.server().timeout.as_secs(), files.server().idle.as_secs()), (30, 1800));
    assert!(files.server().scopes.is_empty() && files.server().secret.is_none());
    assert_eq!(config.issuers[0].issuer.tenant_claim, "tenant");
    assert!(config.operators.is_none() && config.policies.is_open() && config.pins.is_empty());
    assert_eq!(config.admission["files"], Admission::Flag);
    assert_eq!(config.resilience["files"], Resilience::within(Duration::from_secs(30)));
}

#[test]
fn a_connection_is_not_waited_for_longer_than_an_answer() {
    let quick = config(&with(r#"name = "files""#, "name = \"files\"\ntimeout_ms = 1500"));
    assert_eq!(quick.resilience["files"].connect_timeout.as_millis(), 1500);
}

/// Each `(line, other, at, what)`: with `other` instead of `line` there is one problem, `what`, at `at`.
fn each_is_found(table: &[(&str, &str, &str, &str)]) {
    for (line, other, at, what) in table {
        let found = problems(&with(line, other));
        assert!(found.len() == 1 && found[0].at == *at && found[0].what.contains(what), "{other}: {found:?}");
    }
}

#[test]
fn a_problem_of_the_gateway_is_found_where_it_is() {
    let url = r#"url = "http://127.0.0.1:8787""#;
    each_is_found(&[
        (url, r#"url = "nowhere""#, "gateway.url", "`nowhere` is not a URL"),
        (url, r#"url = """#, "gateway.url", "is not a URL"),
        (url, r#"url = "https://mcp.example.com/base""#, "gateway.url", "must be an origin"),
        (url, r#"url = "https://mcp.example.com?a=b""#, "gateway.url", "must be an origin"),
        (url, r#"url = "https://MCP.example.com""#, "gateway.url", "in lower case"),
        (url, r#"url = "https://mcp.example.com:443""#, "gateway.url", "must be an origin"),
        (url, r#"url = "http://mcp.example.com""#, "gateway.url", "must be https"),
        (url, r#"url = "http://127.0.0.1.nip.io""#, "gateway.url", "must be https"),
        (url, r#"url = "ftp://mcp.example.com""#, "gateway.url", "`ftp` is not a scheme"),
        (
            url,
            "url = \"https://a.example\"\nallowed_origins = [\"https://b.example\", \"b\"]",
            "gateway.allowed_origins[1]",
            "is not a URL",
        ),
        (
            url,
            "url = \"https://a.example\"\nallowed_origins = [\"https://b.example/x\"]",
            "gateway.allowed_origins[0]",
            "must be an origin",
        ),
        (url, "url = \"https://a.example\"\nallowed_origins = [\"*\"]", "gateway.allowed_origins[0]", "is not a URL"),
        (url, "url = \"https://a.example\"\nanonymous = true", "gateway.anonymous", "set it to false"),
        (url, "url = \"https://a.example\"\nmax_body_bytes = 1023", "gateway.max_body_bytes", "from 1024"),
        (url, "url = \"https://a.example\"\nmax_body_bytes = 16777217", "gateway.max_body_bytes", "to 16777216"),
    ]);
}

#[test]
fn a_problem_of_an_issuer_is_found_where_it_is() {
    let jwks_url = r#"jwks_url = "https://login.example.com/jwks""#;
    each_is_found(&[
        (r#"issuer = "https://login.example.com""#, r#"issuer = "login""#, "issuers[0].issuer", "`login` is not a URL"),
        (
            r#"issuer = "https://login.example.com""#,
            r#"issuer = "http://login.example.com""#,
            "issuers[0].issuer",
            "must be https",
        ),
        (jwks_url, "", "issuers[0].jwks_url", "exactly one of"),
        (jwks_url, "jwks_url = \"https://a.example\"\njwks_file = \"f\"", "issuers[0].jwks_url", "exactly one of"),
        (jwks_url, r#"jwks_file = "f""#, "issuers[0].jwks_file", "when the bundle is made"),
        (jwks_url, "jwks = { keys = [] }", "issuers[0].jwks", "holds no ES256"),
        (jwks_url, "jwks = { key = 1 }", "issuers[0].jwks", "is not a JSON object with an array `keys`"),
        (jwks_url, r#"jwks_url = "http://login.example.com/jwks""#, "issuers[0].jwks_url", "must be https"),
    ]);
}

#[test]
fn a_problem_of_a_server_is_found_where_it_is() {
    let instances = r#"instances = ["https://files.example/mcp"]"#;
    let name = r#"name = "files""#;
    each_is_found(&[
        (name, r#"name = """#, "servers[0].name", "must be 1 to 64"),
        (name, r#"name = "Files""#, "servers[0].name", "`Files` must be"),
        (name, r#"name = "a/b""#, "servers[0].name", "`a/b` must be"),
        (instances, "instances = []", "servers[0].instances", "at least one"),
        (
            instances,
            r#"instances = ["https://a.example", "http://a.example"]"#,
            "servers[0].instances[1]",
            "must be https",
        ),
        (instances, r#"instances = ["https://user:pass@a.example"]"#, "servers[0].instances[0]", "no credentials"),
        (instances, r#"instances = ["https://a.example/#f"]"#, "servers[0].instances[0]", "no fragment"),
        (instances, r#"instances = ["a.example"]"#, "servers[0].instances[0]", "is not a URL"),
        (name, "name = \"files\"\ntimeout_ms = 99", "servers[0].timeout_ms", "from 100"),
        (name, "name = \"files\"\ntimeout_ms = 600001", "servers[0].timeout_ms", "to 600000"),
        (name, "name = \"files\"\nidle_ms = 999", "servers[0].idle_ms", "from 1000"),
        (name, "name = \"files\"\nidle_ms = 604800001", "servers[0].idle_ms", "to 604800000"),
        (name, "name = \"files\"\nquestion_ms = 600001", "servers[0].question_ms", "from 1000 to 600000"),
        (name, "name = \"files\"\nscopes = [\"a b\"]", "servers[0].scopes", "visible ASCII"),
        (name, "name = \"files\"\nscopes = [\"\"]", "servers[0].scopes", "visible ASCII"),
        (name, "name = \"files\"\nscopes = [\"a\\\"b\"]", "servers[0].scopes", "without quotes"),
        (name, "name = \"files\"\nconcurrency = 0", "servers[0].concurrency", "from 1 to 1024"),
        (name, "name = \"files\"\nconcurrency = 1025", "servers[0].concurrency", "from 1 to 1024"),
        (name, "name = \"files\"\nqueue = 1025", "servers[0].queue", "from 0 to 1024"),
        (name, "name = \"files\"\nqueue_ms = 60001", "servers[0].queue_ms", "from 0 to 60000"),
        (name, "name = \"files\"\nretries = 6", "servers[0].retries", "from 0 to 5"),
        (name, "name = \"files\"\nstream_idle_ms = 99", "servers[0].stream_idle_ms", "from 100 to 600000"),
        (name, "name = \"files\"\nconnect_timeout_ms = 99", "servers[0].connect_timeout_ms", "from 100 to 600000"),
        (
            name,
            "name = \"files\"\nconnect_timeout_ms = 30001",
            "servers[0].connect_timeout_ms",
            "never reached: `timeout_ms` = 30000",
        ),
        (name, "name = \"files\"\nbreaker.failure_rate = 0", "servers[0].breaker.failure_rate", "from 0.001 to 1"),
        (name, "name = \"files\"\nbreaker.failure_rate = 1.1", "servers[0].breaker.failure_rate", "to 1"),
        (name, "name = \"files\"\nbreaker.failure_rate = -0.5", "servers[0].breaker.failure_rate", "from 0.001"),
        (name, "name = \"files\"\nbreaker.min_requests = 0", "servers[0].breaker.min_requests", "from 1"),
        (
            name,
            "name = \"files\"\nbreaker.consecutive_failures = 0",
            "servers[0].breaker.consecutive_failures",
            "from 1 to 1000",
        ),
        (name, "name = \"files\"\nbreaker.window_ms = 999", "servers[0].breaker.window_ms", "from 1000 to 600000"),
        (name, "name = \"files\"\nbreaker.open_ms = 60001", "servers[0].breaker.open_ms", "from 100 to 60000"),
    ]);
}

#[test]
fn a_problem_of_a_limit_is_found_where_it_is() {
    let by = r#"by = ["agent"]"#;
    let rate = "requests_per_minute = 1";
    each_is_found(&[
        (by, "by = []", "limits[0].by", "at least one of"),
        (by, r#"by = ["agent", "agent"]"#, "limits[0].by", "already"),
        (rate, "requests_per_minute = 0", "limits[0].requests_per_minute", "at least 1"),
        (
            rate,
            "requests_per_minute = 1\n[[limits]]\nby = [\"agent\"]\nrequests_per_minute = 2",
            "limits[1].by",
            "already",
        ),
        (rate, "", "limits[0]", "at least one amount"),
        (rate, "tokens_per_minute = 0", "limits[0].tokens_per_minute", "at least 1"),
        (rate, "tokens_per_day = 0", "limits[0].tokens_per_day", "at least 1"),
        (rate, "tokens_per_month = 1000000000001", "limits[0].tokens_per_month", "at most 1000000000000"),
        (rate, "money_per_day = 0", "limits[0].money_per_day", "from 0.000001"),
        (rate, "money_per_day = -1", "limits[0].money_per_day", "from 0.000001"),
        (rate, "money_per_month = 1e10", "limits[0].money_per_month", "to 1000000000"),
        (rate, "money_per_month = 1", "limits[0].money_per_month", "nothing has a price"),
    ]);
}

#[test]
fn a_problem_of_a_price_is_found_where_it_is() {
    let rate = "requests_per_minute = 1";
    let price = |text: &str| format!("{rate}\n[[prices]]\n{text}");
    for (text, at, what) in [
        ("server = \"file\"\nper_call = 1", "prices[0].server", "there is no server `file`"),
        ("server = \"files\"", "prices[0]", "name `per_call`"),
        ("server = \"files\"\ntool = \"\"\nper_call = 1", "prices[0].tool", "leave it out"),
        ("server = \"files\"\nper_call = -1", "prices[0].per_call", "from 0 to 1000000"),
        ("server = \"files\"\nper_million_tokens = 1000001", "prices[0].per_million_tokens", "from 0 to 1000000"),
        (
            "server = \"files\"\nper_call = 1\n[[prices]]\nserver = \"files\"\nper_call = 2",
            "prices[1].server",
            "has a price already",
        ),
    ] {
        each_is_found(&[(rate, &price(text), at, what)]);
    }
    assert!(problems(&with(rate, &price("server = \"files\"\nper_call = 0"))).is_empty(), "free is a price");
}

#[test]
fn operators_are_a_tenant() {
    let url = r#"url = "http://127.0.0.1:8787""#;
    each_is_found(&[(url, &format!("{url}\noperators = \" \""), "gateway.operators", "name a tenant")]);
}

#[test]
fn a_name_stands_once() {
    let doubled = format!(
        "{LEAST}\n[[servers]]\nname = \"files\"\ninstances = [\"https://a.example\"]\n\
         [[issuers]]\nissuer = \"https://login.example.com\"\njwks_url = \"https://a.example\""
    );
    let found: Vec<String> = problems(&doubled).iter().map(|problem| problem.at.clone()).collect();
    assert_eq!(found, ["issuers[1].issuer", "servers[1].name"]);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let text = r#"
        [gateway]
        url = "http://mcp.example.com"
        anonymous = true
        allowed_origins = ["x"]
        max_body_bytes = 1
        [[issuers]]
        issuer = "x"
        [[servers]]
        name = "A"
        instances = []
        timeout_ms = 1
        idle_ms = 1
        scopes = [""]
        [[limits]]
        by = []
        requests_per_minute = 0
    "#;
    let found: BTreeSet<String> = problems(text).into_iter().map(|problem| problem.at).collect();
    let expected = [
        "gateway.allowed_origins[0]",
        "gateway.anonymous",
        "gateway.max_body_bytes",
        "gateway.url",
        "issuers[0].issuer",
        "issuers[0].jwks_url",
        "limits[0].by",
        "limits[0].requests_per_minute",
        "servers[0].idle_ms",
        "servers[0].instances",
        "servers[0].name",
        "servers[0].scopes",
        "servers[0].timeout_ms",
    ];
    assert_eq!(found, expected.map(str::to_owned).into());
}

#[test]
fn a_problem_reads_as_one_line() {
    let problem = &problems(&with("requests_per_minute = 1", "requests_per_minute = 0"))[0];
    assert_eq!(
        problem.to_string(),
        "limits[0].requests_per_minute: must be at least 1; to forbid something altogether, write a policy"
    );
}

#[test]
fn anyone_is_served_on_loopback_only() {
    for host in ["127.0.0.1:8787", "localhost:8787", "[::1]:8787", "localhost"] {
        let config = config(&format!("[gateway]\nurl = \"http://{host}\"\nanonymous = true"));
        assert!(config.anonymous.is_some(), "{host}");
    }
    assert!(config(LEAST).anonymous.is_none(), "not unless it is asked for");
    for url in ["https://mcp.example.com", "https://localhost.example.com", "https://0.0.0.0", "https://10.0.0.1"] {
        let found = problems(&format!("[gateway]\nurl = \"{url}\"\nanonymous = true"));
        assert_eq!(found.iter().map(|problem| problem.at.as_str()).collect::<Vec<_>>(), ["gateway.anonymous"], "{url}");
    }
}

#[test]
fn somebody_must_be_able_to_call() {
    let found = problems("[gateway]\nurl = \"http://127.0.0.1:8787\"");
    assert_eq!(found[0].to_string(), "issuers: name at least one issuer, or nobody can call");
}

#[test]
fn a_key_that_is_unknown_is_an_error_that_names_it() {
    for (line, key) in [
        ("[gateway]", "[gateway]\nurll = 1"),
        ("[[issuers]]", "[[issuers]]\nurll = 1"),
        ("[[servers]]", "[[servers]]\nurll = 1"),
        ("[[limits]]", "[[limits]]\nurll = 1"),
        ("[[limits]]", "[[prices]]\nurll = 1\n[[limits]]"),
        ("[[limits]]", "[[endpoints]]\nurll = 1\n[[limits]]"),
        ("[[limits]]", "[[endpoints]]\nname = \"a\"\n[[endpoints.tools]]\nurll = 1\n[[limits]]"),
        ("[[limits]]", "[servers.breaker]\nurll = 1\n[[limits]]"),
        ("[gateway]", "urll = 1\n[gateway]"),
    ] {
        let error = toml::from_str::<Raw>(&with(line, key)).unwrap_err().to_string();
        assert!(error.contains("unknown field `urll`"), "{error}");
    }
    for (line, other) in [
        ("requests_per_minute = 1", "requests_per_minute = -1"),
        ("requests_per_minute = 1", "requests_per_minute = 5000000000"),
        (r#"by = ["agent"]"#, r#"by = ["colour"]"#),
        ("[gateway]", "[gateway]\naudit = \"never\""),
        ("[[limits]]", "era = \"ancient\"\n[[limits]]"),
        ("[gateway]", "[gateway]\nmax_body_bytes = -1"),
    ] {
        assert!(toml::from_str::<Raw>(&with(line, other)).is_err(), "{other}");
    }
}

#[test]
fn one_file_makes_one_bundle_however_it_is_spelled() {
    let spelled_otherwise = LEAST.replace(" = ", "=").replace("[[servers]]", "# a comment\n\n[[servers]]");
    assert_eq!(bundle(LEAST), bundle(&spelled_otherwise));
    assert_eq!(bundle(LEAST).id.len(), 64);
    let defaults_written = with(r#"name = "files""#, "name = \"files\"\ntimeout_ms = 30000");
    assert_eq!(bundle(LEAST).id, bundle(&defaults_written).id);
    let changed = with("requests_per_minute = 1", "requests_per_minute = 2");
    assert_ne!(bundle(LEAST).id, bundle(&changed).id);
    let reopened = Bundle::open(&bundle(FULL).id, &bundle(FULL).json).unwrap();
    assert_eq!(Bundle::new(reopened, |_| Err("no file is read".to_owned())).unwrap(), bundle(FULL));
}

#[test]
fn the_id_of_a_bundle_does_not_change_between_versions_unseen() {
    // Golden: a new default or an added key changes the address of every stored configuration.
    assert_eq!(bundle(LEAST).json, include_str!("tests/least.bundle.json").trim_end());
}

#[test]
fn a_bundle_that_was_tampered_with_is_refused() {
    let bundle = bundle(FULL);
    let tampered = bundle.json.replace("\"requests_per_minute\":60}", "\"requests_per_minute\":61}");
    assert_ne!(tampered, bundle.json);
    let error = Bundle::open(&bundle.id, &tampered).unwrap_err();
    assert!(error.contains("does not match its address"), "{error}");
    assert!(Bundle::open(&bundle.id.to_uppercase(), &bundle.json).is_err());
    assert!(Bundle::open("", &bundle.json).is_err());
}

#[test]
fn what_matches_its_address_must_still_be_a_configuration() {
    for json in ["", "{}", "[]", r#"{"gateway":{"url":"https://a.example","x":1}}"#] {
        let id = mcp::digest::hex(&mcp::digest::sha256(json.as_bytes()));
        assert!(Bundle::open(&id, json).is_err(), "{json}");
    }
}

#[test]
fn a_key_file_is_put_inside() {
    let mut read = Vec::new();
    let bundle = Bundle::new(raw(FULL), |file| {
        read.push(file.to_owned());
        Ok(KEYS.to_owned())
    })
    .unwrap();
    assert_eq!(read, ["ci.jwks.json"]);
    assert!(bundle.json.contains("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo") && !bundle.json.contains("jwks_file"));
}

#[test]
fn a_key_file_that_cannot_be_read_is_named() {
    let missing = Bundle::new(raw(FULL), |_| Err("no such file".to_owned())).unwrap_err();
    assert_eq!(missing, "jwks_file `ci.jwks.json`: no such file");
    let garbage = Bundle::new(raw(FULL), |_| Ok("not JSON".to_owned())).unwrap_err();
    assert!(garbage.starts_with("jwks_file `ci.jwks.json`: "), "{garbage}");
}

#[test]
fn a_bundle_has_its_own_place() {
    assert_eq!(key("abc"), "bundle/abc");
    assert_eq!(LIVE_KEY, "bundle/live");
}
