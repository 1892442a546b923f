//! What if an answer takes long? Its caller gets a stream with signs of life, by which the gateway also learns that it left: a
//! connection that was closed shows when something is written to it. A modern caller that leaves cancels (MCP 2026-07-28
//! basic/patterns/cancellation).

use std::{pin::Pin, rc::Rc, time::Duration};

use bytes::Bytes;
use futures_util::{
    future::{Either, select},
    stream,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use mcp::sse;

use crate::{
    alone::{Alone, Owned},
    answer::{Screened, is_type, response},
    asking::Seal,
    draft::Draft,
    events::Relay,
    instances::Reached,
    platform::Platform,
    refusal::Refusal,
    serve::Gateway,
};

/// An answer, or the wait for it.
pub(crate) enum Patience<B> {
    /// It is here.
    Reached(Result<Reached<B>, Refusal>),
    /// It takes long.
    Waiting(Awaited<B>),
}

/// A request on its way; dropped, it is given up.
pub(crate) type Awaited<B> = Pin<Box<dyn Future<Output = Result<Reached<B>, Refusal>>>>;

/// Where the answer is.
enum Answering<B> {
    Awaited(Awaited<B>),
    Streaming(B),
    Over,
}

impl<P: Platform> Gateway<P> {
    /// Sends a request, and waits for its answer as long as a caller may be left without a word.
    pub(crate) async fn send_patiently(&self, owned: Rc<Owned>) -> Patience<P::Body> {
        let gateway = self.clone();
        let sending: Awaited<P::Body> = Box::pin(async move {
            let sending: Alone<'_> = owned.as_alone();
            gateway.send_alone(&owned.config, sending).await
        });
        match select(sending, std::pin::pin!(self.platform.pause(SILENT))).await {
            Either::Left((reached, _)) => Patience::Reached(reached),
            Either::Right((_, sending)) => Patience::Waiting(sending),
        }
    }

    /// A stream that begins before its answer is here.
    pub(crate) fn kept_company(
        &self,
        draft: &Draft,
        awaited: Awaited<P::Body>,
        silence: Duration,
        seal: Seal,
    ) -> Response<P::Body> {
        let relay = self.relay_to_caller(draft, silence, seal);
        let state = (self.clone(), Answering::Awaited(awaited), relay, 0);
        let events = stream::unfold(state, |(gateway, mut answering, mut relay, mut signs)| async move {
            let bytes = gateway.next_of_company(&mut answering, &mut relay, &mut signs).await?;
            Some((bytes, (gateway, answering, relay, signs)))
        });
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(mcp::header::TEXT_EVENT_STREAM));
        response(StatusCode::OK, &headers, self.platform.body(events))
    }

    async fn next_of_company(
        &self,
        answering: &mut Answering<P::Body>,
        relay: &mut Relay,
        signs: &mut u32,
    ) -> Option<Bytes> {
        loop {
            let awaited = match answering {
                Answering::Over => return None,
                Answering::Streaming(body) => return self.next_events(body, relay).await,
                Answering::Awaited(awaited) => awaited,
            };
            let pause = Duration::from_secs(1 << (*signs).min(SIGNS_DOUBLED));
            let reached = match select(awaited, std::pin::pin!(self.platform.pause(pause))).await {
                Either::Left((reached, _)) => reached,
                Either::Right(_) => {
                    *signs += 1;
                    return Some(Bytes::from_static(sse::HEARTBEAT.as_bytes()));
                }
            };
            let message = match reached {
                Ok(reached) => self.message_or_stream(answering, relay, reached).await,
                Err(refusal) => Err(refusal),
            };
            match message {
                Ok(None) => {}
                Ok(Some(message)) => {
                    *answering = Answering::Over;
                    return relay.last(&message);
                }
                Err(refusal) => {
                    *answering = Answering::Over;
                    return relay.refused(&refusal);
                }
            }
        }
    }

    /// The message an answer is, if it is no stream.
    async fn message_or_stream(
        &self,
        answering: &mut Answering<P::Body>,
        relay: &mut Relay,
        reached: Reached<P::Body>,
    ) -> Result<Option<String>, Refusal> {
        let text =
            |bytes: Bytes| String::from_utf8(bytes.into()).map_err(|_| Refusal::Garbage("it is not UTF-8".to_owned()));
        match self.screen_alone(reached).await? {
            Screened::Read(_, _, body) => text(body).map(Some),
            Screened::Native(Reached { answer, seat }) => {
                if is_type(answer.response.headers(), mcp::header::TEXT_EVENT_STREAM) {
                    let (_, body) = answer.response.into_parts();
                    relay.cuts(answer.abort, seat);
                    *answering = Answering::Streaming(body);
                    return Ok(None);
                }
                let heard = self.hear(answer, 1, relay.silence()).await?;
                Ok(Some(heard.response().to_owned()))
            }
        }
    }
}

/// How long a caller is left without a word, and without a status: until then that is the server's to say.
const SILENT: Duration = Duration::from_secs(2);
/// Signs of life come after 1, 2, 4 and then every 8 seconds.
const SIGNS_DOUBLED: u32 = 3;
