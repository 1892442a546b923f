//! Have they calls left? Every limit's ledger is asked; what one refuses is given back to the others.

use futures_util::future::join_all;
use quota::{Caller, Command, Grant, Ledger, Limit, Reply};

use crate::{config::Config, platform::Platform, refusal::Refusal, serve::Gateway};

impl<P: Platform> Gateway<P> {
    /// Leave for `requests` requests of `caller`.
    pub(crate) async fn draw(&self, config: &Config, caller: Caller<'_>, requests: u32) -> Result<Grant, Refusal> {
        if requests == 0 || config.limits.is_empty() {
            return Ok(quota::grant([])?);
        }
        let at = self.platform.now();
        let asked = config.limits.iter().map(|limit| async move {
            let command = Command::Draw { requests, limit: limit.requests_per_minute };
            self.tell::<Ledger>(&limit.ledger(caller), &command).await.map(|reply| (limit, reply))
        });
        // A ledger that cannot be asked refuses: deny when unsure.
        let replies: Result<Vec<(&Limit, Reply)>, _> = join_all(asked).await.into_iter().collect();
        let replies = replies.map_err(|error| Refusal::Internal(format!("ledger: {error}")))?;
        let admitted = replies.iter().filter(|(_, reply)| *reply == Reply::Admitted);
        let drawn: Vec<String> = admitted.map(|(limit, _)| limit.ledger(caller)).collect();
        quota::grant(replies).map_err(|exceeded| {
            self.give_back(drawn, Command::Return { requests, at });
            Refusal::Exceeded(exceeded)
        })
    }

    fn give_back(&self, ledgers: Vec<String>, command: Command) {
        let gateway = self.clone();
        if !ledgers.is_empty() {
            self.platform.defer(async move {
                join_all(ledgers.iter().map(|ledger| gateway.tell::<Ledger>(ledger, &command))).await;
            });
        }
    }
}
