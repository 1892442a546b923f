//! Which bundle is live, and who made it so? The pointer moves by compare-and-swap, and each move is a row.

use machine::{Machine, Transition};
use mcp::Timestamp;
use serde::{Deserialize, Serialize};

/// The machine that keeps the pointer; one for a deployment.
#[derive(Debug)]
pub enum Release {}

/// The bundle in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// The bundle's SHA-256, lower-case hexadecimal.
    pub id: String,
    /// The one that was live before it.
    pub previous: Option<String>,
    /// Since when.
    pub at: Timestamp,
    /// Who moved the pointer.
    pub by: String,
}

/// A row: a move of the pointer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// From 1, without gaps.
    pub seq: u64,
    /// What became live.
    #[serde(flatten)]
    pub live: Live,
}

/// What the machine is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Which bundle is live?
    Read,
    /// Make `id` live, if `expected` is.
    Promote {
        /// The bundle's SHA-256, lower-case hexadecimal.
        id: String,
        /// What the operator believes to be live; `None`: nothing.
        expected: Option<String>,
        /// What the document store says is in force, see [`in_force`].
        pointer: Option<String>,
        /// Who; more than 256 bytes are cut off.
        by: String,
    },
}

/// What the machine answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// This is live; to [`Command::Promote`]: it is what was asked for. `None`: the pointer never moved.
    Live(Option<Live>),
    /// Nothing moved: what was expected is not live.
    Conflict {
        /// What is.
        live: Option<String>,
    },
    /// Nothing moved: the command makes no sense.
    Refused(Invalid),
}

/// What is wrong with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Invalid {
    /// A bundle's id is its SHA-256.
    #[error("a bundle's id is 64 hexadecimal digits in lower case")]
    Id,
}

impl Machine for Release {
    const KIND: &'static str = "release";
    /// The newest row, if the pointer ever moved.
    type State = Option<Change>;
    type Command = Command;
    type Reply = Reply;

    fn apply(state: Option<Change>, command: Command, now: Timestamp) -> Transition<Option<Change>, Reply> {
        match command {
            Command::Read => Transition::reply(Reply::Live(state.map(|change| change.live))),
            Command::Promote { id, expected, pointer, by } => match [Some(&id), expected.as_ref()] {
                ids if ids.into_iter().flatten().all(|id| is_id(id)) => {
                    let released = state.as_ref().map(|change| change.live.clone());
                    let previous = in_force(pointer.as_deref(), released, now).map(|live| live.id);
                    let next = Live { id, previous, at: now, by: clipped(by) };
                    promote(state, next, expected)
                }
                _ => Transition::reply(Reply::Refused(Invalid::Id)),
            },
        }
    }
}

/// What the gateway writes to the document store when it moves the pointer: the bundle's id, and that it is a copy.
#[must_use]
pub fn copy(live: &Live) -> String {
    format!("{} {}", live.id, live.at.as_millis())
}

/// Which bundle is in force: the one that was put there last. `pointer` is what the document store says: a copy of what
/// this machine was told, or the bare id that somebody put there who did not ask the gateway (Terraform, wrangler). A
/// bare id that this machine replaced a moment ago is what readers of an eventually consistent store still find.
///
/// One that was not released has no `by`, and 0 as `at`.
#[must_use]
pub fn in_force(pointer: Option<&str>, released: Option<Live>, now: Timestamp) -> Option<Live> {
    let pointer = pointer.map(str::trim_end);
    let (id, is_copy) = match pointer.and_then(|pointer| pointer.split_once(' ')) {
        Some((id, _)) => (Some(id), true),
        None => (pointer, false),
    };
    let Some(id) = id.filter(|id| is_id(id)) else { return released };
    let is_stale = |released: &Live| {
        let is_replaced = released.previous.as_deref() == Some(id) && now.millis_since(released.at) < STALE_MS;
        is_copy || released.id == id || is_replaced
    };
    match released {
        Some(released) if is_stale(&released) => Some(released),
        released => {
            let previous = released.map(|released| released.id);
            Some(Live { id: id.to_owned(), previous, at: Timestamp::default(), by: String::new() })
        }
    }
}

