//! Who answers a request? One endpoint of the gateway, by its path.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::json;

use crate::{
    bundle::NoConfig, config::Config, cors, endpoint::Endpoint, memory::Memory, platform::Platform, refusal::Refusal,
};

/// The gateway, for one request.
#[derive(Clone)]
pub struct Gateway<P> {
    pub(crate) platform: P,
    pub(crate) memory: Memory,
}

impl<P: Platform> Gateway<P> {
    /// A gateway on `platform` that shares `memory` with the isolate's other requests.
    #[must_use]
    pub fn new(platform: P, memory: Memory) -> Self {
        Self { platform, memory }
    }

    /// Answers `request`. Every failure is an answer.
    pub async fn serve(&self, request: Request<P::Body>) -> Response<P::Body> {
        let config = match self.config().await {
            Ok(config) => config,
            Err(failure) => return without_config(request.uri().path(), &failure),
        };
        let origin = request.headers().get(header::ORIGIN).cloned();
        let mut response = match *request.method() {
            Method::OPTIONS => cors::preflight(&config.site, request.headers()),
            _ => self.dispatch(&config, request).await,
        };
        cors::expose(&config.site, origin.as_ref(), response.headers_mut());
        response
    }

    async fn dispatch(&self, config: &Rc<Config>, request: Request<P::Body>) -> Response<P::Body> {
        let path = request.uri().path().to_owned();
        match Endpoint::of(&path) {
            Endpoint::Server(server) => self.exchange(config, server, request).await,
            Endpoint::Old(server, part) => self.exchange_old(config, (server, part), request).await,
            Endpoint::Metadata(server) => self.metadata(config, server),
            Endpoint::Api(call) => self.api(config, call, request).await,
            Endpoint::Health => text(StatusCode::OK, "ok"),
            Endpoint::Ready => text(StatusCode::OK, "ready"),
            Endpoint::Unknown => Refusal::NoEndpoint.answer(config, None, None),
        }
    }

    /// Protected resource metadata is public, so it does not say which servers there are: any name has some.
    fn metadata(&self, config: &Config, server: Option<&str>) -> Response<P::Body> {
        let resource = server.map_or_else(|| config.site.origin().to_owned(), |server| config.resource(server));
        let issuers: Vec<&str> = config.issuers.iter().map(|one| one.issuer.issuer.as_str()).collect();
        let scopes = server.map_or(&[][..], |server| config.registry.public_scopes(server));
        json(StatusCode::OK, &identity::metadata(&resource, &issuers, scopes))
    }
}

impl Config {
    /// The URL of an endpoint: its resource identifier (RFC 8707 §2).
    #[must_use]
    pub fn resource(&self, server: &str) -> String {
        [self.site.origin(), &crate::endpoint::path(server)].concat()
    }
}

/// A JSON answer of the gateway's own.
#[must_use]
pub fn json<B: From<Bytes>>(status: StatusCode, value: &serde_json::Value) -> Response<B> {
    known(status, "application/json", value.to_string().into())
}

pub(crate) fn text<B: From<Bytes>>(status: StatusCode, text: &'static str) -> Response<B> {
    known(status, "text/plain; charset=utf-8", text.into())
}

/// An answer whose bytes are known. Spin wants `content-length` said; see `platforms.md`.
pub(crate) fn known<B: From<Bytes>>(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<B> {
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(B::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    response
}

fn without_config<B: From<Bytes>>(path: &str, failure: &NoConfig) -> Response<B> {
    match Endpoint::of(path) {
        Endpoint::Health => text(StatusCode::OK, "ok"),
        _ => {
            let mut response = json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": failure.to_string() }));
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            response
        }
    }
}
