//! How does the component use Redis? `spin:redis`, as far as any command goes through `execute`.

use redis::Value;
use wasmtime::component::{Accessor, HasSelf, Resource};

use crate::bindings::spin::redis::redis::{Error, Host, HostConnection, HostConnectionWithStore};
use crate::bindings::spin::redis::redis::{RedisParameter, RedisResult};
use crate::guest::{Guest, resource};

pub use redis::aio::MultiplexedConnection as Connection;

type Answer<R> = wasmtime::Result<Result<R, Error>>;

impl Host for Guest {}

impl HostConnection for Guest {
    fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        Ok(self.table.delete(connection).map(drop)?)
    }
}

impl<T> HostConnectionWithStore<T> for HasSelf<Guest> {
    async fn open(guest: &Accessor<T, Self>, address: String) -> Answer<Resource<Connection>> {
        let is_allowed = guest.with(|mut guest| guest.get().shared.application.allows(&address));
        let Some(client) = redis::Client::open(address).ok().filter(|_| is_allowed) else {
            return Ok(Err(Error::InvalidAddress));
        };
        match client.get_multiplexed_async_connection().await {
            Ok(connection) => Ok(Ok(guest.with(|mut guest| guest.get().table.push(connection))?)),
            Err(error) => Ok(Err(Error::Other(error.to_string()))),
        }
    }

    async fn execute(
        guest: &Accessor<T, Self>,
        connection: Resource<Connection>,
        command: String,
        arguments: Vec<RedisParameter>,
    ) -> Answer<Vec<RedisResult>> {
        let mut command = redis::cmd(&command);
        for argument in arguments {
            match argument {
                RedisParameter::Int64(integer) => command.arg(integer),
                RedisParameter::Binary(bytes) => command.arg(bytes),
            };
        }
        let mut results = Vec::new();
        let answer = command.query_async(&mut resource(guest, &connection)?).await;
        let answer = answer.map_err(|error: redis::RedisError| Error::Other(error.to_string()));
        Ok(answer.and_then(|answer| flatten(answer, &mut results)).map(|()| results))
    }
}

/// Lists within lists become one list, as in Spin.
fn flatten(value: Value, results: &mut Vec<RedisResult>) -> Result<(), Error> {
    results.push(match value {
        Value::Nil => RedisResult::Nil,
        Value::Int(integer) => RedisResult::Int64(integer),
        Value::BulkString(bytes) => RedisResult::Binary(bytes),
        Value::SimpleString(status) => RedisResult::Status(status),
        Value::Okay => RedisResult::Status("OK".to_owned()),
        Value::Array(values) => return values.into_iter().try_for_each(|value| flatten(value, results)),
        other => return Err(Error::Other(format!("the test host does not know `{other:?}`"))),
    });
    Ok(())
}
