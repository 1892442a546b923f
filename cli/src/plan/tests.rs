use std::collections::BTreeSet;

use gateway::config::{Bundle, RawPolicy};

use super::{access::Access, replay::Was, settings::Kind, *};

/// One of the two, from what stands in its files.
struct Given {
    bundle: Bundle,
    raw: Raw,
    config: Config,
}

impl Given {
    fn new(servers: &str, policies: &str, pins: &[(&str, &str)]) -> Self {
        let text = format!("[gateway]\nurl = \"http://127.0.0.1:8787\"\nanonymous = true\n{servers}");
        let mut raw: Raw = toml::from_str(&text).unwrap();
        if !policies.is_empty() {
            raw.policies = vec![RawPolicy { name: "a.cedar".to_owned(), text: policies.to_owned() }];
        }
        raw.pins =
            pins.iter().map(|(server, json)| ((*server).to_owned(), serde_json::from_str(json).unwrap())).collect();
        let bundle = Bundle::of(&raw).unwrap();
        let config = raw.clone().validate(&bundle.id).unwrap();
        Self { bundle, raw, config }
    }

    fn side(&self) -> Side<'_> {
        Side { id: &self.bundle.id, raw: &self.raw, config: &self.config }
    }
}

const SERVER: &str = "[[servers]]\nname = \"files\"\ninstances = [\"http://127.0.0.1:1\"]\n";
const PINS: &str = r#"[{"name":"read","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}},
    {"name":"write","inputSchema":{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}}]"#;
const ALL: &str = "@id(\"all\") permit (principal, action, resource);";
const READERS: &str =
    "@id(\"readers\") permit (principal, action, resource) when { resource has readOnly && resource.readOnly };";

fn principal(agent: &str, scopes: &[&str]) -> Principal {
    Principal {
        tenant: "acme".to_owned(),
        agent: agent.to_owned(),
        user: "ann".to_owned(),
        issuer: String::new(),
        roles: BTreeSet::new(),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
    }
}

fn call(agent: &str, tool: &str, was: Was, bundle: &str) -> Call {
    Call {
        principal: principal(agent, &[]),
        server: "files".to_owned(),
        method: "tools/call".to_owned(),
        target: Some(tool.to_owned()),
        was,
        bundle: bundle.to_owned(),
        count: 1,
    }
}

fn access(live: &Given, new: &Given, principals: &[Principal]) -> Vec<String> {
    let observed = Observed { principals: principals.to_vec(), ..Observed::default() };
    let plan = plan(Some(live.side()), new.side(), &observed);
    let lines = plan.access.iter().flat_map(|change| {
        let who: Vec<&str> = change.principals.iter().map(|one| one.agent.as_str()).collect();
        change.tools.iter().map(move |tool| {
            format!("{} {:?} {}/{}: {}", who.join(","), tool.effect, change.server, tool.tool, tool.why)
        })
    });
    lines.collect()
}

#[test]
fn a_policy_takes_and_gives_tools() {
    let pins = [("files", PINS)];
    let (all, readers) = (Given::new(SERVER, ALL, &pins), Given::new(SERVER, READERS, &pins));
    let who = [principal("bot", &[]), principal("coder", &[])];
    assert_eq!(access(&all, &readers, &who), ["bot,coder Loses files/write: no policy permits it"]);
    assert_eq!(access(&readers, &all, &who), ["bot,coder Gains files/write: `all`"]);
    assert!(access(&all, &all, &who).is_empty());
    let open = Given::new(SERVER, "", &pins);
    assert_eq!(access(&readers, &open, &who[..1]), ["bot Gains files/write: there are no policies"]);
}

