//! What does a server want to know before it goes on? `input_required`, put as the requests a legacy caller answers.

use mcp::Revision;

use crate::text::{self, Members, Unreadable, items, quoted};

use super::{content, terms::Offers};

/// What an `input_required` result asks (MCP 2026-07-28 basic/patterns/mrtr).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The requests, by the server's own names for them. May be empty if there is a state.
    pub requests: Vec<Question>,
    /// `requestState` as it was spelled: a JSON string.
    pub state: Option<String>,
}

/// One request of an `input_required` result, as a legacy caller is sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The server's name for it.
    pub key: String,
    /// `elicitation/create`, `sampling/createMessage` or `roots/list`.
    pub method: String,
    /// The parameters: a JSON object.
    pub params: Option<String>,
}

/// Why a server's question cannot be put to the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unaskable {
    /// It asks nothing and gives no state.
    #[error("the server asks for input without saying which")]
    Nothing,
    /// More questions than [`QUESTIONS_MAX`].
    #[error("the server asks more than {QUESTIONS_MAX} questions at once")]
    TooMany,
    /// Not among the three kinds there are.
    #[error("the server asks `{0}`, which is no question of the protocol")]
    Kind(String),
    /// The caller did not declare it.
    #[error("the server asks for {0}, which was not agreed on at `initialize`")]
    Undeclared(&'static str),
    /// A page to visit, before revision 2025-11-25.
    #[error("the server wants the user to visit a page, which revision {0} cannot ask")]
    Page(Revision),
    /// It cannot be read.
    #[error("the server asks in a way that cannot be read: {0}")]
    Unreadable(#[from] Unreadable),
}

/// Reads the questions of an `input_required` result, and puts each as a caller of `revision` understands it.
///
/// `elicitation_id` gives an unpredictable id for each page the user has to visit.
///
/// # Errors
/// [`Unaskable`]
pub fn wanted(
    result: &str,
    revision: Revision,
    offers: Offers,
    mut elicitation_id: impl FnMut() -> String,
) -> Result<Wanted, Unaskable> {
    let result = Members::parse(result)?;
    let asked = result.object("inputRequests")?;
    let state = result.raw("requestState").filter(|state| state.starts_with('"')).map(str::to_owned);
    if asked.is_empty() && state.is_none() {
        return Err(Unaskable::Nothing);
    }
    if asked.len() > QUESTIONS_MAX {
        return Err(Unaskable::TooMany);
    }
    let mut requests = Vec::with_capacity(asked.len());
    for (key, request) in asked.iter() {
        let request = Members::parse(request)?;
        let method = request.string("method").unwrap_or_default().into_owned();
        let params = request.raw("params").map(Members::parse).transpose()?;
        let params = put(&method, params, revision, offers, &mut elicitation_id)?;
        requests.push(Question { key: key.to_owned(), method, params });
    }
    Ok(Wanted { requests, state })
}

/// The answers to questions as `inputResponses`: a JSON object of their keys and what the caller said to each.
#[must_use]
pub fn responses<'a>(answers: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut responses = Members::new();
    for (key, answer) in answers {
        responses.set(key, answer);
    }
    responses.write()
}

/// What a caller answered to `method`, as a modern server reads it (MCP 2026-07-28: `ElicitResult` has no `_meta`).
///
/// # Errors
/// [`Unreadable`] when it is no object.
pub fn answer(method: &str, result: &str) -> Result<String, Unreadable> {
    let mut members = Members::parse(result)?;
    if method == ELICIT {
        members.remove("_meta");
    }
    Ok(members.write())
}

