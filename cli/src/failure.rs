//! How does a command end that cannot do what it was asked for?

use std::{io, process::ExitCode};

/// Why a command ends early. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Somebody said no: the check, the gateway, or the operator.
    #[error("{0}")]
    Refused(String),
    /// It was called in a way that makes no sense here.
    #[error("{0}")]
    Usage(String),
    /// The gateway does not answer, or answers nonsense.
    #[error("{0}")]
    Unreachable(String),
}

/// How a command ended that ran to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Fine,
    /// It said what is wrong.
    Refused,
}

impl Ending {
    pub(crate) fn code(self) -> ExitCode {
        match self {
            Self::Fine => ExitCode::SUCCESS,
            Self::Refused => ExitCode::from(1),
        }
    }
}

/// The exit code of an error: 1 if somebody said no, 2 if it never came to that.
pub(crate) fn code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref() {
        Some(Failure::Refused(_)) => ExitCode::from(1),
        _ => ExitCode::from(2),
    }
}

/// Whether standard output was closed by its reader.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
