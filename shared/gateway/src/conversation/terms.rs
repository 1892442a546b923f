//! What is a conversation about? Said with every request, so that one that was forgotten can be made again.

use std::{fmt::Write as _, time::Duration};

use bridge::{
    down::{self, Down},
    facade::{Facade, Life},
    old::{Sse, SseTerms, Streamable, StreamableTerms},
    up::Up,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::config::Config;

/// What a conversation is about: which façade, and what is behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// The façade.
    pub face: Face,
    /// What it speaks to.
    pub behind: Behind,
}

/// Which façade it is, and what that has to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Face {
    /// A modern server in front of a legacy one.
    Down(down::Terms),
    /// A legacy server in front of a modern one.
    Up,
    /// A Streamable HTTP server in front of one of HTTP+SSE.
    Streamable(StreamableTerms),
    /// An HTTP+SSE server in front of the gateway's own endpoint.
    Sse(SseTerms),
}

/// What a façade speaks to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Behind {
    /// An instance of the configured server of this name.
    Instance(String),
    /// Many servers that look like one.
    Federation {
        /// The name of the endpoint `/mcp/@{name}`; none for `/mcp`.
        endpoint: Option<String>,
        /// The servers its caller may know of.
        servers: Vec<String>,
        /// Whose sessions with legacy servers are used: hexadecimal.
        principal: String,
    },
    /// The HTTP+SSE stream at this instance of the configured server.
    Stream {
        /// The server.
        server: String,
        /// The URL.
        instance: String,
    },
    /// The gateway's own endpoint of this name: each request takes the path of one that came there.
    Endpoint(String),
}

impl Terms {
    /// Says with `request` what its conversation is about.
    ///
    /// # Errors
    /// If that cannot be spelled.
    pub fn tell(&self, request: &mut Request<Bytes>) -> Result<(), String> {
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        let value = HeaderValue::from_str(&in_ascii(&text)).map_err(|error| error.to_string())?;
        request.headers_mut().insert(TERMS, value);
        Ok(())
    }

    pub(super) fn read(headers: &HeaderMap) -> Result<Self, String> {
        let text = headers.get(TERMS).ok_or("there are none")?.to_str().map_err(|error| error.to_string())?;
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// The façade they ask for.
    pub(super) fn facade(&self, life: Life) -> Box<dyn Facade> {
        match &self.face {
            // Who is gone with the request can be asked nothing.
            Face::Down(terms) if life == Life::Request => {
                Box::new(Down::new(down::Terms { capabilities: json!({}), ..terms.clone() }))
            }
            Face::Down(terms) => Box::new(Down::new(terms.clone())),
            Face::Up => Box::new(Up::new(life)),
            Face::Streamable(terms) => Box::new(Streamable::new(terms.clone())),
            Face::Sse(terms) => Box::new(Sse::new(terms.clone())),
        }
    }

    /// For how long the conversation may rest before it ends.
    pub(super) fn idle(&self, config: &Config, life: Life) -> Duration {
        if life == Life::Request {
            return Duration::ZERO;
        }
        let idle = match &self.behind {
            Behind::Instance(server) | Behind::Stream { server, .. } => {
                config.registry.configured(server).map_or(IDLE_DOWN, |target| target.server().idle)
            }
            Behind::Federation { .. } => IDLE_JOINT,
            Behind::Endpoint(_) => IDLE_DOWN,
        };
        match self.face {
            Face::Down(_) => idle.min(IDLE_DOWN),
            Face::Up | Face::Streamable(_) | Face::Sse(_) => idle,
        }
    }
}

/// JSON without characters that no header may have.
fn in_ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && !c.is_ascii_control() {
            text.push(c);
        } else {
            // Outside of strings JSON has none of these.
            let _ = c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(text, "\\u{unit:04x}"));
        }
    }
    text
}

/// The header that carries [`Terms`].
pub const TERMS: HeaderName = HeaderName::from_static("turnpike-terms");
/// Of a session with many servers.
const IDLE_JOINT: Duration = Duration::from_secs(1_800);
/// A session with a legacy server is ended while there still is somebody to do it: on Workers an object that nobody calls is
/// forgotten after 70 seconds at the earliest (Durable Objects, Lifecycle).
const IDLE_DOWN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_come_back_as_they_were_told_whatever_is_in_them() {
        let down = down::Terms {
            server: "files".to_owned(),
            capabilities: json!({ "elicitation": {} }),
            client_info: Some(json!({ "name": "ünï\u{1}\u{1f600}\r\nx: y", "version": "1" })),
            parked_ms: 600_000,
        };
        for face in [Face::Down(down), Face::Up] {
            let terms = Terms { face, behind: Behind::Instance("files".to_owned()) };
            let mut request = Request::new(Bytes::new());
            terms.tell(&mut request).unwrap();
            assert!(request.headers()[TERMS].as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte)));
            assert_eq!(Terms::read(request.headers()).unwrap(), terms);
        }
    }
}
