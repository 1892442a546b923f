//! What does a server say its tool is? One definition of a `tools/list` result, its digest and its hints.
//!
//! A definition is what a model reads and an operator approves: its digest must change whenever its meaning does, and
//! must not when only its spelling does.

use serde_json::{Map, Value};

use crate::{
    canonical,
    digest::{Sha256Digest, sha256},
    json,
};

/// A tool as its server defines it (MCP 2025-11-25 server/tools, Tool).
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// The name calls use; at most [`NAME_MAX_BYTES`] long.
    pub name: String,
    /// What its annotations say of its effects.
    pub hints: Hints,
    /// The JSON Schema of its arguments: an object, empty where the server gave none.
    pub input_schema: Value,
    /// SHA-256 over the canonical JSON of those of [`DIGESTED`] that are there.
    pub digest: Sha256Digest,
}

/// What a tool's annotations say of its effects (MCP 2025-03-26 server/tools, ToolAnnotations). They are the server's own
/// word: what is absent, or no boolean, has the default, which assumes the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hints {
    /// It changes nothing. Default: false.
    pub read_only: bool,
    /// It may destroy something; means nothing where it is read-only. Default: true.
    pub destructive: bool,
    /// Once more with the same arguments changes nothing more. Default: false.
    pub idempotent: bool,
    /// It touches more than its own closed world. Default: true.
    pub open_world: bool,
}

/// Why a definition cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Larger than [`DEFINITION_MAX_BYTES`].
    #[error("a tool definition has {0} bytes, at most {DEFINITION_MAX_BYTES} are read")]
    TooLarge(usize),
    /// Not JSON, nested too deep, or a key named twice.
    #[error("a tool definition cannot be read: {0}")]
    Json(String),
    /// A member that is missing or of the wrong type.
    #[error("the definition of tool `{tool}` {what}")]
    Member {
        /// The tool, as far as it has a name.
        tool: String,
        /// What is wrong with which member.
        what: String,
    },
}

impl Definition {
    /// Reads one item of `result.tools`, or of a file of pins.
    ///
    /// # Errors
    /// [`Unusable`]; also where a member reads like one that counts but is spelled otherwise (`Description`), because
    /// some clients do not tell them apart.
    pub fn read(text: &str) -> Result<Self, Unusable> {
        if text.len() > DEFINITION_MAX_BYTES {
            return Err(Unusable::TooLarge(text.len()));
        }
        let Value::Object(members) = json::strict(text).map_err(|error| Unusable::Json(error.to_string()))? else {
            return Err(Unusable::Json("it is no object".to_owned()));
        };
        let name = named(&members)?;
        let wrong = |what: String| Unusable::Member { tool: json::clip(&name).to_owned(), what };
        if let Some(key) = members.keys().find(|key| DIGESTED.iter().any(|one| json::is_disguised(key, one))) {
            return Err(wrong(format!("has `{}`, which some clients read as another member", json::clip(key))));
        }
        let hints = match members.get("annotations") {
            None => Hints::default(),
            Some(Value::Object(annotations)) => Hints::of(annotations).map_err(&wrong)?,
            Some(_) => return Err(wrong("needs an object as `annotations`".to_owned())),
        };
        let input_schema = match members.get("inputSchema") {
            None => Value::Object(Map::new()),
            Some(schema @ Value::Object(_)) => schema.clone(),
            Some(_) => return Err(wrong("needs an object as `inputSchema`".to_owned())),
        };
        let digest = digest(&members);
        Ok(Self { name, hints, input_schema, digest })
    }
}

impl Default for Hints {
    fn default() -> Self {
        Self { read_only: false, destructive: true, idempotent: false, open_world: true }
    }
}

impl Hints {
    fn of(annotations: &Map<String, Value>) -> Result<Self, String> {
        if let Some(key) = annotations.keys().find(|key| HINTS.iter().any(|one| json::is_disguised(key, one))) {
            return Err(format!("has the annotation `{}`, which some clients read as another", json::clip(key)));
        }
        let [read_only, destructive, idempotent, open_world] =
            HINTS.map(|hint| annotations.get(hint).and_then(Value::as_bool));
        let default = Self::default();
        Ok(Self {
            read_only: read_only.unwrap_or(default.read_only),
            destructive: destructive.unwrap_or(default.destructive),
            idempotent: idempotent.unwrap_or(default.idempotent),
            open_world: open_world.unwrap_or(default.open_world),
        })
    }
}

fn named(members: &Map<String, Value>) -> Result<String, Unusable> {
    let wrong = |what: &str| Unusable::Member { tool: "?".to_owned(), what: what.to_owned() };
    match members.get("name") {
        Some(Value::String(name)) if (1..=NAME_MAX_BYTES).contains(&name.len()) => Ok(name.clone()),
        Some(Value::String(_)) => Err(wrong("needs a `name` of 1 to 256 bytes")),
        _ => Err(wrong("needs a `name`")),
    }
}

fn digest(members: &Map<String, Value>) -> Sha256Digest {
    let counted = DIGESTED.iter().filter_map(|key| members.get(*key).map(|value| (*key, value)));
    sha256(canonical::object(counted).as_bytes())
}

/// The members the digest covers: what a model reads, and what a caller relies on.
pub const DIGESTED: [&str; 6] = ["name", "title", "description", "inputSchema", "outputSchema", "annotations"];
/// Larger definitions are not read.
pub const DEFINITION_MAX_BYTES: usize = 256 * 1024;
/// Longer names are not read.
pub const NAME_MAX_BYTES: usize = 256;

