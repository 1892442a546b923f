//! What does the command line say about a configuration?

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of tests are tests")]

use std::fs;
use std::process::{Command, Output};

fn run(name: &str, text: &str, args: &[&str], secret: Option<&str>) -> Output {
    let folder = std::env::temp_dir().join(format!("turnpike-cli-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("connector.toml"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnpike-connector"));
    command.args(args).current_dir(&folder).env_remove("TURNPIKE_CONNECTOR_SECRET");
    command.envs(secret.map(|secret| ("TURNPIKE_CONNECTOR_SECRET", secret)));
    let output = command.output().unwrap();
    fs::remove_dir_all(folder).unwrap();
    output
}

const SERVER: &str =
    "[[servers]]\nname = \"x\"\ncommand = \"sh\"\nargs = [\"-c\", \"cat\"]\nset_env = { TOKEN = \"hidden-value\" }\n";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn check_says_what_would_run_and_no_values() {
    let output = run("fine", SERVER, &["check"], Some(SECRET));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(text.contains("/sh -c cat") && text.contains("TOKEN") && text.contains("127.0.0.1:3100"), "{text}");
    assert!(!text.contains("hidden-value") && !text.contains(SECRET), "{text}");
}

#[test]
fn every_problem_is_told_and_nothing_is_served() {
    for args in [["check"].as_slice(), &["serve", "--port", "0"]] {
        let text = "[connector]\nlisten = \"0.0.0.0:1\"\n[[servers]]\nname = \"x\"\ncomand = \"sh\"\n";
        let output = run("wrong", text, args, Some("too short"));
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        for expected in
            ["can be reached from other machines", "unknown key `comand`", "did you mean `command`?", "visible ASCII"]
        {
            assert!(text.contains(expected), "no {expected:?} in {text}");
        }
        assert!(!text.contains("too short"));
        assert_eq!(output.stdout, b"");
    }
}

#[test]
fn it_does_not_start_without_a_secret() {
    let output = run("secretless", SERVER, &["serve", "--port", "0"], None);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("`TURNPIKE_CONNECTOR_SECRET` is not set") && text.contains("openssl rand -hex 32"), "{text}");
}

#[test]
fn a_port_that_is_taken_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run("taken", SERVER, &["serve", "--port", &port], Some(SECRET));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("cannot listen on") && text.contains("--port"), "{text}");
}

#[test]
fn help_shows_examples() {
    let output = run("help", "", &["--help"], None);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("turnpike-connector check --config connector.toml") && !text.contains("warden"), "{text}");
}
