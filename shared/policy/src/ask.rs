//! What is asked? Who wants to do what to which thing, with which arguments, under which circumstances.

use std::collections::BTreeSet;

use serde_json::Value;

/// One question for the policies.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// The principal.
    pub who: Who<'a>,
    /// What it wants to do.
    pub action: Action<'a>,
    /// The name of the server it is done at.
    pub server: &'a str,
    /// What the server says of the tool that is called; `None` for anything else, and where nothing is known.
    pub tool: Option<Tool>,
    /// The arguments of a call, read strictly ([`mcp::json::strict`]).
    pub arguments: Option<&'a Value>,
    /// What else is known of the request.
    pub circumstances: Circumstances<'a>,
}

/// The principal: an agent of a tenant, on behalf of a user.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// The organisation.
    pub tenant: &'a str,
    /// The program that calls.
    pub agent: &'a str,
    /// On whose behalf.
    pub user: &'a str,
    /// Who vouches for it.
    pub issuer: &'a str,
    /// What the issuer calls the user.
    pub roles: &'a BTreeSet<String>,
    /// What the token was granted.
    pub scopes: &'a BTreeSet<String>,
}

/// What is done: one for each method of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// `initialize`, or `server/discover` in revisions without sessions.
    OpenSession,
    /// DELETE of the session.
    EndSession,
    /// The stream of a GET, or `subscriptions/listen` in revisions without sessions.
    Listen,
    /// `ping`.
    Ping,
    /// A notification.
    Notify,
    /// `logging/setLevel`.
    SetLogLevel,
    /// `tools/list`.
    ListTools,
    /// `prompts/list`.
    ListPrompts,
    /// `resources/list`.
    ListResources,
    /// `resources/templates/list`.
    ListTemplates,
    /// `tools/call` of the tool of this name.
    CallTool(&'a str),
    /// `resources/read` of this URI; a template is asked for by its `uriTemplate`.
    ReadResource(&'a str),
    /// `resources/subscribe` to this URI.
    Subscribe(&'a str),
    /// `resources/unsubscribe` from this URI.
    Unsubscribe(&'a str),
    /// `prompts/get` of the prompt of this name.
    GetPrompt(&'a str),
    /// `completion/complete` for this.
    Complete(Reference<'a>),
    /// The answer to a request of the server.
    Respond,
    /// A method this gateway does not know.
    Other(&'a str),
}

impl<'a> Action<'a> {
    /// The action of a message: its method, and the tool, prompt or resource it names. A completion is about a resource
    /// where that is a URI.
    #[must_use]
    pub fn of_method(method: &'a str, target: &'a str) -> Self {
        match method {
            "initialize" | "server/discover" => Self::OpenSession,
            "subscriptions/listen" => Self::Listen,
            "ping" => Self::Ping,
            "logging/setLevel" => Self::SetLogLevel,
            "tools/list" => Self::ListTools,
            "prompts/list" => Self::ListPrompts,
            "resources/list" => Self::ListResources,
            "resources/templates/list" => Self::ListTemplates,
            "tools/call" => Self::CallTool(target),
            "resources/read" => Self::ReadResource(target),
            "resources/subscribe" => Self::Subscribe(target),
            "resources/unsubscribe" => Self::Unsubscribe(target),
            "prompts/get" => Self::GetPrompt(target),
            "completion/complete" if target.contains("://") => Self::Complete(Reference::Resource(target)),
            "completion/complete" => Self::Complete(Reference::Prompt(target)),
            method if method.starts_with("notifications/") => Self::Notify,
            method => Self::Other(method),
        }
    }
}

/// What a completion is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    /// The prompt of this name.
    Prompt(&'a str),
    /// The resource of this URI or template.
    Resource(&'a str),
}

impl<'a> Action<'a> {
    /// The id of the action in policies. One that calls a tool has an action of its own: [`tool_action`].
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::OpenSession => "open_session",
            Self::EndSession => "end_session",
            Self::Listen => "listen",
            Self::Ping => "ping",
            Self::Notify => "notify",
            Self::SetLogLevel => "set_log_level",
            Self::ListTools => "list_tools",
            Self::ListPrompts => "list_prompts",
            Self::ListResources => "list_resources",
            Self::ListTemplates => "list_templates",
            Self::CallTool(_) => CALL_TOOL,
            Self::ReadResource(_) => "read_resource",
            Self::Subscribe(_) => "subscribe",
            Self::Unsubscribe(_) => "unsubscribe",
            Self::GetPrompt(_) => "get_prompt",
            Self::Complete(_) => "complete",
            Self::Respond => "respond",
            Self::Other(_) => OTHER,
        }
    }

    /// The method, where the gateway does not know it.
    pub(crate) const fn method(self) -> Option<&'a str> {
        match self {
            Self::Other(method) => Some(method),
            _ => None,
        }
    }
}

/// The id of the action that calls `tool` of `server`.
pub(crate) fn tool_action(server: &str, tool: &str) -> String {
    format!("{server}/{tool}")
}

/// The group of every tool of `server`, and the action that stands for those of them no policy and no catalog names.
pub(crate) fn any_tool(server: &str) -> String {
    format!("{server}/*")
}

/// What is known of a tool beside its name. What a server says of its own tools is a hint (MCP 2025-06-18 server/tools):
/// trust it from a server you trust, or where the definition is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// `readOnlyHint`: it changes nothing.
    pub read_only: bool,
    /// `destructiveHint`: what it changes may be lost.
    pub destructive: bool,
    /// `idempotentHint`: calling it again changes nothing more.
    pub idempotent: bool,
    /// `openWorldHint`: it reaches beyond the server.
    pub open_world: bool,
    /// Its definition is the approved one.
    pub pinned: bool,
}

/// What else is known of a request.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The protocol revision, such as `2025-11-25`.
    pub revision: &'a str,
    /// What the client calls itself, where it said so.
    pub client: Option<&'a str>,
    /// The hour of the day in UTC, 0 to 23.
    pub hour: u8,
    /// The id of the trace, 32 hexadecimal digits.
    pub trace: &'a str,
}

impl Default for Tool {
    /// What a definition without annotations means (MCP 2025-06-18 schema, `ToolAnnotations`), not pinned.
    fn default() -> Self {
        Self { read_only: false, destructive: true, idempotent: false, open_world: true, pinned: false }
    }
}

/// The group of every action that calls a tool.
pub(crate) const CALL_TOOL: &str = "call_tool";
/// The group of what only looks around: sessions, streams, lists.
pub(crate) const DISCOVER: &str = "discover";
/// The group of what reads resources and prompts.
pub(crate) const READ: &str = "read";
/// The action of a method the gateway does not know.
pub(crate) const OTHER: &str = "other";
/// The actions in [`DISCOVER`]; what they are done to is the server.
pub(crate) const DISCOVERING: [&str; 11] = [
    "open_session",
    "end_session",
    "listen",
    "ping",
    "notify",
    "respond",
    "set_log_level",
    "list_tools",
    "list_prompts",
    "list_resources",
    "list_templates",
];
/// The actions in [`READ`]; what they are done to is a resource or a prompt.
pub(crate) const READING: [&str; 5] = ["read_resource", "subscribe", "unsubscribe", "get_prompt", "complete"];
