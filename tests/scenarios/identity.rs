//! Is only served who can prove who they are, to whom they were given leave, and when?

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use turnpike_tests::{
    Gateway, Stage,
    client::Answer,
    faulty::Upstream,
    fixture::Shared,
    issuer::{Issuer, Signature, Token, fresh, now_secs},
    setup::{Setup, trusted_at},
};

scenarios! {
    without_a_token_the_challenge_says_where_to_get_one,
    a_token_that_proves_nothing_is_401,
    a_token_that_is_no_jwt_is_401,
    every_algorithm_and_either_audience_is_accepted,
    a_token_for_one_endpoint_opens_no_other,
    a_token_without_the_scope_is_403_and_told_which,
    keys_are_fetched_once_for_many_tokens,
    an_issuer_that_cannot_be_reached_is_503,
    metadata_is_given_for_every_endpoint,
    another_tenants_server_looks_like_none,
    a_head_that_is_remembered_vouches_for_no_other,
    without_a_token_only_where_that_is_configured,
}

not_on_spin! {
    "It is counted, or remembered, by each isolate: Spin has as many as it likes.":
    many_callers_at_once_are_one_fetch,
}

memory_only! {
    "The clock is moved by hand.":
    a_rotated_key_is_fetched_at_most_every_half_minute,
    unknown_keys_do_not_make_the_gateway_fetch_without_end,
    a_rotated_key_serves_many_callers_at_once,
    a_remembered_token_expires,
    keys_that_cannot_be_fetched_any_more_are_kept,
}

