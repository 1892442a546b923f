//! How does Rust wait for JavaScript? By a number under which JavaScript brings what it waited for.
//!
//! `JsFuture` makes two closures for each promise, each of which JavaScript has to look after until it is collected.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use worker::wasm_bindgen::{JsValue, closure::Closure};

use crate::task;

/// Something under way in JavaScript, and how it ends.
pub(crate) struct Crossing(u32);

impl Crossing {
    /// What `begin` begins; it tells how that ends by calling the function it is given with the number it is given,
    /// whether it succeeded, and the value or the error; with a value there may be a text.
    pub(crate) fn new(begin: impl FnOnce(u32, &JsValue)) -> Self {
        let id = LAST_ID.get().wrapping_add(1);
        LAST_ID.set(id);
        UNDER_WAY.with_borrow_mut(|crossings| crossings.insert(id, End::Awaited(None)));
        // From here on it is forgotten when it is dropped.
        let crossing = Self(id);
        SETTLE.with(|settle| begin(id, settle.as_ref()));
        crossing
    }
}

impl Future for Crossing {
    type Output = Result<Brought, JsValue>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        UNDER_WAY.with_borrow_mut(|crossings| match crossings.get_mut(&self.0) {
            Some(End::Reached(_)) => match crossings.remove(&self.0) {
                Some(End::Reached(end)) => Poll::Ready(end),
                _ => Poll::Pending,
            },
            Some(End::Awaited(waker)) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            None => Poll::Pending,
        })
    }
}

impl Drop for Crossing {
    fn drop(&mut self) {
        let forgotten = UNDER_WAY.with_borrow_mut(|crossings| crossings.remove(&self.0));
        drop(forgotten);
    }
}

enum End {
    Awaited(Option<Waker>),
    Reached(Result<Brought, JsValue>),
}

/// What came of something.
pub(crate) struct Brought {
    pub(crate) value: JsValue,
    pub(crate) text: Option<String>,
}

fn settle(id: u32, succeeded: bool, value: JsValue, text: Option<String>) {
    let end = if succeeded { Ok(Brought { value, text }) } else { Err(value) };
    let waker = UNDER_WAY.with_borrow_mut(|crossings| {
        let awaited = crossings.get_mut(&id)?;
        match std::mem::replace(awaited, End::Reached(end)) {
            End::Awaited(waker) => waker,
            End::Reached(_) => None,
        }
    });
    task::turn(|| waker.into_iter().for_each(Waker::wake));
}

thread_local! {
    static LAST_ID: Cell<u32> = const { Cell::new(0) };
    static UNDER_WAY: RefCell<BTreeMap<u32, End>> = const { RefCell::new(BTreeMap::new()) };
    static SETTLE: Closure<dyn Fn(u32, bool, JsValue, Option<String>)> = Closure::new(settle);
}
