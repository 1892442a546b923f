//! Which types do policies meet? The Cedar schema of a configuration, made of its servers and their tools' schemas.

use std::collections::BTreeMap;

use cedar_policy::{Schema, SchemaFragment};
use serde_json::{Map, Value, json};

use crate::{
    ask::{CALL_TOOL, DISCOVER, DISCOVERING, OTHER, READ, READING, Tool, any_tool, tool_action},
    catalog::{Catalog, CatalogServer},
    entity::{Kind, hints},
    shape::{Record, of_input, to_cedar},
};

/// The arguments of every tool that is known, by the id of its action.
pub(crate) type Inputs = BTreeMap<String, Record>;

/// What the tools of `catalog` take.
pub(crate) fn inputs(catalog: &Catalog) -> Inputs {
    let of_server = |server: &CatalogServer| {
        let input = |tool: &crate::CatalogTool| (tool_action(&server.name, &tool.name), of_input(&tool.input_schema));
        server.tools.iter().map(input).collect::<Vec<_>>()
    };
    catalog.servers.iter().flat_map(of_server).collect()
}

/// Which tools a schema tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Detail {
    /// All of them: for people, and for policies that read arguments of whole groups of tools.
    EveryTool,
    /// Those that policies name; all others of a server are one, without arguments. Validation takes time for each.
    NamedTools,
}

/// The schema in the JSON form Cedar reads. Of the tools only those of `servers` can be called in it; `named` are those
/// that policies name, as `(server, tool)`.
pub(crate) fn to_json<'a>(
    servers: impl IntoIterator<Item = &'a CatalogServer>,
    detail: Detail,
    named: &[(String, String)],
    inputs: &Inputs,
) -> Value {
    let mut actions = Map::new();
    for group in [CALL_TOOL, DISCOVER, READ] {
        actions.insert(group.to_owned(), json!({}));
    }
    for id in DISCOVERING {
        actions.insert(id.to_owned(), action(&[DISCOVER], &[Kind::Server], context(Map::new())));
    }
    for id in READING {
        let kinds: &[Kind] = match id {
            "get_prompt" => &[Kind::Prompt],
            "complete" => &[Kind::Prompt, Kind::Resource],
            _ => &[Kind::Resource],
        };
        actions.insert(id.to_owned(), action(&[READ], kinds, context(Map::new())));
    }
    let method = Map::from_iter([("method".to_owned(), json!({ "type": "String" }))]);
    actions.insert(OTHER.to_owned(), action(&[], &[Kind::Server], context(method)));
    for server in servers {
        add_tools(&mut actions, server, (detail, named), inputs);
    }
    json!({ "": { "entityTypes": entity_types(), "actions": actions } })
}

/// `json` as Cedar uses it.
///
/// # Errors
/// Cedar does not accept it: a name in the configuration that cannot stand in a schema.
pub(crate) fn compile(json: Value) -> Result<Schema, String> {
    Schema::from_json_value(json).map_err(|error| error.to_string())
}

/// `json` in Cedar's own notation, for people.
pub(crate) fn to_text(json: Value) -> Result<String, String> {
    let fragment = SchemaFragment::from_json_value(json).map_err(|error| error.to_string())?;
    // Cedar spells out that its types are its own; no type of ours has the name of one
    fragment.to_cedarschema().map(|text| text.replace("__cedar::", "")).map_err(|error| error.to_string())
}

fn add_tools(
    actions: &mut Map<String, Value>,
    server: &CatalogServer,
    (detail, named): (Detail, &[(String, String)]),
    inputs: &Inputs,
) {
    let none = Record::new();
    let any = any_tool(&server.name);
    let call = |input: &Record, groups: &[&str]| {
        action(groups, &[Kind::Tool], context(Map::from_iter([("arguments".to_owned(), to_cedar(input))])))
    };
    let stands_for_others = detail == Detail::NamedTools || !server.is_complete;
    let group =
        if stands_for_others { call(&none, &[CALL_TOOL]) } else { json!({ "memberOf": [{ "id": CALL_TOOL }] }) };
    actions.insert(any.clone(), group);
    let every = server.tools.iter().map(|tool| tool.name.as_str()).filter(|_| detail == Detail::EveryTool);
    let named = named.iter().filter(|(at, _)| *at == server.name).map(|(_, tool)| tool.as_str());
    for tool in every.chain(named) {
        let id = tool_action(&server.name, tool);
        let action = call(inputs.get(&id).unwrap_or(&none), &[&any]);
        actions.insert(id, action);
    }
}

fn action(groups: &[&str], resources: &[Kind], context: Value) -> Value {
    let groups: Vec<Value> = groups.iter().map(|group| json!({ "id": group })).collect();
    let resources: Vec<_> = resources.iter().map(|kind| kind.as_str()).collect();
    let applies_to =
        json!({ "principalTypes": [Kind::Agent.as_str()], "resourceTypes": resources, "context": context });
    json!({ "memberOf": groups, "appliesTo": applies_to })
}

fn context(mut more: Map<String, Value>) -> Value {
    let text = json!({ "type": "String" });
    more.insert("revision".to_owned(), text.clone());
    more.insert("client".to_owned(), json!({ "type": "String", "required": false }));
    more.insert("hour".to_owned(), json!({ "type": "Long" }));
    more.insert("trace".to_owned(), text);
    json!({ "type": "Record", "attributes": more })
}

fn entity_types() -> Value {
    let text = json!({ "type": "String" });
    let texts = json!({ "type": "Set", "element": text });
    let thing = |kind: Kind, key: &str| {
        let mut attributes = Map::from_iter([("server".to_owned(), text.clone()), (key.to_owned(), text.clone())]);
        let hints = hints(kind, Tool::default());
        attributes.extend(hints.into_iter().map(|(key, _)| (key.to_owned(), json!({ "type": "Boolean" }))));
        json!({ "memberOfTypes": ["Server"], "shape": { "type": "Record", "attributes": attributes } })
    };
    let agent = json!({ "tenant": text, "agent": text, "user": text, "issuer": text, "roles": texts, "scopes": texts });
    json!({
        "Tenant": {},
        "Role": {},
        "Agent": { "memberOfTypes": ["Tenant", "Role"], "shape": { "type": "Record", "attributes": agent } },
        "Server": { "shape": { "type": "Record", "attributes": { "name": text } } },
        "Tool": thing(Kind::Tool, "name"),
        "Prompt": thing(Kind::Prompt, "name"),
        "Resource": thing(Kind::Resource, "uri"),
    })
}
