//! What are a server's tools at the moment, and were they approved? Listed by the gateway itself, and learnt from every
//! list a caller asks for.
//!
//! A tool is known as it was at most half a minute ago: a call that comes later looks again beside its own way, one that
//! finds nothing known waits for the list. A definition that was swapped is found by whichever comes first.

use std::{collections::BTreeMap, rc::Rc};

use audit::{Entry, Finding, Found, Treatment};
use bridge::federation::cache::Change;
use bytes::Bytes;
use http::Method;
use mcp::{
    Timestamp,
    definition::{Definition, Hints},
    digest,
    json::clip,
    page::{self, Kind},
};
use registry::{Admission, Server, Standing, Target};
use serde_json::json;
use upstream::Repeatable;

use crate::{
    answer::Screened,
    apart::apart,
    config::Config,
    course::At,
    draft::{UNKNOWN_CHAIN, chain_of},
    instances::Way,
    pipeline::Cleared,
    platform::Platform,
    recall::Recall,
    refusal::Refusal,
    serve::Gateway,
    unfit::{Annotated, annotated},
};

/// A server's tools, as they were last listed.
#[derive(Clone, Debug)]
pub(crate) struct Offers {
    tools: BTreeMap<String, Rc<Offer>>,
    listed: Timestamp,
    /// Until when somebody is expected to list them anew.
    expected_by: Timestamp,
}

/// A tool a server offers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) name: String,
    pub(crate) hints: Hints,
    pub(crate) is_pinned: bool,
    /// Whether callers may know of it.
    pub(crate) is_admitted: bool,
    digest: [u8; 32],
    /// Which of its arguments are repeated in headers.
    params: Annotated,
}

/// Where a server's tools can be listed.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) config: Rc<Config>,
    pub(crate) target: Target,
    pub(crate) at: At,
}

impl<P: Platform> Gateway<P> {
    /// The tool `name` of the place's server, as it is now; `None` if there is none for callers.
    pub(crate) async fn offer(&self, place: &Place, name: &str) -> Result<Option<Rc<Offer>>, Refusal> {
        let known = self.memory.0.borrow().offers.get(&place.server().name).map(|known| {
            // Only what this call needs: a server may offer thousands.
            (known.listed, known.expected_by, known.admitted(name))
        });
        let now = self.platform.now();
        let Some((listed, expected_by, offer)) = known else {
            return Ok(apart(self.list_tools(place)).await?.admitted(name));
        };
        if now.millis_since(listed) >= RELIST_MS && now >= expected_by {
            self.expect_list(place, now);
            let (gateway, place) = (self.clone(), place.clone());
            self.platform.defer(async move {
                // What is known stays in use while the server cannot be asked.
                let _ = gateway.list_tools(&place).await;
            });
        }
        match offer {
            // A tool that appeared since is not denied for half a minute.
            None if now.millis_since(listed) >= UNKNOWN_RELIST_MS => {
                Ok(apart(self.list_tools(place)).await?.admitted(name))
            }
            offer => Ok(offer),
        }
    }

    /// Learns a definition from a list that passes by, where it is spelled `raw`.
    pub(crate) fn learn(&self, place: &Place, (raw, definition): (&str, &Definition)) -> Rc<Offer> {
        let offer = self.judged(place, (raw, definition));
        let known =
            self.memory.0.borrow().offers.get(&place.server().name).and_then(|offers| offers.digest(&offer.name));
        if known.is_some_and(|known| known != offer.digest) {
            self.outdate(&place.config, place.server(), &Change::Tools);
        }
        let mut memory = self.memory.0.borrow_mut();
        if let Some(offers) = memory.offers.get_mut(&place.server().name) {
            if let Some(known) = offers.tools.get(&offer.name).filter(|known| ***known == offer) {
                return Rc::clone(known);
            }
            let offer = Rc::new(offer);
            if offers.tools.len() < page::ITEMS_MAX {
                offers.tools.insert(offer.name.clone(), Rc::clone(&offer));
            }
            return offer;
        }
        Rc::new(offer)
    }

