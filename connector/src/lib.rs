//! The connector: stdio MCP servers in, Streamable HTTP out. It runs the servers of its own configuration, one process
//! per session and one for all who have none, and leaves none of them behind, however it ends.
//!
//! A legacy request passes `http` (is it one of ours, and what for?), `fleet` (which session, is there room?), `session`
//! (who waits for what?) and `process` (the server itself, watched by a `warden`). A modern one passes `http`, `modern`
//! (does the server speak that, and does it run?), `modern::stateless` (who waits for what?) and `process`. What belongs
//! where is decided in `router` and in `modern::multiplex`, which do no I/O.

pub mod backlog;
pub mod config;
pub mod ending;
pub mod fleet;
pub mod http;
pub mod lines;
pub mod modern;
pub mod process;
pub mod pumps;
pub mod router;
pub mod secret;
pub mod serve;
pub mod session;
pub mod warden;
pub mod wire;
