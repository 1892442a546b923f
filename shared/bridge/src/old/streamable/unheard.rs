//! What becomes of a message that nobody can be told yet? It waits, with few others: a server may speak before its client
//! has opened the stream for that.

use std::collections::VecDeque;

use mcp::jsonrpc::{self, Body, Message};

/// Messages of the server that belong to no call, while nobody listens; the oldest make room.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    messages: VecDeque<String>,
    held_bytes: usize,
}

impl Unheard {
    /// Keeps `message`. The ids of requests that had to make room: nobody is going to answer them.
    pub(super) fn push(&mut self, message: &str) -> Vec<String> {
        self.held_bytes += message.len();
        self.messages.push_back(message.to_owned());
        let mut dropped = Vec::new();
        while self.messages.len() > MESSAGES_MAX || self.held_bytes > HELD_MAX_BYTES {
            let Some(oldest) = self.messages.pop_front() else { break };
            self.held_bytes = self.held_bytes.saturating_sub(oldest.len());
            dropped.extend(request_id(&oldest));
        }
        dropped
    }

    /// All of them, oldest first.
    pub(super) fn drain(&mut self) -> VecDeque<String> {
        self.held_bytes = 0;
        std::mem::take(&mut self.messages)
    }
}

fn request_id(message: &str) -> Option<String> {
    match jsonrpc::parse(message.as_bytes()) {
        Ok(Body::Single(Message::Request(call))) => call.id.map(|id| id.get().to_owned()),
        _ => None,
    }
}

const MESSAGES_MAX: usize = 32;
const HELD_MAX_BYTES: usize = 256 * 1024;
