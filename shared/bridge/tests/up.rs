//! Does a legacy session in front of a modern server go as the translation table says? One file for each row and case of
//! section 1.4.1 of the reference: what comes, and what is done about it.
//!
//! `BLESS=1 cargo test -p bridge --test up` writes the actions anew; what changed is then read, not trusted.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a golden file that cannot be read fails its test"
)]

use std::{fmt::Write as _, fs, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bridge::{
    facade::{Action, Channel, End, Event, Facade, Hop, Life, Method, Moment},
    up::Up,
};
use mcp::{Revision, Timestamp};
use serde_json::{Map, Value, json};

#[test]
fn every_row_of_the_table_goes_as_it_was_written_down() {
    let folder = Path::new("tests/golden/up").to_owned();
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 15, "one for each row at least");
    let writes = option_env!("BLESS").is_some();
    for path in paths {
        let golden: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let played = play(&golden);
        if writes {
            fs::write(&path, spell(&played)).unwrap();
        } else {
            compare(&path, &golden, &played);
        }
    }
}

fn compare(path: &Path, golden: &Value, played: &Value) {
    let (expected, got) = (golden["steps"].as_array().unwrap(), played["steps"].as_array().unwrap());
    for (expected, got) in expected.iter().zip(got) {
        // Whether an object keeps the order of its members is up to who else uses serde_json.
        assert!(expected == got, "{}\n{}\n{}", path.display(), spell_step(expected), spell_step(got));
    }
}

/// The same file with the actions that were seen.
fn play(golden: &Value) -> Value {
    let mut played = golden.clone();
    let mut player = Player::new(golden);
    for step in played["steps"].as_array_mut().unwrap() {
        let actions = player.step(&step["event"]);
        step["actions"] = Value::Array(actions);
        step["idle"] = player.up.is_idle().into();
    }
    played
}

struct Player {
    up: Up,
    session: Option<String>,
    now: Timestamp,
    random: u8,
}

impl Player {
    fn new(golden: &Value) -> Self {
        let session = golden.get("terms").map(|terms| URL_SAFE_NO_PAD.encode(mcp::canonical::text(terms)));
        Self { up: Up::new(Life::Conversation), session, now: START, random: 1 }
    }

    fn step(&mut self, event: &Value) -> Vec<Value> {
        if let Some(at) = event["at_ms"].as_u64() {
            self.now = START.plus_millis(at);
        }
        if event["forgotten"] == true {
            self.up = Up::new(Life::Conversation);
            self.random += 1;
            return Vec::new();
        }
        let actions = match event["farewell"] == true {
            true => self.up.farewell(),
            false => self.hand(event),
        };
        actions.iter().map(|action| self.told(action)).collect()
    }

    fn hand(&mut self, event: &Value) -> Vec<Action> {
        let session = match event.get("session") {
            Some(other) => other.as_str().map(str::to_owned),
            None => self.session.clone(),
        };
        let session_id = session.as_deref();
        let message = event.get("message").map(mcp::canonical::text).unwrap_or_default();
        let number = |name: &str| event[name].as_u64();
        let moment = Moment { now: self.now, random: [self.random; 32] };
        let event = if let Some(channel) = number("post") {
            Event::Posted { channel: Channel(channel), body: &message, session_id }
        } else if let Some(channel) = number("get") {
            let last_event_id = event["last_event_id"].as_str();
            Event::Listened { channel: Channel(channel), last_event_id, session_id }
        } else if let Some(channel) = number("delete") {
            Event::Deleted { channel: Channel(channel), session_id }
        } else if let Some(channel) = number("left") {
            Event::Left { channel: Channel(channel) }
        } else if let Some(hop) = number("head") {
            let status = u16::try_from(number("status").unwrap()).unwrap();
            Event::Answered { hop: Hop(hop), status, session_id: None }
        } else if let Some(hop) = number("said") {
            Event::Said { hop: Hop(hop), message: &message, event_id: None, retry_ms: None }
        } else if let Some(hop) = number("ended") {
            Event::Ended { hop: Hop(hop), end: end(event["end"].as_str().unwrap()) }
        } else {
            assert_eq!(event["woken"], true, "{event}");
            Event::Woken
        };
        self.up.handle(event, &moment)
    }

