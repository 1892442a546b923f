//! How does Redis keep machines? In a hash and a list each; a script makes a step, and Redis runs one script at a time.

use gateway::{
    platform::Failed,
    shelf::{Found, Key, Made, Step, Waiting},
};
use machine::Alarm;
use mcp::Timestamp;
use spin_sdk::redis::{Connection, RedisParameter, RedisResult};

use crate::place::failed;

/// A Redis that several processes share. How durable it is, its operator decides (`appendonly yes`).
pub(crate) struct Redis(Connection);

impl Redis {
    pub(crate) async fn open(address: &str) -> Result<Self, Failed> {
        let connection = Connection::open(address).await;
        connection.map(Self).map_err(|error| Failed(format!("no connection to the Redis of `turnpike_redis`: {error}")))
    }

    pub(crate) async fn key(&self, made: &str) -> Result<String, Failed> {
        self.run("SET", [KEY, made, "NX"]).await?;
        let kept = self.run("GET", [KEY]).await?.into_iter().find_map(text);
        kept.ok_or_else(|| Failed("no key came back".to_owned()))
    }

    async fn run<const N: usize>(&self, command: &str, arguments: [&str; N]) -> Result<Vec<RedisResult>, Failed> {
        let arguments = arguments.map(|argument| RedisParameter::Binary(argument.as_bytes().to_vec()));
        self.0.execute(command, arguments).await.map_err(failed)
    }

    pub(crate) async fn find(&self, key: &Key) -> Result<Found, Failed> {
        let found = self.run("HMGET", [&machine(key), "state", "alarm"]).await?;
        let mut found = found.into_iter().map(text);
        let state = found.next().flatten();
        let alarm = found.next().flatten().and_then(|alarm| alarm.parse().ok()).map(Timestamp::from_millis);
        Ok(Found { state, alarm })
    }

    pub(crate) async fn make(&self, key: &Key, step: &Step) -> Result<Made, Failed> {
        let alarm = match step.alarm {
            Alarm::Keep => "keep".to_owned(),
            Alarm::At(at) => at.as_millis().to_string(),
            Alarm::Off => "off".to_owned(),
        };
        let [rows, outbox] = step.arrays()?;
        let (was, state) = (step.was.as_deref().unwrap_or_default(), step.state.as_deref().unwrap_or_default());
        let (now, machine) = (step.now.as_millis().to_string(), machine(key));
        let named = [MAKE, "1", &machine, was, state, &alarm, &rows, &outbox, &now];
        match self.run("EVAL", named).await?.first() {
            Some(RedisResult::Int64(1)) => Ok(Made::Yes),
            _ => Ok(Made::No),
        }
    }

    pub(crate) async fn rows(&self, key: &Key, after: u64, limit: u32) -> Result<Vec<String>, Failed> {
        let (list, end) = (machine(key) + ENTRIES, after.saturating_add(u64::from(limit.max(1))));
        let rows = self.run("LRANGE", [&list, &after.to_string(), &(end - 1).to_string()]).await?;
        Ok(rows.into_iter().filter_map(text).collect())
    }

    pub(crate) async fn due(&self, now: Timestamp) -> Result<Vec<Key>, Failed> {
        let now = now.as_millis().to_string();
        let due = self.run("ZRANGEBYSCORE", [ALARMS, "-inf", &now, "LIMIT", "0", "16"]).await?;
        let key = |machine: String| {
            let (kind, name) = machine.strip_prefix(MACHINE)?.split_once(':')?;
            Some(Key::new(kind, name))
        };
        Ok(due.into_iter().filter_map(text).filter_map(key).collect())
    }

    pub(crate) async fn take(&self, now: Timestamp) -> Result<Vec<Waiting>, Failed> {
        let taken = self.run("EVAL", [TAKE, "0", &now.as_millis().to_string()]).await?;
        let texts: Vec<String> = taken.into_iter().filter_map(text).collect();
        let read = |taken: &[String]| match taken {
            [id, outgoing, attempts] => {
                let (id, attempts) = (id.parse().ok()?, attempts.parse().ok()?);
                Some(Waiting { id, outgoing: outgoing.clone(), attempts })
            }
            _ => None,
        };
        Ok(texts.chunks(3).filter_map(read).collect())
    }

    pub(crate) async fn settle(&self, id: i64) -> Result<(), Failed> {
        self.run("EVAL", [SETTLE, "0", &id.to_string()]).await.map(drop)
    }
}

fn machine(key: &Key) -> String {
    [MACHINE, &key.kind, ":", &key.name].concat()
}

fn text(result: RedisResult) -> Option<String> {
    match result {
        RedisResult::Binary(bytes) => String::from_utf8(bytes).ok(),
        RedisResult::Int64(number) => Some(number.to_string()),
        RedisResult::Status(text) => Some(text),
        RedisResult::Nil => None,
    }
}

const MACHINE: &str = "turnpike:machine:";
/// After a machine's key: its rows.
const ENTRIES: &str = ":entries";
/// Machines by the time they want to be woken.
const ALARMS: &str = "turnpike:alarms";
const KEY: &str = "turnpike:key";
const MAKE: &str = include_str!("step.lua");
const TAKE: &str = include_str!("take.lua");
const SETTLE: &str = "\
    redis.call('ZREM', 'turnpike:outbox:due', ARGV[1])
    redis.call('HDEL', 'turnpike:outbox', ARGV[1])
    return redis.call('HDEL', 'turnpike:outbox:attempts', ARGV[1])";
