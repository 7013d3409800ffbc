//! Operations, and what must hold before one: pure functions from what is seen to what may be done.
//!
//! What lives here: the road and where policies stand on it, gates. What does not: gathering what they are judged from and carrying anything out
//! (`engine`), drawing.

pub mod gate;
pub mod road;
