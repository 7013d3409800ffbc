//! kinds
pub mod report;
