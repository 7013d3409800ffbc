//! Asking Prometheus what was refused while nobody watched.
//!
//! What lives here: when it is asked and about what. What does not: the requests (`cluster`), what series mean (`kinds::metrics`), what counters tell
//! (`domain::history`).
//!
//! A gap is asked about once after a start or after an environment came back, and again while it is so young that its end is not scraped yet; where
//! Prometheus does not answer, with growing pauses. Only policies that enforce are asked for: nothing else refuses, and no gate asks.
//! Of what the API server refuses by a native policy there are no events to be watched: all the time is a gap.

use super::super::gates::{untold, unwatched, weigh};
use super::super::{EngineHandle, HistoryReader};
use super::RecorderStatus;
use crate::cluster::{AGAIN, PrometheusClient, Unanswered, contained};
use crate::domain::history::{Asked, EnvironmentKey, Filled, Interval, News, Note, cover, fills, looked_at};
use crate::domain::{Link, Mode, PolicyKey};
use crate::kinds::metrics::{self, Counting, Labels, Results, Scraped, Scrapes};
use crate::settings::Prometheus;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// How often it is looked whether something is to be asked.
const LOOK: Duration = Duration::from_secs(1);
/// After an environment came (back): by then the recorder has written down that it watches.
const SETTLE: Duration = Duration::from_secs(5);
/// While a gap's end may not be scraped yet.
const YOUNG: Duration = Duration::from_secs(15);
/// How long that may take.
const SCRAPED_WITHIN: SignedDuration = SignedDuration::from_mins(10);
/// Otherwise: a policy may have been out of force for a moment, or have become older than what the cluster tells of itself.
const SELDOM: Duration = Duration::from_secs(60);
/// The first pause after a failure, which doubles up to the longest.
const PAUSE: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(1_800)];
/// How far back is asked: Prometheus keeps fifteen days unless told otherwise (`--storage.tsdb.retention.time`).
const REACH: SignedDuration = SignedDuration::from_hours(15 * 24);
/// Gaps of a policy that are asked about in a round; the oldest wait for the next.
const MOST_GAPS: usize = 64;
/// What is read together, so that little has to be held.
const PIECE: SignedDuration = SignedDuration::from_hours(48);
/// Samples that are asked for in one question.
const CHUNK: SignedDuration = SignedDuration::from_hours(6);
/// What is asked for before and after a gap, so that processes are known at its edges.
const MARGIN: SignedDuration = SignedDuration::from_mins(10);
/// How fine it is looked where a metric exists, and which policies there are.
const STEPS: [SignedDuration; 2] = [SignedDuration::from_secs(30), SignedDuration::from_mins(5)];

/// A Prometheus with the environment whose metrics it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricSource {
    /// The environment's name.
    pub environment: Arc<str>,
    /// How it is asked.
    pub prometheus: Prometheus,
}

/// Asks the sources whenever there is something to ask; never ends by itself.
pub(super) async fn run(
    engine: EngineHandle,
    history: HistoryReader,
    notes: mpsc::Sender<Vec<Note>>,
    status: watch::Sender<RecorderStatus>,
    sources: Vec<MetricSource>,
) {
    let filler = |source: MetricSource| Filler {
        engine: engine.clone(),
        history: history.clone(),
        notes: notes.clone(),
        status: status.clone(),
        source,
        done: HashMap::new(),
        failures: 0,
    };
    join_all(sources.into_iter().map(|source| ask_on(&filler, source))).await;
}

/// Asks one source. After a panic it says so, and begins again later.
async fn ask_on(filler: &impl Fn(MetricSource) -> Filler, source: MetricSource) {
    loop {
        let one = filler(source.clone());
        let status = one.status.clone();
        let Err(error) = contained("filler", &source.environment, one.run()).await else { return };
        tracing::error!(environment = %source.environment, %error, "Prometheus is not asked any more");
        status
            .send_modify(|status| drop(status.unanswered.insert(Arc::clone(&source.environment), format!("is not asked: {error}").into())));
        sleep(AGAIN).await;
    }
}

