//! Where does a conversation live? In a Durable Object that keeps it in memory, and nothing in storage.
//!
//! All requests of an object share what is open there: an answer that one of them began to read, another may read on.

use std::pin::pin;

use futures_util::future::{Either, select};
use gateway::{Gateway, Memory};
use worker::{
    Env, console_error,
    wasm_bindgen::{self, prelude::wasm_bindgen},
    web_sys,
};

use crate::{
    MEMORY,
    edge::Edge,
    task,
    wire::{self, Gate},
};

/// One object's conversation; `entry.mjs` makes it, and makes it anew when a panic ended this instance.
#[wasm_bindgen]
#[derive(Default)]
pub struct Host(gateway::Conversation);

#[wasm_bindgen]
impl Host {
    /// Nobody's conversation yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether somebody waits, or something is parked.
    pub fn is_busy(&self) -> bool {
        self.0.is_busy()
    }

    /// Answers `request` through `gate`, if anybody still waits for that.
    pub fn serve(&self, request: web_sys::Request, env: Env, gate: Gate) {
        let conversation = self.0.clone();
        task::start(async move {
            let answered = async {
                let gateway =
                    Gateway::new(Edge::within_object(env, Clone::clone(&request)), MEMORY.with(Memory::clone));
                let departed = wire::departed(&request);
                let request = wire::request_of_the_gateway(request)?;
                match select(pin!(gateway.host(&conversation, request)), departed).await {
                    Either::Left((response, _)) => wire::answer(&gate, response),
                    Either::Right(_) => Err(worker::Error::RustError("the caller left".to_owned())),
                }
            };
            if let Err(error) = answered.await {
                console_error!("conversation: {error}");
                gate.fail();
            }
        });
    }
}
