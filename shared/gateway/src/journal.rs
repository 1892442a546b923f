//! When is an entry written? Decisions beside the upstream call, the rest together: after a second, or 64 of them.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use audit::{Chain, Command, Entry};
use http::StatusCode;
use machine::Machine;
use mcp::Timestamp;
use quota::answer::Format;

use crate::{
    draft::{Ending, Facts},
    platform::{Arrived, Failed, Platform},
    serve::Gateway,
};

/// Entries that wait, answers that are still to be counted, and since when a flush is on its way.
#[derive(Default)]
pub(crate) struct Journal {
    waiting: Vec<Waiting>,
    uncounted: Vec<Uncounted>,
    uncounted_bytes: u64,
    flush_due: Option<Timestamp>,
    /// How many flushes there were.
    flushes: u64,
    /// Counting answers makes entries, which the flush that counts them takes.
    is_counting: bool,
}

/// An entry that waits: with its chain, or not even spelled.
enum Waiting {
    Spelled(String, Entry),
    Decision(Rc<Facts>),
}

/// An answer that is still to be counted.
type Uncounted = (Ending, StatusCode, (Format, Arrived));

/// What adding an entry calls for.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    /// A flush is on its way.
    Already,
    /// This request has to see to one, after a second, unless there was another since this many.
    Soon(u64),
    /// There are enough: now.
    Now,
}

impl Journal {
    fn push(&mut self, waiting: Waiting, now: Timestamp) -> Due {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push(waiting);
        }
        self.due(now)
    }

    fn push_uncounted(&mut self, uncounted: Uncounted, now: Timestamp) -> Due {
        self.uncounted_bytes += uncounted.2.1.size;
        self.uncounted.push(uncounted);
        self.due(now)
    }

    fn due(&mut self, now: Timestamp) -> Due {
        if self.is_counting {
            return Due::Already;
        }
        // The request that saw to the flush may have been cut off: another takes over.
        let is_on_its_way = self.flush_due.is_some_and(|due| now.millis_since(due) < OVERDUE_MS);
        let is_full = self.waiting.len() + self.uncounted.len() >= BATCH || self.uncounted_bytes >= UNCOUNTED_MAX_BYTES;
        match (is_full, is_on_its_way) {
            (true, _) => Due::Now,
            (false, true) => Due::Already,
            (false, false) => {
                self.flush_due = Some(now.plus_millis(u64::try_from(DELAY.as_millis()).unwrap_or(u64::MAX)));
                Due::Soon(self.flushes)
            }
        }
    }

    fn take_uncounted(&mut self) -> Vec<Uncounted> {
        self.uncounted_bytes = 0;
        self.is_counting = true;
        std::mem::take(&mut self.uncounted)
    }

    fn take(&mut self) -> BTreeMap<String, Vec<Entry>> {
        self.flush_due = None;
        self.flushes = self.flushes.wrapping_add(1);
        self.is_counting = false;
        let mut chains: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for waiting in self.waiting.drain(..) {
            let (chain, entry) = match waiting {
                Waiting::Spelled(chain, entry) => (chain, entry),
                Waiting::Decision(facts) => (facts.chain(), facts.allowed()),
            };
            chains.entry(chain).or_default().push(entry);
        }
        chains
    }
}

impl<P: Platform> Gateway<P> {
    /// Writes `entry` to `chain` now.
    pub(crate) async fn append(&self, chain: &str, entry: &Entry) -> Result<(), Failed> {
        self.append_all(chain, std::slice::from_ref(entry)).await
    }

    /// Lets `entry` be written with others, beside this request or a later one.
    pub(crate) fn gather(&self, chain: String, entry: Entry) {
        self.wait(Waiting::Spelled(chain, entry));
    }

    /// Likewise the decision to send a request on. It is spelled only then: a caller waits for none of that.
    pub(crate) fn gather_decision(&self, facts: Rc<Facts>) {
        self.wait(Waiting::Decision(facts));
    }

    fn wait(&self, waiting: Waiting) {
        let due = self.memory.0.borrow_mut().journal.push(waiting, self.platform.now());
        self.see_to(due);
    }

