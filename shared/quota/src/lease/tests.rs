use std::{collections::HashMap, num::NonZeroUsize};

use machine::{Alarm, Commit, Next, Store};
use mcp::Timestamp;
use proptest::prelude::*;

use super::*;

/// A ledger as a platform keeps it: JSON in, JSON out.
#[derive(Default)]
struct Row {
    state: Option<String>,
    alarm: Option<Timestamp>,
    told: u64,
}

impl Store for Row {
    type Failure = String;

    fn load(&mut self) -> Result<Option<String>, String> {
        Ok(self.state.clone())
    }

    fn commit(&mut self, commit: Commit) -> Result<(), String> {
        match commit.state {
            Next::Keep => {}
            Next::Put(state) => self.state = Some(state),
            Next::Clear => self.state = None,
        }
        match commit.alarm {
            Alarm::Keep => {}
            Alarm::At(at) => self.alarm = Some(at),
            Alarm::Off => self.alarm = None,
        }
        Ok(())
    }
}

impl Row {
    fn tell(&mut self, command: &Command, now: Timestamp) -> Reply {
        self.told += 1;
        let command = serde_json::to_string(command).unwrap();
        serde_json::from_str(&machine::run::<Ledger>(self, &command, now).unwrap()).unwrap()
    }

    fn draw(&mut self, caps: Caps, need: Amount, wish: Amount, now: Timestamp) -> Reply {
        let draw = Some(Draw { need: Some(need), wish });
        self.tell(&Command::Exchange(Box::new(Exchange { caps, draw, ..Exchange::default() })), now)
    }

    fn leased(&self) -> usize {
        let state: serde_json::Value = serde_json::from_str(self.state.as_deref().unwrap_or("{}")).unwrap();
        state["l"].as_array().map_or(0, Vec::len)
    }
}

/// Ledgers that answer at once.
#[derive(Default)]
struct Ledgers(HashMap<String, Row>);

impl Ledgers {
    fn call(&mut self, wallet: &mut Wallet, tolls: &[Toll], need: Amount, now: Timestamp) -> Result<(), Refused> {
        match wallet.spend(tolls, need, now) {
            Spend::Granted(_) => Ok(()),
            Spend::Refused(refused) => Err(refused),
            Spend::Ask(ask) => {
                let replies = ask.errands().map(|errand| Some(self.run(errand, now))).collect();
                match wallet.finish(ask, replies, now) {
                    Verdict::Granted(_) => Ok(()),
                    Verdict::Refused(refused) => Err(refused),
                    Verdict::Unknown => panic!("all were answered"),
                }
            }
        }
    }

    fn errands(&mut self, wallet: &mut Wallet, now: Timestamp) {
        for errand in wallet.due(now) {
            let reply = self.run(&errand, now);
            wallet.accept(errand, Some(reply), now);
        }
    }

    fn run(&mut self, errand: &Errand, now: Timestamp) -> Reply {
        self.0.entry(errand.ledger.clone()).or_default().tell(&errand.command, now)
    }

    fn told(&self) -> u64 {
        self.0.values().map(|row| row.told).sum()
    }
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(NOON + millis)
}

fn requests(cap: u32) -> Caps {
    Caps { requests_per_minute: Some(cap), ..Caps::default() }
}

fn toll(ledger: &str, caps: Caps) -> Toll {
    Toll { ledger: ledger.to_owned(), caps }
}

const ONE: Amount = Amount::requests(1);

#[test]
fn the_eleventh_of_ten_a_minute_is_refused_wherever_it_comes_and_admitted_when_promised() {
    let (mut ledgers, tolls) = (Ledgers::default(), [toll("agent", requests(10))]);
    let mut wallets = [Wallet::default(), Wallet::default(), Wallet::default()];
    for n in 0..10 {
        ledgers.call(&mut wallets[n % 3], &tolls, ONE, at(100 * n as u64)).unwrap();
    }
    for wallet in &mut wallets {
        let refused = ledgers.call(wallet, &tolls, ONE, at(1_000)).unwrap_err();
        assert_eq!((refused.toll, refused.dimension), (0, Dimension::RequestsPerMinute));
        assert!((59_000..=60_000).contains(&refused.retry_after_ms), "{refused:?}");
    }
    let refused = ledgers.call(&mut wallets[0], &tolls, ONE, at(1_000)).unwrap_err();
    ledgers.call(&mut wallets[2], &tolls, ONE, at(1_000 + refused.retry_after_ms)).unwrap();
}

