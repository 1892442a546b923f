//! Where does a scenario run? On a stage: it opens gateways in memory, on workerd, or on Spin.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde_json::Value;
use tokio::{runtime, task::LocalSet, time::timeout};

use crate::{
    client::{Answer, Client},
    faulty::{self, FAULTS, Upstream},
    fixture::Shared,
    issuer::Token,
    memory::Deployment,
    redis::Redis,
    setup::{Keeping, Setup},
    spin::Spin,
    workerd::Workerd,
};

/// The platform a scenario runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// In this process.
    Memory,
    /// The built Worker in workerd.
    Workerd,
    /// The built component in Spin.
    Spin,
}

/// A gateway that serves.
pub enum Gateway {
    /// In this process.
    Memory(Deployment),
    /// The built Worker in workerd.
    Workerd(Arc<Workerd>),
    /// The built component in Spin.
    Spin(Arc<Spin>),
}

/// Runs `scenario` to its end.
pub fn run<F: Future<Output = ()>>(stage: Stage, scenario: impl FnOnce(Stage) -> F) {
    if stage == Stage::Spin {
        Spin::prepare();
    }
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = LocalSet::new().block_on(&runtime, async { timeout(SCENARIO_MAX, scenario(stage)).await });
    ended.unwrap_or_else(|_| panic!("the scenario did not end within {} s", SCENARIO_MAX.as_secs()));
}

impl Stage {
    /// A gateway with every shared server behind it: `one`, `json`, `pair` (two instances), `modern` (no sessions), `both`
    /// (with and without), `theirs` (another tenant's), `scoped` (wants the scope `tools:call`), `guarded` (wants a secret),
    /// and one for each fault. On workerd and on Spin it is shared by all scenarios: they must do it no harm.
    pub async fn common(self) -> Gateway {
        match self {
            Self::Memory => self.open(common()).await,
            Self::Workerd => {
                static COMMON: OnceLock<Arc<Workerd>> = OnceLock::new();
                Gateway::Workerd(Arc::clone(
                    COMMON.get_or_init(|| Arc::new(Workerd::start(&common(), Keeping::Nothing))),
                ))
            }
            Self::Spin => {
                static COMMON: OnceLock<Arc<Spin>> = OnceLock::new();
                let start = || Arc::new(Spin::start(&common().isolates(1), Keeping::Nothing));
                Gateway::Spin(Arc::clone(COMMON.get_or_init(start)))
            }
        }
    }

    /// A gateway of the scenario's own.
    pub async fn open(self, setup: Setup) -> Gateway {
        match self {
            Self::Memory => Gateway::Memory(Deployment::open(&setup).await),
            Self::Workerd => Gateway::Workerd(Arc::new(Workerd::start(&setup, Keeping::Everything))),
            Self::Spin => Gateway::Spin(Arc::new(Spin::start(&setup, Keeping::Everything))),
        }
    }
}

