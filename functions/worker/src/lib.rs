//! Turnpike on Cloudflare Workers: the gateway behind `fetch`, its machines in Durable Objects, its documents in KV.

mod body;
mod conversation;
mod crossing;
mod edge;
mod numbered;
mod object;
mod random;
mod task;
mod wire;

use gateway::{Gateway, Memory};
use worker::{
    Context, Env, console_error,
    js_sys::Uint8Array,
    wasm_bindgen::{self, prelude::wasm_bindgen},
    web_sys, worker_sys,
};

use crate::{edge::Edge, wire::Gate};

thread_local! {
    static MEMORY: Memory = Memory::default();
}

/// Answers `request` through `gate`. `head` spells the request's head, see `entry.mjs`; `body` is all of its body, if
/// that was read.
#[expect(clippy::too_many_arguments, reason = "JavaScript hands each over as it is; an object for them would cost one")]
#[wasm_bindgen]
pub fn serve(
    head: String,
    body: Option<Uint8Array>,
    request: web_sys::Request,
    env: Env,
    context: worker_sys::Context,
    gate: Gate,
) {
    #[cfg(feature = "faults")]
    faults::strike(&request);
    let edge = Edge::new(env, Clone::clone(&request), Context::new(context), gate.clone());
    task::start(async move {
        let answered = async {
            let gateway = Gateway::new(edge, MEMORY.with(Memory::clone));
            let parts = wire::head(&head);
            let body = parts.body(body, request);
            let response = gateway.serve_spelled(parts.spelled, body, |body| wire::request(&head, body)).await?;
            wire::answer(&gate, response)
        };
        if let Err(error) = answered.await {
            console_error!("{error}");
            gate.fail();
        }
    });
}

#[cfg(feature = "faults")]
mod faults {
    //! Panics on request, so that a test can see what a panic does to its neighbours.

    #[expect(clippy::panic, reason = "this is what it is for")]
    pub(crate) fn strike(request: &worker::web_sys::Request) {
        if request.url().ends_with("/faults/panic") {
            panic!("a fault was asked for");
        }
    }
}
