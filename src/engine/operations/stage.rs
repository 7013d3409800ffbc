//! How far the carrying out of a plan is.

/// What is being done just now. Each follows the one before it; a plan that makes nothing refuse more has no gate to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The gate is judged again, for what makes a policy refuse more.
    Gate,
    /// What the plan was made from is looked at again.
    Basis,
    /// The servers are asked once more whether they would take it.
    Rehearsal,
    /// What is there is saved.
    Archive,
    /// A write is noted, and sent.
    Write {
        /// Which, counted from 0.
        step: usize,
    },
    /// A write got no answer, and what became of it is being found out.
    FindOut {
        /// Which, counted from 0.
        step: usize,
    },
    /// The environment is followed until it shows the write.
    Follow {
        /// Which, counted from 0.
        step: usize,
    },
}

/// Who is told.
pub type Told<'a> = &'a (dyn Fn(Stage) + Sync);
