//! Which bytes of an event stream are messages? The `data` lines of each event (HTML Standard §9.2), as they come.

use super::{Measured, walk::Walk};

/// Reads the messages of a stream without holding any.
#[derive(Debug, Default)]
pub(crate) struct Events {
    line: Line,
    /// A carriage return was last: a line feed after it ends no line of its own.
    after_return: bool,
    message: Walk,
    measured: Measured,
}

/// Where in a line the stream is.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// So much of `data:` was there.
    Field(usize),
    /// `data:` was there; one space may follow.
    Colon,
    /// The rest of a `data` line is the message's.
    Data,
    /// Another field, or a comment.
    Other,
}

impl Default for Line {
    fn default() -> Self {
        Self::Field(0)
    }
}

impl Events {
    pub(crate) fn push(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some((byte, after)) = rest.split_first() {
            if matches!(byte, b'\r' | b'\n') {
                rest = after;
                let is_second = std::mem::replace(&mut self.after_return, *byte == b'\r') && *byte == b'\n';
                if !is_second {
                    self.end_line();
                }
                continue;
            }
            self.after_return = false;
            rest = match self.line {
                Line::Field(seen) => {
                    self.line = match FIELD.get(seen) {
                        Some(expected) if expected == byte && seen + 1 == FIELD.len() => Line::Colon,
                        Some(expected) if expected == byte => Line::Field(seen + 1),
                        _ => Line::Other,
                    };
                    after
                }
                Line::Colon => {
                    self.line = Line::Data;
                    if *byte == b' ' { after } else { rest }
                }
                Line::Data | Line::Other => self.line_body(rest),
            };
        }
    }

    /// Takes what is there of a line; gives what follows it.
    fn line_body<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let (body, after) = rest.split_at(end);
        if matches!(self.line, Line::Data) {
            self.message.push(body);
        }
        after
    }

    fn end_line(&mut self) {
        match std::mem::take(&mut self.line) {
            Line::Field(0) => {
                let message = std::mem::take(&mut self.message);
                self.measured.add(message.finish());
            }
            Line::Data | Line::Colon => self.message.push(b"\n"),
            Line::Field(_) | Line::Other => {}
        }
    }

    pub(crate) fn finish(mut self) -> Measured {
        self.measured.add(self.message.finish());
        self.measured
    }
}

const FIELD: &[u8] = b"data:";
