//! What does a modern caller read? The answer to its request; a subscription outlives the process it began with.

use std::collections::VecDeque;
use std::sync::Arc;

use bridge::text::{self, Members};
use bytes::Bytes;
use mcp::{Body, Call, Message};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;

use super::Modern;
use super::multiplex::SUBSCRIPTION_ID;
use super::request::{Kind, Request};
use super::stateless::Answer;
use crate::router::Part;
use crate::session::Outbound;

/// The answer to a request. Dropping it before its last part cancels the request.
#[derive(Debug)]
pub struct Exchange {
    modern: Arc<Modern>,
    answer: Answer,
    subscription: Option<Subscription>,
    _permit: OwnedSemaphorePermit,
}

impl Exchange {
    pub(super) fn new(modern: Arc<Modern>, answer: Answer, request: Request, permit: OwnedSemaphorePermit) -> Self {
        let subscription = (request.kind == Kind::Subscription).then(|| Subscription::new(request));
        Self { modern, answer, subscription, _permit: permit }
    }

    /// The next message; `None` after the last one, and where a subscription cannot go on.
    ///
    /// Where it is dropped while it waits, nothing is lost.
    pub async fn next(&mut self) -> Option<Outbound> {
        loop {
            let Some(subscription) = &mut self.subscription else { return self.answer.next().await };
            if let Some(message) = subscription.made_up.pop_front() {
                return Some(Outbound { message, part: Part::Related });
            }
            match self.answer.next().await {
                Some(outbound) => match subscription.hear(outbound) {
                    Some(outbound) => return Some(outbound),
                    None => continue,
                },
                None if subscription.stage == Stage::Over => return None,
                None => self.answer = self.modern.ask_again(&subscription.request).await?,
            }
        }
    }
}

/// A `subscriptions/listen` (MCP 2026-07-28 basic/patterns/subscriptions).
#[derive(Debug)]
struct Subscription {
    request: Request,
    stage: Stage,
    /// What its caller is still to be told after it began anew.
    made_up: VecDeque<Bytes>,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// Not acknowledged yet.
    Asked,
    /// Its caller has read the acknowledgement.
    Acknowledged,
    /// Its last part has come.
    Over,
}

impl Subscription {
    fn new(request: Request) -> Self {
        Self { request, stage: Stage::Asked, made_up: VecDeque::new() }
    }

    /// What the caller is told of `outbound`. A second acknowledgement comes from a process that knows nothing of what
    /// the caller was told by the one before: everything that was asked for may have changed meanwhile.
    fn hear(&mut self, outbound: Outbound) -> Option<Outbound> {
        if outbound.part == Part::Last {
            self.stage = Stage::Over;
            return Some(outbound);
        }
        let Some(honoured) = acknowledged(&outbound.message) else { return Some(outbound) };
        match self.stage {
            Stage::Asked => {
                self.stage = Stage::Acknowledged;
                Some(outbound)
            }
            Stage::Acknowledged | Stage::Over => {
                self.made_up = honoured.changes(&self.request.id).map(Bytes::from).collect();
                None
            }
        }
    }
}

/// What a server agreed to tell.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Honoured {
    tools_list_changed: bool,
    prompts_list_changed: bool,
    resources_list_changed: bool,
    resource_subscriptions: Vec<String>,
}

impl Honoured {
    fn changes(self, id: &str) -> impl Iterator<Item = String> {
        let mut meta = Members::new();
        meta.set(SUBSCRIPTION_ID, id.to_owned());
        let params = ["{\"_meta\":", &meta.write()].concat();
        let lists = [
            (self.tools_list_changed, "notifications/tools/list_changed"),
            (self.prompts_list_changed, "notifications/prompts/list_changed"),
            (self.resources_list_changed, "notifications/resources/list_changed"),
        ];
        let whole = [&params, "}"].concat();
        let lists = lists.into_iter().filter(|(wanted, _)| *wanted);
        let lists = lists.map(move |(_, method)| text::notification(method, Some(&whole)));
        lists.chain(self.resource_subscriptions.into_iter().map(move |uri| {
            let uri = [&params, ",\"uri\":", &text::quoted(&uri), "}"].concat();
            text::notification("notifications/resources/updated", Some(&uri))
        }))
    }
}

fn acknowledged(message: &Bytes) -> Option<Honoured> {
    #[derive(Deserialize)]
    struct Acknowledgement {
        #[serde(default)]
        notifications: Honoured,
    }
    match mcp::jsonrpc::parse(message) {
        Ok(Body::Single(Message::Notification(Call { method, params, .. }))) if method == ACKNOWLEDGED => {
            let params = params.and_then(|params| serde_json::from_str::<Acknowledgement>(params.get()).ok());
            Some(params.map(|params| params.notifications).unwrap_or_default())
        }
        _ => None,
    }
}

const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
