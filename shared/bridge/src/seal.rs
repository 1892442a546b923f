//! Is this `requestState` ours, and the caller's?
//!
//! What a caller keeps between the rounds of a request is sealed: nobody but the gateway can read or write it, and it opens
//! for the principal, the endpoint and the request it was made for only, and only for a time (MCP 2026-07-28
//! basic/patterns/mrtr, Security). It is not used up by being opened: who must not do a thing twice keeps count, as the
//! conversation does by naming its round in `inner`.
//!
//! A state is `ts1.` and base64url of the nonce (24 bytes), what is sealed, and the tag of XChaCha20-Poly1305 (16 bytes).
//! Sealed are the principal (32 bytes), the digest of the request (32), the time it expires (8), and a JSON array of the
//! three strings. So a state has 4 + 4/3 × (112 + JSON) characters: about 220 with a server, a conversation and `3.1`.
//!
//! Principal and request are inside, and not associated data, so that an operator can be told which of them was wrong. This
//! gives nothing away: they are looked at when the tag has proved that the gateway itself wrote them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{AeadInPlace as _, KeyInit as _, Tag, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use mcp::{
    Call, Timestamp, canonical,
    digest::{self, Sha256Digest},
    json,
};
use serde_json::Value;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// Seals and opens `requestState` with the gateway's key.
#[derive(Clone)]
pub struct Sealer(XChaCha20Poly1305);

/// What a caller keeps for the gateway between two rounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The server's own state, to be given back exactly; `None` where it gave none.
    pub inner: Option<String>,
    /// The conversation in which the exchange waits; `None` where the server keeps everything in its state.
    pub conversation: Option<String>,
    /// The server the state belongs to.
    pub server: String,
    /// From when on it does not open any more.
    pub expires: Timestamp,
}

/// Whose state it is, and of which request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    principal: [u8; 32],
    request: Sha256Digest,
}

/// The parameters of a request cannot be read strictly, so nobody can tell two of them apart.
#[derive(Debug, thiserror::Error)]
#[error("the parameters cannot be read: {0}")]
pub struct Unreadable(#[from] serde_json::Error);

/// A state or an answer is longer than is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the state of a request is longer than 131072 bytes")]
pub struct TooLong;

/// Why a state does not open. The caller is told one thing ([`Refusal::PUBLIC`], -32602), the operator this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It was not sealed with this key: made up, cut off, changed, or from before the key was replaced.
    #[error("the `requestState` was not sealed here, or was changed")]
    Foreign,
    /// It is somebody else's.
    #[error("the `requestState` was sealed for another principal")]
    Principal,
    /// It belongs to another endpoint, method or to other parameters.
    #[error("the `requestState` was sealed for another request")]
    Request,
    /// Its time is over.
    #[error("the `requestState` has expired")]
    Expired,
}

impl Refusal {
    /// What the caller reads, whatever the reason.
    pub const PUBLIC: &'static str =
        "the `requestState` is not valid for this request; send the request again without it";

    /// The JSON-RPC error code.
    #[must_use]
    pub const fn code(self) -> i64 {
        mcp::jsonrpc::code::INVALID_PARAMS
    }
}

