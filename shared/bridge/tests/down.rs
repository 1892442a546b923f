//! Does a façade in front of a legacy server say what table 1.4.2 of the protocol reference asks for? One file for each
//! row, with what came and what was done about it; `BLESS=1 cargo test -p bridge --test down` writes the second half anew.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a golden file that cannot be read fails its test"
)]

use std::{collections::BTreeMap, fs, path::PathBuf};

use bridge::{
    down::{Down, Terms},
    facade::{Action, Channel, End, Event, Facade, Hop, Method, Moment, Request},
};
use mcp::Timestamp;
use serde_json::{Map, Value, json};

#[test]
fn each_row_is_translated_as_its_golden_file_says() {
    let folder = PathBuf::from("tests/golden/down");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 39, "golden files are missing: {files:?}");
    let mut wrong = Vec::new();
    for file in files {
        let golden: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let played = Stage::play(&golden);
        if option_env!("BLESS").is_some() {
            fs::write(&file, format!("{}\n", serde_json::to_string_pretty(&played).unwrap())).unwrap();
        } else if played != golden {
            let played = serde_json::to_string_pretty(&played).unwrap();
            wrong.push(format!("{} is not what happens:\n{played}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A façade, and what is known of the requests it sent.
struct Stage {
    down: Down,
    /// What `initialize` is answered with, unless the file does that itself.
    server: Option<Value>,
    sessions: u32,
    /// The status the server's own stream is answered with, unless the file does that itself.
    stream: Option<u64>,
    sent: Vec<(String, Request)>,
    /// The `requestState` of each answer that asked back.
    states: Vec<Value>,
    now_ms: u64,
    actions: Vec<Value>,
}

impl Stage {
    /// `golden` with the actions that its events lead to.
    fn play(golden: &Value) -> Value {
        let mut terms = golden["terms"].clone();
        terms["parked_ms"] = 600_000.into();
        let terms: Terms = serde_json::from_value(terms).unwrap();
        let server = golden.get("server").cloned();
        let mut stage = Self {
            down: Down::new(terms),
            server,
            sessions: 0,
            stream: golden["stream"].as_u64(),
            sent: Vec::new(),
            states: Vec::new(),
            now_ms: 0,
            actions: Vec::new(),
        };
        let mut played = golden.clone();
        for step in played["steps"].as_array_mut().unwrap() {
            stage.now_ms = step["at_ms"].as_u64().unwrap_or(stage.now_ms);
            stage.step(step);
            step["actions"] = std::mem::take(&mut stage.actions).into();
        }
        played
    }

    fn step(&mut self, step: &Value) {
        let (kind, what) = step
            .as_object()
            .unwrap()
            .iter()
            .find(|(key, _)| !["actions", "at_ms", "why"].contains(&key.as_str()))
            .unwrap();
        let channel = Channel(what["channel"].as_u64().unwrap_or_default());
        let hop = what["hop"].as_str().map(|label| self.hop(label));
        match kind.as_str() {
            "posted" => {
                let body = self.recalled(&what["body"]).to_string();
                self.event(Event::Posted { channel, body: &body, session_id: None });
            }
            "left" => self.event(Event::Left { channel }),
            "listened" => self.event(Event::Listened { channel, last_event_id: None, session_id: None }),
            "deleted" => self.event(Event::Deleted { channel, session_id: None }),
            "woken" => self.event(Event::Woken),
            "answered" => {
                let status = u16::try_from(what["status"].as_u64().unwrap()).unwrap();
                self.event(Event::Answered { hop: hop.unwrap(), status, session_id: what["session_id"].as_str() });
            }
            "said" => self.said(hop.unwrap(), what),
            "ended" => self.event(Event::Ended { hop: hop.unwrap(), end: end(&what["end"]) }),
            "idle" => self.actions.push(self.down.is_idle().into()),
            "farewell" => {
                let actions = self.down.farewell();
                self.perform(actions);
            }
            // A whole answer in one: head, message, end.
            "replied" => {
                let hop = hop.unwrap();
                let status = what["status"].as_u64().map_or(200, |status| u16::try_from(status).unwrap());
                self.event(Event::Answered { hop, status, session_id: what["session_id"].as_str() });
                if what.get("message").is_some() {
                    self.said(hop, what);
                }
                self.event(Event::Ended { hop, end: End::Complete });
            }
            other => panic!("`{other}` is no event"),
        }
    }

    fn said(&mut self, hop: Hop, what: &Value) {
        let sent = self.sent.iter().find(|(_, request)| request.hop == hop).unwrap();
        let sent: Value = serde_json::from_str(&sent.1.body).unwrap_or_default();
        let message = what.get("message").map(|message| filled(message, &sent).to_string()).unwrap_or_default();
        let (event_id, retry_ms) = (what["event_id"].as_str(), what["retry_ms"].as_u64());
        self.event(Event::Said { hop, message: &message, event_id, retry_ms });
    }

    fn event(&mut self, event: Event<'_>) {
        let moment = Moment { now: Timestamp::from_millis(1_800_000_000_000 + self.now_ms), random: [7; 32] };
        let actions = self.down.handle(event, &moment);
        self.perform(actions);
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            if let Action::Request(request) = &action {
                self.sent.push((label(request), request.clone()));
                if self.open(request.clone()) {
                    continue;
                }
            }
            let shown = self.show(&action);
            for message in [&shown["answer"]["message"], &shown["say"]["message"]] {
                self.states.extend(message["result"].get("requestState").cloned());
            }
            self.actions.push(shown);
        }
    }

    /// Begins a session where the file leaves that to us.
    fn open(&mut self, request: Request) -> bool {
        let Some(server) = self.server.clone() else { return false };
        let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
        let hop = request.hop;
        match body["method"].as_str() {
            Some("initialize") => {
                self.sessions += 1;
                let session_id = format!("session-{}", self.sessions);
                self.event(Event::Answered { hop, status: 200, session_id: Some(&session_id) });
                let message = json!({"jsonrpc": "2.0", "id": body["id"], "result": server}).to_string();
                self.event(Event::Said { hop, message: &message, event_id: None, retry_ms: None });
            }
            None if request.method == Method::Get && self.stream.is_some() && request.last_event_id.is_none() => {
                let status = self.stream.and_then(|status| u16::try_from(status).ok()).unwrap();
                self.event(Event::Answered { hop, status, session_id: None });
                return true;
            }
            Some("notifications/initialized") => self.event(Event::Answered { hop, status: 202, session_id: None }),
            _ => return false,
        }
        self.event(Event::Ended { hop, end: End::Complete });
        true
    }

    fn show(&self, action: &Action) -> Value {
        let name = |hop: &Hop| self.sent.iter().find(|(_, sent)| sent.hop == *hop).map(|_| self.name(*hop));
        match action {
            Action::Request(request) => {
                let mut shown = Map::new();
                shown.insert("hop".into(), name(&request.hop).into());
                for (key, value) in [
                    ("revision", request.revision.map(|revision| revision.as_str().to_owned())),
                    ("session_id", request.session_id.clone()),
                    ("last_event_id", request.last_event_id.clone()),
                ] {
                    value.map(|value| shown.insert(key.into(), value.into()));
                }
                if request.method == Method::Post {
                    shown.insert("body".into(), serde_json::from_str(&request.body).unwrap());
                }
                json!({ "send": shown })
            }
            Action::Abort(hop) => json!({ "abort": name(hop) }),
            Action::Answer(answer) => {
                let message: Value =
                    answer.message.as_deref().map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
                json!({ "answer": { "channel": answer.channel.0, "status": answer.status, "message": message } })
            }
            Action::Open { channel, .. } => json!({ "open": channel.0 }),
            Action::Say { channel, event } => {
                let message: Value = serde_json::from_str(&event.data).unwrap();
                json!({ "say": { "channel": channel.0, "message": message } })
            }
            Action::Close(channel) => json!({ "close": channel.0 }),
            Action::Wake(at) => json!({ "wake_at_ms": at.as_millis() - 1_800_000_000_000 }),
        }
    }

    /// `body` with the n-th state that was told in place of `$state#n`.
    fn recalled(&self, body: &Value) -> Value {
        let mut body = body.clone();
        let told = body["params"]["requestState"].as_str().and_then(|state| state.strip_prefix("$state#"));
        if let Some(nth) = told.map(|nth| nth.parse::<usize>().unwrap()) {
            body["params"]["requestState"] = self.states[nth - 1].clone();
        }
        body
    }

    /// The hop of the newest request called `label`, or of the n-th with `label#n`.
    fn hop(&self, label: &str) -> Hop {
        let hops: BTreeMap<String, Hop> = self.sent.iter().map(|(_, sent)| (self.name(sent.hop), sent.hop)).collect();
        let newest = || self.sent.iter().rfind(|(name, _)| name == label).map(|(_, sent)| sent.hop);
        let numbered = || hops.get(label.strip_suffix("#1").unwrap_or(label)).copied();
        if label.contains('#') { numbered() } else { newest() }
            .unwrap_or_else(|| panic!("nothing was sent that is called `{label}`: {:?}", hops.keys()))
    }

    fn name(&self, hop: Hop) -> String {
        let at = self.sent.iter().position(|(_, sent)| sent.hop == hop).unwrap();
        let label = &self.sent[at].0;
        match self.sent[..=at].iter().filter(|(name, _)| name == label).count() {
            1 => label.clone(),
            count => format!("{label}#{count}"),
        }
    }
}

/// What a request is called: its method, or what it does.
fn label(request: &Request) -> String {
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    match request.method {
        Method::Get => "GET".to_owned(),
        Method::Delete => "DELETE".to_owned(),
        Method::Post => body["method"].as_str().unwrap_or("answer").to_owned(),
    }
}

/// `message` with `$id` and `$token` filled in from the request it answers.
fn filled(message: &Value, sent: &Value) -> Value {
    match message {
        Value::String(text) if text == "$id" => sent["id"].clone(),
        Value::String(text) if text == "$token" => sent["params"]["_meta"]["progressToken"].clone(),
        Value::Array(items) => items.iter().map(|item| filled(item, sent)).collect(),
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), filled(value, sent))).collect(),
        other => other.clone(),
    }
}

fn end(text: &Value) -> End {
    match text.as_str().unwrap() {
        "complete" => End::Complete,
        "unreachable" => End::Unreachable("no".into()),
        "broken" => End::Broken("reset".into()),
        "silent" => End::Silent(60_000),
        "garbage" => End::Garbage("html".into()),
        "aborted" => End::Aborted,
        other => panic!("`{other}` is no end"),
    }
}
