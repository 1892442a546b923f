use proptest::prelude::*;

use super::*;

const OPEN_MS: u64 = 5_000;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000 + millis)
}

/// A breaker and its alarm, as a host keeps them.
#[derive(Default)]
struct Host {
    state: State,
    alarm: Option<Timestamp>,
}

impl Host {
    fn tell(&mut self, command: Command, now: Timestamp) -> Reply {
        let transition = Breaker::apply(self.state.clone(), command, now);
        match transition.state {
            Next::Keep => {}
            Next::Put(state) => self.state = state,
            Next::Clear => self.state = State::default(),
        }
        match transition.alarm {
            Alarm::Keep => {}
            Alarm::At(at) => self.alarm = Some(at),
            Alarm::Off => self.alarm = None,
        }
        assert_eq!(self.alarm.is_some(), self.state != State::Untouched, "what is kept is forgotten one day");
        transition.reply
    }

    fn report(&mut self, now: Timestamp) -> Reply {
        self.tell(Command::Report { failed_at: now, open_ms: OPEN_MS, random: 0 }, now)
    }

    fn probe(&mut self, token: u64, now: Timestamp) -> Reply {
        self.tell(Command::Probe { token, lease_ms: 30_000 }, now)
    }
}

fn open(retry_after_ms: u64) -> Reply {
    Reply::Open { retry_after_ms }
}

#[test]
fn one_report_opens_it_for_all_and_the_next_ones_change_nothing() {
    let mut host = Host::default();
    assert_eq!(host.tell(Command::Look, at(0)), Reply::Closed);
    assert_eq!(host.report(at(0)), open(5_000));
    assert_eq!(host.report(at(1_000)), open(4_000));
    assert_eq!(host.tell(Command::Look, at(1_000)), open(4_000));
    assert_eq!(host.probe(1, at(4_999)), open(1));
}

#[test]
fn a_single_probe_is_let_through_and_asking_again_is_no_second_one() {
    let mut host = Host::default();
    host.report(at(0));
    let granted = Reply::Probe { token: 1, lease_ms: 30_000 };
    assert_eq!(host.probe(1, at(5_000)), granted);
    assert_eq!(host.probe(2, at(5_000)), open(ASK_AGAIN_MS));
    assert_eq!(host.probe(1, at(5_001)), granted, "its first answer was lost");
    assert_eq!(host.tell(Command::Passed { token: 2 }, at(5_002)), open(ASK_AGAIN_MS), "not the probe");
    assert_eq!(host.tell(Command::Passed { token: 1 }, at(5_003)), Reply::Closed);
    assert_eq!(host.probe(2, at(5_004)), Reply::Closed);
}

#[test]
fn whoever_dies_while_probing_blocks_nobody_for_long() {
    let mut host = Host::default();
    host.report(at(0));
    host.probe(1, at(5_000));
    assert_eq!(host.probe(2, at(34_999)), open(1));
    assert_eq!(host.probe(2, at(35_000)), Reply::Probe { token: 2, lease_ms: 30_000 });
    assert_eq!(host.tell(Command::Passed { token: 1 }, at(35_001)), open(ASK_AGAIN_MS), "it is not awaited any more");
}

#[test]
fn each_failed_probe_doubles_the_wait_up_to_a_minute_and_success_begins_anew() {
    let mut host = Host::default();
    let (mut now, mut waits) = (at(0), Vec::new());
    host.report(now);
    for token in 0..6 {
        let Reply::Open { retry_after_ms } = host.tell(Command::Look, now) else { panic!("closed") };
        waits.push(retry_after_ms);
        now = now.plus_millis(retry_after_ms);
        host.probe(token, now);
        host.tell(Command::Failed { token, open_ms: OPEN_MS, random: 0 }, now);
        let again = host.tell(Command::Failed { token, open_ms: OPEN_MS, random: 0 }, now);
        assert_eq!(again, host.tell(Command::Look, now), "said twice, counted once");
    }
    assert_eq!(waits, [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]);
    now = now.plus_millis(60_000);
    host.probe(9, now);
    host.tell(Command::Passed { token: 9 }, now);
    assert_eq!(host.report(now.plus_millis(1)), open(5_000));
}

