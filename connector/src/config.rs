//! What does the operator want run? `connector.toml`, validated once, all problems at once.

mod section;

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

pub use self::section::Problem;
use self::section::{Section, line_of};
use crate::secret::Secret;

/// Reads and validates the file at `path`.
///
/// # Errors
/// Every [`Problem`] of the file and of what it refers to.
pub fn load(path: &Path) -> Result<Settings, Vec<Problem>> {
    let source = fs::read_to_string(path).map_err(|error| {
        let hint = "name the file with --config FILE".to_owned();
        vec![Problem { line: None, message: format!("cannot read `{}`: {error}", path.display()), hint: Some(hint) }]
    })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    parse(&source, &folder)
}

/// What the connector runs and how. Every value has been checked.
#[derive(Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// What a caller must know.
    pub secret: Secret,
    /// Where the secret came from, for `check`.
    pub secret_source: String,
    /// The bounds of every session.
    pub limits: Limits,
    /// The servers in the order of the file.
    pub servers: Vec<ServerSettings>,
}

/// The bounds of every session.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sessions, and so server processes, at any time.
    pub max_sessions: usize,
    /// Requests of one session that may wait for an answer.
    pub max_in_flight: usize,
    /// A message, in either direction.
    pub max_message_bytes: usize,
    /// A session nobody uses ends after this time.
    pub idle_timeout: Duration,
    /// A request is given up after this time.
    pub request_timeout: Duration,
    /// A server that keeps quiet for this time when it is asked for its era is asked for `initialize` as well.
    pub probe_timeout: Duration,
    /// A server has this time to end by itself, and again after SIGTERM.
    pub shutdown_grace: Duration,
}

/// A stdio server.
#[derive(Debug)]
pub struct ServerSettings {
    /// Its name in the path.
    pub name: String,
    /// The program, found.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, OsString)>,
    /// Its working directory.
    pub cwd: PathBuf,
    /// Its sessions at any time, and likewise the subscriptions of its modern callers.
    pub max_sessions: usize,
    /// Which revisions it speaks.
    pub era: Era,
}

/// Which revisions a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// That is found out.
    Auto,
    /// 2025-11-25 and older only.
    Legacy,
    /// 2026-07-28 only.
    Modern,
}

impl fmt::Display for ServerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        writeln!(f, "  {}", self.name)?;
        writeln!(f, "    runs       {} {}", self.program.display(), self.args.join(" "))?;
        writeln!(f, "    in         {}", self.cwd.display())?;
        writeln!(
            f,
            "    with       {}",
            if names.is_empty() { "an empty environment".into() } else { names.join(", ") }
        )?;
        writeln!(f, "    sessions   at most {}", self.max_sessions)?;
        write!(f, "    speaks     {}", self.era)
    }
}

impl fmt::Display for Era {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "the era it is found to speak",
            Self::Legacy => "MCP 2024-11-05 to 2025-11-25",
            Self::Modern => "MCP 2026-07-28",
        })
    }
}

fn parse(source: &str, folder: &Path) -> Result<Settings, Vec<Problem>> {
    let (root, errors) = DeTable::parse_recoverable(source);
    if !errors.is_empty() {
        return Err(errors.iter().map(|error| syntax(source, error)).collect());
    }
    let empty = DeTable::new();
    let mut file = Section::root(source, root.get_ref());
    let mut problems = Vec::new();
    let own = Own::read(file.section("connector", "[connector]", &empty), folder, &mut problems);
    let sections = file.sections("servers", "[[servers]]");
    if sections.is_empty() {
        file.problem("servers", "no server is configured".to_owned(), "add `[[servers]]` with `name` and `command`");
    }
    problems.extend(file.finish());
    let mut servers: Vec<ServerSettings> = Vec::new();
    for mut section in sections {
        let server = read_server(&mut section, folder, &own);
        if servers.iter().any(|other| other.name == server.name) {
            section.problem("name", format!("server `{}` is there twice", server.name), "give each its own name");
        }
        problems.extend(section.finish());
        servers.push(server);
    }
    match own.secret {
        Some((secret, secret_source)) if problems.is_empty() => {
            Ok(Settings { listen: own.listen, secret, secret_source, limits: own.limits, servers })
        }
        _ => Err(problems),
    }
}

/// The section `[connector]`.
struct Own {
    listen: SocketAddr,
    secret: Option<(Secret, String)>,
    secret_env: Option<String>,
    limits: Limits,
}

