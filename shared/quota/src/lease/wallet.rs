//! May this call pass, without asking anybody? An isolate's leases, spent on all of a call's limits at once.
//!
//! A call passes if every limit's lease covers it. Where one does not, its ledger is asked while the others' parts are
//! held; what one refuses is put back to the others. [`Wallet::due_at`] says when errands are to be run: leases that run
//! low are filled up, unspent ones go back before they expire.

use std::{collections::BTreeSet, num::NonZeroUsize};

use lru::LruCache;
use mcp::Timestamp;

use super::{
    account::{Account, Fate, Part},
    amount::{Amount, Caps, Dimension},
    ledger::{Command, Exchange, Reply},
};

/// The leases of one isolate, by ledger; those used the longest ago are given back when there are too many.
#[derive(Debug)]
pub struct Wallet {
    leases: Leases,
    accounts: LruCache<String, Account>,
    /// Ledgers of which something is held, or to which something is owed.
    open: BTreeSet<String>,
    /// What forgotten accounts still owe.
    parting: Vec<Errand>,
    /// No errand is due before.
    due_at: Option<Timestamp>,
    latest: Timestamp,
}

/// Whether a wallet draws leases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leases {
    /// As many as its callers are expected to need.
    #[default]
    Drawn,
    /// None: every call is asked for. So it is where isolates are many and short-lived: what one of them holds when it is
    /// forgotten is lost to the others.
    None,
}

/// A limit a call has to pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toll {
    /// The name of its ledger, see [`super::Limit::ledger`].
    pub ledger: String,
    /// The most it allows.
    pub caps: Caps,
}

/// Leave to send what was counted. Only a [`Wallet`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Grant(());

/// What comes of a wish to spend.
#[derive(Debug)]
pub enum Spend {
    /// All limits are passed.
    Granted(Grant),
    /// These ledgers have to be asked first.
    Ask(Ask),
    /// A limit is known to be used up.
    Refused(Refused),
}

/// What comes of having asked.
#[derive(Debug)]
pub enum Verdict {
    /// All limits are passed.
    Granted(Grant),
    /// A limit is used up; the others have their parts back.
    Refused(Refused),
    /// A ledger did not answer; the others have their parts back.
    Unknown,
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which of the tolls, by its place.
    pub toll: usize,
    /// Which of its dimensions is used up for the longest.
    pub dimension: Dimension,
    /// How long until the call is admitted, if nobody else takes its place.
    pub retry_after_ms: u64,
}

/// Ledgers to be asked, all at the same time; [`Wallet::finish`] takes their replies. Dropped, what it holds counts as
/// spent.
#[derive(Debug)]
pub struct Ask {
    need: Amount,
    at: Timestamp,
    held: Vec<(String, Vec<Part>)>,
    asked: Vec<(usize, Errand)>,
}

/// A command for a ledger, told at most once.
#[derive(Clone, Debug)]
pub struct Errand {
    /// The ledger's name.
    pub ledger: String,
    /// What it is told.
    pub command: Command,
    at: Timestamp,
}

/// Errands to be run beside requests or after them; [`Wallet::accept`] takes each reply.
pub type Errands = Vec<Errand>;

impl Default for Wallet {
    fn default() -> Self {
        Self::new(ACCOUNTS_MAX, Leases::Drawn)
    }
}

impl Wallet {
    /// A wallet for at most `accounts` ledgers.
    #[must_use]
    pub fn new(accounts: NonZeroUsize, leases: Leases) -> Self {
        Self {
            leases,
            accounts: LruCache::new(accounts),
            open: BTreeSet::new(),
            parting: Vec::new(),
            due_at: None,
            latest: Timestamp::default(),
        }
    }

