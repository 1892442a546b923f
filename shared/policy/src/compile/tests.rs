use crate::{
    Policies,
    fixture::{catalog, policies, problems, source},
};

fn told(text: &str) -> String {
    problems(text).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn assert_told(text: &str, expected: &str) {
    let told = told(text);
    assert!(told.contains(expected), "{expected}\nis missing in\n{told}");
}

#[test]
fn every_unknown_name_is_an_error_at_its_place_with_a_hint() {
    assert_told(
        "\n  permit (principal, action == Action::\"files/raed\", resource);",
        "a.cedar:2:40: server `files` has no tool `raed` (did you mean `read`?)",
    );
    assert_told(
        r#"permit (principal, action, resource in Server::"flies");"#,
        "a.cedar:1:48: there is no server `flies` (did you mean `files`?)",
    );
    assert_told(
        r#"permit (principal, action == Action::"list_tool", resource);"#,
        "there is no action `list_tool` (did you mean `list_tools`?)",
    );
    assert_told(
        r#"permit (principal in Tenant::"acmee", action, resource);"#,
        "there is no tenant `acmee` (did you mean `acme`?)",
    );
    assert_told(r#"permit (principal == Agent::"acmee/x", action, resource);"#, "there is no tenant `acmee`");
    assert_told(
        r#"permit (principal, action == Action::"files/read", resource) when { context.arguments.paht like "a" };"#,
        "paht",
    );
    assert_told(
        r#"permit (principal, action == Action::"files/read", resource) when { context.arguments.paht like "a" };"#,
        "did you mean `path`",
    );
    assert_told(
        r#"permit (principal, action == Action::"files/read", resource) when { principal.tenent == "a" };"#,
        "did you mean `tenant`",
    );
    assert_told(r#"permit (principal is Agnet, action, resource);"#, "Agnet");
    assert_told(
        r#"permit (principal, action == Action::"open/later", resource) when { context.arguments.x == 1 };"#,
        "its schema is not known, pin the tools of `open`",
    );
}

#[test]
fn what_can_never_apply_is_an_error() {
    assert_told(
        r#"permit (principal, action == Action::"call_tool", resource);"#,
        "write `action in Action::\"call_tool\"`",
    );
    assert_told(r#"permit (principal, action == Action::"open/*", resource);"#, "is a group of actions");
    assert_told(r#"permit (principal, action == Action::"files/read", resource in Server::"billing");"#, "a.cedar:1:1");
    assert_told(
        r#"permit (principal, action == Action::"files/read", resource) when { context.arguments has pat };"#,
        "a.cedar:1:1",
    );
}

#[test]
fn all_problems_are_told_at_once() {
    let text = "permit (principal, action, resource) when { principal.nope };\npermit (;\n@id(\"x\") permit (principal, action in \
                Action::\"discover\", resource);\n@id(\"x\") forbid (principal, action, resource) when { context.hour == \"a\" };";
    assert!(!told(text).contains("for policy"), "{}", told(text));
    let lines: Vec<_> = problems(text).iter().map(|problem| problem.line).collect();
    for line in [1, 2, 4] {
        assert!(lines.contains(&line), "{}", told(text));
    }
}

#[test]
fn one_misspelt_tool_is_one_error() {
    let text = r#"permit (principal, action in [Action::"files/read", Action::"files/wirte"], resource)
        when { context.arguments.path like "a" };"#;
    assert_eq!(problems(text).len(), 1, "{}", told(text));
}

#[test]
fn types_are_those_of_the_tools_schemas() {
    policies(
        r#"permit (principal, action == Action::"billing/pay", resource) when {
            context.arguments has amount && context.arguments.amount.lessThan(decimal("5.0")) &&
            context.arguments has tags && context.arguments.tags.contains("a") &&
            context.arguments has to && context.arguments.to.iban like "DE*" && context has client && context.client == "x" };"#,
    );
    assert_told(
        r#"permit (principal, action == Action::"billing/pay", resource) when { context.arguments.amount == decimal("1.0") };"#,
        "amount",
    );
    assert_told(
        r#"permit (principal, action == Action::"files/write", resource) when { context.arguments has mode && context.arguments.mode == "x" };"#,
        "a.cedar:1:",
    );
}

#[test]
fn a_policy_at_one_server_is_validated_against_its_tools_alone() {
    policies(
        r#"permit (principal, action in Action::"call_tool", resource in Server::"billing") when { resource.readOnly };"#,
    );
    policies(r#"permit (principal, action, resource == Tool::"billing/pay") when { context.arguments has amount };"#);
    assert_told(
        r#"permit (principal, action in Action::"call_tool", resource) when { context.arguments.path like "a" };"#,
        "path",
    );
}

#[test]
fn entities_that_are_not_loaded_are_not_asked() {
    assert_told(
        r#"permit (principal, action == Action::"files/read", resource) when { Tool::"files/read".readOnly };"#,
        "a.cedar:1:",
    );
    assert_told(r#"permit (principal == ?principal, action, resource);"#, "a.cedar:1:");
}

#[test]
fn too_many_and_too_big_is_an_error() {
    let many = "permit (principal, action in Action::\"discover\", resource);\n".repeat(1001);
    assert_told(&many, "there are 1001 policies; a set may have 1000");
    let big = format!("//{}", " ".repeat(1 << 20));
    assert_told(&big, "a set may have 1048576");
    assert_told(
        &format!("permit (principal, action, resource) when {{ {} }};", vec!["true"; 1000].join("||")),
        "more than 256 operators",
    );
    assert_told(
        &format!("@id(\"{}\") permit (principal, action in Action::\"discover\", resource);", "x".repeat(129)),
        "1 to 128 bytes",
    );
}

#[test]
fn the_biggest_policies_that_fit_are_compiled() {
    let when = |condition: &str| policy(&format!("when {{ {condition} }}"));
    fn policy(clauses: &str) {
        policies(&format!("permit (principal, action in Action::\"discover\", resource) {clauses};"));
    }
    let biggest = move || {
        when(&vec!["principal.tenant == \"a\""; 120].join(" || "));
        when(&format!("{}true{}", "(".repeat(22), ")".repeat(22)));
        when(&format!("{}true", "if principal.tenant == \"a\" then false else ".repeat(120)));
        policy(&"when { principal.tenant == \"a\" }".repeat(80));
    };
    // not optimized, Cedar's frames are several times as big as where it matters
    std::thread::Builder::new().stack_size(32 << 20).spawn(biggest).unwrap().join().unwrap();
}

#[test]
fn problems_of_the_candidate_are_told_too() {
    let bad = [source("permit (;")];
    let problems = Policies::compile(&bad, Some(&bad), &catalog()).unwrap_err();
    assert!(problems.len() >= 2);
}
