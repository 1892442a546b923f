use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    Issuer, Refused,
    mint::{ISSUER, NOW, RSA_1024, Signer, claims, forge, hs256, set},
    verify,
};

fn refusal(token: &str, keys: &str) -> Option<Refused> {
    let issuer =
        Issuer { issuer: ISSUER.to_owned(), tenant_claim: "tenant".to_owned(), roles_claim: Some("roles".to_owned()) };
    verify(token, &issuer, &KeySet::parse(keys).unwrap(), mcp::Timestamp::from_secs(NOW)).err()
}

fn plain(signer: &Signer) -> Value {
    signer.jwk(&json!({}))
}

fn signers() -> [Signer; 3] {
    [Signer::es256(), Signer::eddsa(), Signer::rs256()]
}

#[test]
fn each_algorithm_is_accepted_with_its_own_key() {
    for signer in signers() {
        assert_eq!(refusal(&signer.sign(&json!({}), &claims()), &set(&[plain(&signer)])), None);
    }
}

#[test]
fn a_token_of_one_algorithm_is_refused_by_a_key_of_another() {
    for (n, signer) in signers().iter().enumerate() {
        for (m, other) in signers().iter().enumerate().filter(|(m, _)| *m != n) {
            let token = signer.sign(&json!({}), &claims());
            assert_eq!(refusal(&token, &set(&[plain(other)])), Some(Refused::Signature), "{n} by {m}");
        }
    }
}

#[test]
fn another_key_of_the_same_algorithm_is_refused() {
    for (signer, other) in [(Signer::es256(), Signer::es256()), (Signer::eddsa(), Signer::eddsa())] {
        let token = signer.sign(&json!({}), &claims());
        assert_eq!(refusal(&token, &set(&[plain(&other)])), Some(Refused::Signature));
    }
}

#[test]
fn what_was_changed_on_the_way_is_refused() {
    for signer in signers() {
        let token = signer.sign(&json!({}), &claims());
        let (head, rest) = token.split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        let other = forge(&json!({}), &crate::mint::claims_with("tenant", json!("globex")), signature);
        let forged = format!("{head}.{}", other.split_once('.').unwrap().1);
        assert_eq!(refusal(&forged, &set(&[plain(&signer)])), Some(Refused::Signature));
        let unsigned = token.strip_suffix(signature).unwrap();
        assert_eq!(refusal(unsigned, &set(&[plain(&signer)])), Some(Refused::Signature));
    }
}

#[test]
fn a_token_without_a_signature_is_refused_however_none_is_spelled() {
    for signer in signers() {
        for alg in ["none", "None", "NONE", "nOnE", ""] {
            let token = forge(&json!({ "alg": alg }), &claims(), "");
            assert_eq!(refusal(&token, &set(&[plain(&signer)])), Some(Refused::Signature), "{alg}");
        }
    }
}

#[test]
fn a_public_key_is_no_secret_to_sign_with() {
    for signer in signers() {
        let jwk = plain(&signer);
        let member = |name: &str| jwk.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        for key in [member("x"), member("n"), jwk.to_string()] {
            let token = hs256(key.as_bytes(), &claims());
            assert_eq!(refusal(&token, &set(std::slice::from_ref(&jwk))), Some(Refused::Signature));
        }
    }
}

#[test]
fn a_key_that_is_named_is_the_only_one_tried() {
    let (one, other) = (Signer::es256(), Signer::es256());
    let keys = set(&[one.jwk(&json!({ "kid": "1" })), other.jwk(&json!({ "kid": "2" }))]);
    for (kid, expected) in [("1", None), ("2", Some(Refused::Signature)), ("3", Some(Refused::Signature))] {
        assert_eq!(refusal(&one.sign(&json!({ "kid": kid }), &claims()), &keys), expected, "{kid}");
    }
    for signer in [&one, &other] {
        assert_eq!(refusal(&signer.sign(&json!({}), &claims()), &keys), None, "no kid: each is tried");
    }
    assert_eq!(refusal(&Signer::es256().sign(&json!({}), &claims()), &keys), Some(Refused::Signature));
}

#[test]
fn keys_of_one_name_are_each_tried() {
    let (one, other) = (Signer::es256(), Signer::eddsa());
    let keys = set(&[one.jwk(&json!({ "kid": "1" })), other.jwk(&json!({ "kid": "1" }))]);
    for signer in [one, other] {
        assert_eq!(refusal(&signer.sign(&json!({ "kid": "1" }), &claims()), &keys), None);
    }
}

