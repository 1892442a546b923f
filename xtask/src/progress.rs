//! What does the one who waits see?
//!
//! On a terminal a spinner with the time and the last line of output; elsewhere (CI) plain
//! lines: one at the start, one every 20 s, one at the end.

use std::{
    env,
    io::{IsTerminal, stderr},
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

/// A step that takes a while; ends with `done`, or with nothing more if it is dropped.
pub(crate) struct Step {
    label: String,
    began: Instant,
    spoke: Instant,
    spinner: Option<ProgressBar>,
}

impl Step {
    pub(crate) fn begin(label: &str) -> Self {
        let spinner = is_interactive().then(|| spinner(label));
        if spinner.is_none() {
            eprintln!("   {label} ...");
        }
        let now = Instant::now();
        Self { label: label.to_owned(), began: now, spoke: now, spinner }
    }

    /// Shows the latest line of what the step's command says.
    pub(crate) fn note(&mut self, line: &str) {
        let line: String = line.trim().chars().filter(|c| !c.is_control()).take(60).collect();
        match &self.spinner {
            Some(spinner) => spinner.set_message(line),
            None if self.spoke.elapsed() >= HEARTBEAT => {
                self.spoke = Instant::now();
                eprintln!("   {} ... {} {line}", self.label, seconds(self.began.elapsed()));
            }
            None => {}
        }
    }

    pub(crate) fn done(self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        eprintln!(" ✓ {} ({})", self.label, seconds(self.began.elapsed()));
    }
}

/// Does `work` as a step; as long as that takes, whoever waits is told why.
///
/// # Errors
/// Those of `work`.
pub(crate) async fn step<T>(label: &str, why: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut step = Step::begin(label);
    let mut work = pin!(work);
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            done = &mut work => {
                if done.is_ok() {
                    step.done();
                }
                return done;
            }
            _ = tick.tick() => step.note(why),
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

/// A duration as people read it.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn is_interactive() -> bool {
    stderr().is_terminal() && env::var_os("CI").is_none()
}

fn spinner(label: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(" {spinner} {prefix} {elapsed} {msg:.dim}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner().with_style(style).with_prefix(label.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

const HEARTBEAT: Duration = Duration::from_secs(20);
