//! What does a server offer at the moment? Read by the gateway itself, for whoever is to approve it.

use std::rc::Rc;

use bridge::probe::Era;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use mcp::{definition::Definition, digest};
use registry::{Standing, Target};
use serde_json::{json, value::RawValue};
use session::Route;

use super::READ_BUNDLES;
use crate::{
    config::Config, course::At, definitions::Place, instances::Way, platform::Platform, refusal::Refusal, serve,
    serve::Gateway,
};

impl<P: Platform> Gateway<P> {
    /// `GET /api/definitions/{server}`: every tool as the server defines it, and whether that was approved.
    pub(super) async fn read_definitions(
        &self,
        config: &Rc<Config>,
        server: &str,
        request: &Request<P::Body>,
    ) -> Result<Response<P::Body>, Refusal> {
        self.operator(config, request, READ_BUNDLES).await?;
        let target = config.registry.configured(server)?;
        let listed = match self.era(config, target.server()).await? {
            Era::Modern(_) => {
                let place = Place { config: Rc::clone(config), target, at: At::Instances };
                self.listed(&place).await.map(|tools| (place, tools))
            }
            Era::Legacy => self.listed_in_session(config, target).await,
        };
        let (place, tools) = listed?;
        let tools: Vec<_> = tools.iter().filter_map(|text| described(&place, text)).collect();
        let body = format!(r#"{{"server":{},"tools":[{}]}}"#, json!(server), tools.join(","));
        Ok(serve::known(StatusCode::OK, "application/json", body.into()))
    }

    /// Lists in a session that is opened for it.
    async fn listed_in_session(&self, config: &Rc<Config>, target: Target) -> Result<(Place, Vec<String>), Refusal> {
        let route = self.own_session(config, target.server()).await?;
        let place = Place { config: Rc::clone(config), target, at: At::Session(Rc::clone(&route)) };
        let initialized = self.tell_own(&place, &route, Method::POST, Bytes::from_static(INITIALIZED)).await;
        let listed = match initialized {
            Ok(()) => self.listed(&place).await,
            Err(refusal) => Err(refusal),
        };
        // The session is over either way; one that cannot be ended now ends when it has rested long enough.
        let _ = self.tell_own(&place, &route, Method::DELETE, Bytes::new()).await;
        listed.map(|tools| (place, tools))
    }

    /// Sends what wants no answer in a session of the gateway's own.
    async fn tell_own(&self, place: &Place, route: &Route, method: Method, body: Bytes) -> Result<(), Refusal> {
        let row = &route.row;
        let trace = telemetry::TraceContext::child_of(None, &self.platform.random());
        let departure = self.own_departure(row, &trace, (method, body)).await?;
        let way = Way::once(&place.config, place.server(), &row.instance);
        self.reach(way, departure).await.map(drop).map_err(Refusal::from)
    }
}

/// A definition byte for byte, what it digests to, and whether that was approved. One that cannot be read is not told.
fn described(place: &Place, text: &str) -> Option<String> {
    let definition = Definition::read(text).ok()?;
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    let standing = place.config.standing(place.server(), &definition);
    let pinned = match standing {
        Standing::Changed { pinned } => Some(digest::hex(&pinned)),
        Standing::Pinned => Some(digest::hex(&definition.digest)),
        Standing::New => None,
    };
    let (digest, standing) = (digest::hex(&definition.digest), standing.as_str());
    Some(format!(
        r#"{{"definition":{},"digest":"{digest}","standing":"{standing}","pinned":{}}}"#,
        raw.get(),
        json!(pinned)
    ))
}

const INITIALIZED: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
