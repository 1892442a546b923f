//! Was this asked a moment ago? Answers of the six methods that say how long they hold, each server's by itself, as the
//! server gave them: before policies take out what a caller may not see, and before lists are merged (MCP 2026-07-28
//! server/utilities/caching).
//!
//! A private answer is kept for those of one [`Context`], a public one for everybody. What is not said is private, and
//! holds for no time. A retry of a request that was asked something back is not kept, nor is a request with parameters
//! nobody here knows.

use std::num::NonZeroUsize;

use lru::LruCache;
use mcp::{Body, Message, Timestamp, digest::Sha256Digest, jsonrpc};

use super::part::ttl_ms;
use crate::text::{self, Members, ResultType};

/// For whom an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// For everybody.
    Public,
    /// For those with the same authorization.
    Private,
}

impl Scope {
    /// What a result says; one that says nothing is private.
    #[must_use]
    pub fn of(result: &Members<'_>) -> Self {
        match result.string("cacheScope").as_deref() {
            Some("public") => Self::Public,
            _ => Self::Private,
        }
    }

    /// As `cacheScope` spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    server: String,
    method: &'static str,
    /// The cursor, or the URI.
    at: Option<String>,
}

/// With which authorization: a digest of all that an answer may depend on, such as the principal and the capabilities the
/// caller declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Context(pub Sha256Digest);

/// The key of a request to `server`; `None` if its answer is not kept. `params` is a JSON text, with names as the server
/// knows them.
#[must_use]
pub fn key(server: &str, method: &str, params: Option<&str>) -> Option<Key> {
    let method = text::CACHEABLE.into_iter().find(|cacheable| *cacheable == method)?;
    let params = Members::parse(params.unwrap_or("{}")).ok()?;
    let name = match method {
        "resources/read" => "uri",
        _ => "cursor",
    };
    if params.iter().any(|(member, _)| member != name && member != "_meta") {
        return None;
    }
    let at = params.string(name).map(|at| at.into_owned());
    let is_plain = at.is_some() == params.has(name) && (at.is_some() || method != "resources/read");
    is_plain.then(|| Key { server: server.to_owned(), method, at })
}

/// What a server says has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `notifications/tools/list_changed`
    Tools,
    /// `notifications/prompts/list_changed`
    Prompts,
    /// `notifications/resources/list_changed`
    Resources,
    /// `notifications/resources/updated`, of this URI.
    Updated(String),
}

impl Change {
    /// What the JSON-RPC message `message` says has changed, if it says so.
    #[must_use]
    pub fn of(message: &str) -> Option<Self> {
        let Ok(Body::Single(Message::Notification(call))) = jsonrpc::parse(message.as_bytes()) else { return None };
        match call.method.as_ref() {
            "notifications/tools/list_changed" => Some(Self::Tools),
            "notifications/prompts/list_changed" => Some(Self::Prompts),
            "notifications/resources/list_changed" => Some(Self::Resources),
            "notifications/resources/updated" => {
                let params = Members::parse(call.params?.get()).ok()?;
                params.string("uri").map(|uri| Self::Updated(uri.into_owned()))
            }
            _ => None,
        }
    }

    fn concerns(&self, key: &Key) -> bool {
        match self {
            Self::Tools => key.method == "tools/list",
            Self::Prompts => key.method == "prompts/list",
            Self::Resources => matches!(key.method, "resources/list" | "resources/templates/list" | "resources/read"),
            // The one that is named may be a part of the one that was read (MCP server/resources, Subscriptions).
            Self::Updated(uri) => {
                let is_part = |read: &str| uri.starts_with(read) || read.starts_with(uri.as_str());
                key.method == "resources/read" && key.at.as_deref().is_some_and(is_part)
            }
        }
    }
}

/// Answers that still hold, within bounds; those that were not asked for the longest go first.
#[derive(Debug)]
pub struct Cache {
    entries: LruCache<(Key, Option<Context>), Entry>,
    bytes: usize,
    bytes_max: usize,
    /// How many changes were heard of.
    changes: u64,
    /// The latest change at each server.
    changed: LruCache<String, u64>,
    /// The latest change of those `changed` forgot.
    forgotten: u64,
}

/// A request whose answer may be known, or is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    key: Key,
    context: Context,
    /// How many changes were heard of before it was asked.
    changes: u64,
}

/// A result, cut where it says how long it holds.
#[derive(Debug)]
struct Entry {
    head: String,
    tail: String,
    ttl_ms: u64,
    stored: Timestamp,
}

impl Cache {
    /// An empty cache of at most so many answers and bytes.
    #[must_use]
    pub fn new(entries_max: NonZeroUsize, bytes_max: usize) -> Self {
        let changed = LruCache::new(SERVERS_MAX);
        Self { entries: LruCache::new(entries_max), bytes: 0, bytes_max, changes: 0, changed, forgotten: 0 }
    }

