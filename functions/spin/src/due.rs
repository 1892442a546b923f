//! What happens without a request, where nothing wakes anybody? Each request looks what is due, and `POST /-/tick` does.

use gateway::{
    Gateway, json,
    platform::{Failed, Platform as _},
    shelf::Done,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::json as value;
use subtle::ConstantTimeEq as _;

use crate::{
    body::Body,
    edge::{Edge, now},
};

/// The path of the route for operators' schedulers.
pub(crate) const TICK: &str = "/-/tick";

/// Does some of what is due after this request, if nobody looked for a second.
pub(crate) fn beside_a_request(edge: &Edge) {
    let now = now();
    if now.millis_since(edge.place.due.get()) < PAUSE_MS {
        return;
    }
    edge.place.due.set(now);
    let beside = edge.clone();
    edge.defer(async move {
        if let Err(failed) = see_to(&beside, 1).await {
            eprintln!("what is due cannot be done: {failed}");
        }
    });
}

/// Does all that is due and says how much that was. Without a key of its own the route is not there.
pub(crate) async fn tick(edge: &Edge, headers: &HeaderMap) -> Response<Body> {
    let Some(key) = edge.place.variable(TICK_KEY).await else { return json(StatusCode::NOT_FOUND, &value!({})) };
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if !token.is_some_and(|token| bool::from(token.ct_eq(key.as_bytes()))) {
        let mut refused = json(StatusCode::UNAUTHORIZED, &value!({ "error": "`turnpike_tick_key` is another token" }));
        refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return refused;
    }
    match see_to(edge, TICK_ROUNDS).await {
        Ok(done) => json(StatusCode::OK, &value!({ "woken": done.woken, "delivered": done.delivered })),
        Err(Failed(error)) => {
            eprintln!("what is due cannot be done: {error}");
            json(StatusCode::SERVICE_UNAVAILABLE, &value!({ "error": "storage failed, see the log" }))
        }
    }
}

async fn see_to(edge: &Edge, rounds: u32) -> Result<Done, Failed> {
    let storage = edge.place.storage().await?;
    Gateway::new(edge.clone(), edge.place.memory.clone()).see_to_shelf(&*storage, rounds).await
}

/// The variable with the token of whoever may tick.
const TICK_KEY: &str = "turnpike_tick_key";
const PAUSE_MS: u64 = 1_000;
/// A tick looks so often for more; the next one goes on.
const TICK_ROUNDS: u32 = 64;
