//! Which keys may sign for an issuer? A JSON Web Key Set, reduced to what the gateway can verify.

use jwt_compact::{
    Algorithm, AlgorithmExt as _, Token, UntrustedToken, ValidationError,
    alg::{Ed25519, Es256, Rsa, StrongAlg, StrongKey},
    jwk::JsonWebKey,
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::token::Refused;

/// The verifying keys of one issuer (RFC 7517 §5).
#[derive(Debug)]
pub struct KeySet(Vec<Key>);

/// A key set nothing can be verified with.
#[derive(Debug, thiserror::Error)]
pub enum UnusableKeys {
    /// Not a JWK set.
    #[error("the key set is not a JSON object with an array `keys`: {0}")]
    Shape(String),
    /// None of its keys fits.
    #[error("the key set holds no ES256, EdDSA (Ed25519) or RS256 (2048 bits or more) signing key")]
    Empty,
}

impl KeySet {
    /// Reads a JWK set. Keys for encryption, symmetric keys, other algorithms and broken keys are passed over; at most
    /// the first 16 usable ones are kept.
    ///
    /// # Errors
    /// [`UnusableKeys`] when nothing is left.
    pub fn parse(json: &str) -> Result<Self, UnusableKeys> {
        let set: Set = serde_json::from_str(json).map_err(|error| UnusableKeys::Shape(error.to_string()))?;
        let keys: Vec<Key> = set.keys.into_iter().filter_map(Key::read).take(KEYS_MAX).collect();
        if keys.is_empty() { Err(UnusableKeys::Empty) } else { Ok(Self(keys)) }
    }

    /// Whether a token that names `kid` may be signed by one of these.
    #[must_use]
    pub fn knows(&self, kid: Option<&str>) -> bool {
        self.candidates(kid).next().is_some()
    }

    /// The token with its integrity proven by one of the keys it may name.
    pub(crate) fn prove<C, H>(&self, token: &UntrustedToken<'_, H>) -> Result<Token<C, H>, Refused>
    where
        C: DeserializeOwned,
        H: Clone,
    {
        let kid = token.header().key_id.as_deref();
        let mut proofs = self.candidates(kid).map(|key| key.verifier.prove(token));
        proofs.find(|proof| !matches!(proof, Err(Refused::Signature))).unwrap_or(Err(Refused::Signature))
    }

    fn candidates<'a>(&'a self, kid: Option<&'a str>) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(move |key| kid.is_none() || key.id.as_deref() == kid)
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    verifier: Verifier,
}

impl Key {
    fn read(value: serde_json::Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        let (id, usage, algorithm) = (text("kid"), text("use"), text("alg"));
        let jwk: JsonWebKey<'_> = serde_json::from_value(value).ok()?;
        let verifier = Verifier::of(&jwk)?;
        let fits = algorithm.is_none_or(|algorithm| verifier.names().contains(&algorithm.as_str()));
        (fits && usage.is_none_or(|usage| usage == "sig")).then_some(Self { id, verifier })
    }
}

/// A key together with the one algorithm it verifies.
#[derive(Debug)]
enum Verifier {
    Es256(<Es256 as Algorithm>::VerifyingKey),
    EdDsa(<Ed25519 as Algorithm>::VerifyingKey),
    Rs256(Box<StrongKey<<Rsa as Algorithm>::VerifyingKey>>),
}

impl Verifier {
    fn of(jwk: &JsonWebKey<'_>) -> Option<Self> {
        match jwk {
            JsonWebKey::EllipticCurve { .. } => jwk.try_into().ok().map(Self::Es256),
            JsonWebKey::KeyPair { .. } => jwk.try_into().ok().map(Self::EdDsa),
            JsonWebKey::Rsa { .. } => {
                let key = <Rsa as Algorithm>::VerifyingKey::try_from(jwk).ok()?;
                StrongKey::try_from(key).ok().map(|key| Self::Rs256(Box::new(key)))
            }
            _ => None,
        }
    }

    /// What a key or a token may call the algorithm.
    const fn names(&self) -> &'static [&'static str] {
        match self {
            Self::Es256(_) => &["ES256"],
            Self::EdDsa(_) => &["EdDSA", FULLY_SPECIFIED],
            Self::Rs256(_) => &["RS256"],
        }
    }

    /// `validate` compares the token's `alg` with the algorithm's name before it looks at anything else.
    fn prove<C: DeserializeOwned, H: Clone>(&self, token: &UntrustedToken<'_, H>) -> Result<Token<C, H>, Refused> {
        let proof = match self {
            Self::Es256(key) => Es256.validator::<C>(key).validate(token),
            Self::EdDsa(key) if token.algorithm() == FULLY_SPECIFIED => {
                Ed25519::with_specific_name().validator::<C>(key).validate(token)
            }
            Self::EdDsa(key) => Ed25519.validator::<C>(key).validate(token),
            Self::Rs256(key) => StrongAlg(Rsa::rs256()).validator::<C>(key).validate(token),
        };
        proof.map_err(|error| match error {
            ValidationError::MalformedClaims(_) => Refused::Malformed,
            _ => Refused::Signature,
        })
    }
}

/// The name that also says the curve (RFC 9864 §2.2).
const FULLY_SPECIFIED: &str = "Ed25519";
/// More usable keys are passed over: a token without `kid` is tried against each.
const KEYS_MAX: usize = 16;

#[cfg(test)]
mod tests;
