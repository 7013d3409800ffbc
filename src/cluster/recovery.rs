//! What a station does when something fails: is the server gone or only one request, are the credentials at fault, and when to ask again.
//!
//! What lives here: everything between "up" and "up again", and new credentials. What does not: the session itself ([`super::station`]), and
//! what a single stream does about its own failures ([`super::stream`]).

use super::connect::{Connection, connect};
use super::refusal::Refusal;
use super::roster::Running;
use super::station::{Doubt, End, Station, Version, now};
use crate::domain::Link;
use crate::fleet::delta::Delta;
use jiff::SignedDuration;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A server that answers, if only to say that it is starting, will be there soon.
const STARTING_PAUSE: Duration = Duration::from_secs(1);
/// Attempts after which a server that never answered is called unreachable.
const PATIENCE: u32 = 3;
/// How often refused credentials are shown again: a server that has just started may not know its users yet.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// Renewal that failed, while the old credentials are still taken, is tried again after this.
const RENEW_AGAIN: Duration = Duration::from_secs(30);

/// Why a pause ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    /// It is over.
    Time,
    /// What the kubeconfig says about this environment has changed.
    Kubeconfig,
}

/// What a changed kubeconfig means for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Nothing: it was built from what is there now.
    None,
    /// The same server, other credentials.
    Credentials,
    /// Another server, or another way to know that it is the right one.
    Cluster,
}

impl Station {
    /// Something failed. Is the server gone, or only that request? Returns how the session ends, if it does.
    pub(super) async fn doubt(&mut self, connection: &mut Connection, doubt: Doubt, running: &Running) -> Option<End> {
        let refusal = match doubt {
            // A small question of our own that got no answer needs no second one: a server that hangs should be known to within seconds.
            Doubt::OfOurOwn(refusal @ (Refusal::Unreachable(_) | Refusal::Unauthorized(_))) => refusal,
            // New credentials may help; if they are new already, it may be this kind only that refuses them.
            Doubt::OfAStream(refusal @ Refusal::Unauthorized(_)) if self.may_renew() => refusal,
            Doubt::OfAStream(_) | Doubt::OfOurOwn(_) => match self.ask_version(connection).await {
                Ok(_) | Err(Refusal::TooMany(_)) => return None,
                Err(refusal) => refusal,
            },
        };
        running.up.send_replace(false);
        if let Err(end) = self.until_alive(connection, refusal).await {
            return Some(end);
        }
        if self.is_another(connection).await {
            return Some(End::Moved);
        }
        running.up.send_replace(true);
        if self.tell(Delta::Link(Link::Live)).await.is_err() { Some(End::Closed) } else { None }
    }

    /// Asks for a sign of life until there is one, however long it takes.
    pub(super) async fn until_alive(&mut self, connection: &mut Connection, mut refusal: Refusal) -> Result<Version, End> {
        loop {
            let is_refused = matches!(refusal, Refusal::Unauthorized(_));
            let mut renew = is_refused && self.may_renew();
            if !renew {
                let pause = if is_refused { ASK_AGAIN } else { self.next_pause(&refusal) };
                self.tell_why(connection, &refusal, pause).await?;
                let wake = self.pause(pause).await?;
                if wake == Wake::Kubeconfig && self.news_of_kubeconfig(connection) == News::Cluster {
                    return Err(End::Moved);
                }
                renew = wake == Wake::Kubeconfig || (is_refused && self.may_renew());
            }
            if renew {
                self.renewed = Some(Instant::now());
                let renewal = connect(&self.spec).await;
                if let Some(failed) = self.take_over(connection, renewal)? {
                    refusal = failed;
                    continue;
                }
            }
            match self.ask_version(connection).await {
                Ok(version) => return Ok(version),
                Err(again) => refusal = again,
            }
        }
    }

    /// Whether credentials may be got anew because of a 401.
    fn may_renew(&self) -> bool {
        self.renewed.is_none_or(|at| at.elapsed() >= self.spec.timing.login_again)
    }

    /// Gets new credentials while everything else goes on.
    pub(super) fn renew_behind(&mut self, renewals: &mut JoinSet<Result<Connection, Refusal>>) {
        self.renewed = Some(Instant::now());
        let spec = self.spec.clone();
        renewals.spawn(async move { connect(&spec).await });
    }

