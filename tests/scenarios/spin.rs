//! Does Spin keep what has to be right, although its instances come and go? Under load, and when it is killed.

use std::{cell::RefCell, rc::Rc, time::Duration};

use audit::{Head, verify};
use futures_util::future::join_all;
use serde_json::{Value, json};
use turnpike_tests::{
    Gateway, Stage,
    client::{Answer, Modern},
    faulty::{LINGERS, Upstream},
    fixture::{Fixture, Old, Shared},
    issuer::fresh,
    setup::Setup,
    stage::{TICK_KEY, TICK_PATH, eventually},
};

use crate::{audit::chain, operate};

spin_only! {
    "Requests are spread over instances, or processes with a Redis, which share nothing but storage; elsewhere isolates hold leases.":
    exactly_a_hundred_are_admitted_ten_times_in_a_row,
    exactly_a_hundred_are_admitted_by_several_processes,
    a_kill_under_load_loses_no_record_of_what_was_answered,
    a_kill_of_two_processes_with_a_redis_loses_no_record_of_what_was_answered,
    without_its_redis_nothing_is_sent_on_or_answered;

    "Only Spin has no alarms, so that a route has to stand in for them.":
    the_tick_is_there_for_who_has_its_key,
    a_tick_does_what_is_due_without_any_other_request;

    "Only Spin is told which hosts it may reach.":
    a_host_the_manifest_does_not_allow_is_not_reached;

    "Only there a façade between the eras lives for one request.":
    what_would_have_to_wait_is_not_offered,
    a_stream_that_lingers_stops_nobody,
    the_oldest_transport_is_not_offered,
}

async fn exactly_a_hundred_are_admitted_ten_times_in_a_row(stage: Stage) {
    let (setup, path) = limited(100);
    let gateway = stage.open(setup).await;
    for round in 1..=ROUNDS {
        admitted_exactly(&gateway, &path, round).await;
    }
}

async fn exactly_a_hundred_are_admitted_by_several_processes(stage: Stage) {
    let (setup, path) = limited(100);
    let gateway = stage.open(setup.isolates(2)).await;
    assert_eq!(gateway.isolates().len(), 2);
    for round in 1..=ROUNDS {
        admitted_exactly(&gateway, &path, round).await;
    }
}

