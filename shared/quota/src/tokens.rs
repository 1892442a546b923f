//! How many tokens is a text, about? Estimated by its pieces, without a vocabulary.
//!
//! A byte-pair tokenizer first cuts a text into pieces: a word with the one space or sign before it, up to three digits, a
//! run of signs, a run of blanks. The cuts are made here as o200k makes them; how many tokens a piece then becomes
//! depends on its shape and length, and the mean of that is a short table. Measured against o200k on the corpus beside
//! this crate, see `tests/tokens.rs`.

/// The number of tokens `text` is, about: see the module's documentation for how far it is off.
#[must_use]
pub fn tokens(text: &str) -> u64 {
    let mut estimator = Estimator::default();
    estimator.push(text.as_bytes());
    estimator.tokens()
}

/// Estimates a text that comes in parts, however they are cut. Holds some numbers, never the text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Estimator {
    /// In hundredths of a token.
    hundredths: u64,
    piece: Piece,
}

/// The piece the text is in.
#[derive(Clone, Copy, Debug, Default)]
enum Piece {
    #[default]
    Start,
    Word(Word),
    /// How many digits.
    Number(u32),
    Signs(Signs),
    Blank(Blank),
}

/// Letters: upper case first, lower case after.
#[derive(Clone, Copy, Debug, Default)]
struct Word {
    before: Before,
    upper: u32,
    lower: u32,
    /// What letters of other scripts weigh, in hundredths.
    foreign: u32,
}

/// What a word took along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Before {
    #[default]
    Nothing,
    Space,
    Sign,
}

#[derive(Clone, Copy, Debug, Default)]
struct Signs {
    count: u32,
    repeated: u32,
    last: u8,
    /// Line ends after signs belong to them.
    is_ended: bool,
    has_space: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Blank {
    has_line_end: bool,
    /// Since the last line end.
    spaces: u32,
}

impl Estimator {
    /// Reads on.
    pub fn push(&mut self, part: &[u8]) {
        let mut rest = part;
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            match class(*byte) {
                Class::Lower => {
                    // Most of a text is this.
                    let run = after.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
                    rest = after.get(run..).unwrap_or_default();
                    self.lower(u32::try_from(run + 1).unwrap_or(u32::MAX));
                }
                Class::Upper => self.upper(),
                Class::Digit => self.digit(),
                Class::Sign => self.sign(*byte),
                Class::Space => self.space(),
                Class::LineEnd => self.line_end(),
                Class::Letter(weight) => self.letter(weight),
                Class::Rest => {}
            }
        }
    }

    /// What follows belongs to another text.
    pub fn cut(&mut self) {
        self.close();
    }

    /// The estimate so far, rounded up.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        let mut whole = *self;
        whole.close();
        whole.hundredths.div_ceil(100)
    }

    fn lower(&mut self, count: u32) {
        if let Piece::Word(word) = &mut self.piece {
            word.lower = word.lower.saturating_add(count);
        } else {
            let before = self.close_before_letter();
            self.piece = Piece::Word(Word { before, lower: count, ..Word::default() });
        }
    }

    fn upper(&mut self) {
        match &mut self.piece {
            Piece::Word(word) if word.lower == 0 && word.foreign == 0 => word.upper = word.upper.saturating_add(1),
            _ => {
                let before = self.close_before_letter();
                self.piece = Piece::Word(Word { before, upper: 1, ..Word::default() });
            }
        }
    }

    fn letter(&mut self, weight: u32) {
        if let Piece::Word(word) = &mut self.piece {
            word.foreign = word.foreign.saturating_add(weight);
        } else {
            let before = self.close_before_letter();
            self.piece = Piece::Word(Word { before, foreign: weight, ..Word::default() });
        }
    }

    fn digit(&mut self) {
        if let Piece::Number(digits) = &mut self.piece {
            *digits = digits.saturating_add(1);
        } else {
            self.close();
            self.piece = Piece::Number(1);
        }
    }

    fn sign(&mut self, sign: u8) {
        match &mut self.piece {
            Piece::Signs(signs) if !signs.is_ended => {
                signs.count = signs.count.saturating_add(1);
                signs.repeated = signs.repeated.saturating_add(u32::from(signs.last == sign));
                signs.last = sign;
            }
            _ => {
                let has_space = self.close_before_sign();
                self.piece = Piece::Signs(Signs { count: 1, last: sign, has_space, ..Signs::default() });
            }
        }
    }

    fn space(&mut self) {
        if let Piece::Blank(blank) = &mut self.piece {
            blank.spaces = blank.spaces.saturating_add(1);
        } else {
            self.close();
            self.piece = Piece::Blank(Blank { has_line_end: false, spaces: 1 });
        }
    }

    fn line_end(&mut self) {
        match &mut self.piece {
            Piece::Signs(signs) => signs.is_ended = true,
            Piece::Blank(blank) => *blank = Blank { has_line_end: true, spaces: 0 },
            _ => {
                self.close();
                self.piece = Piece::Blank(Blank { has_line_end: true, spaces: 0 });
            }
        }
    }

    /// A single sign, or the last of some spaces, goes with the letters that follow.
    fn close_before_letter(&mut self) -> Before {
        if let Piece::Signs(Signs { count: 1, has_space: false, is_ended: false, .. }) = self.piece {
            return Before::Sign;
        }
        if self.close_before_sign() { Before::Space } else { Before::Nothing }
    }

    /// Whether a space goes with the sign that follows.
    fn close_before_sign(&mut self) -> bool {
        let Piece::Blank(Blank { has_line_end, spaces }) = self.piece else {
            self.close();
            return false;
        };
        self.hundredths += 100 * (u64::from(has_line_end) + u64::from(spaces > 1));
        spaces > 0
    }

    fn close(&mut self) {
        self.hundredths += match self.piece {
            Piece::Start => 0,
            Piece::Word(word) => u64::from(word.weight()),
            Piece::Number(digits) => 100 * u64::from(digits.div_ceil(3)),
            Piece::Signs(signs) => u64::from(signs.weight()),
            Piece::Blank(Blank { has_line_end, spaces }) => 100 * (u64::from(has_line_end) + u64::from(spaces.min(2))),
        };
        self.piece = Piece::Start;
    }
}

