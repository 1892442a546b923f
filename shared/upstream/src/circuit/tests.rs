use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000 + millis)
}

fn circuit() -> Circuit {
    Circuit::new(Tolerance::within(Duration::from_secs(30)))
}

fn go(admit: Admit) -> Pass {
    match admit {
        Admit::Go(pass) => pass,
        other => panic!("{other:?}"),
    }
}

fn request(circuit: &mut Circuit, outcome: Outcome, now: Timestamp) -> Option<Command> {
    let pass = go(circuit.admit(now, 0));
    circuit.record(pass, outcome, now, 0)
}

/// A circuit that opened at 0, as the breaker confirmed, for 5 s.
fn opened() -> Circuit {
    let mut circuit = circuit();
    let commands: Vec<Option<Command>> = (0..5).map(|_| request(&mut circuit, Outcome::Failed, at(0))).collect();
    let report = commands[4].unwrap();
    assert_eq!(commands[..4], [None; 4]);
    assert_eq!(report, Command::Report { failed_at: at(0), open_ms: 5_000, random: 0 });
    assert_eq!(circuit.accept(&report, Reply::Open { retry_after_ms: 5_000 }, at(0)), shut(5_000));
    circuit
}

/// Asks whether it is the probe, as `token`.
fn ask(circuit: &mut Circuit, token: u64, now: Timestamp) -> Command {
    match circuit.admit(now, token) {
        Admit::Ask(command) => command,
        other => panic!("{other:?}"),
    }
}

fn shut(retry_after_ms: u64) -> Admit {
    Admit::Open { retry_after_ms }
}

#[test]
fn what_blames_the_request_is_no_failure_of_the_instance() {
    let failed = |status, readable| Outcome::of_answer(status, readable) == Outcome::Failed;
    assert!([502, 503, 504].into_iter().all(|status| failed(status, Readable::Yes)));
    assert!([500, 501, 502, 520, 599].into_iter().all(|status| failed(status, Readable::No)));
    assert!(![200, 202, 302, 400, 401, 404, 429, 500, 501].into_iter().any(|status| failed(status, Readable::Yes)));
    assert!(![200, 400, 404, 429].into_iter().any(|status| failed(status, Readable::No)));
}

#[test]
fn failures_in_a_row_open_it_and_an_answer_between_begins_anew() {
    let mut circuit = circuit();
    for outcome in [Outcome::Failed, Outcome::Failed, Outcome::Failed, Outcome::Failed, Outcome::Answered] {
        assert_eq!(request(&mut circuit, outcome, at(0)), None);
    }
    assert_eq!(request(&mut circuit, Outcome::Failed, at(0)), None);
    assert_eq!(opened().admit(at(1), 0), shut(4_999));
}

#[test]
fn half_of_enough_requests_open_it_and_few_or_old_ones_do_not() {
    let alternate = |gap_ms: u64, requests: u64| {
        let mut circuit = circuit();
        (0..requests).any(|number| {
            let outcome = if number % 2 == 1 { Outcome::Failed } else { Outcome::Answered };
            request(&mut circuit, outcome, at(number * gap_ms)).is_some()
        })
    };
    assert!(!alternate(10, 9));
    assert!(alternate(10, 10));
    assert!(!alternate(2_000, 200), "the window holds five of them");
}

#[test]
fn the_probe_closes_it_or_shuts_it_again() {
    let mut circuit = opened();
    let command = ask(&mut circuit, 7, at(5_000));
    assert_eq!(command, Command::Probe { token: 7, lease_ms: 35_000 });
    assert_eq!(circuit.admit(at(5_000), 8), shut(1_000), "one asks at a time");
    let probe = go(circuit.accept(&command, Reply::Probe { token: 7, lease_ms: 35_000 }, at(5_001)));
    assert_eq!(circuit.admit(at(5_002), 8), shut(1_000), "one probes at a time");

    let failed = circuit.record(probe, Outcome::Failed, at(5_003), 0).unwrap();
    assert_eq!(failed, Command::Failed { token: 7, open_ms: 5_000, random: 0 });
    assert_eq!(circuit.accept(&failed, Reply::Open { retry_after_ms: 10_000 }, at(5_003)), shut(10_000));

    let command = ask(&mut circuit, 9, at(15_003));
    let probe = go(circuit.accept(&command, Reply::Probe { token: 9, lease_ms: 35_000 }, at(15_003)));
    assert_eq!(circuit.record(probe, Outcome::Answered, at(15_004), 0), Some(Command::Passed { token: 9 }));
    let _ = go(circuit.admit(at(15_004), 0));
}

#[test]
fn what_others_found_out_is_taken_over() {
    let mut circuit = opened();
    let command = ask(&mut circuit, 7, at(5_000));
    assert_eq!(circuit.accept(&command, Reply::Open { retry_after_ms: 20_000 }, at(5_000)), shut(20_000));
    let command = ask(&mut circuit, 8, at(25_000));
    let _ = go(circuit.accept(&command, Reply::Closed, at(25_000)));
    let _ = go(circuit.admit(at(25_000), 0));
    assert_eq!(circuit.accept(&Command::Look, Reply::Open { retry_after_ms: 3_000 }, at(26_000)), shut(3_000));
}

