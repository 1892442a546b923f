//! Which era does a server speak? Told by its configuration, remembered, or found out by asking it.

use std::rc::Rc;

use bridge::probe::{self, Era, Known};
use mcp::{Revision, digest, jsonrpc};
use registry::{EraSetting, Server};
use serde_json::json;
use telemetry::TraceContext;
use upstream::Repeatable;

use crate::{
    alone::{Alone, mirrored},
    apart::apart,
    config::Config,
    course::{At, Client, Made},
    platform::Platform,
    refusal::Refusal,
    serve::Gateway,
};

impl<P: Platform> Gateway<P> {
    /// Where a modern request leads: to the server itself, or to the façade in front of one that is not modern.
    pub(crate) async fn at(
        &self,
        config: &Config,
        server: &Server,
        principal: &[u8; 32],
        client: &Client<'_>,
    ) -> Result<At, Refusal> {
        match self.era(config, server).await? {
            Era::Modern(_) => Ok(At::Instances),
            Era::Legacy => Ok(At::Conversation(Rc::new(Made::down(server, principal, client)?))),
        }
    }

    /// The newest era `server` speaks.
    pub(crate) async fn era(&self, config: &Config, server: &Server) -> Result<Era, Refusal> {
        match server.era {
            EraSetting::Legacy => return Ok(Era::Legacy),
            EraSetting::Modern => return Ok(Era::Modern(Revision::V2026_07_28)),
            EraSetting::Auto => {}
        }
        let now = self.platform.now();
        let known = self.memory.0.borrow().eras.get(&server.name).and_then(|known| known.at(now));
        if let Some(era) = known {
            return Ok(era);
        }
        let key = document(server);
        let stored = match self.is_doubted(server) {
            true => None,
            false => self.platform.read(&key).await.ok().flatten(),
        };
        let stored = stored.and_then(|text| serde_json::from_str::<Known>(&text).ok());
        let known = match stored.filter(|known| known.at(now).is_some()) {
            Some(known) => known,
            None => {
                let known = apart(self.probe(config, server)).await?;
                let (gateway, text) = (self.clone(), serde_json::to_string(&known).unwrap_or_default());
                self.platform.defer(async move {
                    // Another isolate asks the server itself.
                    let _ = gateway.platform.write(&key, &text).await;
                });
                known
            }
        };
        let era = known.era;
        self.memory.0.borrow_mut().eras.insert(server.name.clone(), known);
        Ok(era)
    }

    /// Asks the server: `server/discover` is answered by whoever is modern (MCP 2026-07-28 basic/versioning).
    async fn probe(&self, config: &Config, server: &Server) -> Result<Known, Refusal> {
        let trace = TraceContext::child_of(None, &self.platform.random());
        let text = probe::discover_request(PROBE_ID, &json!({ "name": "turnpike", "version": "0.1.0" }));
        let mirrored = mirrored(&jsonrpc::parse(text.as_bytes()).map_err(guard::Refused::from)?, &[])?;
        let (at, repeatable) = (&At::Instances, Repeatable::Yes);
        let sending = Alone { server, at, text: &text, mirrored, trace: &trace, repeatable, lens: None, recall: None };
        let reached = self.send_alone(config, sending).await?;
        let status = reached.answer.response.status();
        let said = match self.hear(reached.answer, 1, server.timeout).await {
            Ok(heard) => Some(heard.response().to_owned()),
            Err(Refusal::Garbage(_)) => None,
            Err(refusal) => return Err(refusal),
        };
        let known = probe::verdict(status.as_u16(), said.as_deref()).known(self.platform.now());
        known.ok_or_else(|| Refusal::Garbage(format!("it answered `server/discover` with {status}")))
    }
}

/// No caller shares the connection.
const PROBE_ID: u64 = 1;

/// Where it is remembered; other instances may speak another era.
fn document(server: &Server) -> String {
    format!("era/{}/{}", server.name, digest::hex(&digest::sha256(server.instances.join("\n").as_bytes())))
}
