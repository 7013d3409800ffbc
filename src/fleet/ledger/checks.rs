//! Checks (source, policy, rule), their groups by the policy's own rules, the policies they belong to, and all running tallies.
//!
//! # Names and meanings
//! A check is what a result names. What it means depends on the policies that exist (`super::existing`): another policy, another rule, the same
//! check as other names. So each check has the one that counts for it, usually itself, and only that one has tallies.

use super::PolicySum;
use super::existing::{Existing, Meaning};
use super::resources::ResourceId;
use super::rows::{Row, keep_marked};
use crate::domain::{FindingResult, PolicyKey, Severity, Tally};
use crate::fleet::strings::{StrId, Strings};
use crate::kinds::report::{Twin, is_kyverno, may_be_generated, policy_of_source};
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;

#[derive(Debug)]
struct Check {
    policy: u32,
    rule: StrId,
    twin: Twin,
    /// The same for controllers and for CronJobs, where its rule's name may be a generated one.
    twins: [Option<u32>; 2],
    group: u32,
    stale: bool,
    /// Its source speaks for the report's own namespace only.
    bounded: bool,
    /// Several names mean this check, or it means another.
    shared: bool,
    tally: Tally,
    /// Results that speak for another namespace.
    foreign: u64,
    /// Results that a client other than Kyverno wrote.
    unverified: u64,
    excepted: u64,
    newest: u32,
    severity: Option<Severity>,
    category: StrId,
}

/// What results say of a check, apart from their number: newest evaluation, severity, category.
pub(super) type Description = (u32, Option<Severity>, StrId);

impl Check {
    fn description(&self) -> Description {
        (self.newest, self.severity, self.category)
    }
}

#[derive(Debug)]
struct Group {
    policy: u32,
    rule: StrId,
    tally: Tally,
}

#[derive(Debug)]
struct PolicySlot {
    source: StrId,
    policy: StrId,
    key: PolicyKey,
    /// Roots of families with a fault of this policy that counts, so that the rows behind a number are found without a walk over all resources.
    faulty: HashSet<ResourceId>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Checks {
    all: Vec<Check>,
    /// The check that counts for each.
    means: Vec<u32>,
    groups: Vec<Group>,
    policies: Vec<PolicySlot>,
    by_name: HashMap<(StrId, StrId, StrId, Twin), u32>,
    groups_by_name: HashMap<(u32, StrId), u32>,
    policies_by_name: HashMap<(StrId, StrId), u32>,
    existing: Existing,
}

impl Checks {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The check of what a result names, about a resource for which no rule is generated.
    pub(super) fn intern(&mut self, source: &str, policy: &str, rule: &str, strings: &mut Strings) -> u32 {
        self.intern_for(source, policy, rule, Twin::None, strings)
    }

    fn intern_for(&mut self, source: &str, policy: &str, rule: &str, twin: Twin, strings: &mut Strings) -> u32 {
        let twin = if may_be_generated(rule) { twin } else { Twin::None };
        let name = (strings.intern(source), strings.intern(policy), strings.intern(rule), twin);
        if let Some(&id) = self.by_name.get(&name) {
            return id;
        }
        let (slot, id) = (self.slot(name.0, name.1, strings), self.all.len() as u32);
        self.all.push(Check {
            policy: slot,
            rule: name.2,
            twin,
            twins: [None; 2],
            group: u32::MAX,
            stale: false,
            bounded: false,
            shared: false,
            tally: Tally::default(),
            foreign: 0,
            unverified: 0,
            excepted: 0,
            newest: 0,
            severity: None,
            category: StrId::EMPTY,
        });
        self.means.push(id);
        self.by_name.insert(name, id);
        self.understand(id, strings);
        id
    }

    fn slot(&mut self, source: StrId, policy: StrId, strings: &Strings) -> u32 {
        *self.policies_by_name.entry((source, policy)).or_insert_with(|| {
            let (written_by, name) = (strings.get(source), strings.get(policy));
            let key = PolicyKey { source: Arc::from(written_by), id: Arc::new(policy_of_source(written_by, name)) };
            self.policies.push(PolicySlot { source, policy, key, faulty: HashSet::new() });
            (self.policies.len() - 1) as u32
        })
    }

