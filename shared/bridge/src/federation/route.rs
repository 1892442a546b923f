//! To which server does a request go, and what is it there?

use mcp::{Call, json, jsonrpc::code, page::Kind};

use super::view::{Found, View};
use crate::text::{self, Members};

/// Says where `call` goes.
///
/// # Errors
/// [`Unroutable`]
pub fn route(view: &View, call: &Call<'_>) -> Result<Way, Unroutable> {
    let method = call.method.as_ref();
    if let Some(kind) = Kind::of_method(method) {
        return Ok(Way::List(kind));
    }
    match method {
        "server/discover" => Ok(Way::Discover),
        "subscriptions/listen" => Ok(Way::Listen),
        "tools/call" => named(view, call, Kind::Tools),
        "prompts/get" => named(view, call, Kind::Prompts),
        "resources/read" => resource(view, call),
        COMPLETE => completion(view, call),
        _ => Err(Unroutable::Method(json::clip(method).to_owned())),
    }
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// To one server.
    One(Routed),
    /// To one server, as soon as it is known which of its tools or prompts is meant.
    Search(Search),
    /// To every server that has such a list: see [`list`](super::list).
    List(Kind),
    /// To every server: see [`discover`](super::discover).
    Discover,
    /// To every server that has what is to be heard: see [`listen`](super::listen).
    Listen,
}

/// A request as one server is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    /// Which.
    pub server: String,
    /// What is called there: a tool's or prompt's name, or a resource's URI.
    pub key: String,
    /// The message.
    pub body: String,
}

/// A tool or prompt whose name was shortened: whoever asks lists the server's, and tries each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The server to list.
    pub server: String,
    /// What to list.
    pub kind: Kind,
    text: String,
}

/// Why a request goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unroutable {
    /// There is no such tool or prompt (MCP 2026-07-28 server/tools, Error Handling).
    #[error("there is no {0} `{1}`")]
    Name(&'static str, String),
    /// There is no such resource (MCP 2026-07-28 server/resources, Error Handling).
    #[error("there is no resource `{}`", json::clip(.0))]
    Resource(String),
    /// The parameters cannot be read, or are none of this method's.
    #[error("{0}")]
    Params(String),
    /// The method is unknown.
    #[error("the method `{0}` is unknown")]
    Method(String),
}

impl Unroutable {
    /// The JSON-RPC error code.
    #[must_use]
    pub const fn code(&self) -> i64 {
        match self {
            Self::Method(_) => code::METHOD_NOT_FOUND,
            Self::Name(..) | Self::Resource(_) | Self::Params(_) => code::INVALID_PARAMS,
        }
    }

    /// The JSON-RPC response to the request `id`, a JSON text.
    #[must_use]
    pub fn response(&self, id: &str) -> String {
        let data = match self {
            Self::Resource(uri) => Some(["{\"uri\":", &text::quoted(uri), "}"].concat()),
            Self::Name(..) | Self::Params(_) | Self::Method(_) => None,
        };
        text::error(id, self.code(), &self.to_string(), data.as_deref())
    }
}

impl Search {
    /// Which of `names`, as the server lists them, is meant.
    #[must_use]
    pub fn found<'n>(&self, view: &View, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
        let is_meant = |name: &&str| view.called(self.kind, &self.server, name).as_ref() == Some(&self.text);
        names.into_iter().find(is_meant)
    }

    /// `call`, the request that is searched for, now that [`Search::found`] found `name`; or did not.
    ///
    /// # Errors
    /// [`Unroutable::Name`] if there is none.
    pub fn routed(&self, call: &Call<'_>, name: Option<&str>) -> Result<Routed, Unroutable> {
        let name = name.ok_or_else(|| unknown(self.kind, &self.text))?;
        let mut params = params(call, &["name", "ref"])?;
        if call.method == COMPLETE {
            // What could be wrong with it was found when it was searched for.
            let named = params.edit("ref", |reference| reference.set("name", text::quoted(name)));
            named.map_err(|error| Unroutable::Params(error.to_string()))?;
        } else {
            params.set("name", text::quoted(name));
        }
        Ok(Routed { server: self.server.clone(), key: name.to_owned(), body: with_params(call, &params)? })
    }
}

