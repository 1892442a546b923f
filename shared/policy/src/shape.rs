//! What do the arguments of a tool look like in Cedar? A JSON Schema, as far as Cedar's types can say it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The type of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Text,
    Long,
    Bool,
    Decimal,
    Set(Box<Shape>),
    Record(Record),
}

/// The properties of an object that Cedar can say; it may have others.
pub(crate) type Record = BTreeMap<String, Field>;

/// A property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) shape: Shape,
    pub(crate) presence: Presence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Required,
    /// It may be absent or null.
    Optional,
}

/// The arguments of the tool with this input schema: what cannot be said is left out.
pub(crate) fn of_input(schema: &Value) -> Record {
    let mut reader = Reader { root: schema, left: SHAPES_MAX };
    match reader.read(schema, 0) {
        Some(Read { shape: Shape::Record(record), .. }) => record,
        _ => Record::new(),
    }
}

/// The type in the JSON form of Cedar's schemas.
pub(crate) fn to_cedar(record: &Record) -> Value {
    let attributes: Map<String, Value> = record
        .iter()
        .map(|(name, Field { shape, presence })| {
            let mut attribute = shape.to_cedar();
            if let Value::Object(attribute) = &mut attribute {
                attribute.insert("required".to_owned(), json!(*presence == Presence::Required));
            }
            (name.clone(), attribute)
        })
        .collect();
    json!({ "type": "Record", "attributes": attributes })
}

impl Shape {
    fn to_cedar(&self) -> Value {
        match self {
            Self::Text => json!({ "type": "String" }),
            Self::Long => json!({ "type": "Long" }),
            Self::Bool => json!({ "type": "Boolean" }),
            Self::Decimal => json!({ "type": "Extension", "name": "decimal" }),
            Self::Set(element) => json!({ "type": "Set", "element": element.to_cedar() }),
            Self::Record(record) => to_cedar(record),
        }
    }

    /// In the words of JSON Schema.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Long => "an integer",
            Self::Bool => "a boolean",
            Self::Decimal => "a number",
            Self::Set(_) => "an array",
            Self::Record(_) => "an object",
        }
    }
}

/// A shape, and whether `null` may stand for it.
struct Read {
    shape: Shape,
    is_nullable: bool,
}

/// Reads schemas that refer to each other, to a bounded depth and number.
struct Reader<'a> {
    root: &'a Value,
    left: usize,
}

impl<'a> Reader<'a> {
    fn read(&mut self, schema: &'a Value, depth: usize) -> Option<Read> {
        self.left = self.left.checked_sub(1)?;
        if depth > DEPTH_MAX {
            return None;
        }
        let schema = schema.as_object()?;
        if let Some(reference) = schema.get("$ref") {
            let pointer = reference.as_str()?.strip_prefix('#')?;
            return self.read(self.root.pointer(pointer)?, depth + 1);
        }
        for key in ["anyOf", "oneOf", "allOf"] {
            if let Some(choices) = schema.get(key).and_then(Value::as_array) {
                return self.read_choices(choices, depth);
            }
        }
        let (name, is_nullable) = type_name(schema)?;
        let shape = match name {
            "string" => Shape::Text,
            "integer" => Shape::Long,
            "boolean" => Shape::Bool,
            "number" => Shape::Decimal,
            "array" => Shape::Set(Box::new(self.read(schema.get("items")?, depth + 1)?.shape)),
            "object" => Shape::Record(self.read_object(schema, depth)),
            _ => return None,
        };
        Some(Read { shape, is_nullable })
    }

    /// Alternatives that come down to one type, with or without null.
    fn read_choices(&mut self, choices: &'a [Value], depth: usize) -> Option<Read> {
        let is_null = |choice: &Value| choice.get("type").and_then(Value::as_str) == Some("null");
        let mut is_nullable = choices.iter().any(is_null);
        let mut one = None;
        for choice in choices.iter().filter(|choice| !is_null(choice)) {
            let read = self.read(choice, depth + 1)?;
            is_nullable |= read.is_nullable;
            if one.get_or_insert_with(|| read.shape.clone()) != &read.shape {
                return None;
            }
        }
        Some(Read { shape: one?, is_nullable })
    }