    /// Finds out what a check means, as far as it is known which policies exist.
    fn understand(&mut self, id: u32, strings: &mut Strings) {
        let Some((source, policy, rule, twin)) = self.written(id, strings) else { return };
        let existing = std::mem::take(&mut self.existing);
        let meaning = existing.meaning(&source, &policy, &rule, twin);
        let (own, stale) = (strings.intern(meaning.own), meaning.stale);
        let other = if (meaning.source, meaning.policy, meaning.rule) != (source.as_str(), policy.as_str(), rule.as_str()) {
            Some((meaning.source.to_owned(), meaning.policy.to_owned(), meaning.rule.to_owned(), twin))
        } else if twin == Twin::None || is_told_apart(&existing, &meaning) {
            None
        } else {
            Some((source.clone(), policy.clone(), rule.clone(), Twin::None))
        };
        self.existing = existing;
        match other {
            None => self.counts_itself(id, own, stale, is_kyverno(&source)),
            Some((other_source, other_policy, other_rule, other_twin)) => {
                let other = self.intern_for(&other_source, &other_policy, &other_rule, other_twin, strings);
                self.understand(other, strings);
                // Those that differ in the kind of resource only never meet at one resource.
                let is_other_name = (other_source, other_policy, other_rule) != (source, policy, rule);
                self.counts_as(id, self.meaning(other), is_other_name);
            }
        }
    }

    /// Source, policy and rule as results write them, and for what kind of resource.
    fn written(&self, id: u32, strings: &Strings) -> Option<(String, String, String, Twin)> {
        let check = self.all.get(id as usize)?;
        let slot = self.policies.get(check.policy as usize)?;
        let [source, policy, rule] = [slot.source, slot.policy, check.rule].map(|text| strings.get(text).to_owned());
        Some((source, policy, rule, check.twin))
    }

    fn counts_itself(&mut self, id: u32, own: StrId, stale: bool, bounded: bool) {
        let Some(policy) = self.all.get(id as usize).map(|check| check.policy) else { return };
        let group = *self.groups_by_name.entry((policy, own)).or_insert_with(|| {
            self.groups.push(Group { policy, rule: own, tally: Tally::default() });
            (self.groups.len() - 1) as u32
        });
        self.counts_as(id, id, false);
        if let Some(check) = self.all.get_mut(id as usize) {
            (check.group, check.stale, check.bounded) = (group, stale, bounded);
        }
    }

    fn counts_as(&mut self, id: u32, other: u32, is_other_name: bool) {
        if let Some(means) = self.means.get_mut(id as usize) {
            *means = other;
        }
        for id in [id, other].into_iter().filter(|_| is_other_name) {
            if let Some(check) = self.all.get_mut(id as usize) {
                check.shared = true;
            }
        }
    }

    /// The check for a resource of this kind: a rule's name may mean one rule for CronJobs and another for the rest.
    pub(super) fn for_kind(&mut self, check: u32, twin: Twin, strings: &mut Strings) -> u32 {
        let place = match twin {
            Twin::None => return check,
            Twin::Controller => 0,
            Twin::CronJob => 1,
        };
        let Some(known) = self.all.get(check as usize).filter(|check| may_be_generated(strings.get(check.rule))) else { return check };
        if let Some(found) = known.twins.get(place).copied().flatten() {
            return found;
        }
        let Some((source, policy, rule, _)) = self.written(check, strings) else { return check };
        let found = self.intern_for(&source, &policy, &rule, twin, strings);
        if let Some(place) = self.all.get_mut(check as usize).and_then(|known| known.twins.get_mut(place)) {
            *place = Some(found);
        }
        found
    }

    /// The check that counts for this one.
    pub(super) fn meaning(&self, check: u32) -> u32 {
        self.means.get(check as usize).copied().unwrap_or(check)
    }

    fn counting(&self, check: u32) -> Option<&Check> {
        self.all.get(self.meaning(check) as usize)
    }

