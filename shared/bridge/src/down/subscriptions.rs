//! Who listens to what the server says of its own accord? A resource is subscribed to as long as anybody watches it.

use std::collections::BTreeMap;

use mcp::Timestamp;

use super::{
    Down,
    request::{self, Filter, Topic},
    results::{self, Failure, Outcome},
    stream,
    wire::Purpose,
};
use crate::{
    facade::Channel,
    text::{self, Members, key, quoted},
};

/// Those who listen.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    pub(super) listeners: Vec<Listener>,
    /// The resources somebody watches.
    watched: BTreeMap<String, Watch>,
}

/// One `subscriptions/listen`.
#[derive(Debug)]
pub(super) struct Listener {
    channel: Channel,
    /// The JSON text of its id.
    id: String,
    /// What it asked for; once it was acknowledged, what is honoured of that.
    filter: Filter,
    acknowledged: Acknowledged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acknowledged {
    Yes,
    /// It waits for the stream and its resources, at most until then.
    By(Timestamp),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    Asked,
    Granted,
    Refused,
}

impl Subscriptions {
    /// When somebody has to be acknowledged at the latest.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let by = |listener: &Listener| match listener.acknowledged {
            Acknowledged::By(at) => Some(at),
            Acknowledged::Yes => None,
        };
        self.listeners.iter().filter_map(by).min()
    }

    /// Forgets what belonged to a session that is lost.
    pub(super) fn lose_session(&mut self) {
        self.watched.clear();
    }

    /// Whether anybody listens to anything.
    pub(super) fn is_wanted(&self) -> bool {
        self.listeners.iter().any(|listener| !listener.filter.is_empty())
    }

    fn watchers(&self, uri: &str) -> usize {
        self.listeners.iter().filter(|listener| listener.filter.uris.iter().any(|one| one == uri)).count()
    }
}

impl Down {
    /// Takes on a `subscriptions/listen`.
    pub(super) fn listen(&mut self, channel: Channel, id: &str, params: &Members<'_>) {
        let filter = match request::filter(params) {
            Ok(filter) => filter,
            Err(wrong) => return self.refuse(channel, id, &Failure::Wrong(wrong.to_string())),
        };
        let uris: usize = self.subscriptions.listeners.iter().map(|listener| listener.filter.uris.len()).sum();
        if self.subscriptions.listeners.len() >= LISTENERS_MAX || uris + filter.uris.len() > WATCHED_MAX {
            return self.refuse(channel, id, &Failure::Busy);
        }
        let acknowledged = Acknowledged::By(self.wire.now.plus_millis(ACKNOWLEDGE_MS));
        self.subscriptions.listeners.push(Listener { channel, id: id.to_owned(), filter, acknowledged });
    }

    /// Does for those who listen what can be done now; the session is open.
    pub(super) fn attend(&mut self) {
        self.settle_filters();
        self.tune();
        if let stream::Stage::Open(_) = self.stream.stage {
            self.watch();
        }
        self.acknowledge();
    }

    /// Takes out of each new filter what the server does not declare.
    fn settle_filters(&mut self) {
        let Some(agreement) = self.session.agreement() else { return };
        for listener in &mut self.subscriptions.listeners {
            if listener.acknowledged != Acknowledged::Yes {
                listener.filter.lists.retain(|topic| agreement.declares_flag(topic.capability(), "listChanged"));
                if !agreement.declares_flag("resources", "subscribe") {
                    listener.filter.uris.clear();
                }
            }
        }
    }

    /// Subscribes to what somebody watches.
    fn watch(&mut self) {
        let Subscriptions { listeners, watched } = &mut self.subscriptions;
        let wanted = listeners.iter().flat_map(|listener| &listener.filter.uris);
        let fresh: Vec<String> = wanted.filter(|uri| !watched.contains_key(*uri)).cloned().collect();
        for uri in fresh {
            if watched.insert(uri.clone(), Watch::Asked).is_some() {
                continue;
            }
            let id = self.wire.number();
            let params = Members::from_iter([("uri", quoted(&uri))]).write();
            let body = text::request(&id.to_string(), "resources/subscribe", Some(&params));
            self.wire.post(&self.session.peer(), Purpose::Subscribe(id, uri), body);
        }
    }

    /// Takes note of whether the resource `uri` is subscribed to in the session `generation`.
    pub(super) fn watching(&mut self, generation: u64, uri: &str, is_granted: bool) {
        if generation != self.session.generation {
            return;
        }
        if let Some(watch) = self.subscriptions.watched.get_mut(uri).filter(|watch| **watch == Watch::Asked) {
            *watch = if is_granted { Watch::Granted } else { Watch::Refused };
        }
    }

