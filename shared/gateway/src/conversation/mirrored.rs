//! Which headers say again what a modern body says? What its server's tools declare, learnt from every list that passes by.

use std::{cell::RefCell, collections::BTreeMap};

use bridge::routing::{self, ParamHeader};
use http::{HeaderMap, HeaderValue};
use mcp::{
    Body,
    definition::Definition,
    jsonrpc::{self, Message},
    page::{self, Kind},
};

/// The mirrored arguments of tools, by tool.
#[derive(Default)]
pub(super) struct Mirrored(RefCell<BTreeMap<String, Vec<ParamHeader>>>);

impl Mirrored {
    /// Learns of the tools `body` lists, if it does.
    pub(super) fn learn(&self, body: &Body<'_>) {
        for message in body.messages() {
            if let Message::Response(reply) = message
                && reply.result.is_some_and(|result| result.get().contains("\"tools\""))
                && let Ok(page) = page::read(Kind::Tools, reply.raw)
            {
                page.items.iter().for_each(|item| self.know(item.raw));
            }
        }
    }

    /// Says in `headers` what `body` says.
    ///
    /// # Errors
    /// Why that cannot be said.
    pub(super) fn tell(&self, headers: &mut HeaderMap, body: &str) -> Result<(), String> {
        let body = jsonrpc::parse(body.as_bytes()).map_err(|error| error.to_string())?;
        let Body::Single(Message::Request(call) | Message::Notification(call)) = body else { return Ok(()) };
        let mut said = routing::standard(&call).map_err(|error| error.to_string())?;
        if call.method == "tools/call"
            && let Some(params) = routing::name(&call).and_then(|tool| self.0.borrow().get(&*tool).cloned())
        {
            said.extend(routing::mirror(&call, &params).map_err(|error| error.to_string())?);
        }
        for (name, value) in said {
            headers.insert(name, HeaderValue::try_from(value).map_err(|error| error.to_string())?);
        }
        Ok(())
    }

    fn know(&self, definition: &str) {
        let Ok(definition) = Definition::read(definition) else { return };
        let Ok(params) = routing::params_of(&definition.input_schema) else { return };
        let mut known = self.0.borrow_mut();
        if known.len() < page::ITEMS_MAX || known.contains_key(&definition.name) {
            known.insert(definition.name, params);
        }
    }
}
