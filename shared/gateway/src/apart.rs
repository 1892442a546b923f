//! Why is code compiled apart? Woven into what every request does, what few of them come to would crowd that out of the
//! processor's caches, which costs a caller more than all that is computed there (measured in workerd).

use futures_util::future::LocalBoxFuture;

/// `future`, with a place and code of its own.
#[inline(never)]
#[must_use]
pub fn apart<'a, T>(future: impl Future<Output = T> + 'a) -> LocalBoxFuture<'a, T> {
    Box::pin(future)
}