    /// The question `key`, asked now for `context`: to be made before the request is sent whose answer is
    /// [stored](Cache::store).
    #[must_use]
    pub const fn question(&self, key: Key, context: Context) -> Question {
        Question { key, context, changes: self.changes }
    }

    /// The result that still holds, a JSON text; its `ttlMs` is what is left of it.
    pub fn lookup(&mut self, question: &Question, now: Timestamp) -> Option<String> {
        [Some(question.context), None].into_iter().find_map(|whose| {
            let whole = (question.key.clone(), whose);
            let entry = self.entries.get(&whole)?;
            let age_ms = now.millis_since(entry.stored);
            if age_ms >= entry.ttl_ms.min(AGE_MAX_MS) {
                self.remove(&whole);
                return None;
            }
            Some([&entry.head, (entry.ttl_ms - age_ms).to_string().as_str(), &entry.tail].concat())
        })
    }

    /// Keeps the result in `response`, the JSON-RPC response to `question`, if it may be kept.
    pub fn store(&mut self, question: Question, response: &str, now: Timestamp) {
        let Question { key, context, changes } = question;
        let changed = self.changed.peek(&key.server).copied().unwrap_or_default().max(self.forgotten);
        if changed > changes {
            return;
        }
        let Some((entry, scope)) = Entry::of(response, now) else { return };
        if entry.bytes() > self.bytes_max / ENTRY_SHARE {
            return;
        }
        let whose = match scope {
            Scope::Public => None,
            Scope::Private => Some(context),
        };
        self.bytes += entry.bytes();
        if let Some((_, old)) = self.entries.push((key, whose), entry) {
            self.bytes = self.bytes.saturating_sub(old.bytes());
        }
        while self.bytes > self.bytes_max {
            let Some((_, old)) = self.entries.pop_lru() else { break };
            self.bytes = self.bytes.saturating_sub(old.bytes());
        }
    }

    /// Forgets what `change` at `server` makes wrong, for everybody; also answers that are still on their way.
    pub fn invalidate(&mut self, server: &str, change: &Change) {
        self.note_change(server);
        self.drop_where(|key| key.server == server && change.concerns(key));
    }

    /// Forgets all of `server`: it is another one now.
    pub fn forget(&mut self, server: &str) {
        self.note_change(server);
        self.drop_where(|key| key.server == server);
    }

    fn note_change(&mut self, server: &str) {
        self.changes += 1;
        if let Some((evicted, change)) = self.changed.push(server.to_owned(), self.changes)
            && evicted != server
        {
            self.forgotten = self.forgotten.max(change);
        }
    }

    fn drop_where(&mut self, is_wrong: impl Fn(&Key) -> bool) {
        let wrong: Vec<_> =
            self.entries.iter().map(|(whole, _)| whole).filter(|(key, _)| is_wrong(key)).cloned().collect();
        wrong.iter().for_each(|whole| self.remove(whole));
    }

    fn remove(&mut self, whole: &(Key, Option<Context>)) {
        if let Some(entry) = self.entries.pop(whole) {
            self.bytes = self.bytes.saturating_sub(entry.bytes());
        }
    }
}

impl Entry {
    /// The entry a response makes, if it is a whole answer that holds for some time.
    fn of(response: &str, now: Timestamp) -> Option<(Self, Scope)> {
        let Ok(Body::Single(Message::Response(reply))) = jsonrpc::parse(response.as_bytes()) else { return None };
        let text = reply.result?.get();
        let result = Members::parse(text).ok()?;
        let ttl_ms = ttl_ms(&result);
        if ttl_ms == 0 || text::result_type(&result) != ResultType::Complete {
            return None;
        }
        let raw = result.raw("ttlMs")?;
        // `raw` is a slice of `text`.
        let begin = (raw.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
        let (head, tail) = (text.get(..begin)?.to_owned(), text.get(begin + raw.len()..)?.to_owned());
        Some((Self { head, tail, ttl_ms, stored: now }, Scope::of(&result)))
    }

    const fn bytes(&self) -> usize {
        self.head.len() + self.tail.len() + ENTRY_BYTES
    }
}

/// No answer is kept for longer, whatever it says.
const AGE_MAX_MS: u64 = 60 * 60 * 1000;
/// One answer may have this part of all bytes.
const ENTRY_SHARE: usize = 4;
/// About what an entry costs beside its text.
const ENTRY_BYTES: usize = 512;
const SERVERS_MAX: NonZeroUsize = NonZeroUsize::new(256).unwrap();

#[cfg(test)]
mod tests;
