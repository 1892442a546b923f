//! The one host of every machine: a Durable Object that keeps state, rows, outbox and alarm in its SQLite.
//!
//! | table | what | freed |
//! |---|---|---|
//! | `state` | the machine's state as JSON (`{"length":3,…}`) and when it wants to be woken | when the machine clears it |
//! | `rows` | what the machine appended, numbered from 1 | never |
//! | `outbox` | requests to deliver, with attempts and due time | once delivered, or after [`ATTEMPTS`] |

use std::cell::Cell;

use machine::{Alarm, Commit, Machine, Next, Outgoing, Store};
use mcp::Timestamp;
use serde::Deserialize;
use worker::{
    DurableObject, Env, Fetch, Method, Request, RequestInit, RequestRedirect, Response, ScheduledTime, SqlStorage,
    SqlStorageValue, State, durable_object,
};

use crate::edge::now;

/// A Durable Object class for each machine; the binding is the class's name in capitals.
macro_rules! host {
    ($class:ident, $machine:ty) => {
        #[doc = concat!("Hosts [`", stringify!($machine), "`].")]
        #[durable_object]
        pub struct $class(Host);

        impl DurableObject for $class {
            fn new(state: State, env: Env) -> Self {
                Self(Host { state, env, is_laid_out: Cell::new(false) })
            }

            async fn fetch(&self, request: Request) -> worker::Result<Response> {
                self.0.fetch::<$machine>(request).await
            }

            async fn alarm(&self) -> worker::Result<Response> {
                self.0.alarm::<$machine>().await
            }
        }
    };
}

host!(Session, session::Session);
host!(Ledger, quota::Ledger);
host!(Usage, quota::Usage);
host!(Breaker, upstream::Breaker);
host!(Release, registry::Release);
host!(Chain, audit::Chain);

struct Host {
    state: State,
    env: Env,
    is_laid_out: Cell<bool>,
}

impl Host {
    /// POST applies the command in the body; GET reads rows. Only the gateway's own binding leads here.
    async fn fetch<M: Machine>(&self, mut request: Request) -> worker::Result<Response> {
        if request.method() == Method::Get {
            let Page { after, limit } = request.query()?;
            return Response::from_json(&self.rows(after, limit)?);
        }
        let command = request.text().await?;
        let mut tables = self.tables()?;
        match machine::run::<M>(&mut tables, &command, now()) {
            Ok(reply) => {
                self.settle(tables.after).await?;
                Response::ok(reply)
            }
            Err(fault) => Response::error(fault.to_string(), 500),
        }
    }

    async fn alarm<M: Machine>(&self) -> worker::Result<Response> {
        let mut tables = self.tables()?;
        if tables.alarm()?.is_some_and(|at| at <= now()) {
            machine::wake::<M>(&mut tables, now()).map_err(|fault| worker::Error::RustError(fault.to_string()))?;
        }
        for (id, outgoing, attempts) in tables.due(now())? {
            let delivered = self.deliver(&outgoing).await;
            tables.attempted(id, attempts + 1, delivered)?;
        }
        tables.after = tables.next_step()?;
        self.settle(tables.after).await?;
        Response::empty()
    }

    async fn deliver(&self, outgoing: &Outgoing) -> bool {
        let headers = worker::Headers::new();
        let mut set = outgoing.headers.iter().all(|(name, value)| headers.set(name, value).is_ok());
        if let Some(name) = &outgoing.secret {
            let secret = self.env.secret(name).map(|secret| format!("Bearer {secret}"));
            set &= secret.is_ok_and(|bearer| headers.set("authorization", &bearer).is_ok());
        }
        let mut init = RequestInit::new();
        init.with_method(Method::from(outgoing.method.clone()))
            .with_headers(headers)
            .with_redirect(RequestRedirect::Manual);
        let Ok(request) = Request::new_with_init(&outgoing.url, &init) else { return false };
        set && Fetch::Request(request).send().await.is_ok_and(|response| response.status_code() < 500)
    }

    /// The alarm that was asked for; an object that keeps nothing is given back to the platform.
    async fn settle(&self, after: After) -> worker::Result<()> {
        let storage = self.state.storage();
        match after {
            After::Nothing => Ok(()),
            After::WakeAt(at) => storage.set_alarm(ScheduledTime::new(date(at))).await,
            After::NoAlarm => storage.delete_alarm().await,
            After::Free => {
                self.is_laid_out.set(false);
                storage.delete_alarm().await?;
                storage.delete_all().await
            }
        }
    }

    fn rows(&self, after: u64, limit: u32) -> worker::Result<Vec<String>> {
        let sql = self.tables()?.sql;
        let bindings = vec![number(after)?, number(u64::from(limit))?];
        let cursor = sql.exec("SELECT value FROM rows WHERE seq > ? ORDER BY seq LIMIT ?", bindings)?;
        Ok(cursor.to_array::<Text>()?.into_iter().map(|row| row.value).collect())
    }

    fn tables(&self) -> worker::Result<Tables> {
        let sql = self.state.storage().sql();
        if !self.is_laid_out.replace(true) {
            sql.exec(LAYOUT, None)?;
        }
        Ok(Tables { sql, after: After::Nothing })
    }
}

/// What is left to do once a commit is made.
#[derive(Clone, Copy)]
enum After {
    Nothing,
    WakeAt(Timestamp),
    NoAlarm,
    Free,
}

/// One object's tables. Statements of one turn are one transaction; the runtime holds answers back until it is durable.
struct Tables {
    sql: SqlStorage,
    after: After,
}

impl Store for Tables {
    type Failure = worker::Error;

