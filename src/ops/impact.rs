//! Impact: what of an environment would begin to fail or to be refused with a policy, as far as anybody knows before.
//!
//! What lives here: the sentences, from results that are there already. What does not: asking for those, and evaluating a policy. Nothing here evaluates
//! one: a program beside Kyverno, of another release, without the cluster's context and exceptions, would say something else than Kyverno will.

use crate::domain::Mode;
use std::collections::{BTreeMap, BTreeSet};

/// Owners that are named; the others are counted.
const NAMED: usize = 5;

/// One policy in the environment that it changes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question<'a> {
    /// The policy, `Kind/[namespace/]name`.
    pub policy: &'a str,
    /// The environment.
    pub environment: &'a str,
    /// What it will do there.
    pub becomes: Mode,
    /// What is there now; `None` where it is not.
    pub there: Option<There>,
}

/// A policy that is there already, with its results.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct There {
    /// It can refuse already.
    pub refuses: bool,
    /// It says what it will say; otherwise its results are those of something else.
    pub same: bool,
    /// What exists is scanned.
    pub scans: bool,
    /// Every result has been read.
    pub complete: bool,
    /// A change of what violates already is let through (`allowExistingViolations`).
    pub tolerant: bool,
    /// Namespace and `Kind/name` of the top owners that fail, and would be blocked.
    pub failing: BTreeSet<(String, String)>,
    /// The same of those that fail where the policy will block nothing, with what it will do there: off where Kyverno leaves the namespace alone, audit or
    /// warn where an override says so.
    pub spared: BTreeMap<(String, String), Mode>,
    /// How many could not be evaluated.
    pub erring: usize,
    /// How many were evaluated, or why nothing shows what the policy would block.
    pub evaluated: Result<u64, String>,
    /// Why not everything that the policy reaches is seen, if so.
    pub unseen: Option<String>,
}

impl Default for There {
    /// Nothing is known.
    fn default() -> Self {
        Self {
            refuses: false,
            same: false,
            scans: false,
            complete: false,
            tolerant: false,
            failing: BTreeSet::new(),
            spared: BTreeMap::new(),
            erring: 0,
            evaluated: Err("nothing is seen of it".to_owned()),
            unseen: None,
        }
    }
}

/// What somebody should know, a sentence each; none where nothing changes for anybody.
pub fn lines(question: &Question<'_>) -> Vec<String> {
    let Question { policy, environment, becomes, there } = question;
    let refuses = becomes.can_block();
    if !refuses && !matches!(becomes, Mode::Audit | Mode::Warn) {
        return Vec::new();
    }
    let look = format!("`findings {} -e {environment}`", policy.rsplit('/').next().unwrap_or(policy));
    match there {
        None if refuses => vec![format!(
            "{policy} is not in {environment} yet: nothing was evaluated there, and it refuses from the first moment. A step in audit would show what fails."
        )],
        None => vec![format!(
            "{policy} is not in {environment} yet: nothing was evaluated there. In audit it refuses nothing, and its first scan shows what fails: {look}."
        )],
        Some(there) if !refuses => {
            let other = format!(
                "{policy} will say something else in {environment} than what was evaluated there. In audit it refuses nothing; what fails then shows {look}."
            );
            if there.same { Vec::new() } else { vec![other] }
        }
        Some(there) => refusing(policy, environment, there, &look),
    }
}