#[test]
fn a_flood_of_refused_calls_asks_once_a_second() {
    let (mut ledgers, tolls, mut wallet) = (Ledgers::default(), [toll("agent", requests(1))], Wallet::default());
    ledgers.call(&mut wallet, &tolls, ONE, at(0)).unwrap();
    for n in 0..5_000 {
        let refused = ledgers.call(&mut wallet, &tolls, ONE, at(10 + n)).unwrap_err();
        assert!((10 + n + refused.retry_after_ms) >= 60_000);
    }
    assert_eq!(ledgers.told(), 1 + 5);
}

#[test]
fn what_one_limit_refuses_the_others_have_back() {
    let (mut ledgers, mut wallet) = (Ledgers::default(), Wallet::default());
    let tolls = [toll("narrow", requests(2)), toll("wide", requests(5))];
    for _ in 0..2 {
        ledgers.call(&mut wallet, &tolls, ONE, at(0)).unwrap();
    }
    for n in 1..20 {
        assert_eq!(ledgers.call(&mut wallet, &tolls, ONE, at(n * 2_000)).unwrap_err().toll, 0);
        ledgers.errands(&mut wallet, at(n * 2_000 + 10));
    }
    for _ in 0..3 {
        ledgers.call(&mut wallet, &tolls[1..], ONE, at(40_000)).unwrap();
    }
    assert!(ledgers.call(&mut wallet, &tolls[1..], ONE, at(40_000)).is_err());
}

#[test]
fn a_busy_isolate_seldom_asks_and_an_idle_one_gives_back() {
    for (cap, per_second) in [(600, 8), (6_000, 80), (60_000, 500)] {
        let (mut ledgers, tolls, mut wallet) = (Ledgers::default(), [toll("tenant", requests(cap))], Wallet::default());
        let call = |ledgers: &mut Ledgers, wallet: &mut Wallet, now| {
            ledgers.call(wallet, &tolls, ONE, now).unwrap();
            ledgers.errands(wallet, now);
        };
        let gap = 1_000 / per_second;
        let mut now = 0;
        while now < 60_000 {
            call(&mut ledgers, &mut wallet, at(now));
            now += gap;
        }
        let (warm, mut calls) = (ledgers.told(), 0);
        while now < 180_000 {
            call(&mut ledgers, &mut wallet, at(now));
            now += gap;
            calls += 1;
        }
        let asked = ledgers.told() - warm;
        assert!(asked * 20 <= calls, "{cap} a minute: {asked} object requests for {calls} calls");
        let idle_since = now;
        while let Some(due) = wallet.due_at() {
            now = due.as_millis() - NOON;
            ledgers.errands(&mut wallet, due);
        }
        assert!(now - idle_since <= LEASE_MS, "back after {} ms", now - idle_since);
        assert_eq!(ledgers.0["tenant"].leased(), 0, "nothing is left to expire");
    }
}

#[test]
fn a_crashed_isolates_lease_counts_as_spent_when_it_expires() {
    let mut row = Row::default();
    let wish = Amount::requests(100);
    let Reply::Counted { lease: Some(lease), .. } = row.draw(requests(100), ONE, wish, at(0)) else {
        panic!("no lease")
    };
    let left = 100 - 1 - lease.amount.requests;
    for _ in 0..left {
        assert!(matches!(row.draw(requests(100), ONE, Amount::default(), at(1)), Reply::Counted { .. }));
    }
    let refused = row.draw(requests(100), Amount::requests(left + 2), Amount::default(), at(5_000));
    let Reply::Refused { retry_after_ms, .. } = refused else { panic!("{refused:?}") };
    // All that was spent at once is over after a minute, the lease a minute after its end.
    assert!((LEASE_MS + 60_000..=LEASE_MS + 63_000).contains(&(5_000 + retry_after_ms)), "{retry_after_ms}");
    let retried = row.draw(requests(100), Amount::requests(left + 2), Amount::default(), at(5_000 + retry_after_ms));
    assert!(matches!(retried, Reply::Counted { .. }));
}

#[test]
fn a_lost_reply_costs_what_was_asked_for_and_no_more() {
    let (mut ledgers, tolls, mut wallet) = (Ledgers::default(), [toll("agent", requests(3))], Wallet::default());
    let Spend::Ask(ask) = wallet.spend(&tolls, ONE, at(0)) else { panic!("it holds nothing") };
    for errand in ask.errands() {
        ledgers.run(errand, at(0));
    }
    assert!(matches!(wallet.finish(ask, vec![None], at(10)), Verdict::Unknown));
    for _ in 0..2 {
        ledgers.call(&mut wallet, &tolls, ONE, at(20)).unwrap();
    }
    assert!(ledgers.call(&mut wallet, &tolls, ONE, at(30)).is_err());
}