    /// Spends `need` on all of `tolls`, or on none: what a call is known to cost before it is sent. A call that needs
    /// no request passes.
    pub fn spend(&mut self, tolls: &[Toll], need: Amount, now: Timestamp) -> Spend {
        self.observe(now);
        if need.requests == 0 {
            return Spend::Granted(Grant(()));
        }
        let mut is_covered = true;
        let mut refused: Option<Refused> = None;
        for (toll, Toll { ledger, caps }) in tolls.iter().enumerate() {
            let account = self.account(ledger, *caps, now);
            is_covered &= account.covers(need);
            if let Some((dimension, retry_after_ms)) = account.refusal(need, now) {
                refused = longest(refused, Refused { toll, dimension, retry_after_ms });
            }
        }
        match (refused, is_covered) {
            (Some(refused), _) => Spend::Refused(refused),
            (None, true) => {
                for Toll { ledger, caps } in tolls {
                    let account = self.account(ledger, *caps, now);
                    let parts = account.take(need);
                    account.spent(need, &parts, now);
                    self.look_at(ledger, now);
                }
                Spend::Granted(Grant(()))
            }
            (None, false) => Spend::Ask(self.ask(tolls, need, now)),
        }
    }

    fn ask(&mut self, tolls: &[Toll], need: Amount, now: Timestamp) -> Ask {
        let mut ask = Ask { need, at: now, held: Vec::new(), asked: Vec::new() };
        for (toll, Toll { ledger, caps }) in tolls.iter().enumerate() {
            let account = self.account(ledger, *caps, now);
            if account.covers(need) {
                ask.held.push((ledger.clone(), account.take(need)));
            } else {
                let exchange = account.ask(need, now);
                ask.asked.push((toll, Errand::new(ledger.clone(), exchange, now)));
            }
        }
        ask
    }

    /// What the ledgers that were asked decided together. `replies` are in the order of [`Ask::errands`]; `None` stands
    /// for a ledger that did not answer.
    pub fn finish(&mut self, ask: Ask, replies: Vec<Option<Reply>>, now: Timestamp) -> Verdict {
        self.observe(now);
        let Ask { need, at, held, asked } = ask;
        let (mut refused, mut counted, mut is_unknown) = (None, Vec::new(), asked.len() != replies.len());
        for ((toll, errand), reply) in asked.into_iter().zip(replies) {
            match reply {
                Some(Reply::Counted { at, .. }) => counted.push((errand.ledger.clone(), at)),
                Some(Reply::Refused { dimension, retry_after_ms }) => {
                    let refusal = Refused { toll, dimension, retry_after_ms };
                    self.held(&errand.ledger, |account| account.refuse(need, refusal, (at, now)));
                    refused = longest(refused, refusal);
                }
                None => is_unknown = true,
            }
            self.accept(errand, reply, now);
        }
        let fate = if refused.is_none() && !is_unknown { Fate::Sent } else { Fate::Dropped };
        for (ledger, parts) in &held {
            self.held(ledger, |account| account.conclude(fate, need, parts, now));
            self.look_at(ledger, now);
        }
        for (ledger, at) in &counted {
            self.held(ledger, |account| account.counted(fate, need, *at, now));
            self.look_at(ledger, now);
        }
        match refused {
            Some(refused) => Verdict::Refused(refused),
            None if is_unknown => Verdict::Unknown,
            None => Verdict::Granted(Grant(())),
        }
    }

    /// Counts what an answer cost, once it is known: tokens and money that [`Wallet::spend`] did not count yet.
    pub fn settle(&mut self, tolls: &[Toll], cost: Amount, now: Timestamp) {
        self.observe(now);
        for Toll { ledger, caps } in tolls {
            if caps.limits_tokens() || caps.limits_money() {
                self.account(ledger, *caps, now).settle(cost, now);
                self.look_at(ledger, now);
            }
        }
    }

    /// When [`Wallet::due`] is to be called next; `None` if nothing is held or owed.
    #[must_use]
    pub const fn due_at(&self) -> Option<Timestamp> {
        self.due_at
    }