struct Filler {
    engine: EngineHandle,
    history: HistoryReader,
    notes: mpsc::Sender<Vec<Note>>,
    status: watch::Sender<RecorderStatus>,
    source: MetricSource,
    /// What has been answered, and need not be asked again.
    done: HashMap<PolicyKey, Vec<Interval>>,
    failures: u32,
}

/// What has to be asked about a policy.
struct Lack {
    policy: PolicyKey,
    /// The metric that counts what it refuses.
    metric: &'static str,
    gaps: Vec<Interval>,
}

/// How it went to ask.
#[derive(Default)]
struct Told {
    /// What is lacking, in words that follow "Prometheus"; empty where nothing is.
    lacking: Vec<String>,
    /// What these count has to be asked for again.
    again: BTreeSet<Counting>,
}

impl Filler {
    async fn run(mut self) {
        let fleet = self.engine.fleet();
        let mut beat = interval(LOOK);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_live = false;
        let mut due = Instant::now();
        loop {
            beat.tick().await;
            let view = Arc::clone(&fleet.borrow());
            let seen = view.environment(&self.source.environment);
            let Some((uid, link)) = seen.and_then(|view| Some((view.cluster_uid.clone()?, view.link.clone()))) else { continue };
            let live = link == Link::Live || (was_live && link.is_up());
            if live && !was_live {
                due = due.max(Instant::now() + SETTLE);
            }
            was_live = live;
            if live && Instant::now() >= due {
                let key = EnvironmentKey { name: self.source.environment.to_string(), cluster_uid: uid.to_string() };
                due = Instant::now() + self.round(Arc::new(key)).await;
            }
        }
    }

    /// Asks about all gaps there are. How long to wait then.
    async fn round(&mut self, environment: Arc<EnvironmentKey>) -> Duration {
        let now = self.engine.server_time(&environment.name).unwrap_or_else(Timestamp::now);
        let gaps = self.gaps(&environment, now).await;
        if gaps.is_empty() {
            return SELDOM;
        }
        let answered = self.ask(&environment, &gaps, now).await;
        let asked = match &answered {
            Ok(told) => Asked { at: now, answered: true, why: told.lacking.join("; Prometheus ") },
            Err(Unanswered(why)) => Asked { at: now, answered: false, why: why.clone() },
        };
        // Where nobody writes any more the program ends.
        let _ = self.notes.send(vec![Note { environment, at: now, news: News::Asked(asked) }]).await;
        self.tell(answered.as_ref().err());
        match answered {
            Ok(told) => {
                self.failures = 0;
                let is_young = |gap: &Interval| now.duration_since(gap.to) < SCRAPED_WITHIN;
                let mut young = false;
                for Lack { policy, gaps, metric } in gaps {
                    if told.again.contains(&Counting::of(metric)) {
                        continue;
                    }
                    let done = self.done.entry(policy).or_default();
                    young |= gaps.iter().any(is_young);
                    done.extend(gaps.into_iter().filter(|gap| !is_young(gap)));
                }
                if young { YOUNG } else { SELDOM }
            }
            Err(why) => {
                tracing::warn!(environment = %self.source.environment, "Prometheus {why}");
                let pause = PAUSE[0].saturating_mul(1 << self.failures.min(10)).min(PAUSE[1]);
                self.failures = self.failures.saturating_add(1);
                pause
            }
        }
    }

    /// Keeps the status up to date; whoever follows it is woken only by news.
    fn tell(&self, unanswered: Option<&Unanswered>) {
        let why: Option<Arc<str>> = unanswered.map(|why| Arc::from(why.0.as_str()));
        self.status.send_if_modified(|status| {
            let environment = &self.source.environment;
            let news = status.unanswered.get(environment) != why.as_ref();
            match why {
                Some(why) => drop(status.unanswered.insert(Arc::clone(environment), why)),
                None => drop(status.unanswered.remove(environment)),
            }
            news
        });
    }

