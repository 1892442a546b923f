//! How does the component read its documents? `spin:key-value`: one store, in a database as Spin lays it out.

use std::future::ready;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension as _};
use tokio::task::block_in_place;
use wasmtime::component::{Accessor, FutureReader, HasSelf, Resource, StreamReader};

use crate::bindings::spin::key_value::key_value::{Error, Host, HostStore, HostStoreWithStore};
use crate::guest::{Guest, resource};

#[derive(Clone)]
pub struct Store(Arc<Mutex<Connection>>);

impl Store {
    pub(crate) fn open(file: &Path) -> rusqlite::Result<Self> {
        let store = Connection::open(file)?;
        store.execute_batch(
            "CREATE TABLE IF NOT EXISTS spin_key_value
             (store TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (store, key))",
        )?;
        Ok(Self(Arc::new(Mutex::new(store))))
    }

    pub(crate) fn put(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        let upsert = "INSERT INTO spin_key_value VALUES ('default', ?1, ?2) ON CONFLICT DO UPDATE SET value = ?2";
        self.run(|store| store.prepare_cached(upsert)?.execute((key, value)).map(drop))
    }

    fn run<R>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<R>) -> Result<R, Error> {
        let done = block_in_place(|| work(&self.0.lock().unwrap_or_else(PoisonError::into_inner)));
        done.map_err(|error| Error::Other(error.to_string()))
    }
}

type Answer<R> = wasmtime::Result<Result<R, Error>>;

impl Host for Guest {}

impl HostStore for Guest {
    fn drop(&mut self, store: Resource<Store>) -> wasmtime::Result<()> {
        Ok(self.table.delete(store).map(drop)?)
    }
}

impl<T> HostStoreWithStore<T> for HasSelf<Guest> {
    async fn open(guest: &Accessor<T, Self>, label: String) -> Answer<Resource<Store>> {
        guest.with(|mut guest| {
            let Guest { shared, table, .. } = guest.get();
            let is_granted = shared.application.key_value_stores.contains(&label);
            Ok(if is_granted { Ok(table.push(shared.store.clone())?) } else { Err(Error::AccessDenied) })
        })
    }

    async fn get(guest: &Accessor<T, Self>, store: Resource<Store>, key: String) -> Answer<Option<Vec<u8>>> {
        let select = "SELECT value FROM spin_key_value WHERE store = 'default' AND key = ?1";
        let found = |store: &Connection| store.prepare_cached(select)?.query_row([key], |row| row.get(0)).optional();
        Ok(resource(guest, &store)?.run(found))
    }

    async fn set(guest: &Accessor<T, Self>, store: Resource<Store>, key: String, value: Vec<u8>) -> Answer<()> {
        Ok(resource(guest, &store)?.put(&key, &value))
    }

    async fn delete(guest: &Accessor<T, Self>, store: Resource<Store>, key: String) -> Answer<()> {
        let delete = "DELETE FROM spin_key_value WHERE store = 'default' AND key = ?1";
        Ok(resource(guest, &store)?.run(|store| store.execute(delete, [key]).map(drop)))
    }

    async fn exists(guest: &Accessor<T, Self>, store: Resource<Store>, key: String) -> Answer<bool> {
        Ok(Self::get(guest, store, key).await?.map(|value| value.is_some()))
    }

    async fn get_keys(
        guest: &Accessor<T, Self>,
        store: Resource<Store>,
    ) -> wasmtime::Result<(StreamReader<String>, FutureReader<Result<(), Error>>)> {
        let listed = resource(guest, &store)?.run(|store| {
            let mut statement = store.prepare_cached("SELECT key FROM spin_key_value WHERE store = 'default'")?;
            statement.query_map((), |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()
        });
        let (keys, end) = listed.map_or_else(|error| (Vec::new(), Err(error)), |keys| (keys, Ok(())));
        let end = ready(wasmtime::error::Ok(end));
        guest.with(|mut guest| Ok((StreamReader::new(&mut guest, keys)?, FutureReader::new(&mut guest, end)?)))
    }
}
