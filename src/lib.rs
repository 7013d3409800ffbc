//! policydeck: a terminal flight deck for Kyverno policy rollouts.
//!
//! # The house
//! Arrows point downwards only (`tests/layers.rs` holds it so):
//!
//! ```text
//! main → app → { tui, cli } → engine → cluster → files → ops → { kinds, fleet, settings } → domain
//!          └→ demo (stands beside; an API server of its own that knows none of the above)
//! ```
//!
//! | folder | what lives there | what does not |
//! |---|---|---|
//! | `app` | from a command line to a running face: the only place that wires layers | anything a layer could do itself |
//! | `domain` | the words: policy, mode, finding, tally, sync state | I/O, JSON shapes, screens |
//! | `kinds` | the only place that knows a Kubernetes kind's fields; modes | network, state |
//! | `fleet` | one environment's state and how messages change it; what others may see of it | I/O, clocks |
//! | `ops` | operations as plans: what would be written, from what, and how it is taken back | carrying them out, gates |
//! | `settings` | configuration: text in, values and named errors out | files, clusters |
//! | `cluster` | the only place that speaks to Kubernetes | meaning, screens |
//! | `files` | the only place that touches the disk | meaning |
//! | `engine` | one task per environment; starts, supervises, publishes views, answers queries | drawing |
//! | `tui`, `cli` | two faces of the same engine; they do not know each other | I/O of their own |

pub mod app;
pub mod cli;
pub mod cluster;
pub mod demo;
pub mod domain;
pub mod engine;
pub mod files;
pub mod fleet;
pub mod kinds;
pub mod ops;
pub mod settings;
#[cfg(test)]
mod testing;
pub mod tui;