impl Word {
    fn weight(self) -> u32 {
        let Self { before, upper, lower, foreign } = self;
        let length = upper.saturating_add(lower);
        if foreign > 0 {
            return foreign.saturating_add(length.saturating_mul(FOREIGN_COMPANION)).max(100);
        }
        match (upper, before) {
            (0, Before::Space) => weigh(&LOWER_AFTER_SPACE, length, 22),
            (0, Before::Nothing) => weigh(&LOWER, length, 22),
            (0, Before::Sign) => weigh(&LOWER_AFTER_SIGN, length, 23),
            (1, Before::Sign) if lower > 0 => weigh(&CAPITALISED_AFTER_SIGN, length, 25),
            (1, _) if lower > 0 => weigh(&CAPITALISED, length, 25),
            (_, Before::Sign) if lower == 0 => weigh(&UPPER, length, 36).saturating_add(20),
            _ if lower == 0 => weigh(&UPPER, length, 36),
            _ => weigh(&MIXED, length, 45),
        }
    }
}

impl Signs {
    fn weight(self) -> u32 {
        let changes = self.count.saturating_sub(self.repeated);
        let table: &[u32] = if self.has_space { &SIGNS_AFTER_SPACE } else { &SIGNS };
        weigh(table, changes, 75).saturating_add(self.repeated.saturating_mul(REPEATED_SIGN))
    }
}

/// The weight for `length`, from a table that begins with a length of 1; `more` for each beyond its end.
fn weigh(table: &[u32], length: u32, more: u32) -> u32 {
    let place = length.saturating_sub(1) as usize;
    if let Some(weight) = table.get(place) {
        return *weight;
    }
    let beyond = u32::try_from(place - table.len() + 1).unwrap_or(u32::MAX);
    table.last().copied().unwrap_or_default().saturating_add(beyond.saturating_mul(more))
}

/// What a byte is to a tokenizer.
#[derive(Clone, Copy)]
enum Class {
    Lower,
    Upper,
    Digit,
    Sign,
    Space,
    LineEnd,
    /// The first byte of a letter of another script, and what the letter weighs.
    Letter(u32),
    /// The rest of a letter.
    Rest,
}

/// A character of UTF-8 is known by its first byte, near enough.
fn class(byte: u8) -> Class {
    match byte {
        b'a'..=b'z' => Class::Lower,
        b' ' | b'\t' | 0x0b | 0x0c => Class::Space,
        b'A'..=b'Z' => Class::Upper,
        b'0'..=b'9' => Class::Digit,
        b'\n' | b'\r' => Class::LineEnd,
        0x80..=0xbf => Class::Rest,
        0xc0..=0xcc => Class::Letter(60),
        0xcd..=0xcf => Class::Letter(45),
        0xd0..=0xd4 => Class::Letter(27),
        0xd5..=0xdf => Class::Letter(38),
        0xe0 => Class::Letter(36),
        0xe1 => Class::Letter(80),
        0xe3..=0xed => Class::Letter(75),
        0xf0..=0xff => Class::Letter(180),
        _ => Class::Sign,
    }
}

// Weights in hundredths of a token: means over some millions of pieces of README files, sources and JSON of packages
// that are not the corpus the error is stated on.
const LOWER_AFTER_SPACE: [u32; 15] = [100, 100, 101, 102, 103, 104, 105, 109, 111, 113, 117, 125, 130, 135, 170];
const LOWER: [u32; 15] = [100, 100, 106, 110, 111, 115, 143, 152, 160, 175, 175, 198, 230, 280, 310];
const LOWER_AFTER_SIGN: [u32; 15] = [103, 115, 118, 132, 145, 145, 156, 182, 197, 210, 230, 240, 265, 300, 325];
const CAPITALISED: [u32; 15] = [100, 103, 108, 106, 109, 109, 112, 125, 130, 140, 140, 145, 145, 150, 180];
const CAPITALISED_AFTER_SIGN: [u32; 13] = [105, 160, 145, 155, 170, 180, 190, 195, 215, 225, 230, 260, 290];
const UPPER: [u32; 13] = [100, 101, 124, 158, 185, 200, 195, 235, 265, 300, 360, 400, 450];
const MIXED: [u32; 8] = [100, 100, 190, 215, 255, 310, 320, 385];
const SIGNS: [u32; 8] = [100, 100, 105, 124, 178, 230, 280, 350];
const SIGNS_AFTER_SPACE: [u32; 6] = [100, 103, 115, 140, 210, 280];
const REPEATED_SIGN: u32 = 8;
/// A Latin letter beside letters of another script.
const FOREIGN_COMPANION: u32 = 28;
