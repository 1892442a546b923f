//! What do the parameters of a call say of it? The members a gateway looks at, read once.

use std::borrow::Cow;

use serde::{Deserialize, de::Error as _};
use serde_json::value::RawValue;

use crate::{json, jsonrpc::Call, meta::Meta};

/// The members of `params` that say what is called, by whom and how; each as it was spelled. No member is named twice, and
/// none is one that some servers take for one of these.
#[derive(Clone, Debug, Default)]
pub struct Picked<'a> {
    /// The tool or prompt.
    pub name: Option<&'a RawValue>,
    /// The resource.
    pub uri: Option<&'a RawValue>,
    /// The task (MCP 2026-07-28, tasks extension).
    pub task_id: Option<&'a RawValue>,
    /// The tool's or prompt's arguments.
    pub arguments: Option<&'a RawValue>,
    /// The revision an `initialize` asks for.
    pub protocol_version: Option<&'a RawValue>,
    /// The prompt or resource a `completion/complete` is about.
    pub reference: Option<&'a RawValue>,
    /// Which program an `initialize` says it is.
    pub client_info: Option<&'a RawValue>,
    /// What was asked back, answered (MCP 2026-07-28 basic/patterns/mrtr).
    pub input_responses: Option<&'a RawValue>,
    /// What a server wants to see again.
    pub request_state: Option<&'a RawValue>,
    /// The metadata, as they were spelled.
    pub spelled_meta: Option<&'a RawValue>,
    /// The metadata, opened; `None` also for `null`.
    pub meta: Option<Meta<'a>>,
}

impl<'a> Picked<'a> {
    pub(crate) fn of(params: Option<&'a RawValue>) -> Result<Self, serde_json::Error> {
        let Some(params) = params else { return Ok(Self::default()) };
        let [
            name,
            uri,
            task_id,
            arguments,
            protocol_version,
            reference,
            client_info,
            input_responses,
            request_state,
            spelled_meta,
        ] = json::pick_of_few(params.get(), &NAMES)?;
        Ok(Self {
            name,
            uri,
            task_id,
            arguments,
            protocol_version,
            reference,
            client_info,
            input_responses,
            request_state,
            spelled_meta,
            meta: read(spelled_meta)?,
        })
    }
}

/// What is called, in types.
#[derive(Debug, Default)]
pub struct Params<'a> {
    /// The tool or prompt.
    pub name: Option<Cow<'a, str>>,
    /// The resource.
    pub uri: Option<Cow<'a, str>>,
    /// The tool's or prompt's arguments.
    pub arguments: Option<&'a RawValue>,
    /// The revision an `initialize` asks for.
    pub protocol_version: Option<Cow<'a, str>>,
    /// The prompt or resource a `completion/complete` is about.
    pub reference: Option<Reference<'a>>,
    /// Which program an `initialize` says it is.
    pub client_info: Option<ClientInfo<'a>>,
}

/// What a `completion/complete` is about (MCP 2025-11-25 server/utilities/completion).
#[derive(Debug, Deserialize)]
pub struct Reference<'a> {
    /// The prompt's name.
    #[serde(borrow)]
    pub name: Option<Cow<'a, str>>,
    /// The resource's URI, or the template of URIs.
    #[serde(borrow)]
    pub uri: Option<Cow<'a, str>>,
}

/// Which program a client says it is.
#[derive(Debug, Deserialize)]
pub struct ClientInfo<'a> {
    /// Its name.
    #[serde(borrow)]
    pub name: Option<Cow<'a, str>>,
}

impl<'a> Params<'a> {
    /// Reads the parameters of `call`.
    ///
    /// # Errors
    /// A member of the wrong type, one that is named twice, or one that some servers take for another.
    pub fn of(call: &Call<'a>) -> Result<Self, serde_json::Error> {
        let picked = call.picked()?;
        Ok(Self {
            name: text("name", picked.name)?,
            uri: text("uri", picked.uri)?,
            arguments: picked.arguments.filter(|raw| raw.get() != "null"),
            protocol_version: text("protocolVersion", picked.protocol_version)?,
            reference: read(picked.reference)?,
            client_info: read(picked.client_info)?,
        })
    }
}

fn text<'a>(name: &str, raw: Option<&'a RawValue>) -> Result<Option<Cow<'a, str>>, serde_json::Error> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else { return Ok(None) };
    let text = json::string(raw).ok_or_else(|| serde_json::Error::custom(format_args!("`{name}` must be a string")));
    text.map(Some)
}

fn read<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Result<Option<T>, serde_json::Error> {
    raw.map_or(Ok(None), |raw| serde_json::from_str(raw.get()))
}

const NAMES: [&str; 10] = [
    "name",
    "uri",
    "taskId",
    "arguments",
    "protocolVersion",
    "ref",
    "clientInfo",
    "inputResponses",
    "requestState",
    "_meta",
];
