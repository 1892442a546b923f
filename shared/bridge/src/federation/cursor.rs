//! Where does the next page of a merged list begin? At each server where that server said, in one text.
//!
//! A page holds one page of each server that has more. A server that is gone by then is left out; one that came is in the
//! next listing from the beginning. Nothing in a cursor is trusted: it names servers, and only those of the caller's view
//! are asked, each with a text that it could have been asked with anyway. So it is not sealed.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mcp::page::Kind;
use serde::{Deserialize, Serialize};

/// A cursor that is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`cursor` is not one this list gave: leave it out to begin anew")]
pub struct Unknown;

/// The cursor of a list of `kind` whose servers go on at `next`; `None` if there is no next page.
///
/// Cursors that would make it longer than [`BYTES_MAX`] are left in `next`.
#[must_use]
pub fn write(kind: Kind, next: &mut BTreeMap<String, String>) -> Option<String> {
    let mut bytes = HEAD_BYTES;
    let mut carried = BTreeMap::new();
    next.retain(|server, cursor| {
        let needed = bytes + server.len() + serde_json::to_string(cursor).map_or(usize::MAX / 2, |text| text.len()) + 4;
        let fits = needed <= BYTES_MAX / 4 * 3;
        if fits {
            bytes = needed;
            carried.insert(server.clone(), std::mem::take(cursor));
        }
        !fits
    });
    if carried.is_empty() {
        return None;
    }
    let written = serde_json::to_vec(&Written { v: VERSION, list: kind.method().to_owned(), at: carried });
    written.ok().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
}

/// Where each server goes on, as [`write`] wrote it for a list of `kind`.
///
/// # Errors
/// [`Unknown`]: garbage, of another list or version.
pub fn read(kind: Kind, cursor: &str) -> Result<BTreeMap<String, String>, Unknown> {
    if cursor.len() > BYTES_MAX {
        return Err(Unknown);
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| Unknown)?;
    let written: Written = serde_json::from_slice(&bytes).map_err(|_| Unknown)?;
    let is_ours = written.v == VERSION && written.list == kind.method() && !written.at.is_empty();
    if is_ours { Ok(written.at) } else { Err(Unknown) }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    v: u8,
    list: String,
    at: BTreeMap<String, String>,
}

const VERSION: u8 = 1;
/// The longest cursor. It stands in bodies only, never in a header.
pub const BYTES_MAX: usize = 32 * 1024;
/// More than is written around the servers.
const HEAD_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn garbage_other_lists_and_other_versions_are_refused() {
        let good = write(Kind::Tools, &mut [("a".to_owned(), "1".to_owned())].into()).unwrap();
        assert!(read(Kind::Tools, &good).is_ok());
        assert_eq!(read(Kind::Prompts, &good), Err(Unknown));
        for text in
            [r#"{"v":2,"list":"tools/list","at":{"a":"1"}}"#, r#"{"v":1,"list":"tools/list","at":{}}"#, "{}", "[]"]
        {
            assert_eq!(read(Kind::Tools, &URL_SAFE_NO_PAD.encode(text)), Err(Unknown), "{text}");
        }
        for text in ["", "!", "page-2", &"A".repeat(BYTES_MAX + 1)] {
            assert_eq!(read(Kind::Tools, text), Err(Unknown));
        }
    }

    #[test]
    fn what_does_not_fit_stays_behind() {
        let mut next: BTreeMap<_, _> = [("a", 100), ("b", 40_000), ("c", 20_000), ("d", 20_000)]
            .map(|(server, bytes)| (server.to_owned(), "x".repeat(bytes)))
            .into();
        let cursor = write(Kind::Tools, &mut next).unwrap();
        assert!(cursor.len() <= BYTES_MAX, "{}", cursor.len());
        assert_eq!(next.keys().collect::<Vec<_>>(), ["b", "d"]);
        assert_eq!(read(Kind::Tools, &cursor).unwrap().keys().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(write(Kind::Tools, &mut next.split_off("e")), None);
    }

    proptest! {
        #[test]
        fn cursors_read_back(next in prop::collection::btree_map("[a-z0-9_-]{1,64}", any::<String>(), 1..40)) {
            let (mut rest, all) = (next.clone(), next);
            let cursor = write(Kind::Resources, &mut rest).unwrap();
            prop_assert!(cursor.len() <= BYTES_MAX);
            let mut back = read(Kind::Resources, &cursor).unwrap();
            back.append(&mut rest);
            prop_assert_eq!(back, all);
        }

        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            let _ = read(Kind::Tools, &text);
        }
    }
}
