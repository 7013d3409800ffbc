//! What an environment answers: its view, and the rows behind its numbers.

use super::{EnvironmentState, KeptPolicy, index};
use crate::domain::{Link, Mode, PolicyId, PolicyKey, Readiness, Rule, Sync, Tally};
use crate::fleet::ledger::{PolicySum, seconds};
use crate::fleet::query::{BlockedRow, ExceptionRow, FindingQuery, FindingRow, PolicyRow, RuleRow};
use crate::fleet::view::{EnvironmentView, KindView, PolicyCell};
use crate::kinds::mode::{Kyverno, mode_in, overrides_in_words, policy_mode, rule_mode};
use crate::kinds::report::source_of_kind;
use crate::kinds::{Family, KindId, Namespace};
use hashbrown::HashMap;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

impl EnvironmentState {
    /// Whether every number counts everything there is.
    pub fn is_complete(&self) -> bool {
        let kinds = self.kinds();
        self.is_whole(&self.shown_link(&kinds), &kinds)
    }

    fn is_whole(&self, link: &Link, kinds: &[KindView]) -> bool {
        link.is_up() && self.looked_at_kyverno && kinds.iter().all(|kind| !kind.essential || kind.sync.is_complete())
    }

    /// The environment as it is now. Call it between batches.
    pub fn view(&mut self) -> EnvironmentView {
        self.generation += 1;
        // Here and not with each batch: a view is made at most thirty times a second.
        if std::mem::take(&mut self.blocked_changed) {
            self.count_blocked();
        }
        let kinds = self.kinds();
        let link = self.shown_link(&kinds);
        let complete = self.is_whole(&link, &kinds);
        let cells = self.cells(complete);
        let mut findings = Tally::default();
        let mut owners = Tally::default();
        let mut stale = 0;
        for cell in &cells {
            findings += cell.findings;
            owners += cell.owners;
            stale += cell.stale;
        }
        EnvironmentView {
            name: Arc::clone(&self.identity.name),
            tier: self.identity.tier,
            context: Arc::clone(&self.identity.context),
            server: self.server.server.clone(),
            cluster_uid: self.server.cluster_uid.clone(),
            kubernetes: self.server.kubernetes.clone(),
            kyverno: self.facts.version.clone(),
            scan_interval: self.facts.scan_interval,
            link,
            complete,
            last_seen: self.last_seen,
            kinds,
            findings,
            owners,
            summaries: self.streams.summaries_of_all(),
            blocked: self.events_are_known().then(|| self.blocked.values().sum()),
            malformed: self.ledger.malformed() + self.streams.skipped_of_all(),
            stale,
            policies: self.policies.len(),
            exceptions: self.exceptions.len(),
            notes: self.notes(),
            cells: cells.into(),
            generation: self.generation,
            content: self.content,
        }
    }

    /// The link as it is shown: a server that answers is listing until everything is there, and denied if nothing may be read.
    fn shown_link(&self, kinds: &[KindView]) -> Link {
        if !matches!(self.link, Link::Listing | Link::Live) {
            return self.link.clone();
        }
        let mut main = kinds.iter().filter(|kind| kind.essential && kind.sync != Sync::NotInstalled).peekable();
        if main.peek().is_some()
            && let Some(why) = main.try_fold(None, |_, kind| match &kind.sync {
                Sync::Denied { why } => Some(Some(why.clone())),
                _ => None,
            })
        {
            return Link::Denied { why: why.unwrap_or_default() };
        }
        let listing = kinds.iter().any(|kind| kind.essential && matches!(kind.sync, Sync::Connecting | Sync::Listing { .. }));
        if listing || !self.looked_at_kyverno { Link::Listing } else { Link::Live }
    }

    fn events_are_known(&self) -> bool {
        KindId::of_family(Family::Event).all(|kind| self.streams.was_complete(kind))
    }

    fn kinds(&self) -> Vec<KindView> {
        let shown = |kind: &KindId| kind.kind().family != Family::Owner || self.needed_owners.contains(kind);
        KindId::all().filter(shown).map(|id| self.kind_view(id)).collect()
    }

