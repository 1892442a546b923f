//! How much processor time has a program used?

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// The time on a processor of all threads of process `id` so far, to the nanosecond, where the
/// kernel tells it (`/proc/ID/task/*/schedstat`).
///
/// # Errors
/// If the kernel does not tell.
pub(super) fn used(id: i32) -> Result<Duration> {
    let tasks =
        fs::read_dir(format!("/proc/{id}/task")).context("processor time is read from /proc, which only Linux has")?;
    let mut total = 0;
    for task in tasks {
        // A thread may end between the listing and the reading.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        total += text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(total))
}

/// The only child of process `id`: what works, below the program that started it.
pub(super) fn child_of(id: i32) -> Result<i32> {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
    let first = children.split_whitespace().next().context("the runtime is not there")?;
    Ok(first.parse()?)
}
