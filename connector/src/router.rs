//! Which stream does a message of the server belong to? A session's requests in flight, without any I/O.

use std::collections::{BTreeMap, HashMap};

use mcp::{Call, Message, Reply};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The requests of one session that wait for an answer, by the POST that brought them.
#[derive(Debug)]
pub struct Router {
    exchanges: BTreeMap<ExchangeId, Exchange>,
    pending: HashMap<Key, Pending>,
    next: u64,
    max_in_flight: usize,
    timeout_ms: u64,
}

/// A POST with requests in it, and the answer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(u64);

/// What an exchange is given besides the responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Progress, log messages, the server's own requests.
    Related,
    /// Nothing: `initialize` is answered by its response alone. Its deadline is its caller's matter: without a
    /// response there is no session.
    Nothing,
}

/// Where a message of the server goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// To the answer of a POST.
    Exchange(ExchangeId, Part),
    /// To the GET stream.
    Listener,
    /// Nowhere: its caller left, or nobody asked.
    Nowhere(&'static str),
}

/// What a message is to the exchange it goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It belongs to a request that is still to be answered.
    Related,
    /// It answers one request, others are still to be answered.
    Response,
    /// It answers the last request.
    Last,
}

/// Whether somebody reads the GET stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Somebody does.
    Present,
    /// Nobody does.
    Absent,
}

/// Why a POST's requests were not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// An id must be one request's alone while it waits.
    #[error("the id {0} is that of another request in flight; give each request its own")]
    Duplicate(Box<str>),
    /// The bound of the session.
    #[error("more than {0} requests of this session are in flight; wait for an answer first")]
    TooMany(usize),
}

/// A request that got no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// The POST that brought it.
    pub exchange: ExchangeId,
    /// Its id as it was spelled.
    pub id: Box<str>,
    /// What an error in its place is to the exchange.
    pub part: Part,
}

impl Router {
    /// Nothing in flight yet.
    #[must_use]
    pub fn new(max_in_flight: usize, timeout_ms: u64) -> Self {
        Self { exchanges: BTreeMap::new(), pending: HashMap::new(), next: 0, max_in_flight, timeout_ms }
    }

    /// Takes the requests among `messages`, all or none; `None` where there are none.
    ///
    /// # Errors
    /// [`NotTaken`]; then nothing has changed.
    pub fn open(
        &mut self,
        messages: &[Message<'_>],
        takes: Takes,
        now_ms: u64,
    ) -> Result<Option<ExchangeId>, NotTaken> {
        let exchange = ExchangeId(self.next);
        let deadline_ms = match takes {
            Takes::Related => now_ms.saturating_add(self.timeout_ms),
            Takes::Nothing => u64::MAX,
        };
        let mut taken = HashMap::new();
        for call in messages.iter().filter_map(as_request) {
            let Some(id) = call.id else { continue };
            let pending = Pending { exchange, id: id.get().into(), token: progress_token(call), deadline_ms };
            let key = key(id);
            if self.pending.contains_key(&key) || taken.insert(key, pending).is_some() {
                return Err(NotTaken::Duplicate(id.get().into()));
            }
        }
        if self.pending.len() + taken.len() > self.max_in_flight {
            return Err(NotTaken::TooMany(self.max_in_flight));
        }
        if taken.is_empty() {
            return Ok(None);
        }
        self.next += 1;
        self.exchanges.insert(exchange, Exchange { waiting: taken.len(), caller: Caller::Waits, takes });
        self.pending.extend(taken);
        Ok(Some(exchange))
    }

    /// Where `message`, which the server sent, goes.
    pub fn route(&mut self, message: &Message<'_>, listener: Listener) -> Route {
        match message {
            Message::Response(reply) => self.response(reply),
            Message::Request(_) => self.request(listener),
            Message::Notification(call) => self.notification(call, listener),
        }
    }

    /// The caller of `exchange` left. Its requests run on, their responses go nowhere.
    pub fn leave(&mut self, exchange: ExchangeId) {
        if let Some(exchange) = self.exchanges.get_mut(&exchange) {
            exchange.caller = Caller::Left;
        }
    }

    /// Gives up the requests whose time is over.
    pub fn expire(&mut self, now_ms: u64) -> Vec<Unanswered> {
        let is_over = |pending: &Pending| pending.deadline_ms <= now_ms;
        let mut over: Vec<Key> =
            self.pending.iter().filter(|(_, pending)| is_over(pending)).map(|(key, _)| key.clone()).collect();
        over.sort_unstable();
        over.iter().filter_map(|key| self.take(key)).collect()
    }

    /// Gives up everything.
    pub fn end(&mut self) -> Vec<Unanswered> {
        let mut all: Vec<Key> = self.pending.keys().cloned().collect();
        all.sort_unstable();
        all.iter().filter_map(|key| self.take(key)).collect()
    }

    /// How many requests wait for an answer.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    fn response(&mut self, reply: &Reply<'_>) -> Route {
        let Some(id) = reply.id else { return Route::Nowhere("a response without an id") };
        let key = key(id);
        let Some(pending) = self.pending.get(&key) else {
            return Route::Nowhere("a response to no request in flight");
        };
        let has_left = self.exchanges.get(&pending.exchange).is_none_or(|exchange| exchange.caller == Caller::Left);
        match self.take(&key) {
            Some(answered) if !has_left => Route::Exchange(answered.exchange, answered.part),
            _ => Route::Nowhere("a response whose caller has left"),
        }
    }

