//! What of a head that comes again and again? Its text crosses once; afterwards its number does.

use std::{cell::RefCell, num::NonZeroUsize, thread::LocalKey};

use lru::LruCache;

/// The texts that JavaScript has by their numbers. The one least in use gives its number up.
pub(crate) type Numbers = RefCell<LruCache<Box<str>, u32>>;

/// The number of `text`, and the text itself where JavaScript has to be told.
pub(crate) fn number<'a>(numbers: &'static LocalKey<Numbers>, text: &'a str) -> (u32, Option<&'a str>) {
    numbers.with_borrow_mut(|numbers| {
        if let Some(number) = numbers.get(text) {
            return (*number, None);
        }
        let next = u32::try_from(numbers.len()).unwrap_or_default();
        let number = match numbers.len() < NUMBERS_MAX.get() {
            true => next,
            false => numbers.pop_lru().map_or(next, |(_, number)| number),
        };
        numbers.put(text.into(), number);
        (number, Some(text))
    })
}

pub(crate) fn numbers() -> Numbers {
    RefCell::new(LruCache::new(NUMBERS_MAX))
}

const NUMBERS_MAX: NonZeroUsize = NonZeroUsize::new(256).unwrap();
