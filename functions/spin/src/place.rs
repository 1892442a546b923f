//! What does an instance share between its requests? Nothing that is wrong when it is forgotten a second later.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use gateway::{Memory, platform::Failed, shelf::Machines};
use mcp::Timestamp;
use serde::Deserialize;
use spin_sdk::{
    key_value::Store,
    variables::{self, Error},
    wasip3::random::random,
};

use crate::{bell::Bell, storage::Storage};

/// An instance of the component.
#[derive(Default)]
pub(crate) struct Place {
    pub(crate) memory: Memory,
    pub(crate) machines: Machines<Bell>,
    pub(crate) due: Cell<Timestamp>,
    storage: RefCell<Option<Rc<Storage>>>,
    variables: RefCell<BTreeMap<String, String>>,
    mounted: OnceCell<BTreeMap<String, String>>,
}

/// A document of the file that was mounted.
#[derive(Deserialize)]
struct Document {
    key: String,
    value: String,
}

impl Place {
    /// This one.
    pub(crate) fn here() -> Rc<Self> {
        thread_local! {
            static HERE: Rc<Place> = Rc::new(Place { memory: Memory::of_a_moment(), ..Place::default() });
        }
        HERE.with(Rc::clone)
    }

    /// Where machines keep what they are: in Redis where the operator named one, else in SQLite.
    pub(crate) async fn storage(&self) -> Result<Rc<Storage>, Failed> {
        if let Some(storage) = self.storage.borrow().as_ref() {
            return Ok(Rc::clone(storage));
        }
        let redis = self.variable(REDIS).await;
        let storage = Rc::new(Storage::open(redis.as_deref()).await?);
        // Another request may have been faster: then there is one connection more for as long as this one takes.
        Ok(Rc::clone(self.storage.borrow_mut().get_or_insert(storage)))
    }

    /// The variable of this name, if it is set.
    pub(crate) async fn variable(&self, name: &str) -> Option<String> {
        if let Some(value) = self.variables.borrow().get(name) {
            return Some(value.clone());
        }
        let value = match variables::get(name).await {
            Ok(value) if !value.is_empty() => value,
            Ok(_) | Err(Error::Undefined(_)) => return None,
            Err(error) => {
                eprintln!("the variable `{name}` cannot be read: {error:?}");
                return None;
            }
        };
        self.variables.borrow_mut().insert(name.to_owned(), value.clone());
        Some(value)
    }

    /// The secret of this name: a variable, whose name Spin wants in lower case. A deployment that was given no key of its
    /// own has one made, and keeps it with its sessions.
    pub(crate) async fn secret(&self, name: &str) -> Option<String> {
        let variable = name.to_ascii_lowercase();
        match self.variable(&variable).await {
            None if variable == KEY => {
                let made = self.storage().await.ok()?.key(&URL_SAFE_NO_PAD.encode(bytes())).await;
                let made = made.inspect_err(|failed| eprintln!("there is no key: {failed}")).ok()?;
                self.variables.borrow_mut().insert(variable, made.clone());
                Some(made)
            }
            value => value,
        }
    }

    /// The document `key`: what was stored, or what came with the component.
    pub(crate) async fn read(&self, key: &str) -> Result<Option<String>, Failed> {
        let stored = store().await?.get(key).await.map_err(failed)?;
        match stored {
            Some(bytes) => String::from_utf8(bytes).map(Some).map_err(failed),
            None => Ok(self.mounted.get_or_init(mounted).get(key).cloned()),
        }
    }

    pub(crate) async fn write(&self, key: &str, text: &str) -> Result<(), Failed> {
        store().await?.set(key, text).await.map_err(failed)
    }
}

/// Unpredictable bytes.
pub(crate) fn bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&random::get_random_u64().to_ne_bytes()));
    bytes
}

pub(crate) fn failed(error: impl std::fmt::Display) -> Failed {
    Failed(error.to_string())
}

async fn store() -> Result<Store, Failed> {
    Store::open_default().await.map_err(failed)
}

/// The documents in the file that `files` of spin.toml brings; none where there is none.
fn mounted() -> BTreeMap<String, String> {
    let Ok(text) = std::fs::read_to_string(MOUNTED) else { return BTreeMap::new() };
    let documents = serde_json::from_str::<Vec<Document>>(&text);
    let documents = documents.inspect_err(|error| eprintln!("`{MOUNTED}` is no list of documents: {error}"));
    documents.unwrap_or_default().into_iter().map(|Document { key, value }| (key, value)).collect()
}

/// The variable with the address of a Redis that several processes share.
const REDIS: &str = "turnpike_redis";
/// The variable with the gateway's key.
const KEY: &str = "turnpike_key";
const MOUNTED: &str = "/config/bundle.json";