    /// The gaps in the watching of policies that gates ask about, which have not been answered. Those of which events told afterwards are among them:
    /// an event can be lost, and a counter knows.
    async fn gaps(&self, environment: &Arc<EnvironmentKey>, now: Timestamp) -> Vec<Lack> {
        let view = Arc::clone(&self.engine.fleet().borrow());
        let Some(view) = view.environment(&environment.name) else { return Vec::new() };
        let rows = self.engine.policies(&environment.name, None).await.unwrap_or_default();
        let reach = Interval { from: now.checked_sub(REACH).unwrap_or(Timestamp::MIN), to: now };
        let mut out = Vec::new();
        for row in &rows {
            let Some(cell) = view.cell(&row.key).filter(|cell| cell.mode == Mode::Enforce) else { continue };
            let Some(metric) = metrics::results_of(&row.key.id, cell.native) else { continue };
            let mode = Some(cell.mode);
            let asked = self.history.standing(EnvironmentKey::clone(environment), row.key.clone(), Some(view.events_kept()), now).await;
            let Ok(Some(recorded)) = asked else { continue };
            let (Ok(start), Some(_)) = weigh(Some(&recorded), row, mode, cell.native) else { continue };
            let done = self.done.get(&row.key).map_or(&[][..], Vec::as_slice);
            let gaps = if cell.native { untold(&recorded, &start) } else { unwatched(&recorded, &start) };
            let gaps = gaps.into_iter().filter_map(|gap| gap.clip(reach));
            // One that goes on until now has no end yet.
            let gaps =
                gaps.filter(|gap| (cell.native || gap.to < now) && !done.iter().any(|done| done.from <= gap.from && gap.to <= done.to));
            let gaps: Vec<Interval> = gaps.rev().take(MOST_GAPS).collect();
            if !gaps.is_empty() {
                out.push(Lack { policy: row.key.clone(), metric, gaps });
            }
        }
        out
    }

    /// Asks about gaps and hands on what is told.
    async fn ask(&self, environment: &Arc<EnvironmentKey>, lacks: &[Lack], now: Timestamp) -> Result<Told, Unanswered> {
        let client = PrometheusClient::connect(&self.source.prometheus).await?;
        let mut told = Told::default();
        for counting in [Counting::Kyverno, Counting::Servers] {
            let lacks: Vec<&Lack> = lacks.iter().filter(|lack| Counting::of(lack.metric) == counting).collect();
            if lacks.is_empty() {
                continue;
            }
            match self.engine.replicas(&environment.name, counting).await {
                Ok(expected) => told.lacking.extend(self.ask_those(&client, (counting, expected), environment, &lacks, now).await?),
                // Metrics of some of them say nothing of the others, and how many there are may be known soon.
                Err(why) => {
                    told.lacking.push(format!("may lack some {}, whose number is unknown: {why}", counting.each()));
                    told.again.insert(counting);
                }
            }
        }
        Ok(told)
    }

    /// The same about policies whose refusals the same processes count.
    async fn ask_those(
        &self,
        client: &PrometheusClient,
        (counting, expected): (Counting, usize),
        environment: &Arc<EnvironmentKey>,
        lacks: &[&Lack],
        now: Timestamp,
    ) -> Result<Option<String>, Unanswered> {
        let all = cover(lacks.iter().flat_map(|lack| lack.gaps.iter().copied()).collect());
        let mut lacking = None;
        for gap in all.iter().rev() {
            for piece in pieces(*gap, PIECE) {
                let about: Vec<(&Lack, Interval)> =
                    lacks.iter().flat_map(|lack| lack.gaps.iter().filter_map(move |gap| Some((*lack, gap.clip(piece)?)))).collect();
                let asked: BTreeSet<&'static str> = about.iter().map(|(lack, _)| lack.metric).collect();
                let scrapes = scrapes(client, counting, &self.source.prometheus.matchers, piece, &asked, now).await?;
                let mut parcel = Vec::new();
                for (lack, gap) in about {
                    match scrapes.read(&lack.policy.id, lack.metric) {
                        Ok(reading) => {
                            let fills = fills(gap, expected, &reading.processes, &reading.counters);
                            lacking = too_few(counting, expected, looked_at(gap, &reading.processes)).or(lacking);
                            let filled = Filled { policy: lack.policy.clone(), gap, fills };
                            parcel.push(Note { environment: Arc::clone(environment), at: now, news: News::Filled(Box::new(filled)) });
                        }
                        Err(why) => lacking = Some(why),
                    }
                }
                // Where nobody writes any more the program ends.
                let _ = self.notes.send(parcel).await;
            }
        }
        Ok(lacking)
    }
}

