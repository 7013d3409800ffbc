//! Holds: a policy that is to stay where it is.
//!
//! Every operator must see a hold, so it lives in the cluster, as annotations of the policy (`kinds::hold`). What keeps a whole environment
//! as it is, are the freeze windows of the configuration.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A hold. It stays until somebody releases it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// Why; empty where nobody has said.
    pub reason: String,
    /// Who.
    pub by: Option<String>,
    /// Since when; none where it is not said or cannot be read.
    pub at: Option<Timestamp>,
}
