//! A panic ends one environment, not the program.
//!
//! What lives here: the one place where an environment's tasks start and where their panics are caught, and what panic hooks have to know about that.
//! What a part that panicked has left behind is given up: it is read again, or shown as old.

use super::ClusterSpec;
use super::station::{Signals, Station};
use crate::fleet::delta::Delta;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, set_hook, take_hook};
use std::sync::{Arc, Once};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// How long an environment that ended stays so, unless someone reconnects it.
pub const AGAIN: Duration = Duration::from_secs(300);
/// How many parts of a source file's path are shown.
const PARTS: usize = 5;

thread_local! {
    /// What runs on this thread now is contained.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
    /// Where the last contained panic on this thread happened.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What is left of a part of the program that panicked: where that was. Its message may hold what is secret, and is not repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalError(String);

impl fmt::Display for InternalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "internal error in {}; please report it", self.0)
    }
}

impl std::error::Error for InternalError {}

/// Whether a panic on this thread would be caught here: for panic hooks, which must then leave the terminal alone.
pub fn is_contained() -> bool {
    CONTAINED.try_with(Cell::get).unwrap_or(false)
}

/// Does something that may panic.
///
/// # Errors
/// Where it panicked.
pub fn contain<T>(work: impl FnOnce() -> T) -> Result<T, InternalError> {
    note_panics();
    let outside = CONTAINED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(outside);
    done.map_err(|payload| {
        // A panic that was caught before and is passed on knows its own place.
        let passed_on = payload.downcast::<InternalError>().ok().map(|error| *error);
        let place = PLACE.take().unwrap_or_else(|| "an unknown place".to_owned());
        passed_on.unwrap_or(InternalError(place))
    })
}

/// Runs one part of an environment's work, which may panic at any moment.
pub fn contained<T>(part: &str, environment: &str, work: impl Future<Output = T>) -> impl Future<Output = Result<T, InternalError>> {
    let mut work = Box::pin(rehearsed(part, environment, work));
    poll_fn(move |cx| match contain(|| work.as_mut().poll(cx)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Err(error) => Poll::Ready(Err(error)),
    })
}

/// Watches one environment until nobody listens any more. After a panic it says so, and begins again when it is told to reconnect, or later by itself.
pub async fn watch(spec: ClusterSpec, deltas: mpsc::Sender<Delta>, signals: Signals) {
    loop {
        let station = Station::new(spec.clone(), deltas.clone(), signals.clone());
        let Err(error) = contained("station", &spec.name, station.run()).await else { return };
        tracing::error!(environment = %spec.name, %error, "the environment ended");
        signals.current.send_replace(None);
        if deltas.send(Delta::Ended { why: error.to_string() }).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(AGAIN) => {}
            () = signals.reconnect.notified() => {}
            () = deltas.closed() => return,
        }
    }
}

/// Runs what an HTTP client leaves to the runtime.
#[derive(Debug, Clone)]
pub(super) struct Executor(pub(super) Arc<str>);

impl<F: Future + Send + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, work: F) {
        let environment = Arc::clone(&self.0);
        tokio::spawn(async move {
            // Requests on that connection fail, which is noticed where they were made.
            if let Err(error) = contained("connection", &environment, work).await {
                tracing::error!(%environment, %error, "a connection ended");
            }
        });
    }
}

/// Notes the place of contained panics, and keeps all other hooks from hearing of them.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if is_contained() {
                PLACE.replace(info.location().map(place));
            } else {
                before(info);
            }
        }));
    });
}

/// The end of a source file's path, and the line: the rest is about the machine on which policydeck was built.
fn place(location: &Location<'_>) -> String {
    let parts: Vec<&str> = location.file().split(['/', '\\']).collect();
    format!("{}:{}", parts[parts.len().saturating_sub(PARTS)..].join("/"), location.line())
}

/// Panics in the middle of the work where that is rehearsed.
async fn rehearsed<T>(part: &str, environment: &str, work: impl Future<Output = T>) -> T {
    let Some(after) = rehearsal(part, environment) else { return work.await };
    tokio::select! {
        done = work => done,
        () = sleep(after) => {
            #[expect(clippy::panic, reason = "what is rehearsed is a panic")]
            {
                panic!("a rehearsed panic")
            }
        }
    }
}

/// In debug builds, `POLICYDECK_REHEARSE_PANIC=MILLISECONDS@PART/ENVIRONMENT` makes a part panic. In tests the environment's name does, too.
fn rehearsal(part: &str, environment: &str) -> Option<Duration> {
    if cfg!(test) && environment.strip_prefix("panics-in-") == Some(part) {
        return Some(Duration::ZERO);
    }
    if !cfg!(debug_assertions) {
        return None;
    }
    let text = std::env::var("POLICYDECK_REHEARSE_PANIC").ok()?;
    let (after, place) = text.split_once('@')?;
    let is_here = place.split_once('/') == Some((part, environment));
    after.parse().ok().filter(|_| is_here).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken() {
        std::panic::resume_unwind(Box::new(InternalError("there".to_owned())));
    }

    #[tokio::test]
    async fn a_panic_is_caught_with_its_place_and_without_its_words() {
        let error = contain(|| -> u8 { panic!("s3cret") }).unwrap_err().to_string();
        assert!(error.starts_with("internal error in src/cluster/contained.rs:"), "{error}");
        assert!(error.ends_with("; please report it") && !error.contains("s3cret"), "{error}");
        assert!(!is_contained(), "it is over");
        let passed_on = contained("b", "e", async {
            if let Err(error) = contained("a", "e", async { broken() }).await {
                std::panic::resume_unwind(Box::new(error));
            }
        });
        assert_eq!(passed_on.await, Err(InternalError("there".to_owned())));
        let yielding = async {
            tokio::task::yield_now().await;
            is_contained()
        };
        assert_eq!(contained("c", "e", yielding).await, Ok(true));
        let place = contained("d", "e", async { String::from("é")[..1].len() }).await.unwrap_err().to_string();
        assert!(place.contains(".rs:") && !place.contains("registry"), "{place}");
    }
}
