//! Does each row of the tables hold? Golden files, one for each rule and named after it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests")]

#[path = "rows/claim.rs"]
mod claim;
#[path = "rows/probe.rs"]
mod probe;
#[path = "rows/routing.rs"]
mod routing;

use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue};
use mcp::header::Mirrors;
use serde::de::DeserializeOwned;

/// The rows in `tests/golden/{table}` by their names.
fn rows<R: DeserializeOwned>(table: &str) -> Vec<(String, R)> {
    let folder = Path::new("tests/golden").join(table);
    let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let mut rows: Vec<_> = files
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let row = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), row)
        })
        .collect();
    rows.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert!(!rows.is_empty(), "{}", folder.display());
    rows
}

/// The headers as an HTTP server hands them on.
fn mirrors(fields: &[(String, String)]) -> Mirrors {
    let field = |(name, value): &(String, String)| {
        (HeaderName::try_from(name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    let mut headers = HeaderMap::new();
    for (name, value) in fields.iter().map(field) {
        headers.append(name, value);
    }
    Mirrors::of(&headers).unwrap()
}
