//! What is decided here is what Cedar decides, asked for everything at once.

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request,
    RestrictedExpression as Said,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    Circumstances, Outcome, Who,
    fixture::{NOON, Names, READ_ONLY, catalog, source},
};

/// A request of tests: who calls which tool, with which path, when.
#[derive(Clone, Debug)]
struct Case {
    who: Names,
    server: &'static str,
    tool: &'static str,
    path: &'static str,
    hour: u8,
    client: Option<&'static str>,
}

impl Case {
    fn arguments(&self) -> Value {
        match self.tool {
            "read" | "write" => json!({ "path": self.path }),
            _ => json!({}),
        }
    }

    fn ask<'a>(&'a self, arguments: &'a Value) -> Ask<'a> {
        Ask {
            who: self.who.who(),
            action: Action::CallTool(self.tool),
            server: self.server,
            tool: Some(self.hints()),
            arguments: Some(arguments),
            circumstances: Circumstances { hour: self.hour, client: self.client, ..NOON },
        }
    }

    fn hints(&self) -> Tool {
        if self.tool == "read" { READ_ONLY } else { Tool::default() }
    }

    /// What Cedar says when it is given every policy and every entity, and nothing is left out.
    fn cedar(&self, policies: &str) -> (Outcome, Vec<String>) {
        let set: PolicySet = policies.parse().unwrap();
        let response = Authorizer::new().is_authorized(&self.request(), &set, &self.entities());
        let names = |ids: Vec<String>| {
            let mut names: Vec<_> = set
                .policies()
                .filter(|policy| ids.contains(&policy.id().to_string()))
                .map(|policy| policy.annotation("id").unwrap().to_owned())
                .collect();
            names.sort();
            names
        };
        let errors: Vec<_> = response.diagnostics().errors().map(erring).collect();
        let reasons = response.diagnostics().reason().map(ToString::to_string).collect();
        match response.decision() {
            _ if !errors.is_empty() => (Outcome::Fail, names(errors)),
            Decision::Allow => (Outcome::Permit, names(reasons)),
            Decision::Deny => (Outcome::Deny, names(reasons)),
        }
    }

    fn request(&self) -> Request {
        let text = |value: &str| Said::new_string(value.to_owned());
        let path = (!self.arguments()["path"].is_null()).then(|| ("path".to_owned(), text(self.path)));
        let mut context = vec![
            ("revision".to_owned(), text(NOON.revision)),
            ("trace".to_owned(), text(NOON.trace)),
            ("hour".to_owned(), Said::new_long(i64::from(self.hour))),
            ("arguments".to_owned(), Said::new_record(path).unwrap()),
        ];
        context.extend(self.client.map(|client| ("client".to_owned(), text(client))));
        let uid = |text: String| text.parse::<EntityUid>().unwrap();
        let Case { who, server, tool, .. } = self;
        Request::new(
            uid(format!("Agent::\"{}/{}\"", who.tenant, who.agent)),
            uid(format!("Action::\"{server}/{tool}\"")),
            uid(format!("Tool::\"{server}/{tool}\"")),
            Context::from_pairs(context).unwrap(),
            None,
        )
        .unwrap()
    }

    fn entities(&self) -> Entities {
        let Case { who, server, tool, .. } = self;
        let id = |kind: &str, id: String| json!({ "type": kind, "id": id });
        let Who { tenant, agent, user, issuer, roles, scopes } = who.who();
        let mut parents = vec![id("Tenant", who.tenant.clone())];
        parents.extend(who.roles.iter().map(|role| id("Role", role.clone())));
        let hints = self.hints();
        let agent = json!({ "uid": id("Agent", format!("{tenant}/{agent}")), "parents": parents, "attrs": {
            "tenant": tenant, "agent": agent, "user": user, "issuer": issuer, "roles": roles, "scopes": scopes } });
        let thing = json!({ "uid": id("Tool", format!("{server}/{tool}")), "parents": [id("Server", (*server).to_owned())],
            "attrs": { "server": server, "name": tool, "readOnly": hints.read_only, "destructive": hints.destructive,
                "idempotent": hints.idempotent, "openWorld": hints.open_world, "pinned": hints.pinned } });
        let group = json!({ "uid": id("Action", format!("{server}/*")), "parents": [id("Action", "call_tool".to_owned())], "attrs": {} });
        let act = json!({ "uid": id("Action", format!("{server}/{tool}")), "parents": [id("Action", format!("{server}/*"))], "attrs": {} });
        Entities::from_json_value(json!([agent, thing, group, act]), None).unwrap()
    }
}