impl Own {
    fn read(mut section: Section<'_>, folder: &Path, problems: &mut Vec<Problem>) -> Self {
        let listen = read_listen(&mut section);
        let (secret_env, secret_file) = (section.text("secret_env"), section.text("secret_file"));
        let secret_env = match (&secret_env, &secret_file) {
            (None, None) => Some(SECRET_ENV.to_owned()),
            _ => secret_env,
        };
        let secret = read_secret(&mut section, secret_env.as_deref(), secret_file.map(|file| folder.join(file)));
        let mut duration_ms = |key, default| Duration::from_millis(section.count(key, default, DAY_MS));
        let (idle_timeout, request_timeout) =
            (duration_ms("idle_timeout_ms", 1_800_000), duration_ms("request_timeout_ms", 300_000));
        let (probe_timeout, shutdown_grace) =
            (duration_ms("probe_timeout_ms", 5_000), duration_ms("shutdown_grace_ms", 2_000));
        let mut number = |key, default, max| usize::try_from(section.count(key, default, max)).unwrap_or(usize::MAX);
        let limits = Limits {
            max_sessions: number("max_sessions", 64, 10_000),
            max_in_flight: number("max_in_flight", 64, 10_000),
            max_message_bytes: number("max_message_bytes", 4 << 20, 256 << 20),
            idle_timeout,
            request_timeout,
            probe_timeout,
            shutdown_grace,
        };
        problems.extend(section.finish());
        Self { listen, secret, secret_env, limits }
    }
}

fn read_listen(section: &mut Section<'_>) -> SocketAddr {
    let default = SocketAddr::from(([127, 0, 0, 1], 3100));
    let beyond_loopback = section.flag("listen_beyond_loopback");
    let Some(text) = section.text("listen") else { return default };
    match text.parse::<SocketAddr>() {
        Ok(listen) if listen.ip().is_loopback() || beyond_loopback => return listen,
        Ok(_) => section.problem(
            "listen",
            format!("`{text}` can be reached from other machines"),
            "listen on 127.0.0.1, or set `listen_beyond_loopback = true` and put TLS in front",
        ),
        Err(_) => section.problem("listen", format!("`{text}` is no address with a port"), "write \"127.0.0.1:3100\""),
    }
    default
}

fn read_secret(
    section: &mut Section<'_>,
    secret_env: Option<&str>,
    secret_file: Option<PathBuf>,
) -> Option<(Secret, String)> {
    let (key, source, found) = match (secret_env, secret_file) {
        (Some(_), Some(_)) => {
            let message = "`secret_env` and `secret_file` exclude each other".to_owned();
            section.problem("secret_file", message, "keep one of them");
            return None;
        }
        (Some(name), None) => {
            let found = env::var(name).map_err(|_| format!("the environment variable `{name}` is not set"));
            ("secret_env", format!("the environment variable {name}"), found)
        }
        (None, file) => {
            let file = file.unwrap_or_default();
            let found = fs::read_to_string(&file)
                .map_err(|error| format!("cannot read the secret in `{}`: {error}", file.display()));
            ("secret_file", format!("the file {}", file.display()), found)
        }
    };
    match found.and_then(|text| Secret::new(text.trim_end()).map_err(|error| format!("{source}: {error}"))) {
        Ok(secret) => Some((secret, source)),
        Err(message) => {
            section.problem(key, message, "make one with `openssl rand -hex 32` and give it to the gateway too");
            None
        }
    }
}

fn read_server(section: &mut Section<'_>, folder: &Path, own: &Own) -> ServerSettings {
    let name = section.required_text("name");
    if !name.is_empty() && !is_name(&name) {
        let hint = "use up to 64 of a-z, 0-9, `-` and `_`, beginning with a letter or a digit";
        section.problem("name", format!("`{name}` cannot stand in a path"), hint);
    }
    let cwd = section.text("cwd").map_or_else(|| folder.to_owned(), |cwd| folder.join(cwd));
    if !cwd.is_dir() {
        section.problem("cwd", format!("`{}` is no folder", cwd.display()), "");
    }
    let env = read_env(section, own);
    let program = read_program(section, folder, &env);
    let args = section.texts("args").unwrap_or_default();
    let all = own.limits.max_sessions as u64;
    let max_sessions = usize::try_from(section.count("max_sessions", all, all)).unwrap_or(usize::MAX);
    let era = read_era(section);
    ServerSettings { name, program, args, env, cwd, max_sessions, era }
}

fn read_era(section: &mut Section<'_>) -> Era {
    match section.text("era").as_deref() {
        None | Some("auto") => Era::Auto,
        Some("legacy") => Era::Legacy,
        Some("modern") => Era::Modern,
        Some(other) => {
            let message = format!("`{}` is no era", other.escape_debug());
            section.problem("era", message, "write \"auto\", \"legacy\" or \"modern\"");
            Era::Auto
        }
    }
}

