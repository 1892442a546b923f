use proptest::prelude::*;

use super::*;
use crate::tokens::tokens;

fn json(text: &str) -> Measured {
    of_answer(text.as_bytes(), Format::Json)
}

fn result(result: &str) -> u64 {
    json(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#)).output
}

#[test]
fn text_counts_as_it_reads_without_its_escapes() {
    let told = "One line.\nAnother \"quoted\" line with é and 😀.";
    let escaped = r#"One line.\nAnother \"quoted\" line with \u00e9 and \ud83d\ude00."#;
    assert_eq!(result(&format!(r#"{{"content":[{{"type":"text","text":"{escaped}"}}]}}"#)), tokens(told));
}

#[test]
fn resources_and_prompts_count_their_text() {
    let text = "the embedded text of a resource";
    let resource = format!(
        r#"{{"content":[{{"type":"resource","resource":{{"uri":"a","mimeType":"text/plain","text":"{text}"}}}}],"isError":false}}"#
    );
    assert_eq!(result(&resource), tokens(text) + 1);
    assert_eq!(result(&format!(r#"{{"contents":[{{"text":"{text}"}}]}}"#)), tokens(text));
    let prompt = format!(r#"{{"messages":[{{"role":"user","content":{{"type":"text","text":"{text}"}}}}]}}"#);
    assert_eq!(result(&prompt), tokens(text));
}

#[test]
fn what_is_said_twice_counts_once() {
    let structured = r#"{"city":"Basel","celsius":21,"sky":["clear","windy"]}"#;
    let said = structured.replace('"', "\\\"");
    let both = format!(r#"{{"content":[{{"type":"text","text":"{said}"}}],"structuredContent":{structured}}}"#);
    assert_eq!(result(&both), tokens(structured));
    let only = format!(r#"{{"content":[],"structuredContent":{structured}}}"#);
    assert_eq!(result(&only), tokens(structured));
    let summary = format!(r#"{{"content":[{{"type":"text","text":"clear"}}],"structuredContent":{structured}}}"#);
    assert_eq!(result(&summary), tokens(structured));
}

#[test]
fn images_and_audio_count_by_their_size_whatever_comes_first() {
    let image = |base64: usize| {
        let data = "A".repeat(base64);
        let first = result(&format!(r#"{{"content":[{{"type":"image","data":"{data}","mimeType":"image/png"}}]}}"#));
        let last = result(&format!(r#"{{"content":[{{"data":"{data}","mimeType":"image/png","type":"image"}}]}}"#));
        assert_eq!(first, last);
        first
    };
    assert_eq!([image(4), image(400_000), image(8_000_000)], [85, 586, 1_600]);
    let audio = format!(r#"{{"content":[{{"type":"audio","data":"{}"}}]}}"#, "A".repeat(4_096));
    assert_eq!(result(&audio), 6);
}

#[test]
fn lists_errors_and_a_servers_own_messages_count_as_json() {
    let tools = r#"[{"name":"read_file","description":"Reads a file.","inputSchema":{"type":"object"}}]"#;
    assert_eq!(result(&format!(r#"{{"tools":{tools}}}"#)), tokens(tools));
    let error = r#"{"code":-32602,"message":"no such file"}"#;
    assert_eq!(json(&format!(r#"{{"jsonrpc":"2.0","id":1,"error":{error}}}"#)).output, tokens(error));
    let params = r#"{"level":"info","data":"half done"}"#;
    assert_eq!(json(&format!(r#"{{"method":"notifications/message","params":{params}}}"#)).output, tokens(params));
    assert_eq!(result(r#""just a string""#), tokens(r#""just a string""#));
}

#[test]
fn a_report_counts_instead_of_the_estimate() {
    let text = r#""content":[{"type":"text","text":"a long answer that is not counted"}]"#;
    let of = |usage: &str| json(&format!(r#"{{"result":{{{text},{usage}}}}}"#)).tokens(10);
    assert_eq!(of(r#""_meta":{"usage":{"input_tokens":7,"output_tokens":900}}"#), Tokens { input: 7, output: 900 });
    assert_eq!(of(r#""_meta":{"example.com/usage":{"totalTokens":500}}"#), Tokens { input: 10, output: 490 });
    assert_eq!(of(r#""_meta":{"usage":{"total_tokens":4}}"#), Tokens { input: 4, output: 0 });
    assert_eq!(
        of(r#""structuredContent":{"usage":{"promptTokens":3,"total_tokens":9}}"#),
        Tokens { input: 3, output: 6 }
    );
    assert_eq!(of(r#""_meta":{"usage":{"output_tokens":99999999999999999999999}}"#).output, 10_000_000);
}

#[test]
fn what_only_looks_like_a_report_is_none() {
    let plain = result(r#"{"content":[{"type":"text","text":"hello"}]}"#);
    for meta in [
        r#"{"usage":{"output_tokens":-1}}"#,
        r#"{"usage":{"output_tokens":"5"}}"#,
        r#"{"usage":{"output_tokens":1.5}}"#,
        r#"{"other":{"output_tokens":5}}"#,
        r#"{"usage":{"deep":{"output_tokens":5}}}"#,
        r#"{"usage":[{"output_tokens":5}]}"#,
    ] {
        assert_eq!(
            result(&format!(r#"{{"content":[{{"type":"text","text":"hello"}}],"_meta":{meta}}}"#)),
            plain,
            "{meta}"
        );
    }
    let said = r#"{"content":[{"type":"text","text":"{\"usage\":{\"output_tokens\":5}}"}]}"#;
    assert_eq!(result(said), tokens(r#"{"usage":{"output_tokens":5}}"#));
    let deep = r#"{"data":{"usage":{"output_tokens":5}}}"#;
    assert_eq!(result(&format!(r#"{{"structuredContent":{deep}}}"#)), tokens(deep));
}

#[test]
fn batches_and_streams_add_their_messages_up() {
    let message = r#"{"result":{"content":[{"type":"text","text":"twelve words or so"}]}}"#;
    let one = json(message).output;
    assert_eq!(json(&format!("[{message},{message}]")).output, 2 * one);
    let stream = format!(": hi\r\nevent: message\r\nid: 1\r\ndata: {message}\r\n\r\ndata:{message}\n\ndata: {message}");
    assert_eq!(of_answer(stream.as_bytes(), Format::EventStream).output, 3 * one);
    let (head, tail) = message.split_at(20);
    let lines = format!("data: {head}\ndata: {tail}\n\n");
    assert_eq!(of_answer(lines.as_bytes(), Format::EventStream).output, one);
}

#[test]
fn garbage_counts_by_its_bytes() {
    for garbage in ["<html>no such page</html>", "}{", "not json at all", r#"{"result":{}} and more"#, "[}"] {
        let measured = json(garbage);
        assert_eq!(measured.output, garbage.len().div_ceil(4) as u64, "{garbage}");
    }
    assert_eq!(json("").output, 0);
}

#[test]
fn deep_nesting_is_followed_without_recursion_and_without_end() {
    let deep = format!(r#"{{"result":{{"structuredContent":{}1{}}}}}"#, "[".repeat(200_000), "]".repeat(200_000));
    assert!(json(&deep).output > 1_000);
    let mut meter = Meter::new(Format::Json);
    (0..1_000_000).for_each(|_| meter.push(b"{\"content\":"));
    assert!(meter.finish().output < 2_000_000);
}

fn messages() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(serde_json::Value::from),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
    ];
    let key = prop_oneof![
        prop::sample::select(vec![
            "result",
            "content",
            "structuredContent",
            "_meta",
            "usage",
            "total_tokens",
            "text",
            "data",
            "type",
            "error",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    let value = leaf.prop_recursive(6, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    });
    value.prop_map(|value| value.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_not_matter_how_a_body_is_cut(text in messages(), cut in 1_usize..9) {
        for (body, format) in [(text.clone(), Format::Json), (format!("data: {text}\n\n"), Format::EventStream)] {
            let mut meter = Meter::new(format);
            body.as_bytes().chunks(cut).for_each(|piece| meter.push(piece));
            prop_assert_eq!(meter.finish(), of_answer(body.as_bytes(), format));
        }
    }

    #[test]
    fn json_is_never_taken_for_garbage(text in messages()) {
        let body = format!(r#"{{"result":{text}}}"#);
        prop_assert_eq!(of_answer(format!("[{body}]").as_bytes(), Format::Json), json(&body));
    }

    #[test]
    fn no_bytes_are_too_wild(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let most = 2 * bytes.len() as u64 + 100;
        let bodies = [of_answer(&bytes, Format::Json), of_answer(&bytes, Format::EventStream)];
        prop_assert!(bodies.iter().all(|measured| measured.output <= most));
    }
}
