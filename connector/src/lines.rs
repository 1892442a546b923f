//! What is the next line of a process, when it may be endless?

use std::io;

use bytes::Bytes;
use mcp::jsonrpc::Malformed;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};
use tracing::warn;

/// Lines of at most `max_bytes`, read from `reader`.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    max_bytes: usize,
}

/// One line without its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// All of it.
    Whole(Bytes),
    /// Its beginning; the rest was not kept.
    Cut(Bytes),
}

/// What to do with the rest of a line that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlong {
    /// Read over it, to go on with the next line.
    Skip,
    /// Leave it, nothing is read after it.
    Stop,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// Lines of `reader`; `max_bytes` counts neither the line feed nor a carriage return before it.
    pub fn new(reader: R, max_bytes: usize) -> Self {
        Self { reader, max_bytes }
    }

    /// The next line, or `None` at the end. A last line without a line feed counts.
    ///
    /// # Errors
    /// The reader's own.
    pub async fn next(&mut self, overlong: Overlong) -> io::Result<Option<Line>> {
        let mut line = Vec::new();
        let mut is_cut = false;
        loop {
            let piece = self.reader.fill_buf().await?;
            if piece.is_empty() {
                return Ok((!line.is_empty()).then(|| self.finish(line, is_cut)));
            }
            let end = piece.iter().position(|byte| *byte == b'\n');
            let content = piece.get(..end.unwrap_or(piece.len())).unwrap_or_default();
            // One byte more than allowed is kept: it may be the carriage return.
            let room = (self.max_bytes + 1).saturating_sub(line.len());
            is_cut |= content.len() > room;
            line.extend_from_slice(content.get(..room).unwrap_or(content));
            let used = end.map_or(piece.len(), |end| end + 1);
            self.reader.consume(used);
            if end.is_some() || (is_cut && overlong == Overlong::Stop) {
                return Ok(Some(self.finish(line, is_cut)));
            }
        }
    }

    fn finish(&self, mut line: Vec<u8>, is_cut: bool) -> Line {
        if !is_cut && line.last() == Some(&b'\r') {
            line.pop();
        }
        if is_cut || line.len() > self.max_bytes {
            line.truncate(self.max_bytes);
            return Line::Cut(line.into());
        }
        Line::Whole(line.into())
    }
}

/// Notes in the log that a line of a server's output is no message.
pub(crate) fn dropped(server: &str, line: &Bytes, malformed: &Malformed) {
    let beginning = String::from_utf8_lossy(line.get(..SHOWN_BYTES).unwrap_or(line)).into_owned();
    warn!(server, line = beginning, "dropped a line of the server's output: {malformed}");
}

/// How much of a line that is no message the log shows.
const SHOWN_BYTES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(text: &'static [u8], max_bytes: usize) -> Vec<Line> {
        let mut lines = Lines::new(text, max_bytes);
        let mut read = Vec::new();
        while let Some(line) = lines.next(Overlong::Skip).await.unwrap() {
            read.push(line);
        }
        read
    }

    #[tokio::test]
    async fn lines_end_at_a_feed_and_lose_their_carriage_return() {
        let whole = |text: &'static str| Line::Whole(text.into());
        assert_eq!(all(b"a\nbc\r\n\nd", 2).await, [whole("a"), whole("bc"), whole(""), whole("d")]);
    }

    #[tokio::test]
    async fn a_line_over_the_bound_is_cut_and_the_next_one_is_whole() {
        let read = all(b"abcdefgh\nok\n", 3).await;
        assert_eq!(read, [Line::Cut("abc".into()), Line::Whole("ok".into())]);
        assert_eq!(all(b"abcd\n", 3).await, [Line::Cut("abc".into())]);
        assert_eq!(all(b"abc\r\n", 3).await, [Line::Whole("abc".into())]);
    }

    #[tokio::test]
    async fn an_endless_line_is_given_up_at_once_when_told_to_stop() {
        let endless = tokio::io::BufReader::new(tokio::io::repeat(b'x'));
        let line = Lines::new(endless, 10).next(Overlong::Stop).await.unwrap();
        assert_eq!(line, Some(Line::Cut("xxxxxxxxxx".into())));
    }
}