    fn load(&mut self) -> worker::Result<Option<String>> {
        let rows: Vec<Text> = self.sql.exec("SELECT value FROM state", None)?.to_array()?;
        Ok(rows.into_iter().next().map(|row| row.value))
    }

    fn commit(&mut self, commit: Commit) -> worker::Result<()> {
        let moves_alarm = commit.alarm != Alarm::Keep || !commit.outbox.is_empty() || commit.state == Next::Clear;
        match commit.state {
            Next::Keep => {}
            Next::Clear => drop(self.sql.exec("DELETE FROM state", None)?),
            Next::Put(state) => drop(self.sql.exec(PUT_STATE, vec![state.into()])?),
        }
        match commit.rows.as_slice() {
            [] => {}
            [row] => drop(self.sql.exec("INSERT INTO rows (value) VALUES (?)", vec![row.as_str().into()])?),
            rows => drop(self.sql.exec(INSERT_ROWS, vec![serde_json::to_string(rows)?.into()])?),
        }
        for outgoing in commit.outbox {
            let text = serde_json::to_string(&outgoing)?;
            let bindings = vec![text.into(), number(now().as_millis())?];
            self.sql.exec("INSERT INTO outbox (value, attempts, due) VALUES (?, 0, ?)", bindings)?;
        }
        match commit.alarm {
            Alarm::Keep => {}
            Alarm::At(at) => drop(self.sql.exec("UPDATE state SET alarm = ?", vec![number(at.as_millis())?])?),
            Alarm::Off => drop(self.sql.exec("UPDATE state SET alarm = NULL", None)?),
        }
        if moves_alarm {
            self.after = self.next_step()?;
        }
        Ok(())
    }
}

impl Tables {
    /// When the machine wants to be woken.
    fn alarm(&self) -> worker::Result<Option<Timestamp>> {
        self.earliest("SELECT alarm AS at FROM state WHERE alarm IS NOT NULL")
    }

    /// What the tables ask for next.
    fn next_step(&self) -> worker::Result<After> {
        let delivery = self.earliest("SELECT min(due) AS at FROM outbox HAVING at IS NOT NULL")?;
        let next = [self.alarm()?, delivery].into_iter().flatten().min();
        let is_used = || -> worker::Result<bool> {
            let kept = "SELECT 1 AS at FROM state UNION ALL SELECT 1 FROM rows LIMIT 1";
            Ok(self.earliest(kept)?.is_some())
        };
        match next {
            Some(at) => Ok(After::WakeAt(at)),
            None if is_used()? => Ok(After::NoAlarm),
            None => Ok(After::Free),
        }
    }

    /// Requests that are due, with the attempts made so far.
    fn due(&self, now: Timestamp) -> worker::Result<Vec<(i64, Outgoing, u32)>> {
        let query = "SELECT id, value, attempts FROM outbox WHERE due <= ? LIMIT 16";
        let rows: Vec<Waiting> = self.sql.exec(query, vec![number(now.as_millis())?])?.to_array()?;
        let read = |row: Waiting| Some((row.id, serde_json::from_str(&row.value).ok()?, row.attempts));
        Ok(rows.into_iter().filter_map(read).collect())
    }

    fn attempted(&self, id: i64, attempts: u32, delivered: bool) -> worker::Result<()> {
        let id = SqlStorageValue::try_from_i64(id)?;
        if !delivered && attempts >= ATTEMPTS {
            worker::console_error!("a request of the outbox is given up after {attempts} attempts");
        }
        if delivered || attempts >= ATTEMPTS {
            self.sql.exec("DELETE FROM outbox WHERE id = ?", vec![id])?;
            return Ok(());
        }
        let due = now().plus_millis(1_000 << attempts.min(8));
        let bindings = vec![number(u64::from(attempts))?, number(due.as_millis())?, id];
        self.sql.exec("UPDATE outbox SET attempts = ?, due = ? WHERE id = ?", bindings)?;
        Ok(())
    }

    fn earliest(&self, query: &str) -> worker::Result<Option<Timestamp>> {
        let rows: Vec<At> = self.sql.exec(query, None)?.to_array()?;
        Ok(rows.first().map(|row| Timestamp::from_millis(row.at)))
    }
}

#[derive(Deserialize)]
struct Page {
    after: u64,
    limit: u32,
}

#[derive(Deserialize)]
struct Text {
    value: String,
}

#[derive(Deserialize)]
struct At {
    at: u64,
}

#[derive(Deserialize)]
struct Waiting {
    id: i64,
    value: String,
    attempts: u32,
}

fn number(value: u64) -> worker::Result<SqlStorageValue> {
    SqlStorageValue::try_from_i64(i64::try_from(value).unwrap_or(i64::MAX))
}

fn date(at: Timestamp) -> worker::js_sys::Date {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit a double until the year 287396")]
    let millis = at.as_millis() as f64;
    worker::js_sys::Date::new(&millis.into())
}

const LAYOUT: &str = "\
    CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY CHECK (id = 0), value TEXT NOT NULL, alarm INTEGER);
    CREATE TABLE IF NOT EXISTS rows (seq INTEGER PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS outbox
        (id INTEGER PRIMARY KEY, value TEXT NOT NULL, attempts INTEGER NOT NULL, due INTEGER NOT NULL);";
const PUT_STATE: &str =
    "INSERT INTO state (id, value) VALUES (0, ?) ON CONFLICT (id) DO UPDATE SET value = excluded.value";
const INSERT_ROWS: &str = "INSERT INTO rows (value) SELECT value FROM json_each(?) ORDER BY key";
/// With doubling pauses these span about ten minutes.
const ATTEMPTS: u32 = 9;
