//! Which values does the component read by name? `spin:variables`, and `{{ name }}` in the manifest.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use wasmtime::component::{Accessor, HasSelf};

use crate::bindings::spin::variables::variables::{Error, Host, HostWithStore};
use crate::guest::Guest;

/// Puts the values of the named variables into a text.
pub(crate) fn fill(template: &str, values: &BTreeMap<String, String>) -> Result<String> {
    let Some((before, rest)) = template.split_once("{{") else { return Ok(template.to_owned()) };
    let (name, after) = rest.split_once("}}").with_context(|| format!("`{template}` lacks `}}}}`"))?;
    let value = values.get(name.trim()).with_context(|| format!("`{}` is no variable", name.trim()))?;
    Ok(format!("{before}{value}{}", fill(after, values)?))
}

/// Words of lower case letters and digits with one underscore between them; a letter is first.
pub(crate) fn is_name(name: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.split('_').all(is_word)
}

impl Host for Guest {}

impl<T> HostWithStore<T> for HasSelf<Guest> {
    async fn get(guest: &Accessor<T, Self>, name: String) -> wasmtime::Result<Result<String, Error>> {
        let value = guest.with(|mut guest| guest.get().shared.application.variables.get(&name).cloned());
        Ok(value.ok_or_else(|| if is_name(&name) { Error::Undefined(name) } else { Error::InvalidName(name) }))
    }
}
