//! A façade to test the host with: it does what it is told by the method.

use std::collections::BTreeMap;

use bridge::facade::{Action, Answer, Channel, Event, Facade, Hop, Method, Moment, Request};
use mcp::{jsonrpc, jsonrpc::Message, sse};

/// `tick` opens a stream that ticks, `call` sends its parameters on and streams the answer, `park` does so but leaves
/// the caller after the first message, `resume` hears the rest, `state` tells who is there.
#[derive(Default)]
pub(super) struct Echo {
    ticking: Vec<Channel>,
    ticks: u64,
    left: u64,
    hops: u64,
    hop: BTreeMap<Hop, Channel>,
    parks: bool,
    kept: Vec<String>,
    ends: Vec<String>,
}

impl Echo {
    fn posted(&mut self, channel: Channel, body: &str, session_id: Option<&str>, moment: &Moment) -> Vec<Action> {
        let Ok(jsonrpc::Body::Single(Message::Request(call))) = jsonrpc::parse(body.as_bytes()) else { return vec![] };
        let open = Action::Open { channel, session_id: session_id.map(str::to_owned) };
        match &*call.method {
            "tick" => {
                self.ticking.push(channel);
                vec![open, Action::Wake(moment.now.plus_millis(300))]
            }
            "quiet" => vec![open],
            "call" | "park" => {
                self.hops += 1;
                let hop = Hop(self.hops);
                self.hop.insert(hop, channel);
                self.parks = call.method == "park";
                let body = call.params.map(|params| params.get().to_owned()).unwrap_or_default();
                let request = Request {
                    hop,
                    method: Method::Post,
                    path_and_query: None,
                    revision: None,
                    session_id: None,
                    last_event_id: None,
                    body,
                };
                vec![open, Action::Send(request)]
            }
            "abort" => self
                .hop
                .keys()
                .map(|hop| Action::Abort(*hop))
                .chain([Action::Open { channel, session_id: None }, Action::Close(channel)])
                .collect(),
            "resume" => {
                self.hop.values_mut().for_each(|to| *to = channel);
                let kept = std::mem::take(&mut self.kept);
                let says = kept.iter().map(|one| Action::Say { channel, event: sse::Event::message(one) });
                [open].into_iter().chain(says).collect()
            }
            "hang" => vec![],
            _ => {
                let message = format!(
                    r#"{{"jsonrpc":"2.0","id":1,"result":{{"left":{},"ticks":{},"hops":{},"ends":{}}}}}"#,
                    self.left,
                    self.ticks,
                    self.hop.len(),
                    serde_json::to_string(&self.ends).unwrap_or_default()
                );
                vec![Action::Answer(Answer { channel, status: 200, message: Some(message), session_id: None })]
            }
        }
    }
}

impl Facade for Echo {
    fn handle(&mut self, event: Event<'_>, moment: &Moment) -> Vec<Action> {
        match event {
            Event::Posted { channel, body, session_id } => self.posted(channel, body, session_id, moment),
            Event::Left { channel } => {
                self.left += 1;
                self.ticking.retain(|one| *one != channel);
                vec![]
            }
            Event::Woken if !self.ticking.is_empty() => {
                self.ticks += 1;
                let event =
                    sse::Event::message(&format!(r#"{{"tick":{},"at":{}}}"#, self.ticks, moment.now.as_millis()));
                let says = self.ticking.iter().map(|channel| Action::Say { channel: *channel, event: event.clone() });
                says.chain([Action::Wake(moment.now.plus_millis(300))]).collect()
            }
            Event::Said { hop, message, .. } => {
                let Some(channel) = self.hop.get(&hop).copied() else { return vec![] };
                if std::mem::take(&mut self.parks) {
                    let event = sse::Event::message(message);
                    self.hop.insert(hop, Channel(u64::MAX));
                    return vec![Action::Say { channel, event }, Action::Close(channel)];
                }
                if channel == Channel(u64::MAX) {
                    self.kept.push(message.to_owned());
                }
                vec![Action::Say { channel, event: sse::Event::message(message) }]
            }
            Event::Ended { hop, end } => {
                self.ends.push(format!("{end:?}"));
                self.hop.remove(&hop).map(Action::Close).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn is_idle(&self) -> bool {
        self.hop.is_empty()
    }

    fn farewell(&mut self) -> Vec<Action> {
        Vec::new()
    }
}
