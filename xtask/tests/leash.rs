//! Does a leashed program end with its parent, even if that is killed?
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

#[test]
fn a_leashed_program_ends_when_its_parent_is_killed() {
    let script = r#""$0" leash --parent $$ --death kill -- sleep 600 & echo $!; wait"#;
    let mut parent =
        Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_xtask")]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let program: u32 = line.trim().parse().unwrap();
    // Before that it is the shell's copy, then the leash.
    eventually("the program did not start", || name(program) == "sleep");

    parent.kill().unwrap();
    parent.wait().unwrap();

    eventually("the program is still there", || !runs(program));
}

fn eventually(complaint: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{complaint}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn name(id: u32) -> String {
    fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default().trim().to_owned()
}

/// One that ended but that nobody has waited for does not run.
fn runs(id: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { return false };
    let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
    state.is_some_and(|state| state != "Z")
}
