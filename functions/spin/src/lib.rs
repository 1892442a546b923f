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

use gateway::{Gateway, tasks::Tasks};
use http::{HeaderValue, Response, header};
use http_body::Body as _;
use spin_sdk::{http::Request, http_service, wasip3};

use crate::{body::Body, edge::Edge, place::Place};

/// Answers `request`.
#[http_service]
async fn serve(request: Request) -> Response<Body> {
    let (place, tasks) = (Place::here(), Tasks::default());
    let edge = Edge::new(&place, &tasks);
    let request = request.map(Body::incoming);
    let answering = async {
        let response = match request.uri().path() {
            due::TICK => due::tick(&edge, request.headers()).await,
            _ => Gateway::new(edge.clone(), place.memory.clone()).serve(request).await,
        };
        due::beside_a_request(&edge);
        measured(response)
    };
    let response = tasks.beside(answering).await;
    wasip3::spawn(tasks.rest());
    response
}

/// With its length, where that is known: without it Spin's answers wait for the 40 ms of a delayed acknowledgement.
fn measured(mut response: Response<Body>) -> Response<Body> {
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}
