use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn without<'a>(text: &'a str, kind: Kind, dropped: &[&str]) -> Cow<'a, str> {
    filter(text, &[kind], |item| if dropped.contains(&&*item.key) { Fate::Drop } else { Fate::Keep }).unwrap()
}

#[test]
fn everything_but_the_dropped_items_stays_as_it_was_spelled() {
    let text = concat!(
        r#" {"jsonrpc":"2.0", "result":{"nextCursor":"p\u00322", "tools":[ {"name":"a","x":1.0}, "#,
        r#"{"inputSchema":{},"name":"\u0062"} ,{"name":"c"}],"_meta":{"k":[1e2]},"odd":null},"id":"\u0061"} "#
    );
    let expected = concat!(
        r#" {"jsonrpc":"2.0", "result":{"nextCursor":"p\u00322", "tools":[{"name":"a","x":1.0},{"name":"c"}],"#,
        r#""_meta":{"k":[1e2]},"odd":null},"id":"\u0061"} "#
    );
    assert_eq!(without(text, Kind::Tools, &["b"]), expected);
    assert!(matches!(without(text, Kind::Tools, &["z"]), Cow::Borrowed(same) if same == text));
    assert!(without(text, Kind::Tools, &["a", "b", "c"]).contains(r#""tools":[],"#));
}

#[test]
fn each_kind_is_known_by_its_own_words() {
    for (method, text, key) in [
        ("tools/list", r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"k"}]}}"#, "k"),
        ("prompts/list", r#"{"jsonrpc":"2.0","id":1,"result":{"prompts":[{"name":"k"}]}}"#, "k"),
        (
            "resources/list",
            r#"{"jsonrpc":"2.0","id":1,"result":{"resources":[{"name":"n","uri":"f:///k"}]}}"#,
            "f:///k",
        ),
        (
            "resources/templates/list",
            r#"{"jsonrpc":"2.0","id":1,"result":{"resourceTemplates":[{"uriTemplate":"f:///{k}","name":"n"}]}}"#,
            "f:///{k}",
        ),
    ] {
        let kind = Kind::of_method(method).unwrap();
        let page = read(kind, text).unwrap();
        assert_eq!((page.items.len(), &*page.items[0].key, page.next_cursor), (1, key, None));
        assert!(without(text, kind, &[key]).ends_with(r#"[]}}"#), "{method}");
    }
    assert_eq!(Kind::of_method("tools/call"), None);
}

#[test]
fn a_batch_is_filtered_message_by_message_whatever_the_ids() {
    let text = concat!(
        r#"[{"jsonrpc":"2.0","id":"1","result":{"prompts":[{"name":"x"}],"tools":[{"name":"x"},{"name":"y"}]}},"#,
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"tools":[{"name":"x"}]}}, "#,
        r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"x"}]}},"#,
        r#"{"jsonrpc":"2.0","id":2,"error":{"code":1,"message":"no","data":{"tools":[{"name":"x"}]}}}]"#
    );
    let expected = concat!(
        r#"[{"jsonrpc":"2.0","id":"1","result":{"prompts":[],"tools":[{"name":"y"}]}},"#,
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"tools":[{"name":"x"}]}}, "#,
        r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[]}},"#,
        r#"{"jsonrpc":"2.0","id":2,"error":{"code":1,"message":"no","data":{"tools":[{"name":"x"}]}}}]"#
    );
    let fate = |item: &Item<'_>| if item.key == "x" { Fate::Drop } else { Fate::Keep };
    assert_eq!(filter(text, &[Kind::Tools, Kind::Prompts], fate).unwrap(), expected);
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    for text in [
        "",
        "{",
        r#"{"jsonrpc":"2.0","id":1,"result":[]}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":{}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":["a"]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":1}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","n\u0061me":"b"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","Name":"b"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[],"t\u006fols":[{"name":"a"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"Tools":[{"name":"a"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"tool\u017f":[{"name":"a"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"Result":{"tools":[{"name":"a"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1.0,"result":{"tools":[{"name":"a"}]}}"#,
    ] {
        assert!(filter(text, &[Kind::Tools], |_| Fate::Drop).is_err(), "{text}");
    }
    let page = |items: usize| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{}]}}}}"#, vec![r#"{"name":"a"}"#; items].join(","))
    };
    assert!(filter(&page(ITEMS_MAX), &[Kind::Tools], |_| Fate::Drop).is_ok());
    assert!(filter(&page(ITEMS_MAX + 1), &[Kind::Tools], |_| Fate::Drop).is_err());
    let uri = |bytes: usize| json!({"jsonrpc": "2.0", "id": 1, "result": {"resources": [{"uri": "u".repeat(bytes)}]}});
    assert!(read(Kind::Resources, &uri(KEY_MAX_BYTES).to_string()).is_ok());
    assert!(read(Kind::Resources, &uri(KEY_MAX_BYTES + 1).to_string()).is_err());
}

