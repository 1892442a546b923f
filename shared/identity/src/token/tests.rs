use std::{rc::Rc, sync::LazyLock};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    Principal,
    mint::{ISSUER, NOW, Signer, claims, claims_with, forge, set},
};

static SIGNER: LazyLock<Signer> = LazyLock::new(Signer::eddsa);

fn issuer() -> Issuer {
    Issuer { issuer: ISSUER.to_owned(), tenant_claim: "tenant".to_owned(), roles_claim: Some("roles".to_owned()) }
}

fn verified_by(issuer: &Issuer, claims: &Value, now: Timestamp) -> Result<Verified, Refused> {
    let keys = KeySet::parse(&set(&[SIGNER.jwk(&json!({}))])).unwrap();
    verify(&SIGNER.sign(&json!({}), claims), issuer, &keys, now)
}

fn verified(claims: &Value) -> Result<Verified, Refused> {
    verified_by(&issuer(), claims, Timestamp::from_secs(NOW))
}

/// What becomes of good claims with `name` set to `value`.
fn refusal(name: &str, value: Value) -> Option<Refused> {
    verified(&claims_with(name, value)).err()
}

fn principal(claims: &Value) -> Rc<Principal> {
    let verified = verified(claims).unwrap();
    verified.principal(&["https://mcp.example.com/mcp/files"], Timestamp::from_secs(NOW)).unwrap()
}

