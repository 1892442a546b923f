//! How is a message put on a line, taken out of a batch, or made up by the connector?

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

/// The messages in `body`, one or those of a batch, each as it was spelled but on one line.
#[must_use]
pub fn messages(body: &Bytes) -> Vec<Bytes> {
    let batch: Option<Vec<&RawValue>> = match body.trim_ascii_start().first() {
        Some(b'[') => serde_json::from_slice(body).ok(),
        _ => None,
    };
    match batch {
        Some(items) => items.into_iter().map(|item| one_line(&body.slice_ref(item.get().as_bytes()))).collect(),
        None => vec![one_line(&body.slice_ref(body.trim_ascii()))],
    }
}

/// `messages` as a stdio server reads them.
#[must_use]
pub fn to_lines(messages: &[Bytes]) -> Bytes {
    let mut lines = Vec::with_capacity(messages.iter().map(|message| message.len() + 1).sum());
    for message in messages {
        lines.extend_from_slice(message);
        lines.push(b'\n');
    }
    lines.into()
}

/// A JSON-RPC error response; `id` is spelled as JSON.
#[must_use]
pub fn error(id: &str, code: i64, message: &str) -> Bytes {
    let message = Value::from(message);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}}}}}"#).into()
}

/// Tells the server that nobody waits for the request `id` any more.
#[must_use]
pub fn cancelled(id: &str, reason: &str) -> Bytes {
    let params = format!(r#"{{"requestId":{id},"reason":{}}}"#, Value::from(reason));
    format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{params}}}"#).into()
}

/// Line ends can only stand between the tokens of JSON, never inside a string, so a space does as well.
fn one_line(message: &Bytes) -> Bytes {
    let is_line_end = |byte: u8| matches!(byte, b'\n' | b'\r');
    if !message.iter().copied().any(is_line_end) {
        return message.clone();
    }
    message.iter().map(|byte| if is_line_end(*byte) { b' ' } else { *byte }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_over_several_lines_becomes_one_line_with_the_same_meaning() {
        let body = Bytes::from("\n{\r\n \"a\": \"x\\ny\",\n \"n\": 12345678901234567890\r\n}\n");
        let lines = to_lines(&messages(&body));
        assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 1);
        let (one, other): (Value, Value) =
            (serde_json::from_slice(&lines).unwrap(), serde_json::from_slice(&body).unwrap());
        assert_eq!(one, other);
    }

    #[test]
    fn a_batch_is_taken_apart() {
        let body = Bytes::from(" [ {\"a\":1},\n{\"b\":[2,\n3]} ]");
        assert_eq!(messages(&body), ["{\"a\":1}", "{\"b\":[2, 3]}"]);
    }

    #[test]
    fn an_error_quotes_its_message() {
        let value: Value = serde_json::from_slice(&error("\"x\"", -32603, "say \"hi\"")).unwrap();
        assert_eq!(value["error"]["message"], "say \"hi\"");
        assert_eq!(value["id"], "x");
    }
}
