//! Checks (source, policy, rule), their groups without `autogen-`, the policies they belong to, and all running tallies.

use super::PolicySum;
use super::resources::ResourceId;
use super::rows::keep_marked;
use crate::domain::{FindingResult, PolicyKey, Severity, Tally};
use crate::fleet::strings::{StrId, Strings};
use crate::kinds::report::policy_of_source;
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;

/// Which policies and rules exist, by the `source` that reports on them. Sources that are not listed are other tools': never stale.
pub(crate) type Existing = HashMap<&'static str, Known>;

/// What is known of one source's policies. They live in two kinds: one for the cluster, one for namespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Cluster-wide policies are completely known (listed, or their kind is not served).
    pub(crate) cluster_wide: bool,
    /// Namespaced policies are completely known.
    pub(crate) namespaced: bool,
    /// Policies by the name reports use, with their rules; `None` where rules have no names (CEL kinds).
    pub(crate) policies: HashMap<String, Option<HashSet<String>>>,
}

impl Known {
    fn is_stale(&self, policy: &str, rule: &str) -> bool {
        let Some(rules) = self.policies.get(policy) else {
            return if policy.contains('/') { self.namespaced } else { self.cluster_wide };
        };
        let Some(rules) = rules else { return false };
        // Kyverno cuts `autogen-` names to 63 characters (kyverno/kyverno pkg/autogen/v1/rule.go).
        let bare = bare_rule(rule);
        !(rule.is_empty()
            || rules.contains(rule)
            || rules.contains(bare)
            || (rule.len() >= 63 && rules.iter().any(|r| r.starts_with(bare))))
    }
}

/// The rule as its author named it: without `autogen-` or `autogen-cronjob-`.
pub(super) fn bare_rule(rule: &str) -> &str {
    match rule.strip_prefix("autogen-") {
        Some(rest) => rest.strip_prefix("cronjob-").unwrap_or(rest),
        None => rule,
    }
}

#[derive(Debug)]
struct Check {
    policy: u32,
    rule: StrId,
    group: u32,
    stale: bool,
    tally: Tally,
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
    groups: Vec<Group>,
    policies: Vec<PolicySlot>,
    by_name: HashMap<(StrId, StrId, StrId), u32>,
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

    pub(super) fn intern(&mut self, source: &str, policy: &str, rule: &str, strings: &mut Strings) -> u32 {
        let (source_id, policy_id, rule_id) = (strings.intern(source), strings.intern(policy), strings.intern(rule));
        if let Some(&id) = self.by_name.get(&(source_id, policy_id, rule_id)) {
            return id;
        }
        let slot = *self.policies_by_name.entry((source_id, policy_id)).or_insert_with(|| {
            let key = PolicyKey { source: Arc::from(source), id: Arc::new(policy_of_source(source, policy)) };
            self.policies.push(PolicySlot { source: source_id, policy: policy_id, key, faulty: HashSet::new() });
            (self.policies.len() - 1) as u32
        });
        let bare = strings.intern(bare_rule(rule));
        let group = *self.groups_by_name.entry((slot, bare)).or_insert_with(|| {
            self.groups.push(Group { policy: slot, rule: bare, tally: Tally::default() });
            (self.groups.len() - 1) as u32
        });
        let stale = self.existing.get(source).is_some_and(|known| known.is_stale(policy, rule));
        let check = Check {
            policy: slot,
            rule: rule_id,
            group,
            stale,
            tally: Tally::default(),
            excepted: 0,
            newest: 0,
            severity: None,
            category: StrId::EMPTY,
        };
        self.all.push(check);
        let id = (self.all.len() - 1) as u32;
        self.by_name.insert((source_id, policy_id, rule_id), id);
        id
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

    /// Keeps the checks that are marked in `live`, in their order, with their groups and policies; returns the new number of each old
    /// one. The others must have no findings. Call [`Checks::reindex`] afterwards.
    pub(super) fn keep(&mut self, live: &[bool]) -> Vec<u32> {
        let numbers = keep_marked(&mut self.all, live);
        let (mut groups, mut policies) = (vec![false; self.groups.len()], vec![false; self.policies.len()]);
        for check in &self.all {
            mark(&mut groups, check.group);
            mark(&mut policies, check.policy);
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
        let of = |check: &Check| self.policies.get(check.policy as usize).map(|slot| (slot.source, slot.policy, check.rule));
        self.by_name = self.all.iter().zip(0..).filter_map(|(check, id)| Some((of(check)?, id))).collect();
    }

    /// Adds a finding (or takes it away). Returns the group it counts in, unless it is stale.
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
            (check.tally, check.excepted) = (Tally::default(), 0);
        }
        for group in &mut self.groups {
            group.tally = Tally::default();
        }
        for slot in &mut self.policies {
            slot.faulty.clear();
        }
    }

    /// Takes over what exists; returns whether any check that has findings became stale or live.
    pub(super) fn set_existing(&mut self, existing: Existing, strings: &Strings) -> bool {
        if self.existing == existing {
            return false;
        }
        self.existing = existing;
        let mut flipped = false;
        for check in &mut self.all {
            let Some(slot) = self.policies.get(check.policy as usize) else { continue };
            let known = self.existing.get(strings.get(slot.source));
            let stale = known.is_some_and(|known| known.is_stale(strings.get(slot.policy), strings.get(check.rule)));
            flipped |= check.stale != stale && check.tally.total() > 0;
            check.stale = stale;
        }
        flipped
    }

    pub(super) fn is_stale(&self, check: u32) -> bool {
        self.all.get(check as usize).is_some_and(|check| check.stale)
    }

    pub(super) fn group(&self, check: u32) -> u32 {
        self.all.get(check as usize).map_or(u32::MAX, |check| check.group)
    }

    /// (policy, rule as written, rule without `autogen-`).
    pub(super) fn names(&self, check: u32) -> Option<(&PolicyKey, StrId, StrId)> {
        let check = self.all.get(check as usize)?;
        let bare = self.groups.get(check.group as usize)?.rule;
        Some((&self.policies.get(check.policy as usize)?.key, check.rule, bare))
    }

    /// For each check, whether it belongs to `policy` (all do where none is given) and is not stale (unless stale ones are wanted).
    pub(super) fn wanted(&self, policy: Option<&PolicyKey>, with_stale: bool) -> Vec<bool> {
        let of = |check: &Check| policy.is_none_or(|key| self.policies.get(check.policy as usize).is_some_and(|slot| slot.key == *key));
        self.all.iter().map(|check| of(check) && (with_stale || !check.stale)).collect()
    }

    pub(super) fn sums(&self, strings: &Strings) -> Vec<PolicySum> {
        let empty = |slot: &PolicySlot| PolicySum {
            key: slot.key.clone(),
            findings: Tally::default(),
            owners: Tally::default(),
            stale: 0,
            excepted: 0,
            newest: 0,
            severity: None,
            category: StrId::EMPTY,
        };
        let mut sums: Vec<PolicySum> = self.policies.iter().map(empty).collect();
        for check in &self.all {
            let Some(sum) = sums.get_mut(check.policy as usize) else { continue };
            if check.stale {
                sum.stale += check.tally.total();
            } else {
                sum.findings += check.tally;
                sum.excepted += check.excepted;
            }
            if check.tally.total() > 0 {
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
        sums.retain(|sum| sum.findings.total() + sum.stale > 0);
        sums
    }
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
