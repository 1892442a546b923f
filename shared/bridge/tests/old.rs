//! Do HTTP+SSE and Streamable HTTP meet as they should? One file for each case: what comes, and what is done about it.
//!
//! `BLESS=1 cargo test -p bridge --test old` writes the actions anew; what changed is then read, not trusted.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a golden file that cannot be read fails its test"
)]

use std::fs;

use bridge::{
    facade::{Action, Channel, End, Event, Facade, Hop, Method, Moment, Request},
    old::{Sse, SseTerms, Streamable, StreamableTerms},
};
use mcp::Timestamp;
use serde_json::{Value, json};

#[test]
fn every_case_goes_as_it_was_written_down() {
    let mut paths: Vec<_> = fs::read_dir("tests/golden/old").unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 12, "one for each case");
    for path in paths {
        let golden: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let played = play(&golden);
        match option_env!("BLESS").is_some() {
            true => fs::write(&path, spell(&played)).unwrap(),
            // Whether an object keeps the order of its members is up to who else uses serde_json.
            false => assert!(golden == played, "{}: {}", path.display(), spell(&played)),
        }
    }
}

/// The same file with the actions that were seen.
fn play(golden: &Value) -> Value {
    let mut facade: Box<dyn Facade> = match golden["facade"].as_str().unwrap() {
        "streamable" => Box::new(Streamable::new(StreamableTerms { session_id: "sealed".into() })),
        "sse" => Box::new(Sse::new(SseTerms { endpoint: "/mcp/a/messages?session=1".into() })),
        other => panic!("`{other}` is no façade"),
    };
    for event in begun(golden) {
        hand(&mut *facade, &event);
    }
    let mut played = golden.clone();
    for step in played["steps"].as_array_mut().unwrap() {
        let actions = hand(&mut *facade, &step["event"]);
        step["actions"] = actions.iter().map(told).collect();
    }
    played
}

/// What happened before a case that needs an open session: the whole of `streamable-initialize` or `sse-open`.
fn begun(golden: &Value) -> Vec<Value> {
    if golden.get("begun") != Some(&json!(true)) {
        return Vec::new();
    }
    let opening = if golden["facade"] == "sse" { "sse-open" } else { "streamable-initialize" };
    // Tests run in the folder of their package.
    let opening = read(&fs::read_to_string(format!("tests/golden/old/{opening}.json")).unwrap());
    opening["steps"].as_array().unwrap().iter().map(|step| step["event"].clone()).collect()
}

fn hand(facade: &mut dyn Facade, event: &Value) -> Vec<Action> {
    let number = |name: &str| event[name].as_u64();
    let text = |name: &str| event[name].as_str();
    let message = event.get("message").map(Value::to_string).unwrap_or_default();
    let session_id = text("session");
    let moment = Moment { now: START.plus_millis(number("at_ms").unwrap_or_default()), random: [1; 32] };
    let event = if let Some(channel) = number("post") {
        Event::Posted { channel: Channel(channel), body: &message, session_id }
    } else if let Some(channel) = number("get") {
        Event::Listened { channel: Channel(channel), last_event_id: None, session_id }
    } else if let Some(channel) = number("delete") {
        Event::Deleted { channel: Channel(channel), session_id }
    } else if let Some(channel) = number("left") {
        Event::Left { channel: Channel(channel) }
    } else if let Some(hop) = number("head") {
        let status = u16::try_from(number("status").unwrap()).unwrap();
        Event::Answered { hop: Hop(hop), status, session_id }
    } else if let Some(hop) = number("pointed") {
        Event::Pointed { hop: Hop(hop), path_and_query: text("to").unwrap() }
    } else if let Some(hop) = number("said") {
        Event::Said { hop: Hop(hop), message: &message, event_id: text("id"), retry_ms: number("retry_ms") }
    } else if let Some(hop) = number("ended") {
        Event::Ended { hop: Hop(hop), end: end(text("end").unwrap()) }
    } else if event["farewell"] == true {
        return facade.farewell();
    } else {
        assert_eq!(event["woken"], true, "{event}");
        Event::Woken
    };
    facade.handle(event, &moment)
}

/// An action as it is written down.
fn told(action: &Action) -> Value {
    match action {
        Action::Request(request) => sent(request),
        Action::Abort(hop) => json!({"abort": hop.0}),
        Action::Answer(answer) => {
            let mut told = json!({"answer": answer.channel.0, "status": answer.status});
            set(&mut told, "session", answer.session_id.clone().map(Value::from));
            set(&mut told, "message", answer.message.as_deref().map(read));
            told
        }
        Action::Open { channel, .. } => json!({"open": channel.0}),
        Action::Say { channel, event } if event.name == "endpoint" => {
            json!({"say": channel.0, "endpoint": event.data})
        }
        Action::Say { channel, event } => json!({"say": channel.0, "message": read(&event.data)}),
        Action::Close(channel) => json!({"close": channel.0}),
        Action::Wake(at) => json!({"wake_ms": at.millis_since(START)}),
    }
}

fn sent(request: &Request) -> Value {
    let how = match request.method {
        Method::Post => "POST",
        Method::Get => "GET",
        Method::Delete => "DELETE",
    };
    let mut told = json!({"send": request.hop.0, "how": how});
    set(&mut told, "to", request.path_and_query.clone().map(Value::from));
    set(&mut told, "revision", request.revision.map(|revision| revision.as_str().into()));
    set(&mut told, "session", request.session_id.clone().map(Value::from));
    set(&mut told, "last_event_id", request.last_event_id.clone().map(Value::from));
    set(&mut told, "body", (!request.body.is_empty()).then(|| read(&request.body)));
    told
}

fn set(told: &mut Value, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        told[name] = value;
    }
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
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
    let steps = played["steps"].as_array().unwrap().iter().map(|step| {
        let actions = step["actions"].as_array().into_iter().flatten();
        let actions: Vec<_> = actions.map(|one| format!("\n        {}", line(one))).collect();
        format!(
            "    {{\n      \"event\": {},\n      \"actions\": [{}]\n    }}",
            line(&step["event"]),
            actions.join(",")
        )
    });
    let steps: Vec<_> = steps.collect();
    let (facade, what) = (&played["facade"], &played["what"]);
    let begun = if played["begun"] == true { "\n  \"begun\": true," } else { "" };
    format!("{{\n  \"facade\": {facade},\n  \"what\": {what},{begun}\n  \"steps\": [\n{}\n  ]\n}}\n", steps.join(",\n"))
}

/// What happens comes first, what is said last.
fn line(one: &Value) -> String {
    let rank = |name: &str| match name {
        "at_ms" => 0,
        "message" | "body" => 3,
        "post" | "get" | "delete" | "left" | "head" | "pointed" | "said" | "ended" | "send" | "abort" | "answer"
        | "open" | "say" => 1,
        _ => 2,
    };
    let mut members: Vec<_> = one.as_object().unwrap().iter().collect();
    members.sort_by_key(|(name, _)| rank(name));
    let members: Vec<_> = members.into_iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    format!("{{{}}}", members.join(", "))
}

const START: Timestamp = Timestamp::from_secs(1_000);
