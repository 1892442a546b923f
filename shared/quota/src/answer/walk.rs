//! What does a message in JSON count? Walked byte by byte as it comes; only where one stands in it is remembered.

use super::{
    Measured,
    region::{Counted, Raw, Region},
};
use crate::{
    answer::text::{Sink, Text},
    tokens::Estimator,
};

/// Walks messages and counts.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    token: Token,
    frames: Vec<Frame>,
    /// How many levels are open beyond those that are remembered.
    deeper: u32,
    key: Short,
    tally: Tally,
    measured: Measured,
    read_bytes: u64,
    state: State,
}

/// How far the body made sense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Before,
    Inside,
    After,
    /// It is no JSON: its bytes count.
    Broken,
}

/// What is being read.
#[derive(Debug, Default)]
enum Token {
    #[default]
    Between,
    Text(Text, Region),
    /// A number or a word, and its digits as far as it is a number that counts.
    Bare(Region, Option<u64>),
}

/// An object or an array that is open.
#[derive(Debug)]
struct Frame {
    region: Region,
    kind: Kind,
    media: Media,
    /// Characters of base64 in it.
    data: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Array,
    /// An object that waits for a key.
    ObjectKey,
    /// An object that waits for a value.
    ObjectValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    Image,
    Other,
}

/// What a message counts so far.
#[derive(Debug, Default)]
struct Tally {
    content: Estimator,
    structured: Estimator,
    rest: Estimator,
    media: u64,
    input: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
}

/// A key or a media type, as far as it is of interest.
#[derive(Debug, Default)]
pub(crate) struct Short {
    bytes: Vec<u8>,
}

impl Walk {
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.read_bytes = self.read_bytes.saturating_add(piece.len() as u64);
        let mut rest = piece;
        while !rest.is_empty() && self.state != State::Broken {
            let before = self.raw();
            let taken = self.step(rest);
            let (read, after) = rest.split_at_checked(taken).unwrap_or((rest, &[]));
            match self.raw().or(before) {
                Some(Raw::Structured) => self.tally.structured.push(read),
                Some(Raw::Rest) => self.tally.rest.push(read),
                None => {}
            }
            rest = after;
        }
    }

    pub(crate) fn finish(mut self) -> Measured {
        if !self.frames.is_empty()
            || matches!(self.token, Token::Text(..) | Token::Bare(..))
            || self.state == State::After
        {
            self.end_message();
        }
        match self.state {
            State::Broken => {
                Measured { output: self.measured.output.max(self.read_bytes.div_ceil(4)), ..Measured::default() }
            }
            _ => self.measured,
        }
    }

    /// As what bytes count here, if they count as they are.
    fn raw(&self) -> Option<Raw> {
        match &self.token {
            Token::Text(_, region) | Token::Bare(region, _) => region.raw(),
            Token::Between => self.frames.last().and_then(|frame| frame.region.raw()),
        }
    }

    /// Reads a token, or a part of one; gives how many bytes that took. None, if only its end was seen.
    fn step(&mut self, rest: &[u8]) -> usize {
        match &mut self.token {
            Token::Text(text, region) => {
                let region = *region;
                let taken = text.read(rest, &mut self.tally.content, &mut self.key);
                if let Some(sink) = text.ended() {
                    self.end_text(sink, region);
                }
                taken
            }
            Token::Bare(..) => self.bare(rest),
            Token::Between => {
                if let Some(byte) = rest.first() {
                    self.between(*byte);
                }
                1
            }
        }
    }

    fn between(&mut self, byte: u8) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'{' => self.open(Kind::ObjectKey),
            b'[' => self.open(Kind::Array),
            b'}' | b']' => self.close(byte),
            b',' | b':' => self.separate(byte),
            b'"' => self.text(),
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                let region = self.value().without_fields();
                let is_counted = matches!(region, Region::Count(..)) && byte.is_ascii_digit();
                self.token = Token::Bare(region, is_counted.then_some(u64::from(byte.wrapping_sub(b'0'))));
            }
            _ => self.state = State::Broken,
        }
    }

    /// The region of the value that begins here.
    fn value(&mut self) -> Region {
        match self.state {
            State::Before => self.state = State::Inside,
            State::After => self.state = State::Broken,
            State::Inside | State::Broken => {}
        }
        match self.frames.last() {
            None => Region::Message,
            Some(frame) if self.deeper > 0 || frame.kind == Kind::Array => frame.region.inside(),
            Some(frame) => frame.region.of(&self.key.bytes),
        }
    }

    fn open(&mut self, kind: Kind) {
        let is_top = self.frames.is_empty();
        let region = match (self.value(), kind) {
            (_, Kind::Array) if is_top => Region::Top,
            (region, Kind::Array) => region.without_fields(),
            (region, _) => region,
        };
        if self.frames.len() < FRAMES_MAX {
            self.frames.push(Frame { region, kind, media: Media::Other, data: 0 });
        } else {
            self.deeper = self.deeper.saturating_add(1);
        }
    }

    fn close(&mut self, byte: u8) {
        if self.deeper > 0 {
            self.deeper -= 1;
            return;
        }
        let Some(frame) = self.frames.pop() else {
            self.state = State::Broken;
            return;
        };
        if (byte == b']') != (frame.kind == Kind::Array) {
            self.state = State::Broken;
        }
        self.tally.media = self.tally.media.saturating_add(frame.media_tokens());
        if frame.region == Region::Message {
            self.end_message();
        }
        if self.frames.is_empty() {
            self.state = if self.state == State::Broken { State::Broken } else { State::After };
        }
    }

    fn separate(&mut self, byte: u8) {
        if self.deeper > 0 {
            return;
        }
        match self.frames.last_mut() {
            Some(frame) if frame.kind == Kind::Array && byte == b',' => {}
            Some(frame) if frame.kind != Kind::Array => {
                frame.kind = if byte == b',' { Kind::ObjectKey } else { Kind::ObjectValue };
            }
            _ => self.state = State::Broken,
        }
    }

    fn text(&mut self) {
        let is_key = self.deeper == 0 && self.frames.last().is_some_and(|frame| frame.kind == Kind::ObjectKey);
        if is_key {
            self.key.bytes.clear();
            let region = self.frames.last().map_or(Region::Nothing, |frame| frame.region);
            // Of a key only its bytes count, where all bytes do.
            self.token = Token::Text(Text::new(Sink::Key), region);
            return;
        }
        let region = self.value().without_fields();
        let sink = match region {
            Region::Content => Sink::Content,
            Region::Data => Sink::Data(0),
            Region::Media => {
                self.key.bytes.clear();
                Sink::Media
            }
            _ => Sink::Nothing,
        };
        self.token = Token::Text(Text::new(sink), region);
    }

    fn end_text(&mut self, sink: Sink, region: Region) {
        self.token = Token::Between;
        match (sink, self.frames.last_mut()) {
            (Sink::Content, _) => self.tally.content.cut(),
            (Sink::Data(characters), Some(frame)) => frame.data = frame.data.saturating_add(characters),
            (Sink::Media, Some(frame)) if self.key.bytes.starts_with(b"image") => frame.media = Media::Image,
            _ => {}
        }
        if region.raw().is_some() && self.frames.is_empty() {
            self.state = State::After;
        }
    }

    fn bare(&mut self, rest: &[u8]) -> usize {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'-');
        let taken = rest.iter().take_while(|byte| is_part(byte)).count();
        let Token::Bare(region, number) = &mut self.token else { return taken };
        for byte in rest.get(..taken).unwrap_or_default() {
            *number = match byte {
                b'0'..=b'9' => number.map(|number| number.saturating_mul(10).saturating_add(u64::from(byte - b'0'))),
                _ => None,
            };
        }
        if taken < rest.len() {
            if let (Region::Count(_, counted), Some(number)) = (*region, *number) {
                self.tally.report(counted, number);
            }
            self.token = Token::Between;
        }
        taken
    }

    fn end_message(&mut self) {
        self.measured.add(std::mem::take(&mut self.tally).measured());
    }
}

