//! Is everything that is wrong with a folder said at once, where it is, and with what helps?

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of tests are tests")]

mod support;

use support::deployment::{Deployment, golden, stderr, stdout, turnpike};

#[test]
fn a_folder_that_holds_together_is_summed_up_and_advised_about() {
    let deployment = Deployment::example();
    let out = turnpike(&["check"], &deployment.path());
    golden("check.txt", &stdout(&out));
    assert_eq!(out.status.code(), Some(0));
    assert!(stderr(&out).is_empty());
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let deployment = Deployment::broken();
    let out = turnpike(&["check", "."], &deployment.path());
    golden("check-broken.txt", &stdout(&out));
    assert_eq!(out.status.code(), Some(1));
}

#[test]
fn machines_read_the_same_findings() {
    let deployment = Deployment::broken();
    let out = turnpike(&["check", "--json"], &deployment.path());
    let read: serde_json::Value = serde_json::from_str(&stdout(&out)).unwrap();
    assert_eq!((out.status.code(), &read["ok"], &read["bundle"]), (Some(1), &false.into(), &serde_json::Value::Null));
    let problems = read["problems"].as_array().unwrap();
    let first = problems.iter().find(|problem| problem["key"] == "servers[1].timeout").unwrap();
    assert_eq!(first["hint"], "did you mean `timeout_ms`?");
    assert!(first["line"].as_u64() > Some(1) && first["column"] == 1 && first["severity"] == "error");
}

#[test]
fn the_schema_is_printed_also_when_policies_do_not_hold_together() {
    let deployment = Deployment::broken();
    let out = turnpike(&["check", "--schema"], &deployment.path());
    assert!(stdout(&out).contains("files/write_file"), "{}", stdout(&out));
    assert_eq!(out.status.code(), Some(0));
}

#[test]
fn what_is_no_deployment_is_a_wrong_call() {
    let empty = tempfile::tempdir().unwrap();
    let out = turnpike(&["check"], empty.path());
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("gateway.toml`: there is no such file"), "{}", stderr(&out));
    assert_eq!(turnpike(&["chekc"], empty.path()).status.code(), Some(2));
}

#[test]
fn a_bundle_is_addressed_by_what_it_holds() {
    let deployment = Deployment::example();
    let out = turnpike(&["bundle"], &deployment.path());
    let id = mcp::digest::hex(&mcp::digest::sha256(&out.stdout));
    assert!(stderr(&out).contains(&id), "{}", stderr(&out));
    let written = turnpike(&["bundle", ".", "-o", "out.json"], &deployment.path());
    assert_eq!(stdout(&written).trim(), id);
    assert_eq!(deployment.read("out.json").as_bytes(), out.stdout);
    let broken = turnpike(&["bundle"], &Deployment::broken().path());
    assert_eq!((broken.status.code(), broken.stdout.len()), (Some(1), 0));
}

#[test]
fn what_is_unlikely_to_be_meant_is_a_warning() {
    let deployment = Deployment::example();
    let limits = "requests_per_minute = 600\ntokens_per_minute = 100\ntokens_per_day = 1000000";
    deployment.change("gateway.toml", "requests_per_minute = 600", limits);
    deployment.change("gateway.toml", "tokens_per_day = 20000000", "tokens_per_day = 90000\nrequests_per_minute = 500");
    std::fs::remove_dir_all(deployment.path().join("policies")).unwrap();
    std::fs::remove_file(deployment.path().join("pins/files.json")).unwrap();
    let out = turnpike(&["check"], &deployment.path());
    golden("check-advice.txt", &stdout(&out));
    assert_eq!(out.status.code(), Some(0), "a warning is no error");
}

#[test]
fn an_endpoint_that_shows_what_nobody_sees_is_a_warning() {
    let deployment = Deployment::example();
    let endpoint = |tools: &str| {
        format!(
            "[[endpoints]]\nname = \"drafts\"\ntenants = [\"globex\"]\nservers = [\"echo\"]\n{tools}\n[[limits]]\nby = [\"agent\"]"
        )
    };
    let tools = "[[endpoints.tools]]\nserver = \"files\"\ntool = \"write_file\"\nname = \"save\"\n\
                 [[endpoints.tools]]\nserver = \"files\"\ntool = \"delete_file\"\nnam = \"x\"";
    deployment.change("gateway.toml", "[[limits]]\nby = [\"agent\"]", &endpoint(tools));
    let unknown = stdout(&turnpike(&["check"], &deployment.path()));
    assert!(unknown.contains("endpoints[0].tools[1].nam: unknown key `nam`"), "{unknown}");
    deployment.change("gateway.toml", "nam = \"x\"\n", "");
    let out = turnpike(&["check"], &deployment.path());
    golden("check-endpoints.txt", &stdout(&out));
    assert_eq!(out.status.code(), Some(0), "a warning is no error");
}
