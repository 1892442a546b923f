use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const ALICE: Context = Context([1; 32]);
const BOB: Context = Context([2; 32]);

fn cache() -> Cache {
    Cache::new(NonZeroUsize::new(8).unwrap(), 64 * 1024)
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn tools(server: &str) -> Key {
    key(server, "tools/list", None).unwrap()
}

fn read(server: &str, uri: &str) -> Key {
    key(server, "resources/read", Some(&json!({ "uri": uri }).to_string())).unwrap()
}

fn answer(ttl_ms: u64, scope: &str) -> String {
    let result = json!({ "resultType": "complete", "tools": [], "ttlMs": ttl_ms, "cacheScope": scope });
    json!({ "jsonrpc": "2.0", "id": 1, "result": result }).to_string()
}

fn put(cache: &mut Cache, key: Key, context: Context, response: &str) {
    let question = cache.question(key, context);
    cache.store(question, response, at(0));
}

fn has(cache: &mut Cache, key: Key, context: Context, millis: u64) -> bool {
    let question = cache.question(key, context);
    cache.lookup(&question, at(millis)).is_some()
}

#[test]
fn only_the_six_methods_have_a_key_and_only_without_what_nobody_knows() {
    for (method, params, is_kept) in [
        ("server/discover", r#"{"_meta":{"a":1}}"#, true),
        ("tools/list", "{}", true),
        ("tools/list", r#"{"cursor":"x"}"#, true),
        ("tools/list", r#"{"cursor":7}"#, false),
        ("tools/list", r#"{"filter":"x"}"#, false),
        ("tools/list", r#"{"cursor":"a","cursor":"b"}"#, false),
        ("prompts/list", "{}", true),
        ("resources/list", "{}", true),
        ("resources/templates/list", "{}", true),
        ("resources/read", r#"{"uri":"a:b","_meta":{}}"#, true),
        ("resources/read", "{}", false),
        ("resources/read", r#"{"uri":"a:b","requestState":"x"}"#, false),
        ("resources/read", r#"{"uri":"a:b","inputResponses":{}}"#, false),
        ("tools/call", r#"{"name":"a"}"#, false),
        ("prompts/get", r#"{"name":"a"}"#, false),
        ("completion/complete", "{}", false),
        ("tools/list", "[]", false),
    ] {
        assert_eq!(key("s", method, Some(params)).is_some(), is_kept, "{method} {params}");
    }
    let pages = [None, Some("{}"), Some(r#"{"cursor":"1"}"#), Some(r#"{"cursor":"2"}"#)];
    let [first, same, second, third] = pages.map(|params| key("s", "tools/list", params).unwrap());
    assert_eq!(first, same);
    assert!(first != second && second != third);
    assert_ne!(key("s", "tools/list", None), key("t", "tools/list", None));
}

#[test]
fn what_is_private_is_for_nobody_else() {
    let mut cache = cache();
    put(&mut cache, tools("s"), ALICE, &answer(1_000, "private"));
    assert!(has(&mut cache, tools("s"), ALICE, 0));
    assert!(!has(&mut cache, tools("s"), BOB, 0));
    put(&mut cache, tools("t"), ALICE, &answer(1_000, "public"));
    assert!(has(&mut cache, tools("t"), BOB, 0));
    assert!(!has(&mut cache, tools("u"), ALICE, 0));
}

#[test]
fn an_answer_holds_for_what_is_left_of_its_time() {
    let mut cache = cache();
    put(
        &mut cache,
        tools("s"),
        ALICE,
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[1.50],"ttlMs":5000,"cacheScope":"public"}}"#,
    );
    let question = cache.question(tools("s"), BOB);
    assert_eq!(cache.lookup(&question, at(1_234)).unwrap(), r#"{"tools":[1.50],"ttlMs":3766,"cacheScope":"public"}"#);
    assert!(cache.lookup(&question, at(5_000)).is_none());
    assert_eq!(cache.bytes, 0);
    put(&mut cache, tools("s"), ALICE, &answer(u64::MAX, "public"));
    assert!(has(&mut cache, tools("s"), ALICE, AGE_MAX_MS - 1));
    assert!(!has(&mut cache, tools("s"), ALICE, AGE_MAX_MS));
}

#[test]
fn what_may_not_be_kept_is_not() {
    let mut cache = cache();
    for response in [
        answer(0, "public"),
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"result":{"ttlMs":-5,"cacheScope":"public"}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"result":{"ttlMs":"5000","cacheScope":"public"}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"result":{"ttlMs":5,"ttlMs":6}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","ttlMs":5000}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"","ttlMs":5000}}"#.to_owned(),
        answer(5_000, &"x".repeat(64 * 1024 / ENTRY_SHARE)),
        "{".to_owned(),
    ] {
        put(&mut cache, tools("s"), ALICE, &response);
        assert!(!has(&mut cache, tools("s"), ALICE, 0), "{response}");
    }
    put(&mut cache, tools("s"), ALICE, r#"{"jsonrpc":"2.0","id":1,"result":{"ttlMs":5000}}"#);
    assert!(!has(&mut cache, tools("s"), BOB, 0), "without a scope it is private");
}

#[test]
fn a_change_makes_wrong_what_it_concerns_for_everybody() {
    let list = |method| key("s", method, None).unwrap();
    let keys = [
        tools("s"),
        list("prompts/list"),
        list("resources/list"),
        list("resources/templates/list"),
        list("server/discover"),
        read("s", "file:///a"),
        read("s", "file:///a/b"),
        tools("t"),
    ];
    for (change, gone) in [
        (Change::Tools, &[0][..]),
        (Change::Prompts, &[1]),
        (Change::Resources, &[2, 3, 5, 6]),
        (Change::Updated("file:///a/b".to_owned()), &[5, 6]),
        (Change::Updated("file:///c".to_owned()), &[]),
    ] {
        for context in [ALICE, BOB] {
            let mut cache = cache();
            keys.iter().for_each(|key| put(&mut cache, key.clone(), context, &answer(5_000, "private")));
            cache.invalidate("s", &change);
            for (index, key) in keys.iter().enumerate() {
                assert_eq!(has(&mut cache, key.clone(), context, 0), !gone.contains(&index), "{change:?} {key:?}");
            }
        }
    }
    let mut cache = cache();
    put(&mut cache, tools("s"), ALICE, &answer(5_000, "public"));
    put(&mut cache, tools("t"), ALICE, &answer(5_000, "public"));
    cache.forget("s");
    assert!(!has(&mut cache, tools("s"), ALICE, 0) && has(&mut cache, tools("t"), ALICE, 0));
}

#[test]
fn an_answer_that_was_under_way_when_something_changed_is_not_kept() {
    let mut cache = cache();
    let [before, other] = ["s", "t"].map(|server| cache.question(tools(server), ALICE));
    cache.invalidate("s", &Change::Tools);
    cache.store(before.clone(), &answer(5_000, "public"), at(0));
    cache.store(other, &answer(5_000, "public"), at(0));
    assert!(!has(&mut cache, tools("s"), ALICE, 0) && has(&mut cache, tools("t"), ALICE, 0));
    put(&mut cache, tools("s"), ALICE, &answer(5_000, "public"));
    assert!(has(&mut cache, tools("s"), ALICE, 0), "asked after the change");
    // Also after so many others that the change itself is forgotten.
    cache.forget("s");
    (0..=SERVERS_MAX.get()).for_each(|n| cache.invalidate(&n.to_string(), &Change::Tools));
    cache.store(before, &answer(5_000, "public"), at(0));
    assert!(!has(&mut cache, tools("s"), ALICE, 0));
    put(&mut cache, tools("s"), ALICE, &answer(5_000, "public"));
    assert!(has(&mut cache, tools("s"), ALICE, 0));
}

#[test]
fn a_change_is_read_from_the_notification() {
    let of = |method: &str, params: Value| {
        Change::of(&json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string())
    };
    assert_eq!(of("notifications/tools/list_changed", json!({})), Some(Change::Tools));
    assert_eq!(of("notifications/prompts/list_changed", json!({})), Some(Change::Prompts));
    assert_eq!(of("notifications/resources/list_changed", json!({})), Some(Change::Resources));
    assert_eq!(of("notifications/resources/updated", json!({ "uri": "a:b" })), Some(Change::Updated("a:b".to_owned())));
    assert_eq!(of("notifications/resources/updated", json!({})), None);
    assert_eq!(of("notifications/message", json!({})), None);
    assert_eq!(Change::of("{"), None);
}

proptest! {
    #[test]
    fn entries_and_bytes_stay_within_bounds(
        steps in prop::collection::vec((0_u8..4, 0_u8..20, 0_usize..20_000, 0_u64..10_000), 0..80),
    ) {
        let mut cache = cache();
        for (step, which, bytes, millis) in steps {
            let key = read("s", &format!("a:{which}"));
            let context = if which % 2 == 0 { ALICE } else { BOB };
            match step {
                0 => cache.invalidate("s", &Change::Updated(format!("a:{which}"))),
                1 => drop(has(&mut cache, key, context, millis)),
                _ => put(&mut cache, key, context, &answer(5_000, &"x".repeat(bytes))),
            }
            let held: usize = cache.entries.iter().map(|(_, entry)| entry.bytes()).sum();
            prop_assert_eq!(held, cache.bytes);
            prop_assert!(cache.bytes <= cache.bytes_max && cache.entries.len() <= 8);
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let mut cache = cache();
        let _ = (Change::of(&text), key("s", "tools/list", Some(&text)));
        put(&mut cache, tools("s"), ALICE, &text);
    }
}