fn refusing(policy: &str, environment: &str, there: &There, look: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if !there.same {
        lines.push(format!(
            "{policy} will say something else in {environment} than what was evaluated there: these numbers are of what is there now."
        ));
    }
    if there.refuses && there.same {
        return lines;
    }
    let least = if there.complete && there.unseen.is_none() { "" } else { "at least " };
    if there.failing.is_empty() {
        lines.push(nothing_fails(policy, environment, there));
    } else {
        let namespaces: BTreeSet<&str> = there.failing.iter().map(|(namespace, _)| namespace.as_str()).collect();
        let what = if there.tolerant {
            "a change of them is let through, because they violate already, but what they make anew (the Pods of a rollout or a restart) would be refused"
        } else {
            "they would be refused at their next change"
        };
        lines.push(format!(
            "{policy}: {least}{} in {} of {environment} now, and {what}: {}. All of them: {look}.",
            counted(there.failing.len(), "owner fails", "owners fail"),
            counted(namespaces.len(), "namespace", "namespaces"),
            names(&there.failing)
        ));
    }
    if let (Some(why), false) = (&there.unseen, there.failing.is_empty()) {
        lines.push(format!("{policy}: {why}."));
    }
    lines.extend(spared(policy, there));
    if there.erring > 0 {
        let erring = counted(there.erring, "owner", "owners");
        lines.push(format!("{policy}: {least}{erring} of {environment} could not be evaluated (error), and may be refused, too."));
    }
    if !there.scans {
        lines.push(format!("{policy} does not scan what exists (background: false): only what changed since it came was evaluated."));
    }
    lines
}

/// What it means that nothing fails that would be blocked.
fn nothing_fails(policy: &str, environment: &str, there: &There) -> String {
    let unknown = |why: &str| format!("{policy}: whether anything in {environment} fails is unknown: {why}.");
    let evaluated = match &there.evaluated {
        _ if !there.complete => return unknown("not every result could be read"),
        Err(why) => return unknown(why),
        Ok(evaluated) => evaluated,
    };
    match &there.unseen {
        Some(why) => unknown(&format!("{why}; in these nothing fails of {evaluated} that were evaluated")),
        None if there.spared.is_empty() => format!("{policy}: nothing in {environment} fails of {evaluated} that were evaluated."),
        None => format!("{policy}: nothing fails in {environment} where it would block."),
    }
}

/// Where what fails is not blocked, and why.
fn spared(policy: &str, there: &There) -> Vec<String> {
    let of = |is_off: bool, why: &str| {
        let here: Vec<&(String, String)> =
            there.spared.iter().filter(|(_, mode)| (**mode == Mode::Off) == is_off).map(|(owner, _)| owner).collect();
        let namespaces: BTreeSet<&str> = here.iter().map(|(namespace, _)| namespace.as_str()).collect();
        let places: Vec<&str> = namespaces.iter().take(NAMED).copied().collect();
        let more = namespaces.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        (!here.is_empty()).then(|| {
            let failing = counted(here.len(), "workload that fails", "workloads that fail");
            format!("{policy}: nothing is blocked in {}{more} ({failing}): {why}.", places.join(", "))
        })
    };
    [of(true, "Kyverno leaves these namespaces alone, or its rules do"), of(false, "an override keeps audit there")]
        .into_iter()
        .flatten()
        .collect()
}

fn counted(count: usize, one: &str, several: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {several}") }
}

