//! What is a conversation about? Said with every request, so that one that was forgotten can be made again.

use std::{fmt::Write as _, time::Duration};

use bridge::{
    down::{self, Down},
    facade::Facade,
    up::Up,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use serde::{Deserialize, Serialize};

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
    /// Of the tests.
    #[cfg(test)]
    Echo,
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
    pub(super) fn facade(&self) -> Result<Box<dyn Facade>, String> {
        match &self.face {
            Face::Down(terms) => Ok(Box::new(Down::new(terms.clone()))),
            Face::Up => Ok(Box::new(Up::new())),
            #[cfg(test)]
            Face::Echo => Ok(Box::new(super::tests::Echo::default())),
        }
    }

    /// For how long the conversation may rest before it ends.
    pub(super) fn idle(&self, config: &Config) -> Duration {
        match &self.behind {
            Behind::Instance(server) => config.registry.configured(server).map_or(IDLE, |target| target.server().idle),
            Behind::Federation { .. } => JOINT_IDLE,
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
const JOINT_IDLE: Duration = Duration::from_secs(1_800);
/// Of a server that is not configured any more.
const IDLE: Duration = Duration::from_secs(60);
