use proptest::prelude::*;

use super::*;

fn key(agent: &str, tool: Option<&str>) -> Key {
    Key { agent: agent.to_owned(), user: "ann".to_owned(), server: "files".to_owned(), tool: tool.map(str::to_owned) }
}

fn counts(calls: u64) -> Counts {
    Counts { calls, tokens_in: 10 * calls, tokens_out: 100 * calls, money_micros: 7 * calls, denied: 1, shadowed: 0 }
}

fn told(state: Used, command: Command) -> Used {
    match Usage::apply(state, command, Timestamp::from_secs(1_795_176_000)).state {
        Next::Put(state) => state,
        other => panic!("{other:?}"),
    }
}

fn account(state: Used) -> (Vec<Row>, Counts) {
    match Usage::apply(state, Command::Read, Timestamp::default()).reply {
        Reply::Account { rows, other } => (rows, other),
        Reply::Done => panic!("not an account"),
    }
}

#[test]
fn what_a_tally_gathered_is_what_the_account_says() {
    let day: Day = "2026-11-20".parse().unwrap();
    let mut tally = Tally::default();
    for (agent, tool) in [("bot", Some("read")), ("bot", None), ("bot", Some("read")), ("cat", Some("read"))] {
        tally.add("acme", day, key(agent, tool), &counts(1));
    }
    let mut taken = tally.take();
    assert!(tally.is_empty());
    let (name, command) = taken.pop().unwrap();
    assert_eq!((taken.len(), name.as_str()), (0, "2026-11-20/acme"));
    let state = told(told(Used::default(), command.clone()), command);
    let stored: Used = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
    assert_eq!(stored, state);
    let (rows, other) = account(state);
    let said: Vec<_> = rows.iter().map(|row| (row.key.agent.as_str(), row.key.tool.as_deref(), row.counts)).collect();
    let twice = |n: u64| Counts { denied: 2 * n, ..counts(2 * n) };
    assert_eq!(said, [("bot", None, twice(1)), ("bot", Some("read"), twice(2)), ("cat", Some("read"), twice(1))]);
    assert_eq!(other, Counts::default());
}

#[test]
fn a_row_reads_flat() {
    let row = serde_json::to_value(Row { key: key("bot", None), counts: counts(1) }).unwrap();
    let expected = serde_json::json!({"agent":"bot","user":"ann","server":"files","tool":null,"calls":1,"denied":1,"shadowed":0,
        "tokens_in":10,"tokens_out":100,"money_micros":7});
    assert_eq!(row, expected);
}

#[test]
fn what_does_not_fit_is_added_up_and_the_state_stays_small() {
    let mut state = Used::default();
    for batch in 0..40 {
        let rows = (0..100).map(|n| Row { key: key(&"\u{1}\"x".repeat(batch * 100 + n), None), counts: counts(1) });
        state = told(state, Command::Add { rows: rows.collect(), other: counts(1) });
    }
    assert!(serde_json::to_string(&state).unwrap().len() <= 700 * 1024);
    let (rows, other) = account(state);
    assert!(rows.len() <= ROWS_MAX);
    assert_eq!(rows.iter().map(|row| row.counts.calls).sum::<u64>() + other.calls, 4_040);
    let many = (0..3_000).map(|n| Row { key: key(&n.to_string(), None), counts: counts(1) }).collect();
    let (rows, other) = account(told(Used::default(), Command::Add { rows: many, other: Counts::default() }));
    assert_eq!((rows.len(), other.calls), (ROWS_MAX, 1_000));
}

#[test]
fn a_day_is_forgotten_in_its_time() {
    let add = Command::Add { rows: Vec::new(), other: counts(1) };
    let first = Usage::apply(Used::default(), add.clone(), Timestamp::from_millis(5));
    assert_eq!(first.alarm, Alarm::At(Timestamp::from_millis(5 + KEPT_MS)));
    let Next::Put(state) = first.state else { panic!("not kept") };
    assert_eq!(Usage::apply(state.clone(), add, Timestamp::from_millis(9)).alarm, Alarm::Keep);
    assert_eq!(Usage::apply(state, Command::Forget, Timestamp::default()).state, Next::Clear);
}

#[test]
fn no_such_day_is_refused() {
    for text in ["2026-02-30", "2026-13-01", "2026-1-1", "1969-12-31", "tomorrow", "2026-11-20T00:00", "", "-1-1-1"] {
        assert!(text.parse::<Day>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn a_day_reads_as_it_is_written(secs in 0_u64..200_000_000_000) {
        let day = Day::of(Timestamp::from_secs(secs));
        prop_assert_eq!(day.to_string().parse(), Ok(day));
        prop_assert_eq!(day.next().days_since(day), 1);
    }
}
