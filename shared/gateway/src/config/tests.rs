use std::collections::BTreeSet;

use super::*;

/// Every key there is, as an operator would write it.
const FULL: &str = r#"
[gateway]
url = "https://mcp.example.com"
anonymous = false
allowed_origins = ["https://app.example.com"]
audit = "relaxed"
max_body_bytes = 65536

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

[[servers]]
name = "open"
instances = ["https://open.example/mcp"]

[[limits]]
by = ["agent"]
requests_per_minute = 60

[[limits]]
by = ["tenant", "server"]
requests_per_minute = 600
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
    assert_eq!((files.timeout.as_millis(), files.idle.as_millis()), (1500, 60000));
    assert_eq!(files.secret.as_deref(), Some("FILES_SECRET"));
    assert!(config.registry.find("files", "umbrella").is_err());
    assert!(config.registry.find("open", "umbrella").is_ok());

    let limits: Vec<String> = config.limits.iter().map(quota::Limit::describe).collect();
    assert_eq!(limits, ["60 requests per minute by agent", "600 requests per minute by tenant and server"]);
}

#[test]
fn what_is_left_out_has_a_default() {
    let config = config(LEAST);
    assert_eq!((config.audit, config.max_body_bytes), (AuditMode::Strict, 4 * 1024 * 1024));
    let files = config.registry.find("files", "anyone").unwrap();
    assert_eq!((files.server().timeout.as_secs(), files.server().idle.as_secs()), (30, 1800));
    assert!(files.server().scopes.is_empty() && files.server().secret.is_none());
    assert_eq!(config.issuers[0].issuer.tenant_claim, "tenant");
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
        (name, "name = \"files\"\nscopes = [\"a b\"]", "servers[0].scopes", "visible ASCII"),
        (name, "name = \"files\"\nscopes = [\"\"]", "servers[0].scopes", "visible ASCII"),
        (name, "name = \"files\"\nscopes = [\"a\\\"b\"]", "servers[0].scopes", "without quotes"),
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
    ]);
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
    assert_eq!(problem.to_string(), "limits[0].requests_per_minute: must be at least 1");
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
