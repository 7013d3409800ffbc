//! Operations as plans, and what must hold before one. Nothing here writes anything or reads a clock.
//!
//! What lives here: the road and where policies stand on it, gates; one pure `plan()` per operation, the plan itself, its preview as a diff, and why an
//! operation is refused. What does not: reading the cluster, asking for confirmation, writing (`engine::operations`).
//!
//! A new operation is one file with a `plan()` and a word in [`plan::Operation`].

mod draft;
mod guard;
mod place;
mod refusal;
mod undo;
mod warnings;

pub mod acknowledged;
pub mod commit;
pub mod demote;
pub mod diff;
pub mod gate;
pub mod hold;
pub mod impact;
pub mod plan;
pub mod position;
pub mod promote;
pub mod road;
pub mod rollback;
pub mod rules;
pub mod strength;
pub mod target;
pub mod unblock;
pub mod written;

pub use place::{Facts, Place};
pub use refusal::{Commit, Refusal};
pub use undo::undo;

#[cfg(test)]
mod tests;
