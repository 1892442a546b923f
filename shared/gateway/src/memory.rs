//! What does an isolate remember between requests? Nothing that is wrong when forgotten, and everything bounded.

use std::{cell::RefCell, collections::BTreeMap, num::NonZeroUsize, rc::Rc};

use identity::{KeySet, Verified};
use lru::LruCache;
use mcp::Timestamp;
use session::{Route, Sealer};
use upstream::Health;

use crate::{config::Config, journal::Journal};

/// An isolate's memory, shared by its requests. No borrow of it is held across an await.
#[derive(Clone)]
pub struct Memory(pub(crate) Rc<RefCell<Remembered>>);

pub(crate) struct Remembered {
    /// The configuration in force.
    pub(crate) live: Option<Live>,
    /// Genuine tokens by their SHA-256.
    pub(crate) verified: LruCache<[u8; 32], Rc<Verified>>,
    /// Key sets by issuer.
    pub(crate) keys: BTreeMap<String, KeyRing>,
    /// Open sessions by name.
    pub(crate) sessions: LruCache<String, Known>,
    /// Instances that failed lately.
    pub(crate) health: Health,
    /// Entries that wait to be written together.
    pub(crate) journal: Journal,
    /// Made of the gateway's key when first needed.
    pub(crate) sealer: Option<Sealer>,
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

impl Default for Memory {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(Remembered {
            live: None,
            verified: LruCache::new(TOKENS_MAX),
            keys: BTreeMap::new(),
            sessions: LruCache::new(SESSIONS_MAX),
            health: Health::default(),
            journal: Journal::default(),
            sealer: None,
        })))
    }
}

const TOKENS_MAX: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
const SESSIONS_MAX: NonZeroUsize = NonZeroUsize::new(8192).unwrap();
