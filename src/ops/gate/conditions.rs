//! The conditions that have to do with what the policy did in the environment it would leave.

use super::disregard::{in_words, proof};
use super::{AT_ONCE, Asked, Block, Metrics, Observed, Relied, Start, evaluated, met, unknown, unmet};
use crate::domain::history::EVENTS_KEPT;
use crate::domain::time::brief;
use crate::domain::{Amount, Claim, Condition, ConditionName, Force, Proof, Unverified, clean};
use crate::fleet::query::{HoldingReport, UnseenException, WouldBlock};
use crate::fleet::view::{EnvironmentView, PolicyCell};
use crate::ops::position::Travel;
use crate::settings;
use jiff::{SignedDuration, Timestamp};

/// How far clocks may be apart before what they say is not believed.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(5);
/// How old the newest word of Prometheus may be where nothing else tells what was refused: a few scrapes.
const TOLD_WITHIN: SignedDuration = SignedDuration::from_mins(5);
/// How much earlier than the step an event of it may say that it is.
const MOMENT: SignedDuration = SignedDuration::from_secs(1);

/// `Nov 20 11:02 to Nov 20 17:40 UTC`.
fn between((from, to): (Timestamp, Timestamp)) -> String {
    format!("{} to {}", from.strftime("%b %e %H:%M"), to.strftime("%b %e %H:%M UTC"))
}

/// `; 2 gaps filled from Prometheus, the last Nov 20 11:02 to Nov 20 17:40 UTC`; nothing where there was none.
fn filled(gaps: &[(Timestamp, Timestamp)]) -> String {
    match gaps {
        [] => String::new(),
        [gap] => format!("; a gap filled from Prometheus ({})", between(*gap)),
        [.., last] => format!("; {} gaps filled from Prometheus, the last {}", gaps.len(), between(*last)),
    }
}

/// So many objects that nothing verifies are named, and so many others.
const NAMED: usize = 100;
const OTHERS_NAMED: usize = 5;

/// Whether all results about a policy but those left out are in reports that can speak for what they name. Nothing shows who is right where they are not: such
/// a claim neither meets the condition nor fails it.
fn own_only(cell: &PolicyCell, foreign: u64) -> Result<(), String> {
    let shown = format!("`policydeck findings {} --filter foreign=yes`", cell.key.id.name);
    match foreign {
        0 => Ok(()),
        1 => Err(format!("a result about it is in a report of another namespace, which cannot speak for it: {shown}")),
        count => Err(format!("{count} results about it are in reports of other namespaces, which cannot speak for them: {shown}")),
    }
}

/// `; 2 results were not written by Kyverno: …`; nothing where Kyverno wrote all.
fn by_others(cell: Option<&PolicyCell>) -> String {
    let Some(cell) = cell.filter(|cell| cell.unverified > 0) else { return String::new() };
    let results = if cell.unverified == 1 { "1 result was".to_owned() } else { format!("{} results were", cell.unverified) };
    format!("; {results} not written by Kyverno, as the next scan does: `policydeck findings {} --filter unverified=yes`", cell.key.id.name)
}

/// Whether every failing result that was seen is still there, or is known to be gone for good.
fn all_there(cell: &PolicyCell) -> Result<(), String> {
    cell.disappeared.as_ref().map_or(Ok(()), |disappeared| Err(disappeared.in_words()))
}

/// What is not counted among the violations, and what is under another name.
fn beside(judged: &WouldBlock) -> String {
    let all = [
        (judged.tolerated, "reported as skipped, because existing violations are tolerated"),
        (judged.by_old_sets, "only by an old ReplicaSet: the Deployment itself passes; delete the ReplicaSet, or fix it there"),
        (judged.left_alone, "not counted: in namespaces that Kyverno ignores"),
        (judged.audited, "not counted: where an override keeps audit"),
    ];
    let said: Vec<String> = all.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("; {count} {what}")).collect();
    said.concat()
}

