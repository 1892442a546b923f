//! What does an upstream's answer become? Handed on as the platform has it, or read where it must be looked at.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use mcp::header as mcp_header;
use quota::answer::{Format, Measured};

use crate::{
    apart::apart,
    draft::Draft,
    instances::Reached,
    platform::{Answer, Arrived, Platform},
    refusal::Refusal,
    serve::Gateway,
};

/// An answer that may be handed on.
pub(crate) enum Screened<B> {
    /// Its body stays as the platform has it.
    Native(Reached<B>),
    /// It had to be read, or has no body.
    Read(StatusCode, HeaderMap, Bytes),
}

impl<P: Platform> Gateway<P> {
    /// Looks at an answer's head, and at its body only where the head leaves a doubt.
    pub(crate) async fn screen(&self, reached: Reached<P::Body>) -> Result<Screened<P::Body>, Refusal> {
        let Reached { answer, seat } = reached;
        let status = answer.response.status();
        match status {
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT => Ok(Screened::Read(status, HeaderMap::new(), Bytes::new())),
            _ if status.is_success() && is_mcp(answer.response.headers()) => {
                Ok(Screened::Native(Reached { answer, seat }))
            }
            _ if status.is_success() => Err(Refusal::Garbage(format!("{status} without an MCP content type"))),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Err(Refusal::Credential(status))
            }
            _ if status.is_redirection() => Err(Refusal::Garbage(format!("it redirects with {status}"))),
            _ => apart(self.screen_failure(answer)).await,
        }
    }

    async fn screen_failure(&self, answer: Answer<P::Body>) -> Result<Screened<P::Body>, Refusal> {
        let (head, body) = answer.response.into_parts();
        let body = self.platform.whole(body, FAILURE_MAX_BYTES).await.unwrap_or_default();
        if upstream::lost_session(head.status.as_u16(), &body) {
            return Err(Refusal::Lost(format!("it answered {} for the session", head.status)));
        }
        if head.status.is_server_error() && mcp::jsonrpc::parse(&body).is_err() {
            return Err(Refusal::Garbage(format!("it answered {}", head.status)));
        }
        Ok(Screened::Read(head.status, head.headers, body))
    }

    /// Hands an answer on. One that is still on its way is measured by a second reader beside the caller.
    pub(crate) fn metered(&self, draft: &Draft, reached: Reached<P::Body>, silence: Duration) -> Response<P::Body> {
        let Reached { answer, seat } = reached;
        let (head, body) = answer.response.into_parts();
        let format = format(&head.headers);
        if let Some(arrived) = answer.arrived {
            self.ended_whole(draft.ending(), head.status, (format, arrived));
            return response(head.status, &head.headers, body);
        }
        let (body, tap) = self.platform.split(body);
        self.measure(draft.ending(), (head.status, format, tap), (answer.abort, seat), silence);
        response(head.status, &head.headers, body)
    }

    /// Hands a stream on that has no end of its own.
    pub(crate) fn streaming(&self, draft: &Draft, answer: Answer<P::Body>) -> Response<P::Body> {
        let (head, body) = answer.response.into_parts();
        self.ended(draft.ending(), (head.status, "streaming"), 0, &Measured::default());
        response(head.status, &head.headers, body)
    }

    /// Hands on what was read.
    pub(crate) fn finished(
        &self,
        draft: &Draft,
        status: StatusCode,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Response<P::Body> {
        let length = HeaderValue::from(body.len());
        let again = body.clone();
        let arrived = Arrived::new(body.len() as u64, move || again);
        self.ended_whole(draft.ending(), status, (format(headers), arrived));
        let mut response = response(status, headers, P::Body::from(body));
        if status != StatusCode::NO_CONTENT {
            response.headers_mut().insert(header::CONTENT_LENGTH, length);
        }
        response
    }
}

/// An answer with the headers that may be handed on, and what keeps an event stream from being held back.
pub(crate) fn response<B>(status: StatusCode, upstream: &HeaderMap, body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for name in HANDED_ON {
        if let Some(value) = upstream.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    if is_type(upstream, mcp_header::TEXT_EVENT_STREAM) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
        headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    }
    response
}

fn format(headers: &HeaderMap) -> Format {
    if is_type(headers, mcp_header::TEXT_EVENT_STREAM) { Format::EventStream } else { Format::Json }
}

pub(crate) fn is_type(headers: &HeaderMap, media_type: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case(media_type))
}

pub(crate) fn is_mcp(headers: &HeaderMap) -> bool {
    is_type(headers, mcp_header::APPLICATION_JSON) || is_type(headers, mcp_header::TEXT_EVENT_STREAM)
}

const HANDED_ON: [HeaderName; 3] = [header::CONTENT_TYPE, header::RETRY_AFTER, header::ALLOW];
const FAILURE_MAX_BYTES: usize = 64 * 1024;
