//! Is this session id ours, and the caller's? A keyed check answers before anything is looked up.
//!
//! An id is 16 random bytes and 16 bytes of HMAC-SHA256 over them, the principal and the server, in base64url. Garbage,
//! another principal's id and another server's id fail the check alike and cost no storage.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Makes and checks session ids with the gateway's key.
#[derive(Clone)]
pub struct Sealer(Hmac<Sha256>);

/// A session id that was made here for this principal and this server. Only [`Sealer`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    nonce: [u8; NONCE],
    mac: [u8; MAC],
}

/// Not an id of this principal and server: made up, cut off or somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session is unknown or has ended; send `initialize` to begin a new one")]
pub struct Unknown;

impl Sealer {
    /// A sealer with `key`, the gateway's secret; its purpose is mixed in, so that no other use shares its output.
    /// `None` when the key is shorter than 32 bytes.
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        let long_enough = key.len() >= KEY_MIN;
        let mut derive = <Hmac<Sha256> as hmac::Mac>::new_from_slice(key).ok().filter(|_| long_enough)?;
        derive.update(b"turnpike session id v1");
        <Hmac<Sha256> as hmac::Mac>::new_from_slice(&derive.finalize().into_bytes()).ok().map(Self)
    }

    /// A sealer with the key that `text` spells in base64url, with or without padding.
    #[must_use]
    pub fn from_base64url(text: &str) -> Option<Self> {
        let key = URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('=')).ok()?;
        Self::new(&key)
    }

    /// A new id from 16 random bytes.
    #[must_use]
    pub fn mint(&self, nonce: [u8; 16], principal: &[u8; 32], server: &str) -> Ticket {
        let mut mac = [0; MAC];
        let tag = self.tag(&nonce, principal, server).finalize().into_bytes();
        mac.iter_mut().zip(tag).for_each(|(to, from)| *to = from);
        Ticket { nonce, mac }
    }

    /// The ticket `id` spells, if it was made for this principal and server. Compares in constant time.
    ///
    /// # Errors
    /// [`Unknown`]
    pub fn check(&self, id: &str, principal: &[u8; 32], server: &str) -> Result<Ticket, Unknown> {
        let mut bytes = [0; NONCE + MAC];
        match URL_SAFE_NO_PAD.decode_slice(id, &mut bytes) {
            Ok(length) if length == bytes.len() => {}
            _ => return Err(Unknown),
        }
        let (nonce, mac) = bytes.split_first_chunk::<NONCE>().ok_or(Unknown)?;
        self.tag(nonce, principal, server).verify_truncated_left(mac).map_err(|_| Unknown)?;
        let mac = mac.try_into().map_err(|_| Unknown)?;
        Ok(Ticket { nonce: *nonce, mac })
    }

    fn tag(&self, nonce: &[u8; NONCE], principal: &[u8; 32], server: &str) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(nonce);
        mac.update(principal);
        mac.update(server.as_bytes());
        mac
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(..)")
    }
}

impl Ticket {
    /// The `Mcp-Session-Id`: 43 characters of base64url.
    #[must_use]
    pub fn id(&self) -> String {
        let mut bytes = [0; NONCE + MAC];
        bytes.iter_mut().zip(self.nonce.iter().chain(&self.mac)).for_each(|(to, from)| *to = *from);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What storage and records call the session: not good for anything without the key.
    #[must_use]
    pub fn name(&self) -> String {
        mcp::digest::hex(&self.nonce)
    }
}

const NONCE: usize = 16;
const MAC: usize = 16;
const KEY_MIN: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALICE: [u8; 32] = [1; 32];
    const BOB: [u8; 32] = [2; 32];

    fn sealer() -> Sealer {
        Sealer::new(&[9; 32]).unwrap()
    }

    #[test]
    fn an_id_opens_for_its_principal_and_server_only() {
        let ticket = sealer().mint([7; 16], &ALICE, "memory");
        let id = ticket.id();
        assert_eq!(sealer().check(&id, &ALICE, "memory"), Ok(ticket));
        assert_eq!(sealer().check(&id, &BOB, "memory"), Err(Unknown));
        assert_eq!(sealer().check(&id, &ALICE, "other"), Err(Unknown));
        assert_eq!(Sealer::new(&[8; 32]).unwrap().check(&id, &ALICE, "memory"), Err(Unknown));
    }

    #[test]
    fn a_short_key_makes_no_sealer() {
        assert!(Sealer::new(&[9; 31]).is_none());
    }

    proptest! {
        #[test]
        fn garbage_is_refused(id in ".{0,80}") {
            prop_assert_eq!(sealer().check(&id, &ALICE, "memory"), Err(Unknown));
        }

        #[test]
        fn a_changed_character_is_refused(at in 0_usize..43, to in "[A-Za-z0-9_-]") {
            let mut id = sealer().mint([7; 16], &ALICE, "memory").id();
            prop_assume!(id.get(at..=at) != Some(to.as_str()));
            id.replace_range(at..=at, &to);
            prop_assert!(sealer().check(&id, &ALICE, "memory").is_err());
        }
    }
}