#[test]
fn arguments_scopes_tenants_and_pins_count_as_the_gateway_counts_them() {
    let pins = [("files", PINS)];
    let all = Given::new(SERVER, ALL, &pins);
    let drafts = r#"@id("some") permit (principal, action == Action::"files/write", resource) when { context.arguments.path like "drafts/*" };"#;
    let some = Given::new(SERVER, drafts, &pins);
    let who = [principal("bot", &[])];
    assert_eq!(
        access(&all, &some, &who),
        ["bot Loses files/read: no policy permits it", "bot Loses files/write: it depends on the arguments"]
    );
    let scoped = Given::new(&format!("{SERVER}scopes = [\"mcp\"]\n"), ALL, &pins);
    assert!(access(&all, &scoped, &who)[0].contains("the token lacks a scope"));
    assert!(access(&all, &scoped, &[principal("bot", &["mcp"])]).is_empty());
    let others = Given::new(&format!("{SERVER}tenants = [\"globex\"]\n"), ALL, &pins);
    assert!(access(&all, &others, &who)[0].ends_with("the server is not for this tenant"));
    let gone = Given::new("", ALL, &[]);
    assert!(access(&all, &gone, &who)[0].ends_with("there is no such server"));
    let unpinned = Given::new(&format!("{SERVER}pins = \"quarantine\"\n"), ALL, &[]);
    assert!(access(&all, &unpinned, &who)[0].ends_with("its definition is not pinned"));
}