    /// The source that results are written under.
    pub(super) fn source(&self, check: u32) -> StrId {
        let policy = self.all.get(check as usize).and_then(|check| self.policies.get(check.policy as usize));
        policy.map_or(StrId::EMPTY, |slot| slot.source)
    }

    /// Whether results under another name may count as the same.
    pub(super) fn is_shared(&self, check: u32) -> bool {
        self.all.get(check as usize).is_some_and(|check| check.shared)
    }

    /// Whether its results speak for the namespace of their report only.
    pub(super) fn is_bounded(&self, check: u32) -> bool {
        self.counting(check).is_some_and(|check| check.bounded)
    }

    /// Whether a row speaks for another namespace than its report's, in a source that may not.
    pub(super) fn is_foreign(&self, row: &Row) -> bool {
        row.elsewhere && self.is_bounded(row.check)
    }

    /// Notes an evaluation at `time`.
    pub(super) fn saw(&mut self, check: u32, time: u32) {
        if let Some(check) = self.all.get_mut(check as usize) {
            check.newest = check.newest.max(time);
        }
    }

    /// Notes what results say of their policy, for policies whose manifests cannot be seen: the worst severity, and of several
    /// categories the first in the alphabet, so that the order of news does not matter.
    pub(super) fn describe(&mut self, check: u32, severity: Option<Severity>, category: StrId, strings: &Strings) {
        if let Some(check) = self.all.get_mut(check as usize) {
            check.severity = check.severity.max(severity);
            check.category = first_of(check.category, category, strings);
        }
    }

    /// Forgets what [`Checks::saw`] and [`Checks::describe`] noted; returns it, one entry per check.
    pub(super) fn forget_descriptions(&mut self) -> Vec<Description> {
        let forget = |check: &mut Check| {
            let old = check.description();
            (check.newest, check.severity, check.category) = (0, None, StrId::EMPTY);
            old
        };
        self.all.iter_mut().map(forget).collect()
    }

    /// Whether the descriptions are these.
    pub(super) fn are_described(&self, descriptions: &[Description]) -> bool {
        self.all.iter().map(Check::description).eq(descriptions.iter().copied())
    }

    /// Marks the checks that those that are marked mean.
    pub(super) fn mark_meanings(&self, live: &mut [bool]) {
        for (id, &means) in self.means.iter().enumerate() {
            if live.get(id).copied().unwrap_or_default() {
                mark(live, means);
            }
        }
    }

    /// Keeps the checks that are marked in `live` (and what they mean, with [`Checks::mark_meanings`]), in their order, with their groups and
    /// policies; returns the new number of each old one. The others must have no findings. Call [`Checks::reindex`] afterwards.
    pub(super) fn keep(&mut self, live: &[bool]) -> Vec<u32> {
        let numbers = keep_marked(&mut self.all, live);
        keep_marked(&mut self.means, live);
        for means in &mut self.means {
            *means = numbers.get(*means as usize).copied().unwrap_or(*means);
        }
        for check in &mut self.all {
            check.twins = [None; 2];
        }
        let (mut groups, mut policies) = (vec![false; self.groups.len()], vec![false; self.policies.len()]);
        for check in &self.all {
            mark(&mut groups, check.group);
            mark(&mut policies, check.policy);
        }
        for (live, group) in groups.iter().zip(&self.groups) {
            if *live {
                mark(&mut policies, group.policy);
            }
        }
        let groups = keep_marked(&mut self.groups, &groups);
        let policies = keep_marked(&mut self.policies, &policies);
        let place = |places: &[u32], old: u32| places.get(old as usize).copied().unwrap_or(u32::MAX);
        for check in &mut self.all {
            (check.group, check.policy) = (place(&groups, check.group), place(&policies, check.policy));
        }
        for group in &mut self.groups {
            group.policy = place(&policies, group.policy);
        }
        numbers
    }

    /// Shows every text's number to `visit`. Call [`Checks::reindex`] after changing them.
    pub(super) fn texts(&mut self, visit: &mut impl FnMut(&mut StrId)) {
        for check in &mut self.all {
            visit(&mut check.rule);
            visit(&mut check.category);
        }
        for group in &mut self.groups {
            visit(&mut group.rule);
        }
        for slot in &mut self.policies {
            visit(&mut slot.source);
            visit(&mut slot.policy);
        }
    }

