//! Where the soak takes place: four clusters that live, proxies before them, and policydeck twice, as the screen and as `status --watch`.
//!
//! What lives here: looking at both and comparing them with a recount. What does not: breaking anything.

use crate::counted::{Counted, on_screen};
use crate::plan::Plan;
use crate::support::cluster::{Cluster, Fleet};
use crate::support::product::{Desk, Watch, environment};
use crate::support::proxy::Proxy;
use crate::support::screen::Session;
use crate::support::seed::{Random, Seeded};
use serde_json::Value;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How soon numbers are true after a recount, on two cores that also run four API servers.
const TRUE_WITHIN: Duration = Duration::from_secs(30);

/// Rows and columns of the screen: all environments and the totals in one look.
pub(crate) const SIZE: (u16, u16) = (50, 220);

pub(crate) struct Ground<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) fleet: &'a Fleet,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) desk: Desk,
    pub(crate) watch: Watch,
    pub(crate) screen: Session,
    /// One a cluster, in the same order; whoever holds one keeps that cluster from changing.
    pub(crate) lives: &'a [Mutex<Seeded<'a>>],
    pub(crate) random: Random,
    /// What `status` said of environments that were not well, since it was last asked.
    said: BTreeSet<String>,
    /// Findings of each environment after the start: with far fewer something was forgotten.
    known: Vec<u64>,
    /// Environments whose findings may go for a while.
    pub(crate) may_forget: BTreeSet<String>,
    /// What should not have been.
    pub(crate) wrong: Vec<String>,
    keys: usize,
}

/// How long it took until everything was well again.
#[derive(Clone, Copy, Default)]
pub(crate) struct Recovery {
    pub(crate) status: Duration,
    pub(crate) screen: Duration,
}

/// What somebody does who looks around: down, rows, a finding, back, all policies and back, a filter and out.
const WANDER: [&str; 12] = ["j", "\r", "j", "\r", "\u{1b}", "\u{1b}", "o", "j", "o", "/latest\r", "\u{1b}", "k"];

