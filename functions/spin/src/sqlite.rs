//! How does SQLite keep machines? In three tables, and a view whose trigger makes a step: one statement is one transaction.

use gateway::{
    platform::Failed,
    shelf::{Found, Key, Made, Step, Waiting},
};
use machine::Alarm;
use mcp::Timestamp;
use spin_sdk::sqlite::{Connection, Error, RowResult, Value};

use crate::place::failed;

/// The database `default`.
pub(crate) struct Sqlite {
    /// Its rows are read at once: until then the host lets every other statement wait.
    connection: Connection,
}

impl Sqlite {
    pub(crate) async fn open() -> Result<Self, Failed> {
        let sqlite = Self { connection: Connection::open_default().await.map_err(failed)? };
        let version = sqlite.query("PRAGMA user_version", []).await.map_err(failed)?;
        if version.first().and_then(|row| row.get::<i64>(0)) != Some(VERSION) {
            // Some hosts decide on these by themselves, and say so.
            let _ = sqlite.query("PRAGMA journal_mode = WAL", []).await;
            for statement in LAYOUT {
                sqlite.query(statement, []).await.map_err(failed)?;
            }
        }
        Ok(sqlite)
    }

    pub(crate) async fn key(&self, made: &str) -> Result<String, Failed> {
        let rows = self.query(GIVE_KEY, [made.into()]).await.map_err(failed)?;
        rows.first().and_then(|row| text(row, 0)).ok_or_else(|| Failed("no key came back".to_owned()))
    }

    async fn query(&self, text: &str, values: impl IntoIterator<Item = Value>) -> Result<Vec<RowResult>, Error> {
        query(&self.connection, text, values).await
    }

    pub(crate) async fn find(&self, key: &Key, hold: Option<&Connection>) -> Result<Found, Failed> {
        let on = hold.unwrap_or(&self.connection);
        let rows = query(on, "SELECT state, alarm FROM machines WHERE kind = ? AND name = ?", named(key)).await;
        let found = rows.map_err(failed)?.first().map(|row| Found { state: text(row, 0), alarm: time(row, 1) });
        Ok(found.unwrap_or_default())
    }

    pub(crate) async fn make(&self, key: &Key, step: &Step, hold: Option<&Connection>) -> Result<Made, Failed> {
        let alarm = match step.alarm {
            Alarm::Keep => Value::Integer(KEEP),
            Alarm::At(at) => number(at.as_millis()),
            Alarm::Off => Value::Null,
        };
        let [rows, outbox] = step.arrays()?;
        let values = [step.was.clone().into(), step.state.clone().into(), alarm, rows.into(), outbox.into()];
        let values = named(key).into_iter().chain(values).chain([number(step.now.as_millis())]);
        let made = query(hold.unwrap_or(&self.connection), "INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values);
        match (made.await, hold) {
            (Ok(_), Some(hold)) => query(hold, "COMMIT", []).await.map(|_| Made::Yes).map_err(failed),
            (Ok(_), None) => Ok(Made::Yes),
            (Err(Error::Io(detail)), _) if detail.contains(MOVED) => Ok(Made::No),
            (Err(error), _) => Err(failed(error)),
        }
    }

    pub(crate) async fn rows(&self, key: &Key, after: u64, limit: u32) -> Result<Vec<String>, Failed> {
        let query = "SELECT value FROM entries WHERE kind = ? AND name = ? AND seq > ? ORDER BY seq LIMIT ?";
        let values = named(key).into_iter().chain([number(after), limit.into()]);
        let rows = self.query(query, values).await.map_err(failed)?;
        Ok(rows.iter().filter_map(|row| text(row, 0)).collect())
    }

    pub(crate) async fn due(&self, now: Timestamp) -> Result<Vec<Key>, Failed> {
        let query = "SELECT kind, name FROM machines WHERE alarm <= ? ORDER BY alarm LIMIT 16";
        let rows = self.query(query, [number(now.as_millis())]).await.map_err(failed)?;
        Ok(rows.iter().filter_map(|row| Some(Key { kind: text(row, 0)?, name: text(row, 1)? })).collect())
    }

    pub(crate) async fn take(&self, now: Timestamp) -> Result<Vec<Waiting>, Failed> {
        let now = number(now.as_millis());
        let rows = self.query(TAKE, [now.clone(), now]).await.map_err(failed)?;
        let waiting =
            |row: &RowResult| Some(Waiting { id: row.get(0)?, outgoing: text(row, 1)?, attempts: row.get(2)? });
        Ok(rows.iter().filter_map(waiting).collect())
    }

    pub(crate) async fn settle(&self, id: i64) -> Result<(), Failed> {
        self.query("DELETE FROM outbox WHERE id = ?", [Value::Integer(id)]).await.map_err(failed).map(drop)
    }
}

/// A connection with a transaction of its own, which ends with it: nobody writes until then.
pub(crate) async fn hold() -> Result<Option<Connection>, Failed> {
    let hold = Connection::open_default().await.map_err(failed)?;
    // Where it cannot be had, the step is tried without.
    Ok(query(&hold, "BEGIN IMMEDIATE", []).await.is_ok().then_some(hold))
}

/// Runs a statement to its end.
async fn query(on: &Connection, text: &str, values: impl IntoIterator<Item = Value>) -> Result<Vec<RowResult>, Error> {
    on.execute(text, values).await?.collect().await
}

fn named(key: &Key) -> [Value; 2] {
    [key.kind.as_str().into(), key.name.as_str().into()]
}

fn number(value: u64) -> Value {
    Value::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

fn text(row: &RowResult, index: usize) -> Option<String> {
    row.get::<&str>(index).map(str::to_owned)
}

fn time(row: &RowResult, index: usize) -> Option<Timestamp> {
    row.get(index).map(Timestamp::from_millis)
}

/// The alarm stays as it is.
const KEEP: i64 = -1;
/// What the trigger says of a step that begins with what is no more.
const MOVED: &str = "the machine has moved on";
const GIVE_KEY: &str = "INSERT INTO keys VALUES (0, ?) ON CONFLICT (id) DO UPDATE SET value = value RETURNING value";
const TAKE: &str = "\
    UPDATE outbox SET attempts = attempts + 1, due = ? + (1000 << min(attempts, 8))
    WHERE id IN (SELECT id FROM outbox WHERE due <= ? ORDER BY due LIMIT 16) RETURNING id, value, attempts";
const VERSION: i64 = 1;
/// Each may be run again, also by two instances at once; the version comes last.
const LAYOUT: [&str; 8] = [
    "CREATE TABLE IF NOT EXISTS machines (
        kind TEXT NOT NULL, name TEXT NOT NULL, state TEXT, alarm INTEGER, entries INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (kind, name)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS alarms ON machines (alarm) WHERE alarm IS NOT NULL",
    "CREATE TABLE IF NOT EXISTS entries (
        kind TEXT NOT NULL, name TEXT NOT NULL, seq INTEGER NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (kind, name, seq)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS outbox (
        id INTEGER PRIMARY KEY, value TEXT NOT NULL, attempts INTEGER NOT NULL, due INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS keys (id INTEGER PRIMARY KEY CHECK (id = 0), value TEXT NOT NULL)",
    "CREATE VIEW IF NOT EXISTS steps AS SELECT
        '' AS kind, '' AS name, '' AS was, '' AS state, 0 AS alarm, '[]' AS entries, '[]' AS outbox, 0 AS now WHERE 0",
    include_str!("step.sql"),
    "PRAGMA user_version = 1",
];
