//! What does a string in JSON say? Its escapes are undone as it comes (RFC 8259 §7).

use super::walk::Short;
use crate::tokens::Estimator;

/// A string that is being read, after its opening quotation mark.
#[derive(Debug)]
pub(crate) struct Text {
    sink: Sink,
    escape: Escape,
    is_ended: bool,
}

/// What is done with it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sink {
    /// It is a key.
    Key,
    /// It counts as text.
    Content,
    /// Its characters are counted.
    Data(u64),
    /// It names a type.
    Media,
    /// It is passed over.
    Nothing,
}

#[derive(Clone, Copy, Debug)]
enum Escape {
    None,
    /// After a backslash.
    Begun,
    /// In the digits of `\u`: how many are missing, and what they say so far.
    Unicode(u8, u32),
}

impl Text {
    pub(crate) const fn new(sink: Sink) -> Self {
        Self { sink, escape: Escape::None, is_ended: false }
    }

    /// Reads on, at most to its end; gives how many bytes that took.
    pub(crate) fn read(&mut self, rest: &[u8], content: &mut Estimator, short: &mut Short) -> usize {
        match (self.escape, rest.first()) {
            (_, None) => 0,
            (Escape::None, Some(_)) => {
                let end = memchr::memchr2(b'"', b'\\', rest);
                let plain = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                self.says(plain, content, short);
                match end.and_then(|end| rest.get(end)) {
                    Some(b'"') => self.is_ended = true,
                    Some(_) => self.escape = Escape::Begun,
                    None => return plain.len(),
                }
                plain.len() + 1
            }
            (Escape::Begun, Some(byte)) => {
                self.escape = Escape::None;
                match byte {
                    b'n' | b'r' => self.says(b"\n", content, short),
                    b't' | b'f' | b'b' => self.says(b"\t", content, short),
                    b'u' => self.escape = Escape::Unicode(4, 0),
                    other => self.says(&[*other], content, short),
                }
                1
            }
            (Escape::Unicode(missing, code), Some(byte)) => {
                let digit = char::from(*byte).to_digit(16).unwrap_or(0);
                let code = code * 16 + digit;
                self.escape = if missing > 1 { Escape::Unicode(missing - 1, code) } else { Escape::None };
                if missing == 1 {
                    self.says_code(code, content, short);
                }
                1
            }
        }
    }

    /// What it was for, once it has ended.
    pub(crate) fn ended(&self) -> Option<Sink> {
        self.is_ended.then_some(self.sink)
    }

    /// Of a surrogate pair the first half stands for the character.
    fn says_code(&mut self, code: u32, content: &mut Estimator, short: &mut Short) {
        match char::from_u32(code) {
            Some(character) => self.says(character.encode_utf8(&mut [0; 4]).as_bytes(), content, short),
            None if code < 0xDC00 => self.says("\u{1F600}".as_bytes(), content, short),
            None => {}
        }
    }

    fn says(&mut self, bytes: &[u8], content: &mut Estimator, short: &mut Short) {
        match &mut self.sink {
            Sink::Content => content.push(bytes),
            Sink::Key | Sink::Media => short.extend(bytes),
            Sink::Data(characters) => *characters = characters.saturating_add(bytes.len() as u64),
            Sink::Nothing => {}
        }
    }
}
