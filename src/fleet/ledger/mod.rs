//! The ledger: every finding of one environment, counted exactly, at a few bytes each.
//!
//! What lives here: rows of reports as interned numbers, resources and their owners, and the running tallies per check and per
//! group that follow every change. What does not: policies themselves, modes, blocked admissions ([`super::state`]), JSON.
//!
//! # How counting stays incremental
//! A *family* is a top owner with everything below it; no finding and no collapsed finding spans two families. Before anything of a
//! family changes, what the family adds to the tallies is taken out once ([`Ledger::open`]); at the end of a batch it is put back as
//! it is then ([`Ledger::settle`]). So a change costs as much as its family is big, whatever the size of the fleet, and the tallies
//! always equal a count from scratch (tested so).
//!
//! # What is counted
//! A finding's key is (source, policy, rule, resource), after a result that names its policy or rule in another way was given to the one it can
//! mean ([`existing`]); the newest of several results wins, then the worse. Collapsed to owners, the key is (source, policy, rule as the policy
//! calls it, top owner) and the worst wins. Results of policies or rules that no longer exist are stale and stay out of both, and so do results
//! of Kyverno that speak for another namespace than their report's.

mod ask;
mod ceased;
mod checks;
mod claims;
mod existing;
mod owners;
mod resources;
mod rows;
mod scopes;
mod tidy;
mod writers;

#[cfg(test)]
pub(super) mod tests;

pub(crate) use ask::seconds;
pub(crate) use ceased::Ceased;
pub(crate) use existing::{Existing, Known};

use crate::domain::{FindingResult, PolicyKey, Severity, Tally};
use crate::fleet::strings::{StrId, Strings};
use crate::kinds::report::{RawResult, Reference, Repeated, Report, Twin, Writer, is_kyverno, read_report};
use crate::kinds::served::ServedResources;
use ceased::Dropped;
use checks::Checks;
use hashbrown::{HashMap, HashSet};
use resources::{ResourceId, Resources};
use rows::{Details, ReportEntry, ReportName, Reports, Row};
use std::cmp::Ordering;
use std::sync::Arc;
use writers::Writers;

/// What one policy adds up to.
#[derive(Debug, Clone)]
pub(crate) struct PolicySum {
    pub(crate) key: PolicyKey,
    pub(crate) findings: Tally,
    pub(crate) owners: Tally,
    pub(crate) stale: u64,
    /// Results that speak for another namespace than their report's.
    pub(crate) foreign: u64,
    /// Results of Kyverno that another client wrote.
    pub(crate) unverified: u64,
    /// Results, counted at whatever they name, that may be this policy's.
    pub(crate) doubtful: u64,
    pub(crate) excepted: u64,
    /// Seconds since 1970 of the newest evaluation; 0 if unknown.
    pub(crate) newest: u32,
    pub(crate) severity: Option<Severity>,
    pub(crate) category: StrId,
}

impl PolicySum {
    fn of(key: PolicyKey) -> Self {
        Self {
            key,
            findings: Tally::default(),
            owners: Tally::default(),
            stale: 0,
            foreign: 0,
            unverified: 0,
            doubtful: 0,
            excepted: 0,
            newest: 0,
            severity: None,
            category: StrId::EMPTY,
        }
    }
}

/// All findings of one environment.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    strings: Strings,
    checks: Checks,
    details: Details,
    resources: Resources,
    reports: Reports,
    writers: Writers,
    /// What results said that were read before.
    sayings: Repeated<Saying>,
    /// Roots of families whose contribution is taken out at the moment.
    open: HashSet<ResourceId>,
    /// Resources that a report has ceased to name in this batch.
    left: Vec<ResourceId>,
    /// Failing results that a report has ceased to have in this batch.
    dropped_faults: Vec<Dropped>,
    /// Failing results that no report has any more, until they are taken.
    ceased: Vec<Ceased>,
    scratch: Scratch,
    /// Results in all reports that could not be read.
    malformed: u64,
    /// Owner kinds that may not be read here: their owners are guessed by name.
    guessing: bool,
    /// Something that can be seen changed since the last [`Ledger::take_changes`].
    changed: bool,
    /// Only evaluation times changed since then.
    retimed: bool,
    /// Rises with every list that starts; tells which reports a list has not named.
    round: u32,
    rounds: HashMap<(u8, StrId), u32>,
    /// Rows have gone or changed since the last [`Ledger::tidy`].
    dropped: bool,
    /// Bytes of text at which [`Ledger::tidy`] looks for texts that nothing names any more.
    roomy: usize,
    /// There was no room for the text of a report or of an owner, so it was left out.
    full: bool,
    /// Which kinds live in no namespace, beside those that do so in every cluster.
    served: Arc<ServedResources>,
    /// The latest time of evaluation that is believed, in seconds since 1970; 0 where no time was told.
    latest: u32,
}