#[test]
fn a_complaint_of_before_it_closed_does_not_open_it_again() {
    let mut host = Host::default();
    host.report(at(0));
    host.probe(1, at(5_000));
    host.tell(Command::Passed { token: 1 }, at(5_100));
    let late = Command::Report { failed_at: at(5_050), open_ms: OPEN_MS, random: 0 };
    assert_eq!(host.tell(late, at(5_200)), Reply::Closed);
    assert_eq!(host.report(at(5_201)), open(5_000));
}

#[test]
fn an_idle_breaker_frees_its_row() {
    let mut host = Host::default();
    host.report(at(0));
    assert_eq!(host.alarm, Some(at(5_000 + OPEN_KEPT_MS)));
    assert_eq!(host.tell(Command::Sweep, at(10_000)), open(0), "an early alarm is set again");
    host.tell(Command::Sweep, at(5_000 + OPEN_KEPT_MS));
    assert_eq!((host.state.clone(), host.alarm), (State::Untouched, None));
    host.report(at(0));
    host.probe(1, at(5_000));
    host.tell(Command::Passed { token: 1 }, at(5_000));
    assert_eq!(host.alarm, Some(at(5_000 + CLOSED_KEPT_MS)));
}

#[test]
fn the_jitter_takes_off_a_quarter_at_most() {
    let pauses: Vec<u64> = [0, 1, 1_249, 1_250, u64::MAX].map(|random| pause_ms(OPEN_MS, 1, random)).to_vec();
    assert_eq!(pauses[..4], [5_000, 4_999, 3_751, 5_000]);
    assert!((3_750..=5_000).contains(&pauses[4]));
    assert_eq!(pause_ms(0, 0, 7), 1, "a setting of 0 is no division by 0");
}

#[test]
fn a_row_is_small() {
    let mut host = Host::default();
    host.report(at(0));
    host.probe(u64::MAX, at(5_000));
    assert!(serde_json::to_string(&host.state).unwrap().len() < 256);
}

fn any_command() -> impl Strategy<Value = Command> {
    let token = || 0_u64..4;
    prop_oneof![
        Just(Command::Look),
        Just(Command::Sweep),
        (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(failed, open_ms, random)| Command::Report {
            failed_at: Timestamp::from_millis(failed),
            open_ms,
            random
        }),
        (token(), any::<u64>()).prop_map(|(token, lease_ms)| Command::Probe { token, lease_ms }),
        token().prop_map(|token| Command::Passed { token }),
        (token(), any::<u64>(), any::<u64>()).prop_map(|(token, open_ms, random)| Command::Failed {
            token,
            open_ms,
            random
        }),
    ]
}

proptest! {
    /// Whatever was said before, and however the clock jumped: whoever waits as told, and is let through as the probe,
    /// closes it.
    #[test]
    fn it_never_stays_open_when_probes_succeed(
        commands in prop::collection::vec((any_command(), 0_u64..200_000, any::<bool>()), 0..60),
    ) {
        let (mut host, mut millis) = (Host::default(), 10_000_000_u64);
        for (command, step_ms, backwards) in commands {
            millis = if backwards { millis.saturating_sub(step_ms * 10) } else { millis + step_ms };
            host.tell(command, Timestamp::from_millis(millis));
        }
        let mut waited_ms = 0;
        let reply = loop {
            let now = Timestamp::from_millis(millis + waited_ms);
            match host.tell(Command::Probe { token: 77, lease_ms: 1_000 }, now) {
                Reply::Open { retry_after_ms } => waited_ms += retry_after_ms.max(1),
                Reply::Probe { token, .. } => break host.tell(Command::Passed { token }, now),
                Reply::Closed => break Reply::Closed,
            }
            prop_assert!(waited_ms <= OPEN_MAX_MS + LEASE_MAX_MS);
        };
        prop_assert_eq!(reply, Reply::Closed);
    }

    #[test]
    fn there_is_one_probe_at_a_time(asks in prop::collection::vec((0_u64..6, 0_u64..4_000), 1..100)) {
        let (mut host, mut now) = (Host::default(), at(0));
        host.report(now);
        let mut probe: Option<(u64, Timestamp)> = None;
        for (token, gap_ms) in asks {
            now = now.plus_millis(gap_ms);
            if let Reply::Probe { token, lease_ms } = host.tell(Command::Probe { token, lease_ms: 3_000 }, now) {
                let other = probe.filter(|(other, until)| *other != token && now < *until);
                prop_assert_eq!(other, None, "two probes at {}", now);
                probe = Some((token, now.plus_millis(lease_ms)));
            }
        }
    }
}
