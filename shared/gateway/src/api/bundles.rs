//! Which configuration is stored, which is in force, and how is another one put in force?

use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use machine::Machine as _;
use registry::{Release, release};
use serde::Deserialize;
use serde_json::json;

use super::{PUSH_BUNDLES, READ_BUNDLES, page};
use crate::{
    bundle::RELEASE,
    config::{self, Bundle, Config, Problem},
    platform::{Platform, Unread},
    refusal::Refusal,
    serve,
    serve::Gateway,
};

/// The body of `PUT /api/live`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    /// The bundle to put in force.
    id: String,
    /// The one that must be in force until then.
    #[serde(default)]
    expected: Option<String>,
}

impl<P: Platform> Gateway<P> {
    /// `GET /api/live`
    pub(super) async fn read_live(
        &self,
        config: &Config,
        request: &Request<P::Body>,
    ) -> Result<Response<P::Body>, Refusal> {
        self.operator(config, request, READ_BUNDLES).await?;
        let live = self.in_force().await.map_err(storage)?;
        Ok(live.as_ref().map_or_else(nothing_live, |live| serve::json(StatusCode::OK, &told(live))))
    }

    /// `GET /api/live/history?after=N&limit=M`
    pub(super) async fn read_history(
        &self,
        config: &Config,
        request: &Request<P::Body>,
    ) -> Result<Response<P::Body>, Refusal> {
        self.operator(config, request, READ_BUNDLES).await?;
        let (after, limit) = page(request.uri().query().unwrap_or_default());
        let rows = self.platform.rows(Release::KIND, RELEASE, after, limit).await.map_err(storage)?;
        let body = format!(r#"{{"rows":[{}]}}"#, rows.join(","));
        Ok(serve::known(StatusCode::OK, "application/json", body.into()))
    }

    /// `GET /api/bundles/{id}`
    pub(super) async fn read_bundle(
        &self,
        config: &Config,
        id: &str,
        request: &Request<P::Body>,
    ) -> Result<Response<P::Body>, Refusal> {
        self.operator(config, request, READ_BUNDLES).await?;
        match self.platform.read(&config::key(id)).await.map_err(storage)? {
            Some(text) => Ok(serve::known(StatusCode::OK, "application/json", text.into())),
            None => Ok(absent(id)),
        }
    }

    /// `PUT /api/bundles/{id}`: stored only if it is the one the id addresses and holds together.
    pub(super) async fn store_bundle(
        &self,
        config: &Config,
        id: &str,
        request: Request<P::Body>,
    ) -> Result<Response<P::Body>, Refusal> {
        self.operator(config, &request, PUSH_BUNDLES).await?;
        let bytes = self.own_body(request, BUNDLE_MAX_BYTES).await?;
        let text = std::str::from_utf8(&bytes).map_err(|error| Refusal::Params(error.to_string()))?;
        if let Err(refused) = holds_together(id, text) {
            return Ok(refused);
        }
        if self.platform.read(&config::key(id)).await.map_err(storage)?.is_some() {
            return Ok(serve::json(StatusCode::OK, &json!({ "id": id })));
        }
        self.platform.write(&config::key(id), text).await.map_err(storage)?;
        Ok(serve::json(StatusCode::CREATED, &json!({ "id": id })))
    }

    /// `PUT /api/live`: compare and swap.
    pub(super) async fn move_live(
        &self,
        config: &Rc<Config>,
        request: Request<P::Body>,
    ) -> Result<Response<P::Body>, Refusal> {
        let operator = self.operator(config, &request, PUSH_BUNDLES).await?;
        let bytes = self.own_body(request, MOVE_MAX_BYTES).await?;
        let Move { id, expected } =
            serde_json::from_slice(&bytes).map_err(|error| Refusal::Params(error.to_string()))?;
        let Some(text) = self.platform.read(&config::key(&id)).await.map_err(storage)? else {
            return Ok(absent(&id));
        };
        if let Err(refused) = holds_together(&id, &text) {
            return Ok(refused);
        }
        let by = format!("{}/{}", operator.agent, operator.user);
        let pointer = self.platform.read(config::LIVE_KEY).await.map_err(storage)?;
        let command = release::Command::Promote { id, expected, pointer, by };
        match self.tell::<Release>(RELEASE, &command).await.map_err(storage)? {
            release::Reply::Live(Some(live)) => {
                let copied = self.platform.write(config::LIVE_KEY, &release::copy(&live)).await;
                // The release is what counts; its copy serves those who look into the store.
                let _ = copied.inspect_err(|failed| self.platform.log(&format!("`{}`: {failed}", config::LIVE_KEY)));
                // This isolate runs on it at once, the others within half a minute.
                let _ = self.refresh(Some(Rc::clone(config))).await;
                Ok(serve::json(StatusCode::OK, &told(&live)))
            }
            release::Reply::Live(None) => Ok(nothing_live()),
            release::Reply::Conflict { live } => {
                let error = "another configuration was put in force meanwhile; plan against that one and push again";
                Ok(serve::json(StatusCode::CONFLICT, &json!({ "error": error, "live": live })))
            }
            release::Reply::Refused(invalid) => Err(Refusal::Params(invalid.to_string())),
        }
    }

    async fn own_body(&self, request: Request<P::Body>, max_bytes: usize) -> Result<Bytes, Refusal> {
        self.platform.whole(request.into_body(), max_bytes).await.map_err(|unread| match unread {
            Unread::TooLarge(_) => Refusal::Guard(guard::Refused::TooLarge(max_bytes)),
            Unread::Broken(detail) => Refusal::Unread(detail),
        })
    }
}

/// Whether `text` is the bundle `id` and one to run on; else the answer that says everything that is wrong.
fn holds_together<B: From<Bytes>>(id: &str, text: &str) -> Result<(), Response<B>> {
    let refused = |error: &str, problems: &[Problem]| {
        let problems: Vec<_> =
            problems.iter().map(|problem| json!({ "at": problem.at, "what": problem.what })).collect();
        serve::json(StatusCode::UNPROCESSABLE_ENTITY, &json!({ "error": error, "problems": problems }))
    };
    let raw = Bundle::open(id, text).map_err(|error| refused(&error, &[]))?;
    raw.validate(id).map(drop).map_err(|problems| refused("the configuration does not hold together", &problems))
}

/// What was put in force without the gateway has neither time nor author.
fn told(live: &release::Live) -> serde_json::Value {
    let is_released = !live.by.is_empty();
    let (at, by) = (is_released.then_some(live.at), is_released.then_some(&live.by));
    json!({ "id": live.id, "previous": live.previous, "at": at, "by": by })
}

fn nothing_live<B: From<Bytes>>() -> Response<B> {
    serve::json(StatusCode::NOT_FOUND, &json!({ "error": "no configuration is in force" }))
}

fn absent<B: From<Bytes>>(id: &str) -> Response<B> {
    let error = format!("there is no bundle `{id}`; store it first, with PUT /api/bundles/{id}");
    serve::json(StatusCode::NOT_FOUND, &json!({ "error": error }))
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
fn storage(failed: crate::platform::Failed) -> Refusal {
    Refusal::Internal(failed.to_string())
}

/// A bundle holds the definitions of every pinned tool.
const BUNDLE_MAX_BYTES: usize = 8 * 1024 * 1024;
const MOVE_MAX_BYTES: usize = 4 * 1024;
