//! Waiting until the fleet is complete, or will not become so.

use super::reason::is_final;
use crate::fleet::view::FleetView;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// How long states that do not change by themselves may still change: a first refusal can be a server that is starting.
const GRACE: Duration = Duration::from_secs(2);

/// The fleet as soon as every environment has settled or the time is over; says where the clock of this machine is wrong.
///
/// # Errors
/// Where that cannot be written.
pub async fn settle(
    fleet: watch::Receiver<Arc<FleetView>>,
    environments: usize,
    wait: Duration,
    err: &mut dyn Write,
) -> io::Result<Arc<FleetView>> {
    let fleet = settled(fleet, environments, wait).await;
    for (view, note) in fleet.environments.iter().filter_map(|view| Some((view, view.clock_note()?))) {
        writeln!(err, "{}: {note}", view.name)?;
    }
    Ok(fleet)
}

/// The newest view once all `environments` are complete, or what there is when waiting is over: after `wait`, or shortly after
/// everything that is missing is known to stay missing.
async fn settled(mut fleet: watch::Receiver<Arc<FleetView>>, environments: usize, wait: Duration) -> Arc<FleetView> {
    let deadline = Instant::now() + wait;
    let mut stuck_since: Option<Instant> = None;
    loop {
        let view = Arc::clone(&fleet.borrow_and_update());
        let here = view.environments.len() >= environments;
        if here && view.environments.iter().all(|environment| environment.complete) {
            return view;
        }
        let stuck = here && view.environments.iter().all(|environment| environment.complete || is_final(environment));
        stuck_since = if stuck { stuck_since.or_else(|| Some(Instant::now())) } else { None };
        let until = stuck_since.map_or(deadline, |since| deadline.min(since + GRACE));
        match timeout_at(until, fleet.changed()).await {
            Ok(Ok(())) => {}
            // The engine is gone: nothing newer will come.
            Ok(Err(_)) => return view,
            Err(_) => return Arc::clone(&fleet.borrow()),
        }
    }
}