    fn kind_view(&self, id: KindId) -> KindView {
        let kind = id.kind();
        let sync = self.streams.sync(id);
        // What may not be read is missing; but owners can be guessed, and namespaces only serve label selectors.
        let refines = matches!(kind.family, Family::Owner | Family::Namespace);
        let essential = !refines || !matches!(sync, Sync::Denied { .. });
        let objects = match kind.family {
            Family::Report => self.ledger.reports_of(index(id)),
            Family::Policy => self.policies.count(id),
            Family::Exception => self.exceptions.count(id),
            Family::Namespace => self.namespaces.count(id),
            Family::Event => self.events.count(id),
            Family::Owner => self.ledger.links_of(index(id)),
        };
        KindView { group: kind.group, kind: kind.kind, sync, objects, essential }
    }

    /// One cell per policy that exists or has results, sorted by key.
    fn cells(&self, complete: bool) -> Vec<PolicyCell> {
        let mut sums: HashMap<_, PolicySum> = self.ledger.sums().into_iter().map(|sum| (sum.key.clone(), sum)).collect();
        let mut cells: Vec<PolicyCell> = Vec::with_capacity(sums.len() + self.policies.len() as usize);
        for kept in self.policies.values() {
            let sum = sums.remove(&kept.key);
            cells.push(self.policy_cell(kept, sum.as_ref(), complete));
        }
        for (_, sum) in sums {
            cells.push(self.bare_cell(sum, complete));
        }
        cells.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        cells
    }

    fn policy_cell(&self, kept: &KeptPolicy, sum: Option<&PolicySum>, complete: bool) -> PolicyCell {
        let policy = &kept.policy;
        PolicyCell {
            key: kept.key.clone(),
            mode: policy_mode(policy, &self.facts.kyverno),
            ready: policy.ready,
            revision: Some(policy.revision.clone()),
            severity: policy.severity.or_else(|| sum.and_then(|sum| sum.severity)),
            category: policy.category.as_deref().map(Arc::from),
            findings: sum.map(|sum| sum.findings).unwrap_or_default(),
            owners: sum.map(|sum| sum.owners).unwrap_or_default(),
            blocked: self.blocked_by(&kept.key.id),
            stale: sum.map_or(0, |sum| sum.stale),
            evaluated_at: sum.and_then(|sum| seconds(sum.newest)),
            excepted: sum.map_or(0, |sum| sum.excepted),
            complete,
        }
    }

    /// A policy that is known only from its results.
    fn bare_cell(&self, sum: PolicySum, complete: bool) -> PolicyCell {
        let gone = sum.stale > 0 && sum.findings.total() == 0;
        let category = self.ledger.text(sum.category);
        PolicyCell {
            mode: if gone { Mode::Absent } else { Mode::Unknown },
            ready: Readiness::Unknown,
            revision: None,
            severity: sum.severity,
            category: (!category.is_empty()).then(|| Arc::from(category)),
            findings: sum.findings,
            owners: sum.owners,
            blocked: self.blocked_by(&sum.key.id),
            stale: sum.stale,
            evaluated_at: seconds(sum.newest),
            excepted: sum.excepted,
            complete,
            key: sum.key,
        }
    }

    fn blocked_by(&self, policy: &PolicyId) -> Option<u64> {
        self.events_are_known().then(|| self.blocked.get(policy).copied().unwrap_or_default())
    }

    fn notes(&self) -> Vec<Arc<str>> {
        let mut notes = self.facts.notes.clone();
        if self.ledger.is_guessing() {
            let denied: Vec<&str> = KindId::of_family(Family::Owner)
                .filter(|kind| self.needed_owners.contains(kind) && self.streams.is_denied(*kind))
                .map(|kind| kind.kind().plural)
                .collect();
            notes.push(Arc::from(format!("owners are guessed by name, because you may not list {}", denied.join(", "))));
        }
        for (kind, skipped) in self.streams.skipped_by_kind() {
            notes.push(Arc::from(format!("{skipped} {} could not be read and are left out", kind.kind().plural)));
        }
        if self.ledger.malformed() > 0 {
            notes.push(Arc::from(format!("{} results in reports could not be read and are left out", self.ledger.malformed())));
        }
        notes
    }