#[test]
fn keys_that_cannot_be_used_are_passed_over() {
    let (ec, ed, rsa) = (Signer::es256(), Signer::eddsa(), Signer::rs256());
    let unusable = [
        serde_json::from_str(RSA_1024).unwrap(),
        ec.jwk(&json!({ "use": "enc" })),
        ec.jwk(&json!({ "alg": "ES384" })),
        ec.jwk(&json!({ "alg": "RS256" })),
        ec.jwk(&json!({ "crv": "P-384" })),
        ec.jwk(&json!({ "x": "AAAA" })),
        ed.jwk(&json!({ "alg": "ES256" })),
        ed.jwk(&json!({ "crv": "X25519" })),
        rsa.jwk(&json!({ "alg": "RS512" })),
        rsa.jwk(&json!({ "alg": "PS256" })),
        rsa.jwk(&json!({ "alg": "RSA-OAEP" })),
        json!({ "kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ" }),
        json!({ "kty": "new" }),
        json!({}),
        json!(7),
        Value::Null,
    ];
    for key in &unusable {
        assert!(matches!(KeySet::parse(&set(std::slice::from_ref(key))), Err(UnusableKeys::Empty)), "{key}");
    }
    let good = Signer::es256();
    let keys = set(&[&unusable[..], &[plain(&good)]].concat());
    assert_eq!(refusal(&good.sign(&json!({}), &claims()), &keys), None);
}

#[test]
fn keys_that_say_what_they_are_for_are_used() {
    for (signer, alg) in [
        (Signer::es256(), "ES256"),
        (Signer::eddsa(), "EdDSA"),
        (Signer::eddsa(), "Ed25519"),
        (Signer::rs256(), "RS256"),
    ] {
        let keys = set(&[signer.jwk(&json!({ "alg": alg, "use": "sig", "kid": "1", "x5c": ["unread"] }))]);
        assert_eq!(refusal(&signer.sign(&json!({ "kid": "1" }), &claims()), &keys), None, "{alg}");
    }
}

#[test]
fn an_ed25519_token_may_name_its_algorithm_either_way() {
    let signer = Signer::eddsa();
    let Signer::EdDsa(key) = &signer else { unreachable!() };
    let header = jwt_compact::Header::empty();
    let token = Ed25519::with_specific_name().token(&header, &jwt_compact::Claims::new(claims()), key).unwrap();
    for alg in ["EdDSA", "Ed25519"] {
        assert_eq!(refusal(&token, &set(&[signer.jwk(&json!({ "alg": alg }))])), None, "RFC 9864, key {alg}");
    }
}

#[test]
fn a_set_is_bounded() {
    let keys: Vec<Signer> = (0..=KEYS_MAX).map(|_| Signer::eddsa()).collect();
    let jwks: Vec<Value> = keys.iter().enumerate().map(|(n, key)| key.jwk(&json!({ "kid": n.to_string() }))).collect();
    let keys = KeySet::parse(&set(&jwks)).unwrap();
    assert!(keys.knows(Some("15")) && !keys.knows(Some("16")));
    assert!(keys.knows(None));
}

#[test]
fn what_is_no_key_set_is_told_apart_from_an_empty_one() {
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":null}"#] {
        assert!(matches!(KeySet::parse(text), Err(UnusableKeys::Shape(_))), "{text}");
    }
    assert!(matches!(KeySet::parse(r#"{"keys":[]}"#), Err(UnusableKeys::Empty)));
}

proptest! {
    // Signatures are slow without optimisation.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_members_never_panic(
        kty in "RSA|EC|OKP|oct",
        crv in "P-256|Ed25519|.{0,4}",
        bytes in "[A-Za-z0-9_-]{0,86}",
        e in "AQAB|AQ|AA|[A-Za-z0-9_-]{0,12}",
    ) {
        let key = json!({ "kty": kty, "crv": crv, "x": bytes, "y": bytes, "n": bytes, "e": e, "k": bytes });
        let _ = KeySet::parse(&set(&[key]));
    }

    #[test]
    fn an_arbitrary_signature_is_refused_by_every_key(signature in "[A-Za-z0-9_-]{0,700}", alg in "ES256|EdDSA|RS256") {
        static KEYS: LazyLock<String> = LazyLock::new(|| set(&signers().each_ref().map(plain)));
        let refused = refusal(&forge(&json!({ "alg": alg }), &claims(), &signature), &KEYS);
        prop_assert!(matches!(refused, Some(Refused::Signature | Refused::Malformed)));
    }
}
