//! Turnpike on Cloudflare Workers: the gateway behind `fetch`, its machines in Durable Objects, its documents in KV.

mod body;
mod edge;
mod object;
mod wire;

use gateway::{Gateway, Memory};
use worker::{Context, Env, event, web_sys};

use crate::edge::Edge;

thread_local! {
    static MEMORY: Memory = Memory::default();
}

#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, context: Context) -> worker::Result<web_sys::Response> {
    #[cfg(feature = "faults")]
    faults::strike(&request);
    let request = wire::request(request)?;
    let gateway = Gateway::new(Edge::new(env, context), MEMORY.with(Memory::clone));
    wire::response(gateway.serve(request).await)
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
