//! Which arguments of a tool are mirrored in headers? The `x-mcp-header` annotations of its schema, or what is wrong with
//! them (MCP 2026-07-28 basic/transports/streamable-http, Schema Extension).

use mcp::json::clip;
use serde_json::{Map, Value};

/// The annotated parameters of a tool whose `inputSchema` is `schema`.
///
/// # Errors
/// [`Invalid`]: the tool must be left out of `tools/list`, and an operator should read why.
pub fn params_of(schema: &Value) -> Result<Vec<ParamHeader>, Invalid> {
    let mut found = Vec::new();
    visit(schema, &Place::ROOT, &mut found)?;
    Ok(found)
}

/// Whether a tool whose definition is the JSON text `definition` may have annotations at all: most have none, and need not
/// be looked through.
#[must_use]
pub fn may_annotate(definition: &str) -> bool {
    // An escape may spell any name.
    definition.contains(ANNOTATION) || definition.contains("\\u")
}

/// A parameter that is mirrored in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamHeader {
    /// The keys that lead to it from `arguments`, at least one.
    pub path: Vec<String>,
    /// What follows `Mcp-Param-`, as the schema spells it.
    pub name: String,
    /// Its type.
    pub kind: Type,
}

/// The types a mirrored parameter may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `string`
    Text,
    /// `integer`
    Integer,
    /// `boolean`
    Flag,
}

/// Why a tool cannot be offered over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// `properties` alone lead to a parameter.
    #[error("`x-mcp-header` at `{0}` is not reached through `properties` alone")]
    Unreachable(String),
    /// It has to name a header.
    #[error("`x-mcp-header` at `{0}` must be 1 to 128 characters that a header name may hold")]
    Name(String),
    /// Only some types have one spelling.
    #[error("`x-mcp-header` at `{0}` needs the type string, integer or boolean")]
    Type(String),
    /// Header names have no case.
    #[error("`x-mcp-header` `{0}` is used twice")]
    Repeated(String),
    /// More than anybody reads.
    #[error("the schema is nested deeper than 128 levels, or has more than 64 `x-mcp-header`")]
    Excess,
}

impl ParamHeader {
    /// What follows `mcp-param-`, in lower case.
    #[must_use]
    pub fn lower(&self) -> String {
        self.name.to_ascii_lowercase()
    }
}

/// Where a schema is: a step from another place.
struct Place<'p> {
    before: Option<&'p Self>,
    /// A key of `properties`, or a keyword that leads astray.
    step: &'p str,
    reachable: bool,
    depth: usize,
}

impl<'p> Place<'p> {
    const ROOT: Self = Place { before: None, step: "", reachable: true, depth: 0 };

    /// A step through `properties`.
    const fn property(&'p self, key: &'p str) -> Self {
        Place { before: Some(self), step: key, reachable: self.reachable, depth: self.depth + 1 }
    }

    /// A step through anything else.
    const fn aside(&'p self, keyword: &'p str) -> Self {
        Place { before: Some(self), step: keyword, reachable: false, depth: self.depth + 1 }
    }

    fn path(&self) -> Vec<String> {
        let mut path: Vec<String> = std::iter::successors(Some(self), |place| place.before)
            .filter(|place| place.before.is_some())
            .map(|place| place.step.to_owned())
            .collect();
        path.reverse();
        path
    }

    fn spelled(&self) -> String {
        clip(&self.path().join(".")).to_owned()
    }
}

fn visit(schema: &Value, place: &Place<'_>, found: &mut Vec<ParamHeader>) -> Result<(), Invalid> {
    if place.depth > DEPTH_MAX {
        return Err(Invalid::Excess);
    }
    match schema {
        Value::Object(members) => visit_object(members, place, found),
        Value::Array(items) => items.iter().try_for_each(|item| visit(item, &place.aside("item"), found)),
        _ => Ok(()),
    }
}

fn visit_object(members: &Map<String, Value>, place: &Place<'_>, found: &mut Vec<ParamHeader>) -> Result<(), Invalid> {
    if let Some(annotation) = members.get(ANNOTATION) {
        let param = read(annotation, members.get("type"), place)?;
        if found.iter().any(|other| other.name.eq_ignore_ascii_case(&param.name)) {
            return Err(Invalid::Repeated(param.name));
        }
        if found.len() == FOUND_MAX {
            return Err(Invalid::Excess);
        }
        found.push(param);
    }
    for (keyword, value) in members {
        match (keyword.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                properties.iter().try_for_each(|(key, schema)| visit(schema, &place.property(key), found))?;
            }
            (keyword, Value::Object(schemas)) if SCHEMAS.contains(&keyword) => {
                let place = place.aside(keyword);
                schemas.iter().try_for_each(|(key, schema)| visit(schema, &place.aside(key), found))?;
            }
            (keyword, _) if DATA.contains(&keyword) => {}
            (keyword, value) => visit(value, &place.aside(keyword), found)?,
        }
    }
    Ok(())
}

fn read(annotation: &Value, kind: Option<&Value>, place: &Place<'_>) -> Result<ParamHeader, Invalid> {
    if !place.reachable || place.before.is_none() {
        return Err(Invalid::Unreachable(place.spelled()));
    }
    let name = annotation.as_str().filter(|name| is_token(name)).ok_or_else(|| Invalid::Name(place.spelled()))?;
    let kind = match kind.and_then(Value::as_str) {
        Some("string") => Type::Text,
        Some("integer") => Type::Integer,
        Some("boolean") => Type::Flag,
        _ => return Err(Invalid::Type(place.spelled())),
    };
    Ok(ParamHeader { path: place.path(), name: name.to_owned(), kind })
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=NAME_MAX_BYTES).contains(&text.len()) && text.bytes().all(is_tchar)
}

const ANNOTATION: &str = "x-mcp-header";
/// Keywords of JSON Schema 2020-12 and older drafts that hold schemas by name.
const SCHEMAS: [&str; 5] = ["$defs", "definitions", "patternProperties", "dependentSchemas", "dependencies"];
/// Keywords that hold data: what looks like an annotation there is none.
const DATA: [&str; 4] = ["const", "default", "enum", "examples"];
/// What `serde_json` reads.
const DEPTH_MAX: usize = 128;
const FOUND_MAX: usize = 64;
const NAME_MAX_BYTES: usize = 128;
