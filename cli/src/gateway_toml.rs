//! What stands in `gateway.toml`, and which of its keys are not what they should be? All of them, not the first.
//!
//! serde says what is wrong with the first key it cannot take, and where. That key is noted and taken out, and the rest
//! is read again, until nothing is left to say: so the keys are known in one place, `gateway::config::Raw`.

use std::ops::Range;

use gateway::config::Raw;
use serde::Deserialize;
use serde_spanned::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

use crate::diagnostic::Diagnostic;

/// The file, as far as it can be read.
pub(crate) struct Reading<'a> {
    /// What stands in it, without what could not be taken; `None` if it is no TOML, or lacks what all else hangs on.
    pub(crate) raw: Option<Raw>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The keys that are not as they were written; what is said of them later would be said of nobody's file.
    damaged: Vec<String>,
    table: Spanned<DeTable<'a>>,
}

/// Reads `text`.
pub(crate) fn read(text: &str) -> Reading<'_> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reading = Reading { raw: None, diagnostics: Vec::new(), damaged: Vec::new(), table };
    if errors.is_empty() {
        reading.take(text);
    } else {
        let mut said =
            errors.iter().map(|error| (error.span().unwrap_or_default(), error.message())).collect::<Vec<_>>();
        said.sort_by_key(|(span, _)| (span.start, span.end));
        said.dedup();
        let diagnostics = said.into_iter().map(|(span, what)| Diagnostic::error(FILE, what).at(text, span));
        reading.diagnostics = diagnostics.collect();
    }
    reading
}

impl Reading<'_> {
    fn take(&mut self, text: &str) {
        let mut rest = self.table.clone();
        for _ in 0..MAX_ERRORS {
            let error = match Raw::deserialize(Deserializer::from(rest.clone())) {
                Ok(raw) => {
                    self.raw = Some(raw);
                    return;
                }
                Err(error) => error,
            };
            let span = error.span().unwrap_or_default();
            let complaint = Complaint::of(error.message());
            let found = find(rest.get_ref(), &span, "");
            let path = match &complaint {
                Complaint::Missing(key) => join(found.as_deref().unwrap_or_default(), key),
                _ => found.unwrap_or_default(),
            };
            if !self.damaged.contains(&path) {
                self.diagnostics.push(complaint.diagnostic(&path).at(text, span.clone()));
                self.damaged.push(path.clone());
            }
            let is_mended = match &complaint {
                Complaint::Missing(key) => fill(rest.get_mut(), &span, key),
                _ => remove(rest.get_mut(), &span),
            };
            if !is_mended {
                return;
            }
        }
    }

    /// Whether `at` is as the operator wrote it.
    pub(crate) fn is_sound(&self, at: &str) -> bool {
        !self.damaged.iter().any(|key| {
            let array =
                key.strip_suffix(']').and_then(|key| key.rsplit_once('[')).map_or(key.as_str(), |(array, _)| array);
            at == key
                || [key, array].iter().any(|one| at.strip_prefix(one).is_some_and(|rest| rest.starts_with(['.', '['])))
        })
    }

    /// Where the key `at`, such as `servers[2].instances[0]`, stands: as much of it as there is.
    pub(crate) fn span(&self, at: &str) -> Range<usize> {
        let mut here = self.table.span();
        let mut value: Option<&Spanned<DeValue<'_>>> = None;
        for step in at.split(['.', '[']).map(|step| step.trim_end_matches(']')) {
            let next = match value.map(Spanned::get_ref) {
                None => self.table.get_ref().get(step),
                Some(DeValue::Table(table)) => table.get(step),
                Some(DeValue::Array(array)) => step.parse::<usize>().ok().and_then(|n| array.get(n)),
                Some(_) => None,
            };
            let Some(next) = next else { break };
            (here, value) = (next.span(), Some(next));
        }
        if value.is_some() { here } else { 0..0 }
    }
}

