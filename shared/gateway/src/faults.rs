//! Whose fault is it that a modern server refuses a request? What it says of the gateway's hop is no news to the caller,
//! unless it is true of the caller's own (MCP 2026-07-28 basic/transports, error codes -32020 to -32022).

use bridge::{
    claim::Claim,
    demand,
    probe::{self, Era, Verdict},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use mcp::{Body, jsonrpc::code};
use registry::{EraSetting, Server};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    answer::Screened,
    course::At,
    instances::Reached,
    pipeline::{Cleared, Passing},
    platform::{Answer, Platform},
    refusal::Refusal,
    serve::Gateway,
};

/// A JSON-RPC error.
#[derive(Debug, Deserialize)]
pub(crate) struct Fault {
    code: i64,
    #[serde(default)]
    data: Value,
}

#[derive(Deserialize)]
struct Failed {
    error: Fault,
}

impl Fault {
    /// The error that `body` brings, if it does.
    pub(crate) fn of(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok().map(|Failed { error }| error)
    }

    /// Whether headers are taken for wrong.
    pub(crate) const fn is_mismatch(&self) -> bool {
        self.code == code::HEADER_MISMATCH
    }

    /// Nothing, if it is for a caller that declared `declared` to know.
    ///
    /// # Errors
    /// What the caller is told instead.
    pub(crate) fn blame(&self, declared: &Value) -> Result<(), Refusal> {
        let own = |what: &str| Err(Refusal::Misfit(format!("it answered {} ({what})", self.code)));
        match self.code {
            code::HEADER_MISMATCH => own("header mismatch"),
            code::UNSUPPORTED_VERSION => own("unsupported protocol version"),
            code::MISSING_CAPABILITY => {
                let required = self.data.get("requiredCapabilities").unwrap_or(&Value::Null);
                if demand::lacks(required, declared) { Ok(()) } else { own("missing capability that was declared") }
            }
            _ => Ok(()),
        }
    }
}

