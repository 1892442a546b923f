//! Where do machines live on Spin? In SQLite, or in Redis where several processes share the state.

use gateway::{
    platform::Failed,
    shelf::{Found, Key, Made, Shelf, Step, Waiting},
};
use mcp::Timestamp;
use spin_sdk::sqlite::Connection;

use crate::{
    redis::Redis,
    sqlite::{self, Sqlite},
};

macro_rules! of_either {
    ($storage:ident, $ask:ident($($with:expr),*)) => {
        match $storage {
            Self::Sqlite(sqlite) => sqlite.$ask($($with),*).await,
            Self::Redis(redis) => redis.$ask($($with),*).await,
        }
    };
}

/// One of the two.
pub(crate) enum Storage {
    Sqlite(Sqlite),
    Redis(Redis),
}

impl Storage {
    /// Redis at this address, or SQLite.
    pub(crate) async fn open(redis: Option<&str>) -> Result<Self, Failed> {
        match redis {
            Some(address) => Redis::open(address).await.map(Self::Redis),
            None => Sqlite::open().await.map(Self::Sqlite),
        }
    }

    /// The deployment's own key: `made`, unless it has one.
    pub(crate) async fn key(&self, made: &str) -> Result<String, Failed> {
        of_either!(self, key(made))
    }
}

impl Shelf for Storage {
    /// A transaction of SQLite; Redis has none, and nobody waits for a lock there.
    type Hold = Connection;

    async fn hold(&self) -> Result<Option<Connection>, Failed> {
        match self {
            Self::Sqlite(_) => sqlite::hold().await,
            Self::Redis(_) => Ok(None),
        }
    }

    async fn find(&self, key: &Key, hold: Option<&Connection>) -> Result<Found, Failed> {
        match self {
            Self::Sqlite(sqlite) => sqlite.find(key, hold).await,
            Self::Redis(redis) => redis.find(key).await,
        }
    }

    async fn make(&self, key: &Key, step: &Step, hold: Option<&Connection>) -> Result<Made, Failed> {
        match self {
            Self::Sqlite(sqlite) => sqlite.make(key, step, hold).await,
            Self::Redis(redis) => redis.make(key, step).await,
        }
    }

    async fn rows(&self, key: &Key, after: u64, limit: u32) -> Result<Vec<String>, Failed> {
        of_either!(self, rows(key, after, limit))
    }

    async fn due(&self, now: Timestamp) -> Result<Vec<Key>, Failed> {
        of_either!(self, due(now))
    }

    async fn take(&self, now: Timestamp) -> Result<Vec<Waiting>, Failed> {
        of_either!(self, take(now))
    }

    async fn settle(&self, id: i64) -> Result<(), Failed> {
        of_either!(self, settle(id))
    }
}