/// The message `call` with other parameters.
pub(super) fn with_params(call: &Call<'_>, params: &Members<'_>) -> Result<String, Unroutable> {
    let mut message = Members::parse(call.raw).map_err(|error| Unroutable::Params(error.to_string()))?;
    message.set("params", params.write());
    Ok(message.write())
}

fn named(view: &View, call: &Call<'_>, kind: Kind) -> Result<Way, Unroutable> {
    let mut params = params(call, &["name"])?;
    let text = member(&params, "name")?;
    match view.named(kind, &text).ok_or_else(|| unknown(kind, &text))? {
        Found::Short { server } => Ok(Way::Search(Search { server, kind, text })),
        Found::Whole { server, name } => {
            params.set("name", text::quoted(&name));
            Ok(Way::One(Routed { server, key: name, body: with_params(call, &params)? }))
        }
    }
}

fn resource(view: &View, call: &Call<'_>) -> Result<Way, Unroutable> {
    let mut params = params(call, &["uri"])?;
    let text = member(&params, "uri")?;
    let (server, uri) = view.resource(&text).ok_or_else(|| Unroutable::Resource(text.clone()))?;
    params.set("uri", text::quoted(uri));
    Ok(Way::One(Routed { server: server.to_owned(), key: uri.to_owned(), body: with_params(call, &params)? }))
}

/// What is completed decides: an argument of a prompt, or a variable of a template.
fn completion(view: &View, call: &Call<'_>) -> Result<Way, Unroutable> {
    let mut params = params(call, &["ref"])?;
    let mut reference = params.object("ref").map_err(|error| Unroutable::Params(error.to_string()))?;
    reference.plain(&["type", "name", "uri"]).map_err(|error| Unroutable::Params(error.to_string()))?;
    let (server, key) = match member(&reference, "type")?.as_str() {
        "ref/prompt" => {
            let text = member(&reference, "name")?;
            match view.named(Kind::Prompts, &text).ok_or_else(|| unknown(Kind::Prompts, &text))? {
                Found::Whole { server, name } => {
                    reference.set("name", text::quoted(&name));
                    (server, name)
                }
                Found::Short { server } => return Ok(Way::Search(Search { server, kind: Kind::Prompts, text })),
            }
        }
        "ref/resource" => {
            let text = member(&reference, "uri")?;
            let (server, uri) = view.resource(&text).ok_or_else(|| Unroutable::Resource(text.clone()))?;
            reference.set("uri", text::quoted(uri));
            (server.to_owned(), uri.to_owned())
        }
        other => {
            return Err(Unroutable::Params(format!(
                "`ref.type` is `{}`: it is `ref/prompt` or `ref/resource`",
                json::clip(other)
            )));
        }
    };
    let reference = reference.write();
    params.set("ref", reference);
    Ok(Way::One(Routed { server, key, body: with_params(call, &params)? }))
}

/// The parameters of `call`, if nobody can take another member for one of `names`.
fn params<'a>(call: &Call<'a>, names: &[&'static str]) -> Result<Members<'a>, Unroutable> {
    let params = Members::parse(call.params.map_or("{}", |params| params.get()));
    let params = params.map_err(|error| Unroutable::Params(error.to_string()))?;
    params.plain(names).map_err(|error| Unroutable::Params(error.to_string()))?;
    Ok(params)
}

fn member(members: &Members<'_>, name: &str) -> Result<String, Unroutable> {
    let text = members.string(name).ok_or_else(|| Unroutable::Params(format!("`{name}` must be a string")))?;
    Ok(text.into_owned())
}

fn unknown(kind: Kind, text: &str) -> Unroutable {
    let what = if kind == Kind::Prompts { "prompt" } else { "tool" };
    Unroutable::Name(what, json::clip(text).to_owned())
}

const COMPLETE: &str = "completion/complete";
