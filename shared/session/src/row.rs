//! What does the gateway keep of a session? One row: where it lives, and until when.

use machine::{Alarm, Machine, Next, Outgoing, Transition};
use mcp::{Revision, Timestamp, header};
use serde::{Deserialize, Serialize};

/// The machine of one session, named by [`crate::Ticket::name`].
#[derive(Debug)]
pub enum Session {}

/// Everything there is to know of an open session; below 1 KiB as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The instance that owns it.
    pub instance: String,
    /// The upstream's own session id, which callers never see; a stateless server gives none.
    pub upstream_id: Option<String>,
    /// What client and server agreed on.
    pub revision: Revision,
    /// Whether a façade stands between caller and instance, which speaks another era; `upstream_id` is then the façade's.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub is_bridged: bool,
    /// Which program its caller said it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client: Option<String>,
    /// The name of the secret the instance wants as bearer token.
    pub secret: Option<String>,
    /// How long it may rest.
    pub idle_ms: u64,
}

/// A [`Row`] and when it was last used; `None` before it opens and after it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State(Option<(Row, Timestamp)>);

/// What a session is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// It begins.
    Open(Row),
    /// It is used: tell where it lives, and let it rest anew.
    Use,
    /// It ends.
    End(Upstream),
    /// It may have rested too long.
    Wake,
}

/// Whether the upstream still has to hear of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Upstream {
    /// It has not: DELETE its session.
    Tell,
    /// It knows, or is gone.
    Knows,
}

/// What a session answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It is open and lives there.
    Open(Row),
    /// There is none, or not any more.
    Gone,
}

/// Where the requests of one open session go. Only [`Route::of`] makes one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Route {
    /// The row.
    pub row: Row,
}

impl Route {
    /// The way to the session that answered, if it is open.
    #[must_use]
    pub fn of(reply: Reply) -> Option<Self> {
        match reply {
            Reply::Open(row) => Some(Self { row }),
            Reply::Gone => None,
        }
    }
}

impl Machine for Session {
    const KIND: &'static str = "session";
    type State = State;
    type Command = Command;
    type Reply = Reply;

    fn apply(State(state): State, command: Command, now: Timestamp) -> Transition<State, Reply> {
        match (command, state) {
            (Command::Open(row), _) => rest(row, now),
            (_, None) => Transition::reply(Reply::Gone),
            (Command::Use, Some((row, last_used))) if rested(&row, last_used, now) => end(&row, Upstream::Tell),
            (Command::Use, Some((row, _))) => rest(row, now),
            (Command::End(upstream), Some((row, _))) => end(&row, upstream),
            (Command::Wake, Some((row, last_used))) if rested(&row, last_used, now) => end(&row, Upstream::Tell),
            (Command::Wake, Some((row, last_used))) => {
                let alarm = Alarm::At(last_used.plus_millis(row.idle_ms));
                Transition { alarm, ..Transition::reply(Reply::Open(row)) }
            }
        }
    }

    fn wake() -> Option<Command> {
        Some(Command::Wake)
    }
}

fn rested(row: &Row, last_used: Timestamp, now: Timestamp) -> bool {
    now >= last_used.plus_millis(row.idle_ms)
}

fn rest(row: Row, now: Timestamp) -> Transition<State, Reply> {
    let alarm = Alarm::At(now.plus_millis(row.idle_ms));
    Transition { alarm, ..Transition::put(State(Some((row.clone(), now))), Reply::Open(row)) }
}

fn end(row: &Row, upstream: Upstream) -> Transition<State, Reply> {
    let outbox = match (upstream, &row.upstream_id) {
        (Upstream::Tell, Some(id)) if !row.is_bridged => vec![Outgoing {
            method: "DELETE".to_owned(),
            url: row.instance.clone(),
            headers: vec![
                (header::MCP_SESSION_ID.to_string(), id.clone()),
                (header::MCP_PROTOCOL_VERSION.to_string(), row.revision.to_string()),
            ],
            secret: row.secret.clone(),
        }],
        _ => Vec::new(),
    };
    Transition { state: Next::Clear, outbox, alarm: Alarm::Off, ..Transition::reply(Reply::Gone) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            instance: "http://127.0.0.1:3101/mcp".to_owned(),
            upstream_id: Some("their-own".to_owned()),
            revision: Revision::V2025_11_25,
            is_bridged: false,
            client: None,
            secret: None,
            idle_ms: 1_000,
        }
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn open() -> State {
        State(Some((row(), at(0))))
    }

    #[test]
    fn use_lets_it_rest_anew() {
        let used = Session::apply(open(), Command::Use, at(900));
        assert_eq!(used.reply, Reply::Open(row()));
        assert_eq!(used.alarm, Alarm::At(at(1_900)));
    }

    #[test]
    fn a_session_that_rested_too_long_ends_and_the_upstream_hears_of_it() {
        for command in [Command::Wake, Command::Use] {
            let ended = Session::apply(open(), command, at(1_000));
            assert_eq!((ended.state, ended.reply), (Next::Clear, Reply::Gone));
            assert_eq!(ended.outbox[0].method, "DELETE");
            assert_eq!(ended.outbox[0].headers[0], ("mcp-session-id".to_owned(), "their-own".to_owned()));
        }
    }

    #[test]
    fn an_early_alarm_is_set_again() {
        let woken = Session::apply(open(), Command::Wake, at(400));
        assert_eq!((woken.state, woken.alarm), (Next::Keep, Alarm::At(at(1_000))));
    }

    #[test]
    fn what_ended_stays_ended() {
        assert_eq!(Session::apply(State(None), Command::Use, at(1)).reply, Reply::Gone);
        assert!(Session::apply(State(None), Command::End(Upstream::Tell), at(1)).outbox.is_empty());
    }

    #[test]
    fn a_row_is_small() {
        assert!(serde_json::to_string(&open()).unwrap().len() < 512);
    }
}