/// The first few, by namespace.
fn names(failing: &BTreeSet<(String, String)>) -> String {
    let mut by_namespace: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (namespace, owner) in failing.iter().take(NAMED) {
        by_namespace.entry(namespace).or_default().push(owner);
    }
    let each = by_namespace.into_iter().map(|(namespace, owners)| match namespace {
        "" => owners.join(", "),
        _ => format!("{} in {namespace}", owners.join(", ")),
    });
    let named = each.collect::<Vec<_>>().join("; ");
    match failing.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(count: usize) -> BTreeSet<(String, String)> {
        (0..count).map(|n| (if n % 2 == 0 { "shop" } else { "team" }.to_owned(), format!("Deployment/d{n}"))).collect()
    }

    fn said(becomes: Mode, there: Option<There>) -> String {
        lines(&Question { policy: "ClusterPolicy/p", environment: "live", becomes, there }).join("\n")
    }

    #[test]
    fn what_would_be_refused() {
        use Mode::{Audit, Enforce, Off};
        let there = There { same: true, scans: true, complete: true, evaluated: Ok(9), ..There::default() };
        let part = "only the namespaces shop are looked at, and the policy may reach others";
        let with = |change: &dyn Fn(&mut There)| {
            let mut there = there.clone();
            change(&mut there);
            Some(there)
        };
        for (becomes, there, expected) in [
            (Enforce, with(&|_| {}), "ClusterPolicy/p: nothing in live fails of 9 that were evaluated."),
            (
                Enforce,
                with(&|t| t.evaluated = Err("0 of 9 workloads were evaluated: all results are skipped".into())),
                "ClusterPolicy/p: whether anything in live fails is unknown: 0 of 9 workloads were evaluated: all results are skipped.",
            ),
            (
                Enforce,
                with(&|t| t.unseen = Some(part.into())),
                "ClusterPolicy/p: whether anything in live fails is unknown: only the namespaces shop are looked at, and the policy may reach others; in \
                 these nothing fails of 9 that were evaluated.",
            ),
            (
                Enforce,
                with(&|t| (t.unseen, t.failing) = (Some(part.into()), failing(1))),
                "ClusterPolicy/p: at least 1 owner fails in 1 namespace of live now, and they would be refused at their next change: Deployment/d0 in shop. \
                 All of them: `findings p -e live`.\nClusterPolicy/p: only the namespaces shop are looked at, and the policy may reach others.",
            ),
            (
                Enforce,
                with(&|t| t.complete = false),
                "ClusterPolicy/p: whether anything in live fails is unknown: not every result could be read.",
            ),
            (
                Enforce,
                with(&|t| t.failing = failing(1)),
                "ClusterPolicy/p: 1 owner fails in 1 namespace of live now, and they would be refused at their next change: Deployment/d0 in shop. All of \
                 them: `findings p -e live`.",
            ),
            (
                Enforce,
                with(&|t| (t.failing, t.complete, t.tolerant) = (failing(7), false, true)),
                "ClusterPolicy/p: at least 7 owners fail in 2 namespaces of live now, and a change of them is let through, because they violate already, \
                 but what they make anew (the Pods of a rollout or a restart) would be refused: Deployment/d0, Deployment/d2, Deployment/d4, \
                 Deployment/d6 in shop; Deployment/d1 in team; and 2 more. All of them: `findings p -e live`.",
            ),
            (
                Enforce,
                with(&|t| (t.erring, t.scans) = (2, false)),
                "ClusterPolicy/p: nothing in live fails of 9 that were evaluated.\nClusterPolicy/p: 2 owners of live could not be evaluated (error), and \
                 may be refused, too.\nClusterPolicy/p does not scan what exists (background: false): only what changed since it came was evaluated.",
            ),
            (
                Enforce,
                with(&|t| t.same = false),
                "ClusterPolicy/p will say something else in live than what was evaluated there: these numbers are of what is there now.\nClusterPolicy/p: \
                 nothing in live fails of 9 that were evaluated.",
            ),
            (
                Enforce,
                with(&|t| {
                    t.spared = failing(3).into_iter().map(|owner| (owner, Mode::Off)).collect();
                    t.spared.insert(("qa".to_owned(), "Pod/x".to_owned()), Mode::Audit);
                }),
                "ClusterPolicy/p: nothing fails in live where it would block.\nClusterPolicy/p: nothing is blocked in shop, team (3 workloads that fail): \
                 Kyverno leaves these namespaces alone, or its rules do.\nClusterPolicy/p: nothing is blocked in qa (1 workload that fails): an override keeps audit there.",
            ),
            (Enforce, with(&|t| t.refuses = true), ""),
            (
                Enforce,
                None,
                "ClusterPolicy/p is not in live yet: nothing was evaluated there, and it refuses from the first moment. A step in audit would show what \
                 fails.",
            ),
            (
                Audit,
                None,
                "ClusterPolicy/p is not in live yet: nothing was evaluated there. In audit it refuses nothing, and its first scan shows what fails: \
                 `findings p -e live`.",
            ),
            (Audit, with(&|_| {}), ""),
            (
                Audit,
                with(&|t| t.same = false),
                "ClusterPolicy/p will say something else in live than what was evaluated there. In audit it refuses nothing; what fails then shows \
                 `findings p -e live`.",
            ),
            (Off, None, ""),
        ] {
            assert_eq!(said(becomes, there.clone()), expected, "{becomes} {there:?}");
        }
    }
}
