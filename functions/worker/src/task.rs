//! Who polls a request's future? Whoever brings what it waited for, in the same turn.
//!
//! `wasm_bindgen_futures` polls in a turn of its own, through a promise and a closure for each wait (measured: a tenth of
//! what the gateway adds to a call).

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use worker::wasm_bindgen_futures::spawn_local;

/// Runs `future` as far as it comes, and on whenever it is woken.
pub(crate) fn start(future: impl Future<Output = ()> + 'static) {
    TASKS.with_borrow_mut(|tasks| tasks.add(Box::pin(future)));
    turn(|| {});
}

/// Runs `event` and then every task it woke.
pub(crate) fn turn(event: impl FnOnce()) {
    let outermost = TASKS.with_borrow_mut(|tasks| !std::mem::replace(&mut tasks.is_turning, true));
    event();
    if !outermost {
        return;
    }
    while let Some((id, task)) = TASKS.with_borrow_mut(Tasks::next) {
        poll(id, task);
    }
}

fn poll(id: u32, mut task: Task) {
    let poll = task.future.as_mut().poll(&mut Context::from_waker(&task.waker));
    if poll == Poll::Pending {
        TASKS.with_borrow_mut(|tasks| tasks.waiting.insert(id, task));
    }
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    waker: Waker,
}

#[derive(Default)]
struct Tasks {
    waiting: BTreeMap<u32, Task>,
    woken: VecDeque<u32>,
    is_turning: bool,
    last_id: u32,
}

impl Tasks {
    fn add(&mut self, future: Pin<Box<dyn Future<Output = ()>>>) {
        self.last_id = self.last_id.wrapping_add(1);
        let waker = Arc::new(Alarm(self.last_id)).into();
        self.waiting.insert(self.last_id, Task { future, waker });
        self.woken.push_back(self.last_id);
    }

    /// A task to poll; the turn ends when there is none.
    fn next(&mut self) -> Option<(u32, Task)> {
        while let Some(id) = self.woken.pop_front() {
            if let Some(task) = self.waiting.remove(&id) {
                return Some((id, task));
            }
        }
        self.is_turning = false;
        None
    }
}

/// Wakes the task of this number; one that has ended is woken in vain.
struct Alarm(u32);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let is_turning = TASKS.with_borrow_mut(|tasks| {
            tasks.woken.push_back(self.0);
            tasks.is_turning
        });
        // Who wakes outside of a turn of ours may hold what the task needs.
        if !is_turning {
            spawn_local(async { turn(|| {}) });
        }
    }
}

thread_local! {
    static TASKS: RefCell<Tasks> = RefCell::default();
}