    /// Lists the tools of the place's server in its session, every page.
    pub(crate) async fn list_tools(&self, place: &Place) -> Result<Offers, Refusal> {
        let mut tools = BTreeMap::new();
        for text in self.listed(place).await? {
            let Ok(definition) = Definition::read(&text) else { continue };
            tools.insert(definition.name.clone(), self.learn(place, (&text, &definition)));
        }
        if self
            .memory
            .0
            .borrow()
            .offers
            .get(&place.server().name)
            .is_some_and(|known| !known.tools.keys().eq(tools.keys()))
        {
            self.outdate(&place.config, place.server(), &Change::Tools);
        }
        let listed = self.platform.now();
        let offers = Offers { tools, listed, expected_by: listed };
        self.memory.0.borrow_mut().offers.insert(place.server().name.clone(), offers.clone());
        Ok(offers)
    }

    /// Whether the tools of the server that is meant were listed anew, which they are not where they just were.
    pub(crate) async fn is_relisted(&self, cleared: &Cleared<'_>) -> bool {
        let server = &cleared.server().name;
        let listed = self.memory.0.borrow().offers.get(server).map(|known| known.listed);
        let is_due = listed.is_none_or(|listed| self.platform.now().millis_since(listed) >= UNKNOWN_RELIST_MS);
        match cleared.course.at() {
            Some(at) if is_due => self.list_tools(&cleared.passing.place(at)).await.is_ok(),
            _ => false,
        }
    }

    /// The definition of each tool, as the server spells it.
    pub(crate) async fn listed(&self, place: &Place) -> Result<Vec<String>, Refusal> {
        self.listed_all(place, Kind::Tools, &Recall::fresh()).await
    }

    /// Every item of a list, as the server spells it.
    pub(crate) async fn listed_all(&self, place: &Place, kind: Kind, recall: &Recall) -> Result<Vec<String>, Refusal> {
        let (mut listed, mut cursor) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let text = self.ask(place, (kind.method(), &json!({ "cursor": cursor })), recall).await?;
            let page = match page::read(kind, &text) {
                Ok(page) => page,
                // A server without any.
                Err(page::Unreadable::Refused(_)) => break,
                Err(unreadable) => return Err(Refusal::Garbage(unreadable.to_string())),
            };
            listed.extend(page.items.iter().map(|item| item.raw.to_owned()));
            cursor = page.next_cursor;
            if cursor.is_none() || listed.len() >= page::ITEMS_MAX {
                break;
            }
        }
        Ok(listed)
    }

    /// The response to a request of the gateway's own.
    pub(crate) async fn ask(
        &self,
        place: &Place,
        (method, params): (&str, &serde_json::Value),
        recall: &Recall,
    ) -> Result<String, Refusal> {
        let trace = telemetry::TraceContext::child_of(None, &self.platform.random());
        // A string, which no caller uses that counts its requests, and never the same twice.
        let id = format!("turnpike-{}", trace.span_id());
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": without_nulls(params) }).to_string();
        let At::Session(route) = &place.at else { return self.ask_alone(place, &trace, (&body, recall)).await };
        let row = &route.row;
        let departure = self.own_departure(row, &trace, (Method::POST, Bytes::from(body))).await?;
        let way = Way {
            server: place.server(),
            instance: &row.instance,
            resilience: place.config.resilience(place.server()),
            repeatable: Repeatable::Yes,
        };
        let reached = self.reach(way, departure).await.map_err(Refusal::from)?;
        match self.screen(reached).await? {
            Screened::Native(reached) => {
                let heard = self.hear(reached.answer, 1, place.server().timeout).await?;
                Ok(heard.response().to_owned())
            }
            Screened::Read(status, ..) => Err(Refusal::Garbage(format!("it answered `{method}` with {status}"))),
        }
    }

    fn expect_list(&self, place: &Place, now: Timestamp) {
        if let Some(offers) = self.memory.0.borrow_mut().offers.get_mut(&place.server().name) {
            offers.expected_by = now.plus_millis(RELIST_MS);
        }
    }

    fn judged(&self, place: &Place, (raw, definition): (&str, &Definition)) -> Offer {
        let standing = place.config.standing(place.server(), definition);
        let is_admitted = place.config.admission(place.server()).admits(standing);
        self.report(place, definition, standing, is_admitted);
        Offer {
            name: definition.name.clone(),
            hints: definition.hints,
            is_pinned: standing == Standing::Pinned,
            is_admitted,
            digest: definition.digest,
            params: annotated(raw, definition),
        }
    }

    /// Records what is not as it was approved, once for each isolate.
    fn report(&self, place: &Place, definition: &Definition, standing: Standing, is_admitted: bool) {
        let (found, pinned) = match standing {
            Standing::Pinned => return,
            // Where nothing was ever approved, and nothing has to be, a tool is no news.
            Standing::New if is_admitted && !place.config.has_pins(place.server()) => return,
            Standing::New => (Found::New, None),
            Standing::Changed { pinned } => (Found::Changed, Some(digest::hex(&pinned))),
        };
        let key = (place.server().name.clone(), definition.name.clone(), definition.digest);
        {
            let mut memory = self.memory.0.borrow_mut();
            if memory.found.put(key, ()).is_some() {
                return;
            }
        }
        let finding = Finding {
            at: self.platform.now(),
            server: place.server().name.clone(),
            instance: place.instance().to_owned(),
            tool: clip(&definition.name).to_owned(),
            found,
            digest: digest::hex(&definition.digest),
            pinned,
            treatment: if is_admitted { Treatment::Admitted } else { Treatment::Quarantined },
            bundle: place.config.bundle.clone(),
        };
        self.gather(place.config.findings_chain(), Entry::Finding(finding));
    }
}

