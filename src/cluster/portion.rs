//! Objects of a list on their way to whoever folds them in: passed on in portions, not with every read of a socket.
//!
//! Waking another task costs more than folding one object, and a list of a million findings is some forty thousand reads.

use super::subject::{Gone, StreamContext};
use crate::fleet::delta::StreamEvent;
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Bytes that are passed on at once…
const ENOUGH: usize = 128 << 10;
/// …and the longest that fewer wait.
const GATHERED: Duration = Duration::from_millis(20);

/// See the module.
pub(super) struct Portion {
    objects: Vec<Bytes>,
    bytes: usize,
    /// When they are passed on, however few they are.
    due: Instant,
}

impl Portion {
    /// Nothing.
    pub(super) fn new() -> Self {
        Self { objects: Vec::new(), bytes: 0, due: Instant::now() }
    }

    /// Takes objects in.
    pub(super) fn gather(&mut self, objects: &mut Vec<Bytes>) {
        if self.objects.is_empty() && !objects.is_empty() {
            self.due = Instant::now() + GATHERED;
        }
        self.bytes += objects.iter().map(Bytes::len).sum::<usize>();
        self.objects.append(objects);
    }

    /// Whether no more should be waited for.
    pub(super) fn is_enough(&self) -> bool {
        self.bytes >= ENOUGH
    }

    /// The moment at which what there is has waited long enough; never, if there is nothing.
    pub(super) async fn due(&self) {
        if self.objects.is_empty() {
            std::future::pending::<()>().await;
        }
        sleep_until(self.due).await;
    }

    /// Passes on what there is.
    pub(super) async fn pass_on(&mut self, context: &StreamContext) -> Result<(), Gone> {
        let objects = std::mem::take(&mut self.objects);
        self.bytes = 0;
        if objects.is_empty() { Ok(()) } else { context.tell(StreamEvent::Listed { objects, total: None }).await }
    }
}
