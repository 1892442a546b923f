//! What may a caller know of? Lists without what it may not use, and without what nobody approved.

use std::rc::Rc;

use bridge::routing;
use http::Response;
use mcp::{
    Body, Message,
    definition::Definition,
    page::{self, Fate, Item, Kind},
};
use policy::{Action, Sight};

use crate::{
    answer::is_type,
    apart::apart,
    asking::may_ask,
    course::{At, Course},
    definitions::Place,
    draft::Draft,
    instances::Reached,
    pipeline::{Cleared, Passing},
    platform::Platform,
    refusal::Refusal,
    serve::Gateway,
};

impl<P: Platform> Gateway<P> {
    /// Hands an answer on; a list only after everything was taken out of it that the caller may not know of.
    pub(crate) async fn shown(
        &self,
        cleared: &Cleared<'_>,
        (at, body): (At, &Body<'_>),
        draft: &Draft,
        reached: Reached<P::Body>,
    ) -> Result<Response<P::Body>, Refusal> {
        if cleared.is_shown_whole() {
            let silence = cleared.passing.config().resilience(cleared.server()).stream_idle;
            return Ok(self.metered(draft, reached, silence));
        }
        apart(self.shown_in_part(cleared, (at, body), draft, reached)).await
    }

    async fn shown_in_part(
        &self,
        cleared: &Cleared<'_>,
        (at, body): (At, &Body<'_>),
        draft: &Draft,
        reached: Reached<P::Body>,
    ) -> Result<Response<P::Body>, Refusal> {
        let passing = &cleared.passing;
        let kinds: Vec<Kind> = passing.said.asked.iter().filter_map(|asked| Kind::of_method(asked.method)).collect();
        let silence = passing.config().resilience(cleared.server()).stream_idle;
        if let (Course::Alone(..), Body::Single(Message::Request(call))) = (&cleared.course, body)
            && may_ask(&call.method)
        {
            return self.asked_back(cleared, (&at, call), draft, reached).await;
        }
        if passing.said.asked.iter().any(|asked| asked.method == LISTEN)
            && is_type(reached.answer.response.headers(), mcp::header::TEXT_EVENT_STREAM)
        {
            let (gateway, config, server) = (self.clone(), Rc::clone(passing.config()), cleared.server().clone());
            let overheard = move |message: &str| {
                gateway.overhear(&config, &server, message);
                Ok(message.to_owned())
            };
            return Ok(self.handed_on(draft, reached, silence, overheard));
        }
        let is_watched = passing.config().is_watched(cleared.server());
        // A list of many servers had everything taken out of each part, under the names policy knows.
        if kinds.is_empty() || passing.is_at_endpoint() || !is_watched && !passing.may_list_unfit(&kinds) {
            return Ok(self.metered(draft, reached, silence));
        }
        let Reached { mut answer, seat } = reached;
        if let Some(bytes) = answer.peeked().filter(|_| !is_watched)
            && !std::str::from_utf8(&bytes).is_ok_and(routing::may_annotate)
        {
            return Ok(self.metered(draft, Reached { answer, seat }, silence));
        }
        let heard = self.hear(answer, passing.said.requests, silence).await?;
        drop(seat);
        let (status, headers) = (heard.status, heard.headers.clone());
        let place = passing.place(at);
        let body = heard.rewritten(|text| page::filter(text, &kinds, |item| self.fate(passing, &place, item)));
        let body = body.map_err(|unreadable| Refusal::Garbage(unreadable.to_string()))?;
        Ok(self.finished(draft, status, &headers, body))
    }

    pub(crate) fn fate(&self, passing: &Passing<'_>, place: &Place, item: &Item<'_>) -> Fate {
        let sight = match item.kind {
            Kind::Tools if self.is_unfit(passing, place, item) => Sight::Hidden,
            _ if !passing.config().is_watched(passing.server()) => Sight::Visible,
            Kind::Tools => self.sees_tool(passing, place, item),
            Kind::Prompts => self.sees(passing, Action::GetPrompt(&item.key), None),
            Kind::Resources | Kind::Templates => self.sees(passing, Action::ReadResource(&item.key), None),
        };
        match sight {
            Sight::Visible => Fate::Keep,
            Sight::Hidden => Fate::Drop,
        }
    }

    fn sees_tool(&self, passing: &Passing<'_>, place: &Place, item: &Item<'_>) -> Sight {
        // What cannot be read cannot be approved either.
        let Ok(definition) = Definition::read(item.raw) else { return Sight::Hidden };
        let offer = self.learn(place, (item.raw, &definition));
        match offer.is_admitted {
            true => self.sees(passing, Action::CallTool(&item.key), Some(&offer)),
            false => Sight::Hidden,
        }
    }
}

impl Cleared<'_> {
    /// Whether nothing is taken out of its answer: it is asked in a session, and not for a list.
    pub(crate) fn is_shown_whole(&self) -> bool {
        let is_plain = |method: &str| Kind::of_method(method).is_none() && method != LISTEN;
        matches!(self.course, Course::Session(..)) && self.passing.said.asked.iter().all(|asked| is_plain(asked.method))
    }
}

const LISTEN: &str = "subscriptions/listen";
