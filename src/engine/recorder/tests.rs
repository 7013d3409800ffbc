//! The recorder as a whole: what it costs.

mod cost;