    /// A request must reach somebody, or the server waits for nothing: with several exchanges and no GET stream, the
    /// newest one is as good a guess as any.
    fn request(&self, listener: Listener) -> Route {
        let mut open = self.open_exchanges();
        match (open.next_back(), open.next_back(), listener) {
            (Some(only), None, _) => Route::Exchange(only, Part::Related),
            (Some(newest), Some(_), Listener::Absent) => Route::Exchange(newest, Part::Related),
            _ => Route::Listener,
        }
    }

    fn notification(&self, call: &Call<'_>, listener: Listener) -> Route {
        match call.method.as_ref() {
            "notifications/progress" => self.progress(call),
            "notifications/cancelled" | "notifications/elicitation/complete" => self.request(listener),
            "notifications/message" => self.only_exchange(),
            _ => Route::Listener,
        }
    }

    fn progress(&self, call: &Call<'_>) -> Route {
        let params = call.params.and_then(|params| serde_json::from_str::<Progress<'_>>(params.get()).ok());
        let Some(token) = params.and_then(|params| params.token).map(key) else {
            return Route::Nowhere("progress without a token");
        };
        let pending = self.pending.values().find(|pending| pending.token.as_ref() == Some(&token));
        let exchange = pending.and_then(|pending| Some((pending.exchange, self.exchanges.get(&pending.exchange)?)));
        match exchange {
            Some((_, Exchange { caller: Caller::Left, .. })) => Route::Nowhere("progress whose caller has left"),
            Some((id, Exchange { takes: Takes::Related, .. })) => Route::Exchange(id, Part::Related),
            _ => Route::Listener,
        }
    }

    fn only_exchange(&self) -> Route {
        let mut open = self.open_exchanges();
        match (open.next(), open.next()) {
            (Some(only), None) => Route::Exchange(only, Part::Related),
            _ => Route::Listener,
        }
    }

    fn open_exchanges(&self) -> impl DoubleEndedIterator<Item = ExchangeId> {
        let is_open = |exchange: &Exchange| exchange.caller == Caller::Waits && exchange.takes == Takes::Related;
        self.exchanges.iter().filter(move |(_, exchange)| is_open(exchange)).map(|(id, _)| *id)
    }

    /// Removes a request, and its exchange with the last one.
    fn take(&mut self, key: &Key) -> Option<Unanswered> {
        let Pending { exchange, id, .. } = self.pending.remove(key)?;
        let entry = self.exchanges.get_mut(&exchange)?;
        entry.waiting = entry.waiting.saturating_sub(1);
        let part = if entry.waiting == 0 { Part::Last } else { Part::Response };
        if part == Part::Last {
            self.exchanges.remove(&exchange);
        }
        Some(Unanswered { exchange, id, part })
    }
}

#[derive(Debug)]
struct Exchange {
    waiting: usize,
    caller: Caller,
    takes: Takes,
}

#[derive(Debug, PartialEq, Eq)]
enum Caller {
    Waits,
    Left,
}

#[derive(Debug)]
struct Pending {
    exchange: ExchangeId,
    id: Box<str>,
    token: Option<Key>,
    deadline_ms: u64,
}

/// An id or a progress token. A string and a number never meet, two spellings of a string do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    Text(String),
    Number(Box<str>),
}

