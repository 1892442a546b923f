//! What does the one who waits see? Nothing for a second, then what is being waited for.

use std::{
    future::Future,
    io::{IsTerminal as _, stderr},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Something that may take a while.
pub(crate) struct Step {
    bar: ProgressBar,
    began: Instant,
    label: String,
    spoke: Option<Instant>,
}

impl Step {
    pub(crate) fn begin(label: impl Into<String>) -> Self {
        let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
        let label = label.into();
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let bar = bar.with_style(style).with_prefix(label.clone());
        Self { bar, began: Instant::now(), label, spoke: None }
    }

    /// Where its work may say how far it is.
    pub(crate) fn notes(&self) -> Notes {
        Notes(self.bar.clone())
    }

    /// Waits for `work`, and shows that it does.
    pub(crate) async fn watch<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(TICK) => self.tick(),
            }
        }
    }

    fn tick(&mut self) {
        if self.began.elapsed() < PATIENCE {
            return;
        }
        if stderr().is_terminal() {
            if self.bar.is_hidden() {
                self.bar.set_draw_target(ProgressDrawTarget::stderr());
            }
            self.bar.tick();
        } else if self.spoke.is_none_or(|spoke| spoke.elapsed() >= HEARTBEAT) {
            self.spoke = Some(Instant::now());
            eprintln!("{} … {} {}", self.label, self.began.elapsed().as_secs(), self.bar.message());
        }
    }
}

/// Says how far something is.
pub(crate) struct Notes(ProgressBar);

impl Notes {
    pub(crate) fn note(&self, text: impl Into<String>) {
        self.0.set_message(text.into());
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

const PATIENCE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);
/// How often a log is told that something still takes its time.
const HEARTBEAT: Duration = Duration::from_secs(10);
