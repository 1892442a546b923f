//! Is a manifest read as Spin reads it, and is what the test host does not know refused?

use std::{collections::BTreeMap, fs};

use anyhow::Result;

use crate::manifest::{Application, is_name};

#[path = "../src/manifest.rs"]
mod manifest;

const MANIFEST: &str = r#"
    spin_manifest_version = 2
    application = { name = "a" }
    trigger.http = [{ route = "/...", component = "c" }]

    [variables]
    secret = { required = true, secret = true }
    host = { default = "localhost", description = "whom it calls" }

    [component.c]
    source = "c.wasm"
    files = [{ source = "f", destination = "/config" }]
    allowed_outbound_hosts = ["http://{{ host }}:8080"]
    key_value_stores = ["default"]
    variables = { both = "{{secret}}@{{ host }}" }
    build = { command = "cargo build" }
"#;

#[test]
fn values_reach_the_component_and_whom_it_may_call() {
    let application = read(MANIFEST, &[("secret", "word")]).unwrap();
    assert_eq!(application.variables, strings(&[("both", "word@localhost")]));
    assert!(application.allows("http://localhost:8080/a?b=c"));
    assert!(!application.allows("http://other:8080/"));
    let application = read(MANIFEST, &[("secret", "word"), ("host", "other"), ("unknown", "ignored")]).unwrap();
    assert!(application.allows("http://other:8080/"));
}

#[test]
fn files_are_found_from_the_manifest_on() {
    let application = read(MANIFEST, &[("secret", "word")]).unwrap();
    assert!(application.source.is_absolute() && application.source.ends_with("c.wasm"));
    let [mount] = application.files.as_slice() else { panic!("{} mounts", application.files.len()) };
    assert_eq!(mount.source.parent(), application.source.parent());
    assert_eq!(mount.destination, "/config");
}

#[test]
fn what_is_missing_wrong_or_unknown_is_named() {
    let rows = [
        ("variables = {", "variables = { wrong = \"{{ nobody }}\",", "nobody"),
        ("variables = {", "variables = { wrong = \"{{ host\",", "`{{ host` lacks `}}`"),
        ("required = true", "required = false", "`secret` needs"),
        ("host = {", "hosT = {", "`hosT` needs a lower case name"),
        ("source = \"c.wasm\"", "sauce = \"c.wasm\"", "sauce"),
        ("application =", "aplication =", "aplication"),
        ("[\"default\"]", "[\"other\"]", "`default`"),
        ("http://{{ host }}:8080", "http://{{ host }}:all", "http://localhost:all"),
        ("\"/...\"", "\"/only\"", "/..."),
        ("component = \"c\"", "component = \"d\"", "component = \"c\""),
        ("version = 2", "version = 1", "has to be 2"),
    ];
    for (right, wrong, named) in rows {
        assert!(MANIFEST.contains(right), "`{right}` is not in the manifest");
        let error = format!("{:#}", read(&MANIFEST.replace(right, wrong), &[("secret", "word")]).err().unwrap());
        assert!(error.contains(named), "`{wrong}`: {error}");
    }
    let error = read(MANIFEST, &[]).err().unwrap().to_string();
    assert_eq!(error, "variable `secret` has no value; pass `--variable secret=…`");
}

#[test]
fn an_entry_allows_what_it_names_and_nothing_else() {
    let rows = [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/a?b", "http://127.0.0.1:8081/"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/", "https://127.0.0.1:8080/"),
        ("http://127.0.0.1", "http://127.0.0.1:80/", "http://127.0.0.1:8080/"),
        ("http://[::1]:8080/", "http://[::1]:8080/", "http://[::2]:8080/"),
        ("https://api.example.com", "https://API.example.com/", "https://api.example.com:444/"),
        ("https://api.example.com", "https://user:word@api.example.com/", "https://api.example.com@evil.com/"),
        ("https://*.example.com", "https://api.example.com/", "https://example.com/"),
        ("https://*.example.com", "https://a.b.example.com/", "https://evil-example.com/"),
        ("*://localhost:*", "http://localhost:9/", "http://localhost.evil.com:9/"),
        ("*://*:*", "redis://anything/", "data:none"),
        ("redis://localhost", "redis://user:word@localhost/0", "redis://localhost:6380/"),
    ];
    for (entry, inside, outside) in rows {
        let manifest = MANIFEST.replace("http://{{ host }}:8080", entry);
        let application = read(&manifest, &[("secret", "word")]).unwrap();
        assert!(application.allows(inside), "{entry} allows {inside}");
        assert!(!application.allows(outside), "{entry} does not allow {outside}");
    }
    for entry in ["", "example.com", "http://self", "http://h/path", "http://10.0.0.0/8:80", "*://h", "http://:80"] {
        let manifest = MANIFEST.replace("http://{{ host }}:8080", entry);
        assert!(read(&manifest, &[("secret", "word")]).is_err(), "`{entry}` is no entry");
    }
}

#[test]
fn names_of_variables_are_those_of_spin() {
    assert!(["a", "abc", "a1", "a_1_b"].into_iter().all(is_name));
    assert!(!["", "1a", "_a", "a_", "a__b", "A", "a-b", "a.b"].into_iter().any(is_name));
}

fn read(manifest: &str, given: &[(&str, &str)]) -> Result<Application> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("spin.toml");
    fs::write(&file, manifest)?;
    Application::read(&file, &strings(given))
}

fn strings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}