fn put(
    method: &str,
    params: Option<Members<'_>>,
    revision: Revision,
    offers: Offers,
    elicitation_id: &mut impl FnMut() -> String,
) -> Result<Option<String>, Unaskable> {
    match (method, params) {
        (ROOTS, _) if !offers.roots => Err(Unaskable::Undeclared("the roots")),
        (ROOTS, params) => Ok(params.map(|params| params.write())),
        (SAMPLE, _) if !offers.sampling => Err(Unaskable::Undeclared("a sampling")),
        (SAMPLE, Some(params)) => sampling(params, revision, offers).map(Some),
        (ELICIT, Some(params)) if params.string("mode").as_deref() == Some("url") => {
            page(params, revision, offers, elicitation_id).map(Some)
        }
        (ELICIT, _) if !offers.form => Err(Unaskable::Undeclared("an elicitation")),
        (ELICIT, Some(params)) => form(params, revision).map(Some),
        (SAMPLE | ELICIT, None) => Err(Unaskable::Kind(format!("{method} without parameters"))),
        (other, _) => Err(Unaskable::Kind(mcp::json::clip(other).to_owned())),
    }
}

fn sampling(mut params: Members<'_>, revision: Revision, offers: Offers) -> Result<String, Unaskable> {
    if (params.has("tools") || params.has("toolChoice")) && !offers.sampling_tools {
        return Err(Unaskable::Undeclared("a sampling with tools"));
    }
    if revision < Revision::V2025_06_18 {
        super::result::list(&mut params, "messages", |message| content::message(message, revision))?;
    }
    Ok(params.write())
}

fn page(
    mut params: Members<'_>,
    revision: Revision,
    offers: Offers,
    elicitation_id: &mut impl FnMut() -> String,
) -> Result<String, Unaskable> {
    if revision < Revision::V2025_11_25 {
        return Err(Unaskable::Page(revision));
    }
    if !offers.url {
        return Err(Unaskable::Undeclared("an elicitation by a page to visit"));
    }
    params.set("elicitationId", quoted(&elicitation_id()));
    Ok(params.write())
}

/// A form of 2025-06-18 has no mode, and knows one spelling of choices only.
fn form(mut params: Members<'_>, revision: Revision) -> Result<String, Unaskable> {
    if revision >= Revision::V2025_11_25 {
        return Ok(params.write());
    }
    params.remove("mode");
    let mut schema = params.object("requestedSchema")?;
    let properties = schema.object("properties")?;
    let mut fields = Members::new();
    for (name, field) in properties.iter() {
        fields.set(name, older_field(field)?);
    }
    let fields = fields.write();
    if schema.has("properties") {
        schema.set("properties", fields);
    }
    let schema = schema.write();
    params.set("requestedSchema", schema);
    Ok(params.write())
}

/// Choices with titles, `oneOf`, were `enum` with `enumNames` before (SEP-1330).
fn older_field(field: &str) -> Result<String, Unaskable> {
    let mut members = Members::parse(field)?;
    if members.string("type").as_deref() == Some("array") {
        return Err(Unaskable::Kind("elicitation/create with a choice of many".to_owned()));
    }
    let Some(choices) = members.remove("oneOf") else { return Ok(members.write()) };
    let (mut values, mut names) = (Vec::new(), Vec::new());
    for choice in items(&choices)? {
        let choice = Members::parse(choice)?;
        let value = choice.raw("const").unwrap_or("null").to_owned();
        names.push(choice.raw("title").unwrap_or(&value).to_owned());
        values.push(value);
    }
    members.set("enum", text::array(values));
    members.set("enumNames", text::array(names));
    Ok(members.write())
}

/// No round asks more.
pub const QUESTIONS_MAX: usize = 16;

