//! How long others are waited for where that is long: one value, so that a test of what happens afterwards need not wait as long as people do.
//!
//! What lives here: limits of more than some seconds. What does not: pauses between two attempts and signs of life, which are seconds and stay beside
//! what they are for.

use std::time::Duration;

/// See the module. [`Timing::default`] is what the program runs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A watch that is silent for longer is taken for dead. API servers send a bookmark every minute (kubernetes/apiserver pkg/storage/cacher,
    /// `defaultBookmarkFrequency`); one that sends none is asked again from where it was, which costs one request.
    pub silence: Duration,
    /// A list whose bytes stop arriving for longer is stuck.
    pub list_silence: Duration,
    /// How often a garbled watch leads to a new list at most.
    pub garbled_again: Duration,
    /// How often credentials are got again while they are refused. Each time an exec plugin may open a browser.
    pub login_again: Duration,
    /// Until when an API server may still be busy with a write that it was sent: it gives up after 34 s (kubernetes/apiserver
    /// `pkg/endpoints/handlers/rest.go`, `requestTimeoutUpperBound`). An object that is as it was says nothing before.
    pub busy: Duration,
    /// How long the result of a write without an answer is looked for.
    pub find_out: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            silence: seconds(75),
            list_silence: seconds(30),
            garbled_again: seconds(60),
            login_again: seconds(60),
            busy: seconds(35),
            find_out: seconds(60),
        }
    }
}

impl Timing {
    /// A fraction of it.
    #[must_use]
    pub fn divided(self, by: u32) -> Self {
        let part = |whole: Duration| whole / by.max(1);
        Self {
            silence: part(self.silence),
            list_silence: part(self.list_silence),
            garbled_again: part(self.garbled_again),
            login_again: part(self.login_again),
            busy: part(self.busy),
            find_out: part(self.find_out),
        }
    }
}
