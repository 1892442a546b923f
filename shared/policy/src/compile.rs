//! Do these policies hold together? Parsed, checked against what there is, validated by Cedar, and taken apart; every
//! problem at once.

use std::{collections::BTreeMap, rc::Rc};

use cedar_policy::{Policy, PolicyId, PolicySet, ValidationError, ValidationMode, ValidationWarning, Validator};
use miette::Diagnostic;

use crate::{
    catalog::{Catalog, CatalogServer, Source},
    entity::Kind,
    names,
    problem::{Problem, Spot},
    rules::Rules,
    schema::{self, Detail, Inputs},
    scope::{Actions, Constraint},
    text::{DEPTH_MAX, LINKS_MAX, Piece, Size, pieces},
};

/// Whether Cedar's validator had its say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// They were not, or it is not known.
    No,
    /// They were.
    Before,
}

/// The policies of `sources`, ready to decide.
///
/// # Errors
/// Everything that is wrong with them.
pub(crate) fn compile(
    sources: &[Source],
    (catalog, checked): (&Catalog, Checked),
    inputs: &Inputs,
) -> Result<Rules, Vec<Problem>> {
    let found: Vec<_> =
        sources.iter().flat_map(|source| pieces(&source.text).into_iter().map(move |piece| (source, piece))).collect();
    if let Some(problem) = too_much(sources, &found) {
        return Err(vec![problem]);
    }
    let (mut parsed, mut problems) = (Vec::with_capacity(found.len()), Vec::new());
    for (source, piece) in &found {
        match parse(spot(source, piece), piece) {
            Ok(one) => parsed.push(one),
            Err(found) => problems.extend(found),
        }
    }
    problems.extend(repeated(&parsed));
    let named = check_names(&mut parsed, catalog, &mut problems);
    if checked == Checked::No {
        problems.extend(validate(&parsed, catalog, &named, inputs));
    }
    match Rules::new(parsed.iter().map(|one| (&one.id, &one.policy))) {
        Ok(rules) if problems.is_empty() => return Ok(rules),
        Ok(_) => {}
        Err((index, what)) => problems.extend(parsed.get(index).map(|one| one.spot.problem(0, what, None))),
    }
    problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    problems.dedup();
    Err(problems)
}

/// The tools policies name, as `(server, tool)`: the schema has an action for each.
pub(crate) fn named(sources: &[Source], catalog: &Catalog) -> Vec<(String, String)> {
    let policies = sources.iter().flat_map(|source| pieces(&source.text));
    let fitting = policies.filter(|piece| piece.size == Size::Fits);
    fitting
        .filter_map(|piece| Policy::parse(None, piece.text).ok())
        .flat_map(|policy| names::check(&policy, catalog).1)
        .collect()
}

/// A policy that could be read.
struct Parsed<'a> {
    id: Rc<str>,
    policy: Policy,
    text: &'a str,
    spot: Spot<'a>,
    /// Whether it names what is not there.
    is_misnamed: bool,
    /// A tool it names whose arguments are not known, as `(server, tool)`.
    unpinned: Option<(String, String)>,
}

