//! What does an endpoint show of which servers? Its tools by their names here and at their servers, prompts, resources.

use std::collections::BTreeMap;

use mcp::page::Kind;

use super::{
    cache::Scope,
    name::{self, Rest},
    uri,
};

/// What an endpoint shows to one caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    shares: BTreeMap<String, Share>,
    labels: BTreeMap<String, String>,
    /// The endpoint's own names of tools: each with its server and its name there.
    names: BTreeMap<String, (String, String)>,
    scope: Scope,
}

/// What an endpoint shows of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Its tools.
    pub tools: Tools,
    /// Its prompts.
    pub prompts: Shown,
    /// Its resources and templates.
    pub resources: Shown,
}

/// Which tools of a server are shown, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tools {
    /// Those the endpoint speaks of, by their names at the server.
    pub named: BTreeMap<String, Naming>,
    /// All others.
    pub others: Shown,
}

/// How an endpoint shows a tool; `None` is as everywhere, or as the server says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Naming {
    /// Its name. One that reads like another server's tool hides that tool.
    pub name: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Its description.
    pub description: Option<String>,
}

/// Whether something is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It is.
    Yes,
    /// It is as if it were not there.
    No,
}

/// What a name at the endpoint stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// This, at this server.
    Whole {
        /// The server.
        server: String,
        /// The name there.
        name: String,
    },
    /// Something at this server whose name is too long to be read back.
    Short {
        /// The server.
        server: String,
    },
}

impl Share {
    /// All there is.
    #[must_use]
    pub const fn whole() -> Self {
        let tools = Tools { named: BTreeMap::new(), others: Shown::Yes };
        Self { tools, prompts: Shown::Yes, resources: Shown::Yes }
    }

    /// Nothing yet.
    #[must_use]
    pub const fn empty() -> Self {
        let tools = Tools { named: BTreeMap::new(), others: Shown::No };
        Self { tools, prompts: Shown::No, resources: Shown::No }
    }

    /// Whether anything in a list of `kind` is shown.
    #[must_use]
    pub fn shows(&self, kind: Kind) -> bool {
        let shown = match kind {
            Kind::Tools if !self.tools.named.is_empty() => Shown::Yes,
            Kind::Tools => self.tools.others,
            Kind::Prompts => self.prompts,
            Kind::Resources | Kind::Templates => self.resources,
        };
        shown == Shown::Yes
    }
}

impl View {
    /// A view of these shares, by server. `scope` is [`Scope::Public`] only if every caller of the endpoint has the same
    /// view: nobody else's answers may be kept for all.
    ///
    /// Of two servers with one label, or two tools with one name of the endpoint's own, the first stays; a configuration
    /// has none such.
    #[must_use]
    pub fn new(mut shares: BTreeMap<String, Share>, scope: Scope) -> Self {
        let (mut labels, mut names) = (BTreeMap::new(), BTreeMap::new());
        shares.retain(|server, share| {
            let label = name::label(server).into_owned();
            let is_first = !labels.contains_key(&label);
            labels.entry(label).or_insert_with(|| server.clone());
            for (tool, naming) in share.tools.named.iter().filter(|_| is_first) {
                if let Some(name) = &naming.name {
                    names.entry(name.clone()).or_insert_with(|| (server.clone(), tool.clone()));
                }
            }
            is_first
        });
        Self { shares, labels, names, scope }
    }

