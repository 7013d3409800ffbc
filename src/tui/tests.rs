//! What people may type and set.

mod generated;
