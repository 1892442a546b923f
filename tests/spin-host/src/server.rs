//! How does a request reach the component? Over HTTP/1.1, changed as Spin changes it.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::handler::{ProxyHandler, TrapOrPanicError};

use crate::instances::{Instances, Start};

/// Serves until the process ends.
pub async fn serve(listen: SocketAddr, start: Start) -> Result<()> {
    let component = ProxyHandler::new(Instances::prepare(start)?);
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen at {listen}"))?;
    println!("Serving http://{}", listener.local_addr()?);
    loop {
        // Nagle's algorithm stays on, as in Spin: an answer of two writes waits for its reader's acknowledgement.
        let (stream, caller) = listener.accept().await?;
        let component = component.clone();
        let service = service_fn(move |request| answer(component.clone(), caller, request));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

type Component = ProxyHandler<Instances>;

async fn answer(to: Component, caller: SocketAddr, mut request: Request<Incoming>) -> Result<Response<WasiBody>> {
    *request.uri_mut() = absolute(&request)?;
    // After what the caller sent of the same name.
    for (name, value) in [("spin-full-url", request.uri().to_string()), ("spin-client-addr", caller.to_string())] {
        request.headers_mut().append(name, HeaderValue::try_from(value)?);
    }
    let is_text = request.headers().values().all(|value| str::from_utf8(value.as_bytes()).is_ok());
    let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
    let answered = if is_text { to.handle((), request).await } else { Err(TrapOrPanicError.into()) };
    Ok(answered.unwrap_or_else(|error| {
        if !error.is::<TrapOrPanicError>() {
            eprintln!("a request failed: {error}");
        }
        let mut failed = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
        *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        failed
    }))
}

fn absolute(request: &Request<Incoming>) -> Result<Uri> {
    let mut parts = request.uri().clone().into_parts();
    let host = request.headers().get(HOST).map(|host| Authority::try_from(host.as_bytes())).transpose()?;
    parts.authority = Some(host.or(parts.authority).context("the request has no `Host`")?);
    parts.scheme = Some(Scheme::HTTP);
    Ok(Uri::from_parts(parts)?)
}