    /// The errands that are due. Each is told to its ledger, and its reply to [`Wallet::accept`].
    pub fn due(&mut self, now: Timestamp) -> Errands {
        self.observe(now);
        if self.due_at.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let mut errands = std::mem::take(&mut self.parting);
        self.due_at = None;
        for ledger in std::mem::take(&mut self.open) {
            let Some(account) = self.accounts.peek_mut(&ledger) else { continue };
            account.expire(now);
            if let Some(exchange) = account.errand(now) {
                errands.push(Errand::new(ledger.clone(), exchange, now));
            }
            if let Some(due) = account.due_at(now) {
                self.due_at = earliest(self.due_at, Some(due));
                self.open.insert(ledger);
            }
        }
        errands
    }

    /// What a ledger replied to an errand; `None` if nobody knows whether it was carried out.
    pub fn accept(&mut self, errand: Errand, reply: Option<Reply>, now: Timestamp) {
        self.observe(now);
        let Errand { ledger, command: Command::Exchange(exchange), at } = errand else { return };
        let Exchange { draw, beyond, .. } = *exchange;
        let wish = draw.map_or_else(Amount::default, |draw| draw.wish);
        let is_alone = draw.is_none_or(|draw| draw.need.is_none());
        self.held(&ledger, |account| {
            match reply {
                Some(Reply::Counted { lease, .. }) => account.accept(wish, lease, (at, now)),
                Some(Reply::Refused { .. }) => account.accept(wish, None, (at, now)),
                None => account.lost(beyond, now),
            }
            if is_alone || !wish.is_zero() {
                account.answered(at);
            }
        });
        self.look_at(&ledger, now);
    }

    /// A clock that steps back would let leases live too long: they are left to expire at their ledgers.
    fn observe(&mut self, now: Timestamp) {
        if now < self.latest {
            self.accounts.iter_mut().for_each(|(_, account)| account.forget());
            self.due_at = self.due_at.map(|_| now);
        }
        self.latest = now;
    }

    fn account(&mut self, ledger: &str, caps: Caps, now: Timestamp) -> &mut Account {
        if !self.accounts.contains(ledger)
            && let Some((ledger, mut forgotten)) = self.accounts.push(ledger.to_owned(), Account::default())
            && let Some(exchange) = forgotten.close(now)
            && self.parting.len() < PARTING_MAX
        {
            self.parting.push(Errand::new(ledger, exchange, now));
            self.due_at = Some(now);
        }
        let account = self.accounts.get_or_insert_mut_ref(ledger, Account::default);
        account.open(caps, self.leases, now);
        account
    }

    /// Does `what` to an account that is still there. What belongs to one that is not counts as spent.
    fn held(&mut self, ledger: &str, what: impl FnOnce(&mut Account)) {
        if let Some(account) = self.accounts.peek_mut(ledger) {
            what(account);
        }
    }

    fn look_at(&mut self, ledger: &str, now: Timestamp) {
        let due = self.accounts.peek_mut(ledger).and_then(|account| account.due_at(now));
        if due.is_some() && !self.open.contains(ledger) {
            self.open.insert(ledger.to_owned());
        }
        self.due_at = earliest(self.due_at, due);
    }
}

impl Errand {
    fn new(ledger: String, exchange: Exchange, at: Timestamp) -> Self {
        Self { ledger, command: Command::Exchange(Box::new(exchange)), at }
    }
}

impl Ask {
    /// The ledgers to ask, and what; all at the same time.
    pub fn errands(&self) -> impl ExactSizeIterator<Item = &Errand> {
        self.asked.iter().map(|(_, errand)| errand)
    }
}

fn longest(one: Option<Refused>, other: Refused) -> Option<Refused> {
    Some(one.filter(|one| one.retry_after_ms >= other.retry_after_ms).unwrap_or(other))
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    [one, other].into_iter().flatten().min()
}

/// As many ledgers one isolate keeps account of.
pub const ACCOUNTS_MAX: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();
const PARTING_MAX: usize = 256;
