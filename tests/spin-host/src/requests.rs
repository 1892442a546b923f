//! How do requests reach the component, and leave it? Over HTTP/1.1, changed and refused as Spin does.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri, header::HOST};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpListener, time::timeout};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, handler::ProxyHandler};

use crate::instance::{Instances, Shared};

pub(crate) async fn serve(listen: SocketAddr, instances: Instances) -> Result<()> {
    let component = ProxyHandler::new(instances);
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen at {listen}"))?;
    println!("Serving http://{}", listener.local_addr()?);
    loop {
        // Nagle's algorithm stays on, as in Spin: an answer of two writes waits for its reader's acknowledgement.
        let (stream, caller) = listener.accept().await?;
        let component = component.clone();
        let service = service_fn(move |request| pass(component.clone(), caller, request));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn pass(by: ProxyHandler<Instances>, from: SocketAddr, mut to: Request<Incoming>) -> Result<Response<WasiBody>> {
    *to.uri_mut() = absolute(&to)?;
    // After what the caller sent of the same name.
    for (name, value) in [("spin-full-url", to.uri().to_string()), ("spin-client-addr", from.to_string())] {
        to.headers_mut().append(name, HeaderValue::try_from(value)?);
    }
    let is_text = to.headers().values().all(|value| str::from_utf8(value.as_bytes()).is_ok());
    let to = to.map(|body| body.map_err(Into::into).boxed_unsync());
    if is_text && let Ok(response) = by.handle((), to).await.inspect_err(|error| eprintln!("500: {error}")) {
        return Ok(response);
    }
    Ok(Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR).body(WasiBody::default())?)
}

fn absolute(request: &Request<Incoming>) -> Result<Uri> {
    let mut parts = request.uri().clone().into_parts();
    let host = request.headers().get(HOST).map(|host| Authority::try_from(host.as_bytes())).transpose()?;
    parts.authority = Some(host.or(parts.authority).context("the request has no `Host`")?);
    parts.scheme = Some(Scheme::HTTP);
    Ok(Uri::from_parts(parts)?)
}

/// Keeps connections for all instances, as Spin does.
pub(crate) type Client = legacy::Client<HttpConnector, WasiBody>;

pub(crate) fn client() -> Client {
    legacy::Client::builder(TokioExecutor::new()).build_http()
}

pub(crate) struct Outbound(pub(crate) Arc<Shared>);

type Ending = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sending = Box<dyn Future<Output = Result<(Response<WasiBody>, Ending), Error>> + Send>;

impl WasiHttpHooks for Outbound {
    fn send_request(&mut self, request: Request<WasiBody>, options: Option<RequestOptions>, _: Ending) -> Sending {
        let sent = send(self.0.clone(), request, options.unwrap_or_default());
        Box::new(async move { Ok((sent.await?, Box::new(async { Ok(()) }) as Ending)) })
    }
}

async fn send(by: Arc<Shared>, mut to: Request<WasiBody>, within: RequestOptions) -> Result<Response<WasiBody>, Error> {
    if !by.application.allows(&to.uri().to_string()) {
        return Err(Error::HttpRequestDenied);
    }
    // The client writes its own.
    to.headers_mut().remove(HOST);
    let answered = timeout(within.first_byte_timeout.unwrap_or(Duration::from_secs(600)), by.client.request(to)).await;
    let why = |e: legacy::Error| if e.is_connect() { Error::ConnectionRefused } else { Error::HttpProtocolError };
    let response = answered.map_err(|_| Error::ConnectionReadTimeout)?.map_err(why)?;
    Ok(response.map(|body| body.map_err(Error::from).boxed_unsync()))
}
