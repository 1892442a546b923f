//! Which tools are not offered to those who repeat arguments in headers? Those whose schema says that in a way nobody can
//! follow (MCP 2026-07-28 basic/transports/streamable-http, Schema Extension).

use std::rc::Rc;

use bridge::{
    claim::Claim,
    routing::{self, Invalid, ParamHeader},
};
use mcp::{
    definition::Definition,
    digest,
    json::clip,
    page::{Item, Kind},
};
use registry::Server;

use crate::{definitions::Place, pipeline::Passing, platform::Platform, refusal::Refusal, serve::Gateway};

/// The arguments of a tool that are repeated in headers, or what is wrong with how its schema says so.
pub(crate) type Annotated = Result<Rc<[ParamHeader]>, Invalid>;

/// What the definition spelled `raw` says of headers.
pub(crate) fn annotated(raw: &str, definition: &Definition) -> Annotated {
    match routing::may_annotate(raw) {
        true => routing::params_of(&definition.input_schema).map(Into::into),
        false => Ok(Rc::default()),
    }
}

impl Passing<'_> {
    /// Whether its caller repeats arguments in headers, or the gateway does so for it.
    pub(crate) fn repeats_arguments(&self) -> bool {
        matches!(self.claim, Claim::Modern(_)) || self.arrival.aim.federated.is_some()
    }

    /// Whether a list of `kinds` has to be looked through for tools that are unfit.
    pub(crate) fn may_list_unfit(&self, kinds: &[Kind]) -> bool {
        kinds.contains(&Kind::Tools) && self.repeats_arguments()
    }
}

impl<P: Platform> Gateway<P> {
    /// Whether `item` may not be offered, whoever asks. Said once to the operator.
    pub(crate) fn is_unfit(&self, passing: &Passing<'_>, place: &Place, item: &Item<'_>) -> bool {
        if item.kind != Kind::Tools || !passing.repeats_arguments() || !routing::may_annotate(item.raw) {
            return false;
        }
        let Ok(definition) = Definition::read(item.raw) else { return true };
        match annotated(item.raw, &definition) {
            Ok(_) => false,
            Err(invalid) => {
                self.report_unfit(place.server(), &definition, &invalid);
                true
            }
        }
    }

    /// Which arguments of a tool are repeated in headers, where that is known.
    ///
    /// # Errors
    /// [`Refusal::NoTool`]: it is known that nobody can tell.
    pub(crate) fn params_of(&self, server: &Server, tool: &str) -> Result<Option<Rc<[ParamHeader]>>, Refusal> {
        let known = self.memory.0.borrow().offers.get(&server.name).and_then(|offers| offers.params(tool));
        known.transpose().map_err(|_| Refusal::NoTool(clip(tool).to_owned(), None))
    }

    fn report_unfit(&self, server: &Server, definition: &Definition, invalid: &Invalid) {
        let mark = digest::sha256(&[&definition.digest[..], b"x-mcp-header"].concat());
        let key = (server.name.clone(), definition.name.clone(), mark);
        if self.memory.0.borrow_mut().found.put(key, ()).is_none() {
            let (server, tool) = (&server.name, clip(&definition.name));
            self.platform.log(&format!("the tool `{tool}` of `{server}` is not offered to modern callers: {invalid}"));
        }
    }
}
