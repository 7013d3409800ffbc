//! policydeck.

pub mod demo;