impl<'a> Ground<'a> {
    pub(crate) fn new(plan: &'a Plan, fleet: &'a Fleet, lives: &'a [Mutex<Seeded<'a>>], proxies: Vec<Proxy>, desk: Desk) -> Self {
        let watch = desk.watch(&["status", "--watch"]);
        let screen = Session::start(desk.in_terminal(&[]), SIZE);
        let random = Random(plan.seed);
        let (said, may_forget, known, wrong) = (BTreeSet::new(), BTreeSet::new(), Vec::new(), Vec::new());
        Self { plan, fleet, proxies, desk, watch, screen, lives, random, said, known, may_forget, wrong, keys: 0 }
    }

    /// Some cluster, by its place.
    pub(crate) fn somewhere(&mut self) -> usize {
        self.random.index(self.lives.len())
    }

    pub(crate) fn cluster(&self, place: usize) -> &'a Cluster {
        &self.fleet.clusters()[place]
    }

    /// Keeps a cluster from changing.
    pub(crate) fn still(&self, place: usize) -> MutexGuard<'a, Seeded<'a>> {
        self.lives[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what `status` printed meanwhile; the newest document.
    pub(crate) fn see(&mut self) -> Value {
        let newest = self.watch.latest().clone();
        let seen = std::mem::take(&mut self.watch.seen);
        for (_, document) in &seen {
            for (place, item) in document["items"].as_array().into_iter().flatten().enumerate() {
                let (name, state) = (item["name"].as_str().unwrap_or_default(), item["state"].as_str().unwrap_or_default());
                if state != "live" {
                    self.said.insert(format!("{name} {state}"));
                } else if item["complete"] != true {
                    self.said.insert(format!("{name} incomplete"));
                }
                let known = self.known.get(place).copied().unwrap_or_default();
                if total(item) < known / 2 && !self.may_forget.contains(name) {
                    self.wrong.push(format!("{name}: {} of {known} findings while it is {state}", total(item)));
                    self.may_forget.insert(name.to_owned());
                }
            }
        }
        self.watch.seen.extend(seen.into_iter().next_back());
        newest
    }

    /// What was said of environments that were not well since the last call.
    pub(crate) fn said(&mut self) -> String {
        self.see();
        std::mem::take(&mut self.said).into_iter().collect::<Vec<_>>().join(", ")
    }

    /// From now on findings may not vanish.
    pub(crate) fn remember(&mut self) {
        let status = self.see();
        self.known = self.fleet.clusters().iter().map(|c| total(environment(&status, &c.name))).collect();
    }

    /// Lets time pass while somebody looks around on the screen; it shows the matrix again at the end.
    pub(crate) fn wander(&mut self, end: Instant) {
        while Instant::now() < end {
            self.see();
            self.screen.keys(WANDER[self.keys % WANDER.len()]);
            self.keys += 1;
            std::thread::sleep(Duration::from_secs(2).min(end.saturating_duration_since(Instant::now())));
        }
        while !self.keys.is_multiple_of(WANDER.len()) {
            self.screen.keys(WANDER[self.keys % WANDER.len()]);
            self.keys += 1;
            // Two keys in one go may be read as one: escape and a letter are Alt and the letter.
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until every kind of every environment is followed, and the screen says so too.
    pub(crate) fn recovered(&mut self, patience: Duration) -> Result<Recovery, String> {
        let start = Instant::now();
        let (mut status, mut screen) = (None, None);
        loop {
            let document = self.see();
            let missing = self.fleet.clusters().iter().filter_map(|c| unwell(environment(&document, &c.name))).collect::<Vec<_>>();
            if missing.is_empty() {
                status.get_or_insert_with(|| start.elapsed());
            } else {
                status = None;
            }
            if self.screen_is_live() {
                screen.get_or_insert_with(|| start.elapsed());
            } else {
                screen = None;
            }
            if let (Some(status), Some(screen)) = (status, screen) {
                return Ok(Recovery { status, screen });
            }
            if start.elapsed() > patience {
                return Err(format!("not well within {patience:?}: {missing:?}; the screen:\n{}", self.top()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The first and the last lines of the screen: states, totals, the words at the bottom.
    fn top(&self) -> String {
        let text = self.screen.text();
        let lines = text.lines().map(str::trim_end).collect::<Vec<_>>();
        let (first, last) = lines.split_at(lines.len().min(5));
        [first, &last[last.len().saturating_sub(3)..]].concat().join("\n")
    }

    fn screen_is_live(&self) -> bool {
        let text = self.screen.text();
        let head = text.lines().next().unwrap_or_default();
        head.matches("● live").count() == self.lives.len() && !head.contains("incomplete")
    }

    /// Nothing changes for a moment: the numbers of `status`, and of the screen, are those of a recount. How long after the last write they were.
    pub(crate) fn assert_true(&mut self) -> Result<(Duration, Vec<Counted>), String> {
        let (still, start) = (self.all_still(), Instant::now());
        let recounting = std::thread::scope(|scope| {
            let threads = self.fleet.clusters().iter().map(|c| scope.spawn(|| Counted::of(c))).collect::<Vec<_>>();
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Result<Vec<_>, _>>()
        });
        let counts = recounting.map_err(|_| "the recount failed".to_owned())?;
        let counted = Instant::now();
        loop {
            let (status, text) = (self.see(), self.screen.text());
            let mut wrong = Vec::new();
            for (cluster, count) in self.fleet.clusters().iter().zip(&counts) {
                wrong.extend(count.differences(&cluster.name, &status));
                wrong.extend(on_screen(&text, &cluster.name).differs(&cluster.name, count));
            }
            if wrong.is_empty() {
                drop(still);
                return Ok((start.elapsed(), counts));
            }
            if counted.elapsed() > TRUE_WITHIN {
                return Err(format!("differs from a recount:\n{}\nthe screen:\n{}", wrong.join("\n"), self.top()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn all_still(&self) -> Vec<MutexGuard<'a, Seeded<'a>>> {
        (0..self.lives.len()).map(|place| self.still(place)).collect()
    }

    /// The commands, and the acceptance recount where it is, say the same.
    pub(crate) fn assert_thoroughly(&mut self) -> Result<(), String> {
        let _still = self.all_still();
        catch_unwind(AssertUnwindSafe(|| self.desk.assert_true(self.fleet))).map_err(|why| match why.downcast_ref::<String>() {
            Some(words) => words.clone(),
            None => "the thorough comparison failed".to_owned(),
        })
    }
}

fn total(item: &Value) -> u64 {
    item["findings"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum()
}

/// Why an environment is not well; nothing if it is.
fn unwell(item: &Value) -> Option<String> {
    let kinds = item["kinds"].as_array().into_iter().flatten();
    let mut unfollowed = kinds.filter(|kind| kind["state"] != "live" && kind["state"] != "not-installed");
    let well = item["state"] == "live" && item["complete"] == true;
    match (unfollowed.next(), well) {
        (None, true) => None,
        (kind, _) => Some(format!("{} is {}: {} {}", item["name"], item["state"], item["message"], kind.unwrap_or(&Value::Null))),
    }
}
