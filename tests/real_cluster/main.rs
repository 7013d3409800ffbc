//! Tests on real clusters: real API servers and, where it matters, the real Kyverno, as `tests/envtest` builds and runs them.
//!
//! Without the programs each test says that it is left out; with `POLICYDECK_REQUIRE_CLUSTERS=1`, as in CI, that is a failure.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests: a surprise ends the test where it happens")]

#[path = "../support/mod.rs"]
mod support;

mod admission_path;
mod bad_input;
mod bare;
mod counting;
mod crash;
mod disregard;
mod evidence;
mod faults;
mod four_eyes;
mod gaps;
mod gates;
mod gitops;
mod guard;
mod harness;
mod installations;
mod keeping;
mod live;
mod metrics;
mod modes;
mod operators;
mod owners;
mod pipeline;
mod record;
mod refusals;
mod releases;
mod rights;
mod rollouts;
mod shapes;
mod situations;
mod tampering;
mod terminal_faults;
mod trust;
mod truth;