/// Why a report was not taken in.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// It is no report, or no JSON.
    Unreadable,
    /// The texts of the environment have reached their limit.
    NoRoom,
}

impl From<serde_json::Error> for NotTaken {
    fn from(_: serde_json::Error) -> Self {
        Self::Unreadable
    }
}

/// Each text of an object is kept at most this many times: as it is, as part of a reference, and as a rule goes by in its policy.
const COPIES: usize = 3;

/// How many seconds a clock may be ahead.
const CLOCK_TOLERANCE: u32 = 60;

/// What a result says, apart from what it is about and when.
#[derive(Debug, Clone, Copy)]
struct Saying {
    check: u32,
    message: StrId,
    detail: u32,
    category: StrId,
    result: FindingResult,
    severity: Option<Severity>,
}

/// What a result is about.
#[derive(Debug, Clone, Copy)]
struct Subject {
    resource: ResourceId,
    twin: Twin,
    /// It is not in the namespace of the report.
    elsewhere: bool,
}

/// Reused working memory of [`Ledger::contribute`].
#[derive(Debug, Default)]
struct Scratch {
    winners: Vec<Option<Winner>>,
    touched_checks: Vec<u32>,
    worst: Vec<Option<FindingResult>>,
    touched_groups: Vec<u32>,
    family: Vec<ResourceId>,
}

#[derive(Debug, Clone, Copy)]
struct Winner {
    result: FindingResult,
    time: u32,
    excepted: bool,
}

/// Whether a reference names anything: Kyverno and other tools write empty ones.
fn names_something(reference: &Reference<'_>) -> bool {
    !(reference.name.as_str().is_empty() && reference.uid.as_str().is_empty())
}

impl Saying {
    /// `None` for a result that is not one of the API's five words.
    fn of(raw: &RawResult<'_>, source: &str, checks: &mut Checks, details: &mut Details, strings: &mut Strings) -> Option<Self> {
        let category = strings.intern(raw.category.as_str());
        Some(Self {
            result: raw.result()?,
            severity: raw.severity.as_str().parse().ok(),
            check: checks.intern(source, raw.policy.as_str(), raw.rule.as_str(), strings),
            message: strings.intern(raw.message.as_str()),
            detail: details.intern(category, &raw.properties, strings),
            category,
        })
    }
}