#[test]
fn an_item_nested_without_end_is_handed_on_or_dropped_without_recursing() {
    let deep = format!(r#"{{"name":"a","x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{deep}]}}}}"#);
    assert_eq!(filter(&text, &[Kind::Tools], |_| Fate::Keep).unwrap(), text);
    assert!(without(&text, Kind::Tools, &["a"]).contains(r#""tools":[]"#));
}

#[test]
fn a_page_tells_the_cursor_and_a_refusal_is_no_page() {
    let text = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[],"nextCursor":"a\"b"}}"#;
    assert_eq!(read(Kind::Tools, text).unwrap().next_cursor.as_deref(), Some("a\"b"));
    let refusal = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}"#;
    assert!(matches!(read(Kind::Tools, refusal), Err(Unreadable::Refused(_))));
    assert_eq!(filter(refusal, &[Kind::Tools], |_| Fate::Drop).unwrap(), refusal);
    assert!(read(Kind::Tools, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).is_err());
}

fn any_item() -> impl Strategy<Value = Value> {
    ("[a-e]", prop::collection::btree_map("[f-k]{1,3}", ".{0,6}", 0..4)).prop_map(|(name, rest)| {
        let mut item = json!(rest);
        item["name"] = json!(name);
        item
    })
}

proptest! {
    #[test]
    fn a_filtered_list_is_what_serde_would_have_made_of_it(
        items in prop::collection::vec(any_item(), 0..12),
        dropped in "[a-e]{0,3}",
        cursor in prop::option::of(".{0,8}"),
        pretty in any::<bool>(),
    ) {
        let mut answer = json!({"jsonrpc": "2.0", "id": 3, "result": {"tools": items, "_meta": {"n": 1.5}}});
        if let Some(cursor) = cursor {
            answer["result"]["nextCursor"] = json!(cursor);
        }
        let text = if pretty { serde_json::to_string_pretty(&answer).unwrap() } else { answer.to_string() };
        let is_dropped = |name: &str| dropped.contains(name);
        let fate = |item: &Item<'_>| if is_dropped(&item.key) { Fate::Drop } else { Fate::Keep };
        let filtered = filter(&text, &[Kind::Tools], fate).unwrap();
        answer["result"]["tools"].as_array_mut().unwrap().retain(|item| !is_dropped(item["name"].as_str().unwrap()));
        prop_assert_eq!(serde_json::from_str::<Value>(&filtered).unwrap(), answer);
    }

    #[test]
    fn garbage_does_not_panic(text in ".{0,200}", cut in 0_usize..120) {
        let _ = filter(&text, &Kind::ALL, |_| Fate::Drop);
        let whole = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"},{"name":"b"}],"nextCursor":"c"}}"#;
        let _ = filter(whole.get(..cut).unwrap_or(whole), &Kind::ALL, |_| Fate::Drop);
    }
}
