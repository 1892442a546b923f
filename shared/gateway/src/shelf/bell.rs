//! How does one request let another one go on, where not every waker is heard? By a bell that rings when it is dropped.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
};

/// Rings when it is dropped.
pub trait Bell: Sized + 'static {
    /// Resolves once the bell has rung.
    type Rung: Future<Output = ()>;

    /// A bell, and who hears it.
    fn hung() -> (Self, Self::Rung);
}

/// Lets one through at a time.
pub struct Turnstile<B> {
    is_taken: Cell<bool>,
    waiting: RefCell<VecDeque<B>>,
}

/// Whoever has it is through.
pub struct Pass<'a, B>(&'a Turnstile<B>);

impl<B: Bell> Turnstile<B> {
    /// Resolves when nobody else is through.
    pub async fn pass(&self) -> Pass<'_, B> {
        while self.is_taken.replace(true) {
            let (bell, rung) = B::hung();
            self.waiting.borrow_mut().push_back(bell);
            rung.await;
        }
        Pass(self)
    }
}

impl<B> Default for Turnstile<B> {
    fn default() -> Self {
        Self { is_taken: Cell::new(false), waiting: RefCell::default() }
    }
}

impl<B> Drop for Pass<'_, B> {
    fn drop(&mut self) {
        self.0.is_taken.set(false);
        // All look again: to ring for one that has gone would wake nobody.
        drop(self.0.waiting.take());
    }
}
