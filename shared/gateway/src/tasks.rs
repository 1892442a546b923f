//! What polls the work beside a request, where the platform has no executor that does? The request itself, and after its
//! answer whoever goes on for it.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use futures_util::{Stream as _, stream::FuturesUnordered};

/// The work beside one request.
#[derive(Clone, Default)]
pub struct Tasks(Rc<Work>);

#[derive(Default)]
struct Work {
    begun: RefCell<Vec<Task>>,
    running: RefCell<FuturesUnordered<Task>>,
    waker: RefCell<Option<Waker>>,
    is_polled: Cell<bool>,
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Whether somebody polls the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Polled {
    /// Somebody does.
    Yes,
    /// Nobody: let [`Tasks::rest`] be polled.
    No,
}

impl Tasks {
    /// Begins `task`.
    pub fn begin(&self, task: impl Future<Output = ()> + 'static) -> Polled {
        self.0.begun.borrow_mut().push(Box::pin(task));
        if let Some(waker) = self.0.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
        if self.0.is_polled.get() { Polled::Yes } else { Polled::No }
    }

    /// What `request` brings; the work is done beside it.
    pub async fn beside<T>(&self, request: impl Future<Output = T>) -> T {
        self.0.is_polled.set(true);
        let mut request = pin!(request);
        let brought = poll_fn(|context| {
            let brought = request.as_mut().poll(context);
            if brought.is_pending() {
                let _ = self.0.poll(context);
            }
            brought
        });
        let brought = brought.await;
        self.0.is_polled.set(false);
        brought
    }

    /// Does what is left.
    pub async fn rest(self) {
        if self.0.is_polled.replace(true) {
            return;
        }
        poll_fn(|context| self.0.poll(context)).await;
        self.0.is_polled.set(false);
    }
}

impl Work {
    /// Ready when nothing is left.
    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        self.waker.replace(Some(context.waker().clone()));
        loop {
            self.running.borrow_mut().extend(self.begun.take());
            match Pin::new(&mut *self.running.borrow_mut()).poll_next(context) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) if self.begun.borrow().is_empty() => return Poll::Ready(()),
                Poll::Pending if self.begun.borrow().is_empty() => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_channel::oneshot;

    use super::*;

    fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_request_may_wait_for_what_it_began_and_that_for_what_it_began() {
        let tasks = Tasks::default();
        let (inner, outer) = (tasks.clone(), tasks.clone());
        let mut request = pin!(tasks.beside(async move {
            let (told, hears) = oneshot::channel();
            let _ = outer.begin(async move {
                let _ = inner.begin(async move { told.send(7).unwrap() });
            });
            hears.await.unwrap()
        }));
        assert!(poll(request.as_mut()).is_pending());
        assert_eq!(poll(request.as_mut()), Poll::Ready(7));
    }

    #[test]
    fn what_is_left_after_the_answer_is_done_and_what_comes_later_says_that_nobody_polls_it() {
        let (tasks, done) = (Tasks::default(), Rc::new(Cell::new(0)));
        let (began, count) = (tasks.clone(), Rc::clone(&done));
        let (told, hears) = oneshot::channel();
        let answer = async move {
            let polled = began.begin(async move {
                hears.await.unwrap();
                count.set(count.get() + 1);
            });
            assert_eq!(polled, Polled::Yes);
        };
        assert!(poll(pin!(tasks.beside(answer))).is_ready());
        let mut rest = pin!(tasks.clone().rest());
        assert!(poll(rest.as_mut()).is_pending());
        told.send(()).unwrap();
        assert!(poll(rest.as_mut()).is_ready());
        assert_eq!(done.get(), 1);
        assert_eq!(tasks.begin(async {}), Polled::No);
        assert!(poll(pin!(tasks.rest())).is_ready());
    }
}
