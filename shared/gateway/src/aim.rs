//! What is a request meant for? One server, or an endpoint that shows many as if they were one.

use std::rc::Rc;

use bridge::{
    federation::{
        View,
        cache::Scope,
        route::{self, Unroutable, Way},
    },
    text::{self, Members},
};
use identity::Principal;
use mcp::{Body, Call, Message};
use registry::{NotFound, Target};

use crate::{apart::apart, config::Config, federated::Federated, platform::Platform, refusal::Refusal, serve::Gateway};

/// What a path names, for one caller.
#[derive(Clone)]
pub(crate) struct Aim {
    /// The server, or the endpoint that looks like one.
    pub(crate) target: Target,
    /// What the endpoint shows, if it is one of many servers.
    pub(crate) federated: Option<Rc<Federated>>,
}

/// A request that is meant for one server of many.
pub(crate) struct Led {
    pub(crate) target: Target,
    /// The message, as that server is asked.
    pub(crate) text: String,
}

impl Config {
    /// What `endpoint` names: a server, `` for all of them, `@name` for some.
    pub(crate) fn aim(self: &Rc<Self>, endpoint: &str, principal: &Principal) -> Result<Aim, NotFound> {
        let target = self.registry.find(endpoint, &principal.tenant)?;
        let is_visible = |server: &str| {
            let found = self.registry.find(server, &principal.tenant);
            found.is_ok_and(|target| policy::scoped(&principal.scopes, &target.server().scopes).is_ok())
        };
        let (name, view, instructions) = match endpoint.strip_prefix('@') {
            Some(name) => {
                let endpoint = self.endpoint(name).ok_or(NotFound)?;
                (Some(name.to_owned()), endpoint.view(is_visible, Scope::Private), endpoint.instructions.clone())
            }
            None if endpoint.is_empty() => {
                let servers = self.registry.servers().map(|server| server.name.as_str());
                (None, View::whole(servers.filter(|server| is_visible(server)), Scope::Private), None)
            }
            None => return Ok(Aim { target, federated: None }),
        };
        let federated =
            Federated { config: Rc::clone(self), endpoint: name, view, instructions, principal: *principal.binding() };
        Ok(Aim { target, federated: Some(Rc::new(federated)) })
    }
}

impl<P: Platform> Gateway<P> {
    /// The one server of many that `body` is meant for; `None` if it is meant for the endpoint itself.
    pub(crate) async fn led(&self, aim: &Aim, body: Option<&Body<'_>>) -> Result<Option<Led>, Refusal> {
        let (Some(federated), Some(Body::Single(Message::Request(call)))) = (&aim.federated, body) else {
            return Ok(None);
        };
        let (server, text) = match subscribed(&federated.view, call)? {
            Some(led) => led,
            None => match route::route(&federated.view, call) {
                Ok(Way::One(routed)) => (routed.server, routed.body),
                Ok(Way::Search(search)) => {
                    let routed = apart(self.searched(federated, call, &search)).await??;
                    (routed.server, routed.body)
                }
                // What belongs to a session is not for one server.
                Ok(Way::List(_) | Way::Discover | Way::Listen) | Err(Unroutable::Method(_)) => return Ok(None),
                Err(unroutable) => return Err(unroutable.into()),
            },
        };
        Ok(Some(Led { target: federated.config.registry.configured(&server)?, text }))
    }
}

/// A legacy subscription to a resource: its server, and the message there.
fn subscribed(view: &View, call: &Call<'_>) -> Result<Option<(String, String)>, Unroutable> {
    if !matches!(call.method.as_ref(), "resources/subscribe" | "resources/unsubscribe") {
        return Ok(None);
    }
    let unreadable = |unreadable: text::Unreadable| Unroutable::Params(unreadable.to_string());
    let mut params = Members::parse(call.params.map_or("{}", |params| params.get())).map_err(unreadable)?;
    params.plain(&["uri"]).map_err(unreadable)?;
    let uri = params.string("uri").map(std::borrow::Cow::into_owned).unwrap_or_default();
    let Some((server, own)) = view.resource(&uri) else { return Err(Unroutable::Resource(uri)) };
    let (server, own) = (server.to_owned(), text::quoted(own));
    params.set("uri", own);
    let mut message = Members::parse(call.raw).map_err(unreadable)?;
    message.set("params", params.write());
    Ok(Some((server, message.write())))
}