fn words(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn a_good_token_says_who_calls() {
    let who = principal(&claims());
    let names = [who.tenant.as_str(), who.agent.as_str(), who.user.as_str(), who.issuer.as_str()];
    assert_eq!(names, ["acme", "bot", "alice", ISSUER]);
    assert!(who.scopes.is_empty() && who.roles.is_empty());
}

#[test]
fn an_expiry_must_be_there_and_lie_ahead() {
    assert_eq!(refusal("exp", Value::Null), Some(Refused::NoExpiry));
    for (seconds_ago, expected) in [(3600, Some(Refused::Expired)), (30, Some(Refused::Expired)), (29, None), (0, None)]
    {
        assert_eq!(refusal("exp", json!(NOW - seconds_ago)), expected, "{seconds_ago} s ago");
    }
    for (exp, expected) in [(0, Refused::Expired), (-1, Refused::Expired), (i64::MIN, Refused::Malformed)] {
        assert_eq!(refusal("exp", json!(exp)), Some(expected), "{exp}");
    }
    for exp in [json!(i64::MAX), json!(u64::MAX), json!(1e300), json!("1900000000"), json!(true)] {
        assert_eq!(refusal("exp", exp.clone()), Some(Refused::Malformed), "{exp}");
    }
    assert_eq!(refusal("exp", json!(8_210_266_876_799_i64)), None, "the last second a date can name");
}

#[test]
fn a_token_is_refused_before_its_time() {
    for name in ["nbf", "iat"] {
        for (seconds_ahead, expected) in
            [(0, None), (30, None), (31, Some(Refused::NotYet)), (3600, Some(Refused::NotYet))]
        {
            assert_eq!(refusal(name, json!(NOW + seconds_ahead)), expected, "{name} {seconds_ahead} s ahead");
        }
        assert_eq!(refusal(name, json!(-5)), None);
    }
}

#[test]
fn a_remembered_token_expires_too() {
    let verified = verified(&claims()).unwrap();
    let at = |secs| verified.principal(&["https://mcp.example.com/mcp/files"], Timestamp::from_secs(secs)).map(drop);
    assert_eq!(at(NOW + 600 + 29), Ok(()));
    assert_eq!(at(NOW + 600 + 30), Err(Refused::Expired));
}

#[test]
fn a_token_opens_only_what_it_was_issued_for() {
    let endpoint = "https://mcp.example.com/mcp/files";
    let gateway = "https://mcp.example.com";
    for (aud, opens) in [
        (json!(endpoint), true),
        (json!(gateway), true),
        (json!("https://mcp.example.com/"), true),
        (json!("https://mcp.example.com/mcp/files/"), true),
        (json!(["https://other.example", endpoint]), true),
        (json!("https://mcp.example.com/mcp/file"), false),
        (json!("https://mcp.example.com/mcp/files2"), false),
        (json!("https://mcp.example.com/mcp"), false),
        (json!("https://mcp.example.com/mcp/billing"), false),
        (json!("https://mcp.example.com.evil.example"), false),
        (json!("HTTPS://mcp.example.com"), false),
        (json!("mcp.example.com"), false),
        (json!(""), false),
        (json!("/"), false),
        (json!([]), false),
        (json!(["https://other.example"]), false),
        (Value::Null, false),
    ] {
        let verified = verified(&claims_with("aud", aud.clone())).unwrap();
        let outcome = verified.principal(&[endpoint, gateway], Timestamp::from_secs(NOW)).map(drop);
        assert_eq!(outcome, if opens { Ok(()) } else { Err(Refused::Audience) }, "{aud}");
    }
}

#[test]
fn a_claim_that_says_who_calls_must_be_there_and_usable() {
    for (name, claim) in [("tenant", "tenant"), ("client_id", "client_id"), ("sub", "sub")] {
        for value in [Value::Null, json!(""), json!("a\nb"), json!("a\u{0}"), json!("\u{7f}"), json!("x".repeat(257))] {
            assert_eq!(refusal(name, value.clone()), Some(Refused::Claim(claim)), "{name} {value}");
        }
        for value in [json!("x"), json!("x".repeat(256)), json!("ünï cødé/..|:"), json!(" ")] {
            assert_eq!(refusal(name, value.clone()), None, "{name} {value}");
        }
    }
    assert_eq!(refusal("tenant", json!(7)), Some(Refused::Claim("tenant")));
    assert_eq!(refusal("tenant", json!(["acme"])), Some(Refused::Claim("tenant")));
    assert_eq!(refusal("sub", json!(7)), Some(Refused::Malformed));
}

#[test]
fn the_agent_is_client_id_or_else_azp() {
    let mut claims = claims_with("azp", json!("web"));
    assert_eq!(principal(&claims).agent, "bot");
    claims.as_object_mut().unwrap().remove("client_id");
    assert_eq!(principal(&claims).agent, "web");
}

#[test]
fn the_tenant_is_the_claim_the_operator_named() {
    for (claim, name) in [
        ("org_id", "globex"),
        ("iss", ISSUER),
        ("sub", "alice"),
        ("azp", "web"),
        ("https://example.com/org", "umbrella"),
    ] {
        let issuer = Issuer { tenant_claim: claim.to_owned(), ..issuer() };
        let mut claims = claims_with(claim, json!(name));
        claims.as_object_mut().unwrap().remove("tenant");
        let verified = verified_by(&issuer, &claims, Timestamp::from_secs(NOW)).unwrap();
        let endpoint = ["https://mcp.example.com/mcp/files"];
        assert_eq!(verified.principal(&endpoint, Timestamp::from_secs(NOW)).unwrap().tenant, name);
    }
}

#[test]
fn scopes_are_read_however_they_are_spelled() {
    for (name, value, expected) in [
        ("scope", json!("a b"), words(&["a", "b"])),
        ("scope", json!("  a  b "), words(&["a", "b"])),
        ("scope", json!(["a", "b"]), words(&["a", "b"])),
        ("scope", json!(""), words(&[])),
        ("scp", json!("a b"), words(&["a", "b"])),
        ("scp", json!(["a"]), words(&["a"])),
        ("scopes", json!("a"), words(&[])),
    ] {
        assert_eq!(principal(&claims_with(name, value.clone())).scopes, expected, "{name} {value}");
    }
    let mut both = claims_with("scope", json!("a"));
    both.as_object_mut().unwrap().insert("scp".to_owned(), json!(["b"]));
    assert_eq!(principal(&both).scopes, words(&["a"]));
}

#[test]
fn roles_are_read_from_the_claim_the_operator_named() {
    for (value, expected) in [
        (json!(["admin", "dev"]), words(&["admin", "dev"])),
        (json!("admin dev"), words(&["admin", "dev"])),
        (json!(7), words(&[])),
        (json!([7]), words(&[])),
    ] {
        assert_eq!(principal(&claims_with("roles", value.clone())).roles, expected, "{value}");
    }
    let without = Issuer { roles_claim: None, ..issuer() };
    let verified = verified_by(&without, &claims_with("roles", json!("admin")), Timestamp::from_secs(NOW)).unwrap();
    let endpoint = ["https://mcp.example.com/mcp/files"];
    assert!(verified.principal(&endpoint, Timestamp::from_secs(NOW)).unwrap().roles.is_empty());
}

#[test]
fn another_issuers_token_is_refused_though_its_signature_is_good() {
    for other in ["https://login.example.com/", "https://LOGIN.example.com", "", "https://evil.example"] {
        assert_eq!(refusal("iss", json!(other)), Some(Refused::Issuer), "{other}");
    }
    assert_eq!(refusal("iss", Value::Null), Some(Refused::Malformed));
}

#[test]
fn critical_extensions_are_refused_whatever_they_are() {
    let keys = KeySet::parse(&set(&[SIGNER.jwk(&json!({}))])).unwrap();
    for crit in [json!(["b64"]), json!([]), json!("exp"), json!({}), json!(false)] {
        let token = SIGNER.sign(&json!({ "crit": crit }), &claims());
        let refused = verify(&token, &issuer(), &keys, Timestamp::from_secs(NOW)).err();
        assert_eq!(refused, Some(Refused::Malformed), "{crit}");
        assert_eq!(claimed(&token), Err(Refused::Malformed), "{crit}");
    }
}

#[test]
fn a_token_names_its_issuer_and_key_before_it_is_verified() {
    let token = SIGNER.sign(&json!({ "kid": "1" }), &claims());
    assert_eq!(claimed(&token), Ok(Claimed { issuer: ISSUER.to_owned(), kid: Some("1".to_owned()) }));
    let token = SIGNER.sign(&json!({}), &claims());
    assert_eq!(claimed(&token), Ok(Claimed { issuer: ISSUER.to_owned(), kid: None }));
}

#[test]
fn what_is_no_token_is_refused() {
    let header = json!({ "alg": "EdDSA" });
    let encrypted = "a.b.c.d.e";
    let padded = format!("{}==", forge(&header, &claims(), "AAAA"));
    let without_issuer = forge(&header, &claims_with("iss", Value::Null), "AAAA");
    let without_alg = forge(&json!({}), &claims(), "AAAA");
    let no_claims = forge(&header, &json!(7), "AAAA");
    let cbor = forge(&json!({ "alg": "EdDSA", "cty": "CBOR" }), &claims(), "AAAA");
    let twice = forge(&header, &claims(), "AAAA") + "." + &forge(&header, &claims(), "AAAA");
    for token in [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "null",
        encrypted,
        &padded,
        &without_issuer,
        &without_alg,
        &no_claims,
        &cbor,
        &twice,
    ] {
        assert_eq!(claimed(token), Err(Refused::Malformed), "{token}");
    }
}

#[test]
fn a_token_has_at_most_16_kib() {
    let filler = |bytes: usize| SIGNER.sign(&json!({}), &claims_with("filler", json!("x".repeat(bytes))));
    let keys = KeySet::parse(&set(&[SIGNER.jwk(&json!({}))])).unwrap();
    let outcome = |token: &str| verify(token, &issuer(), &keys, Timestamp::from_secs(NOW)).err();
    let sizes: Vec<usize> = (12_000..12_300).collect();
    let fitting = sizes.partition_point(|bytes| filler(*bytes).len() <= 16 * 1024);
    let (longest, longer) = (filler(sizes[fitting - 1]), filler(sizes[fitting]));
    assert!(longest.len() <= 16 * 1024 && longer.len() > 16 * 1024);
    assert_eq!((outcome(&longest), claimed(&longest).is_ok()), (None, true));
    assert_eq!(outcome(&longer), Some(Refused::Malformed));
    assert_eq!(claimed(&longer), Err(Refused::Malformed));
}

#[test]
fn a_refusal_never_quotes_the_token() {
    let all = [
        Refused::Missing,
        Refused::Malformed,
        Refused::Issuer,
        Refused::Signature,
        Refused::NoExpiry,
        Refused::Expired,
        Refused::NotYet,
        Refused::Audience,
        Refused::Claim("sub"),
    ];
    let texts: BTreeSet<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), all.len(), "each reads differently");
    assert!(texts.iter().all(|text| text.is_ascii() && !text.contains('"')), "it can stand in a challenge");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn garbage_never_panics(token in "\\PC{0,200}|[A-Za-z0-9_.-]{0,200}") {
        let _ = claimed(&token);
    }

    #[test]
    fn garbage_in_the_shape_of_a_token_never_panics(
        header in r#"\{"alg":"(EdDSA|none)"(,"kid":("a"|7|null))?(,"cty":"JSON")?(,"crit":(\[\]|null))?\}|.{0,40}"#,
        claims in r#"\{"iss":("a"|7|null)(,"exp":-?[0-9]{1,25}(\.5)?)?\}|.{0,80}"#,
        signature in "[A-Za-z0-9_-]{0,90}",
    ) {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let token = format!("{}.{}.{signature}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let keys = KeySet::parse(&set(&[SIGNER.jwk(&json!({}))])).unwrap();
        let _ = claimed(&token);
        prop_assert!(verify(&token, &issuer(), &keys, Timestamp::from_secs(NOW)).is_err());
    }

    #[test]
    fn genuine_tokens_with_arbitrary_claims_never_panic(
        exp in any::<i64>(), nbf in any::<i64>(), now in any::<u64>(), aud in ".{0,20}", sub in ".{0,300}",
    ) {
        let mut claims = claims_with("exp", json!(exp));
        let members = claims.as_object_mut().unwrap();
        members.extend([("nbf".to_owned(), json!(nbf)), ("aud".to_owned(), json!(aud)), ("sub".to_owned(), json!(sub))]);
        if let Ok(verified) = verified_by(&issuer(), &claims, Timestamp::from_millis(now)) {
            let _ = verified.principal(&[&aud], Timestamp::from_millis(now));
        }
    }
}