/// Fifty callers of an agent nobody else is, each with three calls, one after the other.
async fn admitted_exactly(gateway: &Gateway, path: &str, round: usize) {
    let (token, marker) = (gateway.token(), fresh("marker"));
    let isolates = gateway.isolates();
    let callers = isolates.iter().cycle().take(50).map(async |isolate| {
        let caller = gateway.caller_with("counted", &token).through(isolate).modern();
        let mut statuses = Vec::new();
        for _ in 0..3 {
            statuses.push(caller.try_call("first", json!({ "text": marker })).await.status);
        }
        statuses
    });
    let statuses = join_all(callers).await.concat();
    let count = |status| statuses.iter().filter(|one| **one == status).count();
    assert_eq!((count(200), count(429)), (100, 50), "round {round}");
    let sent = Upstream::shared().received(path).iter().filter(|one| one.body.contains(&marker)).count();
    assert_eq!(sent, 100, "round {round}: nothing that was refused was sent on");
    let is = |row: &&String, text: &str| row.contains(text);
    eventually("all is recorded", async || {
        let rows = chain(gateway, &token).await;
        let head = verify(Head::default(), rows.iter().map(String::as_str)).expect("the chain holds");
        let outcomes = rows.iter().filter(|row| is(row, r#""kind":"outcome""#)).count();
        let allowed = rows.iter().filter(|row| is(row, r#""verdict":"allowed""#)).count();
        let denied = rows.iter().filter(|row| is(row, r#""verdict":"denied""#)).count();
        assert!(allowed <= 100 && denied <= 50 && outcomes <= 100, "round {round}: {allowed} {denied} {outcomes}");
        (head.length, allowed, denied, outcomes) == (250, 100, 50, 100)
    })
    .await;
}

async fn a_kill_under_load_loses_no_record_of_what_was_answered(stage: Stage) {
    killed_under_load(stage, 1).await;
}

async fn a_kill_of_two_processes_with_a_redis_loses_no_record_of_what_was_answered(stage: Stage) {
    killed_under_load(stage, 2).await;
}

async fn killed_under_load(stage: Stage, isolates: usize) {
    let setup = Setup::new().server("modern", &[&Shared::running().modern.url]).isolates(isolates);
    let gateway = Rc::new(stage.open(setup).await);
    let token = gateway.token();
    let load = Rc::new(Load::default());
    let callers = (0..16).map(|n| {
        let authority = gateway.isolates()[n % isolates].clone();
        let caller = gateway.caller_with("modern", &token).through(&authority).modern();
        // Some are answered at once, and some are under way whenever it dies.
        let delay_ms = if n % 4 < 2 { 0 } else { 100 };
        tokio::task::spawn_local(Rc::clone(&load).go_on(caller, delay_ms))
    });
    let callers: Vec<_> = callers.collect();
    for _ in 0..3 {
        load.goes_on().await;
        let before = load.lost();
        gateway.restart();
        eventually("calls were lost with it", async || load.lost() > before).await;
    }
    load.goes_on().await;
    load.over.replace(true);
    join_all(callers).await.into_iter().for_each(|ended| ended.expect("every caller goes on to the end"));
    let rows = chain(&gateway, &token).await;
    verify(Head::default(), rows.iter().map(String::as_str)).expect("the chain holds");
    let decided: Vec<Value> =
        rows.iter().map(|row| serde_json::from_str::<Value>(row).unwrap()["entry"].take()).collect();
    for trace in &*load.answered.borrow() {
        let decisions = decided.iter().filter(|one| one["kind"] == "decision" && one["trace"] == trace.as_str());
        assert_eq!(decisions.count(), 1, "the decision of a call that was answered: {trace}");
    }
}

/// Calls without end, and what became of them.
#[derive(Default)]
struct Load {
    /// The traces of those that were answered.
    answered: RefCell<Vec<String>>,
    lost: RefCell<usize>,
    over: RefCell<bool>,
}

impl Load {
    async fn goes_on(&self) {
        let answered = || self.answered.borrow().len();
        let before = answered();
        eventually("calls are answered", async || answered() >= before + 50).await;
    }

    fn lost(&self) -> usize {
        *self.lost.borrow()
    }

    async fn go_on(self: Rc<Self>, caller: Modern, delay_ms: u64) {
        while !*self.over.borrow() {
            let trace = format!("{:032x}", rand::random::<u128>());
            let arguments = json!({ "text": "on", "delay_ms": delay_ms });
            let message = caller.message("tools/call", json!({ "name": "echo", "arguments": arguments }));
            let request = caller.post(&message).header("traceparent", &format!("00-{trace}-b7ad6b7169203331-01"));
            match request.send_if_it_lives().await {
                Some(Answer { status: 200, broken: None, .. }) => self.answered.borrow_mut().push(trace),
                Some(answer) if answer.status == 200 => *self.lost.borrow_mut() += 1,
                Some(answer) => panic!("{answer:?}"),
                None => {
                    *self.lost.borrow_mut() += 1;
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

async fn without_its_redis_nothing_is_sent_on_or_answered(stage: Stage) {
    let (setup, _) = limited(100);
    let gateway = stage.open(setup.isolates(2)).await;
    let caller = gateway.caller("counted").modern();
    let [before, without, after] = ["before", "without", "after"].map(fresh);
    assert_eq!(caller.call("first", json!({ "text": before })).await, "first");
    gateway.redis().kill();
    for isolate in gateway.isolates() {
        let caller = gateway.caller("counted").through(&isolate).modern();
        let refused = caller.try_call("first", json!({ "text": without })).await;
        assert_eq!(refused.status, 503, "{refused:?}");
    }
    assert_eq!(Upstream::shared().received_with(&without), 0);
    gateway.redis().begin();
    eventually("it goes on", async || caller.try_call("first", json!({ "text": after })).await.status == 200).await;
}

async fn the_tick_is_there_for_who_has_its_key(stage: Stage) {
    let gateway = stage.common().await;
    for header in ["Bearer x", "Bearer "] {
        let request = gateway.client().exact("POST", TICK_PATH).header("authorization", header);
        assert_eq!(request.send().await.status, 404, "without the variable there is no such route");
    }
    let gateway = stage.open(Setup::new().secret(TICK_KEY, "the-key")).await;
    assert_eq!(gateway.client().exact("POST", TICK_PATH).send().await.status, 401);
    for wrong in ["", "the-ke", "the-key2", "The-key"] {
        let refused = tick(&gateway, wrong).await;
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, "Bearer"), "{wrong}: {refused:?}");
    }
    let done = tick(&gateway, "the-key").await;
    assert_eq!((done.status, done.json()), (200, json!({ "woken": 0, "delivered": 0 })));
}

async fn a_tick_does_what_is_due_without_any_other_request(stage: Stage) {
    let fixture = Fixture::start("resting", &[]);
    let setup = Setup::new().server_with("brief", &[&fixture.url], |server| server.idle_ms = IDLE_MS);
    let gateway = stage.open(setup.secret(TICK_KEY, "the-key")).await;
    let client = gateway.caller("brief").open().await;
    // Nothing says that time has passed: what is asked of the gateway would make it look.
    tokio::time::sleep(Duration::from_millis(2 * IDLE_MS)).await;
    assert_eq!(fixture.sessions().await.len(), 1, "nobody looked");
    let done = tick(&gateway, "the-key").await.json();
    assert!(done["woken"].as_u64().unwrap() >= 1 && done["delivered"].as_u64().unwrap() >= 1, "{done}");
    assert_eq!(fixture.sessions().await, [""; 0]);
    assert_eq!(tick(&gateway, "the-key").await.json(), json!({ "woken": 0, "delivered": 0 }));
    client.request("ping", json!({})).await.refuses(404, -32001);
}

async fn a_host_the_manifest_does_not_allow_is_not_reached(stage: Stage) {
    let setup = operate::setup();
    let gateway = stage.open(setup.clone()).await;
    let path = fresh("modern~");
    let pushed = setup.server("outside", &[&Upstream::shared().url(&path)]);
    let first = operate::live(&gateway).await["id"].as_str().unwrap().to_owned();
    let answer = operate::push(&gateway, &pushed, Some(&first)).await.0;
    assert_eq!(answer.status, 200, "{answer:?}");
    let refused = gateway.caller("outside").modern().try_call("first", json!({})).await;
    assert_eq!((refused.status, refused.code()), (503, -32603), "{refused:?}");
    assert!(Upstream::shared().received(&format!("/{path}")).is_empty());
    let inside = gateway.caller("json").open().await;
    assert_eq!(inside.call("echo", json!({ "text": "on" })).await, "on");
}

async fn what_would_have_to_wait_is_not_offered(stage: Stage) {
    let gateway = stage.common().await;
    let opened = gateway.caller("modern").initialize("2025-11-25").await.reply();
    let offered = &opened["result"]["capabilities"];
    assert!(offered["tools"].is_object() && offered["resources"].is_object(), "{opened}");
    assert!(offered.get("logging").is_none() && offered["resources"].get("subscribe").is_none(), "{opened}");
    let asked = "test_input_required_result_capabilities";
    let [legacy, modern] = [gateway.caller("modern").open().await, gateway.caller("one")];
    assert_eq!(legacy.call(asked, json!({})).await, "The client can give nothing.");
    assert_eq!(modern.modern().call(asked, json!({})).await, "The client can give nothing.");
}

/// The façade takes its leave while the server's stream is still open: for seconds, and nobody in its instance waits for it.
async fn a_stream_that_lingers_stops_nobody(stage: Stage) {
    let setup = Setup::new().server("lingers", &[&Upstream::shared().url(LINGERS)]);
    let gateway = stage.open(setup).await;
    let callers = (0..8).map(async |_| {
        assert_eq!(gateway.caller("lingers").modern().call("first", json!({})).await, "first");
    });
    join_all(callers).await;
    assert_eq!(Upstream::shared().lingering(), 8, "whoever was given up was waited for");
    eventually("they are given up", async || Upstream::shared().lingering() == 0).await;
}

async fn the_oldest_transport_is_not_offered(stage: Stage) {
    let old = Old::start();
    let gateway = stage.open(Setup::new().server("old", &[&old.url])).await;
    let bearer = format!("Bearer {}", gateway.token().text());
    for (method, path) in [("GET", "/mcp/old/sse"), ("POST", "/mcp/old/messages?session=x")] {
        let request = gateway.client().exact(method, path).header("authorization", &bearer);
        let answer = request.header("accept", "text/event-stream").send().await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
    let refused = gateway.caller("old").initialize("2025-11-25").await;
    assert_eq!((refused.status, refused.code()), (502, -32603), "{refused:?}");
}

async fn tick(gateway: &Gateway, key: &str) -> Answer {
    gateway.tick(key).await.expect("there is a route for that")
}

/// With a limit for each agent, before a server that answers at once and counts what it receives at a path of its own.
fn limited(requests_per_minute: u32) -> (Setup, String) {
    let path = fresh("modern~");
    let setup = Setup::new().server("counted", &[&Upstream::shared().url(&path)]);
    (setup.limit_by_agent(requests_per_minute), format!("/{path}"))
}

const ROUNDS: usize = 10;
const IDLE_MS: u64 = 1_000;
