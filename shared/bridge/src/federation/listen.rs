//! How do the streams of many servers become one? What a caller's `subscriptions/listen` asks for is split by server; what
//! they say comes together (MCP 2026-07-28 basic/patterns/subscriptions).
//!
//! The acknowledgement comes first and says what any server honours: it waits until each has answered or failed, or the host
//! loses patience ([`Listen::settle`]). A server that acknowledges later, or again after its stream broke, is announced by
//! one `list_changed`: what was missed cannot be known. Many `list_changed` within a second become two.

use std::collections::{BTreeMap, BTreeSet};

use mcp::{Body, Call, Message, Timestamp, json, jsonrpc, page::Kind};

use super::{
    list::Ask,
    rewrite,
    route::{Unroutable, with_params},
    uri,
    view::View,
};
use crate::text::{self, Members};

/// One caller's stream.
#[derive(Debug)]
pub struct Listen {
    /// The id of the caller's request, a JSON text.
    id: String,
    legs: BTreeMap<String, Leg>,
    /// What was acknowledged; `None` before.
    acknowledged: Option<Filter>,
    /// What the caller asked for, in its order.
    wanted: Filter,
    said: BTreeMap<Topic, Timestamp>,
    /// Changes that wait: for the acknowledgement, or for the last one of their kind to be a while ago.
    held: BTreeSet<Topic>,
    /// Changed resources that wait for the acknowledgement.
    updates: Vec<String>,
}

/// A list that may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Tools,
    Prompts,
    Resources,
}

/// What is to be heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Filter {
    topics: BTreeSet<Topic>,
    /// Resources, as they are called where the filter is.
    uris: Vec<String>,
}

/// One server's stream.
#[derive(Debug)]
struct Leg {
    wanted: Filter,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// It has not acknowledged yet.
    Waiting,
    /// It honours this.
    Live(Filter),
    /// It is over, or was refused.
    Over,
}

impl Listen {
    /// The stream `call` asks for, and what each server is to be asked for it. Nobody, if no server shows any of it.
    ///
    /// # Errors
    /// [`Unroutable::Params`]
    pub fn new(view: &View, call: &Call<'_>) -> Result<(Self, Vec<Ask>), Unroutable> {
        let unreadable = |error: text::Unreadable| Unroutable::Params(error.to_string());
        let params = Members::parse(call.params.map_or("{}", |params| params.get())).map_err(unreadable)?;
        params.plain(&["notifications"]).map_err(unreadable)?;
        let wanted = params.object("notifications").map_err(unreadable)?;
        wanted
            .plain(&["toolsListChanged", "promptsListChanged", "resourcesListChanged", RESOURCES])
            .map_err(unreadable)?;
        let wanted = Filter::read(&wanted)?;
        let (mut legs, mut asks) = (BTreeMap::new(), Vec::new());
        for server in view.servers() {
            let part = wanted.part(view, server);
            if part.is_empty() {
                continue;
            }
            let mut params = params.clone();
            params.set("notifications", part.write());
            asks.push(Ask { server: server.to_owned(), body: with_params(call, &params)? });
            legs.insert(server.to_owned(), Leg { wanted: part, state: State::Waiting });
        }
        let id = call.id.map_or("null", |id| id.get()).to_owned();
        let (said, held) = (BTreeMap::new(), BTreeSet::new());
        let listen = Self { id, legs, acknowledged: None, wanted, said, held, updates: Vec::new() };
        Ok((listen, asks))
    }

    /// What the caller is to hear before any server said anything: the acknowledgement, if nobody was asked.
    pub fn opened(&mut self, now: Timestamp) -> Vec<String> {
        self.settled(now)
    }

    /// What the caller is to hear now that `server` said `message`.
    pub fn heard(&mut self, server: &str, message: &str, now: Timestamp) -> Vec<String> {
        match jsonrpc::parse(message.as_bytes()) {
            Ok(Body::Single(Message::Notification(call))) => self.notified(server, &call, now),
            Ok(Body::Single(Message::Response(_))) => self.ended(server, now),
            _ => Vec::new(),
        }
    }

    /// What the caller is to hear now that `server`'s stream is over, or could not be had. It may be asked again, in the same
    /// words.
    pub fn ended(&mut self, server: &str, now: Timestamp) -> Vec<String> {
        if let Some(leg) = self.legs.get_mut(server) {
            leg.state = State::Over;
        }
        self.settled(now)
    }

