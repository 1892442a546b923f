use bridge::federation::{Share, Shown, View, cache::Scope, view::Found};
use mcp::page::Kind;

use super::*;

/// [`LEAST`] with a second server and these endpoints.
fn file(endpoints: &str) -> String {
    let other = "[[servers]]\nname = \"web\"\ninstances = [\"https://web.example/mcp\"]\n";
    format!("{LEAST}{other}{endpoints}")
}

fn found(endpoints: &str) -> Vec<String> {
    problems(&file(endpoints)).iter().map(ToString::to_string).collect()
}

fn research(rest: &str) -> String {
    format!("[[endpoints]]\nname = \"research\"\n{rest}")
}

fn tool(view: &View, text: &str) -> Option<(String, String)> {
    match view.named(Kind::Tools, text) {
        Some(Found::Whole { server, name }) => Some((server, name)),
        _ => None,
    }
}

#[test]
fn a_full_endpoint_means_what_it_says() {
    let config = config(FULL);
    let endpoint = config.endpoint("research").unwrap();
    assert!(config.endpoint("@research").is_none() && config.endpoint("files").is_none());
    assert_eq!(endpoint.tenants, Some(BTreeSet::from(["acme".to_owned()])));
    assert_eq!(
        (endpoint.scopes.as_slice(), endpoint.instructions.as_deref()),
        (&["research".to_owned()][..], Some("Look things up."))
    );
    assert_eq!(endpoint.shares["open"], Share::whole());
    let files = &endpoint.shares["files"];
    assert_eq!((files.tools.others, files.prompts, files.resources), (Shown::No, Shown::Yes, Shown::Yes));
    let export = &files.tools.named["export"];
    assert_eq!((export.title.as_deref(), export.description.as_deref()), (Some("Save"), Some("Saves.")));

    let view = endpoint.view(|_| true, Scope::Private);
    assert_eq!(tool(&view, "save"), Some(("files".to_owned(), "export".to_owned())));
    assert_eq!(tool(&view, "files__export"), None);
    assert_eq!(tool(&view, "open__any"), Some(("open".to_owned(), "any".to_owned())));
    let view = endpoint.view(|server| server == "open", Scope::Private);
    assert_eq!((view.servers().collect::<Vec<_>>(), tool(&view, "save")), (vec!["open"], None));
}

#[test]
fn a_tool_can_be_renamed_among_all_others_of_its_server() {
    let config = config(&file(&research(
        "servers = [\"web\"]\n[[endpoints.tools]]\nserver = \"web\"\ntool = \"fetch\"\nname = \"open\"\n\
         [[endpoints.tools]]\nserver = \"files\"\ntool = \"read\"\n",
    )));
    let view = config.endpoint("research").unwrap().view(|_| true, Scope::Private);
    for (text, at) in [
        ("open", Some(("web", "fetch"))),
        ("web__fetch", None),
        ("web__post", Some(("web", "post"))),
        ("files__read", Some(("files", "read"))),
        ("files__write", None),
    ] {
        let at = at.map(|(server, name)| (server.to_owned(), name.to_owned()));
        assert_eq!(tool(&view, text), at, "{text}");
    }
}

#[test]
fn a_problem_of_an_endpoint_is_found_where_it_is() {
    let tool = |keys: &str| research(&format!("[[endpoints.tools]]\n{keys}\n"));
    let long = "a".repeat(65);
    for (endpoints, expected) in [
        (
            research(""),
            "endpoints[0].servers: it shows nothing; name `servers`, `prompts`, `resources` or `[[endpoints.tools]]`",
        ),
        (
            "[[endpoints]]\nname = \"A\"\nservers = [\"web\"]".to_owned(),
            "endpoints[0].name: `A` must be 1 to 64 of a-z, 0-9, `-` and `_`",
        ),
        (
            format!("{0}servers = [\"web\"]\n{0}servers = [\"web\"]", research("")),
            "endpoints[1].name: `research` is there twice",
        ),
        (
            research("servers = [\"web\"]\nscopes = [\"a b\"]"),
            "endpoints[0].scopes: a scope is visible ASCII without quotes and backslashes (RFC 6749 §3.3)",
        ),
        (
            research("servers = [\"web\", \"wev\"]"),
            "endpoints[0].servers[1]: there is no server `wev`; add it to `[[servers]]`",
        ),
        (research("prompts = [\"web\", \"web\"]"), "endpoints[0].prompts[1]: `web` is there twice"),
        (research("resources = [\"x\"]"), "endpoints[0].resources[0]: there is no server `x`; add it to `[[servers]]`"),
        (
            tool("server = \"x\"\ntool = \"a\""),
            "endpoints[0].tools[0].server: there is no server `x`; add it to `[[servers]]`",
        ),
        (tool("server = \"web\"\ntool = \"\""), "endpoints[0].tools[0].tool: name a tool of the server"),
        (
            tool("server = \"web\"\ntool = \"a\"\nname = \"b c\""),
            "endpoints[0].tools[0].name: `b c` must be 1 to 64 of a-z, A-Z, 0-9, `-`, `_` and `.`",
        ),
        (
            tool(&format!("server = \"web\"\ntool = \"a\"\nname = \"{long}\"")),
            &format!("endpoints[0].tools[0].name: `{long}` must be 1 to 64 of a-z, A-Z, 0-9, `-`, `_` and `.`"),
        ),
        (
            tool("server = \"web\"\ntool = \"a\"\nname = \"files__a\""),
            "endpoints[0].tools[0].name: `files__a` reads like a tool of another server; leave out the `__`",
        ),
        (
            tool(
                "server = \"web\"\ntool = \"a\"\nname = \"x\"\n[[endpoints.tools]]\nserver = \"files\"\ntool = \"a\"\nname = \"x\"",
            ),
            "endpoints[0].tools[1].name: `x` is there twice",
        ),
        (
            tool("server = \"web\"\ntool = \"a\"\nname = \"x\"\n[[endpoints.tools]]\nserver = \"web\"\ntool = \"a\""),
            "endpoints[0].tools[1].tool: `a` of `web` is there twice",
        ),
    ] {
        assert_eq!(found(&endpoints), [expected], "{endpoints}");
    }
}

#[test]
fn two_servers_may_not_stand_behind_one_name() {
    let label = bridge::federation::name::label("a__b").into_owned();
    let servers =
        ["a__b", &label].map(|name| format!("[[servers]]\nname = \"{name}\"\ninstances = [\"https://a.example\"]\n"));
    let what = format!("servers[3].name: tools of `{label}` and `a__b` would have the same names; choose another");
    assert_eq!(found(&servers.concat()), [what]);
    assert_eq!(found(&servers[0]), [""; 0]);
}

#[test]
fn what_is_left_out_is_not_in_the_bundle() {
    let bundle = bundle(&file(&research("servers = [\"web\"]")));
    assert!(bundle.json.contains(r#""endpoints":[{"name":"research","servers":["web"]}],"#), "{}", bundle.json);
    assert!(!bundle.json.contains("\"era\""));
    let explicit =
        file(&research("servers = [\"web\"]")).replace("name = \"web\"\n", "name = \"web\"\nera = \"auto\"\n");
    assert_eq!(super::bundle(&explicit), bundle);
}
