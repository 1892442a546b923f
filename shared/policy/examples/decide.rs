//! How long does a decision take with 100 policies, and how big a policy does the stack bear?
//!
//! Under `shared/` nothing reads a clock: this program says when a batch of decisions begins and ends, and
//! the bench (`batches.mjs`) runs it as WebAssembly and keeps the time.

#![expect(clippy::panic, reason = "a program that measures, beside the core and no part of it")]

use std::{collections::BTreeSet, hint::black_box};

use policy::{Action, Ask, Catalog, CatalogServer, CatalogTool, Circumstances, Policies, Source, Subject, Tool, Who};
use serde_json::{Value, json};

fn main() {
    stack();
    let catalog = catalog();
    let sets = [
        ("100 policies of many scopes", mixed()),
        ("100 policies that all read arguments of the tool called", all_open()),
        ("100 policies of attributes alone", all_settled()),
        ("no policy", String::new()),
        ("1 policy", "permit (principal, action, resource);\n".to_owned()),
    ];
    for (name, text) in sets {
        println!("# {name}");
        let source = [Source { name: "bench.cedar".to_owned(), text }];
        let compile = || Policies::compile(&source, None, &catalog).unwrap_or_else(|problems| panic!("{problems:#?}"));
        batches("compiled and validated", 1, || !black_box(compile()).is_open());
        measure(&compile());
    }
}

/// Each way to decide the same call.
fn measure(policies: &Policies) {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    let (roles, scopes) = (names(&["r1", "r5"]), names(&["files:read", "files:write", "openid"]));
    let who = Who {
        tenant: "acme",
        agent: "bot",
        user: "ada",
        issuer: "https://login.example.com",
        roles: &roles,
        scopes: &scopes,
    };
    let arguments = json!({ "path": "/home/ada/drafts/a.txt", "size": 5000, "ratio": 1.25, "tags": ["a", "b"], "note": "x".repeat(200) });
    let circumstances = Circumstances {
        revision: "2025-11-25",
        client: Some("probe"),
        hour: 12,
        trace: "0af7651916cd43dd8448eb211c80319c",
    };
    let (action, tool) = (Action::CallTool("write"), Some(Tool::default()));
    let ask = Ask { who, action, server: "s1", tool, arguments: Some(&arguments), circumstances };
    let subject = Subject::new(&who);
    let outlook = policies.outlook(&subject, action, "s1", tool);
    decisions("nothing remembered", || black_box(policies.decide(&ask)).is_ok());
    decisions("principal remembered", || {
        let outlook = policies.outlook(&subject, action, "s1", tool);
        black_box(outlook.decide(Some(&arguments), &circumstances)).is_ok()
    });
    decisions("outlook remembered", || black_box(outlook.decide(Some(&arguments), &circumstances)).is_ok());
    decisions("visibility of one tool", || {
        black_box(policies.outlook(&subject, action, "s1", tool).sight()) == policy::Sight::Visible
    });
}

fn decisions(name: &str, run: impl FnMut() -> bool) {
    batches(name, 200, run);
}

/// Says when each of many batches begins and ends.
fn batches(name: &str, size: u32, mut run: impl FnMut() -> bool) {
    for _ in 0..BATCHES {
        println!("> {size} {name}");
        for _ in 0..size {
            black_box(run());
        }
        println!("<");
    }
}

fn catalog() -> Catalog {
    let schema = json!({ "type": "object", "properties": { "path": { "type": "string" }, "size": { "type": "integer" },
        "ratio": { "type": "number" }, "tags": { "type": "array", "items": { "type": "string" } } }, "required": ["path"] });
    let tool =
        |name: &str, input_schema: &Value| CatalogTool { name: name.to_owned(), input_schema: input_schema.clone() };
    let server = |index: usize| CatalogServer {
        name: format!("s{index}"),
        tools: ["read", "write", "list", "move", "stat"].map(|name| tool(name, &schema)).to_vec(),
        is_complete: true,
    };
    Catalog { tenants: Vec::new(), servers: (0..10).map(server).collect() }
}

fn mixed() -> String {
    let one = |index: usize| match index % 4 {
        0 => format!(
            "permit (principal == Agent::\"acme/bot{index}\", action in Action::\"call_tool\", resource in Server::\"s{}\");",
            index % 10
        ),
        1 => format!(
            "permit (principal in Role::\"r{index}\", action in Action::\"call_tool\", resource) when {{ resource.readOnly && principal.scopes.contains(\"files:{index}\") }};"
        ),
        2 => format!(
            "forbid (principal, action == Action::\"s{}/write\", resource) when {{ context.arguments.path like \"/etc{index}/*\" }};",
            index % 10
        ),
        _ => format!(
            "permit (principal in Tenant::\"acme\", action in Action::\"s{}/*\", resource) when {{ context.hour >= 8 && context.hour < 18 && context.arguments.path like \"/home{index}*\" }};",
            index % 10
        ),
    };
    (0..100).map(one).collect::<Vec<_>>().join("\n")
}

fn all_open() -> String {
    let one = |index: usize| match index % 4 {
        0 => format!(
            "permit (principal, action == Action::\"s1/write\", resource) when {{ context.arguments.path like \"/home/*/{index}/*\" }};"
        ),
        1 => format!(
            "permit (principal, action == Action::\"s1/write\", resource) when {{ context.arguments has size && context.arguments.size == {index} }};"
        ),
        2 => format!(
            "forbid (principal, action == Action::\"s1/write\", resource) when {{ context.arguments.path like \"/etc{index}/*\" && principal.tenant == \"acme\" }};"
        ),
        _ => format!(
            "permit (principal, action == Action::\"s1/write\", resource) when {{ context.hour >= 8 && context.hour < 18 && context.arguments has tags && context.arguments.tags.contains(\"t{index}\") }};"
        ),
    };
    (0..100).map(one).collect::<Vec<_>>().join("\n")
}

fn all_settled() -> String {
    let one = |index: usize| match index % 2 {
        0 => format!(
            "permit (principal, action in Action::\"call_tool\", resource) when {{ principal.scopes.contains(\"x{index}\") && resource.readOnly }};"
        ),
        _ => format!(
            "forbid (principal, action in Action::\"call_tool\", resource) when {{ resource.name == \"x{index}\" || principal.agent like \"x{index}*\" }};"
        ),
    };
    (0..100).map(one).collect::<Vec<_>>().join("\n")
}

/// The longest and the deepest policies the bounds admit.
fn stack() {
    let conditions = [
        vec!["principal.tenant == \"a\""; 120].join(" || "),
        format!("{}true", "if principal.tenant == \"a\" then false else ".repeat(120)),
        format!("{}true{}", "(".repeat(22), ")".repeat(22)),
    ];
    for condition in conditions {
        let text = format!("permit (principal, action in Action::\"discover\", resource) when {{ {condition} }};");
        let sources = [Source { name: "stack.cedar".to_owned(), text }];
        match Policies::compile(&sources, None, &catalog()) {
            Ok(policies) => drop(black_box(policies)),
            Err(problems) => println!("{}", problems.first().map(|problem| problem.to_string()).unwrap_or_default()),
        }
    }
    println!("the biggest policies are compiled");
}

const BATCHES: u32 = 31;
