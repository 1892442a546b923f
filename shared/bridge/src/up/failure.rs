//! How does a modern error reach a legacy caller? In band, in words of its own era: a status 404 would end its session.

use mcp::{Revision, jsonrpc::code};

use crate::text::{Members, quoted};

use crate::facade::End;

/// The error object `error` of an answer to `method`, put into the words of a legacy revision. A JSON object.
#[must_use]
pub fn error(method: &str, error: &str, revision: Revision) -> String {
    let Ok(mut members) = Members::parse(error) else {
        return object(code::INTERNAL_ERROR, "the server's error cannot be read");
    };
    let Some(code) = members.raw("code").and_then(|code| code.parse::<i64>().ok()) else {
        return object(code::INTERNAL_ERROR, "the server's error has no code");
    };
    match code {
        HEADER_MISMATCH | UNSUPPORTED_VERSION => {
            object(code::INTERNAL_ERROR, "the gateway and the server behind it do not understand each other")
        }
        MISSING_CAPABILITY => object(code::INTERNAL_ERROR, &lacking(&members)),
        code::INVALID_PARAMS if method == "resources/read" && names_a_resource(&members) => {
            members.set("code", RESOURCE_NOT_FOUND.to_string());
            members.write()
        }
        URL_ELICITATION_REQUIRED if revision < Revision::V2025_11_25 => {
            object(code::INTERNAL_ERROR, "the server wants the user to visit a page, which this revision cannot ask")
        }
        _ if members.string("message").is_none() => object(code, "the server gave no reason"),
        _ => members.write(),
    }
}

/// An error object with this code and message.
#[must_use]
pub fn object(code: i64, message: &str) -> String {
    ["{\"code\":", &code.to_string(), ",\"message\":", &quoted(message), "}"].concat()
}

/// Why there is no answer, in words for the caller: nothing of what is behind the gateway.
pub(crate) fn reason(end: &End, status: Option<u16>) -> String {
    match (end, status) {
        (End::Unreachable(_), _) => {
            "the server behind the gateway cannot be reached: nothing was carried out".to_owned()
        }
        (_, Some(401 | 403)) => "the server behind the gateway does not accept the gateway's credential".to_owned(),
        (_, Some(status @ 400..)) => format!("the server behind the gateway answered with status {status}"),
        (End::Silent(millis), _) => format!("the server behind the gateway was silent for {millis} ms"),
        (End::Garbage(_), _) => "the server behind the gateway gave no answer that can be read".to_owned(),
        (End::Complete | End::Broken(_) | End::Aborted, _) => {
            "the server behind the gateway ended its answer early: the call may have been carried out".to_owned()
        }
    }
}

fn lacking(error: &Members<'_>) -> String {
    let data = error.object("data").unwrap_or_default();
    let required = data.object("requiredCapabilities").unwrap_or_default();
    let names: Vec<_> = required.iter().map(|(name, _)| format!("`{}`", mcp::json::clip(name))).collect();
    match names.is_empty() {
        true => "the server needs a capability that was not agreed on at `initialize`".to_owned(),
        false => format!("the server needs {}, which was not agreed on at `initialize`", names.join(", ")),
    }
}

fn names_a_resource(error: &Members<'_>) -> bool {
    error.object("data").is_ok_and(|data| data.has("uri"))
}

/// MCP 2026-07-28 basic/transports: a header and the body differ.
const HEADER_MISMATCH: i64 = -32020;
/// MCP 2026-07-28 basic: the request did not declare what it needs.
const MISSING_CAPABILITY: i64 = -32021;
/// MCP 2026-07-28 basic/versioning.
const UNSUPPORTED_VERSION: i64 = -32022;
/// MCP 2025-11-25 server/resources, Error Handling.
const RESOURCE_NOT_FOUND: i64 = -32002;
/// MCP 2025-11-25 client/elicitation.
const URL_ELICITATION_REQUIRED: i64 = -32042;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_modern_wire_are_told_in_other_words() {
        let put = |method: &str, text: &str| error(method, text, Revision::V2025_11_25);
        for code in [-32020, -32022] {
            assert!(put("tools/call", &format!(r#"{{"code":{code},"message":"m"}}"#)).starts_with("{\"code\":-32603,"));
        }
        let text =
            put("tools/call", r#"{"code":-32021,"message":"m","data":{"requiredCapabilities":{"sampling":{}}}}"#);
        assert!(text.contains("needs `sampling`, which"), "{text}");
        let other = r#"{"code":-32601,"message":"no such method","data":[ 1 ]}"#;
        assert_eq!(put("tools/call", other), other);
    }

    #[test]
    fn a_missing_resource_has_its_legacy_code() {
        let text = r#"{"code":-32602,"message":"m","data":{"uri":"a:b"}}"#;
        let put = |method| error(method, text, Revision::V2025_06_18);
        assert_eq!(put("resources/read"), r#"{"code":-32002,"message":"m","data":{"uri":"a:b"}}"#);
        assert_eq!(put("tools/call"), text);
    }

    #[test]
    fn what_is_no_error_object_becomes_one() {
        for text in ["3", "{}", r#"{"code":"a"}"#, r#"{"code":-1}"#] {
            let put = error("tools/call", text, Revision::V2025_11_25);
            assert!(Members::parse(&put).unwrap().has("message"), "{put}");
        }
    }
}