/// What is more than a set may have.
fn too_much(sources: &[Source], found: &[(&Source, Piece<'_>)]) -> Option<Problem> {
    let bytes: usize = sources.iter().map(|source| source.text.len()).sum();
    if let Some(source) = sources.last().filter(|_| bytes > BYTES_MAX) {
        let what = format!("the policies have {bytes} bytes; a set may have {BYTES_MAX}");
        return Some(Spot { file: &source.name, text: &source.text, offset: 0 }.problem(0, what, None));
    }
    let (source, piece) = found.get(POLICIES_MAX)?;
    let what = format!("there are {} policies; a set may have {POLICIES_MAX}", found.len());
    Some(spot(source, piece).problem(0, what, None))
}

fn spot<'a>(source: &'a Source, piece: &Piece<'a>) -> Spot<'a> {
    Spot { file: &source.name, text: &source.text, offset: piece.offset }
}

fn parse<'a>(spot: Spot<'a>, piece: &Piece<'a>) -> Result<Parsed<'a>, Vec<Problem>> {
    let refused = |what: String| Err(vec![spot.problem(0, what, Some("split it into several policies".to_owned()))]);
    match piece.size {
        Size::Fits => {}
        Size::NestsTooDeep => return refused(format!("the policy nests deeper than {DEPTH_MAX} brackets")),
        Size::ChainsTooLong => return refused(format!("the policy has more than {LINKS_MAX} operators")),
    }
    let policy = Policy::parse(None, piece.text)
        .map_err(|errors| errors.iter().map(|error| spot.diagnosed(error)).collect::<Vec<_>>())?;
    let id: Rc<str> = match policy.annotation("id") {
        Some(id) if id.is_empty() || id.len() > ID_MAX_BYTES || id.chars().any(char::is_control) => {
            let what = format!("an `@id` has 1 to {ID_MAX_BYTES} bytes and no control characters");
            return Err(vec![spot.problem(0, what, None)]);
        }
        Some(id) => id.into(),
        None => {
            let Problem { file, line, .. } = spot.problem(0, "", None);
            format!("{file}:{line}").into()
        }
    };
    // of Cedar's ids nobody hears; two policies of one `@id` are validated both
    let policy = policy.new_id(PolicyId::new(format!("{}:{}", spot.file, spot.offset)));
    Ok(Parsed { id, policy, text: piece.text, spot, is_misnamed: false, unpinned: None })
}

/// Two policies of one id could not be told apart in the record.
fn repeated<'a>(parsed: &'a [Parsed<'_>]) -> impl Iterator<Item = Problem> + 'a {
    let mut seen = BTreeMap::new();
    parsed.iter().filter_map(move |one| match seen.insert(Rc::clone(&one.id), one.spot) {
        None => None,
        Some(first) => {
            let Problem { file, line, .. } = first.problem(0, "", None);
            let what = format!("the id `{}` is taken by the policy at {file}:{line}", one.id);
            Some(one.spot.problem(0, what, Some("give each policy an `@id` of its own".to_owned())))
        }
    })
}

fn check_names(parsed: &mut [Parsed<'_>], catalog: &Catalog, problems: &mut Vec<Problem>) -> Vec<(String, String)> {
    let mut named = Vec::new();
    for one in parsed {
        let (mut unknown, tools) = names::check(&one.policy, catalog);
        unknown.extend(names::exact_group(&one.policy));
        one.is_misnamed = !unknown.is_empty();
        one.unpinned = tools.iter().find(|(server, tool)| !catalog.has(server, tool)).cloned();
        named.extend(tools);
        problems.extend(unknown.into_iter().map(|names::Unknown { literal, what, hint }| {
            one.spot.problem(one.text.find(&literal).unwrap_or_default(), what, hint)
        }));
    }
    named.sort();
    named.dedup();
    named
}

/// What Cedar's validator finds. A policy whose scope is at one server is validated against the tools of that server
/// alone: no other can ever meet it.
fn validate(parsed: &[Parsed<'_>], catalog: &Catalog, named: &[(String, String)], inputs: &Inputs) -> Vec<Problem> {
    let mut groups: BTreeMap<(Detail, Option<&str>), Vec<&Parsed<'_>>> = BTreeMap::new();
    // What follows from a name that is not there would bury it: one misspelt tool leaves a policy that may mean any action.
    for one in parsed.iter().filter(|one| !one.is_misnamed) {
        let constraint = Constraint::resource(&one.policy);
        let name = constraint.names().filter(|uid| Kind::of(uid).is_some());
        let name = name.map(|uid| uid.id().unescaped().split('/').next().unwrap_or_default());
        let server = name.and_then(|name| catalog.server(name)).map(|server| server.name.as_str());
        groups.entry((detail(one), server)).or_default().push(one);
    }
    let servers = |name: Option<&str>| -> Vec<&CatalogServer> {
        catalog.servers.iter().filter(|server| name.is_none_or(|name| name == server.name)).collect()
    };
    groups
        .into_iter()
        .flat_map(|((detail, name), policies)| {
            validate_against(schema::to_json(servers(name), detail, named, inputs), &policies)
        })
        .collect()
}

/// Which tools must be told apart to validate a policy: those it names, unless it reads arguments of groups of them.
fn detail(one: &Parsed<'_>) -> Detail {
    let names_tools = |ids: &[String]| ids.iter().all(|id| id.contains('/') && !id.ends_with("/*"));
    let is_named = match Actions::of(&one.policy) {
        Actions::Any => false,
        Actions::Exactly(_) => true,
        Actions::Within(ids) => names_tools(&ids),
    };
    if is_named || !one.text.contains("arguments") { Detail::NamedTools } else { Detail::EveryTool }
}

fn validate_against(json: serde_json::Value, policies: &[&Parsed<'_>]) -> Vec<Problem> {
    let of_first = |what: String| policies.first().map(|one| one.spot.problem(0, what, None)).into_iter().collect();
    let schema = match schema::compile(json) {
        Ok(schema) => schema,
        Err(error) => return of_first(format!("the names in the configuration make no schema: {error}")),
    };
    let set = match PolicySet::from_policies(policies.iter().map(|one| one.policy.clone())) {
        Ok(set) => set,
        Err(error) => return of_first(error.to_string()),
    };
    let result = Validator::new(schema).validate_with_level(&set, ValidationMode::Strict, LEVEL);
    let at = |id: &PolicyId| policies.iter().find(|one| id == one.policy.id());
    let errors = result.validation_errors().filter_map(|error| {
        let one = at(error.policy_id())?;
        let mut problem = one.spot.diagnosed(error);
        if let (ValidationError::UnsafeAttributeAccess(_), Some((server, tool))) = (error, &one.unpinned) {
            let hint = format!(
                "if it is an argument of `{server}/{tool}`: its schema is not known, pin the tools of `{server}`"
            );
            problem.hint.get_or_insert(hint);
        }
        Some(problem)
    });
    let warnings = result.validation_warnings().filter_map(|warning| {
        let one = at(warning.policy_id())?;
        let is_wrong =
            !matches!(warning, ValidationWarning::MixedScriptString(_) | ValidationWarning::ConfusableIdentifier(_));
        is_wrong.then(|| one.spot.diagnosed(warning as &dyn Diagnostic))
    });
    errors.chain(warnings).collect()
}

/// Policies may ask attributes of the principal and the resource, not of entities they name: those are not loaded.
const LEVEL: u32 = 1;
const POLICIES_MAX: usize = 1000;
const BYTES_MAX: usize = 1 << 20;
const ID_MAX_BYTES: usize = 128;

#[cfg(test)]
mod tests;