    fn read_object(&mut self, schema: &'a Map<String, Value>, depth: usize) -> Record {
        let required: Vec<&str> = match schema.get("required") {
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let Some(Value::Object(properties)) = schema.get("properties") else { return Record::new() };
        let field = |(name, schema): (&String, &'a Value)| {
            let Read { shape, is_nullable } = self.read(schema, depth + 1)?;
            let is_required = !is_nullable && required.contains(&name.as_str());
            let presence = if is_required { Presence::Required } else { Presence::Optional };
            Some((name.clone(), Field { shape, presence }))
        };
        properties.iter().filter_map(field).collect()
    }
}

/// The one type a schema has, and whether it may be null instead.
fn type_name(schema: &Map<String, Value>) -> Option<(&str, bool)> {
    match schema.get("type") {
        Some(Value::String(name)) => Some((name, false)),
        Some(Value::Array(names)) => {
            let mut others = names.iter().filter_map(Value::as_str).filter(|&name| name != "null");
            let one = others.next()?;
            others.next().is_none().then(|| (one, names.iter().any(|name| name == "null")))
        }
        Some(_) => None,
        None if schema.contains_key("properties") => Some(("object", false)),
        None => match schema.get("enum") {
            Some(Value::Array(values)) => same_type(values),
            _ => same_type(std::slice::from_ref(schema.get("const")?)),
        },
    }
}

/// The type all of `values` have.
fn same_type(values: &[Value]) -> Option<(&'static str, bool)> {
    let mut names = values.iter().filter(|value| !value.is_null()).map(|value| match value {
        Value::String(_) => Some("string"),
        Value::Bool(_) => Some("boolean"),
        Value::Number(number) if number.is_i64() => Some("integer"),
        _ => None,
    });
    let one = names.next()??;
    names.all(|name| name == Some(one)).then(|| (one, values.iter().any(Value::is_null)))
}

/// How deep types may nest, references included.
const DEPTH_MAX: usize = 8;
/// How many schemas are read for one tool, references included: what repeats itself is cut there.
const SHAPES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(schema: &Value) -> String {
        fn of(shape: &Shape) -> String {
            match shape {
                Shape::Text => "String".to_owned(),
                Shape::Long => "Long".to_owned(),
                Shape::Bool => "Bool".to_owned(),
                Shape::Decimal => "decimal".to_owned(),
                Shape::Set(element) => format!("Set<{}>", of(element)),
                Shape::Record(record) => of_record(record),
            }
        }
        fn of_record(record: &Record) -> String {
            let fields = record.iter().map(|(name, field)| {
                let mark = if field.presence == Presence::Optional { "?" } else { "" };
                format!("{name}{mark}:{}", of(&field.shape))
            });
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        of_record(&of_input(schema))
    }

    #[test]
    fn every_type_that_cedar_has_is_said_and_no_other() {
        let schema = json!({ "type": "object", "required": ["path", "count", "maybe"], "properties": {
            "path": { "type": "string" }, "count": { "type": "integer" }, "ratio": { "type": "number" },
            "dry": { "type": "boolean" }, "tags": { "type": "array", "items": { "type": "string" } },
            "maybe": { "anyOf": [{ "type": "string" }, { "type": "null" }] },
            "old": { "type": ["integer", "null"] }, "level": { "enum": ["low", "high"] },
            "where": { "$ref": "#/$defs/where" }, "either": { "type": ["string", "integer"] },
            "mixed": { "anyOf": [{ "type": "string" }, { "type": "integer" }] }, "any": true,
            "tuple": { "type": "array", "prefixItems": [{ "type": "string" }] }, "elsewhere": { "$ref": "https://a.b/c" },
        }, "$defs": { "where": { "type": "object", "properties": { "city": { "type": "string" } } } } });
        assert_eq!(
            text(&schema),
            "{count:Long,dry?:Bool,level?:String,maybe?:String,old?:Long,path:String,ratio?:decimal,tags?:Set<String>,\
             where?:{city?:String}}"
        );
    }

    #[test]
    fn a_schema_that_contains_itself_ends() {
        let node = json!({ "type": "object", "properties": {
            "left": { "$ref": "#/$defs/node" }, "right": { "$ref": "#/$defs/node" }, "key": { "type": "string" } } });
        let schema = json!({ "$ref": "#/$defs/node", "$defs": { "node": node } });
        assert!(text(&schema).contains("key?:String"));
        assert_eq!(text(&json!({ "$ref": "#" })), "{}");
    }

    #[test]
    fn what_is_no_object_has_no_arguments() {
        for schema in [Value::Null, json!(true), json!([]), json!({ "type": "string" }), json!({ "type": "object" })] {
            assert_eq!(text(&schema), "{}");
        }
    }
}
