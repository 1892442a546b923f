//! What does a body ask for? What the stages need of it, read once.

use std::{borrow::Cow, rc::Rc};

use mcp::{
    Body, Message, json,
    json::clip,
    jsonrpc::Call,
    params::{Params, Reference},
};
use serde::Deserialize;
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
    /// Whether it begins a session.
    pub(crate) is_initialize: bool,
    /// Which program says it calls, where a message says so.
    pub(crate) client: Option<String>,
}

/// A request or a notification; the default stands for what has no message.
#[derive(Debug, Default)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// The tool, prompt or resource.
    pub(crate) target: Option<Cow<'a, str>>,
    /// The arguments, read strictly.
    pub(crate) arguments: Option<Rc<Value>>,
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
        said.is_initialize = matches!(body, Body::Single(Message::Request(call)) if call.method == "initialize");
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
        let meta = call.picked().map_err(unread)?.meta.as_ref();
        let text = |key| meta.and_then(|meta| meta.text(key)).map(Cow::into_owned);
        if let (None, Some(parent)) = (&self.parent, text("traceparent")) {
            self.parent = Some((parent, text("tracestate")));
        }
        self.client = params.client_info.and_then(|info| info.name).map(|name| clip(&name).to_owned());
        let spelled = params.arguments;
        let arguments = spelled.map(|raw| json::strict(raw.get())).transpose().map_err(unread)?.map(Rc::new);
        let referred = params.reference.and_then(|Reference { name, uri }| uri.or(name));
        let target = params.name.or(params.uri).or(referred);
        self.asked.push(Asked { method: &call.method, target, arguments, spelled });
        if call.method == "subscriptions/listen" {
            self.subscribes(call)?;
        }
        Ok(())
    }

    /// Each resource a stream is to tell of is asked for by itself, as legacy revisions do.
    fn subscribes(&mut self, call: &'a Call<'a>) -> Result<(), Refusal> {
        let unread = |error: serde_json::Error| Refusal::Params(error.to_string());
        let Some(params) = call.params else { return Ok(()) };
        json::plain(params.get(), &["notifications"]).map_err(unread)?;
        let Listen { notifications: Wanted { uris } } = serde_json::from_str(params.get()).map_err(unread)?;
        if uris.len() > URIS_MAX {
            return Err(Refusal::Params(format!("one stream tells of at most {URIS_MAX} resources")));
        }
        let subscribe = |uri| Asked { method: "resources/subscribe", target: Some(uri), ..Asked::default() };
        self.asked.extend(uris.into_iter().map(subscribe));
        Ok(())
    }
}

/// What a `subscriptions/listen` wants (MCP 2026-07-28 basic/patterns/subscriptions).
#[derive(Deserialize)]
struct Listen<'a> {
    #[serde(borrow)]
    notifications: Wanted<'a>,
}

#[derive(Deserialize)]
struct Wanted<'a> {
    #[serde(borrow, rename = "resourceSubscriptions", default)]
    uris: Vec<Cow<'a, str>>,
}

const URIS_MAX: usize = 100;
