//! Is the body of an admitted POST a message that may be sent here?

use mcp::{Body, Message, Revision, jsonrpc};

use crate::refused::Refused;

/// Whether a request belongs to a session, and what that session negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// No session yet.
    None,
    /// A session that negotiated this revision.
    Negotiated(Revision),
}

/// Reads the body of an admitted POST.
///
/// # Errors
/// [`Refused::Malformed`] when it is no JSON-RPC, [`Refused::InitializeInBatch`].
pub fn read(body: &[u8]) -> Result<Body<'_>, Refused> {
    let body = jsonrpc::parse(body)?;
    let initializes = |message: &Message<'_>| matches!(message, Message::Request(call) if call.method == "initialize");
    match &body {
        Body::Batch(messages) if messages.iter().any(initializes) => Err(Refused::InitializeInBatch),
        _ => Ok(body),
    }
}

/// Whether `body` may be sent in `session`: batches exist in 2025-03-26 only.
///
/// # Errors
/// [`Refused::Batch`]
pub fn fits(body: &Body<'_>, session: Session) -> Result<(), Refused> {
    match (body, session) {
        (Body::Single(_), _) => Ok(()),
        (Body::Batch(_), Session::Negotiated(revision)) if revision.allows_batch() => Ok(()),
        (Body::Batch(_), _) => Err(Refused::Batch),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":2,"method":"initialize","params":{}}"#;

    fn batch(messages: &[&str]) -> String {
        format!("[{}]", messages.join(","))
    }

    #[test]
    fn initialize_is_sent_alone() {
        assert!(read(INITIALIZE.as_bytes()).is_ok());
        for messages in [&[INITIALIZE][..], &[PING, INITIALIZE], &[INITIALIZE, INITIALIZE]] {
            assert!(matches!(read(batch(messages).as_bytes()), Err(Refused::InitializeInBatch)));
        }
        let notified = r#"{"jsonrpc":"2.0","method":"initialize"}"#;
        let escaped = INITIALIZE.replace("initialize", "\\u0069nitialize");
        assert!(read(batch(&[PING, notified]).as_bytes()).is_ok(), "a notification opens no session");
        assert!(matches!(read(batch(&[PING, &escaped]).as_bytes()), Err(Refused::InitializeInBatch)));
    }

    #[test]
    fn a_batch_fits_sessions_of_one_revision_only() {
        let (single, several) = (PING.to_owned(), batch(&[PING]));
        let (single, several) = (read(single.as_bytes()).unwrap(), read(several.as_bytes()).unwrap());
        assert!(matches!(fits(&several, Session::None), Err(Refused::Batch)));
        assert!(fits(&single, Session::None).is_ok());
        for revision in Revision::ALL {
            assert!(fits(&single, Session::Negotiated(revision)).is_ok());
            let fitting = fits(&several, Session::Negotiated(revision)).is_ok();
            assert_eq!(fitting, revision == Revision::V2025_03_26, "{revision}");
        }
    }

    #[test]
    fn each_refusal_has_its_status_and_code() {
        for (body, code) in [("", -32700), ("{", -32700), ("{}", -32600), ("[]", -32600), ("7", -32600)] {
            let refused = read(body.as_bytes()).unwrap_err();
            assert_eq!((refused.status(), refused.code()), (400, code), "{body}");
        }
        for refused in [Refused::Batch, Refused::InitializeInBatch] {
            assert_eq!((refused.status(), refused.code()), (400, -32600));
        }
        assert_eq!((Refused::TooLarge(1).status(), Refused::TooLarge(1).code()), (413, -32000));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(body) = read(&body) {
                let _ = fits(&body, Session::None);
            }
        }
    }
}
