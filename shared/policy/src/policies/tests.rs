use serde_json::{Value, json};

use super::*;
use crate::{
    Circumstances, Outcome,
    fixture::{NOON, Names, READ_ONLY, catalog, policies, source},
};

/// The ids behind a decision: `+a` permits, `-a` forbids, `!a` failed, `?` could not be said.
fn say(decision: &Result<Permit, Denied>) -> String {
    let list = |ids: &[Rc<str>]| ids.join(",");
    match decision {
        Ok(permit) => format!("+{}", list(&permit.policies)),
        Err(Denied::Policy { policies, .. }) => format!("-{}", list(policies)),
        Err(Denied::Failed { policies, .. }) => format!("!{}", list(policies)),
        Err(Denied::Scope(_) | Denied::Arguments(_)) => "?".to_owned(),
    }
}

fn call(policies: &Policies, who: &str, tool: &str, arguments: Value) -> String {
    let (server, tool) = tool.split_once('/').unwrap();
    let names = Names::of(who);
    say(&policies.decide(&Ask {
        who: names.who(),
        action: Action::CallTool(tool),
        server,
        tool: Some(if tool.starts_with("re") { READ_ONLY } else { Tool::default() }),
        arguments: Some(&arguments),
        circumstances: NOON,
    }))
}

const TEAM: &str = r#"
@id("look") permit (principal, action in Action::"discover", resource);
@id("read") permit (principal in Tenant::"acme", action in [Action::"call_tool", Action::"read"], resource in Server::"files")
when { resource.readOnly };
@id("drafts") permit (principal == Agent::"acme/coder", action == Action::"files/write", resource)
when { context.arguments.path like "*/drafts/*" };
@id("dotfiles") forbid (principal, action in Action::"files/*", resource)
when { context.arguments has path && context.arguments.path like "*/.*" };
@id("pay") permit (principal, action == Action::"billing/pay", resource)
when { context.arguments has amount && context.arguments.amount.lessThan(decimal("100.0")) }
unless { context.hour < 8 };
@id("sum") permit (principal == Agent::"globex/sum", action == Action::"billing/pay", resource)
when { context.arguments has cents && context.arguments.cents + 1 > 0 };
@id("open") permit (principal, action in Action::"open/*", resource);
@id("scoped") permit (principal, action == Action::"files/list", resource) when { principal.scopes.contains("files:list") };
"#;

#[test]
fn what_no_policy_permits_is_denied_and_a_forbid_wins() {
    let team = policies(TEAM);
    assert_eq!(call(&team, "acme/coder", "files/read", json!({ "path": "/a" })), "+read");
    assert_eq!(call(&team, "globex/coder", "files/read", json!({ "path": "/a" })), "-");
    assert_eq!(call(&team, "acme/coder", "files/write", json!({ "path": "/a/drafts/b" })), "+drafts");
    assert_eq!(call(&team, "acme/coder", "files/write", json!({ "path": "/a" })), "-");
    assert_eq!(call(&team, "acme/coder", "files/read", json!({ "path": "/a/.ssh" })), "-dotfiles");
    assert_eq!(call(&team, "acme/coder", "nowhere/read", json!({})), "-");
}

#[test]
fn numbers_are_decimals_and_a_policy_that_fails_denies() {
    let team = policies(TEAM);
    assert_eq!(call(&team, "globex/sum", "billing/pay", json!({ "amount": 5 })), "+pay");
    assert_eq!(call(&team, "globex/sum", "billing/pay", json!({ "amount": 99.99994 })), "+pay");
    assert_eq!(call(&team, "globex/sum", "billing/pay", json!({ "amount": 99.99996 })), "-", "rounded to 100.0000");
    assert_eq!(call(&team, "globex/sum", "billing/pay", json!({ "amount": 5, "cents": 1 })), "+pay,sum");
    assert_eq!(call(&team, "globex/sum", "billing/pay", json!({ "amount": 5, "cents": i64::MAX })), "!sum");
    assert_eq!(call(&team, "globex/sum", "billing/pay", json!({ "amount": "5" })), "?");
}

#[test]
fn of_a_server_that_is_not_pinned_any_tool_may_be_called_but_no_argument_named() {
    let team = policies(TEAM);
    assert_eq!(call(&team, "acme/coder", "open/anything", json!({ "x": [1, "a", null] })), "+open");
    assert_eq!(call(&team, "acme/coder", "open/echo", json!({ "message": "hi" })), "+open");
}

#[test]
fn what_is_not_a_call_is_decided_on_its_own_resource() {
    let team = policies(TEAM);
    let decide = |who: &str, action, server| {
        let names = Names::of(who);
        say(&team.decide(&Ask { who: names.who(), action, server, tool: None, arguments: None, circumstances: NOON }))
    };
    assert_eq!(decide("globex/x", Action::ListTools, "billing"), "+look");
    assert_eq!(decide("acme/x", Action::ReadResource("file:///a"), "files"), "+read");
    assert_eq!(decide("globex/x", Action::ReadResource("file:///a"), "files"), "-");
    assert_eq!(decide("acme/x", Action::GetPrompt("p"), "billing"), "-");
    assert_eq!(decide("acme/x", Action::Complete(crate::Reference::Prompt("p")), "files"), "+read");
    assert_eq!(decide("acme/x", Action::Other("tasks/get"), "files"), "-");
}

