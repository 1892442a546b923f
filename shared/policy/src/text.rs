//! Where does each policy of a file begin, and is it small enough to be parsed?
//!
//! Cedar's parser, validator and evaluator recurse; on WebAssembly nothing stops them before the stack ends. So what
//! nests or chains without end is refused before it is parsed.

/// One policy of a file, from its first annotation to its semicolon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    /// In bytes from the beginning of the file.
    pub(crate) offset: usize,
    pub(crate) text: &'a str,
    /// Whether it stays within the bounds.
    pub(crate) size: Size,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Fits,
    NestsTooDeep,
    ChainsTooLong,
}

/// The policies of `text`. Semicolons stand nowhere else than at their ends, but in strings and comments.
pub(crate) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut scan = Scan::default();
    for (at, byte) in text.bytes().enumerate() {
        scan.step(at, byte, text.as_bytes().get(at + 1).copied());
        if scan.ended {
            pieces.extend(scan.piece(text, at + 1));
            scan = Scan::default();
        }
    }
    pieces.extend(scan.piece(text, text.len()));
    pieces
}

/// The line and the column of a byte, both from 1; the column counts characters.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset.min(text.len())).or_else(|| text.get(..text.floor_char_boundary(offset)));
    let before = before.unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before.get(line_start..).map_or(0, |line| line.chars().count()) + 1)
}

#[derive(Default)]
struct Scan {
    place: Place,
    /// Where the first thing that is neither space nor comment stands.
    start: Option<usize>,
    depth: usize,
    deepest: usize,
    links: usize,
    ended: bool,
    last: u8,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Code,
    Comment,
    Text,
    /// Behind a backslash.
    Escape,
}

impl Scan {
    fn step(&mut self, at: usize, byte: u8, next: Option<u8>) {
        self.place = match (self.place, byte) {
            (Place::Comment, b'\n') => Place::Code,
            (Place::Text, b'\\') => Place::Escape,
            (Place::Escape, _) => Place::Text,
            (Place::Text, b'"') => Place::Code,
            (Place::Code, b'/') if next == Some(b'/') => Place::Comment,
            (Place::Code, _) => return self.code(at, byte),
            (place, _) => place,
        };
    }

    fn code(&mut self, at: usize, byte: u8) {
        if byte.is_ascii_whitespace() {
            self.last = byte;
            return;
        }
        self.start.get_or_insert(at);
        match byte {
            b'"' => self.place = Place::Text,
            b'(' | b'[' | b'{' => {
                self.depth += 1;
                self.links += 1;
                self.deepest = self.deepest.max(self.depth);
            }
            b')' | b']' | b'}' => self.depth = self.depth.saturating_sub(1),
            b'&' | b'|' => self.links += usize::from(self.last == byte),
            b'.' | b'+' | b'-' | b'*' | b'!' => self.links += 1,
            b';' => self.ended = true,
            // words may chain, too: `if`, `then`, `else`, `when`, `unless`
            _ if !is_word(self.last) && is_word(byte) => self.links += usize::from(matches!(byte, b'i' | b'w' | b'u')),
            _ => {}
        }
        self.last = byte;
    }

    fn piece<'a>(&self, text: &'a str, end: usize) -> Option<Piece<'a>> {
        let offset = self.start?;
        let size = match (self.deepest, self.links) {
            (deepest, _) if deepest > DEPTH_MAX => Size::NestsTooDeep,
            (_, links) if links > LINKS_MAX => Size::ChainsTooLong,
            _ => Size::Fits,
        };
        Some(Piece { offset, text: text.get(offset..end)?, size })
    }
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// How deep brackets may nest in a policy.
pub(crate) const DEPTH_MAX: usize = 24;
/// How many operators, brackets and branches a policy may have.
pub(crate) const LINKS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_in_strings_and_comments_end_nothing() {
        let text = "// a; b\n@id(\"x;\\\";\")\npermit (principal, action, resource); // c;\n\nforbid (principal, action, resource);\n//;";
        let found: Vec<_> = pieces(text).iter().map(|piece| (position(text, piece.offset), piece.text.len())).collect();
        assert_eq!(found, [((2, 1), 50), ((5, 1), 37)]);
    }

    #[test]
    fn what_follows_the_last_semicolon_is_a_piece_too() {
        assert_eq!(pieces("permit (principal, action, resource)").len(), 1);
        assert!(pieces(" \n// nothing\n").is_empty());
    }

    #[test]
    fn what_nests_or_chains_without_end_is_seen_before_it_is_parsed() {
        let when = |condition: &str| format!("permit (principal, action, resource) when {{ {condition} }};");
        let size = |text: &str| pieces(text).first().unwrap().size;
        assert_eq!(size(&when(&format!("{}true{}", "(".repeat(1000), ")".repeat(1000)))), Size::NestsTooDeep);
        assert_eq!(size(&when(&vec!["true"; 1000].join(" && "))), Size::ChainsTooLong);
        assert_eq!(size(&when(&"if true then true else ".repeat(1000))), Size::ChainsTooLong);
        assert_eq!(size(&"when { true } ".repeat(1000)), Size::ChainsTooLong);
        assert_eq!(size(&when(&vec!["context.hour == 1"; 80].join(" || "))), Size::Fits);
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(position("ä\nöü x", 7), (2, 3));
        assert_eq!(position("ab", 99), (1, 3));
        assert_eq!(position("ö", 1), (1, 1));
    }
}
