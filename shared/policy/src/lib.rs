//! May they? Whether a principal may do what it asks for, as policies in Cedar say.
//!
//! [`Policies::compile`] parses and validates policies against what there is ([`Catalog`]); [`Policies::outlook`] works
//! out what a principal may expect at one thing, and [`Outlook::decide`] decides one call of it. What is not permitted is
//! denied, what is forbidden is denied whoever permits it, and a policy that applies and fails denies too, where Cedar
//! alone would go on as if it were not there.
//!
//! # What policies speak of
//!
//! | entity | is in | attributes |
//! |---|---|---|
//! | `Agent::"tenant/agent"` | its `Tenant`, its `Role`s | `tenant`, `agent`, `user`, `issuer`: String; `roles`, `scopes`: Set of String |
//! | `Server::"s"` | | `name` |
//! | `Tool::"s/t"` | its `Server` | `server`, `name`; `readOnly`, `destructive`, `idempotent`, `openWorld`, `pinned`: Bool |
//! | `Prompt::"s/p"` | its `Server` | `server`, `name`; `readOnly` and `idempotent`, always true; `destructive`, always false |
//! | `Resource::"s/uri"` | its `Server` | `server`, `uri`; the rest like a prompt |
//!
//! | action | in | on |
//! |---|---|---|
//! | `open_session` `end_session` `listen` `ping` `notify` `respond` `set_log_level` `list_tools` `list_prompts` `list_resources` `list_templates` | `discover` | `Server` |
//! | `read_resource` `subscribe` `unsubscribe`; `get_prompt`; `complete` | `read` | `Resource`; `Prompt`; both |
//! | `s/t`, one for each tool | `s/*`, and that in `call_tool` | `Tool` |
//! | `other`: a method the gateway does not know, in `context.method` | | `Server` |
//!
//! Every context has `revision`, `trace`: String, `hour`: Long (UTC) and perhaps `client`: String; that of a call has
//! `arguments`. A policy's id is its `@id("…")`, else `file.cedar:LINE`.
//!
//! What does not exist (a server, a pinned server's tool, a tenant, an action, an attribute, an argument) is an error when
//! policies are compiled, and so is a policy that can never apply. Of a server whose tools are not pinned a policy may name
//! any tool, but no argument of one the catalog does not know. A call of a tool the catalog does not know is decided by
//! the policies of `s/*` and `call_tool`, with `arguments` empty; where the server's tools are pinned, policies were not
//! validated against it, and one that asks for an argument without `has` fails there, which denies.
//!
//! # How JSON is said in Cedar
//!
//! | JSON Schema | Cedar | values |
//! |---|---|---|
//! | `string` | String | |
//! | `integer` | Long | `5.0` is 5; beyond 64 bits it is refused |
//! | `boolean` | Bool | |
//! | `number` | decimal | 5 is `decimal("5.0")`; rounded to four places; refused from ±922337203685477 |
//! | `array` with one type of `items` | Set | nulls are left out; at most 4,096 items |
//! | `object` | record of its `properties` | keys that are not declared are left out |
//! | `enum`, `const` of one type; `anyOf`, `oneOf`, `allOf` that come to one type; local `$ref` | that type | |
//! | nullable, or not `required` | optional: ask with `has` | null is absent |
//! | anything else: several types, tuples, maps, `true`; deeper than 8 levels | left out | a policy that names it is an error |
//!
//! Arguments are refused ([`Denied::Arguments`]) whatever the policies are when they nest deeper than 64 levels, have more
//! than 20,000 values or 1 MiB of text, or hold a number beyond 64 bits ([`admit`]); and where a policy that may apply
//! reads arguments or circumstances, when one that policies name contradicts its schema, or is required and absent.
//!
//! # Bounds
//!
//! A set has at most 1,000 policies and 1 MiB of text; a policy at most 24 brackets inside each other and 256 operators.
//!
//! # Speed
//!
//! A decision evaluates only policies whose scopes hold, and each condition they share once. What depends on the
//! principal and the thing alone is settled in the [`Outlook`], which is worth remembering. `examples/decide.rs` measures.

mod arguments;
mod ask;
mod catalog;
mod compile;
mod condition;
mod entity;
#[cfg(test)]
mod fixture;
mod names;
mod outlook;
mod policies;
mod problem;
mod rules;
mod schema;
mod scope;
mod shape;
mod stage;
mod text;
mod verdict;

pub use arguments::admit;
pub use ask::{Action, Ask, Circumstances, Reference, Tool, Who};
pub use catalog::{Catalog, CatalogServer, CatalogTool, Source};
pub use entity::Subject;
pub use outlook::Outlook;
pub use policies::Policies;
pub use problem::Problem;
pub use verdict::{Denied, Outcome, Permit, Shadow, Sight, scoped};