fn erring(error: &AuthorizationError) -> String {
    let AuthorizationError::PolicyEvaluationError(error) = error;
    error.policy_id().to_string()
}

fn case() -> impl Strategy<Value = Case> {
    let tool = prop::sample::select(vec![
        ("files", "read"),
        ("files", "write"),
        ("files", "list"),
        ("billing", "report"),
        ("open", "unheard"),
    ]);
    let who = (prop::sample::select(vec!["acme/a", "acme/b", "globex/a"]), any::<bool>(), any::<bool>()).prop_map(
        |(id, role, scope)| {
            let mut names = Names::of(id);
            names.roles.extend(role.then(|| "r".to_owned()));
            names.scopes.extend(scope.then(|| "s".to_owned()));
            names
        },
    );
    let path = prop::sample::select(vec!["/a/x", "/b/x"]);
    let client = prop::sample::select(vec![None, Some("probe")]);
    (who, tool, path, prop::sample::select(vec![7_u8, 12]), client)
        .prop_map(|(who, (server, tool), path, hour, client)| Case { who, server, tool, path, hour, client })
}

const STATIC: [&str; 5] = [
    r#"principal.tenant == "acme""#,
    r#"principal.scopes.contains("s")"#,
    r#"principal in Role::"r""#,
    r#"action in Action::"files/*""#,
    "resource is Tool && resource.readOnly",
];
const PATH: &str = r#"(context has arguments && context.arguments has path && context.arguments.path like "/a/*")"#;
const HOUR: &str = "context.hour > 10";
const FAILS: &str = "context.hour * 1537228672809129301 > 0";

fn condition() -> impl Strategy<Value = String> {
    let mut leaves = STATIC.to_vec();
    leaves.extend([PATH, HOUR, FAILS, "context has client"]);
    let leaf = prop::sample::select(leaves).prop_map(|leaf| format!("({leaf})"));
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.clone().prop_map(|a| format!("!{a}")),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("(if {a} then {b} else {c})")),
        ]
    })
}

/// A policy with an id of its own; the text of its condition follows its scope.
fn policy(condition: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let effect = prop::sample::select(vec!["permit", "permit", "forbid"]);
    let principal = prop::sample::select(vec![
        "principal",
        "principal == Agent::\"acme/a\"",
        "principal in Tenant::\"acme\"",
        "principal in Role::\"r\"",
        "principal is Agent in Tenant::\"globex\"",
    ]);
    let action = prop::sample::select(vec![
        "action",
        "action == Action::\"files/read\"",
        "action in Action::\"call_tool\"",
        "action in Action::\"files/*\"",
        "action in [Action::\"files/write\", Action::\"open/*\"]",
        "action in Action::\"discover\"",
    ]);
    let resource = prop::sample::select(vec![
        "resource",
        "resource in Server::\"files\"",
        "resource == Tool::\"files/read\"",
        "resource is Tool in Server::\"open\"",
    ]);
    let clause = prop::sample::select(vec!["when", "unless"]);
    (effect, principal, action, resource, clause, prop::option::of(condition)).prop_map(
        |(effect, principal, action, resource, clause, condition)| {
            let condition = condition.map_or(String::new(), |condition| format!(" {clause} {{ {condition} }}"));
            format!("{effect} ({principal}, {action}, {resource}){condition};")
        },
    )
}

/// Those of `policies` that hold together, each with its id, as one file.
fn file(policies: Vec<String>) -> String {
    let with_ids = policies.into_iter().enumerate().map(|(index, policy)| format!("@id(\"p{index}\") {policy}\n"));
    with_ids.filter(|text| Policies::compile(&[source(text)], None, &catalog()).is_ok()).collect()
}

fn told(decision: &Result<Permit, Denied>) -> (Outcome, Vec<String>) {
    let names = |ids: &[Rc<str>]| {
        let mut names: Vec<_> = ids.iter().map(ToString::to_string).collect();
        names.sort();
        names
    };
    match decision {
        Ok(permit) => (Outcome::Permit, names(&permit.policies)),
        Err(Denied::Failed { policies, .. }) => (Outcome::Fail, names(policies)),
        Err(denied) => (Outcome::Deny, names(denied.policies())),
    }
}