/// What the server sees of the connector's environment, and what the file sets.
fn read_env(section: &mut Section<'_>, own: &Own) -> Vec<(String, OsString)> {
    let names = section.texts("env").unwrap_or_else(|| ENV.map(str::to_owned).to_vec());
    if let Some(name) = names.iter().find(|name| Some(*name) == own.secret_env.as_ref()) {
        section.problem("env", format!("`{name}` is the connector's own secret"), "no server may see it");
    }
    let set = section.text_pairs("set_env");
    let is_odd = |name: &String| name.is_empty() || name.contains(['=', '\0']);
    if let Some(name) = names.iter().chain(set.iter().map(|(name, _)| name)).find(|name| is_odd(name)) {
        let message = format!("`{}` cannot name an environment variable", name.escape_debug());
        section.problem("env", message, "");
    }
    let passed = names.into_iter().filter(|name| !is_odd(name) && set.iter().all(|(other, _)| other != name));
    let passed = passed.filter_map(|name| env::var_os(&name).map(|value| (name, value)));
    let set = set.iter().filter(|(name, _)| !is_odd(name)).map(|(name, value)| (name.clone(), value.into()));
    passed.chain(set).collect()
}

/// A command with a slash is a file, any other one is looked for in the server's own PATH, or else the connector's.
fn read_program(section: &mut Section<'_>, folder: &Path, env: &[(String, OsString)]) -> PathBuf {
    let command = section.required_text("command");
    if command.is_empty() {
        return PathBuf::new();
    }
    let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.clone());
    match which::which_in(&command, path.or_else(|| env::var_os("PATH")), folder) {
        Ok(program) => program,
        Err(_) => {
            let hint = match command.contains(char::is_whitespace) {
                true => "there is no shell: put the arguments into `args`",
                false => "install it, or name the file with its path",
            };
            section.problem("command", format!("`{command}` is no program that can be run"), hint);
            PathBuf::new()
        }
    }
}

fn is_name(name: &str) -> bool {
    let of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 64 && name.starts_with(of_name) && name.chars().all(|c| of_name(c) || matches!(c, '-' | '_'))
}

fn syntax(source: &str, error: &toml::de::Error) -> Problem {
    let line = error.span().map(|span| line_of(source, span.start));
    Problem { line, message: format!("not TOML: {}", error.message()), hint: None }
}

const SECRET_ENV: &str = "TURNPIKE_CONNECTOR_SECRET";
const ENV: [&str; 6] = ["PATH", "HOME", "USER", "LANG", "TMPDIR", "TZ"];
const DAY_MS: u64 = 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        parse(text, Path::new("/")).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_problem_is_told_at_once_with_its_line_and_a_hint() {
        let found = problems(
            "[connector]\nlisten = \"0.0.0.0:3100\"\nsecret_file = \"/nowhere/secret\"\nmax_sesions = 3\nidle_timeout_ms = 0\n\
             [[servers]]\nname = \"A B\"\ncomand = \"sh\"\nargs = [1]\nera = \"old\"\n[[servers]]\nname = \"x\"\ncommand = \"npx -y foo\"\n",
        );
        let expected = [
            "line 2: `0.0.0.0:3100` can be reached",
            "line 3: cannot read the secret in `/nowhere/secret`",
            "line 4: unknown key `max_sesions` in [connector] (hint: did you mean `max_sessions`?)",
            "line 5: `idle_timeout_ms` must be from 1",
            "line 7: `A B` cannot stand in a path",
            "line 6: `command` is missing in [[servers]]",
            "line 8: unknown key `comand` in [[servers]] (hint: did you mean `command`?)",
            "line 9: `args` in [[servers]] must be an array of strings",
            "line 10: `old` is no era (hint: write \"auto\", \"legacy\" or \"modern\")",
            "line 13: `npx -y foo` is no program that can be run (hint: there is no shell",
        ];
        for text in expected {
            assert!(found.iter().any(|problem| problem.starts_with(text)), "no {text:?} in {found:#?}");
        }
        assert_eq!(found.len(), expected.len(), "{found:#?}");
    }

    #[test]
    fn the_readme_shows_every_key() {
        let readme = include_str!("../README.md");
        let example = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let found = problems(example);
        let is_of_this_machine =
            |problem: &&String| problem.contains("is not set") || problem.contains("is no program");
        assert!(found.iter().all(|problem| is_of_this_machine(&problem)), "{found:#?}");
        let unknown = problems("[connector]\nzzzz = 1\n[[servers]]\nzzzz = 1\n");
        let known = unknown.iter().filter_map(|problem| problem.split("known keys are ").nth(1));
        let known: Vec<_> = known.flat_map(|keys| keys.trim_end_matches(')').split(", ")).collect();
        assert!(known.len() > 15, "{known:?}");
        assert_eq!(known.iter().find(|key| !example.contains(&format!("{key} ="))), None);
    }

    #[test]
    fn a_file_that_is_no_toml_is_told_with_its_line() {
        assert!(problems("[connector]\nlisten = \n").first().unwrap().starts_with("line 2: not TOML"));
    }

    #[test]
    fn no_server_is_given_the_connectors_secret() {
        let found = problems("[[servers]]\nname = \"x\"\ncommand = \"sh\"\nenv = [\"TURNPIKE_CONNECTOR_SECRET\"]\n");
        assert!(found.iter().any(|problem| problem.contains("is the connector's own secret")), "{found:?}");
    }
}
