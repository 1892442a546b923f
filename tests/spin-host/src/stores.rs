//! Where does the component keep things? `spin:key-value` and `spin:sqlite`, in files; `spin:redis`, by any command.

use std::path::Path;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use redis::{Value as Answer, aio::MultiplexedConnection, cmd};
use rusqlite::{Connection, Row, ToSql, params_from_iter, types::Value as Sql};
use tokio::{sync::Mutex, task::block_in_place, task::spawn_blocking, time::timeout};
use wasmtime::component::{Accessor, FutureReader, HasSelf, Resource, StreamReader};
use wasmtime::{Result, bail};

use crate::bindings::spin::key_value::key_value;
use crate::bindings::spin::redis::redis::{self as spin_redis, RedisParameter, RedisResult};
use crate::bindings::spin::sqlite::sqlite::{self, RowResult, Value};
use crate::instance::{Guest, Shared, resource, shared};

pub type Redis = MultiplexedConnection;
pub type Sqlite = Arc<Mutex<Connection>>;

#[derive(Clone)]
pub struct Documents(Arc<Lock<Connection>>);

impl Documents {
    pub(crate) fn open(file: &Path) -> rusqlite::Result<Self> {
        let database = Connection::open(file)?;
        database.execute(LAYOUT, [])?;
        Ok(Self(Arc::new(Lock::new(database))))
    }

    pub(crate) fn set(&self, key: &str, value: &[u8]) -> Result<(), key_value::Error> {
        self.run("INSERT OR REPLACE INTO spin_key_value VALUES ('default', ?, ?)", &[&key, &value]).map(drop)
    }

    fn run(&self, statement: &str, values: &[&dyn ToSql]) -> Result<Option<Vec<u8>>, key_value::Error> {
        let database = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let run = || database.prepare_cached(statement)?.query_map(values, |row| row.get(0))?.next().transpose();
        block_in_place(run).map_err(|error: rusqlite::Error| key_value::Error::Other(error.to_string()))
    }
}

type Kept<R> = Result<Result<R, key_value::Error>>;

impl<T> key_value::HostStoreWithStore<T> for HasSelf<Guest> {
    async fn open(guest: &Accessor<T, Self>, label: String) -> Kept<Resource<Documents>> {
        let Shared { application, documents, .. } = &*shared(guest);
        if !application.key_value_stores.contains(&label) {
            return Ok(Err(key_value::Error::AccessDenied));
        }
        guest.with(|mut guest| Ok(Ok(guest.get().table.push(documents.clone())?)))
    }

    async fn get(guest: &Accessor<T, Self>, on: Resource<Documents>, key: String) -> Kept<Option<Vec<u8>>> {
        Ok(resource(guest, &on)?.run("SELECT value FROM spin_key_value WHERE store = 'default' AND key = ?", &[&key]))
    }

    async fn set(guest: &Accessor<T, Self>, on: Resource<Documents>, key: String, value: Vec<u8>) -> Kept<()> {
        Ok(resource(guest, &on)?.set(&key, &value))
    }
}

type Told<R> = Result<Result<R, spin_redis::Error>>;

impl<T> spin_redis::HostConnectionWithStore<T> for HasSelf<Guest> {
    async fn open(guest: &Accessor<T, Self>, address: String) -> Told<Resource<Redis>> {
        let client = redis::Client::open(&*address).ok().filter(|_| shared(guest).application.allows(&address));
        let Some(client) = client else { return Ok(Err(spin_redis::Error::InvalidAddress)) };
        match client.get_multiplexed_async_connection().await {
            Ok(connection) => guest.with(|mut guest| Ok(Ok(guest.get().table.push(connection)?))),
            Err(error) => Ok(Err(spin_redis::Error::Other(error.to_string()))),
        }
    }

    async fn execute(
        guest: &Accessor<T, Self>,
        on: Resource<Redis>,
        command: String,
        arguments: Vec<RedisParameter>,
    ) -> Told<Vec<RedisResult>> {
        let arguments = arguments.into_iter().map(|argument| match argument {
            RedisParameter::Int64(integer) => integer.to_string().into_bytes(),
            RedisParameter::Binary(bytes) => bytes,
        });
        let command = cmd(&command).arg(arguments.collect::<Vec<_>>()).take();
        let answer = command.query_async(&mut resource(guest, &on)?).await;
        Ok(answer.map_err(|error| error.to_string()).and_then(flat).map_err(spin_redis::Error::Other))
    }
}

