//! Turnpike on Spin: the gateway behind `wasi:http`, its machines in SQLite or Redis, its documents in the key-value store.

mod bell;
mod body;
mod due;
mod edge;
mod outbound;
mod place;
mod redis;
mod sqlite;
mod storage;

use gateway::Gateway;
use http::{HeaderValue, Response, header};
use http_body::Body as _;
use spin_sdk::{http::Request, http_service};

use crate::{body::Body, edge::Edge, place::Place};

/// Answers `request`.
#[http_service]
async fn serve(request: Request) -> Response<Body> {
    let place = Place::here();
    let request = request.map(Body::incoming);
    let response = match request.uri().path() {
        due::TICK => due::tick(&place, request.headers()).await,
        _ => Gateway::new(Edge::new(&place), place.memory.clone()).serve(request).await,
    };
    due::beside_a_request(&place);
    measured(response)
}

/// With its length, where that is known: without it Spin's answers wait for the 40 ms of a delayed acknowledgement.
fn measured(mut response: Response<Body>) -> Response<Body> {
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}
