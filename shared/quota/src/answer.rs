//! How many tokens does a model get to read of an answer? Counted while it passes, in bounded memory.
//!
//! | of an answer | counts |
//! |---|---|
//! | `result.content`, `contents`, `messages` | their strings as text: the text, embedded resources, names and links; not types, roles, annotations and `_meta` |
//! | `result.structuredContent` | its JSON. A tool should say the same in `content`: the larger of both counts, not their sum |
//! | images in base64 (`data`, `blob`) | one token for each 512 bytes, at least 85, at most 1,600 |
//! | audio and other binary data | one token for each 512 bytes |
//! | other fields of `result`, `error`, and `params` of a server's own messages | their JSON |
//! | `usage` in `result._meta` or at the top of `structuredContent` | what it reports (`total_tokens`, `input_tokens`, `output_tokens`, also `prompt_`, `completion_` and in camel case) counts instead, up to 10,000,000 each |
//! | what is not JSON | one token for each 4 bytes |

mod events;
mod region;
mod text;
mod walk;

use crate::{answer::events::Events, tokens};

/// How an answer's body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON-RPC message, or a batch.
    Json,
    /// Server-sent events, each a message.
    EventStream,
}

/// Counts the tokens of a body that comes in pieces, however they are cut. Holds a few kilobytes at most.
#[derive(Debug)]
pub struct Meter(Source);

#[derive(Debug)]
enum Source {
    Json(Box<walk::Walk>),
    EventStream(Box<Events>),
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Tokens of the answer: estimated, or as reported.
    pub output: u64,
    /// Tokens of the request, where the answer reports them.
    pub input: Option<u64>,
    /// Tokens of both, where the answer reports only the sum.
    pub both: Option<u64>,
}

/// The tokens of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of the request.
    pub input: u64,
    /// Of the answer.
    pub output: u64,
}

/// The tokens of a request: its arguments, as JSON.
#[must_use]
pub fn of_request(arguments: &str) -> u64 {
    tokens::tokens(arguments)
}

/// The tokens of a whole body.
#[must_use]
pub fn of_answer(body: &[u8], format: Format) -> Measured {
    let mut meter = Meter::new(format);
    meter.push(body);
    meter.finish()
}

impl Meter {
    /// A meter at the start of a body.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self(match format {
            Format::Json => Source::Json(Box::default()),
            Format::EventStream => Source::EventStream(Box::default()),
        })
    }

    /// Reads on.
    pub fn push(&mut self, piece: &[u8]) {
        match &mut self.0 {
            Source::Json(walk) => walk.push(piece),
            Source::EventStream(events) => events.push(piece),
        }
    }

    /// What was counted when the body ended, or broke off.
    #[must_use]
    pub fn finish(self) -> Measured {
        match self.0 {
            Source::Json(walk) => walk.finish(),
            Source::EventStream(events) => events.finish(),
        }
    }
}

impl Measured {
    /// The tokens of the call, of whose request `estimate` was counted before it was sent.
    #[must_use]
    pub fn tokens(&self, estimate: u64) -> Tokens {
        let input = self.input.unwrap_or(estimate);
        match self.both {
            None => Tokens { input, output: self.output },
            Some(both) => {
                let input = input.min(both);
                Tokens { input, output: self.output.saturating_add(both - input) }
            }
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        let sum = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (None, None) => None,
            (one, other) => Some(one.unwrap_or(0).saturating_add(other.unwrap_or(0))),
        };
        self.output = self.output.saturating_add(other.output);
        self.input = sum(self.input, other.input);
        self.both = sum(self.both, other.both);
    }
}

impl Tokens {
    /// Of both.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

#[cfg(test)]
mod tests;
