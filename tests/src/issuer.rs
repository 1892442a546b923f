//! Who vouches for callers in the tests? An issuer with a key of each kind, which also signs what it should not.

use std::{
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jwt_compact::{
    Algorithm, AlgorithmSignature as _,
    alg::{Ed25519, Es256, Hs256, Hs256Key, Rsa, RsaPrivateKey, StrongKey},
    jwk::JsonWebKey,
};
use serde_json::{Value, json};

/// An issuer of tokens.
pub struct Issuer {
    /// `iss`
    pub url: String,
    keys: [Value; 3],
}

/// With what a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// Edwards curve.
    EdDsa,
    /// NIST P-256.
    Es256,
    /// RSA of 2048 bits.
    Rs256,
    /// Nothing, and `alg` says so.
    None,
    /// HMAC with the bytes of the RSA public key, as if that were a secret.
    PublicKeyAsSecret,
    /// ECDSA, but `kid` names the RSA key.
    Es256UnderRsaKid,
    /// ECDSA, but `alg` says RS256.
    Es256SaysRs256,
}

/// A token to be signed.
#[derive(Clone, Debug)]
pub struct Token {
    claims: Value,
    header: Value,
    signature: Signature,
}

impl Issuer {
    /// The issuer every gateway in the tests trusts.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Issuer> = OnceLock::new();
        SHARED.get_or_init(|| Self::new("https://issuer.test"))
    }

    /// An issuer with keys of its own.
    #[must_use]
    pub fn new(url: &str) -> Self {
        let made = Command::new("node").args(["-e", MAKE_KEYS]).output().expect("`node` makes keys");
        let generation = next();
        let mut keys: [Value; 3] = serde_json::from_slice(&made.stdout).expect("`node` makes three keys");
        for (key, (kid, alg)) in keys.iter_mut().zip(KINDS) {
            key["kid"] = json!(format!("{kid}-{generation}"));
            key["alg"] = json!(alg);
        }
        Self { url: url.to_owned(), keys }
    }

    /// Its public keys (RFC 7517 §5).
    #[must_use]
    pub fn key_set(&self) -> Value {
        json!({ "keys": self.keys.each_ref().map(public) })
    }

    /// `token` as text.
    #[must_use]
    pub fn sign(&self, token: &Token) -> String {
        let [eddsa, es256, rs256] = &self.keys;
        let (alg, key) = match token.signature {
            Signature::EdDsa => ("EdDSA", eddsa),
            Signature::Es256 => ("ES256", es256),
            Signature::Rs256 => ("RS256", rs256),
            Signature::None => ("none", es256),
            Signature::PublicKeyAsSecret => ("HS256", rs256),
            Signature::Es256UnderRsaKid => ("ES256", rs256),
            Signature::Es256SaysRs256 => ("RS256", es256),
        };
        let mut header = json!({ "alg": alg, "typ": "JWT", "kid": key["kid"] });
        let mut claims = token.claims.clone();
        if claims.get("iss").is_none() {
            claims["iss"] = json!(self.url);
        }
        merge(&mut header, &token.header);
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.signed(token.signature, input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn signed(&self, signature: Signature, input: &[u8]) -> Vec<u8> {
        let [eddsa, es256, rs256] = &self.keys;
        match signature {
            Signature::EdDsa => signed(&Ed25519, &secret::<<Ed25519 as Algorithm>::SigningKey>(eddsa), input),
            Signature::Es256 | Signature::Es256UnderRsaKid | Signature::Es256SaysRs256 => {
                signed(&Es256, &secret::<<Es256 as Algorithm>::SigningKey>(es256), input)
            }
            Signature::Rs256 => {
                let key = StrongKey::try_from(secret::<RsaPrivateKey>(rs256)).expect("2048 bits are enough");
                signed(&Rsa::rs256(), &key.into_inner(), input)
            }
            Signature::None => Vec::new(),
            Signature::PublicKeyAsSecret => {
                let modulus = rs256["n"].as_str().expect("an RSA key has a modulus");
                signed(&Hs256, &Hs256Key::new(modulus), input)
            }
        }
    }
}

impl Token {
    /// A good token for `audience`, of a tenant, agent and user nobody else has.
    #[must_use]
    pub fn fresh(audience: &str) -> Self {
        Self::of(&fresh("tenant"), &fresh("agent"), audience)
    }

    /// A good token for `audience`, of a user nobody else is.
    #[must_use]
    pub fn of(tenant: &str, agent: &str, audience: &str) -> Self {
        let now = now_secs();
        let claims = json!({
            TENANT_CLAIM: tenant, "client_id": agent, "sub": fresh("user"), "aud": audience,
            "iat": now, "exp": now + 86_400 * 30, "scope": "mcp audit:read"
        });
        Self { claims, header: json!({}), signature: Signature::EdDsa }
    }

    /// With the claim `name` set, or without it if `value` is null.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        merge(&mut self.claims, &json!({ name: value.into() }));
        self
    }

    /// With the header field `name` set.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header[name] = value.into();
        self
    }

    /// Signed with `signature`.
    #[must_use]
    pub fn signed(mut self, signature: Signature) -> Self {
        self.signature = signature;
        self
    }

    /// Signed by the shared issuer.
    #[must_use]
    pub fn text(&self) -> String {
        Issuer::shared().sign(self)
    }

    /// Whose tenant it is.
    #[must_use]
    pub fn tenant(&self) -> &str {
        self.claims[TENANT_CLAIM].as_str().expect("every token begins with a tenant")
    }
}

/// A name nobody else in this process has.
#[must_use]
pub fn fresh(kind: &str) -> String {
    format!("{kind}-{}-{}", std::process::id(), next())
}

/// Seconds since the Unix epoch.
#[must_use]
pub fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn next() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn signed<A: Algorithm>(algorithm: &A, key: &A::SigningKey, input: &[u8]) -> Vec<u8> {
    algorithm.sign(key, input).as_bytes().into_owned()
}

fn secret<K>(key: &Value) -> K
where
    K: for<'a> TryFrom<&'a JsonWebKey<'a>>,
{
    let key: JsonWebKey<'_> = serde_json::from_value(key.clone()).expect("`node` makes JWKs");
    K::try_from(&key).unwrap_or_else(|_| panic!("the key is of another kind"))
}

fn public(key: &Value) -> Value {
    let mut key = key.clone();
    let members = key.as_object_mut().expect("a JWK is an object");
    members.retain(|name, _| !["d", "p", "q", "dp", "dq", "qi"].contains(&name.as_str()));
    key
}

fn merge(into: &mut Value, more: &Value) {
    let (into, more) = (into.as_object_mut().unwrap(), more.as_object().unwrap());
    into.extend(more.clone());
    into.retain(|_, value| !value.is_null());
}

/// The claim that names the tenant.
pub const TENANT_CLAIM: &str = "tenant";

const KINDS: [(&str, &str); 3] = [("ed", "EdDSA"), ("es", "ES256"), ("rs", "RS256")];
const MAKE_KEYS: &str = r#"
    const { generateKeyPairSync } = require("node:crypto");
    const kinds = [["ed25519", {}], ["ec", { namedCurve: "P-256" }], ["rsa", { modulusLength: 2048 }]];
    const made = kinds.map(([kind, options]) => generateKeyPairSync(kind, options).privateKey);
    console.log(JSON.stringify(made.map((key) => key.export({ format: "jwk" }))));
"#;
