//! How does a caller of HTTP+SSE use a server of Streamable HTTP?
//!
//! [`Sse`] is one session of an old client: its stream, which names the endpoint first. Each message POSTed there goes on
//! as one of Streamable HTTP; once the server behind takes it the client is told 202, and whatever is answered is said on
//! the stream. The server's own stream is opened once the client has said `notifications/initialized`. When the client
//! closes its stream the session behind is ended too.

mod posts;

use std::collections::BTreeMap;

use mcp::{
    Revision, Timestamp,
    jsonrpc::{self, code},
    sse,
};
use serde::{Deserialize, Serialize};

use self::posts::{Course, Post, Step};
use super::{
    endpoint,
    turn::{Hops, Turn},
};
use crate::{
    facade::{Action, Channel, End, Event, Facade, Hop, Method, Moment, Request},
    up,
};

/// On what terms a client is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Where it is to POST its messages: a URI reference on one line.
    pub endpoint: String,
}

/// An HTTP+SSE server, with one session, in front of a Streamable HTTP server.
#[derive(Debug)]
pub struct Sse {
    endpoint: String,
    phase: Phase,
    hops: Hops,
    session: Session,
    posts: BTreeMap<Hop, Post>,
    /// Answers that are resumed, by when.
    resting: Vec<(Timestamp, Post)>,
    own: Own,
    wakes_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// No stream was opened.
    #[default]
    New,
    /// The client listens there.
    Open(Channel),
    /// It does not any more.
    Over,
}

/// What was agreed on with the server behind.
#[derive(Debug, Default)]
struct Session {
    id: Option<String>,
    revision: Option<Revision>,
}

/// The stream of the server's own messages.
#[derive(Debug, Default)]
struct Own {
    stage: Stage,
    status: Option<u16>,
    course: Course,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Closed,
    Open(Hop),
    /// It is opened again at this time.
    Resting(Timestamp),
    /// The server has none.
    Missing,
}

impl Facade for Sse {
    fn handle(&mut self, event: Event<'_>, moment: &Moment) -> Vec<Action> {
        let mut turn = Turn::new(moment);
        match event {
            Event::Listened { channel, .. } => self.listened(channel, &mut turn),
            Event::Posted { channel, body, .. } => self.posted(channel, body, &mut turn),
            Event::Deleted { channel, .. } => turn.answer(channel, 405, None),
            Event::Left { channel } => self.left(channel, &mut turn),
            Event::Answered { hop, status, session_id } => self.answered(hop, status, session_id, &mut turn),
            Event::Said { hop, message, event_id, retry_ms } => {
                self.said(hop, message, (event_id, retry_ms), &mut turn);
            }
            // What is behind is of another transport.
            Event::Pointed { .. } => {}
            Event::Ended { hop, end } => self.ended(hop, &end, &mut turn),
            Event::Woken => self.woken(&mut turn),
        }
        self.arm(&mut turn);
        turn.actions
    }

    fn is_idle(&self) -> bool {
        !matches!(self.phase, Phase::Open(_)) && self.posts.is_empty()
    }

    fn farewell(&mut self) -> Vec<Action> {
        let mut turn = Turn::at(Timestamp::default());
        self.end(Parting::Tell, &mut turn);
        turn.actions
    }
}

/// Whether the server behind has to hear of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parting {
    Tell,
    Knows,
}