async fn without_a_token_the_challenge_says_where_to_get_one(stage: Stage) {
    let gateway = stage.common().await;
    let metadata = format!("{}/.well-known/oauth-protected-resource/mcp", gateway.origin());
    let answer = gateway.client().server("one").initialize("2025-11-25").await;
    answer.refuses(401, -32000);
    assert_eq!(challenge(&answer), format!(r#"Bearer resource_metadata="{metadata}/one""#));
    let answer = gateway.client().server("scoped").initialize("2025-11-25").await;
    assert_eq!(challenge(&answer), format!(r#"Bearer resource_metadata="{metadata}/scoped", scope="tools:call""#));
    for authorization in ["Basic YWRhOnNlY3JldA==", "Bearer", "Bearer ", "token"] {
        let request = gateway.client().server("one").post(ping()).header("authorization", authorization);
        let answer = request.send().await;
        assert_eq!(answer.status, 401, "{authorization}: {answer:?}");
        assert!(!challenge(&answer).contains("error="), "{authorization}: {answer:?}");
    }
}

async fn a_token_that_proves_nothing_is_401(stage: Stage) {
    let gateway = stage.common().await;
    let good = gateway.token();
    let now = now_secs();
    let stranger = Issuer::new(&Issuer::shared().url);
    let broken = [
        ("expired", good.clone().claim("exp", now - 120).text()),
        ("without an expiry", good.clone().claim("exp", Value::Null).text()),
        ("not valid yet", good.clone().claim("nbf", now + 600).text()),
        ("issued in the future", good.clone().claim("iat", now + 600).text()),
        ("another issuer's", good.clone().claim("iss", "https://elsewhere.test").text()),
        ("the issuer's with a slash", good.clone().claim("iss", "https://issuer.test/").text()),
        ("another audience's", good.clone().claim("aud", "https://elsewhere.test").text()),
        ("for a prefix of the audience", good.clone().claim("aud", "http://127.0.0.1").text()),
        ("without an audience", good.clone().claim("aud", Value::Null).text()),
        ("without a tenant", good.clone().claim("tenant", Value::Null).text()),
        ("of an empty tenant", good.clone().claim("tenant", "").text()),
        ("without an agent", good.clone().claim("client_id", Value::Null).text()),
        ("without a user", good.clone().claim("sub", Value::Null).text()),
        ("unsigned", good.clone().signed(Signature::None).text()),
        ("signed with the public key", good.clone().signed(Signature::PublicKeyAsSecret).text()),
        ("signed under another key's id", good.clone().signed(Signature::Es256UnderRsaKid).text()),
        ("signed with another algorithm than said", good.clone().signed(Signature::Es256SaysRs256).text()),
        ("of an unknown key", good.clone().header("kid", "nobody's").text()),
        ("with a critical extension", good.clone().header("crit", json!(["b64"])).text()),
        ("signed by a stranger", stranger.sign(&good)),
        ("signed by a stranger without a kid", stranger.sign(&good.clone().header("kid", Value::Null))),
        ("changed after it was signed", changed(&good.text())),
        ("cut off", good.text()[..good.text().len() - 8].to_owned()),
    ];
    for (what, token) in broken {
        let answer = gateway.client().server("one").token(token).initialize("2025-11-25").await;
        assert_eq!((answer.status, answer.code()), (401, -32000), "{what}: {answer:?}");
        assert!(challenge(&answer).contains(r#", error="invalid_token", error_description=""#), "{what}: {answer:?}");
    }
}

async fn a_token_that_is_no_jwt_is_401(stage: Stage) {
    let gateway = stage.common().await;
    let huge = format!("{}.{}.{}", "a".repeat(8000), "b".repeat(8000), "c".repeat(8000));
    for token in ["x", "..", "a.b.c", "eyJhbGciOiJFZERTQSJ9..", "a.b.c.d.e", &huge] {
        let answer = gateway.client().server("one").token(token).initialize("2025-11-25").await;
        assert_eq!(answer.status, 401, "{token}: {answer:?}");
        assert!(!String::from_utf8_lossy(&answer.body).contains(token) || token.len() < 5, "{answer:?}");
    }
}

async fn every_algorithm_and_either_audience_is_accepted(stage: Stage) {
    let gateway = stage.common().await;
    let endpoint = format!("{}/mcp/json", gateway.origin());
    let audiences = [json!(gateway.origin()), json!(endpoint), json!(["https://elsewhere.test", endpoint])];
    for signature in [Signature::EdDsa, Signature::Es256, Signature::Rs256] {
        for audience in &audiences {
            let token = gateway.token().claim("aud", audience.clone()).signed(signature);
            assert_eq!(opened(&gateway, "json", &token).await, 200, "{signature:?} for {audience}");
        }
    }
    let nameless = gateway.token().header("kid", Value::Null);
    assert_eq!(opened(&gateway, "json", &nameless).await, 200, "without a `kid`");
    let azp = gateway.token().claim("client_id", Value::Null).claim("azp", "agent");
    assert_eq!(opened(&gateway, "json", &azp).await, 200, "with `azp` for `client_id`");
}

async fn a_token_for_one_endpoint_opens_no_other(stage: Stage) {
    let gateway = stage.common().await;
    let token = Token::fresh(&format!("{}/mcp/json", gateway.origin()));
    assert_eq!(opened(&gateway, "json", &token).await, 200);
    // Also once it is remembered as genuine.
    for server in ["one", "json2", "jso"] {
        assert_eq!(opened(&gateway, server, &token).await, 401, "{server}");
    }
}

async fn a_token_without_the_scope_is_403_and_told_which(stage: Stage) {
    let gateway = stage.common().await;
    let answer = gateway.caller("scoped").initialize("2025-11-25").await;
    answer.refuses(403, -32000);
    assert!(challenge(&answer).contains(r#"error="insufficient_scope""#), "{answer:?}");
    assert!(challenge(&answer).contains(r#"scope="tools:call""#), "{answer:?}");
    for scopes in [json!("other tools:call"), json!(["tools:call"])] {
        let token = gateway.token().claim("scope", scopes);
        assert_eq!(opened(&gateway, "scoped", &token).await, 200);
    }
}

async fn keys_are_fetched_once_for_many_tokens(stage: Stage) {
    let (gateway, issuer, path) = with_fetched_keys(stage).await;
    for _ in 0..5 {
        let token = issuer.sign(&gateway.token());
        let answer = gateway.client().server("json").token(token).initialize("2025-11-25").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(Upstream::shared().received(&path).len(), 1);
}

async fn an_issuer_that_cannot_be_reached_is_503(stage: Stage) {
    let (gateway, issuer, path) = with_fetched_keys(stage).await;
    Upstream::shared().offer(&path, Some("this is no key set".to_owned()));
    let client = gateway.client().server("json").token(issuer.sign(&gateway.token()));
    for _ in 0..3 {
        let answer = client.initialize("2025-11-25").await;
        answer.refuses(503, -32000);
        assert_eq!(answer.header("retry-after"), "5");
        assert!(!String::from_utf8_lossy(&answer.body).contains(&path), "the caller is not told where: {answer:?}");
    }
    assert_eq!(Upstream::shared().received(&path).len(), 1, "a failure is not repeated for every caller");
}

async fn many_callers_at_once_are_one_fetch(stage: Stage) {
    let (gateway, issuer, path) = with_fetched_keys(stage).await;
    let good = (0..10).map(|_| issuer.sign(&gateway.token()));
    let bad = (0..10).map(|n| issuer.sign(&gateway.token().header("kid", format!("unknown-{n}"))));
    let statuses = join_all(good.chain(bad).map(async |token| opened_by(&gateway, &token).await)).await;
    assert_eq!(statuses, [[200; 10], [401; 10]].concat());
    assert_eq!(Upstream::shared().received(&path).len(), 1);
}

async fn metadata_is_given_for_every_endpoint(stage: Stage) {
    let gateway = stage.common().await;
    let read = async |path: &str| {
        let answer = gateway.client().exact("GET", &format!("{WELL_KNOWN}{path}")).send().await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{answer:?}");
        answer.json()
    };
    let scoped = read("/mcp/scoped").await;
    assert_eq!(scoped["resource"], format!("{}/mcp/scoped", gateway.origin()));
    assert_eq!(scoped["authorization_servers"], json!([Issuer::shared().url]));
    assert_eq!(scoped["scopes_supported"], json!(["tools:call"]));
    assert_eq!(scoped["bearer_methods_supported"], json!(["header"]));
    assert_eq!(read("").await["resource"], gateway.origin());
    // That there is no such server is not for everyone to know.
    let (mut theirs, mut absent) = (read("/mcp/theirs").await, read("/mcp/absent").await);
    theirs["resource"].take();
    absent["resource"].take();
    assert_eq!(theirs, absent);
}

async fn another_tenants_server_looks_like_none(stage: Stage) {
    let gateway = stage.common().await;
    let token = gateway.token();
    let mut answers = Vec::new();
    for server in ["theirs", "absent"] {
        let answer = gateway.caller_with(server, &token).initialize("2025-11-25").await;
        assert_eq!(answer.status, 404);
        let mut headers = answer.headers.clone();
        headers.remove("date");
        let text = String::from_utf8_lossy(&answer.body).replace(server, "…");
        answers.push((headers, text));
    }
    assert_eq!(answers[0].1, answers[1].1);
    assert_eq!(answers[0].0.keys().collect::<Vec<_>>(), answers[1].0.keys().collect::<Vec<_>>());
    let member = token.claim("tenant", "somebody-else");
    assert_eq!(opened(&gateway, "theirs", &member).await, 200);
}

async fn a_head_that_is_remembered_vouches_for_no_other(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one").open().await;
    let other = gateway.caller("one").open().await;
    let good = || {
        client.post(client.message("tools/call", json!({ "name": "echo", "arguments": { "text": "a" } })).to_string())
    };
    let changed = [
        ("authorization", "Bearer x.y.z", 401),
        ("mcp-session-id", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 404),
        ("mcp-protocol-version", "1999-01-01", 400),
        ("accept", "text/html", 406),
        ("content-type", "text/plain", 415),
        ("origin", "https://evil.test", 403),
        ("mcp-protocol-version", "é", 400),
        ("traceparent", "é", 400),
    ];
    for (name, value, status) in changed {
        for _ in 0..2 {
            assert_eq!(good().send().await.status, 200, "a good one before");
            let answer = good().with(name, value).send().await;
            assert_eq!(answer.status, status, "{name}: {value}: {answer:?}");
        }
    }
    for (name, status) in [("authorization", 401), ("mcp-session-id", 400), ("content-type", 415)] {
        let answer = good().without(name).send().await;
        assert_eq!(answer.status, status, "without {name}: {answer:?}");
    }
    let sessions = [client.whoami().await, other.whoami().await].map(|seen| seen["session"].clone());
    assert_ne!(sessions[0], sessions[1], "what differs in its session alone is not taken for another's");
    assert_eq!(good().path("/mcp/two").send().await.status, 404, "a session of another server");
}

async fn without_a_token_only_where_that_is_configured(stage: Stage) {
    let mut setup = Setup::new().server("json", &[&Shared::running().json.url]);
    setup.raw.gateway.anonymous = true;
    let gateway = stage.open(setup).await;
    let client = gateway.client().server("json").open().await;
    assert_eq!(client.call("echo", json!({ "text": "nobody" })).await, "nobody");
    let bad = gateway.client().server("json").token("x.y.z").initialize("2025-11-25").await;
    bad.refuses(401, -32000);
    let known = gateway.caller("json").with_session(&client.session().unwrap());
    known.try_call("echo", json!({ "text": "mine?" })).await.refuses(404, -32001);
}

async fn a_rotated_key_is_fetched_at_most_every_half_minute(stage: Stage) {
    let (gateway, issuer, path) = with_fetched_keys_and(stage, Setup::clock_stands).await;
    let old = issuer.sign(&gateway.token());
    assert_eq!(opened_by(&gateway, &old).await, 200);
    let rotated = Issuer::new(&issuer.url);
    Upstream::shared().offer(&path, Some(rotated.key_set().to_string()));
    let new = rotated.sign(&gateway.token());
    assert_eq!(opened_by(&gateway, &new).await, 401);
    gateway.memory().advance(Duration::from_secs(29));
    assert_eq!(opened_by(&gateway, &new).await, 401);
    assert_eq!(Upstream::shared().received(&path).len(), 1);
    gateway.memory().advance(Duration::from_secs(2));
    assert_eq!(opened_by(&gateway, &new).await, 200);
    assert_eq!(Upstream::shared().received(&path).len(), 2);
    let retired = issuer.sign(&gateway.token());
    assert_eq!(opened_by(&gateway, &retired).await, 401, "a key that was taken away signs no more");
}

async fn unknown_keys_do_not_make_the_gateway_fetch_without_end(stage: Stage) {
    let (gateway, issuer, path) = with_fetched_keys_and(stage, Setup::clock_stands).await;
    for _ in 0..3 {
        for n in 0..20 {
            let token = issuer.sign(&gateway.token().header("kid", format!("unknown-{n}")));
            assert_eq!(opened_by(&gateway, &token).await, 401);
        }
        gateway.memory().advance(Duration::from_secs(31));
    }
    assert_eq!(Upstream::shared().received(&path).len(), 3);
}

async fn a_rotated_key_serves_many_callers_at_once(stage: Stage) {
    let (gateway, issuer, path) = with_fetched_keys(stage).await;
    assert_eq!(opened_by(&gateway, &issuer.sign(&gateway.token())).await, 200);
    let rotated = Issuer::new(&issuer.url);
    Upstream::shared().offer(&path, Some(rotated.key_set().to_string()));
    gateway.memory().advance(Duration::from_secs(31));
    let tokens = (0..10).map(|_| rotated.sign(&gateway.token()));
    let statuses = join_all(tokens.map(async |token| opened_by(&gateway, &token).await)).await;
    assert_eq!(statuses, [200; 10]);
    assert_eq!(Upstream::shared().received(&path).len(), 2);
}

async fn a_remembered_token_expires(stage: Stage) {
    let gateway = stage.common().await;
    let token = gateway.token().claim("exp", now_secs() + 60);
    let client = gateway.caller_with("json", &token).open().await;
    client.call("echo", json!({ "text": "in time" })).await;
    gateway.memory().advance(Duration::from_secs(60 + 31));
    client.try_call("echo", json!({ "text": "late" })).await.refuses(401, -32000);
}

async fn keys_that_cannot_be_fetched_any_more_are_kept(stage: Stage) {
    let (gateway, issuer, path) = with_fetched_keys(stage).await;
    assert_eq!(opened_by(&gateway, &issuer.sign(&gateway.token())).await, 200);
    Upstream::shared().offer(&path, Some("broken".to_owned()));
    gateway.memory().advance(Duration::from_secs(2 * 3600));
    assert_eq!(opened_by(&gateway, &issuer.sign(&gateway.token())).await, 200);
    assert_eq!(Upstream::shared().received(&path).len(), 2, "a fetch was tried");
}

/// A gateway with an issuer of its own whose keys are fetched from the path that comes with it.
async fn with_fetched_keys(stage: Stage) -> (Gateway, Issuer, String) {
    with_fetched_keys_and(stage, |setup| setup).await
}

/// The same, with the setup changed.
async fn with_fetched_keys_and(stage: Stage, change: impl FnOnce(Setup) -> Setup) -> (Gateway, Issuer, String) {
    let name = fresh("jwks");
    let path = format!("/{name}");
    let issuer = Issuer::new(&format!("https://{}.test", fresh("issuer")));
    Upstream::shared().offer(&path, Some(issuer.key_set().to_string()));
    let mut setup = Setup::new().server("json", &[&Shared::running().json.url]);
    setup.raw.issuers = vec![trusted_at(&issuer.url, &Upstream::shared().url(&name))];
    (stage.open(change(setup)).await, issuer, path)
}

async fn opened(gateway: &Gateway, server: &str, token: &Token) -> u16 {
    gateway.caller_with(server, token).initialize("2025-11-25").await.status
}

async fn opened_by(gateway: &Gateway, token: &str) -> u16 {
    gateway.client().server("json").token(token).initialize("2025-11-25").await.status
}

fn challenge(answer: &Answer) -> &str {
    answer.header("www-authenticate")
}

/// The token with another claim under the same signature.
fn changed(token: &str) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let other = Token::fresh("https://elsewhere.test").text();
    let claims = other.split('.').nth(1).unwrap();
    [parts[0], claims, parts[2]].join(".")
}

fn ping() -> &'static str {
    r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#
}

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