/// Why the metrics of the fewest to the most processes that were scraped at a time do not speak for all of them, in words that follow "Prometheus".
fn too_few(counting: Counting, expected: usize, (fewest, most): (usize, usize)) -> Option<String> {
    let each = counting.each();
    if most < expected {
        return Some(format!("has metrics of {most} of {expected} {each}"));
    }
    (fewest < expected && most > 0).then(|| format!("has metrics of {fewest} of {expected} {each} for a part of that time"))
}

/// A stretch in parts of a length at most.
fn pieces(whole: Interval, length: SignedDuration) -> Vec<Interval> {
    let mut out = Vec::new();
    let mut from = whole.from;
    while from < whole.to {
        let to = from.checked_add(length).unwrap_or(whole.to).min(whole.to);
        out.push(Interval { from, to });
        from = to;
    }
    out
}

/// Asks for everything that tells of a stretch of time.
async fn scrapes(
    client: &PrometheusClient,
    counting: Counting,
    matchers: &str,
    piece: Interval,
    asked: &BTreeSet<&'static str>,
    now: Timestamp,
) -> Result<Scrapes, Unanswered> {
    let window = Interval {
        from: piece.from.checked_sub(MARGIN).unwrap_or(piece.from),
        to: piece.to.checked_add(MARGIN).unwrap_or(piece.to).min(now),
    };
    let select = |metric: &str, more: &str| metrics::selector(metric, matchers, more);
    let info = samples(client, &select(counting.info(), ""), window).await?;
    if info.is_empty() {
        return Ok(Scrapes { counting, ..Scrapes::default() });
    }
    let targets = metrics::targets(&info);
    let named = match counting {
        Counting::Kyverno => client.over_time(&metrics::naming(metrics::RULES, matchers), window.from, window.to, STEPS[1]).await?,
        Counting::Servers => Vec::new(),
    };
    let mut out = Scrapes {
        counting,
        started: samples(client, &select(metrics::STARTED, &targets), window).await?,
        up: samples(client, &select(metrics::UP, &targets), window).await?,
        serving: client.over_time(&metrics::existence(counting.requests(), matchers), window.from, window.to, STEPS[1]).await?,
        named,
        results: BTreeMap::new(),
        info,
    };
    for metric in asked {
        let exists = client.over_time(&metrics::existence(counting.exists(metric), matchers), window.from, window.to, STEPS[0]).await?;
        let refusals = samples(client, &metrics::refusals(metric, matchers), window).await?;
        out.named.extend(refusals.iter().map(|series| Scraped { labels: series.labels.clone(), samples: Vec::new() }));
        out.results.insert(metric, Results { exists, refusals });
    }
    Ok(out)
}

/// Samples of a selector in the whole window, asked for in parts.
async fn samples(client: &PrometheusClient, selector: &str, window: Interval) -> Result<Vec<Scraped>, Unanswered> {
    let mut all: BTreeMap<Labels, Vec<(Timestamp, f64)>> = BTreeMap::new();
    for chunk in pieces(window, CHUNK) {
        for series in client.samples(selector, chunk.to, chunk.length()).await? {
            all.entry(series.labels).or_default().extend(series.samples);
        }
    }
    let series = |(labels, mut samples): (Labels, Vec<(Timestamp, f64)>)| {
        samples.sort_by_key(|(at, _)| *at);
        samples.dedup_by_key(|(at, _)| *at);
        Scraped { labels, samples }
    };
    Ok(all.into_iter().map(series).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_of_them_do_not_speak_for_all() {
        let servers = |expected, looked_at| too_few(Counting::Servers, expected, looked_at).unwrap_or_default();
        assert_eq!(servers(3, (1, 1)), "has metrics of 1 of 3 API servers");
        assert_eq!(servers(3, (2, 3)), "has metrics of 2 of 3 API servers for a part of that time");
        assert_eq!((servers(3, (3, 3)), servers(1, (1, 2)), servers(0, (0, 0))), Default::default());
        let kyverno = too_few(Counting::Kyverno, 2, (1, 1));
        assert_eq!(kyverno.as_deref(), Some("has metrics of 1 of 2 replicas of Kyverno's admission controller"));
    }
}
