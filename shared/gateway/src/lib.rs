//! The gateway: runs the stages in order, and holds what they share.
//!
//! Read [`pipeline`] first. [`Gateway`] is the one type that is generic over its [`Platform`]; an adapter makes one for
//! each request from the isolate's [`Memory`] and lets it [`Gateway::serve`].

pub mod config;
pub mod conversation;
pub mod platform;
pub mod refusal;
pub mod shelf;
pub mod tasks;

mod accounts;
mod aim;
mod alone;
mod answer;
mod apart;
mod api;
mod arrival;
mod asking;
mod bundle;
mod cors;
mod course;
mod definitions;
mod discovery;
mod draft;
mod endpoint;
mod era;
mod events;
mod faults;
mod federated;
mod heard;
mod identify;
mod initialize;
mod instances;
mod joined;
mod journal;
mod memory;
mod meter;
mod old;
mod patience;
mod permits;
mod pipeline;
mod quotas;

mod recall;
mod relay;
mod said;
mod serve;
mod sessions;
mod unfit;

pub use apart::apart;
pub use arrival::Spelled;
pub use conversation::Conversation;
pub use memory::Memory;
pub use platform::Platform;
pub use serve::{Gateway, json};
