//! Does the gateway's component work on Spin, where no registry holds `spin`? Serves it as `spin up` does, for tests.

#![expect(unreachable_pub, reason = "what stands for a resource is exported by its bindings")]

mod guest;
mod instances;
mod key_value;
mod manifest;
mod outbound;
mod redis;
mod server;
mod sqlite;
mod variables;

pub use crate::{instances::Start, manifest::Application, server::serve};

mod bindings {
    wasmtime::component::bindgen!({
        path: "host.wit",
        imports: { default: trappable },
        with: {
            "spin:key-value/key-value.store": crate::key_value::Store,
            "spin:redis/redis.connection": crate::redis::Connection,
            "spin:sqlite/sqlite.connection": crate::sqlite::Connection,
        },
    });
}
