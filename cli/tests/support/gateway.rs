//! A gateway as far as its operators see it: the API of the contract, over HTTP, with everything in memory.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, put},
};
use gateway::config::Bundle;
use serde_json::{Value, json};

pub(crate) const TOKEN: &str = "an.operators.token";

/// It serves until it is dropped.
pub(crate) struct Gateway {
    pub(crate) url: String,
    pub(crate) state: Shared,
    end: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

pub(crate) type Shared = Arc<Mutex<Stored>>;

#[derive(Default)]
pub(crate) struct Stored {
    pub(crate) bundles: BTreeMap<String, String>,
    /// What was put there by another way than the API.
    pub(crate) pointer: Option<String>,
    pub(crate) moves: Vec<Value>,
    pub(crate) definitions: BTreeMap<String, Vec<Value>>,
    pub(crate) records: BTreeMap<String, Vec<Value>>,
    pub(crate) usage: Value,
    /// How many requests were answered, by method and path.
    pub(crate) asked: Vec<String>,
}

impl Stored {
    pub(crate) fn live(&self) -> Option<&str> {
        self.moves.last().and_then(|live| live["id"].as_str()).or(self.pointer.as_deref())
    }

    pub(crate) fn release(&mut self, id: &str, by: &str) {
        let previous = self.live().map(str::to_owned);
        let seq = self.moves.len() + 1;
        self.moves.push(
            json!({ "seq": seq, "id": id, "previous": previous, "at": 1_795_000_000_000_u64 + seq as u64, "by": by }),
        );
    }
}

impl Gateway {
    pub(crate) fn start() -> Self {
        let state = Shared::default();
        let router = router(Arc::clone(&state));
        let (end, ended) = tokio::sync::oneshot::channel();
        let (bound, address) = std::sync::mpsc::channel::<SocketAddr>();
        let serve = async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            bound.send(listener.local_addr().unwrap()).unwrap();
            let serving = axum::serve(listener, router).with_graceful_shutdown(async { drop(ended.await) });
            serving.await.unwrap();
        };
        let thread = thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(serve);
        });
        let url = format!("http://{}", address.recv().unwrap());
        Self { url, state, end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.end.take().map(|end| end.send(()));
        self.thread.take().map(thread::JoinHandle::join);
    }
}

fn router(state: Shared) -> Router {
    Router::new()
        .route("/api/live", get(live).put(promote))
        .route("/api/live/history", get(history))
        .route("/api/bundles/{id}", put(store).get(bundle))
        .route("/api/definitions/{server}", get(definitions))
        .route("/api/audit/{tenant}", get(audit))
        .route("/api/usage/{tenant}", get(usage))
        .layer(middleware::from_fn_with_state(Arc::clone(&state), admit))
        .with_state(state)
}

async fn admit(State(state): State<Shared>, request: Request, next: Next) -> Response {
    state.lock().unwrap().asked.push(format!("{} {}", request.method(), request.uri()));
    let token = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    match token {
        Some(token) if token == format!("Bearer {TOKEN}") => next.run(request).await,
        Some("Bearer tenant") => {
            let body = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32000, "message": "there is nothing here" } });
            (StatusCode::NOT_FOUND, Json(body)).into_response()
        }
        Some("Bearer reader") if request.method() == "GET" => next.run(request).await,
        Some("Bearer reader") => {
            let challenge = r#"Bearer error="insufficient_scope", scope="bundle:push""#;
            (StatusCode::FORBIDDEN, [("www-authenticate", challenge)], Json(json!({ "error": "insufficient_scope" })))
                .into_response()
        }
        _ => (StatusCode::UNAUTHORIZED, Json(json!({ "error": "the token is not valid" }))).into_response(),
    }
}

async fn live(State(state): State<Shared>) -> Response {
    let state = state.lock().unwrap();
    match state.moves.last() {
        Some(live) => {
            Json(json!({ "id": live["id"], "previous": live["previous"], "at": live["at"], "by": live["by"] }))
                .into_response()
        }
        None => {
            let body = json!({ "id": state.pointer, "previous": null, "at": null, "by": null });
            (StatusCode::NOT_FOUND, Json(body)).into_response()
        }
    }
}

async fn promote(State(state): State<Shared>, Json(body): Json<Value>) -> Response {
    let mut state = state.lock().unwrap();
    let id = body["id"].as_str().unwrap();
    if !state.bundles.contains_key(id) {
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "error": "there is no such bundle", "problems": [] })))
            .into_response();
    }
    if state.live() != body["expected"].as_str() {
        let body = json!({ "error": "another configuration was put in force meanwhile", "live": state.live() });
        return (StatusCode::CONFLICT, Json(body)).into_response();
    }
    state.release(id, "turnpike/ann");
    Json(state.moves.last().cloned()).into_response()
}

async fn history(State(state): State<Shared>, Query(query): Query<BTreeMap<String, u64>>) -> Json<Value> {
    let state = state.lock().unwrap();
    Json(json!({ "rows": page(&state.moves, &query) }))
}

async fn bundle(State(state): State<Shared>, Path(id): Path<String>) -> Response {
    match state.lock().unwrap().bundles.get(&id) {
        Some(json) => ([("content-type", "application/json")], json.clone()).into_response(),
        None => (StatusCode::NOT_FOUND, Json(json!({ "error": "there is no bundle" }))).into_response(),
    }
}

async fn store(State(state): State<Shared>, Path(id): Path<String>, body: Bytes) -> Response {
    let text = String::from_utf8(body.to_vec()).unwrap();
    let refused = |error: &str, problems: Vec<Value>| {
        (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "error": error, "problems": problems }))).into_response()
    };
    let raw = match Bundle::open(&id, &text) {
        Ok(raw) => raw,
        Err(error) => return refused(&error, Vec::new()),
    };
    if let Err(problems) = raw.validate(&id) {
        let problems = problems.iter().map(|one| json!({ "at": one.at, "what": one.what })).collect();
        return refused("the configuration does not hold together", problems);
    }
    state.lock().unwrap().bundles.insert(id, text);
    StatusCode::CREATED.into_response()
}

async fn definitions(State(state): State<Shared>, Path(server): Path<String>) -> Response {
    match state.lock().unwrap().definitions.get(&server) {
        Some(tools) => {
            let tools: Vec<Value> = tools
                .iter()
                .map(|one| json!({ "definition": one, "digest": "", "standing": "new", "pinned": null }))
                .collect();
            Json(json!({ "server": server, "tools": tools })).into_response()
        }
        None => (StatusCode::BAD_GATEWAY, Json(json!({ "error": "the server cannot be reached" }))).into_response(),
    }
}

async fn audit(
    State(state): State<Shared>,
    Path(tenant): Path<String>,
    Query(query): Query<BTreeMap<String, u64>>,
) -> Json<Value> {
    let state = state.lock().unwrap();
    let none = Vec::new();
    Json(json!({ "tenant": tenant, "rows": page(state.records.get(&tenant).unwrap_or(&none), &query) }))
}

async fn usage(State(state): State<Shared>, Path(_tenant): Path<String>) -> Json<Value> {
    Json(state.lock().unwrap().usage.clone())
}

fn page<'a>(rows: &'a [Value], query: &BTreeMap<String, u64>) -> Vec<&'a Value> {
    let (after, limit) =
        (query.get("after").copied().unwrap_or(0), query.get("limit").copied().unwrap_or(500).min(500));
    rows.iter().filter(|row| row["seq"].as_u64() > Some(after)).take(limit as usize).collect()
}