/// Lists within lists become one list, as in Spin.
fn flat(answer: Answer) -> Result<Vec<RedisResult>, String> {
    Ok(vec![match answer {
        Answer::Nil => RedisResult::Nil,
        Answer::Int(integer) => RedisResult::Int64(integer),
        Answer::BulkString(bytes) => RedisResult::Binary(bytes),
        Answer::SimpleString(status) => RedisResult::Status(status),
        Answer::Okay => RedisResult::Status("OK".to_owned()),
        Answer::Array(list) => return list.into_iter().try_fold(vec![], |all, one| Ok([all, flat(one)?].concat())),
        other => return Err(format!("the test host does not know `{other:?}`")),
    }])
}

type Ran<R> = Result<R, sqlite::Error>;
type Rows = (Vec<String>, StreamReader<RowResult>, FutureReader<Ran<()>>);

impl<T> sqlite::HostConnectionWithStore<T> for HasSelf<Guest> {
    async fn open_async(guest: &Accessor<T, Self>, name: String) -> Result<Ran<Resource<Sqlite>>> {
        let shared = shared(guest);
        if !shared.application.sqlite_databases.contains(&name) {
            return Ok(Err(sqlite::Error::AccessDenied));
        }
        match spawn_blocking(move || Connection::open(&shared.database)).await? {
            Ok(open) => guest.with(|mut guest| Ok(Ok(guest.get().table.push(Arc::new(Mutex::new(open)))?))),
            Err(error) => Ok(Err(error.into())),
        }
    }

    /// The connection is held until the outcome is read. Traps where nobody does: Spin would wait for ever.
    async fn execute_async(
        guest: &Accessor<T, Self>,
        on: Resource<Sqlite>,
        statement: String,
        values: Vec<Value>,
    ) -> Result<Ran<Rows>> {
        let Ok(on) = timeout(HANGS_AFTER, resource(guest, &on)?.lock_owned()).await else {
            bail!("a statement waits for one whose rows nobody reads: Spin would hang here");
        };
        let (ran, on) = spawn_blocking(move || (run(&on, &statement, values), on)).await?;
        match ran {
            Ok((columns, rows, outcome)) => guest.with(|mut guest| {
                let outcome = async move { wasmtime::error::Ok((outcome, on).0) };
                Ok(Ok((columns, StreamReader::new(&mut guest, rows)?, FutureReader::new(&mut guest, outcome)?)))
            }),
            Err(error) => Ok(Err(error)),
        }
    }
}

/// What cannot be prepared fails at once; any other failure is the outcome.
fn run(on: &Connection, statement: &str, values: Vec<Value>) -> Ran<(Vec<String>, Vec<RowResult>, Ran<()>)> {
    let mut statement = on.prepare_cached(statement)?;
    let columns: Vec<_> = statement.column_names().into_iter().map(str::to_owned).collect();
    let mut rows = Vec::new();
    let read = |row: &Row<'_>| (0..columns.len()).map(|column| row.get(column).map(Sql::into)).collect();
    let values = params_from_iter(values.into_iter().map(Sql::from));
    let outcome =
        statement.query_map(values, read)?.try_for_each(|row| row.map(|values| rows.push(RowResult { values })));
    Ok((columns, rows, outcome.map_err(sqlite::Error::from)))
}

impl From<rusqlite::Error> for sqlite::Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Io(error.to_string())
    }
}

macro_rules! converts {
    ($from:ident to $to:ident: $($same:ident)*) => {
        impl From<$from> for $to {
            fn from(value: $from) -> Self {
                match value {
                    $from::Null => Self::Null,
                    $($from::$same(value) => Self::$same(value),)*
                }
            }
        }
    };
}
converts!(Value to Sql: Integer Real Text Blob);
converts!(Sql to Value: Integer Real Text Blob);

macro_rules! forgets {
    ($($interface:ident::$host:ident: $resource:ty,)*) => {$(
        impl $interface::Host for Guest {}
        impl $interface::$host for Guest {
            fn drop(&mut self, handle: Resource<$resource>) -> Result<()> {
                Ok(self.table.delete(handle).map(drop)?)
            }
        }
    )*};
}
forgets!(key_value::HostStore: Documents, spin_redis::HostConnection: Redis, sqlite::HostConnection: Sqlite,);

const HANGS_AFTER: Duration = Duration::from_secs(10);
const LAYOUT: &str = "CREATE TABLE IF NOT EXISTS spin_key_value
    (store TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (store, key))";
