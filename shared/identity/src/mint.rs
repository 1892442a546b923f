//! With which keys are the tokens of the tests signed?

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jwt_compact::{
    Algorithm, AlgorithmExt as _, Claims, Header,
    alg::{Ed25519, Es256, Hs256, Hs256Key, Rsa, RsaPrivateKey, SigningKey as _},
    jwk::JsonWebKey,
};
use rand_core::{OsRng, RngCore as _};
use serde_json::{Value, json};

/// A private key and the algorithm it signs with.
pub(crate) enum Signer {
    Es256(<Es256 as Algorithm>::SigningKey),
    EdDsa(<Ed25519 as Algorithm>::SigningKey),
    Rs256(RsaPrivateKey),
}

impl Signer {
    pub(crate) fn es256() -> Self {
        Self::Es256(<Es256 as Algorithm>::SigningKey::random(&mut OsRng))
    }

    pub(crate) fn eddsa() -> Self {
        let mut seed = [0; 32];
        OsRng.fill_bytes(&mut seed);
        Self::EdDsa(<Ed25519 as Algorithm>::SigningKey::from_slice(&seed).unwrap())
    }

    /// An RSA key of 2048 bits that signs nothing but tests: to find one takes too long without optimisation.
    pub(crate) fn rs256() -> Self {
        static KEY: LazyLock<RsaPrivateKey> = LazyLock::new(|| {
            let jwk: JsonWebKey<'_> = serde_json::from_str(include_str!("mint/rsa-2048.jwk.json")).unwrap();
            RsaPrivateKey::try_from(&jwk).unwrap()
        });
        Self::Rs256(KEY.clone())
    }

    /// The public half, with `extra` members such as `kid` and `use`.
    pub(crate) fn jwk(&self, extra: &Value) -> Value {
        let mut jwk = match self {
            Self::Es256(key) => serde_json::to_value(JsonWebKey::from(key.verifying_key())),
            Self::EdDsa(key) => serde_json::to_value(JsonWebKey::from(&key.verifying_key())),
            Self::Rs256(key) => serde_json::to_value(JsonWebKey::from(&key.to_public_key())),
        }
        .unwrap();
        jwk.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        jwk
    }

    /// A token with these claims, whose header has `header` besides `alg`.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let (header, claims) = (Header::new(header), Claims::new(claims));
        match self {
            Self::Es256(key) => Es256.token(&header, &claims, key),
            Self::EdDsa(key) => Ed25519.token(&header, &claims, key),
            Self::Rs256(key) => Rsa::rs256().token(&header, &claims, key),
        }
        .unwrap()
    }
}

/// A token signed with HMAC under `key`, as an attacker would with a public key's bytes.
pub(crate) fn hs256(key: &[u8], claims: &Value) -> String {
    Hs256.token(&Header::empty(), &Claims::new(claims), &Hs256Key::new(key)).unwrap()
}

/// A token put together by hand.
pub(crate) fn forge(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

/// A JWK set of `keys`.
pub(crate) fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// Claims that are good at [`NOW`].
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "sub": "alice",
        "client_id": "bot",
        "tenant": "acme",
        "aud": "https://mcp.example.com/mcp/files",
        "iat": NOW - 60,
        "exp": NOW + 600,
    })
}

/// [`claims`] with `name` set to `value`, or taken away where it is null.
pub(crate) fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    let members = claims.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
    claims
}

/// A public RSA key of 1024 bits.
pub(crate) const RSA_1024: &str = include_str!("mint/rsa-1024.jwk.json");
pub(crate) const ISSUER: &str = "https://login.example.com";
/// Seconds since the Unix epoch.
pub(crate) const NOW: u64 = 1_800_000_000;