#[test]
fn tokens_spent_beyond_a_lease_are_told_until_somebody_heard() {
    let caps = Caps { tokens_per_day: Some(1_000), ..Caps::default() };
    let (mut ledgers, tolls, mut wallet) = (Ledgers::default(), [toll("agent", caps)], Wallet::default());
    ledgers.call(&mut wallet, &tolls, ONE, at(0)).unwrap();
    wallet.settle(&tolls, Amount { tokens: 5_000, ..Amount::default() }, at(10));
    assert_eq!(wallet.due_at(), Some(at(10)));
    let mut lost = wallet.due(at(10));
    wallet.accept(lost.pop().unwrap(), None, at(20));
    ledgers.errands(&mut wallet, at(20));
    let refused = ledgers.call(&mut wallet, &tolls, ONE, at(30)).unwrap_err();
    assert_eq!((refused.dimension, refused.retry_after_ms), (Dimension::TokensPerDay, 12 * 3_600_000 - 30));
    let midnight = at(12 * 3_600_000);
    ledgers.call(&mut wallet, &tolls, ONE, midnight).unwrap();
}

#[test]
fn money_is_spent_until_nothing_is_left_and_returns_with_the_month() {
    let caps = Caps { money_per_month_micros: Some(50_000), ..Caps::default() };
    let (mut ledgers, tolls, mut wallet) = (Ledgers::default(), [toll("agent", caps)], Wallet::default());
    let need = Amount { requests: 1, tokens: 0, money_micros: 10_000 };
    for n in 0..5 {
        ledgers.call(&mut wallet, &tolls, need, at(n * 1_000)).unwrap();
        ledgers.errands(&mut wallet, at(n * 1_000));
    }
    let refused = ledgers.call(&mut wallet, &tolls, need, at(8_000)).unwrap_err();
    assert_eq!(refused.dimension, Dimension::MoneyPerMonth);
    let december = Timestamp::from_secs(1_796_083_200);
    assert_eq!(at(8_000).plus_millis(refused.retry_after_ms), december);
    ledgers.call(&mut wallet, &tolls, need, december).unwrap();
}

#[test]
fn a_wallet_that_is_full_gives_back_what_it_forgets() {
    let mut wallet = Wallet::new(NonZeroUsize::new(1).unwrap(), Leases::Drawn);
    let (mut ledgers, tolls) = (Ledgers::default(), [toll("a", requests(1_000))]);
    for n in 0..20 {
        ledgers.call(&mut wallet, &tolls, ONE, at(n)).unwrap();
        ledgers.errands(&mut wallet, at(n));
    }
    assert_eq!(ledgers.0["a"].leased(), 1);
    ledgers.call(&mut wallet, &[toll("b", requests(1_000))], ONE, at(30)).unwrap();
    ledgers.errands(&mut wallet, at(31));
    assert_eq!(ledgers.0["a"].leased(), 0);
}

#[test]
fn where_nothing_is_leased_all_of_a_limit_is_admitted_however_many_isolates_there_are() {
    let (mut ledgers, tolls) = (Ledgers::default(), [toll("a", requests(100))]);
    let new = || Wallet::new(ACCOUNTS_MAX, Leases::None);
    let mut wallets: Vec<Wallet> = (0..10).map(|_| new()).collect();
    let mut admitted = 0;
    for n in 0..150_usize {
        let wallet = &mut wallets[n % 10];
        admitted += u32::from(ledgers.call(wallet, &tolls, ONE, at(n as u64)).is_ok());
        ledgers.errands(wallet, at(n as u64));
        if n % 7 == 0 {
            *wallet = new();
        }
        assert_eq!(ledgers.0["a"].leased(), 0);
    }
    assert_eq!(admitted, 100);
}

#[test]
fn a_clock_that_steps_back_spends_no_lease_any_longer() {
    let (mut ledgers, tolls, mut wallet) = (Ledgers::default(), [toll("a", requests(1_000))], Wallet::default());
    for n in 0..20 {
        ledgers.call(&mut wallet, &tolls, ONE, at(10_000 + n)).unwrap();
        ledgers.errands(&mut wallet, at(10_000 + n));
    }
    assert!(matches!(wallet.spend(&tolls, ONE, at(10_020)), Spend::Granted(_)));
    assert!(matches!(wallet.spend(&tolls, ONE, at(9_000)), Spend::Ask(_)));
}

