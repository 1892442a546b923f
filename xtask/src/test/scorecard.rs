//! What passed, what failed, and how long did it take?

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::progress::seconds;

/// The results so far. It prints each as it comes.
#[derive(Default)]
pub(crate) struct Scorecard {
    stages: Vec<Stage>,
}

struct Stage {
    name: String,
    took: Duration,
    outcome: Outcome,
}

#[derive(Clone, Copy)]
enum Outcome {
    Passed,
    Failed,
}

impl Scorecard {
    /// Runs a stage to its end and notes how it went.
    pub(crate) async fn stage(&mut self, name: &str, work: impl Future<Output = Result<()>>) {
        println!("== {name}");
        let began = Instant::now();
        let worked = work.await;
        let took = began.elapsed();
        let outcome = match worked {
            Ok(()) => {
                println!("== {name}: passed ({})", seconds(took));
                Outcome::Passed
            }
            Err(error) => {
                println!("{error:#}\n== {name}: FAILED ({})", seconds(took));
                Outcome::Failed
            }
        };
        self.stages.push(Stage { name: name.to_owned(), took, outcome });
    }

    /// Prints the summary, whose last line is `N passed, N failed`.
    pub(crate) fn verdict(self) -> ExitCode {
        let (mut passed, mut failed) = (0, 0);
        println!();
        for Stage { name, took, outcome } in &self.stages {
            let (sign, count) = match outcome {
                Outcome::Passed => ('✓', &mut passed),
                Outcome::Failed => ('✗', &mut failed),
            };
            *count += 1;
            println!(" {sign} {name} ({})", seconds(*took));
        }
        if passed + failed > 0 {
            println!("\n{passed} passed, {failed} failed");
        }
        if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