impl Frame {
    fn media_tokens(&self) -> u64 {
        let bytes = self.data / 4 * 3 + self.data % 4;
        let tokens = bytes.div_ceil(BYTES_PER_TOKEN);
        match self.media {
            Media::Image if bytes > 0 => tokens.clamp(IMAGE_MIN, IMAGE_MAX),
            _ => tokens,
        }
    }
}

impl Tally {
    fn report(&mut self, counted: Counted, tokens: u64) {
        let tokens = Some(tokens.min(REPORTED_MAX));
        match counted {
            Counted::Input => self.input = tokens,
            Counted::Output => self.output = tokens,
            Counted::Total => self.total = tokens,
        }
    }

    /// What was reported counts instead of what was estimated.
    fn measured(&self) -> Measured {
        let shown = self.content.tokens().max(self.structured.tokens());
        let estimate = shown.saturating_add(self.rest.tokens()).saturating_add(self.media);
        let less = |total: u64, part: u64| total.saturating_sub(part);
        match (self.input, self.output, self.total) {
            (None, None, Some(total)) => Measured { output: 0, input: None, both: Some(total) },
            (Some(input), None, Some(total)) => Measured { output: less(total, input), input: Some(input), both: None },
            (None, Some(output), Some(total)) => Measured { output, input: Some(less(total, output)), both: None },
            (input, output, _) => Measured { output: output.unwrap_or(estimate), input, both: None },
        }
    }
}

impl Short {
    /// Keeps the beginning.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let free = SHORT_MAX.saturating_sub(self.bytes.len());
        self.bytes.extend(bytes.iter().take(free));
    }
}

/// How deep a message is followed; below, everything counts as what it stands in.
const FRAMES_MAX: usize = 32;
/// Longer than any name that is looked for: cut off, none matches.
const SHORT_MAX: usize = 128;
const BYTES_PER_TOKEN: u64 = 512;
const IMAGE_MIN: u64 = 85;
const IMAGE_MAX: u64 = 1_600;
/// A report is believed up to this.
const REPORTED_MAX: u64 = 10_000_000;