impl Place {
    pub(crate) fn server(&self) -> &Server {
        self.target.server()
    }

    /// The instance that is asked, as far as that is known: requests that stand alone go to any.
    fn instance(&self) -> &str {
        match &self.at {
            At::Session(route) => &route.row.instance,
            At::Instances | At::Conversation(_) | At::Federation(_) => {
                self.server().instances.first().map_or("", String::as_str)
            }
        }
    }
}

impl Offers {
    /// What is said of a tool's effects.
    pub(crate) fn hints(&self, name: &str) -> Option<Hints> {
        self.tools.get(name).map(|offer| offer.hints)
    }

    /// Which arguments of a tool are repeated in headers.
    pub(crate) fn params(&self, name: &str) -> Option<Annotated> {
        self.tools.get(name).map(|offer| offer.params.clone())
    }

    fn digest(&self, name: &str) -> Option<[u8; 32]> {
        self.tools.get(name).map(|offer| offer.digest)
    }

    fn admitted(&self, name: &str) -> Option<Rc<Offer>> {
        self.tools.get(name).filter(|offer| offer.is_admitted).cloned()
    }
}

impl Config {
    /// Whether `definition` is the one that was approved.
    pub(crate) fn standing(&self, server: &Server, definition: &Definition) -> Standing {
        self.pins.get(&server.name).map_or(Standing::New, |pins| pins.standing(definition))
    }

    /// Whether any tool of `server` was approved.
    pub(crate) fn has_pins(&self, server: &Server) -> bool {
        self.pins.get(&server.name).is_some_and(|pins| !pins.is_empty())
    }

    /// What becomes of its tools that were not.
    pub(crate) fn admission(&self, server: &Server) -> Admission {
        self.admission.get(&server.name).copied().unwrap_or_default()
    }

    /// Where findings are recorded: among what the operators' tenant does, or with callers that are not known.
    fn findings_chain(&self) -> String {
        self.operators.as_deref().map_or_else(|| UNKNOWN_CHAIN.to_owned(), chain_of)
    }
}

/// A list without a cursor is asked for without the member.
fn without_nulls(params: &serde_json::Value) -> serde_json::Value {
    let members = params.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    members.map(|(key, value)| (key.clone(), value.clone())).collect::<serde_json::Map<_, _>>().into()
}

/// How old the knowledge of a server's tools may grow.
const RELIST_MS: u64 = 30_000;
/// How soon a tool that is not among them is looked for again.
const UNKNOWN_RELIST_MS: u64 = 2_000;
const PAGES_MAX: usize = 100;