    /// The findings that `query` asks for, worst first.
    pub fn findings(&self, query: &FindingQuery) -> Vec<FindingRow> {
        self.ledger.findings(query)
    }

    /// The refused admissions of a policy, or of all, newest first.
    pub fn blocked_rows(&self, policy: Option<&PolicyKey>) -> Vec<BlockedRow> {
        let key_of = |id: &PolicyId| {
            let kept = self.policies.values().find(|kept| *kept.key.id == *id).map(|kept| kept.key.clone());
            kept.unwrap_or_else(|| PolicyKey {
                source: Arc::from(source_of_kind(&id.group, &id.kind).unwrap_or_default()),
                id: Arc::new(id.clone()),
            })
        };
        let wanted = self.true_blocks().filter(|event| policy.is_none_or(|key| *key.id == event.policy));
        let mut rows: Vec<BlockedRow> = wanted
            .map(|event| BlockedRow {
                event: Arc::from(event.uid.as_str()),
                key: key_of(&event.policy),
                resource: Arc::new(event.resource.clone()),
                at: event.at,
                count: event.count,
                message: Arc::from(event.message.as_str()),
            })
            .collect();
        rows.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.resource.cmp(&b.resource)));
        rows
    }

    /// All policies with their rules' modes, in `namespace` where one is given.
    pub fn policy_rows(&self, namespace: Option<&str>) -> Vec<PolicyRow> {
        let namespace = namespace.map(|name| self.namespace(name));
        let mut rows: Vec<PolicyRow> = self.policies.values().map(|kept| self.policy_row(kept, namespace.as_ref())).collect();
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        rows
    }

    fn policy_row(&self, kept: &KeptPolicy, namespace: Option<&Namespace>) -> PolicyRow {
        let (policy, kyverno) = (&kept.policy, &self.facts.kyverno);
        // Where namespaces cannot be listed their labels are not known, and neither is what hangs on them.
        let unknown = |asks: bool| asks && namespace.is_some_and(|n| !n.is_cluster_scoped()) && !self.labels_are_known();
        let rule_row = |rule: &Rule| RuleRow {
            name: Arc::from(rule.name.as_str()),
            rule_type: rule.rule_type,
            mode: if unknown(rule.asks_for_labels()) { Mode::Unknown } else { rule_mode(policy, rule, kyverno, namespace) },
            overrides: overrides_in_words(rule, policy),
        };
        let mode = match namespace {
            _ if unknown(policy.asks_for_labels()) => Mode::Unknown,
            Some(namespace) => mode_in(policy, kyverno, namespace),
            None => policy_mode(policy, kyverno),
        };
        PolicyRow { key: kept.key.clone(), mode, rules: policy.rules.iter().map(rule_row).collect(), policy: Arc::clone(policy) }
    }

    /// What modes depend on, as far as it could be found out.
    pub fn kyverno(&self) -> &Kyverno {
        &self.facts.kyverno
    }

    /// When the oldest result of each policy was evaluated, of all or of one; `None` where one of its results has no time.
    pub fn oldest_results(&self, policy: Option<&PolicyKey>) -> Vec<(PolicyKey, Option<Timestamp>)> {
        self.ledger.oldest(policy)
    }

    /// All exceptions, without a look at the results.
    pub fn exceptions(&self) -> Vec<Arc<crate::domain::Exception>> {
        self.exceptions.values().cloned().collect()
    }

    /// All exceptions, with the results that name them.
    ///
    /// Reports give names without namespaces (`properties.exceptions`), so exceptions of one name share their uses.
    pub fn exception_rows(&self) -> Vec<ExceptionRow> {
        let mut uses: BTreeMap<String, u64> = BTreeMap::new();
        for (names, count) in self.ledger.exception_uses() {
            for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                *uses.entry(name.to_owned()).or_default() += count;
            }
        }
        let row = |exception: &Arc<crate::domain::Exception>| ExceptionRow {
            exception: Arc::clone(exception),
            uses: uses.get(&exception.name).copied().unwrap_or_default(),
        };
        self.exceptions.values().map(row).collect()
    }
}