#[test]
fn sight_and_standing() {
    let team = policies(TEAM);
    let ask = |who: &str, tool: &str| {
        let (server, tool) = tool.split_once('/').unwrap();
        let hints = if tool.starts_with("re") { READ_ONLY } else { Tool::default() };
        let outlook = team.outlook(&Subject::new(&Names::of(who).who()), Action::CallTool(tool), server, Some(hints));
        (outlook.sight(), outlook.standing().as_ref().map(say))
    };
    assert_eq!(ask("acme/coder", "files/write"), (Sight::Visible, None));
    assert_eq!(ask("acme/other", "files/write"), (Sight::Hidden, None), "which forbid denies it depends");
    assert_eq!(ask("globex/x", "files/list"), (Sight::Hidden, Some("-".to_owned())), "a list has no path to forbid");
    assert_eq!(ask("globex/x", "billing/report"), (Sight::Hidden, Some("-".to_owned())));
    assert_eq!(ask("globex/x", "open/echo"), (Sight::Visible, Some("+open".to_owned())));
    assert_eq!(ask("globex/x", "billing/pay"), (Sight::Visible, None));
}

#[test]
fn a_condition_on_arguments_that_others_exclude_hides_the_tool() {
    let policies = policies(
        r#"permit (principal, action == Action::"files/read", resource)
           when { context.arguments.path like "/a/*" && principal.tenant == "acme" };"#,
    );
    let sight = |who: &str| {
        let subject = Subject::new(&Names::of(who).who());
        let outlook = policies.outlook(&subject, Action::CallTool("read"), "files", None);
        (outlook.sight(), outlook.standing().is_some())
    };
    assert_eq!(sight("acme/x"), (Sight::Visible, false));
    assert_eq!(sight("globex/x"), (Sight::Hidden, true));
}

#[test]
fn only_a_candidate_that_decides_otherwise_casts_a_shadow() {
    let live = [source(r#"@id("all") permit (principal, action in Action::"files/*", resource);"#)];
    let candidate = [source(
        r#"@id("some") permit (principal in Tenant::"acme", action in Action::"files/*", resource);
           @id("etc") forbid (principal, action == Action::"files/read", resource) when { context.arguments.path like "/etc/*" };"#,
    )];
    let both = Policies::compile(&live, Some(&candidate), &catalog()).unwrap();
    let shadow = |who: &str, path: &str| {
        let names = Names::of(who);
        let arguments = json!({ "path": path });
        let ask = Ask {
            who: names.who(),
            action: Action::CallTool("read"),
            server: "files",
            tool: None,
            arguments: Some(&arguments),
            circumstances: NOON,
        };
        assert!(both.standing(&ask).is_none());
        let permit = both.decide(&ask).unwrap();
        assert_eq!(permit.policies.join(","), "all");
        permit.shadow.map(|shadow| (shadow.outcome, shadow.policies.join(",")))
    };
    assert_eq!(shadow("acme/x", "/a"), None);
    assert_eq!(shadow("globex/x", "/a"), Some((Outcome::Deny, String::new())));
    assert_eq!(shadow("acme/x", "/etc/passwd"), Some((Outcome::Deny, "etc".to_owned())));
}

#[test]
fn without_policies_everything_is_permitted_that_can_be_said() {
    let names = Names::of("a/b");
    let arguments = json!({ "n": u64::MAX });
    let mut ask = Ask {
        who: names.who(),
        action: Action::CallTool("x"),
        server: "y",
        tool: None,
        arguments: None,
        circumstances: Circumstances { client: None, ..NOON },
    };
    let open = Policies::open();
    assert_eq!(open.decide(&ask).unwrap().reason, "open");
    assert_eq!(open.sees(&ask), Sight::Visible);
    ask.arguments = Some(&arguments);
    assert!(matches!(open.decide(&ask), Err(Denied::Arguments(why)) if why.contains("18446744073709551615")));
    assert!(open.is_open() && !policies("").is_open());
    assert_eq!(say(&policies("").decide(&ask)), "?");
}

#[test]
fn the_schema_is_told_in_cedars_own_notation() {
    let text =
        Policies::schema(&catalog(), &[source(r#"permit (principal, action == Action::"open/later", resource);"#)])
            .unwrap();
    for part in [
        "entity Agent in [Tenant, Role]",
        "action \"files/read\" in [Action::\"files/*\"]",
        "\"open/later\"",
        "decimal",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert!(text.parse::<cedar_policy::Schema>().is_ok());
}

#[test]
fn what_was_compiled_before_decides_alike_and_permits_nothing_when_it_does_not_hold_together() {
    let again = |text: &str| Policies::recompile(vec![source(text)], None, catalog());
    for (who, tool) in [("acme/coder", "files/write"), ("acme/x", "files/read"), ("globex/x", "files/read")] {
        let said = |policies: &Policies| call(policies, who, tool, json!({ "path": "/drafts/a" }));
        assert_eq!(said(&again(TEAM)), said(&policies(TEAM)), "{who} {tool}");
    }
    let lists = |text: &str| call(&again(text), "acme/x", "files/list", json!({}));
    assert_eq!(lists(r#"@id("all") permit (principal, action, resource);"#), "+all");
    let misspelt =
        r#"@id("all") permit (principal, action, resource); permit (principal, action, resource == Server::"no");"#;
    assert_eq!(lists(misspelt), "-");
}
