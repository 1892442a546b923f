//! What opens a state, and what does not.

use mcp::{Body, Message, jsonrpc};
use proptest::prelude::*;

use super::*;

const ALICE: [u8; 32] = [1; 32];
const BOB: [u8; 32] = [2; 32];
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"book","arguments":{"n":1,"to":"é"}}}"#;

fn sealer() -> Sealer {
    Sealer::new(&[9; 32]).unwrap()
}

fn binding(principal: &[u8; 32], endpoint: &str, text: &str) -> Binding {
    let Ok(Body::Single(Message::Request(call))) = jsonrpc::parse(text.as_bytes()) else { panic!("{text}") };
    Binding::of(principal, endpoint, &call).unwrap()
}

fn alice() -> Binding {
    binding(&ALICE, "memory", CALL)
}

fn sealed() -> Sealed {
    Sealed {
        inner: Some("3.1".to_owned()),
        conversation: Some("c-0123456789abcdef".to_owned()),
        server: "memory".to_owned(),
        expires: NOW.plus_millis(60_000),
    }
}

fn state() -> String {
    sealer().seal([7; 24], &alice(), &sealed()).unwrap()
}

#[test]
fn a_state_opens_for_its_principal_endpoint_and_request_only() {
    let open = |binding: &Binding| sealer().open(&state(), binding, NOW);
    assert_eq!(open(&alice()), Ok(sealed()));
    assert_eq!(open(&binding(&BOB, "memory", CALL)), Err(Refusal::Principal));
    assert_eq!(open(&binding(&ALICE, "other", CALL)), Err(Refusal::Request));
    assert_eq!(open(&binding(&ALICE, "memory", &CALL.replace("tools/call", "prompts/get"))), Err(Refusal::Request));
    assert_eq!(open(&binding(&ALICE, "memory", &CALL.replace("book", "cook"))), Err(Refusal::Request));
    assert_eq!(open(&binding(&ALICE, "memory", &CALL.replace(r#""n":1"#, r#""n":2"#))), Err(Refusal::Request));
    assert_eq!(Sealer::new(&[8; 32]).unwrap().open(&state(), &alice(), NOW), Err(Refusal::Foreign));
}

/// MCP 2026-07-28 basic/patterns/mrtr: the retry has another id and `_meta`, and carries answers and state.
#[test]
fn what_differs_between_rounds_does_not_count() {
    for text in [
        r#"{"jsonrpc":"2.0","id":"other","method":"tools/call","params":{"name":"book","arguments":{"n":1,"to":"é"},"_meta":{"a":1},"inputResponses":{"k":{}},"requestState":"s"}}"#,
        r#"{"params":{ "arguments" : {"to":"\u00e9","n":1.0}, "name":"book" },"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
    ] {
        assert_eq!(sealer().open(&state(), &binding(&ALICE, "memory", text), NOW), Ok(sealed()), "{text}");
    }
    let deeper = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"book","arguments":{"n":1,"to":"é","_meta":{}}}}"#;
    assert_eq!(
        sealer().open(&state(), &binding(&ALICE, "memory", deeper), NOW),
        Err(Refusal::Request),
        "only at the top"
    );
}

#[test]
fn parts_of_a_request_do_not_run_into_each_other() {
    let call = |method: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
    assert_ne!(binding(&ALICE, "ab", &call("c")), binding(&ALICE, "a", &call("bc")));
    assert_eq!(
        binding(&ALICE, "a", &call("m")),
        binding(&ALICE, "a", r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{}}"#),
        "no parameters and an empty object mean the same"
    );
}

#[test]
fn a_state_expires() {
    let expires = sealed().expires;
    let at = |millis: u64| sealer().open(&state(), &alice(), Timestamp::from_millis(millis));
    assert!(at(expires.as_millis() - 1).is_ok());
    assert_eq!(at(expires.as_millis()), Err(Refusal::Expired));
    assert_eq!(at(u64::MAX), Err(Refusal::Expired));
    let late = sealer().open(&state(), &binding(&BOB, "memory", CALL), expires);
    assert_eq!(late, Err(Refusal::Principal), "whose it is comes before when it was");
}

#[test]
fn every_refusal_reads_alike() {
    for refusal in [Refusal::Foreign, Refusal::Principal, Refusal::Request, Refusal::Expired] {
        assert_eq!(refusal.code(), -32602);
    }
    assert!(!Refusal::PUBLIC.contains("principal"));
}

#[test]
fn a_state_is_printable_and_as_long_as_is_said() {
    let text = state();
    assert!(text.starts_with("ts1.") && text.bytes().all(|byte| byte.is_ascii_graphic()));
    let json = r#"["3.1","c-0123456789abcdef","memory"]"#;
    assert_eq!(text.len(), 4 + ((24 + 72 + json.len() + 16) * 4).div_ceil(3));
    assert_eq!(text.len(), 203);
    assert!(!text.contains("memory"), "nobody reads what is inside");
}

#[test]
fn a_new_nonce_makes_another_state() {
    let other = sealer().seal([8; 24], &alice(), &sealed()).unwrap();
    assert_ne!(state(), other);
    assert_eq!(sealer().open(&other, &alice(), NOW), Ok(sealed()));
}

#[test]
fn what_is_too_long_is_not_sealed_and_what_is_sealed_opens() {
    let with =
        |bytes: usize| Sealed { inner: Some("x".repeat(bytes)), conversation: None, server: String::new(), ..sealed() };
    let longest = 128 * 1024 - 72 - r#"["",null,""]"#.len();
    let state = sealer().seal([7; 24], &alice(), &with(longest)).unwrap();
    assert_eq!(sealer().open(&state, &alice(), NOW), Ok(with(longest)));
    assert_eq!(sealer().seal([7; 24], &alice(), &with(longest + 1)), Err(TooLong));
    assert_eq!(sealer().open(&format!("{state}A"), &alice(), NOW), Err(Refusal::Foreign));
}

#[test]
fn a_short_key_makes_no_sealer_and_the_purpose_counts() {
    assert!(Sealer::new(&[9; 31]).is_none());
    assert!(
        Sealer::from_base64url("CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=")
            .unwrap()
            .open(&state(), &alice(), NOW)
            .is_ok()
    );
    let derived = "b1c93ee3d05c6c0bb1d2885f1921b5e6321963dd914f17ac5ffb488c66e89ef2";
    assert_eq!(Sealer(XChaCha20Poly1305::new(&[9; 32].into())).open(&state(), &alice(), NOW), Err(Refusal::Foreign));
    let derived: Vec<u8> =
        (0..32).map(|at| u8::from_str_radix(derived.get(2 * at..2 * at + 2).unwrap(), 16).unwrap()).collect();
    let derived = Sealer(XChaCha20Poly1305::new_from_slice(&derived).unwrap());
    assert!(derived.open(&state(), &alice(), NOW).is_ok(), "HMAC-SHA256 of the purpose, computed elsewhere");
}

#[test]
fn parameters_that_mean_two_things_are_bound_to_nothing() {
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#;
    let Ok(Body::Single(Message::Request(call))) = jsonrpc::parse(text.as_bytes()) else { panic!() };
    assert!(Binding::of(&ALICE, "memory", &call).is_err());
}

proptest! {
    #[test]
    fn whatever_is_sealed_comes_back_exactly(
        inner in any::<Option<String>>(), conversation in any::<Option<String>>(), server in any::<String>(),
        expires in any::<u64>(), nonce in any::<[u8; 24]>(),
    ) {
        let sealed = Sealed { inner, conversation, server, expires: Timestamp::from_millis(expires) };
        let state = sealer().seal(nonce, &alice(), &sealed).unwrap();
        let now = Timestamp::from_millis(expires.saturating_sub(1));
        let expected = if expires == 0 { Err(Refusal::Expired) } else { Ok(sealed) };
        prop_assert_eq!(sealer().open(&state, &alice(), now), expected);
    }

    #[test]
    fn a_flipped_bit_is_noticed(at in 0_usize..149, bit in 0_u32..8) {
        let mut bytes = URL_SAFE_NO_PAD.decode(state().strip_prefix("ts1.").unwrap()).unwrap();
        let length = bytes.len();
        prop_assert_eq!(length, 149, "every byte is tried");
        bytes[at] ^= 1 << bit;
        let state = format!("ts1.{}", URL_SAFE_NO_PAD.encode(bytes));
        prop_assert_eq!(sealer().open(&state, &alice(), NOW), Err(Refusal::Foreign));
    }

    #[test]
    fn a_changed_character_is_noticed(at in 0_usize..203, to in "[A-Za-z0-9_.=-]") {
        let mut changed = state();
        prop_assume!(changed.get(at..=at) != Some(to.as_str()));
        changed.replace_range(at..=at, &to);
        prop_assert_eq!(sealer().open(&changed, &alice(), NOW), Err(Refusal::Foreign));
    }

    #[test]
    fn a_cut_state_is_noticed(length in 0_usize..203) {
        prop_assert_eq!(sealer().open(state().get(..length).unwrap(), &alice(), NOW), Err(Refusal::Foreign));
    }

    #[test]
    fn another_principal_never_opens_it(principal in any::<[u8; 32]>()) {
        prop_assume!(principal != ALICE);
        prop_assert_eq!(sealer().open(&state(), &binding(&principal, "memory", CALL), NOW), Err(Refusal::Principal));
    }

    #[test]
    fn other_parameters_never_open_it(name in "[a-z]{0,6}", n in any::<i32>(), to in any::<String>()) {
        prop_assume!((name.as_str(), n, to.as_str()) != ("book", 1, "é"));
        let params = serde_json::json!({ "name": name, "arguments": { "n": n, "to": to } });
        let text = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
        prop_assert_eq!(sealer().open(&state(), &binding(&ALICE, "memory", &text), NOW), Err(Refusal::Request));
    }

    #[test]
    fn garbage_never_panics(text in any::<String>(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for state in [text.clone(), format!("ts1.{text}"), format!("ts1.{}", URL_SAFE_NO_PAD.encode(bytes))] {
            prop_assert_eq!(sealer().open(&state, &alice(), NOW), Err(Refusal::Foreign));
        }
    }
}