impl Gateway {
    /// The public origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        match self {
            Self::Memory(deployment) => deployment.origin(),
            Self::Workerd(workerd) => workerd.origin(),
            Self::Spin(spin) => spin.origin(),
        }
    }

    /// The deployment, of a scenario that only runs in memory.
    #[must_use]
    pub fn memory(&self) -> &Deployment {
        match self {
            Self::Memory(deployment) => deployment,
            Self::Workerd(_) | Self::Spin(_) => panic!("this scenario needs what only the memory platform can do"),
        }
    }

    /// The process, of a scenario that only runs on workerd.
    #[must_use]
    pub fn workerd(&self) -> &Workerd {
        match self {
            Self::Workerd(workerd) => workerd,
            Self::Memory(_) | Self::Spin(_) => panic!("this scenario needs what only workerd has"),
        }
    }

    /// The Redis that the isolates share, of a scenario that only runs on Spin.
    #[must_use]
    pub fn redis(&self) -> &Redis {
        match self {
            Self::Spin(spin) => spin.redis(),
            Self::Memory(_) | Self::Workerd(_) => panic!("this scenario needs what only Spin has"),
        }
    }

    /// Where each isolate can be reached.
    #[must_use]
    pub fn isolates(&self) -> Vec<String> {
        match self {
            Self::Memory(deployment) => deployment.authorities().map(str::to_owned).collect(),
            Self::Workerd(_) => vec![self.authority().to_owned()],
            Self::Spin(spin) => spin.authorities().map(str::to_owned).collect(),
        }
    }

    /// Every isolate dies, and with it whatever it remembered; what is stored stays. On workerd and on Spin the
    /// whole runtime is killed and started again.
    pub fn restart(&self) {
        match self {
            Self::Memory(deployment) => deployment.restart(),
            Self::Workerd(workerd) => workerd.restart(),
            Self::Spin(spin) => spin.restart(),
        }
    }

    /// Everything that is stored, as one text: what must not be in it can be looked for.
    #[must_use]
    pub fn stored(&self) -> String {
        match self {
            Self::Memory(deployment) => deployment.objects().dump(),
            Self::Workerd(workerd) => workerd.stored(),
            Self::Spin(spin) => spin.stored(),
        }
    }

    /// Does what is due, on a platform that is not woken by itself and was opened with `key` as [`TICK_KEY`].
    pub async fn tick(&self, key: &str) -> Option<Answer> {
        match self {
            Self::Memory(_) | Self::Workerd(_) => None,
            Self::Spin(_) => {
                let request = self.client().exact("POST", TICK_PATH);
                Some(request.header("authorization", &format!("Bearer {key}")).send().await)
            }
        }
    }

    /// A client without a token that calls no server yet.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::at(self.authority())
    }

    /// A client of `server` with a token for the whole gateway, of a caller nobody else is.
    #[must_use]
    pub fn caller(&self, server: &str) -> Client {
        self.caller_with(server, &self.token())
    }

    /// A client of `server` with `token`.
    #[must_use]
    pub fn caller_with(&self, server: &str, token: &Token) -> Client {
        self.client().server(server).token(token.text())
    }

    /// A good token for the whole gateway, of a caller nobody else is.
    #[must_use]
    pub fn token(&self) -> Token {
        Token::fresh(self.origin())
    }

    /// The rows of the chain of `token`'s tenant, once `until` is content with their entries.
    pub async fn audit(&self, token: &Token, until: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        for _ in 0..POLLS {
            let rows = self.audit_rows(token).await;
            let entries: Vec<Value> = rows.iter().map(|row| row["entry"].clone()).collect();
            if until(&entries) {
                return entries;
            }
            tokio::time::sleep(POLL).await;
        }
        panic!("the record never came to that: {:#?}", self.audit_rows(token).await);
    }

    /// The rows of the chain of `token`'s tenant, as they are.
    pub async fn audit_rows(&self, token: &Token) -> Vec<Value> {
        let path = format!("/api/audit/{}", token.tenant());
        let request = self.client().exact("GET", &path).header("authorization", &format!("Bearer {}", token.text()));
        let answer = request.send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["rows"].as_array().unwrap().clone()
    }

    fn authority(&self) -> &str {
        self.origin().strip_prefix("http://").unwrap()
    }
}

/// Resolves once `condition` holds; fails when it never does.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..POLLS {
        if condition().await {
            return;
        }
        tokio::time::sleep(POLL).await;
    }
    panic!("it never came to that: {what}");
}

fn common() -> Setup {
    let Shared { one, json, pair: [pair_0, pair_1], modern, both } = Shared::running();
    let setup = Setup::new()
        .isolates(2)
        .secret("UPSTREAM_SECRET", UPSTREAM_SECRET)
        .server("one", &[&one.url])
        .server("json", &[&json.url])
        .server("pair", &[&pair_0.url, &pair_1.url])
        .server("modern", &[&modern.url])
        .server("both", &[&both.url])
        .server_with("theirs", &[&one.url], |server| server.tenants = Some(vec!["somebody-else".to_owned()]))
        .server_with("scoped", &[&one.url], |server| server.scopes = vec!["tools:call".to_owned()])
        .server_with("guarded", &[&one.url], |server| server.secret = Some("UPSTREAM_SECRET".to_owned()));
    let setup = setup.server("nobody-listens", &["http://127.0.0.1:1/mcp"]);
    let faulty = Upstream::shared();
    FAULTS.iter().fold(setup, |setup, fault| {
        setup.server_with(fault, &[&faulty.url(fault)], |server| {
            // Each scenario is to see the fault, however many saw it before.
            (server.breaker.consecutive_failures, server.breaker.min_requests) = (1_000, 10_000);
            if faulty::is_silent(fault) {
                server.timeout_ms = SILENCE_MAX_MS;
            }
        })
    })
}

/// What the server `guarded` is sent as bearer token.
pub const UPSTREAM_SECRET: &str = "the-gateways-own-secret";
/// The secret of whoever may [`Gateway::tick`].
pub const TICK_KEY: &str = "TURNPIKE_TICK_KEY";
/// Where that is asked for.
pub const TICK_PATH: &str = "/-/tick";
/// How long an upstream that is silent on purpose may be.
pub const SILENCE_MAX_MS: u64 = 1_500;
const SCENARIO_MAX: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);
const POLLS: u32 = 400;
