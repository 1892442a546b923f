//! How is a refusal put on the wire? A status, a JSON-RPC error, and the headers that say what to do.

use std::borrow::Cow;

use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bridge::claim::{self, Refused};
use bridge::text;
use bytes::Bytes;
use mcp::Revision;
use mcp::header::APPLICATION_JSON;
use mcp::jsonrpc::{Malformed, code};
use serde_json::{Value, json};

use crate::ending::Ending;
use crate::fleet::NotStarted;
use crate::modern;
use crate::router::NotTaken;
use crate::session::NotServed;

/// A request that was not served.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    header: Option<(HeaderName, Cow<'static, str>)>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Error {
        id: Option<Box<str>>,
        code: i64,
        message: Box<str>,
        /// A JSON text.
        data: Option<Box<str>>,
    },
    /// The server's own error response.
    Verbatim(Bytes),
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: i64, message: impl Into<Box<str>>) -> Self {
        Self { status, header: None, body: Body::Error { id: None, code, message: message.into(), data: None } }
    }

    /// The request's JSON-RPC id, as it was spelled.
    pub(super) fn of_request(mut self, request: Option<Box<str>>) -> Self {
        if let Body::Error { id, .. } = &mut self.body {
            *id = request;
        }
        self
    }

    pub(super) fn unauthorized() -> Self {
        let message = "the connector's secret is missing or wrong; send it as `Authorization: Bearer ...`";
        Self::new(StatusCode::UNAUTHORIZED, code::REFUSED, message).with(WWW_AUTHENTICATE, "Bearer")
    }

    pub(super) fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code::REFUSED, message)
    }

    pub(super) fn not_acceptable(message: &str) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, code::REFUSED, message)
    }

    pub(super) fn invalid(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code::INVALID_REQUEST, message)
    }

    pub(super) fn too_large(max_bytes: usize) -> Self {
        let message = format!("the body is larger than {max_bytes} bytes (`max_message_bytes`)");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, code::REFUSED, message)
    }

    pub(super) fn no_session_id() -> Self {
        let message = "the header Mcp-Session-Id is missing; begin with `initialize`";
        Self::new(StatusCode::BAD_REQUEST, code::REFUSED, message)
    }

    pub(super) fn unknown_session() -> Self {
        let message = "the session is unknown or has ended; begin a new one with `initialize`";
        Self::new(StatusCode::NOT_FOUND, code::SESSION_NOT_FOUND, message)
    }

    pub(super) fn no_sessions() -> Self {
        let message = "the server speaks MCP 2026-07-28 only, which has no sessions; POST each request";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, code::REFUSED, message).with(ALLOW, "POST")
    }

    fn with(mut self, name: HeaderName, value: impl Into<Cow<'static, str>>) -> Self {
        self.header = Some((name, value.into()));
        self
    }

    fn with_data(mut self, more: Option<Value>) -> Self {
        if let Body::Error { data, .. } = &mut self.body {
            *data = more.map(|more| more.to_string().into());
        }
        self
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::new(StatusCode::BAD_REQUEST, malformed.code(), malformed.to_string())
    }
}

impl From<NotServed> for Refusal {
    fn from(problem: NotServed) -> Self {
        match problem {
            NotServed::Ended(_) => Self::unknown_session(),
            NotServed::NotTaken(NotTaken::Duplicate(_)) => Self::invalid(&problem.to_string()),
            NotServed::NotTaken(NotTaken::TooMany(_)) => {
                let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, code::REFUSED, problem.to_string());
                refusal.with(RETRY_AFTER, RETRY_AFTER_S)
            }
            NotServed::Listened => {
                Self::new(StatusCode::CONFLICT, code::REFUSED, problem.to_string()).with(ALLOW, "POST, DELETE")
            }
        }
    }
}

impl From<NotStarted> for Refusal {
    fn from(problem: NotStarted) -> Self {
        let refuse = |status, code| Self::new(status, code, problem.to_string());
        match &problem {
            NotStarted::UnknownServer(_) => refuse(StatusCode::NOT_FOUND, code::REFUSED),
            NotStarted::Full(_) | NotStarted::ShuttingDown => {
                refuse(StatusCode::SERVICE_UNAVAILABLE, code::REFUSED).with(RETRY_AFTER, RETRY_AFTER_S)
            }
            NotStarted::Failed { ending: Ending::Unanswered, .. } => {
                refuse(StatusCode::GATEWAY_TIMEOUT, code::INTERNAL_ERROR)
            }
            NotStarted::Failed { .. } => refuse(StatusCode::BAD_GATEWAY, code::INTERNAL_ERROR),
            NotStarted::ModernOnly { requested, .. } => {
                let supported = claim::SUPPORTED.map(Revision::as_str);
                let requested = requested.as_deref().map(mcp::json::clip);
                let data = json!({ "supported": supported, "requested": requested });
                refuse(StatusCode::BAD_REQUEST, code::UNSUPPORTED_VERSION).with_data(Some(data))
            }
            NotStarted::Refused(response) => {
                Self { status: StatusCode::OK, header: None, body: Body::Verbatim(response.clone()) }
            }
        }
    }
}

impl From<Refused> for Refusal {
    fn from(problem: Refused) -> Self {
        let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::BAD_REQUEST);
        Self::new(status, problem.code(), problem.to_string()).with_data(problem.data())
    }
}

impl From<modern::NotServed> for Refusal {
    fn from(problem: modern::NotServed) -> Self {
        let refuse = |status| Self::new(status, code::REFUSED, problem.to_string());
        match &problem {
            modern::NotServed::Mismatch(mismatch) => Refused::Header(mismatch.clone()).into(),
            // What a server that knows nothing of 2026-07-28 would say, so that the caller begins with `initialize`.
            modern::NotServed::Legacy(_) => refuse(StatusCode::BAD_REQUEST),
            modern::NotServed::Full { .. } => refuse(StatusCode::TOO_MANY_REQUESTS).with(RETRY_AFTER, RETRY_AFTER_S),
            modern::NotServed::ShuttingDown => refuse(StatusCode::SERVICE_UNAVAILABLE).with(RETRY_AFTER, RETRY_AFTER_S),
            modern::NotServed::Down { retry_after_s, .. } => {
                refuse(StatusCode::SERVICE_UNAVAILABLE).with(RETRY_AFTER, retry_after_s.to_string())
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = match self.body {
            Body::Error { id, code, message, data } => {
                text::error(id.as_deref().unwrap_or("null"), code, &message, data.as_deref()).into()
            }
            Body::Verbatim(response) => response,
        };
        let mut response = (self.status, [(CONTENT_TYPE, APPLICATION_JSON)], body).into_response();
        let header = self.header.and_then(|(name, value)| Some((name, HeaderValue::from_str(&value).ok()?)));
        response.headers_mut().extend(header);
        response
    }
}

const RETRY_AFTER_S: &str = "1";