const HINTS: [&str; 4] = ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"];
#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Definition {
        Definition::read(&value.to_string()).unwrap()
    }

    #[test]
    fn hints_assume_the_worst_where_nothing_is_said() {
        let silent = read(&json!({"name": "a", "inputSchema": {"type": "object"}}));
        assert_eq!(silent.hints, Hints { read_only: false, destructive: true, idempotent: false, open_world: true });
        let odd = read(&json!({"name": "a", "annotations": {"readOnlyHint": "true", "destructiveHint": 0}}));
        assert_eq!(odd.hints, Hints::default());
        let said =
            json!({"readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false});
        let said = read(&json!({"name": "a", "annotations": said}));
        assert_eq!(said.hints, Hints { read_only: true, destructive: false, idempotent: true, open_world: false });
    }

    #[test]
    fn spelling_does_not_count_and_meaning_does() {
        let one = r#"{"name":"a","description":"é","inputSchema":{"type":"object","maximum":1,"minimum":0.5}}"#;
        let same = [
            r#" { "inputSchema" : {"minimum":5e-1, "maximum":1.0,"type":"object"},"name":"a","description":"\u00e9"} "#,
            r#"{"name":"a","description":"é","inputSchema":{"type":"object","maximum":10e-1,"minimum":0.50},"_meta":{"x":1},"icons":[]}"#,
        ];
        let digest = |text: &str| Definition::read(text).unwrap().digest;
        assert!(same.iter().all(|other| digest(other) == digest(one)));
        for other in [
            r#"{"name":"b","description":"é","inputSchema":{"type":"object","maximum":1,"minimum":0.5}}"#,
            r#"{"name":"a","description":"è","inputSchema":{"type":"object","maximum":1,"minimum":0.5}}"#,
            r#"{"name":"a","description":"é","inputSchema":{"type":"object","maximum":2,"minimum":0.5}}"#,
            r#"{"name":"a","description":"é","inputSchema":{"type":"object","maximum":"1","minimum":0.5}}"#,
            r#"{"name":"a","description":"é","title":"t","inputSchema":{"type":"object","maximum":1,"minimum":0.5}}"#,
            r#"{"name":"a","description":"é","outputSchema":{},"inputSchema":{"type":"object","maximum":1,"minimum":0.5}}"#,
            r#"{"name":"a","description":"é","annotations":{},"inputSchema":{"type":"object","maximum":1,"minimum":0.5}}"#,
        ] {
            assert_ne!(digest(other), digest(one), "{other}");
        }
    }

    #[test]
    fn what_cannot_be_trusted_to_mean_one_thing_is_refused() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"name":""}"#,
            r#"{"name":1}"#,
            r#"{"name":"a","name":"b"}"#,
            r#"{"name":"a","inputSchema":[]}"#,
            r#"{"name":"a","annotations":true}"#,
            r#"{"name":"a","Description":"for other readers"}"#,
            r#"{"name":"a","annotation\u017f":{}}"#,
            r#"{"name":"a","annotations":{"ReadOnlyHint":true}}"#,
        ] {
            assert!(Definition::read(text).is_err(), "{text}");
        }
        let long = json!({"name": "n".repeat(NAME_MAX_BYTES + 1)});
        assert!(Definition::read(&long.to_string()).is_err());
        let large = json!({"name": "a", "description": "d".repeat(DEFINITION_MAX_BYTES)}).to_string();
        assert_eq!(Definition::read(&large), Err(Unusable::TooLarge(large.len())));
        let deep = format!(r#"{{"name":"a","inputSchema":{{"x":{}{}}}}}"#, "[".repeat(2_000), "]".repeat(2_000));
        assert!(matches!(Definition::read(&deep), Err(Unusable::Json(_))));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e6_f64..1e6).prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{1,4}", inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// `value` written with its keys backwards, white space everywhere and its integers as fractions, as
    /// far as a double holds them exactly.
    fn disguised(value: &Value) -> String {
        match value {
            Value::Object(members) => {
                let members = members.iter().rev().map(|(key, value)| format!("{} : {}", json!(key), disguised(value)));
                format!("{{ {}\n}}", members.collect::<Vec<_>>().join(" ,\t"))
            }
            Value::Array(items) => format!("[ {} ]", items.iter().map(disguised).collect::<Vec<_>>().join(" , ")),
            Value::Number(number) if number.as_i64().is_some_and(|it| it.abs() < 1 << 49) => format!("{number}.0e+0"),
            other => other.to_string(),
        }
    }

    proptest! {
        #[test]
        fn reordering_and_white_space_leave_the_digest(schema in any_json(), output in any_json(), text in ".{0,20}") {
            let value = json!({"name": "t", "description": text, "inputSchema": {"s": schema}, "outputSchema": output});
            prop_assert_eq!(Definition::read(&disguised(&value)).unwrap().digest, read(&value).digest);
        }

        #[test]
        fn different_values_have_different_digests(one in any_json(), other in any_json()) {
            let [a, b] = [&one, &other].map(|schema| read(&json!({"name": "t", "inputSchema": {"s": schema}})).digest);
            prop_assert_eq!(a == b, one == other);
        }

        #[test]
        fn garbage_does_not_panic(text in ".{0,200}") {
            let _ = Definition::read(&text);
        }
    }
}
