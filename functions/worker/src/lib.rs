//! Turnpike on Cloudflare Workers: the gateway behind `fetch`, its machines in Durable Objects, its documents in KV.

mod body;
mod conversation;
mod crossing;
mod edge;
mod object;
mod random;
mod task;
mod wire;

use gateway::{Gateway, Memory};
use worker::{
    Context, Env, console_error,
    js_sys::Function,
    wasm_bindgen::{self, prelude::wasm_bindgen},
    web_sys, worker_sys,
};

use crate::edge::Edge;

thread_local! {
    static MEMORY: Memory = Memory::default();
}

/// Answers `request` by calling `answer` with the response, or with `null` where none can be made.
#[wasm_bindgen]
pub fn serve(request: web_sys::Request, env: Env, context: worker_sys::Context, answer: Function) {
    #[cfg(feature = "faults")]
    faults::strike(&request);
    let edge = Edge::new(env, Clone::clone(&request), Context::new(context));
    task::start(async move {
        let answered = async {
            let request = wire::request(request)?;
            let gateway = Gateway::new(edge, MEMORY.with(Memory::clone));
            wire::answer(&answer, gateway.serve(request).await)
        };
        if let Err(error) = answered.await {
            console_error!("{error}");
            // The runtime does not refuse to be called with nothing.
            let _ = answer.call1(&wasm_bindgen::JsValue::NULL, &wasm_bindgen::JsValue::NULL);
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
