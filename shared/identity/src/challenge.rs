//! How is a token asked for? `Authorization` read, `WWW-Authenticate` written (RFC 6750 §2.1 and §3, RFC 9728 §5.1).

use crate::token::Refused;

/// The bearer token in an `Authorization` header.
///
/// # Errors
/// [`Refused::Missing`]
pub fn bearer(authorization: Option<&str>) -> Result<&str, Refused> {
    let (scheme, token) = authorization.and_then(|value| value.split_once(' ')).ok_or(Refused::Missing)?;
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() { Ok(token) } else { Err(Refused::Missing) }
}

/// A `WWW-Authenticate` value. `error` is an RFC 6750 §3.1 code with its description, absent where no token came;
/// `scopes` are all the operation needs.
#[must_use]
pub fn challenge(resource_metadata: &str, scopes: &[String], error: Option<(&str, &str)>) -> String {
    let mut value = format!("Bearer resource_metadata=\"{}\"", quotable(resource_metadata));
    let mut add = |name: &str, text: &str| value.push_str(&format!(", {name}=\"{}\"", quotable(text)));
    if let Some((code, description)) = error {
        add("error", code);
        add("error_description", description);
    }
    if !scopes.is_empty() {
        add("scope", &scopes.join(" "));
    }
    value
}

/// RFC 6750 §3 allows printable ASCII without quote and backslash.
fn quotable(text: &str) -> String {
    text.chars().map(|c| if (' '..='~').contains(&c) && c != '"' && c != '\\' { c } else { '\'' }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bearer_token_is_found_whatever_the_case_of_its_scheme() {
        for value in ["Bearer abc", "bearer abc", "BEARER  abc ", "bEaReR abc"] {
            assert_eq!(bearer(Some(value)), Ok("abc"), "{value}");
        }
    }

    #[test]
    fn anything_else_is_no_bearer_token() {
        for value in ["", "Bearer", "Bearer ", "Bearer   ", "Basic abc", "abc", "Bearerabc", " Bearer abc", "DPoP abc"]
        {
            assert_eq!(bearer(Some(value)), Err(Refused::Missing), "{value}");
        }
        assert_eq!(bearer(None), Err(Refused::Missing));
    }

    #[test]
    fn a_challenge_says_where_to_go_and_what_is_wrong() {
        let metadata = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp/files";
        assert_eq!(challenge(metadata, &[], None), format!("Bearer resource_metadata=\"{metadata}\""));
        let scopes = ["files:read", "files:write"].map(str::to_owned);
        assert_eq!(
            challenge(metadata, &scopes, Some(("invalid_token", "the token has expired"))),
            format!(
                "Bearer resource_metadata=\"{metadata}\", error=\"invalid_token\", \
                 error_description=\"the token has expired\", scope=\"files:read files:write\""
            )
        );
    }

    #[test]
    fn nothing_breaks_out_of_its_quotes() {
        let hostile = "x\", realm=\"evil\\\r\nSet-Cookie: a=b\u{0}é";
        let value = challenge("m", &[hostile.to_owned()], Some(("e", hostile)));
        let quoted = "x', realm='evil'''Set-Cookie: a=b''";
        assert_eq!(
            value,
            format!("Bearer resource_metadata=\"m\", error=\"e\", error_description=\"{quoted}\", scope=\"{quoted}\"")
        );
    }

    proptest! {
        #[test]
        fn a_challenge_is_always_one_line_of_four_quoted_values(
            metadata in any::<String>(), code in any::<String>(), text in any::<String>(), scope in any::<String>(),
        ) {
            let value = challenge(&metadata, &[scope], Some((&code, &text)));
            prop_assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(value.matches('"').count(), 8);
            prop_assert!(!value.contains('\\'));
        }

        #[test]
        fn an_arbitrary_header_never_panics(value in any::<String>()) {
            let _ = bearer(Some(&value));
        }
    }
}