    /// What the caller is to hear now that no server is waited for any longer.
    pub fn settle(&mut self, now: Timestamp) -> Vec<String> {
        if self.acknowledged.is_some() {
            return Vec::new();
        }
        let mut heard = vec![self.acknowledge()];
        heard.append(&mut self.updates);
        heard.extend(std::mem::take(&mut self.held).into_iter().filter_map(|topic| self.change(topic, now)));
        heard
    }

    /// When [`Listen::woken`] is to be called.
    #[must_use]
    pub fn wake(&self) -> Option<Timestamp> {
        self.acknowledged.as_ref()?;
        self.held.iter().map(|topic| self.next(*topic)).min()
    }

    /// What the caller is to hear at this time.
    pub fn woken(&mut self, now: Timestamp) -> Vec<String> {
        let due: Vec<Topic> = self.held.iter().copied().filter(|topic| self.next(*topic) <= now).collect();
        due.into_iter().filter_map(|topic| self.change(topic, now)).collect()
    }

    /// Whether some server's stream is still open, or waited for.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.legs.values().any(|leg| leg.state != State::Over)
    }

    /// The response that ends the stream on purpose.
    #[must_use]
    pub fn end(&self) -> String {
        let mut result = Members::new();
        result.set("resultType", "\"complete\"");
        result.set("_meta", self.meta());
        text::response(&self.id, &result.write())
    }

    fn notified(&mut self, server: &str, call: &Call<'_>, now: Timestamp) -> Vec<String> {
        let Ok(params) = Members::parse(call.params.map_or("{}", |params| params.get())) else { return Vec::new() };
        if call.method == ACKNOWLEDGED {
            return self.honoured(server, &params, now);
        }
        let Some(Leg { state: State::Live(honoured), .. }) = self.legs.get(server) else { return Vec::new() };
        if let Some(topic) = Topic::ALL.into_iter().find(|topic| topic.method() == call.method) {
            let is_wanted = honoured.topics.contains(&topic);
            return is_wanted.then(|| self.change(topic, now)).flatten().into_iter().collect();
        }
        if call.method == UPDATED && !honoured.uris.is_empty() {
            return self.updated(server, params).into_iter().collect();
        }
        Vec::new()
    }

    /// A server says what it honours.
    fn honoured(&mut self, server: &str, params: &Members<'_>, now: Timestamp) -> Vec<String> {
        let said = params.object("notifications").ok().and_then(|said| Filter::read(&said).ok()).unwrap_or_default();
        let Some(leg) = self.legs.get_mut(server) else { return Vec::new() };
        let honoured = leg.wanted.both(&said);
        let topics = honoured.topics.clone();
        leg.state = State::Live(honoured);
        match &self.acknowledged {
            None => self.settled(now),
            // What changed while it was away is not known.
            Some(_) => topics.into_iter().filter_map(|topic| self.change(topic, now)).collect(),
        }
    }

    fn settled(&mut self, now: Timestamp) -> Vec<String> {
        let is_waiting = self.legs.values().any(|leg| leg.state == State::Waiting);
        if is_waiting { Vec::new() } else { self.settle(now) }
    }

    /// Acknowledges what any server honours.
    fn acknowledge(&mut self) -> String {
        let mut all = Filter::default();
        for (server, leg) in &self.legs {
            if let State::Live(honoured) = &leg.state {
                all.topics.extend(&honoured.topics);
                all.uris.extend(honoured.uris.iter().map(|own| uri::join(server, own)));
            }
        }
        let honoured = self.wanted.both(&all);
        let mut params = Members::new();
        params.set("notifications", honoured.write());
        params.set("_meta", self.meta());
        self.acknowledged = Some(honoured);
        text::notification(ACKNOWLEDGED, Some(&params.write()))
    }

    /// A list has changed: said at once, or held back if that was said a moment ago.
    fn change(&mut self, topic: Topic, now: Timestamp) -> Option<String> {
        let is_early = match &self.acknowledged {
            None => true,
            Some(acknowledged) if !acknowledged.topics.contains(&topic) => return None,
            Some(_) => now < self.next(topic),
        };
        if is_early {
            self.held.insert(topic);
            return None;
        }
        self.held.remove(&topic);
        self.said.insert(topic, now);
        let params = ["{\"_meta\":", &self.meta(), "}"].concat();
        Some(text::notification(topic.method(), Some(&params)))
    }

    /// When a change of `topic` may be said again.
    fn next(&self, topic: Topic) -> Timestamp {
        self.said.get(&topic).map_or_else(Timestamp::default, |said| said.plus_millis(PAUSE_MS))
    }

    /// A resource has changed, under its name here.
    fn updated(&mut self, server: &str, mut params: Members<'_>) -> Option<String> {
        params.string("uri")?;
        rewrite::rename(server, &mut params);
        let id = self.id.clone();
        params.edit("_meta", |meta| meta.set(text::key::SUBSCRIPTION_ID, id)).ok()?;
        let update = text::notification(UPDATED, Some(&params.write()));
        if self.acknowledged.is_some() {
            return Some(update);
        }
        if self.updates.len() < UPDATES_MAX && !self.updates.contains(&update) {
            self.updates.push(update);
        }
        None
    }

    fn meta(&self) -> String {
        let mut meta = Members::new();
        meta.set(text::key::SUBSCRIPTION_ID, self.id.as_str());
        meta.write()
    }
}

