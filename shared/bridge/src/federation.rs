//! How do many servers look like one?
//!
//! A [`View`] says what an endpoint shows of which servers, to one caller. All servers speak a modern revision to it: in
//! front of a legacy one stands [`down`](crate::down).
//!
//! | what | at the endpoint | at the server |
//! |---|---|---|
//! | tool, prompt | `files__read`, or the endpoint's own name for a tool | `read` |
//! | resource, template | `mcp+files+file:///{path}` | `file:///{path}` |
//! | cursor | one, with each server's own inside | its own |
//! | list | every server's, by the server's name, then in the server's order | its own |
//! | `requestState` | as the server gave it: it comes back with the same name | its own |
//!
//! [`route::route`] says where a request goes and what it is there; [`rewrite::message`] turns what the server says into what the
//! caller may hear; [`list::merge`] and [`discover::merge`] make one answer of many; [`listen::Listen`] one stream.
//! [`cache::Cache`] holds answers below all of that, of each server by itself.
//!
//! A server that is dead or slow costs its own entries. The answer says so in `_meta["turnpike/unavailable"]`, an array of
//! `{server, reason}`, holds for no time (`ttlMs` 0), and `server/discover` says it in its instructions too.

pub mod cache;
pub mod cursor;
pub mod discover;
pub mod list;
pub mod listen;
pub mod name;
pub mod part;
pub mod rewrite;
pub mod route;
pub mod uri;
pub mod view;

pub use part::{Part, Reason};
pub use view::{Naming, Share, Shown, Tools, View};
