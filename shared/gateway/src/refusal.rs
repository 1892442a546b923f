//! How does a refusal look on the wire, and what does the operator read? The one place that says.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use mcp::jsonrpc::code;
use serde_json::{json, value::RawValue};

use crate::{config::Config, instances::Missed, platform::Unanswered, serve};

/// Why a request was not answered by an upstream. The text is for the caller; [`Refusal::reason`] is for the record.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Nothing is at this path.
    #[error("there is nothing here; MCP endpoints are at /mcp/{{server}}")]
    NoEndpoint,
    /// The head or the body is not one to work on.
    #[error(transparent)]
    Guard(#[from] guard::Refused),
    /// The body broke off.
    #[error("the request's body broke off")]
    Unread(String),
    /// `params` cannot be read.
    #[error("the parameters cannot be read: {0}")]
    Params(String),
    /// No valid token.
    #[error(transparent)]
    Identity(#[from] identity::Refused),
    /// The issuer's keys could not be brought.
    #[error("the keys of the token's issuer cannot be fetched at the moment")]
    Keys(String),
    /// No such server for this caller.
    #[error(transparent)]
    NotFound(#[from] registry::NotFound),
    /// Scopes or policy: nothing here for this caller.
    #[error("{}", told(.0))]
    Denied(#[from] policy::Denied),
    /// Policy, about one request of a session that goes on.
    #[error("{}", told(.0))]
    Forbidden(policy::Denied),
    /// No such tool: there is none, nobody approved it, or policy hides it.
    #[error("there is no tool `{0}` here")]
    NoTool(String, Option<policy::Denied>),
    /// A limit.
    #[error(transparent)]
    Exceeded(#[from] quota::Exceeded),
    /// It claims a modern revision, and does not hold together.
    #[error(transparent)]
    Claim(#[from] bridge::claim::Refused),
    /// The server cannot answer it without something the caller did not declare: `ClientCapabilities`.
    #[error("this needs capabilities the request does not declare: {0}")]
    Lacks(serde_json::Value),
    /// The server refuses what the gateway itself is to blame for.
    #[error("the gateway cannot speak to the server in its own way at the moment; try again")]
    Misfit(String),
    /// It is meant for none of the servers of an endpoint.
    #[error(transparent)]
    Unroutable(#[from] bridge::federation::route::Unroutable),
    /// The state it returns is none of this caller's.
    #[error("{}", bridge::seal::Refusal::PUBLIC)]
    State(#[from] bridge::seal::Refusal),
    /// No session id where one is needed.
    #[error("the `Mcp-Session-Id` header is missing; send `initialize` first")]
    NoSession,
    /// Not a session of this caller, or not any more.
    #[error(transparent)]
    Session(#[from] session::Unknown),
    /// The instance that owned the session is gone, or has forgotten it.
    #[error("the session has ended because its server went away; send `initialize` to begin a new one")]
    Lost(String),
    /// What failed too often is left alone for so many seconds.
    #[error("the server has failed repeatedly and is left alone; try again in {0} s")]
    Shut(u64),
    /// As many requests as may are under way, and in line.
    #[error("the server has too many requests to work on; try again in {0} s")]
    Busy(u64),
    /// No instance could be reached.
    #[error("the server cannot be reached at the moment")]
    Unreachable(String),
    /// The connection broke after the request was sent.
    #[error("the server closed the connection before it answered; the request may have been carried out")]
    Broken(String),
    /// No answer in time.
    #[error("the server did not answer within {0} ms; the request may still be carried out")]
    Deadline(u128),
    /// The answer is no MCP.
    #[error("the server's answer is not one of MCP")]
    Garbage(String),
    /// It does not take the gateway's own credential.
    #[error("the server's answer is not one of MCP")]
    Credential(StatusCode),
    /// The gateway's own storage or set-up failed.
    #[error("the gateway cannot carry this out at the moment")]
    Internal(String),
}

impl Refusal {
    /// What the operator reads: the caller's text, and the detail the caller is not given.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Unread(detail)
            | Self::Keys(detail)
            | Self::Lost(detail)
            | Self::Unreachable(detail)
            | Self::Broken(detail)
            | Self::Garbage(detail)
            | Self::Misfit(detail)
            | Self::Internal(detail) => format!("{self}: {detail}"),
            Self::State(refused) => format!("{self}: {refused}"),
            Self::Credential(status) => format!("{self}: it refused the gateway's own credential with {status}"),
            Self::NoTool(_, Some(denied)) => format!("{self}: {denied}"),
            Self::Denied(denied) | Self::Forbidden(denied) => denied.to_string(),
            _ => self.to_string(),
        }
    }

    /// Whose doing it is.
    #[must_use]
    pub const fn verdict(&self) -> audit::Verdict {
        match self {
            Self::Keys(_)
            | Self::Lost(_)
            | Self::Shut(_)
            | Self::Busy(_)
            | Self::Unreachable(_)
            | Self::Broken(_)
            | Self::Deadline(_)
            | Self::Garbage(_)
            | Self::Credential(_)
            | Self::Misfit(_)
            | Self::Internal(_) => audit::Verdict::Failed,
            _ => audit::Verdict::Denied,
        }
    }

    /// The policies behind it.
    #[must_use]
    pub const fn denied(&self) -> Option<&policy::Denied> {
        match self {
            Self::Denied(denied) | Self::Forbidden(denied) | Self::NoTool(_, Some(denied)) => Some(denied),
            _ => None,
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Guard(refused) => StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::BAD_REQUEST),
            Self::Unread(_) | Self::Params(_) | Self::NoSession | Self::Lacks(_) => StatusCode::BAD_REQUEST,
            Self::Claim(refused) => StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::BAD_REQUEST),
            Self::Identity(_) => StatusCode::UNAUTHORIZED,
            Self::Denied(policy::Denied::Arguments(_)) | Self::Forbidden(policy::Denied::Arguments(_)) => {
                StatusCode::BAD_REQUEST
            }
            Self::Denied(_) => StatusCode::FORBIDDEN,
            // The exchange is in order; what it asked for is not. A client fails the one call and keeps its session.
            Self::Forbidden(_) | Self::NoTool(..) | Self::State(_) | Self::Unroutable(_) | Self::Misfit(_) => {
                StatusCode::OK
            }
            Self::NoEndpoint | Self::NotFound(_) | Self::Session(_) | Self::Lost(_) => StatusCode::NOT_FOUND,
            Self::Exceeded(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Broken(_) | Self::Garbage(_) | Self::Credential(_) => StatusCode::BAD_GATEWAY,
            Self::Keys(_) | Self::Shut(_) | Self::Busy(_) | Self::Unreachable(_) | Self::Internal(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Deadline(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The answer: a JSON-RPC error for the request `id`, or `null` where there is none, and the headers that go with
    /// it. `server` is the endpoint that was called.
    pub fn answer<B: From<Bytes>>(&self, config: &Config, server: Option<&str>, id: Option<&RawValue>) -> Response<B> {
        let body = self.message(id.map_or("null", RawValue::get));
        let mut response = serve::known(self.status(), "application/json", body.into());
        self.headers(config, server, response.headers_mut());
        response
    }

    /// The JSON-RPC error for the request with the JSON text `id`.
    pub(crate) fn message(&self, id: &str) -> String {
        let mut error = json!({ "code": self.code(), "message": self.to_string() });
        if let (Some(members), Some(data)) = (error.as_object_mut(), self.data()) {
            members.insert("data".to_owned(), data);
        }
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
    }

    const fn code(&self) -> i64 {
        match self {
            Self::Guard(refused) => refused.code(),
            Self::Claim(refused) => refused.code(),
            Self::Unroutable(unroutable) => unroutable.code(),
            Self::Params(_)
            | Self::NoTool(..)
            | Self::State(_)
            | Self::Denied(policy::Denied::Arguments(_))
            | Self::Forbidden(policy::Denied::Arguments(_)) => code::INVALID_PARAMS,
            Self::Session(_) | Self::Lost(_) => code::SESSION_NOT_FOUND,
            Self::Lacks(_) => code::MISSING_CAPABILITY,
            Self::Shut(_)
            | Self::Busy(_)
            | Self::Unreachable(_)
            | Self::Broken(_)
            | Self::Deadline(_)
            | Self::Garbage(_)
            | Self::Credential(_)
            | Self::Misfit(_)
            | Self::Internal(_) => code::INTERNAL_ERROR,
            _ => code::REFUSED,
        }
    }

    /// What a program can act on.
    fn data(&self) -> Option<serde_json::Value> {
        match self {
            Self::Exceeded(exceeded) => {
                Some(json!({ "limit": exceeded.limit, "retryAfterSeconds": exceeded.retry_after_secs }))
            }
            Self::Denied(policy::Denied::Scope(scopes)) => Some(json!({ "requiredScopes": scopes })),
            Self::Claim(refused) => refused.data(),
            Self::Lacks(lacking) => Some(json!({ "requiredCapabilities": lacking })),
            Self::Shut(secs) | Self::Busy(secs) => Some(json!({ "retryAfterSeconds": secs })),
            _ => None,
        }
    }

    fn headers(&self, config: &Config, server: Option<&str>, headers: &mut HeaderMap) {
        let needed = server.map_or(&[][..], |server| config.registry.public_scopes(server));
        let challenge = |scopes: &[String], error| {
            let path = server.map(crate::endpoint::path).unwrap_or_default();
            let metadata = format!("{}/.well-known/oauth-protected-resource{path}", config.site.origin());
            HeaderValue::try_from(identity::challenge(&metadata, scopes, error)).ok()
        };
        let (name, value) = match self {
            Self::Identity(identity::Refused::Missing) => (header::WWW_AUTHENTICATE, challenge(needed, None)),
            Self::Identity(refused) => {
                (header::WWW_AUTHENTICATE, challenge(needed, Some(("invalid_token", &refused.to_string()))))
            }
            Self::Denied(denied @ policy::Denied::Scope(scopes)) => {
                (header::WWW_AUTHENTICATE, challenge(scopes, Some(("insufficient_scope", &denied.to_string()))))
            }
            Self::Exceeded(exceeded) => (header::RETRY_AFTER, Some(HeaderValue::from(exceeded.retry_after_secs))),
            Self::Shut(secs) | Self::Busy(secs) => (header::RETRY_AFTER, Some(HeaderValue::from(*secs))),
            Self::Keys(_) | Self::Unreachable(_) | Self::Internal(_) => {
                (header::RETRY_AFTER, Some(HeaderValue::from_static("5")))
            }
            Self::Guard(guard::Refused::Method) => {
                (header::ALLOW, Some(HeaderValue::from_static("POST, GET, DELETE, OPTIONS")))
            }
            _ => return,
        };
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
}

/// What a caller is told: what to do about scopes and arguments, and no more of policies than that they decided.
fn told(denied: &policy::Denied) -> String {
    match denied {
        policy::Denied::Scope(_) | policy::Denied::Arguments(_) => denied.to_string(),
        policy::Denied::Policy { .. } | policy::Denied::Failed { .. } => {
            "policy does not allow this; ask whoever operates the gateway if you need it".to_owned()
        }
    }
}

impl From<Missed> for Refusal {
    fn from(missed: Missed) -> Self {
        let secs = |millis: u64| millis.div_ceil(1000).max(1);
        match missed {
            Missed::Unanswered(Unanswered::Broken(detail)) => Self::Unreachable(detail),
            Missed::Unanswered(Unanswered::Deadline(deadline)) => Self::Deadline(deadline.as_millis()),
            Missed::Shut { retry_after_ms } => Self::Shut(secs(retry_after_ms)),
            Missed::Full { retry_after_ms } => Self::Busy(secs(retry_after_ms)),
        }
    }
}

#[cfg(test)]
mod tests;
