//! Which configuration is in force? The last one that held together, looked up again every half minute.

use std::rc::Rc;

use futures_util::future::join;
use registry::{
    Release,
    release::{self, Command, Live, Reply},
};

use crate::{
    apart::apart,
    config::{self, Bundle, Config},
    memory,
    platform::{Failed, Platform},
    serve::Gateway,
};

/// There is no configuration to run on yet. The text is for anyone; what is wrong goes to the operator's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoConfig {
    #[error("the gateway has no configuration yet; an operator has to push one")]
    Absent,
    #[error("the gateway's configuration cannot be used; its operator finds the reason in the log")]
    Unusable(String),
}

impl<P: Platform> Gateway<P> {
    /// The configuration in force. A stale one is used while a newer one is looked for beside the request.
    pub(crate) async fn config(&self) -> Result<Rc<Config>, NoConfig> {
        let now = self.platform.now();
        let live = self.memory.0.borrow().live.clone();
        let Some(live) = live else { return apart(self.refresh(None)).await };
        if now.millis_since(live.checked) >= CHECK_MS {
            self.set_live(Rc::clone(&live.config));
            let (gateway, config) = (self.clone(), Rc::clone(&live.config));
            self.platform.defer(async move {
                // The one in force stays when the newer one is unusable.
                let _ = gateway.refresh(Some(config)).await;
            });
        }
        Ok(live.config)
    }

    /// Looks for a newer configuration; why there is none to run on goes to the operator's log.
    pub(crate) async fn refresh(&self, current: Option<Rc<Config>>) -> Result<Rc<Config>, NoConfig> {
        self.load(current).await.inspect_err(|failure| match failure {
            NoConfig::Absent => self.platform.log(&format!("configuration: {failure}")),
            NoConfig::Unusable(reason) => self.platform.log(&format!("configuration: {reason}")),
        })
    }

    async fn load(&self, current: Option<Rc<Config>>) -> Result<Rc<Config>, NoConfig> {
        let unusable = |reason: String| NoConfig::Unusable(reason);
        let id = self.in_force().await.map_err(|error| unusable(error.to_string()))?;
        let id = id.ok_or(NoConfig::Absent)?.id;
        if let Some(current) = current.filter(|config| config.bundle == id) {
            return Ok(current);
        }
        let (bundle_key, checked_key) = (config::key(&id), config::checked_key(&id));
        let (json, checked) = join(self.platform.read(&bundle_key), self.platform.read(&checked_key)).await;
        let json = json.map_err(|error| unusable(error.to_string()))?;
        let raw = Bundle::open(&id, &json.ok_or(NoConfig::Absent)?).map_err(unusable)?;
        let is_checked = checked.is_ok_and(|by| by.as_deref() == Some(config::CHECKS));
        let config = if is_checked { raw.reopen(&id) } else { raw.validate(&id) };
        let config = config
            .map_err(|problems| unusable(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))?;
        let config = Rc::new(config);
        if !is_checked {
            let gateway = self.clone();
            // Where this fails, the next isolate checks it again.
            self.platform.defer(async move { drop(gateway.platform.write(&checked_key, config::CHECKS).await) });
        }
        self.set_live(Rc::clone(&config));
        Ok(config)
    }

    /// Which bundle is in force: the one that was put there last, through the gateway or in the store.
    pub(crate) async fn in_force(&self) -> Result<Option<Live>, Failed> {
        let pointer = self.platform.read(config::LIVE_KEY).await?;
        let released = match self.tell::<Release>(RELEASE, &Command::Read).await? {
            Reply::Live(released) => released,
            Reply::Conflict { .. } | Reply::Refused(_) => None,
        };
        Ok(release::in_force(pointer.as_deref(), released, self.platform.now()))
    }

    fn set_live(&self, config: Rc<Config>) {
        let mut memory = self.memory.0.borrow_mut();
        // Tokens and keys count only under the configuration they were verified by.
        if memory.live.as_ref().is_none_or(|live| live.config.bundle != config.bundle) {
            memory.verified.clear();
            memory.arrivals.clear();
            memory.keys.clear();
            memory.offers.clear();
            memory.expected.clear();
        }
        memory.live = Some(memory::Live { config, checked: self.platform.now() });
    }
}

const CHECK_MS: u64 = 20_000;
/// The one release of a deployment.
pub(crate) const RELEASE: &str = "live";