fn of_file(text: &str) -> Policies {
    Policies::compile(&[source(text)], None, &catalog()).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_decision_is_what_cedar_says_of_all_policies(
        texts in prop::collection::vec(policy(condition()), 1..6),
        cases in prop::collection::vec(case(), 12),
    ) {
        let text = file(texts);
        let policies = of_file(&text);
        for case in cases {
            let arguments = case.arguments();
            let decision = policies.decide(&case.ask(&arguments));
            prop_assert_eq!(told(&decision), case.cedar(&text), "{}\n{:?}", text, case);
        }
    }

    #[test]
    fn what_stands_is_decided_and_what_is_hidden_is_denied_whatever_is_asked(
        texts in prop::collection::vec(policy(condition()), 1..4),
        candidate in prop::collection::vec(policy(condition()), 0..3),
        case in case(),
    ) {
        let (live, candidate) = (file(texts), file(candidate));
        let policies = Policies::compile(&[source(&live)], Some(&[source(&candidate)]), &catalog()).unwrap();
        let arguments = case.arguments();
        let (standing, sight) = (policies.standing(&case.ask(&arguments)), policies.sees(&case.ask(&arguments)));
        for path in ["/a/x", "/b/x"] {
            for (hour, client) in [(7, None), (12, None), (7, Some("probe")), (12, Some("probe"))] {
                let case = Case { path, hour, client, ..case.clone() };
                let arguments = case.arguments();
                let decision = policies.decide(&case.ask(&arguments));
                prop_assert!(standing.as_ref().is_none_or(|standing| *standing == decision), "{}\n{:?}", live, case);
                prop_assert!(sight == Sight::Visible || decision.is_err(), "{}\n{:?}", live, case);
                let shadow = match &decision {
                    Ok(permit) => permit.shadow.as_deref(),
                    Err(denied) => denied.shadow(),
                };
                let (expected, ids) = case.cedar(&candidate);
                prop_assert_eq!(shadow.is_some(), expected != told(&decision).0);
                if let Some(shadow) = shadow {
                    prop_assert_eq!((shadow.outcome, shadow.policies.join(",")), (expected, ids.join(",")));
                }
            }
        }
    }

    /// Where each policy asks one thing of the request, and no two the same, visibility is exact.
    #[test]
    fn a_tool_is_visible_exactly_when_some_request_is_permitted(
        (may, permit) in (prop::bool::ANY, mentioning(PATH)),
        (unless, forbid) in (prop::bool::ANY, mentioning(HOUR)),
        case in case(),
    ) {
        let clause = |is_when| if is_when { "when" } else { "unless" };
        let scope = "(principal, action in Action::\"call_tool\", resource)";
        let text = file(vec![
            format!("permit {scope} {} {{ {permit} }};", clause(may)),
            format!("forbid {scope} {} {{ {forbid} }};", clause(unless)),
        ]);
        let policies = of_file(&text);
        let arguments = case.arguments();
        let sight = policies.sees(&case.ask(&arguments));
        let is_permitted = ["/a/x", "/b/x"].into_iter().flat_map(|path| [(path, 7), (path, 12)]).any(|(path, hour)| {
            let case = Case { path, hour, ..case.clone() };
            case.cedar(&text).0 == Outcome::Permit
        });
        prop_assert_eq!(sight == Sight::Visible, is_permitted, "{}\n{:?}", text, case);
    }
}

/// Conditions that ask `dynamic` once, beside what is settled for a principal and a tool.
fn mentioning(dynamic: &'static str) -> impl Strategy<Value = String> {
    let settled = || prop::sample::select(STATIC.to_vec());
    prop_oneof![
        settled().prop_map(|a| format!("({a})")),
        Just(dynamic.to_owned()),
        settled().prop_map(move |a| format!("({a}) && {dynamic}")),
        settled().prop_map(move |a| format!("{dynamic} && ({a})")),
        settled().prop_map(move |a| format!("({a}) || !({dynamic})")),
        (settled(), settled()).prop_map(move |(a, b)| format!("if {a} then {dynamic} else ({b})")),
    ]
}