impl<P: Platform> Gateway<P> {
    /// The headers of a call whose headers its server takes for wrong, as its tools declare them now; nothing where that is
    /// not the matter.
    ///
    /// # Errors
    /// The caller's own headers are wrong, by what the tools declare now.
    pub(crate) async fn corrected(
        &self,
        cleared: &Cleared<'_>,
        body: &Body<'_>,
        screened: &Screened<P::Body>,
    ) -> Result<Option<Vec<(HeaderName, HeaderValue)>>, Refusal> {
        let Screened::Read(_, _, said) = screened else { return Ok(None) };
        let is_mismatch = Fault::of(said).is_some_and(|fault| fault.is_mismatch());
        match (cleared.passing.said.tool(), cleared.course.at()) {
            (Some(_), Some(at @ At::Instances)) if is_mismatch => {
                if self.list_tools(&cleared.passing.place(at)).await.is_err() {
                    return Ok(None);
                }
                self.mirrored(cleared, body).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Keeps from the caller what a server refuses of the gateway's own hop.
    pub(crate) fn blamed(&self, passing: &Passing<'_>, body: &[u8]) -> Result<(), Refusal> {
        let Some(fault) = Fault::of(body) else { return Ok(()) };
        let declared = match &passing.claim {
            Claim::Modern(envelope) => serde_json::from_str(envelope.capabilities).unwrap_or_default(),
            Claim::Legacy => Value::Null,
        };
        fault.blame(&declared)
    }

    /// An answer, and the error it brings where its status says that it is one. What that proves of the era `server`
    /// speaks is drawn from it.
    pub(crate) async fn weighed(
        &self,
        server: &Server,
        reached: Reached<P::Body>,
    ) -> (Reached<P::Body>, Option<Fault>) {
        let status = reached.answer.response.status();
        let (reached, bytes) = self.opened_fault(reached).await;
        let is_evidence = status.is_client_error() && speaks_against_modern(status, &bytes);
        if is_evidence && self.is_taken_for(server, |era| matches!(era, Era::Modern(_))) {
            self.doubt(server);
        }
        (reached, Fault::of(&bytes))
    }

    /// An answer, and its body where its status says that it is an error; empty where not.
    pub(crate) async fn opened_fault(&self, reached: Reached<P::Body>) -> (Reached<P::Body>, Bytes) {
        if !reached.answer.response.status().is_client_error() {
            return (reached, Bytes::new());
        }
        let Reached { mut answer, seat } = reached;
        let bytes = match answer.peeked() {
            Some(bytes) => bytes,
            None => {
                let (head, body) = answer.response.into_parts();
                let bytes = self.platform.whole(body, FAULT_MAX_BYTES).await.unwrap_or_default();
                answer = Answer { response: Response::from_parts(head, P::Body::from(bytes.clone())), ..answer };
                bytes
            }
        };
        (Reached { answer, seat }, bytes)
    }

    /// A server that is taken for a legacy one refuses to be spoken to as one.
    pub(crate) fn weigh_legacy(&self, server: &Server, status: StatusCode) {
        if status == StatusCode::BAD_GATEWAY && self.is_taken_for(server, |era| era == Era::Legacy) {
            self.doubt(server);
        }
    }

    /// It is asked again which era `server` speaks, unless that was asked a moment ago.
    fn doubt(&self, server: &Server) {
        let now = self.platform.now();
        let mut memory = self.memory.0.borrow_mut();
        let is_settled = memory.doubted.get(&server.name).is_some_and(|at| now.millis_since(*at) < DOUBT_MS);
        if !is_settled && memory.eras.remove(&server.name).is_some() {
            memory.doubted.insert(server.name.clone(), now);
        }
    }

    /// Whether what is stored of the era `server` speaks is no longer believed.
    pub(crate) fn is_doubted(&self, server: &Server) -> bool {
        let now = self.platform.now();
        self.memory.0.borrow().doubted.get(&server.name).is_some_and(|at| now.millis_since(*at) < DOUBT_MS)
    }

    fn is_taken_for(&self, server: &Server, is: impl FnOnce(Era) -> bool) -> bool {
        let era = self.memory.0.borrow().eras.get(&server.name).map(|known| known.era);
        matches!(server.era, EraSetting::Auto) && era.is_some_and(is)
    }
}

/// Whether no modern server that speaks our revision would answer one of our requests like this.
fn speaks_against_modern(status: StatusCode, body: &[u8]) -> bool {
    let is_version = Fault::of(body).is_some_and(|fault| fault.code == code::UNSUPPORTED_VERSION);
    is_version || probe::verdict(status.as_u16(), std::str::from_utf8(body).ok()) == Verdict::Legacy
}

const FAULT_MAX_BYTES: usize = 64 * 1024;
/// As long as that, other isolates and the store may still say what is doubted.
const DOUBT_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(code: i64, data: Value) -> Fault {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": code, "message": "no", "data": data } });
        Fault::of(body.to_string().as_bytes()).expect("an error")
    }

    #[test]
    fn a_caller_hears_only_what_is_true_of_its_own_hop() {
        let sampling = || json!({ "requiredCapabilities": { "sampling": {} } });
        for (code, data, declared, is_told) in [
            (code::MISSING_CAPABILITY, sampling(), json!({}), true),
            (code::MISSING_CAPABILITY, sampling(), json!({ "sampling": {} }), false),
            (code::MISSING_CAPABILITY, json!(null), json!({}), false),
            (code::HEADER_MISMATCH, json!(null), json!({}), false),
            (code::UNSUPPORTED_VERSION, json!({ "supported": [] }), json!({}), false),
            (code::INVALID_PARAMS, json!(null), json!({}), true),
            (code::METHOD_NOT_FOUND, json!(null), json!({}), true),
        ] {
            assert_eq!(fault(code, data).blame(&declared).is_ok(), is_told, "{code} {declared}");
        }
    }

    #[test]
    fn what_only_a_legacy_server_would_say_speaks_against_a_modern_one() {
        let error =
            |code: i64| json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": code, "message": "no" } }).to_string();
        for (status, body, speaks) in [
            (400, error(-32000), true),
            (404, "<h1>nothing here</h1>".to_owned(), true),
            (405, String::new(), true),
            (400, error(code::UNSUPPORTED_VERSION), true),
            (400, error(code::HEADER_MISMATCH), false),
            (400, error(code::MISSING_CAPABILITY), false),
            (404, error(code::METHOD_NOT_FOUND), false),
            (401, "{}".to_owned(), false),
            (429, String::new(), false),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(speaks_against_modern(status, body.as_bytes()), speaks, "{status} {body}");
        }
    }
}
