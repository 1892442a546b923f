//! Who tells the façade what came, and does what it says? One task for each conversation, until it has rested.

use std::{collections::BTreeMap, pin::pin, rc::Rc, time::Duration};

use bridge::facade::{Action, Channel, End, Event, Facade, Hop, Moment, Request};
use futures_channel::{
    mpsc::{UnboundedReceiver, UnboundedSender},
    oneshot,
};
use futures_util::{
    StreamExt as _,
    future::{Either, select},
};
use http::{HeaderName, Method, header, request::Parts};
use mcp::{Timestamp, header as mcp_header, sse};
use telemetry::TraceContext;

use crate::{
    conversation::{
        Behind, Conversation,
        channel::{Exit, Head, Outlet},
        hop::Beyond,
    },
    platform::Platform,
    serve::Gateway,
};

/// What came for the façade.
pub(super) enum Came {
    /// A request of a caller.
    Asked(Channel, Asked, Exit),
    /// A caller went.
    Left(Channel),
    /// Something of an answer.
    Heard(Hop, Heard),
}

/// A caller's request.
pub(super) struct Asked {
    method: Method,
    body: String,
    session_id: Option<String>,
    last_event_id: Option<String>,
    parent: Option<(String, Option<String>)>,
    authorization: Option<String>,
}

/// What comes of an answer.
pub(super) enum Heard {
    Answered { status: u16, session_id: Option<String> },
    Said(sse::Event),
    Pointed(String),
    Ended(End),
}

/// A façade, and what is under way for it.
pub(super) struct Driver {
    facade: Box<dyn Facade>,
    arrivals: UnboundedReceiver<Came>,
    beyond: Beyond,
    channels: BTreeMap<Channel, Exit>,
    hops: BTreeMap<Hop, Running>,
    wake: Option<Timestamp>,
    idle: Duration,
    rests_since: Timestamp,
}

/// A hop under way.
struct Running {
    cut: Option<oneshot::Sender<()>>,
    parent: Option<(String, Option<String>)>,
}

impl Asked {
    pub(super) fn of(head: &Parts, body: String) -> Self {
        let field = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let parent = field(mcp_header::TRACEPARENT).map(|parent| (parent, field(mcp_header::TRACESTATE)));
        let (session_id, last_event_id) = (field(mcp_header::MCP_SESSION_ID), field(mcp_header::LAST_EVENT_ID));
        let authorization = field(header::AUTHORIZATION);
        Self { method: head.method.clone(), body, session_id, last_event_id, parent, authorization }
    }

    fn event(&self, channel: Channel) -> Event<'_> {
        let session_id = self.session_id.as_deref();
        match self.method {
            Method::GET => Event::Listened { channel, last_event_id: self.last_event_id.as_deref(), session_id },
            Method::DELETE => Event::Deleted { channel, session_id },
            _ => Event::Posted { channel, body: &self.body, session_id },
        }
    }
}

impl Heard {
    fn event(&self, hop: Hop) -> Event<'_> {
        match self {
            Self::Answered { status, session_id } => {
                Event::Answered { hop, status: *status, session_id: session_id.as_deref() }
            }
            Self::Said(event) => {
                Event::Said { hop, message: &event.data, event_id: event.id.as_deref(), retry_ms: event.retry_ms }
            }
            Self::Pointed(path_and_query) => Event::Pointed { hop, path_and_query },
            Self::Ended(end) => Event::Ended { hop, end: end.clone() },
        }
    }
}

impl Driver {
    pub(super) fn new(
        facade: Box<dyn Facade>,
        behind: Behind,
        idle: Duration,
        (inbox, arrivals): (UnboundedSender<Came>, UnboundedReceiver<Came>),
    ) -> Self {
        let (pinned, asked, authorization) = (Rc::default(), Rc::default(), None);
        let beyond = Beyond { behind: Rc::new(behind), inbox, pinned, asked, authorization };
        let (channels, hops) = (BTreeMap::new(), BTreeMap::new());
        let rests_since = Timestamp::from_millis(0);
        Self { facade, arrivals, beyond, channels, hops, wake: None, idle, rests_since }
    }

    fn is_idle(&self) -> bool {
        self.channels.is_empty() && self.facade.is_idle()
    }

    /// When it has rested for long enough.
    fn rested_at(&self) -> Timestamp {
        self.rests_since.plus_millis(u64::try_from(self.idle.as_millis()).unwrap_or(u64::MAX))
    }

    /// When there is something to do though nothing came.
    fn due(&self) -> Option<Timestamp> {
        let rested_at = self.is_idle().then(|| self.rested_at());
        self.wake.into_iter().chain(rested_at).min()
    }

    fn remove(&mut self, channel: Channel) -> Option<Exit> {
        self.channels.remove(&channel)
    }
}

impl<P: Platform> Gateway<P> {
    /// Drives the façade until it has rested, and closes the conversation's door behind it.
    pub(super) async fn drive(&self, mut driver: Driver, conversation: Conversation) {
        driver.rests_since = self.platform.now();
        loop {
            let due = driver.due();
            let came = self.next_arrival(&mut driver, due).await;
            let (is_quiet, now) = (came.is_none(), self.platform.now());
            if let Some(came) = came {
                self.take(&mut driver, came);
            }
            if driver.wake.is_some_and(|at| at <= now) {
                driver.wake = None;
                self.handle(&mut driver, Event::Woken, None);
            }
            conversation.busy(!driver.is_idle());
            if is_quiet && driver.is_idle() && driver.rested_at() <= now {
                break;
            }
        }
        // Who comes from now on finds another façade.
        conversation.0.borrow_mut().inbox = None;
        self.take_leave(driver).await;
    }