    pub(super) fn reindex(&mut self) {
        let named = |slot: &PolicySlot| (slot.source, slot.policy);
        self.policies_by_name = self.policies.iter().zip(0..).map(|(slot, id)| (named(slot), id)).collect();
        self.groups_by_name = self.groups.iter().zip(0..).map(|(group, id)| ((group.policy, group.rule), id)).collect();
        let of = |check: &Check| self.policies.get(check.policy as usize).map(|slot| (slot.source, slot.policy, check.rule, check.twin));
        self.by_name = self.all.iter().zip(0..).filter_map(|(check, id)| Some((of(check)?, id))).collect();
    }

    /// Adds a result that speaks for another namespace (or takes it away).
    pub(super) fn count_foreign(&mut self, check: u32, add: bool) {
        let means = self.meaning(check);
        if let Some(check) = self.all.get_mut(means as usize) {
            check.foreign = if add { check.foreign + 1 } else { check.foreign.saturating_sub(1) };
        }
    }

    /// Adds (or removes) a result that a client other than Kyverno wrote.
    pub(super) fn count_unverified(&mut self, check: u32, add: bool) {
        let means = self.meaning(check);
        if let Some(check) = self.all.get_mut(means as usize) {
            check.unverified = if add { check.unverified + 1 } else { check.unverified.saturating_sub(1) };
        }
    }

    /// Adds a finding of a check that counts (or takes it away). Returns the group it counts in, unless it is stale.
    pub(super) fn count(&mut self, check: u32, result: FindingResult, excepted: bool, add: bool) -> Option<u32> {
        let check = self.all.get_mut(check as usize)?;
        if add {
            check.tally.add(result);
            check.excepted += u64::from(excepted);
        } else {
            check.tally.take(result);
            check.excepted -= u64::from(excepted);
        }
        (!check.stale).then_some(check.group)
    }

    /// Adds the worst result of the owner `root` to a group (or takes it away).
    pub(super) fn count_group(&mut self, group: u32, worst: FindingResult, root: ResourceId, add: bool) {
        let Some(group) = self.groups.get_mut(group as usize) else { return };
        if add {
            group.tally.add(worst);
        } else {
            group.tally.take(worst);
        }
        if worst.is_fault()
            && let Some(slot) = self.policies.get_mut(group.policy as usize)
        {
            // All that a family adds is taken away at once, so the first fault that goes takes its root along.
            if add {
                slot.faulty.insert(root);
            } else {
                slot.faulty.remove(&root);
            }
        }
    }

    /// The owners with faults of a policy that count.
    pub(super) fn faulty(&self, policy: &PolicyKey) -> impl Iterator<Item = ResourceId> {
        self.policies.iter().filter(|slot| slot.key == *policy).flat_map(|slot| slot.faulty.iter().copied())
    }

    /// All tallies to nothing.
    pub(super) fn reset(&mut self) {
        for check in &mut self.all {
            (check.tally, check.foreign, check.unverified, check.excepted) = (Tally::default(), 0, 0, 0);
        }
        for group in &mut self.groups {
            group.tally = Tally::default();
        }
        for slot in &mut self.policies {
            slot.faulty.clear();
        }
    }

    /// Takes over what exists; returns whether that changes what anything counts as that has findings.
    pub(super) fn set_existing(&mut self, existing: Existing, strings: &mut Strings) -> bool {
        if self.existing == existing {
            return false;
        }
        self.existing = existing;
        for check in &mut self.all {
            check.shared = false;
        }
        let counts = |checks: &Self, id: u32| {
            let check = checks.counting(id).filter(|check| check.tally.total() + check.foreign > 0)?;
            Some((checks.meaning(id), check.group, check.stale))
        };
        let all = 0..self.all.len() as u32;
        let before: Vec<_> = all.clone().map(|id| counts(self, id)).collect();
        for id in all.clone() {
            self.understand(id, strings);
        }
        let now = |id: u32| self.counting(id).map(|check| (self.meaning(id), check.group, check.stale));
        all.zip(before).any(|(id, before)| before.is_some() && before != now(id))
    }