/// A report with results that count as violations.
fn holding(holding: &HoldingReport) -> Proof {
    let object = Some(holding.report.to_string());
    let by = holding.by.as_deref().map(|by| clean(by).into_owned());
    let verified = by.as_ref().map(|_| false);
    Proof { source: "report", by, at: holding.oldest, object, count: Some(holding.count), verified, ..Proof::default() }
}

/// An event of Kyverno's.
fn of_event(block: &Block) -> Proof {
    let source = &block.source;
    Proof {
        source: "event",
        by: source.by.as_deref().map(|by| clean(by).into_owned()),
        at: block.at,
        object: Some(source.object.for_kubectl()),
        component: Some(clean(&source.component).into_owned()),
        count: Some(block.count),
        verified: Some(source.verified),
        ..Proof::default()
    }
}

/// `3 results are excused by kyverno/legacy, which is not seen`.
fn unseen(exceptions: &[UnseenException]) -> String {
    let one = |one: &UnseenException| {
        let results = if one.uses == 1 { "1 result is".to_owned() } else { format!("{} results are", one.uses) };
        let by = if one.name.is_empty() { "an exception".to_owned() } else { clean(&one.name).into_owned() };
        format!("{results} excused by {by}, which is not seen")
    };
    exceptions.iter().map(one).collect::<Vec<_>>().join("; ")
}

