//! What of a head that comes again and again? Its text crosses once; afterwards its number does.

use std::{num::NonZeroUsize, rc::Rc};

use http::Request;
use lru::LruCache;

/// The texts that JavaScript has by their numbers. The one least in use gives its number up.
pub(crate) struct Numbers {
    texts: LruCache<Box<str>, u32>,
    /// Heads whose text has a number, by their place. They are kept, so that nothing else comes to be there.
    heads: LruCache<usize, (Rc<Request<()>>, u32)>,
}

impl Numbers {
    /// The number of `text`, and the text itself where JavaScript has to be told.
    pub(crate) fn of_text(&mut self, text: String) -> (u32, Option<String>) {
        if let Some(number) = self.texts.get(text.as_str()) {
            return (*number, None);
        }
        let next = u32::try_from(self.texts.len()).unwrap_or_default();
        let freed = if self.texts.len() < NUMBERS_MAX.get() { None } else { self.texts.pop_lru() };
        let number = freed.map_or(next, |(_, number)| self.take_over(number));
        self.texts.put(text.as_str().into(), number);
        (number, Some(text))
    }

    /// The number of what `spell` makes of `head`, and that itself where JavaScript has to be told.
    pub(crate) fn of_head(
        &mut self,
        head: &Rc<Request<()>>,
        spell: impl FnOnce(&Request<()>) -> String,
    ) -> (u32, Option<String>) {
        let place = Rc::as_ptr(head).addr();
        if let Some((_, number)) = self.heads.get(&place) {
            return (*number, None);
        }
        let (number, text) = self.of_text(spell(head));
        self.heads.put(place, (Rc::clone(head), number));
        (number, text)
    }

    /// The number, which stands for another text from now on.
    fn take_over(&mut self, number: u32) -> u32 {
        let gone = self.heads.iter().filter(|(_, (_, known))| *known == number).map(|(place, _)| *place);
        for place in gone.collect::<Vec<_>>() {
            self.heads.pop(&place);
        }
        number
    }
}

impl Default for Numbers {
    fn default() -> Self {
        Self { texts: LruCache::new(NUMBERS_MAX), heads: LruCache::new(NUMBERS_MAX) }
    }
}

const NUMBERS_MAX: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
