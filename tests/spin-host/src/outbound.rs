//! How does the component call others? Only those it is allowed to, over connections that are kept, as in Spin.

use std::{sync::Arc, time::Duration};

use futures_util::stream;
use http::{Request, Response, header::HOST, uri::Scheme};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::guest::Shared;

/// Keeps connections for all instances.
pub(crate) type Client = legacy::Client<HttpConnector, WasiBody>;

pub(crate) fn client() -> Client {
    legacy::Client::builder(TokioExecutor::new()).build_http()
}

/// The requests of one instance.
pub(crate) struct Outbound(pub(crate) Arc<Shared>);

type Ending = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answer = Box<dyn Future<Output = Result<(Response<WasiBody>, Ending), Error>> + Send>;

impl WasiHttpHooks for Outbound {
    fn send_request(&mut self, request: Request<WasiBody>, options: Option<RequestOptions>, _: Ending) -> Answer {
        let shared = self.0.clone();
        Box::new(async move {
            if !shared.application.allows(&request.uri().to_string()) {
                return Err(Error::HttpRequestDenied);
            }
            let response = send(&shared.client, request, options.unwrap_or_default()).await?;
            Ok((response, Box::new(async { Ok(()) }) as Ending))
        })
    }
}

async fn send(
    client: &Client,
    mut to: Request<WasiBody>,
    options: RequestOptions,
) -> Result<Response<WasiBody>, Error> {
    if to.uri().scheme() != Some(&Scheme::HTTP) {
        return Err(Error::InternalError(Some("the test host has no TLS".to_owned())));
    }
    // The client writes its own.
    to.headers_mut().remove(HOST);
    let within = |limit: Option<Duration>| limit.unwrap_or(Duration::from_secs(600));
    let answered =
        timeout(within(options.connect_timeout) + within(options.first_byte_timeout), client.request(to)).await;
    let refused =
        |error: legacy::Error| if error.is_connect() { Error::ConnectionRefused } else { Error::HttpProtocolError };
    let response = answered.map_err(|_| Error::ConnectionReadTimeout)?.map_err(refused)?;
    Ok(response.map(|body| pausing(body, within(options.between_bytes_timeout))))
}

/// A body that fails where it pauses for too long.
fn pausing(body: Incoming, limit: Duration) -> WasiBody {
    let frames = stream::unfold(body, move |mut body| async move {
        let frame = timeout(limit, body.frame()).await;
        let frame = frame.map_or(Some(Err(Error::ConnectionReadTimeout)), |frame| Some(frame?.map_err(Error::from)));
        Some((frame?, body))
    });
    StreamBody::new(frames).boxed_unsync()
}