    /// Acknowledges each listener all of whose wishes are decided, or that has waited long enough.
    fn acknowledge(&mut self) {
        let (now, stage) = (self.wire.now, self.stream.stage);
        let Subscriptions { listeners, watched } = &mut self.subscriptions;
        for listener in listeners {
            let Acknowledged::By(at) = listener.acknowledged else { continue };
            let is_decided = match stage {
                stream::Stage::Missing => true,
                stream::Stage::Open(_) => {
                    listener.filter.uris.iter().all(|uri| watched.get(uri) != Some(&Watch::Asked))
                }
                _ => listener.filter.is_empty(),
            };
            if !is_decided && now < at {
                continue;
            }
            if stage == stream::Stage::Missing {
                listener.filter = Filter::default();
            }
            listener.filter.uris.retain(|uri| watched.get(uri) != Some(&Watch::Refused));
            listener.acknowledged = Acknowledged::Yes;
            let mut params = Members::new();
            params.set("notifications", listener.filter.write());
            self.wire.open(listener.channel);
            self.wire.say(listener.channel, &tagged(ACKNOWLEDGED, params, &listener.id));
        }
        // A refusal is not remembered: whoever comes next asks again.
        let Subscriptions { listeners, watched } = &mut self.subscriptions;
        watched.retain(|uri, _| listeners.iter().any(|listener| listener.filter.uris.iter().any(|one| one == uri)));
    }

    /// The caller on `channel` went away.
    pub(super) fn unlisten(&mut self, channel: Channel) {
        let Some(index) = self.subscriptions.listeners.iter().position(|listener| listener.channel == channel) else {
            return;
        };
        let listener = self.subscriptions.listeners.remove(index);
        for uri in listener.filter.uris {
            if self.subscriptions.watchers(&uri) > 0 {
                continue;
            }
            if matches!(self.subscriptions.watched.remove(&uri), Some(Watch::Asked | Watch::Granted)) {
                let id = self.wire.number().to_string();
                let params = Members::from_iter([("uri", quoted(&uri))]).write();
                self.wire.courtesy(&self.session.peer(), text::request(&id, "resources/unsubscribe", Some(&params)));
            }
        }
    }

    /// Ends the streams of those who were promised what cannot be kept; they may ask anew.
    pub(super) fn dismiss(&mut self) {
        let promised = |listener: &&Listener| listener.acknowledged == Acknowledged::Yes && !listener.filter.is_empty();
        let promised = self.subscriptions.listeners.iter().filter(promised);
        let promised: Vec<_> = promised.map(|listener| (listener.channel, listener.id.clone())).collect();
        for (channel, id) in promised {
            let meta = Members::from_iter([(key::SUBSCRIPTION_ID, id.as_str())]).write();
            let result = Members::from_iter([("_meta", meta)]);
            let server_info = self.session.server_info();
            if let Ok(result) = results::complete("subscriptions/listen", result, server_info) {
                self.wire.say(channel, &Outcome::Result(result).write(&id));
            }
            self.wire.close(channel);
            self.unlisten(channel);
        }
    }

    /// No session could be begun: those who wait are told so, the others dismissed.
    pub(super) fn fail_listeners(&mut self, failure: &Failure) {
        self.dismiss();
        for listener in std::mem::take(&mut self.subscriptions.listeners) {
            match listener.acknowledged {
                Acknowledged::Yes => self.wire.close(listener.channel),
                Acknowledged::By(_) => self.refuse(listener.channel, &listener.id, failure),
            }
        }
    }

    /// Tells those who listen of the notification `method`.
    pub(super) fn publish(&mut self, method: &str, params: &Members<'_>) {
        let topic = Topic::ALL.into_iter().find(|topic| topic.method() == method);
        if topic == Some(Topic::Tools)
            && let Some(agreement) = self.session.agreement_mut()
        {
            agreement.tasks.forget();
        }
        let uri = if method == UPDATED { params.string("uri") } else { None };
        for listener in &self.subscriptions.listeners {
            let wants = topic.is_some_and(|topic| listener.filter.lists.contains(&topic))
                || uri.as_deref().is_some_and(|uri| listener.filter.uris.iter().any(|watched| covers(watched, uri)));
            if wants && listener.acknowledged == Acknowledged::Yes {
                self.wire.say(listener.channel, &tagged(method, params.clone(), &listener.id));
            }
        }
    }
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.uris.is_empty()
    }
}

/// The notification `method` with the id of the subscription it belongs to.
fn tagged(method: &str, mut params: Members<'_>, id: &str) -> String {
    if params.edit("_meta", |meta| meta.set(key::SUBSCRIPTION_ID, id.to_owned())).is_err() {
        params.set("_meta", Members::from_iter([(key::SUBSCRIPTION_ID, id)]).write());
    }
    text::notification(method, Some(&params.write()))
}

/// Whether `uri` is the resource `watched`, or one within it (MCP 2025-11-25 schema, `ResourceUpdatedNotification`).
fn covers(watched: &str, uri: &str) -> bool {
    let within = |rest: &str| rest.is_empty() || watched.ends_with('/') || rest.starts_with(['/', '?', '#']);
    uri.strip_prefix(watched).is_some_and(within)
}

const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
const UPDATED: &str = "notifications/resources/updated";
/// Whoever listens is told what is honoured after so long at the latest: some servers send the head of a stream with its
/// first event.
const ACKNOWLEDGE_MS: u64 = 3_000;
/// No more streams are listened to.
const LISTENERS_MAX: usize = 64;
/// No more resources are watched.
const WATCHED_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_within_a_watched_resource_counts() {
        for uri in ["file:///a", "file:///a/b", "file:///a?x", "file:///a#x"] {
            assert!(covers("file:///a", uri), "{uri}");
        }
        assert!(covers("file:///a/", "file:///a/b"));
        for uri in ["file:///ab", "file:///", "http://file:///a"] {
            assert!(!covers("file:///a", uri), "{uri}");
        }
    }
}