    /// Goes on with new credentials, or says what was wrong with them. Streams keep running: they ask with the new ones from now on.
    pub(super) fn take_over(&self, connection: &mut Connection, renewal: Result<Connection, Refusal>) -> Result<Option<Refusal>, End> {
        match renewal {
            Ok(newer) if newer.concern.map(|c| c.cluster) != connection.concern.map(|c| c.cluster) => Err(End::Moved),
            Ok(newer) => {
                connection.requests.adopt(&newer.requests);
                *connection = Connection { requests: connection.requests.clone(), ..newer };
                tracing::info!(environment = %self.spec.name, "the credentials were renewed");
                Ok(None)
            }
            Err(refusal) => {
                tracing::warn!(environment = %self.spec.name, %refusal, "the credentials could not be renewed");
                connection.renew_at = connection.renew_at.map(|_| Instant::now() + RENEW_AGAIN);
                Ok(Some(refusal))
            }
        }
    }

    /// What the kubeconfig's newest state means for a connection.
    pub(super) fn news_of_kubeconfig(&mut self, connection: &Connection) -> News {
        let now = *self.kubeconfig.borrow_and_update();
        match (now, connection.concern) {
            (Some(now), Some(before)) if now.cluster != before.cluster => News::Cluster,
            (Some(now), Some(before)) if now.user != before.user => News::Credentials,
            _ => News::None,
        }
    }

    /// Tells why the link is down, and when the server is asked again.
    async fn tell_why(&mut self, connection: &Connection, refusal: &Refusal, pause: Duration) -> Result<(), End> {
        self.failures += 1;
        let host = connection.server.split("://").last().unwrap_or_default();
        let why = match (refusal, &connection.proxy) {
            (Refusal::Unreachable(why), Some(proxy)) => format!("{why}: {host} through the proxy {proxy}"),
            (Refusal::Unreachable(why), None) => format!("{why}: {host}"),
            _ => refusal.to_string(),
        };
        let link = match refusal {
            Refusal::Unauthorized(_) => Link::LoginNeeded { why: login_needed(&why, connection.plugin.as_deref()) },
            refusal if self.seen.is_none() && self.failures > PATIENCE && !matches!(refusal, Refusal::TooMany(_)) => {
                Link::Unreachable { why }
            }
            _ => Link::Retrying { since: self.seen, next: now() + SignedDuration::try_from(pause).unwrap_or_default(), why },
        };
        self.tell(Delta::Link(link)).await.map_err(|()| End::Closed)
    }

    /// How long to wait after such a failure: longer each time, or as long as the server asks for.
    pub(super) fn next_pause(&self, refusal: &Refusal) -> Duration {
        let most = if matches!(refusal, Refusal::Server(_)) { STARTING_PAUSE } else { LONGEST_PAUSE };
        let pause = (SHORTEST_PAUSE * 2u32.saturating_pow(self.failures.min(10))).min(most);
        let pause = if let Refusal::TooMany(Some(asked)) = refusal { pause.max(*asked) } else { pause };
        pause + jitter(pause / 4)
    }

    /// Waits before the next attempt; ends at once when somebody asks to reconnect, and when the kubeconfig changes.
    pub(super) async fn pause(&mut self, pause: Duration) -> Result<Wake, End> {
        tokio::select! {
            () = sleep(pause) => Ok(Wake::Time),
            Ok(()) = self.kubeconfig.changed() => Ok(Wake::Kubeconfig),
            () = self.signals.reconnect.notified() => Err(End::Rebuild),
            () = self.deltas.closed() => Err(End::Closed),
        }
    }
}

/// Something between nothing and `most`, so that not everybody comes back in the same moment.
pub(super) fn jitter(most: Duration) -> Duration {
    use std::hash::BuildHasher;
    let random = std::hash::RandomState::new().hash_one(most);
    most.mul_f64((random % 1000) as f64 / 1000.0)
}

/// Why a person has to log in, and how. Screens add the key that reconnects.
fn login_needed(why: &str, plugin: Option<&str>) -> String {
    match plugin {
        Some(plugin) if !why.contains(&format!("exec plugin ({plugin})")) => {
            format!("{why}; log in again for the kubeconfig's exec plugin ({plugin})")
        }
        Some(_) => format!("{why}; log in"),
        None => format!("{why}: the token may have expired; renew it in the kubeconfig, which is read again by itself"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_to_log_in_names_the_plugin_once_and_no_key() {
        let refused = "the API server refused the credentials (401 Unauthorized)";
        let failed = "no credentials: the exec plugin (aws) failed (exit status: 3)";
        for (why, plugin, says) in [
            (refused, Some("aws"), format!("{refused}; log in again for the kubeconfig's exec plugin (aws)")),
            (failed, Some("aws"), format!("{failed}; log in")),
            (refused, None, format!("{refused}: the token may have expired; renew it in the kubeconfig, which is read again by itself")),
        ] {
            assert_eq!(login_needed(why, plugin), says);
        }
    }
}
