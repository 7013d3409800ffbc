//! Bytes from the wire that are wrong in any way.

mod bounds;
mod generated;