/// What serde says of a key, in parts.
enum Complaint<'a> {
    Unknown { key: &'a str, known: Vec<&'a str> },
    Missing(&'a str),
    Variant { text: &'a str, known: Vec<&'a str> },
    Type { found: &'a str, expected: &'a str },
    Other(&'a str),
}

impl<'a> Complaint<'a> {
    fn of(message: &'a str) -> Self {
        let quoted = |text: &'a str| text.split('`').skip(1).step_by(2).collect::<Vec<_>>();
        let split = |prefix: &str| message.strip_prefix(prefix).map(quoted);
        if let Some([key, known @ ..]) = split("unknown field ").as_deref() {
            return Self::Unknown { key, known: known.to_vec() };
        }
        if let Some([text, known @ ..]) = split("unknown variant ").as_deref() {
            return Self::Variant { text, known: known.to_vec() };
        }
        if let Some([key]) = split("missing field ").as_deref() {
            return Self::Missing(key);
        }
        let typed = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
        match typed.and_then(|typed| typed.rsplit_once(", expected ")) {
            Some((found, expected)) => Self::Type { found, expected },
            None => Self::Other(message),
        }
    }

    fn diagnostic(&self, path: &str) -> Diagnostic {
        match self {
            Self::Unknown { key, known } => {
                let known: Vec<&str> = known.iter().copied().filter(|known| !BUNDLE_ONLY.contains(known)).collect();
                Diagnostic::error(FILE, format!("unknown key `{key}`")).key(path).hint(suggestion(key, &known))
            }
            Self::Variant { text, known } => {
                Diagnostic::error(FILE, format!("`{text}` is not known here")).key(path).hint(suggestion(text, known))
            }
            Self::Missing(key) => Diagnostic::error(FILE, "is missing").key(path).hint(format!("add `{key} = …`")),
            Self::Type { found, expected } => {
                let what = format!("must be {}, not {}", plainly(expected), plainly(found));
                Diagnostic::error(FILE, what).key(path)
            }
            Self::Other(message) => Diagnostic::error(FILE, *message).key(path),
        }
    }
}

/// The known name that was probably meant, or all of them.
pub(crate) fn suggestion(text: &str, known: &[&str]) -> String {
    let score = |known: &str| match strsim::damerau_levenshtein(text, known) {
        1 => 1.0,
        _ => strsim::jaro_winkler(text, known),
    };
    let similar = known.iter().map(|known| (score(known), known));
    let best = similar.filter(|(score, _)| *score > 0.8).max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.map_or_else(
        || format!("known here: {}", known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ")),
        |(_, known)| format!("did you mean `{known}`?"),
    )
}

/// What serde calls a value, as operators do.
fn plainly(said: &str) -> String {
    match said {
        "u32" | "u64" | "usize" => "a whole number that is not negative".to_owned(),
        "a sequence" | "sequence" => "an array".to_owned(),
        "map" => "a table".to_owned(),
        "a boolean" => "true or false".to_owned(),
        struct_name if struct_name.starts_with("struct ") => "a table".to_owned(),
        quoted if quoted.ends_with('`') => {
            quoted.find('`').and_then(|at| quoted.get(at..)).unwrap_or(quoted).to_owned()
        }
        _ => said.strip_prefix("string ").map_or_else(|| said.to_owned(), |text| format!("`{text}`")),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The path of what spans `span`: a key, a value or a table.
fn find(table: &DeTable<'_>, span: &Range<usize>, path: &str) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let path = join(path, key.get_ref());
        if key.span() == *span { Some(path) } else { find_value(value, span, &path) }
    })
}

fn find_value(value: &Spanned<DeValue<'_>>, span: &Range<usize>, path: &str) -> Option<String> {
    let inside = match value.get_ref() {
        DeValue::Table(table) => find(table, span, path),
        DeValue::Array(array) => {
            let mut items = array.iter().enumerate();
            items.find_map(|(n, item)| find_value(item, span, &format!("{path}[{n}]")))
        }
        _ => None,
    };
    inside.or_else(|| (value.span() == *span).then(|| path.to_owned()))
}

/// Takes out what spans `span`; the innermost, as a header spans what its table does.
fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    if table.iter_mut().any(|(_, value)| remove_within(value, span)) {
        return true;
    }
    let mut whole = table.iter().filter(|(key, value)| key.span() == *span || value.span() == *span);
    let Some(key) = whole.next().map(|(key, _)| key.clone()) else { return false };
    table.remove(&key).is_some()
}

fn remove_within(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => remove(table, span),
        DeValue::Array(array) => {
            let is_inside = array.iter_mut().any(|item| remove_within(item, span));
            let is_item = !is_inside && array.iter().any(|item| item.span() == *span);
            if is_item {
                let mut kept = DeArray::new();
                array.iter().filter(|item| item.span() != *span).cloned().for_each(|item| kept.push(item));
                *array = kept;
            }
            is_inside || is_item
        }
        _ => false,
    }
}

/// Puts something under `key` into the table that spans `span`, so that the rest can be read.
fn fill(table: &mut DeTable<'_>, span: &Range<usize>, key: &str) -> bool {
    table.iter_mut().any(|(_, value)| fill_within(value, span, key))
}