    /// What comes next, or nothing when something is due before.
    async fn next_arrival(&self, driver: &mut Driver, due: Option<Timestamp>) -> Option<Came> {
        // Many arrivals at once need no timer for each.
        if let Ok(came) = driver.arrivals.try_recv() {
            return Some(came);
        }
        let wait_ms = due.map_or(WAIT_MAX_MS, |due| due.millis_since(self.platform.now()).min(WAIT_MAX_MS));
        let pause = pin!(self.platform.pause(Duration::from_millis(wait_ms)));
        match select(driver.arrivals.next(), pause).await {
            Either::Left((came, _)) => came,
            Either::Right(_) => None,
        }
    }

    fn take(&self, driver: &mut Driver, came: Came) {
        driver.rests_since = self.platform.now();
        match came {
            Came::Asked(channel, asked, exit) => {
                if driver.channels.len() >= CHANNELS_MAX {
                    return;
                }
                driver.channels.insert(channel, exit);
                // What is sent for this request is sent in this turn.
                driver.beyond.authorization = asked.authorization.clone().or(driver.beyond.authorization.take());
                self.handle(driver, asked.event(channel), asked.parent.as_ref());
            }
            Came::Left(channel) => {
                if driver.remove(channel).is_some() {
                    self.handle(driver, Event::Left { channel }, None);
                }
            }
            Came::Heard(hop, heard) => {
                let parent = match heard {
                    Heard::Ended(_) => {
                        driver.beyond.forget(hop);
                        driver.hops.remove(&hop).and_then(|running| running.parent)
                    }
                    _ => driver.hops.get(&hop).and_then(|running| running.parent.clone()),
                };
                self.handle(driver, heard.event(hop), parent.as_ref());
            }
        }
    }

    /// Tells the façade and does what it says; what that brings comes through the inbox.
    fn handle(&self, driver: &mut Driver, event: Event<'_>, parent: Option<&(String, Option<String>)>) {
        let actions = driver.facade.handle(event, &self.moment());
        for action in actions {
            self.act(driver, action, parent);
        }
    }

    fn act(&self, driver: &mut Driver, action: Action, parent: Option<&(String, Option<String>)>) {
        match action {
            Action::Request(request) => self.begin(driver, request, parent),
            Action::Abort(hop) => {
                if let Some(cut) = driver.hops.get_mut(&hop).and_then(|running| running.cut.take()) {
                    let _ = cut.send(());
                }
            }
            Action::Answer(answer) => {
                if let Some(Exit::Waiting(exit)) = driver.remove(answer.channel) {
                    let _ = exit.send(Head::Whole(answer));
                }
            }
            Action::Open { channel, session_id } => {
                if let Some(Exit::Waiting(exit)) = driver.remove(channel) {
                    let (outlet, inlet) = Outlet::open();
                    let _ = exit.send(Head::Open(inlet, session_id));
                    driver.channels.insert(channel, Exit::Open(outlet));
                }
            }
            Action::Say { channel, event } => {
                if let Some(Exit::Open(outlet)) = driver.channels.get(&channel)
                    && outlet.say(&event).is_err()
                {
                    driver.beyond.tell(Came::Left(channel));
                }
            }
            Action::Close(channel) => drop(driver.remove(channel)),
            Action::Wake(at) => driver.wake = Some(at),
        }
    }

    fn begin(&self, driver: &mut Driver, request: Request, parent: Option<&(String, Option<String>)>) {
        let hop = request.hop;
        if driver.hops.len() >= HOPS_MAX {
            let end = End::Unreachable("the conversation has too many requests under way".to_owned());
            driver.beyond.tell(Came::Heard(hop, Heard::Ended(end)));
            return;
        }
        let (cut, is_cut) = oneshot::channel();
        let named = parent.map(|(parent, state)| (parent.as_str(), state.as_deref()));
        let trace = TraceContext::child_of(named, &self.platform.random());
        driver.hops.insert(hop, Running { cut: Some(cut), parent: parent.cloned() });
        let (gateway, beyond) = (self.clone(), driver.beyond.clone());
        self.platform.defer(async move { gateway.hop(request, beyond, trace, is_cut).await });
    }

    /// Lets the façade end what it holds behind. That it has rested is nothing to wait for any more.
    async fn take_leave(&self, mut driver: Driver) {
        for action in driver.facade.farewell() {
            self.act(&mut driver, action, None);
        }
        let until = self.platform.now().plus_millis(FAREWELL_MAX_MS);
        while !driver.hops.is_empty() && self.platform.now() < until {
            if let Some(came) = self.next_arrival(&mut driver, Some(until)).await {
                self.take(&mut driver, came);
            }
        }
    }

    fn moment(&self) -> Moment {
        Moment { now: self.platform.now(), random: self.platform.random() }
    }
}

/// Callers that wait at once; one more is told that the conversation ended.
const CHANNELS_MAX: usize = 128;
/// Requests under way at once.
const HOPS_MAX: usize = 128;
/// The longest wait; timers of some platforms do not reach further than 24 days.
const WAIT_MAX_MS: u64 = 3_600_000;
const FAREWELL_MAX_MS: u64 = 5_000;
