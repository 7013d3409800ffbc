//! One environment's state and how messages change it; and what others may see of it.
//!
//! What lives here: the ledger of findings, the state machine that folds deltas into it, the immutable views that screens and
//! commands read, and the questions they may ask. What does not: I/O, clocks (time comes in with the messages), drawing.

pub mod delta;
pub mod filter;
mod ledger;
pub mod query;
pub mod state;
mod strings;
pub mod view;
