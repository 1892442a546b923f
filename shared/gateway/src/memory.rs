//! What does an isolate remember between requests? Nothing that is wrong when forgotten, and everything bounded.

use std::{cell::RefCell, collections::BTreeMap, num::NonZeroUsize, rc::Rc};

use bridge::{federation::cache::Cache, probe::Known as KnownEra, seal};
use identity::KeySet;
use lru::LruCache;
use mcp::Timestamp;
use quota::{ACCOUNTS_MAX, Leases, Wallet, usage::Tally};
use session::{Route, Sealer};
use upstream::{Circuits, Slots};

use crate::{
    arrival::{Arrival, HeadKey},
    config::Config,
    definitions::Offers,
    identify::Bearer,
    journal::Journal,
    old::Transport,
    permits::{Expected, ExpectedKey},
};

/// An isolate's memory, shared by its requests. No borrow of it is held across an await.
#[derive(Clone)]
pub struct Memory(pub(crate) Rc<RefCell<Remembered>>);

pub(crate) struct Remembered {
    /// The configuration in force.
    pub(crate) live: Option<Live>,
    /// Genuine tokens by their SHA-256.
    pub(crate) verified: LruCache<[u8; 32], Bearer>,
    /// What follows from heads that came before, under the configuration in force.
    pub(crate) arrivals: LruCache<HeadKey, Rc<Arrival>>,
    /// What their keys are made with, once there are any.
    pub(crate) head_key: Option<[u8; 16]>,
    /// Key sets by issuer.
    pub(crate) keys: BTreeMap<String, KeyRing>,
    /// Open sessions by name.
    pub(crate) sessions: LruCache<String, Known>,
    /// Which era servers speak, by server.
    pub(crate) eras: BTreeMap<String, KnownEra>,
    /// When it was last doubted which era a server speaks, by server.
    pub(crate) doubted: BTreeMap<String, Timestamp>,
    /// Until when servers are known to want no `initialize`.
    pub(crate) without_sessions: BTreeMap<String, Timestamp>,
    /// How instances carry messages, by URL, and until when that is believed.
    pub(crate) transports: BTreeMap<String, (Transport, Timestamp)>,
    /// What modern servers said a moment ago and still holds.
    pub(crate) answers: Cache,
    /// What servers offer, by server.
    pub(crate) offers: BTreeMap<String, Offers>,
    /// Definitions that were reported: server, tool and digest.
    pub(crate) found: LruCache<(String, String, [u8; 32]), ()>,
    /// What callers may expect of what they ask for again and again.
    pub(crate) expected: LruCache<ExpectedKey, Expected>,
    /// Leases of the limits' ledgers.
    pub(crate) wallet: Wallet,
    /// When errands of the wallet are expected to be run.
    pub(crate) errands_expected: Option<Timestamp>,
    /// What was used since the last flush.
    pub(crate) tally: Tally,
    /// Which instances fail.
    pub(crate) circuits: Circuits,
    /// How much each instance has to do.
    pub(crate) slots: Slots,
    /// Where the numbers for jitter stand; 0 before the first.
    pub(crate) chance: u64,
    /// Entries that wait to be written together.
    pub(crate) journal: Journal,
    /// Made of the gateway's key when first needed.
    pub(crate) sealer: Option<Sealer>,
    /// Likewise.
    pub(crate) keeper: Option<seal::Sealer>,
}

/// The configuration in force, and when it was last looked for a newer one.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) config: Rc<Config>,
    pub(crate) checked: Timestamp,
}

/// Keys fetched from an issuer.
#[derive(Clone, Default)]
pub(crate) struct KeyRing {
    pub(crate) keys: Option<Rc<KeySet>>,
    pub(crate) attempted: Timestamp,
    /// Until when a request that fetches them is waited for; in the past if none does.
    pub(crate) expected_by: Timestamp,
}

/// An open session, and when its machine last heard of it.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) route: Rc<Route>,
    pub(crate) told: Timestamp,
}

impl Memory {
    /// Of an instance that is forgotten a moment later, and has many beside it: limits are not leased to it.
    #[must_use]
    pub fn of_a_moment() -> Self {
        let memory = Self::default();
        memory.0.borrow_mut().wallet = Wallet::new(ACCOUNTS_MAX, Leases::None);
        memory
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(Remembered {
            live: None,
            verified: LruCache::new(TOKENS_MAX),
            arrivals: LruCache::new(ARRIVALS_MAX),
            head_key: None,
            keys: BTreeMap::new(),
            sessions: LruCache::new(SESSIONS_MAX),
            eras: BTreeMap::new(),
            doubted: BTreeMap::new(),
            without_sessions: BTreeMap::new(),
            transports: BTreeMap::new(),
            answers: Cache::new(ANSWERS_MAX, ANSWERS_MAX_BYTES),
            offers: BTreeMap::new(),
            found: LruCache::new(FOUND_MAX),
            expected: LruCache::new(EXPECTED_MAX),
            wallet: Wallet::default(),
            errands_expected: None,
            tally: Tally::default(),
            circuits: Circuits::default(),
            slots: Slots::default(),
            chance: 0,
            journal: Journal::default(),
            sealer: None,
            keeper: None,
        })))
    }
}

const TOKENS_MAX: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
const ARRIVALS_MAX: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
const SESSIONS_MAX: NonZeroUsize = NonZeroUsize::new(8192).unwrap();
const ANSWERS_MAX: NonZeroUsize = NonZeroUsize::new(2048).unwrap();
const ANSWERS_MAX_BYTES: usize = 8 * 1024 * 1024;
const FOUND_MAX: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Each holds some kilobytes.
const EXPECTED_MAX: NonZeroUsize = NonZeroUsize::new(2048).unwrap();
