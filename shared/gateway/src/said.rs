//! What does a body ask for? What the stages need of it, read once.

use std::borrow::Cow;

use audit::Called;
use mcp::{Body, Message, digest, json, jsonrpc::Call, meta::Params};
use serde_json::value::RawValue;

use crate::refusal::Refusal;

/// What a POSTed body asks for. The default says nothing, as GET and DELETE do.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Its requests and notifications, for the record.
    pub(crate) calls: Vec<Called>,
    /// How many requests it holds: what a limit counts.
    pub(crate) requests: u32,
    /// The caller's `traceparent` and `tracestate`, if it names one in `_meta`.
    pub(crate) parent: Option<(String, Option<String>)>,
    /// Whether it begins a session.
    pub(crate) is_initialize: bool,
}

/// The id to answer, if `body` is one request.
pub(crate) fn id<'a>(body: &Body<'a>) -> Option<&'a RawValue> {
    match body {
        Body::Single(Message::Request(call)) => call.id,
        _ => None,
    }
}

impl Said {
    pub(crate) fn of(body: &Body<'_>) -> Result<Self, Refusal> {
        let mut said = Said::default();
        for message in body.messages() {
            match message {
                Message::Request(call) => {
                    said.requests += 1;
                    said.add(call)?;
                }
                Message::Notification(call) => said.add(call)?,
                Message::Response(_) => {}
            }
        }
        if let Body::Single(Message::Request(call)) = body {
            said.is_initialize = call.method == "initialize";
        }
        Ok(said)
    }

    fn add(&mut self, call: &Call<'_>) -> Result<(), Refusal> {
        let unread = |error: serde_json::Error| Refusal::Params(error.to_string());
        let params = Params::of(call).map_err(unread)?;
        bridge::legacy(&params)?;
        let arguments = params.arguments.map(|raw| json::strict(raw.get())).transpose().map_err(unread)?;
        let target = params.name.as_deref().or(params.uri.as_deref());
        self.calls.push(Called::new(&call.method, target, arguments.as_ref().map(digest::canonical)));
        let text = |key| params.meta.as_ref().and_then(|meta| meta.text(key)).map(Cow::into_owned);
        if let (None, Some(parent)) = (&self.parent, text("traceparent")) {
            self.parent = Some((parent, text("tracestate")));
        }
        Ok(())
    }
}
