//! On which platform does the gateway run?

use clap::ValueEnum;

/// Both run here: the built artifact is the one that is deployed, the runtime around it a local one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Platform {
    /// Cloudflare Workers, in workerd
    #[default]
    Workers,
    /// Spin: `spin up` where Spin 4.1 or newer is on the PATH, else our small test host
    Spin,
}

impl Platform {
    pub(crate) const ALL: [Self; 2] = [Self::Workers, Self::Spin];

    /// As it is said on the command line, and in the names of folders.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Workers => "workers",
            Self::Spin => "spin",
        }
    }
}