#[test]
fn an_unused_ledger_frees_its_row() {
    let mut row = Row::default();
    row.draw(requests(10), ONE, Amount::default(), at(0));
    let alarm = row.alarm.unwrap();
    machine::wake::<Ledger>(&mut row, alarm).unwrap();
    assert_eq!((&row.state, row.alarm), (&None, None));
    row.draw(requests(10), ONE, Amount::default(), at(0));
    row.draw(requests(10), ONE, Amount::default(), at(50_000));
    machine::wake::<Ledger>(&mut row, at(60_000)).unwrap();
    assert!(row.state.is_some());
    let alarm = row.alarm.unwrap();
    assert_eq!(alarm, at(110_000));
    machine::wake::<Ledger>(&mut row, alarm).unwrap();
    assert_eq!(row.state, None);
}

#[test]
fn the_state_is_small_even_when_every_second_counts() {
    let caps = Caps {
        requests_per_minute: Some(1_000_000),
        tokens_per_minute: Some(1_000_000_000),
        tokens_per_day: Some(1_000_000_000_000),
        tokens_per_month: Some(1_000_000_000_000),
        money_per_day_micros: Some(1_000_000_000_000),
        money_per_month_micros: Some(1_000_000_000_000),
    };
    let (mut row, mut most) = (Row::default(), 0);
    let each = Amount { requests: 14_000, tokens: 14_000_000, money_micros: 1_000_000 };
    for second in 0..200 {
        row.draw(caps, each, each, at(second * 1_000 + second * 7 % 1_000));
        most = most.max(row.state.as_ref().unwrap().len());
    }
    assert!(most > 1_000 && most <= 2_048, "{most} bytes");
}

/// A dimension and a limit for it.
fn caps() -> impl Strategy<Value = Caps> {
    let tokens = || prop::option::of(1_u64..5_000);
    let tuple = (prop::option::of(1_u32..200), tokens(), tokens(), tokens(), tokens(), tokens());
    tuple.prop_map(|(requests, minute, day, month, money_day, money_month)| Caps {
        requests_per_minute: requests,
        tokens_per_minute: minute,
        tokens_per_day: day,
        tokens_per_month: month,
        money_per_day_micros: money_day,
        money_per_month_micros: money_month,
    })
}

fn amount() -> impl Strategy<Value = Amount> {
    (0_u64..20, 0_u64..300, 0_u64..300).prop_map(|(requests, tokens, money_micros)| Amount {
        requests,
        tokens,
        money_micros,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_caller_that_waits_as_told_is_admitted(
        caps in caps(),
        draws in prop::collection::vec((0_u64..7_000, amount(), amount(), amount(), any::<bool>()), 1..60),
        step_back in 0_u64..200_000,
    ) {
        let (mut row, mut now, mut leases) = (Row::default(), 400_000, Vec::new());
        for (n, (gap, need, wish, beyond, settles)) in draws.iter().enumerate() {
            now += gap;
            if n == draws.len() / 2 {
                now -= step_back;
            }
            let mut exchange = Exchange { caps, beyond: if *settles { *beyond } else { Amount::default() }, ..Exchange::default() };
            if let Some(Lease { id, amount, .. }) = leases.pop().filter(|_| *settles) {
                let used = amount.share(2);
                exchange.settled.push(Settled { lease: id, used, returned: amount.minus(used) });
            }
            exchange.draw = Some(Draw { need: Some(*need), wish: *wish });
            if let Reply::Counted { lease: Some(lease), .. } = row.tell(&Command::Exchange(Box::new(exchange)), at(now)) {
                leases.push(lease);
            }
        }
        let stored = row.state.clone();
        if let Reply::Refused { retry_after_ms, .. } = row.draw(caps, ONE, Amount::default(), at(now)) {
            let retried = row.draw(caps, ONE, Amount::default(), at(now + retry_after_ms));
            prop_assert!(matches!(retried, Reply::Counted { .. }), "{:?} after {} ms: {:?}", retried, retry_after_ms, stored);
        }
    }

    #[test]
    fn leases_and_what_is_spent_never_exceed_the_limit(
        cap in 1_u32..3_000,
        draws in prop::collection::vec((0_u64..3_000, 1_u64..50, 0_u64..500), 1..80),
    ) {
        let (mut row, mut now, mut counted) = (Row::default(), 0, Vec::new());
        for (gap, need, wish) in draws {
            now += gap;
            if let Reply::Counted { lease, .. } = row.draw(requests(cap), Amount::requests(need), Amount::requests(wish), at(now)) {
                counted.push((now, need + lease.map_or(0, |lease| lease.amount.requests)));
            }
        }
        for (start, _) in &counted {
            let inside = counted.iter().filter(|(when, _)| (*start..start + 60_000).contains(when));
            prop_assert!(inside.map(|(_, requests)| requests).sum::<u64>() <= u64::from(cap));
        }
    }
}

/// 20 November 2026, 12:00 UTC.
const NOON: u64 = 1_795_176_000_000;