fn promote(state: Option<Change>, next: Live, expected: Option<String>) -> Transition<Option<Change>, Reply> {
    if let Some(Change { live, .. }) = &state
        && live.id == next.id
        && (expected.as_ref() == Some(&live.id) || expected == live.previous)
    {
        // A repeated command, whose first answer may have been lost.
        return Transition::reply(Reply::Live(Some(live.clone())));
    }
    if expected != next.previous {
        return Transition::reply(Reply::Conflict { live: next.previous });
    }
    let change = Change { seq: state.map_or(1, |change| change.seq.saturating_add(1)), live: next };
    match serde_json::to_string(&change) {
        Ok(row) => {
            let reply = Reply::Live(Some(change.live.clone()));
            Transition { rows: vec![row], ..Transition::put(Some(change), reply) }
        }
        // A struct of strings and numbers has a spelling; a pointer that moved without a row must not be.
        Err(_) => Transition::reply(Reply::Refused(Invalid::Id)),
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn clipped(mut text: String) -> String {
    let end = (0..=BY_MAX_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text.truncate(end);
    text
}

const BY_MAX_BYTES: usize = 256;
/// How old what a document store says may be: a minute to spread, half a minute in a cache.
const STALE_MS: u64 = 120_000;

#[cfg(test)]
mod tests {
    use machine::Next;
    use proptest::prelude::*;

    use super::*;

    fn id(of: u8) -> String {
        format!("{of:02x}").repeat(32)
    }

    fn promote(to: u8, expected: Option<u8>) -> Command {
        Command::Promote { id: id(to), expected: expected.map(id), pointer: None, by: "ops/cli".to_owned() }
    }

    fn apply(state: &mut Option<Change>, command: Command, at: u64) -> (Reply, Vec<Change>) {
        let transition = Release::apply(state.clone(), command, Timestamp::from_millis(at));
        if let Next::Put(next) = transition.state {
            *state = next;
        }
        (transition.reply, transition.rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect())
    }

    #[test]
    fn the_pointer_moves_only_from_where_the_operator_saw_it() {
        let mut state = None;
        assert_eq!(apply(&mut state, promote(1, Some(9)), 1).0, Reply::Conflict { live: None });
        let (reply, rows) = apply(&mut state, promote(1, None), 2);
        let first = Live { id: id(1), previous: None, at: Timestamp::from_millis(2), by: "ops/cli".to_owned() };
        assert_eq!(reply, Reply::Live(Some(first.clone())));
        assert_eq!(rows, [Change { seq: 1, live: first }]);
        assert_eq!(apply(&mut state, promote(2, None), 3).0, Reply::Conflict { live: Some(id(1)) });
        let (_, rows) = apply(&mut state, promote(2, Some(1)), 4);
        assert_eq!((rows[0].seq, rows[0].live.previous.as_ref()), (2, Some(&id(1))));
        assert!(matches!(apply(&mut state, Command::Read, 5), (Reply::Live(Some(live)), _) if live.id == id(2)));
    }

    #[test]
    fn a_repeated_promotion_is_answered_as_the_first_was_and_leaves_one_row() {
        let mut state = None;
        apply(&mut state, promote(1, None), 1);
        let (reply, rows) = apply(&mut state, promote(2, Some(1)), 2);
        assert_eq!(rows.len(), 1);
        assert_eq!(apply(&mut state, promote(2, Some(1)), 3), (reply.clone(), Vec::new()));
        assert_eq!(apply(&mut state, promote(2, Some(2)), 4), (reply, Vec::new()));
        assert_eq!(apply(&mut state, promote(2, Some(7)), 5).0, Reply::Conflict { live: Some(id(2)) });
    }

    #[test]
    fn a_pointer_that_was_set_another_way_counts_until_the_first_move() {
        let found = |to, expected: u8, found: u8| Command::Promote {
            id: id(to),
            expected: Some(id(expected)),
            pointer: Some(id(found)),
            by: String::new(),
        };
        let mut state = None;
        assert_eq!(apply(&mut state, found(2, 8, 7), 1).0, Reply::Conflict { live: Some(id(7)) });
        let (_, rows) = apply(&mut state, found(2, 7, 7), 2);
        assert_eq!(rows[0].live.previous, Some(id(7)));
        assert_eq!(apply(&mut state, found(3, 7, 7), 3).0, Reply::Conflict { live: Some(id(2)) });
    }

    #[test]
    fn the_one_who_moved_the_pointer_last_decides() {
        let released =
            |at| Live { id: id(2), previous: Some(id(1)), at: Timestamp::from_millis(at), by: String::new() };
        let now = Timestamp::from_millis(1_000_000);
        let in_force = |pointer: &str, at| in_force(Some(pointer), Some(released(at)), now).unwrap().id;
        assert_eq!(in_force(&copy(&Live { id: id(7), ..released(0) }), 0), id(2), "a copy, however old");
        assert_eq!(in_force(&id(1), 990_000), id(2), "what was replaced a moment ago is still found");
        assert_eq!(in_force(&id(1), 1_000), id(1), "long after, somebody put it there again");
        assert_eq!(in_force(&id(3), 990_000), id(3), "somebody else was there");
        assert_eq!(in_force("nonsense", 0), id(2));
        assert_eq!(super::in_force(None, None, now), None);
    }

    #[test]
    fn strings_are_bounded() {
        let mut state = None;
        for bad in ["", "live", &"A".repeat(64), &"a".repeat(65)] {
            let command = Command::Promote { id: bad.to_owned(), expected: None, pointer: None, by: String::new() };
            assert_eq!(apply(&mut state, command, 1).0, Reply::Refused(Invalid::Id), "{bad}");
        }
        let by = format!("a{}", "é".repeat(5_000));
        apply(&mut state, Command::Promote { id: id(1), expected: None, pointer: None, by }, 1);
        assert!(serde_json::to_string(&state).unwrap().len() < 1024);
        assert_eq!(state.unwrap().live.by.len(), 255);
    }

    proptest! {
        #[test]
        fn the_rows_are_one_unbroken_history(moves in prop::collection::vec((0_u8..4, prop::option::of(0_u8..4)), 0..60)) {
            let (mut state, mut history) = (None, Vec::<Change>::new());
            for (at, (to, expected)) in moves.into_iter().enumerate() {
                let before = state.clone();
                let (reply, rows) = apply(&mut state, promote(to, expected), at as u64);
                match (reply, rows.len()) {
                    (Reply::Live(Some(live)), 1) => prop_assert_eq!(live.id, id(to)),
                    (Reply::Live(Some(live)), 0) => prop_assert_eq!(Some(live), before.map(|change| change.live)),
                    (Reply::Conflict { live }, 0) => prop_assert_eq!(live, before.map(|change| change.live.id)),
                    other => prop_assert!(false, "{:?}", other),
                }
                history.extend(rows);
            }
            for (index, change) in history.iter().enumerate() {
                prop_assert_eq!(change.seq, index as u64 + 1);
                let before = index.checked_sub(1).map(|index| history[index].live.id.clone());
                prop_assert_eq!(&change.live.previous, &before);
            }
        }
    }
}
