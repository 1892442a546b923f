//! Where do conversations live in memory? In a map, each for as long as nobody restarts the deployment.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use bytes::Bytes;
use futures_util::future::{Either, select};
use gateway::{
    Conversation, Gateway,
    platform::{Abort, Answer, Unanswered},
};
use http::Request;
use tokio_util::sync::CancellationToken;

use super::{Body, Memory};

/// The live objects of a deployment, by name.
#[derive(Default)]
pub struct Conversations(RefCell<BTreeMap<String, Live>>);

/// An object, in an isolate of its own.
#[derive(Clone)]
struct Live {
    conversation: Conversation,
    platform: Memory,
    memory: gateway::Memory,
}

impl Conversations {
    /// How many have a façade.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.borrow().values().filter(|live| live.conversation.is_open()).count()
    }

    /// All of them are forgotten, with what they were working on.
    pub(super) fn restart(&self) {
        for live in self.0.take().into_values() {
            live.platform.life.cancel();
        }
    }

    /// The object `name`, new if it is not there.
    fn live(&self, name: &str, asks: &Memory) -> Live {
        let mut lives = self.0.borrow_mut();
        if !lives.contains_key(name) && lives.len() >= LIVES_MAX {
            lives.retain(|_, live| live.conversation.is_open());
        }
        let new = || Live {
            conversation: Conversation::default(),
            platform: Memory::new(&asks.stored),
            memory: gateway::Memory::default(),
        };
        lives.entry(name.to_owned()).or_insert_with(new).clone()
    }
}

impl Memory {
    pub(super) async fn ask(
        &self,
        name: &str,
        request: Request<Bytes>,
        deadline: Duration,
    ) -> Result<Answer<Body>, Unanswered> {
        let Live { conversation, platform, memory } = self.stored.conversations.live(name, self);
        let (life, platform_life) = (platform.life.clone(), platform.life.clone());
        let gateway = Gateway::new(platform, memory);
        let hosted = std::pin::pin!(gateway.host(&conversation, request.map(Body::from)));
        let hosted = std::pin::pin!(platform_life.run_until_cancelled(hosted));
        let late = std::pin::pin!(self.stored.clock.pause(deadline));
        let response = match select(hosted, late).await {
            Either::Left((Some(response), _)) => response,
            Either::Left((None, _)) => return Err(Unanswered::Broken("the object was restarted".to_owned())),
            Either::Right(_) => return Err(Unanswered::Deadline(deadline)),
        };
        let cut = CancellationToken::new();
        let response = response.map(|body| body.until(cut.clone()).until(life));
        Ok(Answer { response, arrived: None, abort: Abort::new(move || cut.cancel()) })
    }
}

const LIVES_MAX: usize = 256;
