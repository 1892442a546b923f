//! How does a request leave? With its length, deadlines of its own, and no following of redirects.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::poll;
use gateway::platform::{Platform as _, Unanswered};
use http::{Request, Response, header};
use spin_sdk::wasip3::{
    self,
    http::types::{ErrorCode, Fields, Request as WasiRequest, RequestOptions, Scheme, Trailers},
    http_compat::{self, IncomingResponseBody},
    wit_future, wit_stream,
};

use crate::edge::Edge;

/// Sends `request`; gives the answer's head with its body to come.
pub(crate) async fn send(
    edge: &Edge,
    request: Request<Bytes>,
    deadline: Duration,
) -> Result<Response<IncomingResponseBody>, Unanswered> {
    let (request, writing) = spelled(request, deadline).map_err(Unanswered::Broken)?;
    // What is written before the host asks for it leaves together with the head.
    if let Some(mut writing) = writing
        && poll!(&mut writing).is_pending()
    {
        edge.defer(writing);
    }
    let sent = wasip3::http::client::send(request).await.and_then(http_compat::http_from_wasi_response);
    sent.map_err(|error| match error {
        ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => Unanswered::Deadline(deadline),
        ErrorCode::HttpRequestDenied => {
            Unanswered::Broken("spin.toml does not allow the host: name it in `allowed_outbound_hosts`".to_owned())
        }
        error => Unanswered::Broken(error.to_string()),
    })
}

fn spelled(request: Request<Bytes>, deadline: Duration) -> Result<(WasiRequest, Option<Writing>), String> {
    let (mut head, body) = request.into_parts();
    // Without it the host ends even a body that is empty with a packet of its own.
    head.headers.insert(header::CONTENT_LENGTH, body.len().into());
    // The authority is said in the URL.
    head.headers.remove(header::HOST);
    let headers = Fields::try_from(head.headers).map_err(|error| error.to_string())?;
    // Nothing is ever said after a body.
    let (_, trailers) = wit_future::new::<Result<Option<Trailers>, ErrorCode>>(|| Ok(None));
    let (contents, writing) = (!body.is_empty())
        .then(|| {
            let (mut writer, contents) = wit_stream::new();
            let writing: Writing = Box::pin(async move { drop(writer.write_all(body.into()).await) });
            (contents, writing)
        })
        .unzip();
    let (spelled, _) = WasiRequest::new(headers, contents, trailers, Some(options(deadline)));
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let scheme = head.uri.scheme().map(Scheme::from);
    let path = head.uri.path_and_query().map(http::uri::PathAndQuery::as_str);
    let is_set = spelled.set_method(&(&head.method).into()).is_ok()
        && spelled.set_scheme(scheme.as_ref()).is_ok()
        && spelled.set_authority(authority).is_ok()
        && spelled.set_path_with_query(path).is_ok();
    is_set.then_some((spelled, writing)).ok_or_else(|| format!("`{}` is no URL of a request", head.uri))
}

/// A body on its way to the host.
type Writing = Pin<Box<dyn Future<Output = ()>>>;

/// A host that has no such timeout has its own; the gateway looks at its clock anyway.
fn options(deadline: Duration) -> RequestOptions {
    let options = RequestOptions::new();
    let deadline = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
    let _ = options.set_connect_timeout(Some(deadline));
    let _ = options.set_first_byte_timeout(Some(deadline));
    let _ = options.set_between_bytes_timeout(Some(SILENCE_MAX_NS));
    options
}

/// Streams of servers may be silent for long; how long, the core decides.
const SILENCE_MAX_NS: u64 = 24 * 3_600 * 1_000_000_000;
