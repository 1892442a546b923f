//! What is done where nothing wakes anybody? Whoever passes by looks what is due: machines are woken, the outbox is
//! delivered.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use machine::Outgoing;

use super::{Shelf, Waiting, telling::wake};
use crate::{
    platform::{Failed, Platform},
    serve::Gateway,
};

/// How much was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Machines that were woken.
    pub woken: u32,
    /// Requests that were delivered.
    pub delivered: u32,
}

impl<P: Platform> Gateway<P> {
    /// Does what is due on `shelf`, in at most so many `rounds` of some machines and some of the outbox.
    ///
    /// # Errors
    /// [`Failed`]: the shelf's. What was not done is still due.
    pub async fn see_to_shelf(&self, shelf: &impl Shelf, rounds: u32) -> Result<Done, Failed> {
        let mut done = Done::default();
        for _ in 0..rounds {
            let before = done;
            for key in shelf.due(self.platform.now()).await? {
                done.woken += u32::from(wake(shelf, &key, || self.platform.now()).await?);
            }
            for waiting in shelf.take(self.platform.now()).await? {
                done.delivered += u32::from(self.deliver(shelf, waiting).await?);
            }
            if done == before {
                break;
            }
        }
        Ok(done)
    }

    /// Delivers a request; one that cannot be delivered comes again after a pause, and is given up after ten minutes.
    async fn deliver(&self, shelf: &impl Shelf, waiting: Waiting) -> Result<bool, Failed> {
        let Waiting { id, outgoing, attempts } = waiting;
        let outgoing: Outgoing = serde_json::from_str(&outgoing).map_err(|error| Failed(error.to_string()))?;
        let secret = match &outgoing.secret {
            Some(name) => self.platform.secret(name).await,
            None => None,
        };
        let is_delivered = match spelled(&outgoing, secret.as_deref()) {
            Ok(request) => {
                let answer = self.platform.send(request.into(), DEADLINE).await;
                answer.is_ok_and(|answer| !answer.response.status().is_server_error())
            }
            Err(failed) => {
                self.platform.log(&format!("a request of the outbox cannot be made: {failed}"));
                false
            }
        };
        if !is_delivered && attempts >= ATTEMPTS {
            self.platform.log(&format!("a request of the outbox is given up after {attempts} attempts"));
        }
        if is_delivered || attempts >= ATTEMPTS {
            shelf.settle(id).await?;
        }
        Ok(is_delivered)
    }
}

/// A request a machine wants delivered, with the secret it names.
///
/// # Errors
/// [`Failed`] if the secret is missing, or a header cannot be spelled.
pub fn spelled(outgoing: &Outgoing, secret: Option<&str>) -> Result<Request<Bytes>, Failed> {
    let mut request = Request::builder().method(outgoing.method.as_str()).uri(&outgoing.url);
    for (name, value) in &outgoing.headers {
        request = request.header(name, value);
    }
    match (&outgoing.secret, secret) {
        (Some(name), None) => return Err(Failed(format!("the secret `{name}` is not set"))),
        (Some(_), Some(secret)) => request = request.header(header::AUTHORIZATION, format!("Bearer {secret}")),
        (None, _) => {}
    }
    request.body(Bytes::new()).map_err(|error| Failed(error.to_string()))
}

/// With pauses that double from a second these span about ten minutes.
const ATTEMPTS: u32 = 9;
const DEADLINE: Duration = Duration::from_secs(10);
