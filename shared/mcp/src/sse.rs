//! How is a message carried in an event stream? Server-sent events, read piece by piece and written whole
//! (HTML Standard §9.2).

use std::fmt::Write as _;

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// `event:`, empty for the default `message`.
    pub name: String,
    /// `data:` lines joined by a line feed.
    pub data: String,
    /// `id:`, if the event sets one.
    pub id: Option<String>,
    /// `retry:` in milliseconds, if the event sets it.
    pub retry_ms: Option<u64>,
}

impl Event {
    /// An event that carries `message` on one `data:` line or more.
    #[must_use]
    pub fn message(message: &str) -> Self {
        Self { name: "message".to_owned(), data: message.to_owned(), ..Self::default() }
    }

    /// As it is written on the wire, with its blank line.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(self.data.len() + 32);
        if !self.name.is_empty() {
            let _ = writeln!(text, "event: {}", self.name);
        }
        if let Some(id) = &self.id {
            let _ = writeln!(text, "id: {id}");
        }
        if let Some(retry_ms) = self.retry_ms {
            let _ = writeln!(text, "retry: {retry_ms}");
        }
        for line in self.data.split('\n') {
            let _ = writeln!(text, "data: {}", line.trim_end_matches('\r'));
        }
        text.push('\n');
        text
    }
}

/// A comment that keeps a quiet stream open and shows a writer whether anyone still listens.
pub const HEARTBEAT: &str = ": keep-alive\n\n";

/// Reads events out of a stream's pieces, however they are cut.
#[derive(Debug)]
pub struct Parser {
    buffer: Vec<u8>,
    /// How much of `buffer` is known to hold no line's end: a line that comes byte by byte is not searched anew each time.
    searched: usize,
    event: Event,
    has_data: bool,
    max_event_bytes: usize,
    held_bytes: usize,
    read_bytes: usize,
}

/// A stream whose event is larger than allowed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {0} bytes")]
pub struct TooLarge(pub usize);

impl Parser {
    /// A parser at the start of a stream that holds at most `max_event_bytes` of an unfinished event.
    #[must_use]
    pub fn new(max_event_bytes: usize) -> Self {
        Self {
            buffer: Vec::new(),
            searched: 0,
            event: Event::default(),
            has_data: false,
            max_event_bytes,
            held_bytes: 0,
            read_bytes: 0,
        }
    }

    /// The events that `piece` completes.
    ///
    /// # Errors
    /// [`TooLarge`] when an unfinished event outgrows the bound; the stream cannot be read on.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<Event>, TooLarge> {
        self.buffer.extend_from_slice(piece);
        self.read_bytes += piece.len();
        let mut events = Vec::new();
        let mut start = 0;
        while let Some((line, next)) = line_at(&self.buffer, start, self.searched) {
            let line = String::from_utf8_lossy(line).into_owned();
            start = next;
            self.held_bytes += line.len();
            if self.held_bytes > self.max_event_bytes {
                return Err(TooLarge(self.max_event_bytes));
            }
            events.extend(self.line(&line));
        }
        self.buffer.drain(..start);
        // A carriage return at the end is looked at again: a line feed may follow.
        self.searched = self.buffer.len().saturating_sub(1);
        match self.held_bytes + self.buffer.len() > self.max_event_bytes {
            true => Err(TooLarge(self.max_event_bytes)),
            false => Ok(events),
        }
    }

    /// How much of the stream was pushed so far.
    #[must_use]
    pub const fn read_bytes(&self) -> usize {
        self.read_bytes
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => self.data(value),
            "id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
            "retry" => self.event.retry_ms = value.parse().ok(),
            _ => {}
        }
        None
    }

    fn data(&mut self, value: &str) {
        if self.has_data {
            self.event.data.push('\n');
        }
        self.event.data.push_str(value);
        self.has_data = true;
    }

    /// An event without data still counts here: it may carry the id or the pause to resume with (MCP 2025-11-25).
    fn dispatch(&mut self) -> Option<Event> {
        self.held_bytes = 0;
        self.has_data = false;
        let event = std::mem::take(&mut self.event);
        (event != Event::default()).then_some(event)
    }
}

/// The line that begins at `start` and does not end before `searched`, and where the next one begins; `None` while it
/// is unfinished.
fn line_at(buffer: &[u8], start: usize, searched: usize) -> Option<(&[u8], usize)> {
    let from = start.max(searched);
    let end = from + buffer.get(from..)?.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
    let line = buffer.get(start..end)?;
    match (buffer.get(end)?, buffer.get(end + 1)) {
        (b'\r', None) => None,
        (b'\r', Some(b'\n')) => Some((line, end + 2)),
        _ => Some((line, end + 1)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str =
        "id: 1\ndata:\n\nevent: message\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\n: note\n\nretry: 500\ndata: x\n\n";

    fn read(pieces: &[&[u8]]) -> Vec<Event> {
        let mut parser = Parser::new(1024);
        pieces.iter().flat_map(|piece| parser.push(piece).unwrap()).collect()
    }

    #[test]
    fn fields_are_read_as_the_standard_says() {
        let events = read(&[STREAM.as_bytes()]);
        assert_eq!(events.len(), 3);
        assert_eq!(events[0].id.as_deref(), Some("1"));
        assert_eq!(events[1].data, "{\"a\":\n1}");
        assert_eq!(events[2].retry_ms, Some(500));
    }

    #[test]
    fn an_event_over_the_bound_is_refused() {
        assert_eq!(Parser::new(16).push(&[b'x'; 17]).unwrap_err(), TooLarge(16));
        assert_eq!(Parser::new(16).push(b"data: 0123456789\ndata: 0123456789\n").unwrap_err(), TooLarge(16));
    }

    #[test]
    fn a_long_line_that_comes_byte_by_byte_is_read_whole() {
        const LENGTH: usize = 1 << 20;
        let mut parser = Parser::new(LENGTH + 16);
        let bytes = b"data:".iter().copied().chain(std::iter::repeat_n(b'x', LENGTH)).chain(*b"\n\n");
        // It would take many minutes if each byte had the whole line searched again.
        let events: Vec<Event> = bytes.flat_map(|byte| parser.push(&[byte]).unwrap()).collect();
        assert_eq!(events.iter().map(|event| event.data.len()).collect::<Vec<_>>(), [LENGTH]);
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_does_not_matter(cuts in prop::collection::vec(0..STREAM.len(), 0..8)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &STREAM.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&pieces), read(&[STREAM.as_bytes()]));
        }

        #[test]
        fn what_is_written_reads_back(data in "[^\r\0]{0,64}", id in prop::option::of("[a-z0-9]{1,8}")) {
            let event = Event { name: "message".into(), data, id, retry_ms: None };
            prop_assert_eq!(read(&[event.encode().as_bytes()]), vec![event]);
        }
    }
}