    /// Every server, whole.
    #[must_use]
    pub fn whole<'a>(servers: impl IntoIterator<Item = &'a str>, scope: Scope) -> Self {
        Self::new(servers.into_iter().map(|server| (server.to_owned(), Share::whole())).collect(), scope)
    }

    /// Its servers, by name.
    pub fn servers(&self) -> impl Iterator<Item = &str> {
        self.shares.keys().map(String::as_str)
    }

    /// The servers to ask for a list of `kind`, by name.
    pub fn listing(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.shares.iter().filter(move |(_, share)| share.shows(kind)).map(|(server, _)| server.as_str())
    }

    /// What it shows of `server`.
    #[must_use]
    pub fn share(&self, server: &str) -> Option<&Share> {
        self.shares.get(server)
    }

    /// Whose answers may be kept for whom.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// What an item of a list of `server` is called here: a tool or prompt by its name, a resource or template by its
    /// URI. `None` if it is not shown.
    #[must_use]
    pub fn called(&self, kind: Kind, server: &str, key: &str) -> Option<String> {
        let share = self.shares.get(server).filter(|share| share.shows(kind))?;
        let called = match kind {
            Kind::Resources | Kind::Templates => return Some(uri::join(server, key)),
            Kind::Prompts => return Some(name::join(server, key)),
            Kind::Tools => match (share.tools.named.get(key), share.tools.others) {
                (Some(Naming { name: Some(name), .. }), _) => name.clone(),
                (Some(_), _) | (None, Shown::Yes) => name::join(server, key),
                (None, Shown::No) => return None,
            },
        };
        let is_own =
            self.names.get(&called).is_none_or(|(owner, tool)| (owner.as_str(), tool.as_str()) == (server, key));
        is_own.then_some(called)
    }

    /// How the endpoint shows the tool `tool` of `server`, where it says anything of it.
    #[must_use]
    pub fn naming(&self, server: &str, tool: &str) -> Option<&Naming> {
        self.shares.get(server)?.tools.named.get(tool)
    }

    /// What is called `text` in a list of tools or prompts; `None` if nothing here can be.
    #[must_use]
    pub fn named(&self, kind: Kind, text: &str) -> Option<Found> {
        if let (Kind::Tools, Some((server, tool))) = (kind, self.names.get(text)) {
            return Some(Found::Whole { server: server.clone(), name: tool.clone() });
        }
        let (label, rest) = name::split(text)?;
        let server = self.labels.get(label)?;
        let share = self.shares.get(server).filter(|share| share.shows(kind))?;
        let found = |name: &str| Found::Whole { server: server.clone(), name: name.to_owned() };
        match rest {
            Rest::Whole(name) => (self.called(kind, server, name)? == text).then(|| found(name)),
            Rest::Short if kind == Kind::Tools && share.tools.others == Shown::No => {
                let mut tools = share.tools.named.keys();
                tools.find(|tool| self.called(kind, server, tool).as_deref() == Some(text)).map(|tool| found(tool))
            }
            Rest::Short => Some(Found::Short { server: server.clone() }),
        }
    }

    /// The server of the resource or template called `text`, and what it is there.
    #[must_use]
    pub fn resource<'a>(&self, text: &'a str) -> Option<(&str, &'a str)> {
        let (server, uri) = uri::split(text)?;
        let (server, _) =
            self.shares.get_key_value(server.as_ref()).filter(|(_, share)| share.shows(Kind::Resources))?;
        Some((server, uri))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn research() -> View {
        let naming = |name: Option<&str>| Naming { name: name.map(str::to_owned), ..Naming::default() };
        let mut fixture = Share::empty();
        fixture.tools.named.insert("simple".to_owned(), naming(Some("greet")));
        fixture.tools.named.insert("other".to_owned(), naming(None));
        fixture.tools.named.insert("long".repeat(30), naming(None));
        let mut files = Share::whole();
        files.tools.named.insert("read".to_owned(), naming(Some("open")));
        files.resources = Shown::No;
        View::new([("fixture".to_owned(), fixture), ("files".to_owned(), files)].into(), Scope::Private)
    }

    fn whole(server: &str, name: &str) -> Option<Found> {
        Some(Found::Whole { server: server.to_owned(), name: name.to_owned() })
    }

    #[test]
    fn a_renamed_tool_has_no_other_name() {
        let view = research();
        assert_eq!(view.named(Kind::Tools, "greet"), whole("fixture", "simple"));
        assert_eq!(view.named(Kind::Tools, "fixture__simple"), None);
        assert_eq!(view.named(Kind::Tools, "open"), whole("files", "read"));
        assert_eq!(view.named(Kind::Tools, "files__read"), None);
        assert_eq!(view.named(Kind::Prompts, "greet"), None, "prompts keep their names");
    }

    #[test]
    fn only_what_is_shown_is_found() {
        let view = research();
        assert_eq!(view.named(Kind::Tools, "fixture__other"), whole("fixture", "other"));
        assert_eq!(view.named(Kind::Tools, "fixture__absent"), None);
        assert_eq!(view.named(Kind::Tools, "files__write"), whole("files", "write"));
        assert_eq!(view.named(Kind::Prompts, "fixture__x"), None);
        assert_eq!(view.named(Kind::Prompts, "files__x"), whole("files", "x"));
        assert_eq!(view.resource("mcp+files+file:///a"), None);
        assert_eq!(view.listing(Kind::Tools).collect::<Vec<_>>(), ["files", "fixture"]);
        assert_eq!(view.listing(Kind::Resources).count(), 0);
    }

    #[test]
    fn a_short_name_is_found_without_asking_where_all_are_known() {
        let view = research();
        let long = "long".repeat(30);
        assert_eq!(view.named(Kind::Tools, &name::join("fixture", &long)), whole("fixture", &long));
        assert_eq!(
            view.named(Kind::Tools, &name::join("files", &long)),
            Some(Found::Short { server: "files".to_owned() })
        );
    }

    #[test]
    fn a_tool_whose_name_the_endpoint_gave_to_another_is_hidden() {
        let mut share = Share::whole();
        share.tools.named.insert("b".to_owned(), Naming { name: Some("a__c".to_owned()), ..Naming::default() });
        let view = View::new([("a".to_owned(), Share::whole()), ("x".to_owned(), share)].into(), Scope::Private);
        assert_eq!(view.called(Kind::Tools, "a", "c"), None);
        assert_eq!(view.called(Kind::Tools, "x", "b").as_deref(), Some("a__c"));
        assert_eq!(view.named(Kind::Tools, "a__c"), whole("x", "b"));
    }

    proptest! {
        #[test]
        fn whatever_is_called_something_is_found_by_it(
            servers in prop::collection::btree_set("[ab_-]{1,3}|[a-z_]{60,64}", 1..5),
            tool in "[a_]{0,4}|[a-z]{50,70}",
        ) {
            let view = View::whole(servers.iter().map(String::as_str), Scope::Public);
            for server in &servers {
                let called = view.called(Kind::Tools, server, &tool).unwrap();
                match view.named(Kind::Tools, &called).unwrap() {
                    Found::Whole { server: found, name } => prop_assert_eq!((&found, &name), (server, &tool)),
                    Found::Short { server: found } => prop_assert_eq!(&found, server),
                }
                let called = view.called(Kind::Resources, server, &tool).unwrap();
                prop_assert_eq!(view.resource(&called), Some((server.as_str(), tool.as_str())));
            }
        }
    }
}
