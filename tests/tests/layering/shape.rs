//! Can the repository be taken in? Files of one sitting, a root of one glance, a map that is complete, links that lead somewhere.

use std::collections::BTreeSet;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::{
    none_may,
    repository::{crates, files, root, text},
    source::sources,
};

#[test]
fn files_have_at_most_500_lines_without_their_tests() {
    let long = sources("").into_iter().filter_map(|source| {
        let lines = text(&source.file).lines().count() - source.test_lines;
        (lines > FILE_MAX_LINES).then(|| format!("{} has {lines}", source.file))
    });
    none_may("a file has at most 500 lines", long);
}

#[test]
fn the_root_has_at_most_20_entries() {
    let entries: BTreeSet<&str> = files().iter().filter_map(|file| file.split('/').next()).collect();
    assert!(entries.len() <= ROOT_MAX_ENTRIES, "the root has {} entries: {entries:?}", entries.len());
}

#[test]
fn the_map_is_short_and_names_every_crate() {
    let map = text("ARCHITECTURE.md");
    let lines = map.lines().count();
    assert!(lines <= MAP_MAX_LINES, "ARCHITECTURE.md has {lines} lines, more than {MAP_MAX_LINES}");
    let missing = crates().iter().filter(|one| !map.contains(&one.folder)).map(|one| one.folder.clone());
    none_may("ARCHITECTURE.md names every crate by its folder", missing);
}

#[test]
fn links_lead_somewhere() {
    let pages: Vec<&String> = files().iter().filter(|file| file.ends_with(".md")).collect();
    assert!(!pages.is_empty(), "there is no page at all");
    let broken = pages.iter().flat_map(|page| {
        let dead = links(&text(page)).into_iter().filter(|link| !leads_somewhere(page, link));
        dead.map(|link| format!("{page}: {link}")).collect::<Vec<_>>()
    });
    none_may("every link leads to a file, and to a heading if it names one", broken);
}

fn links(page: &str) -> Vec<String> {
    let links = Parser::new_ext(page, Options::ENABLE_TABLES).filter_map(|event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url.to_string()),
        _ => None,
    });
    links.collect()
}

/// Links to other sites are not followed.
fn leads_somewhere(page: &str, link: &str) -> bool {
    if ["https://", "http://", "mailto:"].iter().any(|scheme| link.starts_with(scheme)) {
        return true;
    }
    let (path, heading) = link.split_once('#').map_or((link, None), |(path, heading)| (path, Some(heading)));
    let folder = root().join(page).parent().unwrap().to_owned();
    let target = if path.is_empty() { root().join(page) } else { folder.join(path) };
    let Ok(target) = target.canonicalize() else { return false };
    let is_inside = target.starts_with(root().canonicalize().unwrap());
    let read = || std::fs::read_to_string(&target).unwrap_or_default();
    is_inside && heading.is_none_or(|heading| anchors(&read()).contains(heading))
}

/// The names by which a page's headings are linked to, as GitHub spells them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut heading: Option<String> = None;
    for event in Parser::new_ext(page, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(text) | Event::Code(text) => heading.iter_mut().for_each(|heading| heading.push_str(&text)),
            Event::End(TagEnd::Heading(_)) => anchors.extend(heading.take().map(|heading| anchor(&heading))),
            _ => {}
        }
    }
    anchors
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

const FILE_MAX_LINES: usize = 500;
const ROOT_MAX_ENTRIES: usize = 20;
const MAP_MAX_LINES: usize = 200;