    pub(super) fn is_stale(&self, check: u32) -> bool {
        self.counting(check).is_some_and(|check| check.stale)
    }

    pub(super) fn group(&self, check: u32) -> u32 {
        self.counting(check).map_or(u32::MAX, |check| check.group)
    }

    /// (policy, rule as written, rule as the policy calls it).
    pub(super) fn names(&self, check: u32) -> Option<(&PolicyKey, StrId, StrId)> {
        let check = self.counting(check)?;
        let own = self.groups.get(check.group as usize)?.rule;
        Some((&self.policies.get(check.policy as usize)?.key, check.rule, own))
    }

    /// For each check, whether it belongs to `policy` (all do where none is given) and is not stale (unless stale ones are wanted).
    pub(super) fn wanted(&self, policy: Option<&PolicyKey>, with_stale: bool) -> Vec<bool> {
        let of = |check: &Check| policy.is_none_or(|key| self.policies.get(check.policy as usize).is_some_and(|slot| slot.key == *key));
        let wanted = |id: u32| self.counting(id).is_some_and(|check| of(check) && (with_stale || !check.stale));
        (0..self.all.len() as u32).map(wanted).collect()
    }

    pub(super) fn sums(&self, strings: &Strings) -> Vec<PolicySum> {
        let mut sums: Vec<PolicySum> = self.policies.iter().map(|slot| PolicySum::of(slot.key.clone())).collect();
        for (id, check) in self.all.iter().enumerate() {
            let Some(counting) = self.counting(id as u32) else { continue };
            let Some(sum) = sums.get_mut(counting.policy as usize) else { continue };
            if check.stale {
                sum.stale += check.tally.total();
            } else {
                sum.findings += check.tally;
                sum.excepted += check.excepted;
                sum.unverified += check.unverified;
            }
            sum.foreign += check.foreign;
            if counting.tally.total() > 0 {
                sum.newest = sum.newest.max(check.newest);
                sum.severity = sum.severity.max(check.severity);
                sum.category = first_of(sum.category, check.category, strings);
            }
        }
        for group in &self.groups {
            if let Some(sum) = sums.get_mut(group.policy as usize) {
                sum.owners += group.tally;
            }
        }
        self.doubt(&mut sums, strings);
        sums.retain(|sum| sum.findings.total() + sum.stale + sum.foreign + sum.doubtful > 0);
        sums
    }

    /// Notes at each policy how many results may be its, where they do not say which of several they mean.
    fn doubt(&self, sums: &mut Vec<PolicySum>, strings: &Strings) {
        for check in self.all.iter().filter(|check| check.tally.total() > 0) {
            let Some(slot) = self.policies.get(check.policy as usize) else { continue };
            let [source, policy, rule] = [slot.source, slot.policy, check.rule].map(|text| strings.get(text));
            for source in self.existing.doubted(source, policy, rule) {
                let id = policy_of_source(source, policy);
                let place = sums.iter().position(|sum| *sum.key.source == *source && *sum.key.id == id).unwrap_or_else(|| {
                    sums.push(PolicySum::of(PolicyKey { source: Arc::from(source), id: Arc::new(id) }));
                    sums.len() - 1
                });
                if let Some(sum) = sums.get_mut(place) {
                    sum.doubtful += check.tally.total();
                }
            }
        }
    }
}

/// Whether the name means another rule, or one that does not exist, about other resources.
fn is_told_apart(existing: &Existing, meaning: &Meaning<'_>) -> bool {
    let bare = existing.meaning(meaning.source, meaning.policy, meaning.rule, Twin::None);
    (bare.own, bare.stale) != (meaning.own, meaning.stale)
}

fn mark(marks: &mut [bool], place: u32) {
    if let Some(mark) = marks.get_mut(place as usize) {
        *mark = true;
    }
}

/// The first of two texts in the alphabet; an empty one does not count.
fn first_of(a: StrId, b: StrId, strings: &Strings) -> StrId {
    if a == b || b == StrId::EMPTY || (a != StrId::EMPTY && strings.get(a) <= strings.get(b)) { a } else { b }
}