fn fill_within(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>, key: &str) -> bool {
    let is_here = value.span() == *span;
    match value.get_mut() {
        DeValue::Table(table) => {
            if is_here && !table.contains_key(key) {
                let filler = match ARRAYS.contains(&key) {
                    true => DeValue::Array(DeArray::new()),
                    false => DeValue::String(String::new().into()),
                };
                table.insert(Spanned::new(NOWHERE, key.to_owned().into()), Spanned::new(NOWHERE, filler));
                return true;
            }
            fill(table, span, key)
        }
        DeValue::Array(array) => array.iter_mut().any(|item| fill_within(item, span, key)),
        _ => false,
    }
}

/// The file.
pub(crate) const FILE: &str = "gateway.toml";
/// Where that stands which the file does not hold.
const NOWHERE: Range<usize> = usize::MAX..usize::MAX;
/// Nobody reads more at once.
const MAX_ERRORS: usize = 200;
/// What a bundle holds and the file does not.
const BUNDLE_ONLY: [&str; 3] = ["candidate", "jwks", "policies"];
/// The keys that must be there and are arrays.
const ARRAYS: [&str; 2] = ["by", "instances"];

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        let line = |one: &Diagnostic| {
            let hint = one.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!(
                "{}:{} {}: {}{hint}",
                one.line.unwrap(),
                one.column.unwrap(),
                one.key.clone().unwrap_or_default(),
                one.what
            )
        };
        read(text).diagnostics.iter().map(line).collect()
    }

    #[test]
    fn every_key_that_is_wrong_is_said_at_once() {
        let text = r#"
[gateway]
ulr = "http://127.0.0.1:8787"
audit = "relax"

[[servers]]
name = 7
instances = ["http://127.0.0.1:1", 2]
timeout = 3
breaker = { failure_rate = "half", windows_ms = 1 }

[[servers]]
instances = "http://127.0.0.1:1"

[[limits]]
by = ["agnet", "tenant"]
requests_per_minute = -1

[limit]
"#;
        let mut found = said(text);
        found.sort_by_key(|line| line.split(':').next().and_then(|line| line.parse::<u32>().ok()));
        assert_eq!(
            found,
            [
                "2:1 gateway.url: is missing (add `url = …`)",
                "3:1 gateway.ulr: unknown key `ulr` (did you mean `url`?)",
                "4:9 gateway.audit: `relax` is not known here (did you mean `relaxed`?)",
                "7:8 servers[0].name: must be a string, not `7`",
                "8:36 servers[0].instances[1]: must be a string, not `2`",
                "9:1 servers[0].timeout: unknown key `timeout` (did you mean `timeout_ms`?)",
                "10:28 servers[0].breaker.failure_rate: must be a number, not `\"half\"`",
                "10:36 servers[0].breaker.windows_ms: unknown key `windows_ms` (did you mean `window_ms`?)",
                "12:1 servers[1].name: is missing (add `name = …`)",
                "13:13 servers[1].instances: must be an array, not `\"http://127.0.0.1:1\"`",
                "16:7 limits[0].by[0]: `agnet` is not known here (did you mean `agent`?)",
                "17:23 limits[0].requests_per_minute: must be a whole number that is not negative, not `-1`",
                "19:2 limit: unknown key `limit` (did you mean `limits`?)",
            ]
        );
        assert!(read(text).raw.is_some());
    }

    #[test]
    fn every_line_that_is_no_toml_is_said_at_once() {
        let found = said("[gateway]\nurl = \n[servers\nname = 'x\n");
        assert!(found.len() >= 2, "{found:?}");
        assert!(read("a = ").raw.is_none());
        assert_eq!(said("")[0], "1:1 gateway: is missing (add `gateway = …`)");
    }

    #[test]
    fn a_key_is_found_as_far_as_it_is_there() {
        let text = "[gateway]\nurl = 'u'\n[[servers]]\nname = 'a'\ninstances = ['x', 'y']\n";
        let reading = read(text);
        let at = |key: &str| text.get(reading.span(key)).unwrap();
        assert_eq!(at("gateway.url"), "'u'");
        assert_eq!(at("gateway.operators"), "[gateway]");
        assert_eq!(at("servers[0].instances[1]"), "'y'");
        assert_eq!(at("servers[0].timeout_ms"), "[[servers]]");
        assert_eq!(at("issuers"), "");
    }

    #[test]
    fn what_was_taken_out_is_not_sound() {
        let reading = read("[gateway]\nurl = 'u'\n[[servers]]\nname = 1\ninstances = ['x', 2]\n");
        for (at, is_sound) in [
            ("gateway.url", true),
            ("servers[0].name", false),
            ("servers[0].names", true),
            ("servers[0].instances[0]", false),
            ("servers[0].instances[1]", false),
            ("servers[0]", true),
        ] {
            assert_eq!(reading.is_sound(at), is_sound, "{at}");
        }
    }
}
