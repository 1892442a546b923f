//! How does the component use SQLite? `spin:sqlite`: a statement holds its connection until its last row is read.

use std::pin::Pin;
use std::sync::{Arc, Mutex as Mark, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rusqlite::params_from_iter;
use rusqlite::types::{Value as Sql, ValueRef};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use wasmtime::component::{Accessor, Destination, FutureReader, HasSelf, Resource};
use wasmtime::component::{StreamProducer, StreamReader, StreamResult};
use wasmtime::{StoreContextMut, bail};

use crate::bindings::spin::sqlite::sqlite::{Error, Host, HostConnection, HostConnectionWithStore, RowResult, Value};
use crate::guest::{Guest, resource};

#[derive(Clone)]
pub struct Connection {
    database: Arc<Mutex<rusqlite::Connection>>,
    /// Since when a row waits to be read.
    unread: Arc<Mark<Option<Instant>>>,
}

impl Connection {
    /// Waits until no statement runs. Traps where rows stay unread: Spin would wait for ever.
    async fn free(&self) -> wasmtime::Result<OwnedMutexGuard<rusqlite::Connection>> {
        loop {
            if let Ok(free) = timeout(HANGS_AFTER, self.database.clone().lock_owned()).await {
                return Ok(free);
            }
            let since = *self.unread.lock().unwrap_or_else(PoisonError::into_inner);
            if since.is_some_and(|since| since.elapsed() >= HANGS_AFTER) {
                bail!("a statement waits for a connection whose rows nobody reads: Spin would hang here");
            }
        }
    }

    /// Whether the rows are still wanted.
    fn pass(&self, rows: &mpsc::Sender<RowResult>, row: RowResult) -> bool {
        let row = match rows.try_send(row) {
            Err(TrySendError::Full(row)) => row,
            sent => return sent.is_ok(),
        };
        let mark = |since| *self.unread.lock().unwrap_or_else(PoisonError::into_inner) = since;
        mark(Some(Instant::now()));
        let sent = rows.blocking_send(row);
        mark(None);
        sent.is_ok()
    }
}

type Answer<R> = wasmtime::Result<Result<R, Error>>;
type Rows = (Vec<String>, StreamReader<RowResult>, FutureReader<Result<(), Error>>);

impl Host for Guest {}

impl HostConnection for Guest {
    fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        Ok(self.table.delete(connection).map(drop)?)
    }
}

impl<T> HostConnectionWithStore<T> for HasSelf<Guest> {
    async fn open_async(guest: &Accessor<T, Self>, database: String) -> Answer<Resource<Connection>> {
        let shared = guest.with(|mut guest| guest.get().shared.clone());
        if !shared.application.sqlite_databases.contains(&database) {
            return Ok(Err(Error::AccessDenied));
        }
        let database = match spawn_blocking(move || rusqlite::Connection::open(&shared.database)).await? {
            Ok(database) => Arc::new(Mutex::new(database)),
            Err(error) => return Ok(Err(Error::Io(error.to_string()))),
        };
        let connection = Connection { database, unread: Arc::default() };
        Ok(Ok(guest.with(|mut guest| guest.get().table.push(connection))?))
    }

    async fn execute_async(
        guest: &Accessor<T, Self>,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<Value>,
    ) -> Answer<Rows> {
        let connection = resource(guest, &connection)?;
        let free = connection.free().await?;
        let (columns_known, columns) = oneshot::channel();
        let (passed, rows) = mpsc::channel(ROWS_AHEAD);
        let (ended, end) = oneshot::channel();
        spawn_blocking(move || {
            let run = run(&free, &statement, parameters, columns_known, |row| connection.pass(&passed, row));
            drop(free);
            let _ = ended.send(run.map_err(|error| Error::Io(error.to_string())));
        });
        let Ok(columns) = columns.await else { return Ok(Err(end.await?.err().unwrap_or(Error::InvalidConnection))) };
        guest.with(|mut guest| {
            Ok(Ok((columns, StreamReader::new(&mut guest, Passed(rows))?, FutureReader::new(&mut guest, end)?)))
        })
    }

    async fn last_insert_rowid_async(guest: &Accessor<T, Self>, on: Resource<Connection>) -> wasmtime::Result<i64> {
        Ok(resource(guest, &on)?.free().await?.last_insert_rowid())
    }

    async fn changes_async(guest: &Accessor<T, Self>, on: Resource<Connection>) -> wasmtime::Result<u64> {
        Ok(resource(guest, &on)?.free().await?.changes())
    }
}

/// The columns are told before the first step: only the end says whether a statement succeeded.
fn run(
    on: &rusqlite::Connection,
    statement: &str,
    parameters: Vec<Value>,
    columns: oneshot::Sender<Vec<String>>,
    pass: impl Fn(RowResult) -> bool,
) -> rusqlite::Result<()> {
    let mut statement = on.prepare_cached(statement)?;
    let names: Vec<_> = statement.column_names().into_iter().map(str::to_owned).collect();
    let width = names.len();
    let mut rows = statement.query(params_from_iter(parameters.into_iter().map(bound)))?;
    let _ = columns.send(names);
    while let Some(row) = rows.next()? {
        let values = (0..width).map(|column| row.get_ref(column).map(read)).collect::<rusqlite::Result<_>>()?;
        if !pass(RowResult { values }) {
            break;
        }
    }
    Ok(())
}

fn bound(value: Value) -> Sql {
    match value {
        Value::Integer(integer) => Sql::Integer(integer),
        Value::Real(real) => Sql::Real(real),
        Value::Text(text) => Sql::Text(text),
        Value::Blob(blob) => Sql::Blob(blob),
        Value::Null => Sql::Null,
    }
}

fn read(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Integer(integer) => Value::Integer(integer),
        ValueRef::Real(real) => Value::Real(real),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(blob) => Value::Blob(blob.to_owned()),
        ValueRef::Null => Value::Null,
    }
}

/// Rows on their way to the component.
struct Passed(mpsc::Receiver<RowResult>);

impl<D> StreamProducer<D> for Passed {
    type Item = RowResult;
    type Buffer = Option<RowResult>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'a, D>,
        mut to: Destination<'a, RowResult, Option<RowResult>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if to.remaining(store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        Poll::Ready(Ok(match self.0.poll_recv(cx) {
            Poll::Ready(Some(row)) => {
                to.set_buffer(Some(row));
                StreamResult::Completed
            }
            Poll::Ready(None) => StreamResult::Dropped,
            Poll::Pending if finish => StreamResult::Cancelled,
            Poll::Pending => return Poll::Pending,
        }))
    }
}

/// As many as Spin reads ahead.
const ROWS_AHEAD: usize = 4;
const HANGS_AFTER: Duration = Duration::from_secs(5);
