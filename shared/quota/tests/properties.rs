//! Is a limit kept whoever crashes when, whatever is lost or late, and however clocks disagree?

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod world;

use std::rc::Rc;

use proptest::prelude::*;
use quota::lease::{Amount, Caps, Toll};
use world::{Rules, START, Wish, World};

/// Some minutes of some isolates.
#[derive(Clone, Debug)]
struct Story {
    seed: u64,
    isolates: usize,
    caps: [Caps; 2],
    rules: Rules,
    calls: Vec<(u64, usize, u64, u64)>,
    crashes: Vec<(u64, usize)>,
    /// When an isolate's clock steps forward, and by how much.
    steps: Vec<(u64, usize, u64)>,
}

fn story() -> impl Strategy<Value = Story> {
    let caps = || {
        (prop::option::of(1_u32..300), prop::option::of(1_u64..20_000)).prop_map(|(requests, tokens)| Caps {
            requests_per_minute: requests.or_else(|| tokens.is_none().then_some(60)),
            tokens_per_minute: tokens,
            ..Caps::default()
        })
    };
    let host_step = || (0_u64..120_000, prop_oneof![Just(0_u64), 0_u64..90_000]).prop_map(|(at, by)| (START + at, by));
    let lost = prop_oneof![Just(0_u64), 3_u64..30];
    let rules = (1_u64..3_000, lost, 0_u64..100_000, [host_step(), host_step()]).prop_map(
        |(transit_max_ms, lost, skew_ms, host_steps)| Rules {
            transit_max_ms,
            lost,
            patience_ms: 5_000,
            skew_ms,
            host_steps,
        },
    );
    let calls = prop::collection::vec((0_u64..400, 0_usize..6, 0_u64..400, 1_u64..3_000), 1..600);
    let crashes = prop::collection::vec((0_u64..120_000, 0_usize..6), 0..12);
    let steps = prop::collection::vec((0_u64..120_000, 0_usize..6, 0_u64..90_000), 0..4);
    (any::<u64>(), 1_usize..6, [caps(), caps()], rules, calls, crashes, steps).prop_map(
        |(seed, isolates, caps, rules, calls, crashes, steps)| Story {
            seed,
            isolates,
            caps,
            rules,
            calls,
            crashes,
            steps,
        },
    )
}

fn tell(story: &Story) -> World {
    let mut world = World::new(story.isolates, story.seed, story.rules);
    let tolls = |n: u64| -> Rc<Vec<Toll>> {
        let toll = |(name, caps): (&str, &Caps)| Toll { ledger: name.to_owned(), caps: *caps };
        Rc::new(["a", "b"].into_iter().zip(&story.caps).skip(n.is_multiple_of(3).into()).map(toll).collect())
    };
    let mut at = START;
    for (gap, place, tokens_in, tokens_out) in &story.calls {
        at += gap;
        let need = Amount { requests: 1, tokens: *tokens_in, money_micros: 0 };
        let answer = Amount { tokens: *tokens_out, ..Amount::default() };
        let wish = Wish { tolls: tolls(*gap), need, answer, takes_ms: tokens_out * 2 };
        world.call_at(at, place % story.isolates, wish);
    }
    for (at, place) in &story.crashes {
        world.crash_at(START + at, place % story.isolates);
    }
    for (at, place, by) in &story.steps {
        world.step_at(START + at, place % story.isolates, *by);
    }
    world.run(at + 20_000);
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_minute_holds_more_than_the_limit(story in story()) {
        let world = tell(&story);
        for (name, account) in &world.ledgers {
            let truth = world.truth(account, name);
            if let Some(cap) = account.caps.requests_per_minute {
                prop_assert!(truth.requests_max <= u64::from(cap), "{} of {cap}", truth.requests_max);
            }
            prop_assert_eq!(account.leased(world.now), 0, "twenty seconds after the last call");
            prop_assert_eq!(truth.unexplained, 0, "{:?} of {:?}", truth, account.caps);
        }
    }
}
