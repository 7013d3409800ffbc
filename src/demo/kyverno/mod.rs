//! An imitation of Kyverno: reads policies from their JSON in its own way, answers admission, writes reports,
//! statuses and events. It shares no reading of policies with the product, so that a wrong reading cannot agree
//! with itself.
//!
//! What it interprets is small and honest; the rest gives results `error` that say so. Covered:
//! * ClusterPolicy, Policy: match/exclude (kinds, names, namespaces, selectors, operations), preconditions,
//!   `validate.pattern`, `anyPattern`, `deny`, `cel`, and `verifyImages` against a made-up registry; autogen.
//! * ValidatingPolicy, ImageValidatingPolicy and their namespaced twins: the CEL of `super::kyverno::cel`.
//! * Both PolicyException kinds.
//!
//! Not here: foreach, podSecurity, assert, API calls, mutation, generation, cleanup (those kinds only get a status).

pub(crate) mod admission;
mod cel;
mod cel_parse;
mod cel_policy;
mod classic;
mod conditions;
mod engine;
mod exceptions;
mod matching;
mod pattern;
pub(crate) mod reports;
pub(crate) mod status;
pub(crate) mod webhooks;