impl Asked<'_> {
    /// Long enough? And when it will be.
    pub(super) fn soak(&self) -> (Condition, Option<Timestamp>) {
        let limit = self.step.soak;
        let unknown = |source: &str, why: &str| (unknown(ConditionName::Soak, source, why).with(None, Some(Amount::Time(limit))), None);
        let (start, now) = match self.start().and_then(|start| Ok((start, self.now()?))) {
            Ok(known) => known,
            Err(why) => return unknown("", &why),
        };
        let source = start.words();
        if let Err(why) = self.whole() {
            // A revision or mode that changed meanwhile was not seen.
            return unknown(&source, &why);
        }
        // Nobody may have seen that requests did not reach it; what sends them shows since when they do.
        let reached = self.cell.and_then(|cell| cell.in_force.since).filter(|since| *since > start.at);
        let began = reached.unwrap_or(start.at);
        let missed = self.out_of_force(began);
        let elapsed = now.duration_since(began).saturating_sub(missed).max(SignedDuration::ZERO);
        let (soaked, how) = match (self.step.evidence, &self.evidence.observed) {
            (settings::Evidence::Clock, _) => (elapsed, "since"),
            (settings::Evidence::Observed, Some(observed)) => (observed.clean.min(elapsed), "recorded and clean since"),
            (settings::Evidence::Observed, None) => return unknown(&source, "only recorded time counts here, and none is recorded"),
        };
        let mut reason = format!("{} {how} {} ({source})", self.place, start.at.strftime("%b %e %H:%M UTC"));
        if let Some(reached) = reached.filter(|reached| reached.duration_since(start.at) > AT_ONCE) {
            reason.push_str("; requests reach it since ");
            reason.push_str(&reached.strftime("%b %e %H:%M UTC").to_string());
            reason.push_str(": what sends them was created then");
        }
        if missed.is_positive() {
            reason.push_str("; without ");
            reason.push_str(&brief(missed));
            reason.push_str(" in which it was not in force");
        }
        let left = limit.saturating_sub(soaked);
        let (soak, until) = if left.is_positive() {
            (unmet(ConditionName::Soak, &source, &reason), now.checked_add(left).ok())
        } else if let (settings::Evidence::Observed, Err(why)) = (self.step.evidence, self.in_scope()) {
            // Violations beyond what is looked at would not be on record.
            return unknown(&source, &why);
        } else {
            (met(ConditionName::Soak, &source, &reason), None)
        };
        (soak.with(Some(Amount::Time(soaked)), Some(Amount::Time(limit))).by(vec![start.proof()]), until)
    }

    /// How long requests did not reach the policy since then.
    fn out_of_force(&self, since: Timestamp) -> SignedDuration {
        let gaps = self.evidence.observed.iter().flat_map(|observed| &observed.out_of_force);
        let lengths = gaps.map(|(from, to)| to.duration_since((*from).max(since)).max(SignedDuration::ZERO));
        lengths.fold(SignedDuration::ZERO, SignedDuration::saturating_add)
    }

    /// Few enough workloads that it would block? Nothing evaluated is not nothing wrong.
    pub(super) fn violations(&self) -> Condition {
        let judged = self.evidence.would_block.as_ref();
        let reports = judged.map(|judged| judged.reports.iter().map(holding).collect()).unwrap_or_default();
        let more = judged.map_or(0, |judged| judged.more_reports);
        self.with_proofs(self.violations_alone(), Unverified::Foreign, reports, more)
    }

    /// A condition with who wrote what decides it, and with what is left out: claims that nothing verifies first, then `others` and how many more there are.
    fn with_proofs(&self, condition: Condition, why: Unverified, others: Vec<Proof>, more: u64) -> Condition {
        let evidence = self.evidence;
        let left = self.claims(why).filter(|claim| !self.is_left_out(claim));
        let claims: Vec<Proof> = left.map(proof).collect();
        let more_evidence = claims.len().saturating_sub(NAMED) as u64 + more;
        let said = in_words(self.disregarded, &evidence.disregard, &evidence.claims, condition.name, why);
        let evidence = claims.into_iter().take(NAMED).chain(others).collect();
        Condition { more_evidence, ..condition.saying(&said).by(evidence) }
    }

    fn claims(&self, why: Unverified) -> impl Iterator<Item = &Claim> {
        self.evidence.claims.iter().filter(move |claim| claim.why == why)
    }

    fn is_left_out(&self, claim: &Claim) -> bool {
        let condition = ConditionName::decided_by(claim.why);
        self.disregarded.iter().any(|one| one.object == claim.object && one.condition == condition)
    }

    /// Results of other namespaces' reports that are not left out, as far as one of both moments shows any.
    fn foreign(&self, cell: &PolicyCell) -> u64 {
        let sum = |left_out: bool| {
            let some = self.claims(Unverified::Foreign).filter(|claim| self.is_left_out(claim) == left_out);
            some.fold(0u64, |sum, claim| sum.saturating_add(claim.count))
        };
        cell.foreign.saturating_sub(sum(true)).max(sum(false))
    }

    fn violations_alone(&self) -> Condition {
        const SOURCE: &str = "reports";
        let limit = Some(Amount::Count(self.step.max_violations));
        let judged = self.evidence.would_block.as_ref();
        let faults = self.cell.map(|cell| cell.by_workload().faults());
        let seen = judged.map(|judged| judged.counted).or(faults);
        // What is seen is there, whatever else there may be.
        if let Some(seen) = seen.filter(|seen| *seen > self.step.max_violations) {
            let reason = format!("failures and errors, by workload{}{}", judged.map(beside).unwrap_or_default(), by_others(self.cell));
            return unmet(ConditionName::Violations, SOURCE, &reason).with(Some(Amount::Count(seen)), limit);
        }
        let known = self.whole().and_then(|cell| {
            let all = cell.owners;
            let (tolerated, apart) = judged.map_or((0, 0), |judged| (judged.tolerated, judged.left_alone + judged.audited));
            let evaluated = evaluated(cell, tolerated, apart).map_err(|why| format!("{why}{}", judged.map(beside).unwrap_or_default()))?;
            // Too many warned or skipped results, or no answer: what they hide is not zero.
            let Some(judged) = judged else {
                return Err(format!(
                    "{} warned and {} skipped results were not looked at one by one; `policydeck gate {}` looks at up to 500,000",
                    all.warn, all.skip, cell.key.id.name
                ));
            };
            if !judged.scans {
                return Err(format!(
                    "existing resources are not scanned (background: false): {evaluated} workloads were evaluated, when they last changed"
                ));
            }
            self.in_scope()?;
            self.readable()?;
            own_only(cell, self.foreign(cell))?;
            all_there(cell)?;
            Ok(format!("of {evaluated} evaluated workloads{}{}", beside(judged), by_others(Some(cell))))
        });
        match known {
            Ok(reason) => met(ConditionName::Violations, SOURCE, &reason).with(seen.map(Amount::Count), limit),
            Err(why) => unknown(ConditionName::Violations, SOURCE, &why).with(None, limit),
        }
    }

    /// Whether there is nothing unread that may be a result of the policy.
    fn readable(&self) -> Result<(), String> {
        match self.environment.map_or(0, |view| view.malformed) {
            0 => Ok(()),
            1 => Err("a result or object could not be read, and may be about this policy".to_owned()),
            count => Err(format!("{count} results or objects could not be read, and may be about this policy")),
        }
    }

    /// Few enough refused admissions? Reports never show them: only events do, and those are gone after an hour.
    pub(super) fn blocked(&self) -> Condition {
        if !self.enforces() {
            return met(ConditionName::Blocked, "", "audit refuses nothing");
        }
        let mut verified: Vec<&Block> = self.held_blocks().into_iter().flatten().filter(|block| block.source.verified).collect();
        verified.sort_by(|a, b| (b.at, &a.source.object).cmp(&(a.at, &b.source.object)));
        let more = verified.len().saturating_sub(OTHERS_NAMED) as u64;
        let proofs = verified.into_iter().take(OTHERS_NAMED).map(of_event).collect();
        self.with_proofs(self.blocked_alone(), Unverified::Event, proofs, more)
    }

    fn blocked_alone(&self) -> Condition {
        let limit = Some(Amount::Count(self.step.max_blocked));
        let observed = self.evidence.observed.as_ref();
        let held = self.held();
        let seen = observed.map(|observed| observed.blocked).max(held);
        if let Some(count) = seen.filter(|count| *count > self.step.max_blocked) {
            // Without what only Prometheus tells it would not be so.
            let by_events = observed.map_or(0, |observed| observed.blocked.saturating_sub(observed.blocked_by_prometheus));
            let (source, reason) = if self.is_native() {
                ("Prometheus", "requests were blocked by its native policy, by the API server's own count")
            } else if by_events.max(held.unwrap_or(0)) <= self.step.max_blocked {
                ("Prometheus", "requests were blocked while no recorder ran, from Prometheus")
            } else {
                ("events", "requests were blocked")
            };
            return unmet(ConditionName::Blocked, source, reason).with(Some(Amount::Count(count)), limit);
        }
        let known = self.start().and_then(|start| {
            if self.is_native() {
                return self.told_by_servers(start, observed);
            }
            self.whole()?;
            self.speaks()?;
            let held = held.ok_or("events cannot be read")?;
            // What the cluster still holds is seen now, whoever watched.
            let span = self.environment.map_or(EVENTS_KEPT, EnvironmentView::events_kept);
            let kept = self.now()?.checked_sub(span).unwrap_or(Timestamp::MIN);
            if start.at > kept {
                return Ok((held, "events", "the cluster still holds every event".to_owned()));
            }
            let observed = observed.ok_or_else(|| {
                let span = if span < EVENTS_KEPT { format!("only {} here", brief(span)) } else { "an hour".to_owned() };
                format!("the API server keeps events for {span}, and none are recorded from before")
            })?;
            if let Some((from, to)) = observed.gaps.iter().rfind(|(from, _)| *from < kept) {
                let gap = (*from, kept.min(*to));
                let short = if span < EVENTS_KEPT { format!(", and events are kept for {} here", brief(span)) } else { String::new() };
                return Err(format!("not watched {}{short}; {}", between(gap), self.evidence.metrics.why(gap.1)));
            }
            let source = if observed.filled.is_empty() { "events" } else { "events, Prometheus" };
            let told = filled(&observed.filled);
            if observed.gaps.is_empty() {
                return Ok((observed.blocked.max(held), source, format!("recorded{told}")));
            }
            // Some of those that the cluster holds may be on record, or none.
            match observed.blocked.saturating_add(held) {
                most if most <= self.step.max_blocked => Ok((most, source, format!("recorded, and held by the cluster{told}"))),
                most => Err(format!("between {} and {most} were refused", observed.blocked.max(held))),
            }
        });
        match known {
            Ok((count, source, why)) => met(ConditionName::Blocked, source, &why).with(Some(Amount::Count(count)), limit),
            Err(why) => unknown(ConditionName::Blocked, "events", &why).with(None, limit),
        }
    }

    fn is_native(&self) -> bool {
        self.cell.is_some_and(|cell| cell.native)
    }

    /// What the API servers count of a native policy: for what they refuse there are no events.
    fn told_by_servers(&self, start: &Start, observed: Option<&Observed>) -> Result<(u64, &'static str, String), String> {
        let without = |why: &str| format!("the API server blocks by a native policy: there are no events for it; {why}");
        self.whole()?;
        let now = self.now()?;
        let observed = match (observed, &self.evidence.metrics) {
            (_, Metrics::NotConfigured) | (None, _) => return Err(without(&self.evidence.metrics.why(now))),
            (Some(observed), _) => observed,
        };
        // The last scrape is always a moment ago; but there has to be one.
        let young = now.checked_sub(TOLD_WITHIN).unwrap_or(now);
        if let Some(gap) = observed.gaps.iter().rfind(|(from, to)| *from < young || *from <= start.at || *to < now) {
            // A gap that goes on until now cannot have been asked about to its end.
            let asked_since = if gap.1 < now { gap.1 } else { gap.0 };
            return Err(without(&format!("not told {}; {}", between(*gap), self.evidence.metrics.why(asked_since))));
        }
        let until = observed.gaps.last().map_or(now, |(from, _)| *from);
        Ok((observed.blocked, "Prometheus", format!("by the API server's own count, until {}", until.strftime("%H:%M UTC"))))
    }

    /// Blocked requests of this step of which the cluster still holds events; of those without a time nobody knows that they are older.
    fn held(&self) -> Option<u64> {
        let all = self.cell.and_then(|cell| cell.blocked)?;
        let Some(blocks) = self.held_blocks() else { return Some(all) };
        let counts = |block: &&&Block| {
            block.source.verified
                || !self.disregarded.iter().any(|one| one.condition == ConditionName::Blocked && one.object == block.source.object)
        };
        Some(blocks.iter().filter(counts).fold(0, |sum: u64, block| sum.saturating_add(block.count)))
    }

    /// The same, event by event; where it is not known when the step began, all of them count.
    fn held_blocks(&self) -> Option<Vec<&Block>> {
        let blocks = self.evidence.blocks.as_ref()?;
        // Events have the time of another clock, and of another moment of the same request.
        let began = self.start().map_or(Timestamp::MIN, |start| start.at.checked_sub(MOMENT).unwrap_or(start.at));
        Some(blocks.iter().filter(|block| block.at.is_none_or(|at| at >= began)).collect())
    }

    /// Whether a blocked request would leave an event here that is seen.
    fn speaks(&self) -> Result<(), String> {
        let makes_events = self.environment.and_then(|view| view.makes_events);
        let answers = self.environment.map(|view| (view.answers.state, view.answers.reason()));
        match (makes_events, answers) {
            (Some(true), Some((Force::Yes, _))) => self.in_scope(),
            (Some(true), Some((Force::No, why))) => Err(why),
            (Some(true), unknown) => {
                Err(format!("whether Kyverno answers is not known: {}", unknown.map(|(_, why)| why).unwrap_or_default()))
            }
            (Some(false), _) => Err("Kyverno makes no events of blocked requests (--omitEvents or --maxQueuedEvents)".to_owned()),
            (None, _) => {
                Err("whether Kyverno makes events of blocked requests is not known: its admission controller's flags cannot be read"
                    .to_owned())
            }
        }
    }

    /// Results of this step, and not old? The oldest counts: a policy that changed is evaluated anew one resource after the other.
    pub(super) fn fresh(&self) -> Condition {
        let interval = self.environment.and_then(|view| view.scan_interval);
        let limit = interval.map(|interval| interval.saturating_mul(2));
        let source = interval.map_or_else(String::new, |interval| format!("scan interval {}", brief(interval)));
        let said = |condition: Condition, age: Option<SignedDuration>| condition.with(age.map(Amount::Time), limit.map(Amount::Time));
        let known = self.whole().and_then(|cell| {
            cell.evaluated_at.ok_or("there are no results: nothing shows that it was evaluated")?;
            let undated = || {
                let report = self.evidence.oldest_report.as_ref().map_or_else(String::new, |report| format!(", as in {report}"));
                format!("the age of some results is not known{report}")
            };
            Ok((self.evidence.oldest_result.ok_or_else(undated)?, self.now()?))
        });
        let (evaluated, now) = match known {
            Ok(known) => known,
            Err(why) => return said(unknown(ConditionName::Fresh, &source, &why), None),
        };
        let age = now.duration_since(evaluated);
        if age < -CLOCKS_DIFFER {
            return said(unknown(ConditionName::Fresh, &source, "results are of the future: a clock is wrong"), None);
        }
        let condition = match (self.start(), limit) {
            // Results have whole seconds, a recorder's times have more.
            (Ok(start), _) if evaluated.as_second() < start.at.as_second() => self.held_back(evaluated, start.at, &source, "this step"),
            (_, Some(limit)) if age > limit => self.held_back(evaluated, now - limit, &source, "two scan intervals"),
            (Err(why), _) => unknown(ConditionName::Fresh, &source, &why),
            (Ok(_), None) => unknown(ConditionName::Fresh, "", "how often Kyverno scans could not be read"),
            (Ok(_), Some(_)) => match self.in_scope() {
                Ok(()) => {
                    let of = self.results().map_or_else(String::new, |all| format!(" of {all}"));
                    met(ConditionName::Fresh, &source, &format!("the oldest result{of} is of {}", evaluated.strftime("%b %e %H:%M UTC")))
                }
                Err(why) => unknown(ConditionName::Fresh, &source, &why),
            },
        };
        said(condition, Some(age))
    }

    /// A result is too old. Kyverno leaves some behind for ever when it merges an old report (seen on 1.18 and 1.19): the report can be deleted.
    fn held_back(&self, evaluated: Timestamp, begins: Timestamp, source: &str, than: &str) -> Condition {
        let report = self.evidence.oldest_report.as_ref();
        let found = report
            .map_or_else(String::new, |report| format!(", in {report}; if the next scan does not renew it, `kubectl delete {report}`"));
        let when = evaluated.strftime("%b %e %H:%M UTC");
        let proof = Proof { source: "report", at: Some(evaluated), object: report.map(ToString::to_string), ..Proof::default() };
        let old: u64 =
            self.evidence.evaluated.iter().take_while(|(at, _)| at.as_second() < begins.as_second()).map(|(_, count)| count).sum();
        let old = self.results().map_or_else(|| "results".to_owned(), |all| format!("{old} of {all} results"));
        unmet(ConditionName::Fresh, source, &format!("{old} older than {than}, the oldest of {when}{found}")).by(vec![proof])
    }

    /// How many results it has, where it is known when each was evaluated.
    fn results(&self) -> Option<u64> {
        let all = self.evidence.evaluated.iter().map(|(_, count)| count).sum();
        (all > 0).then_some(all)
    }

    /// In the admission path now, whatever its status says?
    pub(super) fn ready(&self) -> Condition {
        let source = if self.cell.is_some_and(|cell| cell.native) { "native policy" } else { "webhooks" };
        let of_cell = self.cell.map(|cell| (cell.in_force.state, cell.in_force.reason()));
        match (of_cell, self.whole()) {
            (Some((Force::No, why)), _) => unmet(ConditionName::Ready, source, &format!("not in force: {why}")),
            (Some((Force::Partly, why)), _) => unmet(ConditionName::Ready, source, &format!("only partly in force: {why}")),
            (_, Err(why)) | (Some((Force::Unknown, why)), Ok(_)) => unknown(ConditionName::Ready, source, &why),
            (Some((Force::Yes, _)), Ok(_)) => met(ConditionName::Ready, source, "in force"),
            (None, Ok(_)) => unknown(ConditionName::Ready, source, "it is not seen"),
        }
    }

    /// None of those it relies on expired, and all of them where it would go?
    pub(super) fn exceptions(&self, travel: &Travel, target: &str) -> Condition {
        let Some(relied) = &self.evidence.exceptions else {
            return unknown(ConditionName::Exceptions, "exceptions", "exceptions could not be read");
        };
        let has_expired = |one: &Relied| one.expires_at.is_some_and(|at| self.now.is_some_and(|now| at <= now));
        let relied: Vec<_> = relied.iter().filter(|one| one.uses > 0 || has_expired(one)).collect();
        let count = Some(Amount::Count(relied.len() as u64));
        if let Some(expired) = relied.iter().find(|one| has_expired(one)) {
            let still = if expired.uses > 0 { ", and still excuses: touch the policy" } else { "" };
            return unmet(ConditionName::Exceptions, "exceptions", &format!("{} has expired{still}", expired.name)).with(count, None);
        }
        if let Err(why) = self.whole() {
            return unknown(ConditionName::Exceptions, "exceptions", &why).with(count, None);
        }
        if !self.evidence.unseen.is_empty() {
            return unknown(ConditionName::Exceptions, "exceptions", &unseen(&self.evidence.unseen)).with(count, None);
        }
        if let Some((one, says)) = relied.iter().find_map(|one| Some((one, one.unreadable.as_ref()?))) {
            let why = format!("the expiry of {} is no date: {}", one.name, clean(says));
            return unknown(ConditionName::Exceptions, "exceptions", &why).with(count, None);
        }
        let next = relied.iter().filter_map(|one| one.expires_at).min();
        if let (Some(_), Err(why)) = (next, self.now()) {
            return unknown(ConditionName::Exceptions, "exceptions", &why).with(count, None);
        }
        let reason = match (relied.len(), next) {
            (0, _) => "relies on none".to_owned(),
            (count, None) => format!("relies on {count}"),
            (count, Some(at)) => format!("relies on {count}, the next expires {}", at.strftime("%b %e")),
        };
        if travel.stays() || relied.is_empty() {
            return met(ConditionName::Exceptions, "exceptions", &reason).with(count, None);
        }
        let Some(lacking) = &self.evidence.lacking else {
            let why = format!("{reason}; which of them {target} has could not be read");
            return unknown(ConditionName::Exceptions, "exceptions", &why).with(count, None);
        };
        let Some(reason) = Relied::in_words(lacking, target) else {
            return met(ConditionName::Exceptions, "exceptions", &reason).with(count, None);
        };
        // In audit nothing is blocked, and the first scan shows what fails. In enforce it would be blocked at once, unless what another one excuses is
        // enough.
        let says = match (self.target_enforces, lacking.iter().all(|one| one.differs)) {
            (false, _) => met,
            (true, false) => unmet,
            (true, true) => unknown,
        };
        says(ConditionName::Exceptions, "exceptions", &reason).with(count, None)
    }
}
