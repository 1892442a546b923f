use std::{cell::RefCell, collections::BTreeMap};

use super::*;

/// A folder in memory: paths and what they hold.
fn filled(toml: &str, files: &[(&str, &str)]) -> Result<Raw, Vec<Problem>> {
    let files: BTreeMap<&str, &str> = files.iter().copied().collect();
    let read_files = RefCell::new(Vec::new());
    let mut folder = Folder {
        list: |folder: &str| {
            let inside = files.keys().rev().filter_map(|path| path.strip_prefix(folder)?.strip_prefix('/'));
            Ok(inside.map(str::to_owned).collect())
        },
        read: |path: &str| {
            read_files.borrow_mut().push(path.to_owned());
            files.get(path).map(|text| (*text).to_owned()).ok_or_else(|| "no such file".to_owned())
        },
    };
    let mut raw = raw(toml);
    folder.fill(&mut raw)?;
    Ok(raw)
}

fn said(found: Result<Raw, Vec<Problem>>) -> Vec<String> {
    found.unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_folder_becomes_one_bundle() {
    let raw = filled(
        FULL,
        &[
            ("ci.jwks.json", KEYS),
            ("policies/b.cedar", "permit (principal, action, resource);"),
            ("policies/a.cedar", "// nothing"),
            ("policies/.a.cedar.swp", "an editor's"),
            ("policies/.a.cedar", "an editor's"),
            ("policies/README.md", "for people"),
            ("candidate/new.cedar", "forbid (principal, action, resource);"),
            ("pins/files.json", r#"[{"name":"read","inputSchema":{"type":"object"}}]"#),
        ],
    );
    let raw = raw.unwrap();
    let names = |policies: &[RawPolicy]| policies.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    assert_eq!(
        (names(&raw.policies), names(&raw.candidate)),
        (vec!["a.cedar".into(), "b.cedar".into()], vec!["new.cedar".into()])
    );
    assert_eq!(raw.pins["files"][0]["name"], "read");
    let bundle = Bundle::of(&raw).unwrap();
    assert!(bundle.json.contains("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"));
    let config = Bundle::open(&bundle.id, &bundle.json).unwrap().validate(&bundle.id).unwrap();
    assert!(config.pins["files"].find("read").is_some());
}

#[test]
fn a_folder_of_one_file_is_the_bundle_of_that_file() {
    assert_eq!(Bundle::of(&filled(LEAST, &[]).unwrap()).unwrap(), bundle(LEAST));
}

#[test]
fn every_file_that_cannot_be_used_is_named_at_once() {
    let found = said(filled(FULL, &[("pins/files.json", "[\n  {\"name\": }\n]"), ("pins/open.json", "{}")]));
    assert_eq!(
        found,
        [
            "issuers[1].jwks_file: `ci.jwks.json`: no such file",
            "pins/files.json:2:12: must be a JSON array of tool definitions: expected value",
            "pins/open.json:1:1: must be a JSON array of tool definitions: invalid type: map, expected a sequence",
        ]
    );
    let problem = Problem { at: "pins/files.json:2:12".to_owned(), what: String::new() };
    assert_eq!(problem.place(), Some(("pins/files.json", 2, 12)));
    assert_eq!(Problem { at: "servers[0].name".to_owned(), what: String::new() }.place(), None);
}

#[test]
fn what_belongs_in_files_is_not_read_from_gateway_toml() {
    let stray =
        format!("pins = {{ files = [{{ name = \"a\" }}] }}\npolicies = [{{ name = \"a\", text = \"\" }}]\n{LEAST}");
    let found = said(filled(&stray, &[]));
    assert_eq!(
        found,
        [
            "policies: stands in files of the folder `policies`, not in gateway.toml",
            "pins: stands in files of the folder `pins`, not in gateway.toml",
        ]
    );
}

#[test]
fn pins_are_of_servers_that_are_there() {
    let pins =
        |json: &str| filled(LEAST, &[("pins/files.json", json)]).unwrap().validate("b").err().unwrap_or_default();
    assert!(pins("[]").is_empty());
    assert_eq!(
        pins(r#"[{"name":"a"},{"name":"a"}]"#)[0].to_string(),
        "pins.files: tool `a` is pinned twice: keep the definition that was approved last"
    );
    assert_eq!(pins(r#"[{"title":"a"}]"#)[0].to_string(), "pins.files[0]: the definition of tool `?` needs a `name`");
    let stray = filled(LEAST, &[("pins/gone.json", "[]")]).unwrap().validate("b").unwrap_err();
    assert_eq!(stray[0].at, "pins.gone");
}

#[test]
fn a_policy_is_judged_with_the_rest_and_found_where_it_is() {
    let files = [
        ("ci.jwks.json", KEYS),
        ("policies/a.cedar", "permit (\n  principal,\n  action,\n  resource in Server::\"fils\"\n);"),
        ("candidate/a.cedar", "permit (principal, action, resource)\nwhen { nonsense };"),
    ];
    let found = filled(FULL, &files).unwrap().validate("b").unwrap_err();
    let places: Vec<_> = found.iter().map(|problem| problem.place().map(|(file, line, _)| (file, line))).collect();
    assert_eq!(places, [Some(("policies/a.cedar", 4)), Some(("candidate/a.cedar", 2))], "{found:?}");
    assert!(found[0].what.contains("fils"), "{found:?}");
}

#[test]
fn a_candidate_beside_no_policies_is_tried_against_what_holds_without_any() {
    let candidate = [("ci.jwks.json", KEYS), ("candidate/a.cedar", "forbid (principal, action, resource);")];
    let config = filled(FULL, &candidate).unwrap().validate("b").unwrap();
    assert!(!config.policies.is_open());
}

#[test]
fn policies_may_name_what_the_configuration_does() {
    let pins = [("ci.jwks.json", KEYS), ("pins/files.json", r#"[{"name":"read","inputSchema":{"type":"object"}}]"#)];
    let catalog = filled(FULL, &pins).unwrap().catalog();
    assert!(catalog.tenants.is_empty(), "one server is for every tenant");
    let servers: Vec<_> = catalog.servers.iter().map(|one| (&*one.name, one.tools.len(), one.is_complete)).collect();
    assert_eq!(servers, [("files", 1, true), ("open", 0, false)]);
    let closed = filled(&with(r#"name = "files""#, "name = \"files\"\ntenants = [\"acme\"]"), &[]).unwrap();
    assert_eq!(closed.catalog().tenants, ["acme"]);
}