    /// Lets an answer be counted with others.
    pub(crate) fn keep_uncounted(&self, ending: Ending, status: StatusCode, answer: (Format, Arrived)) {
        let now = self.platform.now();
        let due = self.memory.0.borrow_mut().journal.push_uncounted((ending, status, answer), now);
        self.see_to(due);
    }

    fn see_to(&self, due: Due) {
        let gateway = self.clone();
        match due {
            Due::Already => {}
            Due::Now => self.platform.defer(async move { gateway.flush().await }),
            Due::Soon(flushes) => self.platform.defer(async move {
                gateway.platform.pause(DELAY).await;
                // A full batch may not have waited; what came since has its own flush.
                if gateway.memory.0.borrow().journal.flushes == flushes {
                    gateway.flush().await;
                }
            }),
        }
    }

    async fn flush(&self) {
        let uncounted = self.memory.0.borrow_mut().journal.take_uncounted();
        for (ending, status, answer) in uncounted {
            self.count(ending, status, answer);
        }
        let chains = self.memory.0.borrow_mut().journal.take();
        self.flush_usage().await;
        for (chain, entries) in chains {
            // An outcome that cannot be written is lost; its decision shows it as unknown.
            if let Err(failed) = self.append_all(&chain, &entries).await {
                self.platform.log(&format!("{} entries of chain `{chain}` are lost: {failed}", entries.len()));
            }
        }
    }

    async fn append_all(&self, chain: &str, entries: &[Entry]) -> Result<(), Failed> {
        let entries = entries.iter().filter_map(Entry::json).collect();
        self.tell::<Chain>(chain, &Command::Append(entries)).await.map(drop)
    }

    /// Tells the machine `name` a command and gives its reply.
    pub(crate) async fn tell<M: Machine>(&self, name: &str, command: &M::Command) -> Result<M::Reply, Failed> {
        let command = serde_json::to_string(command).map_err(|error| Failed(error.to_string()))?;
        let reply = self.platform.object(M::KIND, name, command).await?;
        serde_json::from_str(&reply).map_err(|error| Failed(error.to_string()))
    }
}

const DELAY: Duration = Duration::from_secs(1);
const BATCH: usize = 64;
const WAITING_MAX: usize = 4096;
/// Answers of which that much waits to be counted are counted now.
const UNCOUNTED_MAX_BYTES: u64 = 1024 * 1024;
const OVERDUE_MS: u64 = 5_000;

#[cfg(test)]
mod tests {
    use audit::Outcome;

    use super::*;

    fn push(journal: &mut Journal, now: u64) -> Due {
        let outcome = Outcome {
            request: String::new(),
            at: Timestamp::default(),
            status: 200,
            session: None,
            instance: None,
            end: String::new(),
            duration_ms: 0,
            bytes_in: 0,
            bytes_out: 0,
            tokens_in: 0,
            tokens_out: 0,
            money_micros: 0,
        };
        journal.push(Waiting::Spelled("acme".to_owned(), Entry::Outcome(outcome)), Timestamp::from_millis(now))
    }

    #[test]
    fn one_request_sees_to_the_flush_and_a_full_batch_does_not_wait() {
        let mut journal = Journal::default();
        assert_eq!(push(&mut journal, 0), Due::Soon(0));
        assert!((0..62).all(|_| push(&mut journal, 500) == Due::Already));
        assert_eq!(push(&mut journal, 600), Due::Now);
        assert_eq!(journal.take()["acme"].len(), 64);
        assert_eq!(push(&mut journal, 700), Due::Soon(1));
    }

    #[test]
    fn a_flush_that_never_came_is_taken_over() {
        let mut journal = Journal::default();
        assert_eq!(push(&mut journal, 0), Due::Soon(0));
        assert_eq!(push(&mut journal, 7_000), Due::Soon(0));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut journal = Journal::default();
        for _ in 0..WAITING_MAX + 10 {
            push(&mut journal, 0);
        }
        assert_eq!(journal.waiting.len(), WAITING_MAX);
    }
}
