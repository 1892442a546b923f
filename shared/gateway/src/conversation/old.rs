//! Where does a request of the oldest transport go? To the stream of an HTTP+SSE server and where that points, or to the
//! gateway's own endpoint, as if the caller had sent it there.

use std::rc::Rc;

use bridge::{
    facade::{End, Method},
    old::endpoint,
};
use http::{HeaderValue, header};
use registry::Server;

use crate::{
    config::Config,
    conversation::{behind::Letter, hop::Beyond},
    instances::Reached,
    platform::{Abort, Answer, Platform, Unanswered},
    serve::Gateway,
};

impl<P: Platform> Gateway<P> {
    /// Sends a request to an HTTP+SSE server. Whoever leads here has passed its circuit.
    pub(super) async fn stream_behind(
        &self,
        server: &Server,
        instance: &str,
        letter: &Letter<'_>,
    ) -> Result<Reached<P::Body>, End> {
        if !server.instances.iter().any(|one| one == instance) {
            return Err(End::Unreachable(format!("instance `{instance}` is not configured any more")));
        }
        let pointed = letter.request.path_and_query.as_deref();
        let pointed = pointed.map(|path| endpoint::at_origin(instance, path)).transpose();
        let pointed = pointed.map_err(|refused| End::Garbage(refused.to_string()))?;
        let departure = self.spelled((server, pointed.as_deref().unwrap_or(instance)), letter).await?;
        let answer = self.platform.send(departure, server.timeout).await.map_err(|unanswered| match unanswered {
            Unanswered::Broken(detail) if letter.request.method == Method::Get => End::Unreachable(detail),
            Unanswered::Broken(detail) => End::Broken(detail),
            Unanswered::Deadline(deadline) => End::Silent(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)),
        })?;
        Ok(Reached { answer, seat: None })
    }

    /// Sends a request along the path of every other to the gateway's endpoint `name`, with what its caller authorized
    /// itself with.
    pub(super) async fn endpoint_behind(
        &self,
        config: &Rc<Config>,
        name: &str,
        letter: &Letter<'_>,
        beyond: &Beyond,
    ) -> Result<Reached<P::Body>, End> {
        let mut request = http::Request::from(letter.spelled(&config.resource(name), None)?);
        if let Some(authorization) = &beyond.authorization {
            let value = HeaderValue::try_from(authorization);
            let mut value = value.map_err(|error| End::Unreachable(error.to_string()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let response = self.exchange(config, name, request.map(P::Body::from)).await;
        Ok(Reached { answer: Answer { response, arrived: None, abort: Abort::new(|| {}) }, seat: None })
    }
}
