//! Where do machines live on Spin? In SQLite, or in Redis where several processes share the state.

use gateway::{
    platform::Failed,
    shelf::{Found, Key, Made, Shelf, Step, Waiting},
};
use mcp::Timestamp;

use crate::{redis::Redis, sqlite::Sqlite};

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
        match self {
            Self::Sqlite(sqlite) => sqlite.key(made).await,
            Self::Redis(redis) => redis.key(made).await,
        }
    }
}

impl Shelf for Storage {
    async fn find(&self, key: &Key) -> Result<Found, Failed> {
        match self {
            Self::Sqlite(sqlite) => sqlite.find(key).await,
            Self::Redis(redis) => redis.find(key).await,
        }
    }

    async fn make(&self, key: &Key, step: &Step) -> Result<Made, Failed> {
        match self {
            Self::Sqlite(sqlite) => sqlite.make(key, step).await,
            Self::Redis(redis) => redis.make(key, step).await,
        }
    }

    async fn rows(&self, key: &Key, after: u64, limit: u32) -> Result<Vec<String>, Failed> {
        match self {
            Self::Sqlite(sqlite) => sqlite.rows(key, after, limit).await,
            Self::Redis(redis) => redis.rows(key, after, limit).await,
        }
    }

    async fn due(&self, now: Timestamp) -> Result<Vec<Key>, Failed> {
        match self {
            Self::Sqlite(sqlite) => sqlite.due(now).await,
            Self::Redis(redis) => redis.due(now).await,
        }
    }

    async fn take(&self, now: Timestamp) -> Result<Vec<Waiting>, Failed> {
        match self {
            Self::Sqlite(sqlite) => sqlite.take(now).await,
            Self::Redis(redis) => redis.take(now).await,
        }
    }

    async fn settle(&self, id: i64) -> Result<(), Failed> {
        match self {
            Self::Sqlite(sqlite) => sqlite.settle(id).await,
            Self::Redis(redis) => redis.settle(id).await,
        }
    }
}