impl Sealer {
    /// A sealer with `key`, the gateway's secret; its purpose is mixed in, so that no other use shares its output.
    /// `None` when the key is shorter than 32 bytes.
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        let long_enough = key.len() >= KEY_MIN;
        let mut derive = <Hmac<Sha256> as hmac::Mac>::new_from_slice(key).ok().filter(|_| long_enough)?;
        derive.update(b"turnpike request state v1");
        Some(Self(XChaCha20Poly1305::new(&derive.finalize().into_bytes())))
    }

    /// A sealer with the key that `text` spells in base64url, with or without padding.
    #[must_use]
    pub fn from_base64url(text: &str) -> Option<Self> {
        Self::new(&URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('=')).ok()?)
    }

    /// The state that keeps `sealed` for `binding`. `nonce` is random, and never the same twice.
    ///
    /// # Errors
    /// [`TooLong`]
    pub fn seal(&self, nonce: [u8; 24], binding: &Binding, sealed: &Sealed) -> Result<String, TooLong> {
        let strings = (&sealed.inner, &sealed.conversation, &sealed.server);
        let strings = serde_json::to_vec(&strings).map_err(|_| TooLong)?;
        let mut bytes =
            [&binding.principal[..], &binding.request, &sealed.expires.as_millis().to_be_bytes(), &strings].concat();
        if bytes.len() > SEALED_MAX_BYTES {
            return Err(TooLong);
        }
        let tag = self
            .0
            .encrypt_in_place_detached(&XNonce::from(nonce), PREFIX.as_bytes(), &mut bytes)
            .map_err(|_| TooLong)?;
        Ok([PREFIX, &URL_SAFE_NO_PAD.encode([&nonce[..], &bytes, &tag].concat())].concat())
    }

    /// What `state` keeps, if it was sealed for `binding` and has not expired `now`.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn open(&self, state: &str, binding: &Binding, now: Timestamp) -> Result<Sealed, Refusal> {
        let plain = self.decrypt(state).ok_or(Refusal::Foreign)?;
        let (principal, rest) = plain.split_first_chunk::<32>().ok_or(Refusal::Foreign)?;
        let (request, rest) = rest.split_first_chunk::<32>().ok_or(Refusal::Foreign)?;
        let (expires, strings) = rest.split_first_chunk::<8>().ok_or(Refusal::Foreign)?;
        let strings: Strings = serde_json::from_slice(strings).map_err(|_| Refusal::Foreign)?;
        if !bool::from(principal.ct_eq(&binding.principal)) {
            return Err(Refusal::Principal);
        }
        if !bool::from(request.ct_eq(&binding.request)) {
            return Err(Refusal::Request);
        }
        let expires = Timestamp::from_millis(u64::from_be_bytes(*expires));
        if now >= expires {
            return Err(Refusal::Expired);
        }
        let (inner, conversation, server) = strings;
        Ok(Sealed { inner, conversation, server, expires })
    }

    fn decrypt(&self, state: &str) -> Option<Vec<u8>> {
        if state.len() > STATE_MAX_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(state.strip_prefix(PREFIX)?).ok()?;
        let (nonce, rest) = bytes.split_first_chunk::<NONCE>()?;
        let (sealed, tag) = rest.split_last_chunk::<TAG>()?;
        let mut plain = sealed.to_vec();
        let (nonce, tag) = (XNonce::from(*nonce), Tag::from(*tag));
        self.0.decrypt_in_place_detached(&nonce, PREFIX.as_bytes(), &mut plain, &tag).ok()?;
        Some(plain)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(..)")
    }
}

impl Binding {
    /// Binds to the principal, the endpoint it calls (a server's name, or `@name` of a virtual one), and the request as the
    /// caller spelled it: method and parameters, but for what differs between the rounds (`_meta`, `inputResponses`,
    /// `requestState`). White space, the order of keys and the spelling of numbers do not count.
    ///
    /// # Errors
    /// [`Unreadable`]
    pub fn of(principal: &[u8; 32], endpoint: &str, call: &Call<'_>) -> Result<Self, Unreadable> {
        let params = match call.params {
            Some(params) => json::strict(params.get())?,
            None => Value::Null,
        };
        let members = params.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value));
        let params = canonical::object(members.filter(|(key, _)| !ROUND.contains(key)));
        let parts = Value::from(vec![endpoint, &call.method, &params]);
        Ok(Self { principal: *principal, request: digest::sha256(canonical::text(&parts).as_bytes()) })
    }
}

/// Inner state, conversation, server.
type Strings = (Option<String>, Option<String>, String);

/// The version of the format; it is authenticated with the rest.
const PREFIX: &str = "ts1.";
/// The parameters that belong to one round of a request.
const ROUND: [&str; 3] = ["_meta", "inputResponses", "requestState"];
const NONCE: usize = 24;
const TAG: usize = 16;
const KEY_MIN: usize = 32;
const SEALED_MAX_BYTES: usize = 128 * 1024;
const STATE_MAX_BYTES: usize = 4 + (NONCE + SEALED_MAX_BYTES + TAG).div_ceil(3) * 4;

#[cfg(test)]
mod tests;
