//! What is a server's tool or prompt called among those of others? `server__name`, and back.
//!
//! Models are given names of at most 64 characters. A longer one keeps its beginning and ends in `-` and twelve digits of
//! its digest; it is exactly 64 characters long, and a name that only looks so is shortened too. So each name tells
//! whether it is whole, and a short one is found again among those the server lists: nothing has to be remembered.
//!
//! The part before the first `__` is the server's label: its name, unless that is longer than 32 characters, holds `__`
//! or ends in `_`. Then the label is its beginning with a digest. A label depends on nothing but the server's own name:
//! no tool is called otherwise because another server came or went.

use std::borrow::Cow;

use mcp::digest;

/// What the tool or prompt `name` of `server` is called: at most 64 characters, if the label is one of a server's.
#[must_use]
pub fn join(server: &str, name: &str) -> String {
    let label = label(server);
    let whole = [&label, SEPARATOR, name].concat();
    if whole.chars().count() <= CHARS_MAX && !is_short(&whole) {
        return whole;
    }
    let kept = CHARS_MAX - DIGITS - 1 - SEPARATOR.len() - label.chars().count();
    let head: String = name.chars().take(kept).collect();
    [&label, SEPARATOR, &head, "-", &digits(&[server, name], DIGITS)].concat()
}

/// The label of the server a joined name belongs to, and the rest of it; `None` if it is no joined name.
#[must_use]
pub fn split(text: &str) -> Option<(&str, Rest<'_>)> {
    let (label, name) = text.split_once(SEPARATOR)?;
    Some((label, if is_short(text) { Rest::Short } else { Rest::Whole(name) }))
}

/// What a joined name says of the server's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest<'a> {
    /// It is this.
    Whole(&'a str),
    /// It was too long: it is the one whose [`join`] is the same.
    Short,
}

/// What stands for `server` in names: at most 32 characters.
#[must_use]
pub fn label(server: &str) -> Cow<'_, str> {
    if server.chars().count() <= LABEL_CHARS_MAX && !server.contains(SEPARATOR) && !server.ends_with('_') {
        return Cow::Borrowed(server);
    }
    let mut head = String::new();
    for character in server.chars() {
        if !(character == '_' && head.ends_with('_')) {
            head.push(character);
        }
    }
    let head: String = head.chars().take(LABEL_CHARS_MAX - LABEL_DIGITS - 1).collect();
    let head = head.trim_end_matches('_');
    let head = if head.is_empty() { "server" } else { head };
    Cow::Owned([head, "-", &digits(&[server], LABEL_DIGITS)].concat())
}

/// Whether a name has the form of one that was shortened.
fn is_short(text: &str) -> bool {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let Some((_, tail)) = text.rsplit_once('-') else { return false };
    tail.len() == DIGITS && tail.as_bytes().iter().all(is_digit) && text.chars().count() == CHARS_MAX
}

fn digits(parts: &[&str], count: usize) -> String {
    let mut digits = digest::hex(&digest::sha256(parts.join("\0").as_bytes()));
    digits.truncate(count);
    digits
}

/// The longest name, in characters: what the large model APIs take.
pub const CHARS_MAX: usize = 64;
const SEPARATOR: &str = "__";
/// Hexadecimal digits of a shortened name's digest: 48 bits, among the long names of one server.
const DIGITS: usize = 12;
const LABEL_CHARS_MAX: usize = 32;
const LABEL_DIGITS: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_joined_as_the_page_says() {
        for (server, name, joined) in [
            ("files", "read", "files__read"),
            ("files", "__read_", "files____read_"),
            ("files", "", "files__"),
            ("a-b_c", "x.y/z", "a-b_c__x.y/z"),
            ("_a", "b", "_a__b"),
            ("a__b", "c", "a_b-63e5c1c4__c"),
            ("a_", "_c", "a-571fb0e3___c"),
            ("_", "c", "server-d2e2adf7__c"),
        ] {
            assert_eq!(join(server, name), joined, "{server} {name}");
        }
    }

    #[test]
    fn a_long_name_keeps_its_beginning_and_is_exactly_as_long_as_allowed() {
        let long = "read_many_files_with_all_their_metadata_and_permissions_at_once";
        let joined = join("files", long);
        assert_eq!(joined, "files__read_many_files_with_all_their_metadata_and_-3e74d825721f");
        assert_eq!(joined.len(), CHARS_MAX);
        assert_eq!(split(&joined), Some(("files", Rest::Short)));
        assert_eq!(join("files", &"é".repeat(80)).chars().count(), CHARS_MAX);
        let exact = "n".repeat(CHARS_MAX - "files__".len());
        assert_eq!(join("files", &exact), format!("files__{exact}"));
    }

    #[test]
    fn a_name_that_looks_shortened_is_shortened() {
        let looks = format!("{}-0123456789ab", "n".repeat(CHARS_MAX - "files__".len() - 13));
        let joined = join("files", &looks);
        assert_ne!(joined, format!("files__{looks}"));
        assert_eq!(split(&joined), Some(("files", Rest::Short)));
        let shorter = looks.replacen('n', "", 1);
        assert_eq!(split(&join("files", &shorter)), Some(("files", Rest::Whole(shorter.as_str()))));
    }

    #[test]
    fn what_is_not_joined_is_not_split() {
        for text in ["", "read", "a_b", "_"] {
            assert_eq!(split(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn names_read_back(server in "[a-z0-9_-]{1,64}", name in prop_oneof!["[a-zA-Z0-9_./-]{0,140}", any::<String>()]) {
            let joined = join(&server, &name);
            prop_assert!(joined.chars().count() <= CHARS_MAX);
            prop_assert_eq!(&join(&server, &name), &joined);
            let (label, rest) = split(&joined).unwrap();
            prop_assert_eq!(label, self::label(&server));
            match rest {
                Rest::Whole(whole) => prop_assert_eq!(whole, name),
                Rest::Short => prop_assert_eq!(joined.chars().count(), CHARS_MAX),
            }
        }

        #[test]
        fn no_two_things_are_called_the_same(
            one in ("[ab_-]{1,4}|[a_]{31,34}", "[ab_]{0,4}|[a]{20,40}-[0-9a-f]{12}|[ab]{60,64}"),
            other in ("[ab_-]{1,4}|[a_]{31,34}", "[ab_]{0,4}|[a]{20,40}-[0-9a-f]{12}|[ab]{60,64}"),
        ) {
            prop_assert_eq!(join(&one.0, &one.1) == join(&other.0, &other.1), one == other);
        }

        #[test]
        fn arbitrary_text_never_panics(text in any::<String>(), server in any::<String>()) {
            let _ = (split(&text), label(&server), join(&server, &text));
        }
    }
}