    /// An action as it is written down.
    fn told(&mut self, action: &Action) -> Value {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        match action {
            Action::Request(request) => {
                assert_eq!((request.method, request.revision), (Method::Post, Some(Revision::V2026_07_28)));
                assert_eq!((&request.session_id, &request.last_event_id), (&None, &None));
                json!({"send": request.hop.0, "body": read(&request.body)})
            }
            Action::Abort(hop) => json!({"abort": hop.0}),
            Action::Answer(answer) => {
                let mut told = json!({"answer": answer.channel.0, "status": answer.status});
                if let Some(message) = &answer.message {
                    told["message"] = read(message);
                }
                if let Some(session_id) = &answer.session_id {
                    self.session = Some(session_id.clone());
                    told["session"] = read(&String::from_utf8(URL_SAFE_NO_PAD.decode(session_id).unwrap()).unwrap());
                }
                told
            }
            Action::Open { channel, session_id } => {
                assert_eq!(session_id, &None);
                json!({"open": channel.0})
            }
            Action::Say { channel, event } => {
                let mut told = Map::from_iter([("say".to_owned(), channel.0.into())]);
                let message = (!event.data.is_empty()).then(|| read(&event.data));
                told.extend(message.map(|message| ("message".to_owned(), message)));
                told.extend(event.id.clone().map(|id| ("id".to_owned(), id.into())));
                told.extend(event.retry_ms.map(|pause| ("retry_ms".to_owned(), pause.into())));
                Value::Object(told)
            }
            Action::Close(channel) => json!({"close": channel.0}),
            Action::Wake(at) => json!({"wake_ms": at.millis_since(START)}),
        }
    }
}

fn end(text: &str) -> End {
    match text {
        "complete" => End::Complete,
        "unreachable" => End::Unreachable("10.0.0.7 refused".into()),
        "broken" => End::Broken("reset".into()),
        "silent" => End::Silent(30_000),
        "garbage" => End::Garbage("<html>".into()),
        "aborted" => End::Aborted,
        other => panic!("`{other}` is no end"),
    }
}

/// One line for each event and each action.
fn spell(played: &Value) -> String {
    let mut text = format!("{{\n  \"row\": {},\n  \"what\": {},\n", played["row"], played["what"]);
    if let Some(terms) = played.get("terms") {
        let _ = writeln!(text, "  \"terms\": {terms},");
    }
    let steps: Vec<_> = played["steps"].as_array().unwrap().iter().map(spell_step).collect();
    let _ = write!(text, "  \"steps\": [\n{}\n  ]\n}}\n", steps.join(",\n"));
    text
}

fn spell_step(step: &Value) -> String {
    let actions = step["actions"].as_array().into_iter().flatten();
    let actions: Vec<_> = actions.map(|one| format!("\n        {}", line(one))).collect();
    let (event, actions, idle) = (line(&step["event"]), actions.join(","), &step["idle"]);
    format!("    {{\n      \"event\": {event},\n      \"actions\": [{actions}],\n      \"idle\": {idle}\n    }}")
}

/// What happens comes first, what is said last.
fn line(one: &Value) -> String {
    let rank = |name: &str| match name {
        "at_ms" => 0,
        "message" | "body" => 3,
        "post" | "get" | "delete" | "left" | "head" | "said" | "ended" | "send" | "abort" | "answer" | "open"
        | "say" => 1,
        _ => 2,
    };
    let mut members: Vec<_> = one.as_object().unwrap().iter().collect();
    members.sort_by_key(|(name, _)| rank(name));
    let members: Vec<_> = members.into_iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    format!("{{{}}}", members.join(", "))
}

const START: Timestamp = Timestamp::from_secs(1_800_000_000);