#[test]
fn an_answer_to_an_earlier_question_does_not_undo_what_is_known_since() {
    let mut circuit = opened();
    assert_eq!(circuit.accept(&Command::Look, Reply::Closed, at(1)), shut(4_999));
    let command = ask(&mut circuit, 7, at(5_000));
    let probe = go(circuit.accept(&command, Reply::Probe { token: 7, lease_ms: 35_000 }, at(5_000)));
    assert_eq!(circuit.accept(&Command::Look, Reply::Open { retry_after_ms: 9 }, at(5_001)), shut(1_000));
    let _ = circuit.record(probe, Outcome::Answered, at(5_002), 0);
    let _ = go(circuit.admit(at(5_002), 0));
}

#[test]
fn what_was_under_way_when_it_opened_counts_neither_way() {
    let mut circuit = circuit();
    let passes: Vec<Pass> = (0..20).map(|_| go(circuit.admit(at(0), 0))).collect();
    let commands = passes.into_iter().map(|pass| circuit.record(pass, Outcome::Failed, at(1), 0));
    assert_eq!(commands.flatten().count(), 1);
    assert_eq!(circuit.admit(at(2), 0), shut(4_999));
}

#[test]
fn answers_that_always_break_off_open_it() {
    let mut circuit = circuit();
    let opened = (0..10).any(|_| {
        assert_eq!(request(&mut circuit, Outcome::Answered, at(0)), None);
        circuit.broke_off(at(1), 0).is_some()
    });
    assert!(opened);
}

#[test]
fn a_lost_reply_or_a_lost_probe_shuts_nobody_out_forever() {
    let mut circuit = opened();
    let _ = ask(&mut circuit, 1, at(5_000));
    assert_eq!(circuit.admit(at(6_999), 2), shut(1));
    let command = ask(&mut circuit, 2, at(7_000));
    let _lost = go(circuit.accept(&command, Reply::Probe { token: 2, lease_ms: 35_000 }, at(7_000)));
    let _ = ask(&mut circuit, 3, at(42_000));
}

#[test]
fn an_instance_is_probed_even_if_the_breaker_cannot_be_asked() {
    let mut circuit = opened();
    let _ = ask(&mut circuit, 1, at(5_000));
    let probe = go(circuit.unasked(at(5_001), 1));
    assert_eq!(circuit.unasked(at(5_001), 2), shut(1_000), "one at a time");
    let report = circuit.record(probe, Outcome::Failed, at(5_002), 0);
    assert_eq!(report, Some(Command::Report { failed_at: at(5_002), open_ms: 5_000, random: 0 }));
    let _ = ask(&mut circuit, 3, at(10_002));
    let probe = go(circuit.unasked(at(10_002), 3));
    assert_eq!(circuit.record(probe, Outcome::Answered, at(10_003), 0), None);
    let _ = go(circuit.admit(at(10_003), 0));
}

#[test]
fn a_clock_that_steps_back_does_not_keep_it_open() {
    let mut circuit = opened();
    let back = Timestamp::from_millis(1_000_000);
    assert_eq!(circuit.admit(back, 0), shut(breaker::OPEN_MAX_MS));
    let _ = ask(&mut circuit, 1, back.plus_millis(breaker::OPEN_MAX_MS));
}

#[test]
fn the_breaker_is_looked_at_when_in_doubt_and_seldom_otherwise() {
    let mut circuit = circuit();
    let mut looks = 0;
    for number in 0..1_000 {
        assert_eq!(request(&mut circuit, Outcome::Answered, at(number * 100)), None);
        looks += usize::from(circuit.due(at(number * 100)).is_some());
    }
    assert!((15..=20).contains(&looks), "every five seconds of a hundred: {looks}");
    for number in 0..10 {
        assert_eq!(request(&mut circuit, Outcome::Answered, at(200_000 + number * 60_000)), None);
        let due = circuit.due(at(200_000 + number * 60_000));
        assert!(number == 0 || due.is_none(), "a rarely used instance costs nothing");
    }
    request(&mut circuit, Outcome::Failed, at(900_000));
    assert_eq!(circuit.due(at(900_000)), Some(Command::Look));
    request(&mut circuit, Outcome::Failed, at(900_001));
    assert_eq!(circuit.due(at(900_002)), None);
    assert_eq!(circuit.due(at(901_001)), Some(Command::Look));
}

proptest! {
    #[test]
    fn it_opens_as_its_tolerance_says(outcomes in prop::collection::vec(any::<bool>(), 0..60)) {
        let mut circuit = circuit();
        let (mut failures, mut in_a_row) = (0_u32, 0);
        for (number, fails) in outcomes.into_iter().enumerate() {
            let outcome = if fails { Outcome::Failed } else { Outcome::Answered };
            failures += u32::from(fails);
            in_a_row = if fails { in_a_row + 1 } else { 0 };
            let requests = number as u32 + 1;
            let too_much = fails && (in_a_row >= 5 || (requests >= 10 && failures * 2 >= requests));
            let command = request(&mut circuit, outcome, at(0));
            prop_assert_eq!(command.is_some(), too_much);
            if too_much {
                break;
            }
        }
    }
}
