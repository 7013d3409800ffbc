//! The words of the product, once each, with no I/O and no JSON shapes.
//!
//! What lives here: identities, results, tallies, modes, sync states, references, time and text helpers, writing YAML.
//! What does not: how a manifest says these things (`kinds`), how they change (`fleet`), how they look (`tui`, `cli`).

mod alike;
mod claim;
mod exception;
mod finding;
mod gate;
pub mod history;
mod hold;
mod in_force;
mod insecure;
pub mod journal;
mod mode;
pub mod near;
mod policy;
mod resource;
pub mod secret;
pub mod size;
mod sync;
mod text;
pub mod time;
pub mod yaml;

pub use claim::{Claim, Disregard, EventSource, EvidenceRef, Unverified};
pub use exception::{Exception, Expiry};
pub use finding::{FindingResult, Severity, Tally};
pub use gate::{Amount, Condition, ConditionName, ConditionState, Disregarded, Gate, Pending, Proof, Stop, Verdict};
pub use hold::{Hold, RolledBack};
pub use in_force::{Force, Gap, InForce};
pub use insecure::Insecure;
pub use mode::{Action, Mode};
pub use policy::{
    Cel, Entered, EnteredBy, LabelSelector, ManagedBy, MatchedResource, Matches, NAMESPACE_NAME, NamespaceFilter, Override, Policy,
    PolicyId, PolicyKey, Reach, Readiness, Requirement, Revision, Rule, RuleType,
};
pub use resource::ResourceRef;
pub use sync::{Link, Sync, Tier};
pub use text::{clean, clean_lines, escape_json};
