//! How far what is shown can be believed: states of an environment's link and of each kind's stream.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How careful one has to be in an environment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Anything but production.
    #[default]
    Normal,
    /// Production: marked everywhere, typed confirmation.
    Production,
}

/// State of the link to one environment's API server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Link {
    /// No answer yet.
    #[default]
    Connecting,
    /// Answering; some kinds are still being listed.
    Listing,
    /// Answering; everything that can be seen is live.
    Live,
    /// No sign of life for longer than a heartbeat, but no connection has failed yet.
    Stale {
        /// The last sign of life.
        since: Timestamp,
    },
    /// Lost; the next attempt is known.
    Retrying {
        /// The last sign of life, if there ever was one.
        since: Option<Timestamp>,
        /// When the next attempt starts.
        next: Timestamp,
        /// What failed, in words.
        why: String,
    },
    /// The credentials are refused or have run out.
    LoginNeeded {
        /// What failed and what to run.
        why: String,
    },
    /// Answering, but nothing may be read.
    Denied {
        /// The server's words and the remedy.
        why: String,
    },
    /// Never reached, and not by a passing fault: no such context, no such host.
    Unreachable {
        /// What failed, in words.
        why: String,
    },
}

impl Link {
    /// The word used in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Listing => "listing",
            Self::Live => "live",
            Self::Stale { .. } => "stale",
            Self::Retrying { .. } => "retrying",
            Self::LoginNeeded { .. } => "login-needed",
            Self::Denied { .. } => "denied",
            Self::Unreachable { .. } => "unreachable",
        }
    }

    /// Whether the server answers: what is shown is of now, as far as it goes.
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Listing | Self::Live | Self::Denied { .. })
    }

    /// The explanation that belongs to the state, where there is one.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Retrying { why, .. } | Self::LoginNeeded { why } | Self::Denied { why } | Self::Unreachable { why } => Some(why),
            Self::Connecting | Self::Listing | Self::Live | Self::Stale { .. } => None,
        }
    }
}

/// State of one kind's stream in one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sync {
    /// Not asked yet.
    Connecting,
    /// The list is being read for the first time.
    Listing {
        /// Objects read so far.
        seen: u64,
        /// Objects there are, where the server told.
        total: Option<u64>,
    },
    /// Complete, and watched.
    Live,
    /// Complete once, but the watch is lost.
    Stale {
        /// Since when.
        since: Timestamp,
    },
    /// Never complete yet, and the last attempt failed.
    Retrying {
        /// What failed.
        why: String,
    },
    /// May not be read.
    Denied {
        /// The server's words.
        why: String,
    },
    /// This API server does not serve the kind.
    NotInstalled,
    /// This API server serves the kind, but in no version that can be read.
    Unread {
        /// Group and versions, in a sentence.
        why: String,
    },
}

impl Sync {
    /// The word used in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Listing { .. } => "listing",
            Self::Live => "live",
            Self::Stale { .. } => "stale",
            Self::Retrying { .. } => "retrying",
            Self::Denied { .. } => "denied",
            Self::NotInstalled => "not-installed",
            Self::Unread { .. } => "unread",
        }
    }

    /// Whether nothing of this kind can be missing: it is live, or there is none to see.
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Live | Self::NotInstalled)
    }
}
