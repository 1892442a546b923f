//! Where do unpredictable bytes come from? The runtime's generator, asked for many at a time: each question crosses.

use std::cell::RefCell;

/// 32 bytes that were never given out before.
pub(crate) fn bytes() -> [u8; 32] {
    SUPPLY.with_borrow_mut(|supply| {
        if let Some(bytes) = supply.pop() {
            return bytes;
        }
        supply.extend(drawn());
        supply.pop().unwrap_or_else(|| std::process::abort())
    })
}

fn drawn() -> [[u8; 32]; DRAWN] {
    let mut drawn = [[0; 32]; DRAWN];
    // `crypto.getRandomValues` does not fail for so few bytes; were it to, zeros must not pass for random.
    match getrandom::getrandom(drawn.as_flattened_mut()) {
        Ok(()) => drawn,
        Err(_) => std::process::abort(),
    }
}

thread_local! {
    static SUPPLY: RefCell<Vec<[u8; 32]>> = const { RefCell::new(Vec::new()) };
}

const DRAWN: usize = 64;
