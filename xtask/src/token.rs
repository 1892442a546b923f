//! With which keys and tokens does a local run work?
//!
//! All are made on first use and kept under target with mode 0600, so that sessions and tokens
//! survive a restart.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::{Context, Result, anyhow};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Duration, Utc};
use jwt_compact::{
    AlgorithmExt, Claims, Header,
    alg::{Ed25519, SigningKey},
};
use serde::Serialize;
use serde_json::{Value, json};

/// The development issuer: signs tokens that only a local gateway trusts.
pub(crate) struct Issuer {
    key: <Ed25519 as jwt_compact::Algorithm>::SigningKey,
}

impl Issuer {
    /// The issuer whose key lies in `folder`; made there the first time.
    pub(crate) fn in_folder(folder: &Path) -> Result<Self> {
        let seed = URL_SAFE_NO_PAD
            .decode(persisted_secret(&folder.join("issuer.key"))?)
            .context("the development key is damaged: delete `target/run` and run again")?;
        let key = SigningKey::<Ed25519>::from_slice(&seed).map_err(|error| anyhow!(error))?;
        Ok(Self { key })
    }

    /// Its public key set, as a gateway reads it.
    pub(crate) fn jwks(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes());
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": KID, "x": x }] })
    }

    /// A token for the whole gateway at `audience`, good for 12 hours.
    pub(crate) fn token(&self, audience: &str, tenant: &str) -> Result<String> {
        let now = now()?;
        let mut claims = Claims::new(DevelopmentClaims {
            iss: ISSUER,
            aud: audience,
            sub: "developer",
            client_id: "xtask",
            tenant,
            scope: "mcp",
        });
        claims.issued_at = Some(now);
        claims.expiration = Some(now + Duration::hours(12));
        let header = Header::empty().with_key_id(KID);
        let token = Ed25519.token(&header, &claims, &self.key);
        token.map_err(|error| anyhow!("cannot sign the development token: {error}"))
    }
}

/// 32 random bytes in base64url, the same on every call for `path`.
pub(crate) fn persisted_secret(path: &Path) -> Result<String> {
    if let Ok(secret) = fs::read_to_string(path) {
        return Ok(secret.trim().to_owned());
    }
    let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    write_private(path, &secret)?;
    Ok(secret)
}

/// Writes a file that nobody else can read, not even for a moment.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension("new");
    let _ = fs::remove_file(&fresh);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)
        .with_context(|| format!("cannot write `{}`", fresh.display()))?;
    file.write_all(text.as_bytes())?;
    fs::rename(&fresh, path).with_context(|| format!("cannot write `{}`", path.display()))
}

/// As the gateway's configuration names it; nothing is ever fetched from there.
pub(crate) const ISSUER: &str = "https://development.turnpike.invalid";

#[derive(Serialize, serde::Deserialize)]
struct DevelopmentClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    client_id: &'a str,
    tenant: &'a str,
    scope: &'a str,
}

fn now() -> Result<DateTime<Utc>> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    DateTime::from_timestamp(i64::try_from(since.as_secs())?, 0).context("the clock is out of range")
}

const KID: &str = "development";

#[cfg(test)]
mod tests {
    use jwt_compact::UntrustedToken;

    use super::*;

    #[test]
    fn a_token_verifies_with_the_key_that_is_kept() {
        let folder = std::env::temp_dir().join(format!("turnpike-issuer-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let token = Issuer::in_folder(&folder).unwrap().token("http://127.0.0.1:8787", "acme").unwrap();
        let key = Issuer::in_folder(&folder).unwrap().key.verifying_key();
        let token = UntrustedToken::new(&token).unwrap();
        let claims = Ed25519.validator::<Value>(&key).validate(&token).unwrap();
        assert_eq!(claims.claims().custom["aud"], "http://127.0.0.1:8787");
        assert_eq!(claims.claims().custom["tenant"], "acme");
        fs::remove_dir_all(&folder).unwrap();
    }
}
