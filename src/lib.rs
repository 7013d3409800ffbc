//! policydeck.