impl Topic {
    const ALL: [Self; 3] = [Self::Tools, Self::Prompts, Self::Resources];

    const fn member(self) -> &'static str {
        match self {
            Self::Tools => "toolsListChanged",
            Self::Prompts => "promptsListChanged",
            Self::Resources => "resourcesListChanged",
        }
    }

    const fn method(self) -> &'static str {
        match self {
            Self::Tools => "notifications/tools/list_changed",
            Self::Prompts => "notifications/prompts/list_changed",
            Self::Resources => "notifications/resources/list_changed",
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Self::Tools => Kind::Tools,
            Self::Prompts => Kind::Prompts,
            Self::Resources => Kind::Resources,
        }
    }
}

impl Filter {
    fn read(members: &Members<'_>) -> Result<Self, Unroutable> {
        let params = |what: &str| Unroutable::Params(format!("`notifications.{RESOURCES}` {what}"));
        let topics = Topic::ALL.into_iter().filter(|topic| members.raw(topic.member()) == Some("true")).collect();
        let uris = match members.raw(RESOURCES) {
            None | Some("null") => Vec::new(),
            Some(raw) => text::items(raw).map_err(|_| params("must be an array of at most 2000 URIs"))?,
        };
        let uris = uris.into_iter().map(|raw| {
            let uri =
                text::unquoted(raw).ok_or_else(|| params(&format!("holds `{}`, which is no URI", json::clip(raw))))?;
            Ok(uri.into_owned())
        });
        Ok(Self { topics, uris: uris.collect::<Result<_, Unroutable>>()? })
    }

    /// What of it `server` is asked for, as it calls it.
    fn part(&self, view: &View, server: &str) -> Self {
        let Some(share) = view.share(server) else { return Self::default() };
        let topics = self.topics.iter().copied().filter(|topic| share.shows(topic.kind())).collect();
        let own =
            |text: &String| view.resource(text).filter(|(owner, _)| *owner == server).map(|(_, uri)| uri.to_owned());
        Self { topics, uris: self.uris.iter().filter_map(own).collect() }
    }

    /// What is in both, in this one's order.
    fn both(&self, other: &Self) -> Self {
        let others: BTreeSet<&String> = other.uris.iter().collect();
        Self {
            topics: &self.topics & &other.topics,
            uris: self.uris.iter().filter(|uri| others.contains(uri)).cloned().collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.uris.is_empty()
    }

    fn write(&self) -> String {
        let mut members: Members<'_> = self.topics.iter().map(|topic| (topic.member(), "true")).collect();
        if !self.uris.is_empty() {
            members.set(RESOURCES, text::array(self.uris.iter().map(|uri| text::quoted(uri))));
        }
        members.write()
    }
}

const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
const UPDATED: &str = "notifications/resources/updated";
const RESOURCES: &str = "resourceSubscriptions";
/// Between two announcements of one kind of change.
const PAUSE_MS: u64 = 1_000;
/// More changes are not kept for after the acknowledgement.
const UPDATES_MAX: usize = 256;