impl Sse {
    /// One that waits for its client's stream.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        Self {
            endpoint: terms.endpoint,
            phase: Phase::New,
            hops: Hops::default(),
            session: Session::default(),
            posts: BTreeMap::new(),
            resting: Vec::new(),
            own: Own::default(),
            wakes_at: None,
        }
    }

    fn listened(&mut self, channel: Channel, turn: &mut Turn) {
        if self.phase != Phase::New {
            return turn.refuse(channel, 409, code::REFUSED, "this session has its stream already");
        }
        self.phase = Phase::Open(channel);
        turn.open(channel);
        let event =
            sse::Event { name: endpoint::EVENT.to_owned(), data: self.endpoint.clone(), ..sse::Event::default() };
        turn.actions.push(Action::Say { channel, event });
    }

    fn posted(&mut self, channel: Channel, body: &str, turn: &mut Turn) {
        if !matches!(self.phase, Phase::Open(_)) {
            return turn.refuse(channel, 404, code::SESSION_NOT_FOUND, "the stream of this session is not open");
        }
        if self.posts.len() + self.resting.len() >= POSTS_MAX {
            return turn.refuse(channel, 503, code::REFUSED, "the session has too many messages under way");
        }
        match jsonrpc::parse(body.as_bytes()) {
            Ok(read) => {
                let post = Post::new(channel, &read);
                let hop = self.send((Method::Post, None), body, turn);
                self.posts.insert(hop, post);
            }
            Err(malformed) => turn.refuse(channel, 400, malformed.code(), &malformed.to_string()),
        }
    }

    /// Who closes the stream ends the session; who only leaves a POST has said what it wanted.
    fn left(&mut self, channel: Channel, turn: &mut Turn) {
        if self.phase == Phase::Open(channel) {
            self.phase = Phase::Over;
            self.end(Parting::Tell, turn);
        }
        for post in self.posts.values_mut().filter(|post| post.channel == Some(channel)) {
            post.channel = None;
        }
    }

    fn answered(&mut self, hop: Hop, status: u16, session_id: Option<&str>, turn: &mut Turn) {
        if self.own.stage == Stage::Open(hop) {
            self.own.status = Some(status);
        }
        let Some(post) = self.posts.get_mut(&hop) else { return };
        post.status = Some(status);
        if !post.is_taken() {
            return;
        }
        if let Some(channel) = post.channel.take() {
            turn.answer(channel, 202, None);
        }
        match post.step {
            Step::Initialize if self.session.id.is_none() => self.session.id = session_id.map(str::to_owned),
            Step::Initialized if self.own.stage == Stage::Closed => self.open_own(turn),
            _ => {}
        }
    }

    fn said(&mut self, hop: Hop, message: &str, (event_id, retry_ms): (Option<&str>, Option<u64>), turn: &mut Turn) {
        if self.own.stage == Stage::Open(hop) {
            if matches!(self.own.status, Some(200..300)) {
                self.own.course.follow(event_id, retry_ms);
                self.say(message, turn);
            }
            return;
        }
        let Some(post) = self.posts.get_mut(&hop) else { return };
        if !post.is_taken() {
            post.refusal = Some(message.to_owned());
            return;
        }
        post.course.follow(event_id, retry_ms);
        if let Some(agreed) = post.heard(message) {
            self.session.revision = Some(agreed);
        }
        self.say(message, turn);
    }

    fn say(&self, message: &str, turn: &mut Turn) {
        if let Phase::Open(channel) = self.phase
            && !message.is_empty()
        {
            turn.say(channel, message);
        }
    }

    fn ended(&mut self, hop: Hop, end: &End, turn: &mut Turn) {
        if self.own.stage == Stage::Open(hop) {
            return self.own_ended(end, turn);
        }
        let Some(mut post) = self.posts.remove(&hop) else { return };
        let is_lost = post.status == Some(404) && self.session.id.is_some();
        if let Some(channel) = post.channel.take() {
            let (status, message) = post.refused(end);
            turn.answer(channel, status, Some(message));
        } else if post.owes() && matches!(self.phase, Phase::Open(_)) {
            self.broke_off(post, end, turn);
        }
        if is_lost {
            self.lose(turn);
        }
    }

    /// An answer ended before all of it came: it is resumed if that is possible.
    fn broke_off(&mut self, mut post: Post, end: &End, turn: &mut Turn) {
        let may_resume = matches!(end, End::Complete | End::Broken(_) | End::Unreachable(_))
            && post.course.last_event_id.is_some()
            && !matches!(post.status, Some(400..));
        match post.course.again_at(turn.now).filter(|_| may_resume) {
            Some(at) => self.resting.push((at, post)),
            None => {
                for error in post.failures(&up::reason(end, post.status)) {
                    self.say(&error, turn);
                }
            }
        }
    }

    fn open_own(&mut self, turn: &mut Turn) {
        let last_event_id = self.own.course.last_event_id.clone();
        let hop = self.send((Method::Get, last_event_id), "", turn);
        (self.own.stage, self.own.status) = (Stage::Open(hop), None);
    }

    fn own_ended(&mut self, end: &End, turn: &mut Turn) {
        let is_refused = matches!(self.own.status, Some(400..500)) || matches!(end, End::Garbage(_));
        self.own.stage = match self.own.course.again_at(turn.now).filter(|_| !is_refused) {
            Some(at) => Stage::Resting(at),
            None => Stage::Missing,
        };
        if self.own.status == Some(404) && self.session.id.is_some() {
            self.lose(turn);
        }
    }

    fn woken(&mut self, turn: &mut Turn) {
        self.wakes_at = None;
        if matches!(self.own.stage, Stage::Resting(at) if at <= turn.now) {
            self.open_own(turn);
        }
        let (due, resting) = std::mem::take(&mut self.resting).into_iter().partition(|(at, _)| *at <= turn.now);
        self.resting = resting;
        let due: Vec<(Timestamp, Post)> = due;
        for (_, mut post) in due {
            let hop = self.send((Method::Get, post.course.last_event_id.clone()), "", turn);
            post.status = None;
            self.posts.insert(hop, post);
        }
    }

    /// The server behind has forgotten the session.
    fn lose(&mut self, turn: &mut Turn) {
        if let Phase::Open(channel) = self.phase {
            self.phase = Phase::Over;
            self.end(Parting::Knows, turn);
            turn.close(channel);
        }
    }

    /// Ends what is under way, and the session behind.
    fn end(&mut self, parting: Parting, turn: &mut Turn) {
        for (hop, post) in std::mem::take(&mut self.posts) {
            turn.abort(hop);
            if let Some(channel) = post.channel {
                turn.refuse(channel, 404, code::SESSION_NOT_FOUND, "the session has ended");
            }
        }
        self.resting.clear();
        if let Stage::Open(hop) = std::mem::replace(&mut self.own.stage, Stage::Missing) {
            turn.abort(hop);
        }
        if parting == Parting::Tell && self.session.id.is_some() {
            self.send((Method::Delete, None), "", turn);
        }
        self.session.id = None;
    }

    /// Asks to be woken, unless that is sooner already: an early wake does no harm.
    fn arm(&mut self, turn: &mut Turn) {
        let own = match self.own.stage {
            Stage::Resting(at) => Some(at),
            _ => None,
        };
        let due = self.resting.iter().map(|(at, _)| *at).chain(own).min();
        if let Some(due) = due.filter(|due| self.wakes_at.is_none_or(|at| *due < at)) {
            self.wakes_at = Some(due);
            turn.wake(due);
        }
    }

    fn send(&mut self, (method, last_event_id): (Method, Option<String>), body: &str, turn: &mut Turn) -> Hop {
        let hop = self.hops.next();
        let Session { id: session_id, revision } = &self.session;
        turn.send(Request {
            hop,
            method,
            path_and_query: None,
            revision: *revision,
            session_id: session_id.clone(),
            last_event_id,
            body: body.to_owned(),
        });
        hop
    }
}

/// More messages are refused.
const POSTS_MAX: usize = 100;