const ELICIT: &str = "elicitation/create";
const SAMPLE: &str = "sampling/createMessage";
const ROOTS: &str = "roots/list";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Offers = Offers { form: true, url: true, sampling: true, sampling_tools: false, roots: true };

    fn ask(requests: &str, revision: Revision, offers: Offers) -> Result<Wanted, Unaskable> {
        let result = format!(r#"{{"resultType":"input_required","inputRequests":{requests},"requestState":"s"}}"#);
        wanted(&result, revision, offers, || "id".to_owned())
    }

    fn params(requests: &str, revision: Revision) -> String {
        ask(requests, revision, ALL).unwrap().requests.remove(0).params.unwrap()
    }

    const FORM: &str = r#"{"k":{"method":"elicitation/create","params":{"mode":"form","message":"m","requestedSchema":{"type":"object","properties":{"c":{"type":"string","oneOf":[{"const":"a","title":"A"},{"const":"b","title":"B"}]}}}}}}"#;
    const PAGE: &str =
        r#"{"k":{"method":"elicitation/create","params":{"mode":"url","message":"m","url":"https://a.test/"}}}"#;

    #[test]
    fn forms_are_put_as_a_revision_knows_them() {
        assert!(params(FORM, Revision::V2025_11_25).contains(r#""mode":"form""#));
        assert_eq!(
            params(FORM, Revision::V2025_06_18),
            r#"{"message":"m","requestedSchema":{"type":"object","properties":{"c":{"type":"string","enum":["a","b"],"enumNames":["A","B"]}}}}"#
        );
        let many = FORM.replace("\"string\"", "\"array\"");
        assert!(ask(&many, Revision::V2025_06_18, ALL).is_err());
    }

    #[test]
    fn a_page_to_visit_gets_an_id_or_cannot_be_asked() {
        assert!(params(PAGE, Revision::V2025_11_25).ends_with(r#","elicitationId":"id"}"#));
        assert_eq!(ask(PAGE, Revision::V2025_06_18, ALL), Err(Unaskable::Page(Revision::V2025_06_18)));
        let forms = Offers { url: false, ..ALL };
        assert!(matches!(ask(PAGE, Revision::V2025_11_25, forms), Err(Unaskable::Undeclared(_))));
    }

    #[test]
    fn nothing_is_asked_that_was_not_declared() {
        for (method, params) in [
            ("elicitation/create", r#""params":{"message":"m"}"#),
            ("sampling/createMessage", r#""params":{}"#),
            ("roots/list", r#""x":1"#),
        ] {
            let requests = format!(r#"{{"k":{{"method":"{method}",{params}}}}}"#);
            assert!(ask(&requests, Revision::V2025_11_25, ALL).is_ok());
            let asked = ask(&requests, Revision::V2025_11_25, Offers::default());
            assert!(matches!(asked, Err(Unaskable::Undeclared(_))), "{asked:?}");
        }
        let tools = r#"{"k":{"method":"sampling/createMessage","params":{"tools":[]}}}"#;
        assert!(ask(tools, Revision::V2025_11_25, ALL).is_err());
        let other = r#"{"k":{"method":"tools/call","params":{}}}"#;
        assert_eq!(ask(other, Revision::V2025_11_25, ALL), Err(Unaskable::Kind("tools/call".into())));
    }

    #[test]
    fn questions_are_bounded_and_there_is_something_to_do() {
        let many: Vec<_> = (0..=QUESTIONS_MAX).map(|n| format!(r#""{n}":{{"method":"roots/list"}}"#)).collect();
        let many = format!("{{{}}}", many.join(","));
        assert_eq!(ask(&many, Revision::V2025_11_25, ALL), Err(Unaskable::TooMany));
        assert_eq!(ask("{}", Revision::V2025_11_25, ALL).unwrap().state.as_deref(), Some("\"s\""));
        let none = wanted("{}", Revision::V2025_11_25, ALL, String::new);
        assert_eq!(none, Err(Unaskable::Nothing));
    }

    #[test]
    fn answers_go_back_under_the_servers_names() {
        let one = answer("elicitation/create", r#"{"_meta":{"a":1},"action":"decline"}"#).unwrap();
        let two = answer("roots/list", r#"{ "roots":[] }"#).unwrap();
        assert_eq!(
            responses([("a", one.as_str()), ("b", two.as_str())]),
            r#"{"a":{"action":"decline"},"b":{ "roots":[] }}"#
        );
    }

    proptest! {
        #[test]
        fn arbitrary_questions_never_panic(text in "\\PC{0,40}", inner in "\\PC{0,20}") {
            let _ = ask(&text, Revision::V2025_06_18, ALL);
            let quoted = quoted(&inner);
            let _ = ask(&format!(r#"{{"k":{{"method":"elicitation/create","params":{{"requestedSchema":{quoted}}}}}}}"#),
                Revision::V2025_06_18, ALL);
        }
    }
}
