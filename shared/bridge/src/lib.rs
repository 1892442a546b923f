//! What does the other side understand? The revisions a request and an upstream speak, and what lies between them.
//!
//! A façade ([`facade`]) speaks one era to its callers and another to the server behind it: [`down`] is modern in front of
//! a legacy server, [`up`] is legacy in front of a modern one, [`old`] stands between the two transports legacy revisions
//! have. [`federation`] makes one modern server of many. Everything here is pure; `gateway::conversation` hosts what has to wait.

pub mod claim;
pub mod demand;
pub mod down;
pub mod facade;
pub mod federation;
pub mod level;
pub mod old;
pub mod probe;
pub mod routing;
pub mod seal;
pub mod text;
pub mod up;
