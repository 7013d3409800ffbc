//! The conditions that have to do with what the policy did in the environment it would leave.

use super::{Asked, met, unknown, unmet};
use crate::domain::history::EVENTS_KEPT;
use crate::domain::time::brief;
use crate::domain::{Amount, Condition, ConditionName, Readiness};
use crate::settings;
use jiff::{SignedDuration, Timestamp};

/// How far clocks may be apart before what they say is not believed.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(5);
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

impl Asked<'_> {
    /// Long enough? And when it will be.
    pub(super) fn soak(&self) -> (Condition, Option<Timestamp>) {
        let limit = self.step.soak;
        let start = match self.start() {
            Ok(start) => start,
            Err(why) => return (unknown(ConditionName::Soak, "", &why).with(None, Some(Amount::Time(limit))), None),
        };
        if let Err(why) = self.whole() {
            // A revision or mode that changed meanwhile was not seen.
            let soak = unknown(ConditionName::Soak, &start.source, &why);
            return (soak.with(None, Some(Amount::Time(limit))), None);
        }
        let elapsed = self.now.duration_since(start.at);
        let (soaked, how) = match (self.step.evidence, &self.evidence.observed) {
            (settings::Evidence::Clock, _) => (elapsed, "since"),
            (settings::Evidence::Observed, Some(observed)) => (observed.clean.min(elapsed), "watched and clean since"),
            (settings::Evidence::Observed, None) => {
                let soak = unknown(ConditionName::Soak, &start.source, "only watched time counts here, and nobody recorded any");
                return (soak.with(None, Some(Amount::Time(limit))), None);
            }
        };
        let reason = format!("{} {how} {} ({})", self.place, start.at.strftime("%b %e %H:%M UTC"), start.source);
        let left = limit.saturating_sub(soaked);
        let (soak, until) = if left.is_positive() {
            (unmet(ConditionName::Soak, &start.source, &reason), self.now.checked_add(left).ok())
        } else {
            (met(ConditionName::Soak, &start.source, &reason), None)
        };
        (soak.with(Some(Amount::Time(soaked)), Some(Amount::Time(limit))), until)
    }

    /// Few enough failures and errors? Owners are counted, as the screens do.
    pub(super) fn violations(&self) -> Condition {
        let limit = Some(Amount::Count(self.step.max_violations));
        let seen = self.cell.map(|cell| cell.owners.fail + cell.owners.error);
        let condition = match (self.whole(), seen) {
            // What is seen is there, whatever else there may be.
            (_, Some(seen)) if seen > self.step.max_violations => unmet(ConditionName::Violations, "reports", "enter shows the rows"),
            (Ok(_), _) => met(ConditionName::Violations, "reports", "failures and errors of owners"),
            (Err(why), _) => return unknown(ConditionName::Violations, "reports", &why).with(None, limit),
        };
        condition.with(seen.map(Amount::Count), limit)
    }

    /// Few enough refused admissions? Reports never show them: only events do, and those are gone after an hour.
    pub(super) fn blocked(&self) -> Condition {
        if !self.enforces() {
            return met(ConditionName::Blocked, "", "audit refuses nothing");
        }
        let limit = Some(Amount::Count(self.step.max_blocked));
        let observed = self.evidence.observed.as_ref();
        let held = self.cell.and_then(|cell| cell.blocked);
        let seen = observed.map(|observed| observed.blocked).max(held);
        if let Some(count) = seen.filter(|count| *count > self.step.max_blocked) {
            // Without what only Prometheus tells it would not be so.
            let by_events = observed.map_or(0, |observed| observed.blocked.saturating_sub(observed.blocked_by_prometheus));
            let (source, reason) = if by_events.max(held.unwrap_or(0)) <= self.step.max_blocked {
                ("Prometheus", "requests were refused while nobody watched, as Prometheus tells")
            } else {
                ("events", "requests were refused")
            };
            return unmet(ConditionName::Blocked, source, reason).with(Some(Amount::Count(count)), limit);
        }
        let known = self.start().and_then(|start| {
            let held = held.ok_or("events cannot be read")?;
            self.whole()?;
            // What the cluster still holds is seen now, whoever watched.
            let kept = self.now.checked_sub(EVENTS_KEPT).unwrap_or(Timestamp::MIN);
            if start.at > kept {
                return Ok((held, "events", "the cluster still holds every event".to_owned()));
            }
            let observed = observed.ok_or("events live an hour, and nobody recorded them")?;
            if let Some((from, to)) = observed.gaps.iter().rfind(|(from, _)| *from < kept) {
                let gap = (*from, kept.min(*to));
                return Err(format!("not watched {}; {}", between(gap), self.evidence.metrics.why(gap.1)));
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

    /// Results of this step, and not old? The oldest counts: a policy that changed is evaluated anew one resource after the other.
    pub(super) fn fresh(&self) -> Condition {
        let interval = self.environment.and_then(|view| view.scan_interval);
        let limit = interval.map(|interval| interval.saturating_mul(2));
        let source = interval.map_or_else(String::new, |interval| format!("scan interval {}", brief(interval)));
        let said = |condition: Condition, age: Option<SignedDuration>| condition.with(age.map(Amount::Time), limit.map(Amount::Time));
        let known = self.whole().and_then(|cell| {
            cell.evaluated_at.ok_or("there are no results: nothing shows that it was evaluated")?;
            Ok(self.evidence.oldest_result.ok_or("nobody looked how old every result is")?)
        });
        let evaluated = match known {
            Ok(evaluated) => evaluated,
            Err(why) => return said(unknown(ConditionName::Fresh, &source, &why), None),
        };
        let age = self.now.duration_since(evaluated);
        if age < -CLOCKS_DIFFER {
            return said(unknown(ConditionName::Fresh, &source, "results are of the future: a clock is wrong"), None);
        }
        let condition = match (self.start(), limit) {
            // Results have whole seconds, a recorder's times have more.
            (Ok(start), _) if evaluated.as_second() < start.at.as_second() => {
                unmet(ConditionName::Fresh, &source, "results are older than this step")
            }
            (_, Some(limit)) if age > limit => unmet(ConditionName::Fresh, &source, "results are older than two scan intervals"),
            (Err(why), _) => unknown(ConditionName::Fresh, &source, &why),
            (Ok(_), None) => unknown(ConditionName::Fresh, "", "how often Kyverno scans could not be read"),
            (Ok(_), Some(_)) => {
                met(ConditionName::Fresh, &source, &format!("the oldest result is of {}", evaluated.strftime("%b %e %H:%M UTC")))
            }
        };
        said(condition, Some(age))
    }

    /// In force?
    pub(super) fn ready(&self) -> Condition {
        match (self.cell.map(|cell| cell.ready), self.whole()) {
            (Some(Readiness::NotReady), _) => unmet(ConditionName::Ready, "status", "Kyverno does not admit by it"),
            (_, Err(why)) => unknown(ConditionName::Ready, "status", &why),
            (Some(Readiness::Ready), Ok(_)) => met(ConditionName::Ready, "status", "in force"),
            (_, Ok(_)) => unknown(ConditionName::Ready, "status", "its status does not say whether it is in force"),
        }
    }

    /// None of those it relies on expired?
    pub(super) fn exceptions(&self) -> Condition {
        let Some(relied) = &self.evidence.exceptions else {
            return unknown(ConditionName::Exceptions, "exceptions", "exceptions could not be read");
        };
        let relied: Vec<_> = relied.iter().filter(|one| one.uses > 0 || one.expires_at.is_some_and(|at| at <= self.now)).collect();
        let count = Some(Amount::Count(relied.len() as u64));
        if let Some(expired) = relied.iter().find(|one| one.expires_at.is_some_and(|at| at <= self.now)) {
            let still = if expired.uses > 0 { ", and still excuses: touch the policy" } else { "" };
            return unmet(ConditionName::Exceptions, "exceptions", &format!("{} has expired{still}", expired.name)).with(count, None);
        }
        if let Err(why) = self.whole() {
            return unknown(ConditionName::Exceptions, "exceptions", &why).with(count, None);
        }
        let next = relied.iter().filter_map(|one| one.expires_at).min();
        let reason = match (relied.len(), next) {
            (0, _) => "relies on none".to_owned(),
            (count, None) => format!("relies on {count}"),
            (count, Some(at)) => format!("relies on {count}, the next expires {}", at.strftime("%b %e")),
        };
        met(ConditionName::Exceptions, "exceptions", &reason).with(count, None)
    }
}
