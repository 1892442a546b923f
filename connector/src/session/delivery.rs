//! How does a message of the server reach whoever it is for, be they slow, gone, or not there yet?

use std::time::Duration;

use bytes::Bytes;
use mcp::jsonrpc::code;
use mcp::{Body, Message};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Outbound, Session, State};
use crate::backlog::{Kept, Kind};
use crate::config::Limits;
use crate::ending::Ending;
use crate::pumps::Conversation;
use crate::router::{ExchangeId, Listener, Part, Route, Unanswered};
use crate::wire;

impl Conversation for Session {
    fn server(&self) -> &str {
        &self.server
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    fn end(&self, ending: Ending) {
        Self::end(self, ending);
    }

    /// Brings one line of the server's output to where it belongs. Waits while the reader there is slow.
    async fn deliver(&self, line: &Bytes) {
        let texts = wire::messages(line);
        match mcp::jsonrpc::parse(line) {
            Ok(body) => {
                let messages = match body {
                    Body::Single(message) => vec![message],
                    Body::Batch(messages) => messages,
                };
                for (message, text) in messages.iter().zip(texts) {
                    self.hand_on(message, text).await;
                }
            }
            Err(malformed) => crate::lines::dropped(&self.server, line, &malformed),
        }
    }

    /// Ends what has lasted too long: requests without an answer, and the session if nobody uses it.
    async fn look_at_clock(&self) {
        let now_ms = self.now_ms();
        let (expired, is_idle) = {
            let mut state = self.state();
            let is_used = state.router.in_flight() > 0 || state.listener == Listener::Present;
            if is_used {
                state.last_used_ms = now_ms;
            }
            let idle_ms = now_ms.saturating_sub(state.last_used_ms);
            (state.router.expire(now_ms), idle_ms >= super::as_ms(self.limits.idle_timeout))
        };
        for unanswered in expired {
            self.give_up(unanswered).await;
        }
        if is_idle {
            self.end(Ending::Idle);
        }
    }
}

impl Session {
    async fn give_up(&self, Unanswered { exchange, id, part }: Unanswered) {
        let timeout_ms = self.limits.request_timeout.as_millis();
        warn!(server = self.server, id = &*id, timeout_ms, "gave up a request");
        let reason = format!("server `{}` did not answer within {timeout_ms} ms", self.server);
        self.tell(&wire::cancelled(&id, &reason));
        let message = wire::error(&id, code::INTERNAL_ERROR, &reason);
        let sender = self.state().sender(exchange, part);
        if let Some(sender) = sender {
            self.answer(exchange, &sender, Outbound { message, part }).await;
        }
    }

    async fn hand_on(&self, message: &Message<'_>, text: Bytes) {
        let target = self.state().target(message);
        match target {
            Target::Exchange(id, part, sender) => self.answer(id, &sender, Outbound { message: text, part }).await,
            Target::Listener => self.say(message, text),
            Target::Nowhere(why) => debug!(server = self.server, "dropped {why}"),
        }
    }

    async fn answer(&self, id: ExchangeId, sender: &mpsc::Sender<Outbound>, outbound: Outbound) {
        if sender.send_timeout(outbound, SLOW_READER).await.is_err() {
            self.leave(id);
        }
    }

    /// Puts a message where the GET stream reads, now or later. A request there is no room for is refused, or the
    /// server would wait.
    fn say(&self, message: &Message<'_>, text: Bytes) {
        let (kind, id) = match message {
            Message::Request(call) => (Kind::Request, call.id),
            _ => (Kind::Notification, None),
        };
        let kept = self.state().backlog.push(kind, text);
        self.said.notify_one();
        match kept {
            Kept::Yes => {}
            Kept::Displacing(count) => debug!(server = self.server, count, "dropped notifications nobody fetched"),
            Kept::No => {
                warn!(server = self.server, "dropped a message: nobody fetches what the server says by itself");
                let reason = "no client listens to the requests of this server";
                let refusal = id.map(|id| wire::error(id.get(), code::INTERNAL_ERROR, reason));
                refusal.iter().for_each(|refusal| self.tell(refusal));
            }
        }
    }

    /// Tells the server something of the connector's own, unless it is too slow to be told.
    fn tell(&self, message: &Bytes) {
        if self.stdin.try_send(wire::to_lines(std::slice::from_ref(message))).is_err() {
            debug!(server = self.server, "the server is too slow to be told of a refusal");
        }
    }

    /// The caller of an exchange is gone, or reads so slowly that it might as well be.
    pub(super) fn leave(&self, id: ExchangeId) {
        debug!(server = self.server, "a caller left; its request runs on");
        let mut state = self.state();
        state.router.leave(id);
        state.posts.remove(&id);
        state.lost.remove(&id);
    }
}

impl State {
    fn target(&mut self, message: &Message<'_>) -> Target {
        match self.router.route(message, self.listener) {
            Route::Exchange(id, part) => match self.sender(id, part) {
                Some(sender) => Target::Exchange(id, part, sender),
                None => Target::Nowhere("a message whose caller has just left"),
            },
            Route::Listener => Target::Listener,
            Route::Nowhere(why) => Target::Nowhere(why),
        }
    }

    /// Where to send a part of an exchange; the last part takes the sender with it, and so ends the stream.
    fn sender(&mut self, id: ExchangeId, part: Part) -> Option<mpsc::Sender<Outbound>> {
        match part {
            Part::Last => self.posts.remove(&id),
            Part::Related | Part::Response => self.posts.get(&id).cloned(),
        }
    }
}

enum Target {
    Exchange(ExchangeId, Part, mpsc::Sender<Outbound>),
    Listener,
    Nowhere(&'static str),
}

/// A caller who does not read for this long is gone: the messages of the whole session wait for it.
const SLOW_READER: Duration = Duration::from_secs(10);
