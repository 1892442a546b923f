//! What does a body ask for? What the stages need of it, read once.

use std::borrow::Cow;

use audit::Called;
use mcp::{
    Body, Message, digest, json,
    json::clip,
    jsonrpc::Call,
    meta::{Params, Reference},
};
use serde_json::{Value, value::RawValue};

use crate::refusal::Refusal;

/// What a POSTed body asks for. The default says nothing, as GET and DELETE do.
#[derive(Debug, Default)]
pub(crate) struct Said<'a> {
    /// Its requests and notifications.
    pub(crate) asked: Vec<Asked<'a>>,
    /// How many requests it holds: what a limit counts.
    pub(crate) requests: u32,
    /// Whether it answers what a server asked.
    pub(crate) responds: bool,
    /// The caller's `traceparent` and `tracestate`, if it names one in `_meta`.
    pub(crate) parent: Option<(String, Option<String>)>,
    /// What begins a session, if it does: which program says it calls.
    pub(crate) initialize: Option<Option<String>>,
}

/// A request or a notification; the default stands for what has no message.
#[derive(Debug, Default)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// The tool, prompt or resource.
    pub(crate) target: Option<Cow<'a, str>>,
    /// The arguments, read strictly.
    pub(crate) arguments: Option<Value>,
    /// The arguments as they were spelled.
    pub(crate) spelled: Option<&'a RawValue>,
}

/// The id to answer, if `body` is one request.
pub(crate) fn id<'a>(body: &Body<'a>) -> Option<&'a RawValue> {
    match body {
        Body::Single(Message::Request(call)) => call.id,
        _ => None,
    }
}

impl<'a> Said<'a> {
    pub(crate) fn of(body: &'a Body<'a>) -> Result<Self, Refusal> {
        let mut said = Said::default();
        for message in body.messages() {
            match message {
                Message::Request(call) => {
                    said.requests += 1;
                    said.add(call)?;
                }
                Message::Notification(call) => said.add(call)?,
                Message::Response(_) => said.responds = true,
            }
        }
        let is_single_request = matches!(body, Body::Single(Message::Request(_)));
        if !is_single_request || !said.asked.iter().any(|asked| asked.method == "initialize") {
            said.initialize = None;
        }
        Ok(said)
    }

    /// The one tool that is called, if the body is one call of a tool.
    pub(crate) fn tool(&self) -> Option<&str> {
        match self.asked.as_slice() {
            [Asked { method: "tools/call", target: Some(tool), .. }] => Some(tool),
            _ => None,
        }
    }

    fn add(&mut self, call: &'a Call<'a>) -> Result<(), Refusal> {
        let unread = |error: serde_json::Error| Refusal::Params(error.to_string());
        let params = Params::of(call).map_err(unread)?;
        bridge::legacy(&params)?;
        let text = |key| params.meta.as_ref().and_then(|meta| meta.text(key)).map(Cow::into_owned);
        if let (None, Some(parent)) = (&self.parent, text("traceparent")) {
            self.parent = Some((parent, text("tracestate")));
        }
        let client = params.client_info.and_then(|info| info.name).map(|name| clip(&name).to_owned());
        self.initialize = Some(client);
        let spelled = params.arguments;
        let arguments = spelled.map(|raw| json::strict(raw.get())).transpose().map_err(unread)?;
        let referred = params.reference.and_then(|Reference { name, uri }| uri.or(name));
        let target = params.name.or(params.uri).or(referred);
        self.asked.push(Asked { method: &call.method, target, arguments, spelled });
        Ok(())
    }
}

impl Asked<'_> {
    /// As the record names it.
    pub(crate) fn called(&self) -> Called {
        Called::new(self.method, self.target.as_deref(), self.arguments.as_ref().map(digest::canonical))
    }
}