fn key(raw: &RawValue) -> Key {
    serde_json::from_str(raw.get()).map_or_else(|_| Key::Number(raw.get().into()), Key::Text)
}

fn as_request<'m, 'a>(message: &'m Message<'a>) -> Option<&'m Call<'a>> {
    match message {
        Message::Request(call) => Some(call),
        _ => None,
    }
}

fn progress_token(call: &Call<'_>) -> Option<Key> {
    let params: WithMeta<'_> = serde_json::from_str(call.params?.get()).ok()?;
    params.meta?.token.map(key)
}

#[derive(Deserialize)]
struct WithMeta<'a> {
    #[serde(borrow, rename = "_meta")]
    meta: Option<Progress<'a>>,
}

#[derive(Deserialize)]
struct Progress<'a> {
    #[serde(borrow, rename = "progressToken")]
    token: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use mcp::Body;
    use proptest::prelude::*;

    use super::*;

    fn messages(text: &str) -> Vec<Message<'_>> {
        match mcp::jsonrpc::parse(text.as_bytes()).unwrap() {
            Body::Single(message) => vec![message],
            Body::Batch(messages) => messages,
        }
    }

    fn router() -> Router {
        Router::new(8, 1000)
    }

    fn post(router: &mut Router, text: &str) -> ExchangeId {
        router.open(&messages(text), Takes::Related, 0).unwrap().unwrap()
    }

    fn sent(router: &mut Router, text: &str, listener: Listener) -> Route {
        router.route(&messages(text)[0], listener)
    }

    fn call(id: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"_meta":{{"progressToken":{id}}}}}}}"#)
    }

    fn result(id: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
    }

    fn progress(token: &str) -> String {
        let params = format!(r#"{{"progressToken":{token},"progress":1}}"#);
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{params}}}"#)
    }

    const ELICIT: &str = r#"{"jsonrpc":"2.0","id":0,"method":"elicitation/create","params":{}}"#;
    const LOG: &str = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#;
    const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;

    #[test]
    fn ids_keep_their_type() {
        let mut router = router();
        let number = post(&mut router, &call("1"));
        let text = post(&mut router, &call("\"1\""));
        assert_eq!(sent(&mut router, &result("\"\\u0031\""), Listener::Absent), Route::Exchange(text, Part::Last));
        assert_eq!(sent(&mut router, &result("1"), Listener::Absent), Route::Exchange(number, Part::Last));
        assert!(matches!(sent(&mut router, &result("1"), Listener::Absent), Route::Nowhere(_)));
    }

    #[test]
    fn an_id_in_flight_is_not_taken_twice() {
        let mut router = router();
        post(&mut router, &call("1"));
        let again = router.open(&messages(&call("1")), Takes::Related, 0);
        assert_eq!(again, Err(NotTaken::Duplicate("1".into())));
        let batch = format!("[{},{}]", call("2"), call("2"));
        assert_eq!(router.open(&messages(&batch), Takes::Related, 0), Err(NotTaken::Duplicate("2".into())));
        assert_eq!(router.in_flight(), 1);
    }

    #[test]
    fn progress_follows_its_token_and_the_rest_follows_the_only_exchange() {
        let mut router = router();
        let one = post(&mut router, &call("1"));
        for text in [ELICIT, LOG, &progress("1")] {
            assert_eq!(sent(&mut router, text, Listener::Present), Route::Exchange(one, Part::Related), "{text}");
        }
        assert_eq!(sent(&mut router, CHANGED, Listener::Present), Route::Listener);
        let two = post(&mut router, &call("2"));
        assert_eq!(sent(&mut router, &progress("1"), Listener::Present), Route::Exchange(one, Part::Related));
        assert_eq!(sent(&mut router, ELICIT, Listener::Present), Route::Listener);
        assert_eq!(sent(&mut router, ELICIT, Listener::Absent), Route::Exchange(two, Part::Related));
        assert_eq!(sent(&mut router, LOG, Listener::Absent), Route::Listener);
    }

    #[test]
    fn a_caller_that_left_is_sent_nothing_and_does_not_count() {
        let mut router = router();
        let one = post(&mut router, &call("1"));
        let two = post(&mut router, &call("2"));
        router.leave(one);
        assert_eq!(sent(&mut router, ELICIT, Listener::Present), Route::Exchange(two, Part::Related));
        assert!(matches!(sent(&mut router, &progress("1"), Listener::Present), Route::Nowhere(_)));
        assert!(matches!(sent(&mut router, &result("1"), Listener::Present), Route::Nowhere(_)));
        assert_eq!(router.in_flight(), 1);
    }

    #[test]
    fn initialize_is_answered_by_its_response_alone() {
        let mut router = router();
        let exchange = router.open(&messages(&call("1")), Takes::Nothing, 0).unwrap().unwrap();
        for text in [LOG, ELICIT, &progress("1")] {
            assert_eq!(sent(&mut router, text, Listener::Absent), Route::Listener);
        }
        assert_eq!(sent(&mut router, &result("1"), Listener::Absent), Route::Exchange(exchange, Part::Last));
    }

    #[test]
    fn a_request_is_given_up_when_its_time_is_over() {
        let mut router = router();
        let exchange = post(&mut router, &call("\"a\""));
        assert_eq!(router.expire(999), []);
        let unanswered = Unanswered { exchange, id: "\"a\"".into(), part: Part::Last };
        assert_eq!(router.expire(1000), [unanswered]);
        assert!(matches!(sent(&mut router, &result("\"a\""), Listener::Absent), Route::Nowhere(_)));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Post(Vec<u8>),
        Answer(u8),
        Leave(u8),
        Expire(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            prop::collection::vec(0..12_u8, 1..4).prop_map(Step::Post),
            (0..12_u8).prop_map(Step::Answer),
            (0..8_u8).prop_map(Step::Leave),
            (0..3000_u64).prop_map(Step::Expire),
        ];
        prop::collection::vec(step, 0..64)
    }

    proptest! {
        #[test]
        fn every_request_is_answered_or_given_up_exactly_once(steps in steps()) {
            let mut router = router();
            let mut now_ms = 0;
            let mut waiting: HashSet<u8> = HashSet::new();
            for step in steps {
                match step {
                    Step::Post(ids) => {
                        let batch: Vec<String> = ids.iter().map(|id| call(&id.to_string())).collect();
                        let text = format!("[{}]", batch.join(","));
                        let distinct: HashSet<u8> = ids.iter().copied().collect();
                        let fits = distinct.len() == ids.len() && distinct.is_disjoint(&waiting)
                            && waiting.len() + ids.len() <= 8;
                        prop_assert_eq!(router.open(&messages(&text), Takes::Related, now_ms).is_ok(), fits);
                        if fits { waiting.extend(distinct); }
                    }
                    Step::Answer(id) => {
                        let route = sent(&mut router, &result(&id.to_string()), Listener::Present);
                        let was_waiting = waiting.remove(&id);
                        prop_assert!(was_waiting || matches!(route, Route::Nowhere(_)));
                    }
                    Step::Leave(exchange) => router.leave(ExchangeId(u64::from(exchange))),
                    Step::Expire(passed_ms) => {
                        now_ms += passed_ms;
                        for given_up in router.expire(now_ms) {
                            prop_assert!(waiting.remove(&given_up.id.parse::<u8>().unwrap()));
                        }
                    }
                }
                prop_assert_eq!(router.in_flight(), waiting.len());
            }
            let ended = router.end();
            prop_assert_eq!(ended.len(), waiting.len());
            prop_assert!(router.exchanges.is_empty() && router.pending.is_empty());
        }
    }
}
