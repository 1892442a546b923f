//! How is a gateway asked? Over its operators' API, with a token that is never named on a command line.

use std::{env, fs, path::PathBuf, time::Duration};

use anyhow::{Result, anyhow};
use clap::Args;
use reqwest::{Method, StatusCode, Url, header, redirect};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{failure::Failure, output::printable};

/// Which gateway, and who asks.
#[derive(Args, Clone)]
pub(crate) struct Address {
    /// The gateway, such as https://mcp.example.com
    #[arg(long, env = "TURNPIKE_URL", hide_env_values = true, value_name = "URL", global = true)]
    gateway: Option<String>,
    /// A file with a token of its operators, instead of TURNPIKE_TOKEN
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
}

/// A gateway.
pub(crate) struct Gateway {
    http: reqwest::Client,
    origin: Url,
    token: String,
}

/// What it answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
    challenge: Option<String>,
    path: String,
}

impl Gateway {
    /// The gateway at `address`; nothing is sent yet.
    ///
    /// # Errors
    /// It is not said where it is, or who asks; or the token would be sent in clear.
    pub(crate) fn at(address: &Address) -> Result<Self> {
        let url = address.gateway.as_deref().filter(|url| !url.is_empty());
        let url = url.ok_or_else(|| usage("which gateway? Name it with --gateway URL, or set TURNPIKE_URL"))?;
        let origin = Url::parse(url).map_err(|error| usage(&format!("`{url}` is not a URL: {error}")))?;
        let is_loopback = origin.host_str().is_some_and(|host| ["127.0.0.1", "localhost", "[::1]"].contains(&host));
        if origin.scheme() != "https" && !(origin.scheme() == "http" && is_loopback) {
            return Err(usage(&format!("`{url}` must be https: the token is not sent in clear")));
        }
        if !origin.username().is_empty() || origin.password().is_some() {
            return Err(usage("a URL is no place for credentials: the token stands in TURNPIKE_TOKEN or --token-file"));
        }
        let http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .user_agent(concat!("turnpike/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, origin, token: token(address)? })
    }

    /// As it is named in messages.
    pub(crate) fn name(&self) -> &str {
        self.origin.as_str().trim_end_matches('/')
    }

    /// What stands at `path` with `query`, whatever the status.
    pub(crate) async fn read(&self, path: &str, query: &[(&str, String)]) -> Result<Answer> {
        self.send(Method::GET, path, query, None).await
    }

    /// What stands at `path`; anything but success is an error.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T> {
        self.read(path, query).await?.json()
    }

    /// Puts `body`, a JSON text, at `path`.
    pub(crate) async fn put(&self, path: &str, body: String) -> Result<Answer> {
        self.send(Method::PUT, path, &[], Some(body)).await
    }

    async fn send(&self, method: Method, path: &str, query: &[(&str, String)], body: Option<String>) -> Result<Answer> {
        let mut url = self.origin.join(path).map_err(|error| usage(&format!("`{path}`: {error}")))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request =
            self.http.request(method, url).bearer_auth(&self.token).header(header::ACCEPT, "application/json");
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        }
        let mut response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let challenge = response.headers().get(header::WWW_AUTHENTICATE);
        let challenge = challenge.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_MAX_BYTES {
                return Err(
                    Failure::Unreachable(format!("`{path}` answers with more than {ANSWER_MAX_BYTES} bytes")).into()
                );
            }
        }
        let answer = Answer { status, body, challenge, path: path.to_owned() };
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(answer.into_error()),
            _ => Ok(answer),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        let name = self.name();
        // reqwest's own text names the URL and not the reason.
        let mut reason: &dyn std::error::Error = error;
        while let Some(source) = reason.source() {
            reason = source;
        }
        let advice = if error.is_timeout() { "try again later" } else { "is it running, and is that its URL?" };
        Failure::Unreachable(format!("cannot reach the gateway at {name}: {reason}; {advice}")).into()
    }
}

impl Answer {
    /// The body, of a success.
    ///
    /// # Errors
    /// It is none, or not what was expected.
    pub(crate) fn json<T: DeserializeOwned>(self) -> Result<T> {
        if !self.status.is_success() {
            return Err(self.into_error());
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            Failure::Unreachable(format!(
                "`{}` answers what is not understood: {error}; is this a Turnpike of this version?",
                self.path
            ))
            .into()
        })
    }

    /// The member `key` of the body.
    pub(crate) fn member(&self, key: &str) -> Option<Value> {
        serde_json::from_slice::<Value>(&self.body).ok()?.get(key).cloned()
    }

    /// Why it was refused, and what helps.
    pub(crate) fn into_error(self) -> anyhow::Error {
        let error = self.member("error");
        // What this API says itself says what to do; a refusal of the gateway as such is a JSON-RPC error.
        let is_plain = matches!(error, Some(Value::String(_)));
        let said = error.map(|error| match error {
            Value::String(text) => text,
            Value::Object(error) => error.get("message").and_then(Value::as_str).unwrap_or_default().to_owned(),
            _ => String::new(),
        });
        let said =
            said.filter(|text| !text.is_empty()).map(|text| format!(": {}", printable(&text))).unwrap_or_default();
        let path = &self.path;
        match self.status {
            StatusCode::UNAUTHORIZED => refused(format!(
                "the gateway does not accept the token{said}; set TURNPIKE_TOKEN to a fresh one, for the gateway's URL as audience"
            )),
            StatusCode::FORBIDDEN => {
                let scope = self
                    .challenge
                    .as_deref()
                    .and_then(|challenge| challenge.split("scope=\"").nth(1)?.split('"').next());
                let scope = scope.map(|scope| format!("; it needs the scope `{scope}`")).unwrap_or_default();
                refused(format!("the token may not do this{said}{scope}"))
            }
            StatusCode::NOT_FOUND if is_plain => refused(said.trim_start_matches(": ").to_owned()),
            StatusCode::NOT_FOUND => refused(format!(
                "`{path}` is not there for this token{said}; operators are the tenant that `gateway.operators` names in the live configuration"
            )),
            status if status.is_server_error() => {
                Failure::Unreachable(format!("the gateway answers {status} to `{path}`{said}")).into()
            }
            status => refused(format!("the gateway answers {status} to `{path}`{said}")),
        }
    }
}

fn token(address: &Address) -> Result<String> {
    let token = match &address.token_file {
        Some(file) => fs::read_to_string(file)
            .map_err(|error| usage(&format!("cannot read the token in `{}`: {error}", file.display())))?,
        None => env::var("TURNPIKE_TOKEN").unwrap_or_default(),
    };
    let token = token.trim();
    if token.is_empty() {
        return Err(usage(
            "who asks? Set TURNPIKE_TOKEN to a token of the operators, or name a file with --token-file",
        ));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(usage(
            "the token holds what no token holds: give the token alone, without quotes or lines around it",
        ));
    }
    Ok(token.to_owned())
}

fn usage(text: &str) -> anyhow::Error {
    anyhow!(Failure::Usage(text.to_owned()))
}

fn refused(text: String) -> anyhow::Error {
    anyhow!(Failure::Refused(text))
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(60);
/// A bundle has at most 8 MiB, a page of records far less.
const ANSWER_MAX_BYTES: usize = 16 * 1024 * 1024;
