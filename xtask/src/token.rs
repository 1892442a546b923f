//! With which keys and tokens does a local run work?
//!
//! All are made on first use and kept under target with mode 0600, so that sessions and tokens
//! survive a restart.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::ExitCode,
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

use crate::workspace::Workspace;

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
    pub(crate) fn token(&self, audience: &str, bearer: &Bearer) -> Result<String> {
        let (now, scope) = (now()?, bearer.scopes.join(" "));
        let mut claims = Claims::new(DevelopmentClaims {
            iss: ISSUER,
            aud: audience,
            sub: &bearer.user,
            client_id: &bearer.agent,
            tenant: &bearer.tenant,
            scope: &scope,
            roles: &bearer.roles,
        });
        claims.issued_at = Some(now);
        claims.expiration = Some(now + Duration::hours(12));
        let header = Header::empty().with_key_id(KID);
        let token = Ed25519.token(&header, &claims, &self.key);
        token.map_err(|error| anyhow!("cannot sign the development token: {error}"))
    }
}

/// Whom a token names. On the command line: `cargo xtask token --tenant globex --agent support --role staff`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Bearer {
    /// The organisation
    #[arg(long, default_value = "acme")]
    pub(crate) tenant: String,
    /// The program that calls
    #[arg(long, default_value = "xtask")]
    pub(crate) agent: String,
    /// On whose behalf
    #[arg(long, default_value = "developer")]
    pub(crate) user: String,
    /// What the token is granted; may be said several times
    #[arg(long = "scope", default_values_t = ["mcp".to_owned()])]
    pub(crate) scopes: Vec<String>,
    /// What the user is; may be said several times
    #[arg(long = "role")]
    pub(crate) roles: Vec<String>,
}

impl Bearer {
    /// The developer, in `tenant`.
    pub(crate) fn developer(tenant: &str) -> Self {
        let text = str::to_owned;
        Self {
            tenant: text(tenant),
            agent: text("xtask"),
            user: text("developer"),
            scopes: vec![text("mcp")],
            roles: Vec::new(),
        }
    }

    /// Who may do everything an operator may, in `tenant`.
    pub(crate) fn operator(tenant: &str) -> Self {
        let scopes = ["bundle:read", "bundle:push", "usage:read", "audit:read", "audit:read:unknown"];
        Self {
            agent: "turnpike".to_owned(),
            user: "operator".to_owned(),
            scopes: scopes.map(str::to_owned).into(),
            ..Self::developer(tenant)
        }
    }
}

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    bearer: Bearer,
    /// The gateway it is for
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8787")]
    audience: String,
}

/// Prints a token of the development issuer, which a gateway that `cargo xtask run` started accepts.
///
/// # Errors
/// If the issuer's key cannot be read or made.
pub(crate) fn print(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let issuer = Issuer::in_folder(&workspace.folder("run")?)?;
    println!("{}", issuer.token(&options.audience, &options.bearer)?);
    Ok(ExitCode::SUCCESS)
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

#[derive(Serialize)]
struct DevelopmentClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    client_id: &'a str,
    tenant: &'a str,
    scope: &'a str,
    roles: &'a [String],
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
        let token =
            Issuer::in_folder(&folder).unwrap().token("http://127.0.0.1:8787", &Bearer::developer("acme")).unwrap();
        let key = Issuer::in_folder(&folder).unwrap().key.verifying_key();
        let token = UntrustedToken::new(&token).unwrap();
        let claims = Ed25519.validator::<Value>(&key).validate(&token).unwrap();
        assert_eq!(claims.claims().custom["aud"], "http://127.0.0.1:8787");
        assert_eq!(claims.claims().custom["tenant"], "acme");
        fs::remove_dir_all(&folder).unwrap();
    }
}