impl Ledger {
    /// Takes a report in as it came, in place of what was known of it.
    ///
    /// # Errors
    /// What was known of the report stays as it was.
    pub(crate) fn put(&mut self, kind: u8, json: &[u8]) -> Result<(), NotTaken> {
        self.has_room(json.len())?;
        let Self { sayings, checks, details, strings, .. } = self;
        let learn = |raw: &RawResult<'_>| {
            let plain = raw.is_readable() && raw.resources().is_empty() && !raw.source.as_str().is_empty();
            plain.then(|| Saying::of(raw, raw.source.as_str(), checks, details, strings)).flatten()
        };
        let Some(report) = sayings.read(json, learn) else {
            self.put_report(kind, &read_report(json)?);
            return Ok(());
        };
        let (namespace, name) = self.name_of(report.metadata.namespace.as_str(), report.metadata.name.as_str());
        // A report without results says nothing of its scope.
        let scope = report.scope.filter(|scope| !report.results.is_empty() && names_something(scope));
        if scope.as_ref().is_some_and(|scope| self.is_elsewhere(scope, namespace)) {
            // Whose claim it is depends on the source of each result.
            self.put_report(kind, &read_report(json)?);
            return Ok(());
        }
        let scope = scope.map(|scope| self.subject(&scope, (kind, namespace, name), true));
        let mut rows = Vec::with_capacity(report.results.len());
        for (position, (saying, time)) in report.results.into_iter().enumerate() {
            let subject = scope.unwrap_or_else(|| self.report_itself(kind, namespace, name, position));
            rows.push(self.enter(saying, subject, time));
        }
        self.put_rows((kind, namespace, name), rows, 0, &report.metadata.writer);
        Ok(())
    }

    /// Whether an object of so many bytes fits, whatever it says.
    pub(crate) fn has_room(&mut self, bytes: usize) -> Result<(), NotTaken> {
        if self.strings.has_room(bytes.saturating_mul(COPIES)) {
            return Ok(());
        }
        self.full = true;
        Err(NotTaken::NoRoom)
    }

    /// Whether something was left out because the texts have reached their limit.
    pub(crate) fn is_full(&self) -> bool {
        self.full || self.strings.has_lost()
    }

    /// A ledger whose texts have another limit.
    #[cfg(test)]
    pub(crate) fn with_text_limit(most: usize) -> Self {
        Self { strings: Strings::with_limit(most), ..Self::default() }
    }

    /// The same for a report that was read.
    pub(crate) fn put_report(&mut self, kind: u8, report: &Report<'_>) {
        let (namespace, name) = self.name_of(report.metadata.namespace.as_str(), report.metadata.name.as_str());
        let rows = self.rows_of(kind, namespace, name, report);
        self.put_rows((kind, namespace, name), rows, report.malformed, &report.metadata.writer);
    }

    fn name_of(&mut self, namespace: &str, name: &str) -> (StrId, ReportName) {
        (self.strings.intern(namespace), ReportName::new(name, &mut self.strings))
    }

    fn put_rows(&mut self, (kind, namespace, name): (u8, StrId, ReportName), mut rows: Vec<Row>, malformed: u64, writer: &Writer<'_>) {
        let writer = self.writers.intern(writer);
        if self.guessing {
            for row in &rows {
                self.guess_owner(row.resource);
            }
        }
        rows.sort_unstable_by_key(|row| (row.resource, row.check, row.time, row.result));
        let old = self.reports.find(kind, namespace, name);
        if let Some(id) = old
            && self.reports.writer(id) == writer
            && self.only_times_differ(id, &rows, malformed)
        {
            self.retime(id, rows);
            return;
        }
        if let Some(id) = old {
            self.note_dropped(id, &rows, writer.is_other());
        }
        let id = old.unwrap_or_else(|| self.reports.add(kind, namespace, name));
        self.exchange(id, rows, malformed);
        self.reports.set_writer(id, writer);
    }

    /// Gives a report other rows, which are sorted. Families that get or lose one are opened before.
    fn exchange(&mut self, id: u32, rows: Vec<Row>, malformed: u64) {
        let mut last = None;
        for row in &rows {
            if last.replace(row.resource) != Some(row.resource) {
                self.open(row.resource);
            }
        }
        self.detach(id);
        self.attach(id, rows, malformed);
        self.changed = true;
    }

    /// Forgets a report that was deleted.
    pub(crate) fn remove(&mut self, kind: u8, namespace: &str, name: &str) {
        let Some(namespace) = self.strings.find(namespace) else { return };
        let Some(name) = ReportName::find(name, &self.strings) else { return };
        if let Some(id) = self.reports.find(kind, namespace, name) {
            self.note_dropped(id, &[], false);
            self.forget(id);
        }
    }

    /// A list of reports starts; `namespace` is empty for a list of all namespaces.
    pub(crate) fn start_list(&mut self, kind: u8, namespace: &str) {
        self.round += 1;
        let scope = self.strings.intern(namespace);
        self.rounds.insert((kind, scope), self.round);
    }

    /// The list is complete: what it did not name is gone.
    pub(crate) fn end_list(&mut self, kind: u8, namespace: &str) {
        for id in self.unlisted(kind, namespace) {
            self.note_dropped(id, &[], false);
            self.forget(id);
        }
    }

    /// The reports of a kind are not read any more: those that its list has not named are forgotten, which says nothing about what they said.
    pub(crate) fn drop_list(&mut self, kind: u8, namespace: &str) {
        for id in self.unlisted(kind, namespace) {
            self.forget(id);
        }
    }

    /// The reports that the list which ends now has not named.
    fn unlisted(&mut self, kind: u8, namespace: &str) -> Vec<u32> {
        let scope = self.strings.intern(namespace);
        let round = self.rounds.remove(&(kind, scope));
        round.map(|round| self.reports.older_than(kind, scope, round)).unwrap_or_default()
    }

    fn forget(&mut self, id: u32) {
        self.detach(id);
        self.reports.free(id);
        self.changed = true;
    }

    /// Takes the rows of a report away from their resources. Their families are opened while the rows still count.
    fn detach(&mut self, id: u32) {
        let mut named: Vec<ResourceId> = self.reports.entry(id).rows.iter().map(|row| row.resource).collect();
        named.dedup();
        for &resource in &named {
            self.open(resource);
        }
        for &resource in &named {
            self.resources.drop_report(resource, id);
        }
        self.dropped |= !named.is_empty();
        self.left.append(&mut named);
        self.malformed -= u64::from(self.reports.take(id).malformed);
    }

    fn attach(&mut self, id: u32, rows: Vec<Row>, malformed: u64) {
        let mut last = None;
        for row in &rows {
            if last != Some(row.resource) {
                self.resources.add_report(row.resource, id);
                last = Some(row.resource);
            }
        }
        self.malformed += malformed;
        self.reports.set(id, ReportEntry { rows: rows.into_boxed_slice(), malformed: malformed as u32, round: self.round });
    }

    /// Whether the new rows say the same as the old ones, but for when.
    ///
    /// Kyverno rewrites every report once per scan interval with new times only (kyverno/kyverno
    /// pkg/controllers/report/background/controller.go, `needsReconcile`). Where a second report speaks of the same resource, times
    /// decide which result wins, so such reports take the long way. So do those of a check that has several names.
    fn only_times_differ(&self, id: u32, rows: &[Row], malformed: u64) -> bool {
        let old = self.reports.entry(id);
        u64::from(old.malformed) == malformed
            && old.rows.len() == rows.len()
            && old.rows.iter().zip(rows).all(|(a, b)| a.says_the_same_as(b))
            && rows.iter().all(|row| self.resources.reports(row.resource).len() <= 1 && !self.checks.is_shared(row.check))
    }

    fn retime(&mut self, id: u32, rows: Vec<Row>) {
        for row in &rows {
            if !self.checks.is_foreign(row) {
                self.checks.saw(row.check, row.time);
            }
        }
        let old = self.reports.entry(id);
        self.dropped |= old.rows.iter().zip(&rows).any(|(old, new)| old.time > new.time);
        let malformed = old.malformed;
        self.reports.set(id, ReportEntry { rows: rows.into_boxed_slice(), malformed, round: self.round });
        self.retimed = true;
    }

    fn rows_of(&mut self, kind: u8, namespace: StrId, name: ReportName, report: &Report<'_>) -> Vec<Row> {
        let mut rows = Vec::with_capacity(report.results.len());
        let about = report.scope.as_ref().filter(|scope| names_something(scope));
        let home = report.metadata.namespace.as_str();
        let mut scopes = [None; 2];
        for (position, result) in report.results.iter().enumerate() {
            let source = if result.source.as_str().is_empty() { report.source.as_str() } else { result.source.as_str() };
            let bounded = is_kyverno(source);
            let scope = &mut scopes[usize::from(bounded)];
            let Some(saying) = Saying::of(result, source, &mut self.checks, &mut self.details, &mut self.strings) else { continue };
            let mut own = result.resources().iter().filter(|reference| names_something(reference)).peekable();
            if own.peek().is_none() {
                let subject = match about {
                    Some(reference) => *scope.get_or_insert_with(|| self.subject(reference, (kind, namespace, name), bounded)),
                    None => self.report_itself(kind, namespace, name, position),
                };
                rows.push(self.enter(saying, subject, result.seconds()));
            }
            for reference in own {
                let subject = match about.filter(|scope| reference.is_short_for(scope, home)) {
                    Some(reference) => *scope.get_or_insert_with(|| self.subject(reference, (kind, namespace, name), bounded)),
                    None => self.subject(reference, (kind, namespace, name), bounded),
                };
                rows.push(self.enter(saying, subject, result.seconds()));
            }
        }
        rows
    }

    /// Whether a reference in a report of this namespace names something that is not in it: in another namespace, or in none.
    fn is_elsewhere(&self, reference: &Reference<'_>, home: StrId) -> bool {
        let namespace = reference.namespace.as_str();
        let another = !namespace.is_empty() && namespace != self.strings.get(home);
        home != StrId::EMPTY && (another || self.is_cluster_scoped(reference.api_version.as_str(), reference.kind.as_str()))
    }

    /// What a reference in a report (kind, namespace, name) names. Where the source is `bounded` to the namespace of the report, a claim about anything
    /// elsewhere is about a resource of its own: it must not rename, hide or vouch for the real one.
    fn subject(&mut self, reference: &Reference<'_>, report: (u8, StrId, ReportName), bounded: bool) -> Subject {
        let elsewhere = self.is_elsewhere(reference, report.1);
        let twin = Twin::of(reference.kind.as_str());
        let resource = if elsewhere && bounded {
            self.resources.claimed_in(report, reference, &mut self.strings)
        } else {
            self.resources.named_in(report, reference, &mut self.strings)
        };
        Subject { resource, twin, elsewhere }
    }

    fn report_itself(&mut self, kind: u8, namespace: StrId, name: ReportName, position: usize) -> Subject {
        let resource = self.resources.of_report(kind, namespace, name, position, &mut self.strings);
        Subject { resource, twin: Twin::None, elsewhere: false }
    }

    /// The row of a result; what the result says of its policy is noted.
    fn enter(&mut self, saying: Saying, subject: Subject, seconds: i64) -> Row {
        let Saying { check, message, detail, category, result, severity } = saying;
        let Subject { resource, twin, elsewhere } = subject;
        let check = self.checks.for_kind(check, twin, &mut self.strings);
        let time = u32::try_from(seconds.max(0)).unwrap_or(u32::MAX);
        // A time that is not yet would win over every result to come.
        let time = if self.latest != 0 && time > self.latest { 0 } else { time };
        let row = Row { check, resource, time, message, detail, result, severity, elsewhere };
        if !self.checks.is_foreign(&row) {
            self.checks.saw(check, time);
            self.checks.describe(check, severity, category, &self.strings);
        }
        row
    }

    /// Says what time it is where results are written: a later one, by more than a minute, counts as none.
    pub(crate) fn set_time(&mut self, now: i64) {
        self.latest = u32::try_from(now.max(0)).unwrap_or(u32::MAX).saturating_add(CLOCK_TOLERANCE);
    }

    /// Takes the family of `resource` out of the tallies, unless it is out already.
    fn open(&mut self, resource: ResourceId) {
        let root = self.resources.top(resource);
        if !self.open.contains(&root) {
            self.contribute(root, false);
            self.open.insert(root);
        }
    }

    /// Ends a batch: every open family counts again, as it is now.
    pub(crate) fn settle(&mut self) {
        let open: Vec<ResourceId> = self.open.drain().collect();
        let mut roots = HashSet::with_capacity(open.len());
        for id in &open {
            roots.insert(self.resources.top(*id));
        }
        for root in roots {
            self.contribute(root, true);
        }
        self.find_ceased();
        for id in open.into_iter().chain(std::mem::take(&mut self.left)) {
            self.resources.free_if_unused(id);
        }
    }

    /// Adds (or takes away) what one family says to all tallies.
    fn contribute(&mut self, root: ResourceId, add: bool) {
        let Self { resources, reports, checks, details, scratch, .. } = self;
        scratch.winners.resize(checks.len(), None);
        scratch.worst.resize(checks.groups(), None);
        scratch.family.clear();
        scratch.family.push(root);
        while let Some(id) = scratch.family.pop() {
            resources.push_children(id, &mut scratch.family);
            for (row, by_other) in reports.rows_with_writers(id, resources.reports(id)) {
                if checks.is_foreign(row) {
                    checks.count_foreign(row.check, add);
                    continue;
                }
                if by_other && checks.is_bounded(row.check) {
                    checks.count_unverified(row.check, add);
                }
                let check = checks.meaning(row.check);
                let Some(slot) = scratch.winners.get_mut(check as usize) else { continue };
                if slot.is_none() {
                    scratch.touched_checks.push(check);
                }
                let beaten = slot.is_none_or(|w| match (w.time, w.result).cmp(&(row.time, row.result)) {
                    Ordering::Less => true,
                    // Whichever came first: one that is excused stands for both.
                    Ordering::Equal => !w.excepted && details.names_exception(row.detail),
                    Ordering::Greater => false,
                });
                if beaten {
                    *slot = Some(Winner { result: row.result, time: row.time, excepted: details.names_exception(row.detail) });
                }
            }
            for check in scratch.touched_checks.drain(..) {
                let Some(winner) = scratch.winners.get_mut(check as usize).and_then(Option::take) else { continue };
                let Some(group) = checks.count(check, winner.result, winner.excepted, add) else { continue };
                let Some(worst) = scratch.worst.get_mut(group as usize) else { continue };
                if worst.is_none() {
                    scratch.touched_groups.push(group);
                }
                *worst = (*worst).max(Some(winner.result));
            }
        }
        for group in scratch.touched_groups.drain(..) {
            if let Some(worst) = scratch.worst.get_mut(group as usize).and_then(Option::take) {
                checks.count_group(group, worst, root, add);
            }
        }
    }

    /// Says which policies and rules exist; results of others become stale, results of these live.
    pub(crate) fn set_existing(&mut self, existing: Existing) {
        self.settle();
        if self.checks.set_existing(existing, &mut self.strings) {
            self.dropped = true;
            self.recount();
        }
    }

    /// Counts everything again from the rows.
    fn recount(&mut self) {
        self.open.clear();
        self.checks.reset();
        for root in self.resources.roots() {
            self.contribute(root, true);
        }
        self.changed = true;
    }

    /// What every policy adds up to, in no particular order.
    pub(crate) fn sums(&self) -> Vec<PolicySum> {
        self.checks.sums(&self.strings)
    }

    /// Results in reports that could not be read.
    pub(crate) fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Reports held of one kind.
    pub(crate) fn reports_of(&self, kind: u8) -> u64 {
        self.reports.count(kind)
    }

    /// The text of a number.
    pub(crate) fn text(&self, id: StrId) -> &str {
        self.strings.get(id)
    }

    /// Whether the API server shows an object with this UID in a namespace. Reports do not: who may write one could make a refused request look admitted.
    pub(crate) fn knows_uid(&self, namespace: &str, uid: &str) -> bool {
        self.resources.find_uid(namespace, uid, &self.strings).is_some_and(|id| self.resources.is_linked(id))
    }

    /// Kinds of the resources that findings are about, for finding out which owners are needed.
    pub(crate) fn resource_kinds(&self) -> impl Iterator<Item = &str> {
        self.resources.kinds().iter().map(|&id| self.strings.get(id))
    }

    /// (something visible changed, only evaluation times changed) since the last call.
    pub(crate) fn take_changes(&mut self) -> (bool, bool) {
        (std::mem::take(&mut self.changed), std::mem::take(&mut self.retimed))
    }

    /// The reference as text, for [`Ledger::link`].
    pub(crate) fn reference<'a>(api_version: &'a str, kind: &'a str, namespace: &'a str, name: &'a str, uid: &'a str) -> Reference<'a> {
        use crate::kinds::report::Text;
        let text = |s: &'a str| Text(std::borrow::Cow::Borrowed(s));
        Reference { api_version: text(api_version), kind: text(kind), namespace: text(namespace), name: text(name), uid: text(uid) }
    }
}
