//! Which trace does this request belong to? W3C Trace Context, continued or begun.

use std::fmt;

use mcp::digest::{hex, push_hex};

/// The place of one span in one trace (W3C Trace Context Level 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
    state: Option<String>,
}

impl TraceContext {
    /// The gateway's own span: a child of `parent` (a `traceparent` with its `tracestate`) if that is valid, else the
    /// root of a new trace. `random` gives the ids.
    #[must_use]
    pub fn child_of(parent: Option<(&str, Option<&str>)>, random: &[u8; 32]) -> Self {
        let mut ids =
            random.chunks_exact(8).map(|chunk| chunk.iter().fold(0_u64, |id, byte| id << 8 | u64::from(*byte)));
        let mut fresh = || ids.next().unwrap_or_default() | 1;
        let span_id = fresh();
        let parent = parent.and_then(|(traceparent, state)| Some((parse(traceparent)?, state)));
        match parent {
            Some(((trace_id, flags), state)) => {
                let state = state.filter(|state| {
                    state.len() <= STATE_MAX_BYTES && state.bytes().all(|b| (b' '..=b'~').contains(&b))
                });
                Self { trace_id, span_id, flags, state: state.map(str::to_owned) }
            }
            None => Self { trace_id: u128::from(fresh()) << 64 | u128::from(fresh()), span_id, flags: 1, state: None },
        }
    }

    /// The `traceparent` to send on.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let mut text = String::with_capacity(TRACEPARENT_BYTES);
        text.push_str("00-");
        push_hex(&mut text, &self.trace_id.to_be_bytes());
        text.push('-');
        push_hex(&mut text, &self.span_id.to_be_bytes());
        text.push('-');
        push_hex(&mut text, &[self.flags]);
        text
    }

    /// The `tracestate` to send on, as it came.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// `traceparent` and `tracestate`, for whoever is asked next.
    #[must_use]
    pub fn spelled(&self) -> (String, Option<String>) {
        (self.traceparent(), self.state.clone())
    }

    /// The trace id: 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        hex(&self.trace_id.to_be_bytes())
    }

    /// The span id: 16 lower-case hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> String {
        hex(&self.span_id.to_be_bytes())
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.traceparent())
    }
}

/// The trace id and flags of a valid `traceparent` (§3.2.2; a later version may carry more fields).
fn parse(traceparent: &str) -> Option<(u128, u8)> {
    let mut fields = traceparent.split('-');
    let version = number(fields.next()?, 2)?;
    let trace_id = number(fields.next()?, 32)?;
    let span_id = number(fields.next()?, 16)?;
    let flags = number(fields.next()?, 2)?;
    let complete = version != 0xff && (version != 0 || fields.next().is_none());
    (complete && trace_id != 0 && span_id != 0).then_some((trace_id, u8::try_from(flags & 1).ok()?))
}

fn number(digits: &str, length: usize) -> Option<u128> {
    let lower = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (digits.len() == length && lower).then(|| u128::from_str_radix(digits, 16).ok())?
}

/// `00-`, the trace, the span, the flags (§3.2.2).
const TRACEPARENT_BYTES: usize = 55;
/// W3C Trace Context §3.3.1.5 asks to carry at least 512 characters.
const STATE_MAX_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_valid_parent_is_continued_under_a_new_span() {
        let trace = TraceContext::child_of(Some((PARENT, Some("vendor=1"))), &[7; 32]);
        assert_eq!(trace.traceparent(), "00-0af7651916cd43dd8448eb211c80319c-0707070707070707-01");
        assert_eq!(trace.tracestate(), Some("vendor=1"));
    }

    #[test]
    fn an_invalid_parent_begins_a_new_trace() {
        for parent in [
            "",
            "00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            let trace = TraceContext::child_of(Some((parent, Some("vendor=1"))), &[7; 32]);
            assert_ne!(trace.trace_id(), "0af7651916cd43dd8448eb211c80319c", "{parent}");
            assert_eq!(trace.tracestate(), None);
        }
    }

    #[test]
    fn a_new_trace_has_ids_that_are_not_zero() {
        let trace = TraceContext::child_of(None, &[0; 32]);
        assert!(parse(&trace.traceparent()).is_some());
    }
}