#[test]
fn what_a_server_offers_now_counts_against_its_pin() {
    let quarantine = format!("{SERVER}pins = \"quarantine\"\n");
    let (old, new) = (
        Given::new(&quarantine, ALL, &[("files", PINS)]),
        Given::new(&format!("{quarantine}timeout_ms = 1000\n"), ALL, &[("files", PINS)]),
    );
    let swapped =
        Definition::read(r#"{"name":"read","description":"another","inputSchema":{"type":"object"}}"#).unwrap();
    let offers = BTreeMap::from([("files".to_owned(), BTreeMap::from([("read".to_owned(), swapped)]))]);
    let observed = Observed { principals: vec![principal("bot", &[])], offers, calls: Vec::new() };
    let read =
        access::ruling(new.side(), &observed.principals[0], "files", policy::Action::CallTool("read"), &observed);
    assert_eq!((read.access, read.why.as_str()), (Access::Denied, "its definition is not pinned"));
    assert!(plan(Some(old.side()), new.side(), &observed).access.is_empty(), "it is so before and after");
}

#[test]
fn users_are_told_apart_only_where_a_policy_does() {
    let pins = [("files", PINS)];
    let (all, readers) = (Given::new(SERVER, ALL, &pins), Given::new(SERVER, READERS, &pins));
    let bob = Principal { user: "bob".to_owned(), ..principal("bot", &[]) };
    let observed = Observed { principals: vec![principal("bot", &[]), bob.clone()], ..Observed::default() };
    let changes = plan(Some(all.side()), readers.side(), &observed).access;
    assert_eq!(changes[0].principals[0].user, "any of 2");
    let ann = Given::new(
        SERVER,
        r#"@id("ann") permit (principal, action, resource) when { principal.user == "ann" };"#,
        &pins,
    );
    let changes = plan(Some(all.side()), ann.side(), &observed).access;
    assert_eq!(changes[0].principals, [bob]);
}

#[test]
fn past_calls_are_judged_again() {
    let pins = [("files", PINS)];
    let (all, readers) = (Given::new(SERVER, ALL, &pins), Given::new(SERVER, READERS, &pins));
    let drafts = r#"@id("some") permit (principal, action == Action::"files/write", resource) when { context.arguments.path like "drafts/*" };"#;
    let some = Given::new(SERVER, drafts, &pins);
    let replayed = |live: &Given, new: &Given, calls: &[Call]| {
        let observed = Observed { calls: calls.to_vec(), ..Observed::default() };
        let replay = plan(Some(live.side()), new.side(), &observed).replay;
        assert_eq!(replay.calls, calls.len() as u64);
        replay.changed.iter().map(|one| (one.was, one.now, one.target.clone().unwrap(), one.count)).collect::<Vec<_>>()
    };
    let by_live =
        |given: &Given, was| [call("bot", "read", was, &given.bundle.id), call("bot", "write", was, &given.bundle.id)];
    let write = |was, now| vec![(was, now, "write".to_owned(), 1)];
    assert_eq!(replayed(&all, &readers, &by_live(&all, Was::Allowed)), write(Was::Allowed, Access::Denied));
    assert_eq!(replayed(&readers, &all, &by_live(&readers, Was::Denied)[1..]), write(Was::Denied, Access::Allowed));
    assert_eq!(replayed(&all, &some, &by_live(&all, Was::Allowed)[1..]), write(Was::Allowed, Access::Depends));
    // What an older configuration denied and the live one allows is no effect of this change.
    assert!(
        replayed(
            &all,
            &Given::new(&format!("{SERVER}timeout_ms = 1000\n"), ALL, &pins),
            &[call("bot", "write", Was::Denied, "older")]
        )
        .is_empty()
    );
    // The same policies give the same answer to the same arguments.
    let same = Given::new(&format!("{SERVER}timeout_ms = 1000\n"), drafts, &pins);
    assert!(replayed(&some, &same, &by_live(&some, Was::Denied)[1..]).is_empty());
    let two = [call("bot", "write", Was::Allowed, &all.bundle.id), call("bot", "write", Was::Allowed, &all.bundle.id)];
    assert_eq!(replayed(&all, &readers, &two)[0].3, 2, "calls that are alike are one line");
}

#[test]
fn the_first_configuration_changes_everything() {
    let first = Given::new(SERVER, ALL, &[("files", PINS)]);
    let plan = plan(None, first.side(), &Observed::default());
    let added: Vec<(&str, Kind)> = plan.settings.iter().map(|one| (one.of.as_str(), one.kind)).collect();
    assert_eq!(added, [("gateway", Kind::Added), ("server `files`", Kind::Added)]);
    assert_eq!((plan.policies[0].lines_added, plan.pins.len(), plan.live), (1, 2, None));
}

#[test]
fn an_endpoint_comes_and_changes() {
    let endpoint = |keys: &str| {
        let text = format!("{SERVER}[[endpoints]]\nname = \"drafts\"\nservers = [\"files\"]\n{keys}");
        Given::new(&text, "", &[])
    };
    let (without, old, new) = (Given::new(SERVER, "", &[]), endpoint(""), endpoint("scopes = [\"drafts\"]"));
    let said = |one: &Given, other: &Given| plan(Some(one.side()), other.side(), &Observed::default()).settings;
    let added = said(&without, &old);
    assert_eq!((added.len(), added[0].of.as_str(), added[0].kind), (1, "endpoint `@drafts`", Kind::Added));
    let changed = said(&old, &new);
    assert_eq!((changed[0].keys[0].key.as_str(), changed[0].keys[0].old.as_ref()), ("scopes", None));
}

#[test]
fn limits_tighten_and_loosen() {
    let limit =
        |text: &str| Given::new(&format!("{SERVER}[[prices]]\nserver = \"files\"\nper_call = 1\n{text}"), "", &[]);
    let old = limit(
        "[[limits]]\nby = [\"agent\", \"tool\"]\nrequests_per_minute = 60\nmoney_per_day = 2.5\n[[limits]]\nby = [\"tenant\"]\ntokens_per_day = 5\n",
    );
    let new = limit(
        "[[limits]]\nby = [\"tool\", \"agent\"]\nrequests_per_minute = 30\nmoney_per_day = 3\ntokens_per_minute = 9\n",
    );
    let plan = plan(Some(old.side()), new.side(), &Observed::default());
    let said: Vec<String> = plan
        .limits
        .iter()
        .map(|one| format!("{:?} {} {} {:?} {:?}", one.effect, one.by.join("+"), one.amount, one.old, one.new))
        .collect();
    assert_eq!(
        said,
        [
            "Tighter agent+tool requests_per_minute Some(60) Some(30)",
            "Tighter agent+tool tokens_per_minute None Some(9)",
            "Looser agent+tool money_per_day Some(2500000) Some(3000000)",
            "Looser tenant tokens_per_day Some(5) None",
        ]
    );
}

#[test]
fn those_the_configuration_names_are_planned_for_without_a_record() {
    let policies = r#"@id("a") permit (principal == Agent::"globex/support", action, resource); permit (principal in Tenant::"acme", action, resource);"#;
    let given = Given::new(SERVER, policies, &[]);
    let known = BTreeSet::from([Principal { tenant: "acme".to_owned(), ..principal("bot", &[]) }]);
    let all = principals::with_named(known, &[&given.raw]);
    let names: Vec<String> = all.iter().map(|one| format!("{}/{}", one.tenant, one.agent)).collect();
    assert_eq!(names, ["acme/bot", "globex/support"]);
    let nobody = principals::with_named(BTreeSet::new(), &[&given.raw]);
    assert!(nobody.iter().any(|one| one.tenant == "acme" && one.agent == "*"));
}
