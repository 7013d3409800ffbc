//! What an environment answers: its view, and the rows behind its numbers.

use super::events::MOST;
use super::{EnvironmentState, Judged, KeptPolicy, index};
use crate::domain::history::Made;
use crate::domain::{Claim, Force, Gap, InForce, Link, Mode, Policy, PolicyId, PolicyKey, Rule, Sync, Tally};
use crate::fleet::ledger::{PolicySum, seconds};
use crate::fleet::query::{
    BlockedRow, ExceptionRow, ExceptionUses, FindingQuery, FindingRow, OldestResult, PolicyRow, RuleRow, UnseenException,
};
use crate::fleet::view::{EnvironmentView, KindView, NO_REPORTS, PolicyCell, lacks_reports};
use crate::kinds::in_force::{AdmissionPath, in_force};
use crate::kinds::mode::{Kyverno, mode_in, overrides_in_words, policy_mode, rule_mode};
use crate::kinds::report::source_of_kind;
use crate::kinds::{Family, KindId, Namespace, excused_by};
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl EnvironmentState {
    /// Whether every number counts everything there is.
    pub fn is_complete(&self) -> bool {
        let kinds = self.kinds();
        self.is_whole(&self.shown_link(&kinds), &kinds)
    }

    fn is_whole(&self, link: &Link, kinds: &[KindView]) -> bool {
        link.is_up()
            && self.looked_at_kyverno
            && !lacks_reports(kinds)
            && !self.ledger.is_full()
            && kinds.iter().all(|kind| !kind.essential || kind.is_whole())
    }

    /// The environment as it is now. Call it between batches.
    pub fn view(&mut self) -> EnvironmentView {
        self.generation += 1;
        // Here and not with each batch: a view is made at most thirty times a second.
        if std::mem::take(&mut self.blocked_changed) {
            self.count_blocked();
        }
        if std::mem::take(&mut self.in_force_changed) {
            self.judged = self.judge();
        }
        let kinds = self.kinds();
        let link = self.shown_link(&kinds);
        let complete = self.is_whole(&link, &kinds);
        let mut notes = self.notes(&kinds);
        let mut cells = self.cells(complete);
        let mut findings = Tally::default();
        let mut owners = Tally::default();
        let (mut stale, mut foreign, mut unverified, mut disappeared) = (0, 0, 0, 0);
        let blocks_held = self.events_are_read().then(|| self.blocked.values().sum());
        let blocked = blocks_held.filter(|held| self.makes_events() || *held > 0);
        let blocked = blocked.filter(|_| cells.iter().all(|cell| cell.blocks().is_some()));
        for cell in &cells {
            findings += cell.findings;
            owners += cell.owners;
            stale += cell.stale;
            foreign += cell.foreign;
            unverified += cell.unverified;
            disappeared += cell.disappeared.as_ref().map_or(0, |one| one.results);
        }
        notes.extend(cap(&mut cells).map(Arc::from));
        let mut view = EnvironmentView {
            name: Arc::clone(&self.identity.name),
            tier: self.identity.tier,
            context: Arc::clone(&self.identity.context),
            server: self.server.server.clone(),
            cluster_uid: self.server.cluster_uid.clone(),
            kubernetes: self.server.kubernetes.clone(),
            kyverno: self.facts.version.clone(),
            scan_interval: self.facts.scan_interval,
            makes_events: self.facts.makes_events,
            answers: self.admission.answers().clone(),
            events_kept: self.server.events_kept.into_iter().chain(self.events_went).min(),
            namespaces: Arc::clone(&self.identity.namespaces),
            insecure: self.server.insecure.clone(),
            link,
            complete,
            last_seen: self.last_seen,
            skew: self.skew,
            kinds,
            findings,
            owners,
            summaries: self.streams.summaries_of_all(),
            blocked,
            blocks_held,
            malformed: self.ledger.malformed() + self.streams.skipped_of_all(),
            stale,
            foreign,
            unverified,
            disappeared,
            policies: self.policies.len(),
            exceptions: self.exceptions.len(),
            notes,
            cells: cells.into(),
            generation: self.generation,
            content: self.content,
        };
        view.notes.extend(view.clock_note().map(Arc::from));
        view
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

    fn events_are_read(&self) -> bool {
        KindId::of_family(Family::Event).all(|kind| self.streams.was_complete(kind) && self.events.left_out(kind) == 0)
    }

    /// Whether a blocked request is known to make an event.
    fn makes_events(&self) -> bool {
        self.facts.makes_events == Some(true)
    }

    fn kinds(&self) -> Vec<KindView> {
        let shown = |kind: &KindId| kind.kind().family != Family::Owner || self.needed_owners.contains(kind);
        KindId::all().filter(shown).map(|id| self.kind_view(id)).collect()
    }

    fn kind_view(&self, id: KindId) -> KindView {
        let kind = id.kind();
        let sync = self.streams.sync(id);
        // What may not be read is missing; but owners can be guessed, namespaces only serve label selectors, and whether a policy is in force
        // is unknown without what shows it.
        let refines = matches!(kind.family, Family::Owner | Family::Namespace | Family::Webhooks | Family::Native | Family::Binding);
        let admission = matches!(kind.family, Family::Webhooks | Family::Native | Family::Binding);
        let is_missing = matches!(sync, Sync::Denied { .. }) || (admission && matches!(sync, Sync::Unread { .. }));
        let essential = !refines || !is_missing;
        let objects = match kind.family {
            Family::Report => self.ledger.reports_of(index(id)),
            Family::Policy => self.policies.count(id),
            Family::Exception => self.exceptions.count(id),
            Family::Namespace => self.namespaces.count(id),
            Family::Event => self.events.count(id),
            Family::Owner => self.ledger.links_of(index(id)),
            Family::Webhooks | Family::Native | Family::Binding => self.admission.count(id),
        };
        KindView {
            group: kind.group,
            kind: kind.kind,
            sync,
            objects,
            essential,
            left_out: self.streams.left_out(id) + self.events.left_out(id),
        }
    }

    fn judge(&self) -> HashMap<PolicyKey, Judged> {
        let path = self.admission.path(&self.streams);
        let judge = |policy: &Policy| Judged {
            in_force: in_force(policy, &path, &self.facts.kyverno, None),
            native: policy.native || path.twin(policy).is_some(),
        };
        self.policies.values().map(|kept| (kept.key.clone(), judge(&kept.policy))).collect()
    }

    /// One cell per policy that exists or has results, sorted by key.
    fn cells(&self, complete: bool) -> Vec<PolicyCell> {
        let mut sums: HashMap<_, PolicySum> = self.ledger.sums().into_iter().map(|sum| (sum.key.clone(), sum)).collect();
        let mut cells: Vec<PolicyCell> = Vec::with_capacity(sums.len() + self.policies.len() as usize);
        let mut disappeared = self.missed.by_policy(self.facts.scan_interval);
        for kept in self.policies.values() {
            let sum = sums.remove(&kept.key);
            let disappeared = disappeared.remove(&kept.key);
            cells.push(PolicyCell { disappeared, ..self.policy_cell(kept, sum.as_ref(), complete) });
        }
        for (_, sum) in sums {
            cells.push(self.bare_cell(sum, complete));
        }
        cells.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        cells
    }

    fn policy_cell(&self, kept: &KeptPolicy, sum: Option<&PolicySum>, complete: bool) -> PolicyCell {
        let policy = &kept.policy;
        let doubt = sum.filter(|sum| sum.doubtful > 0).map(|sum| doubt(&kept.key.id, sum.doubtful));
        let Judged { in_force, native } = self.judged.get(&kept.key).cloned().unwrap_or_default();
        PolicyCell {
            key: kept.key.clone(),
            mode: policy_mode(policy, &self.facts.kyverno),
            ready: policy.ready,
            in_force,
            native,
            revision: Some(policy.revision.clone()),
            made: Made { generation: (policy.generation > 0).then_some(policy.generation), created: policy.created_at },
            severity: policy.severity.or_else(|| sum.and_then(|sum| sum.severity)),
            category: policy.category.as_deref().map(Arc::from),
            findings: sum.map(|sum| sum.findings).unwrap_or_default(),
            owners: sum.map(|sum| sum.owners).unwrap_or_default(),
            unscored: !policy.scored,
            // The API server makes no events of what it blocks by itself.
            blocked: self.blocked_by(&kept.key.id).filter(|_| !native),
            stale: sum.map_or(0, |sum| sum.stale),
            foreign: sum.map_or(0, |sum| sum.foreign),
            unverified: sum.map_or(0, |sum| sum.unverified),
            evaluated_at: sum.and_then(|sum| seconds(sum.newest)),
            excepted: sum.map_or(0, |sum| sum.excepted),
            disappeared: None,
            complete: complete && doubt.is_none(),
            doubt,
        }
    }

    /// A policy that is known only from its results.
    fn bare_cell(&self, sum: PolicySum, complete: bool) -> PolicyCell {
        let gone = sum.stale > 0 && sum.findings.total() == 0;
        let category = self.ledger.text(sum.category);
        PolicyCell {
            mode: if gone { Mode::Absent } else { Mode::Unknown },
            in_force: InForce::because(Force::Unknown, Gap::NoPolicy),
            severity: sum.severity,
            category: (!category.is_empty()).then(|| Arc::from(category)),
            findings: sum.findings,
            owners: sum.owners,
            blocked: self.blocked_by(&sum.key.id),
            stale: sum.stale,
            foreign: sum.foreign,
            unverified: sum.unverified,
            evaluated_at: seconds(sum.newest),
            excepted: sum.excepted,
            complete,
            key: sum.key,
            ..PolicyCell::default()
        }
    }

    fn blocked_by(&self, policy: &PolicyId) -> Option<u64> {
        let held = self.blocked.get(policy).copied().unwrap_or_default();
        // What is seen is there; that there is nothing else shows only where it would make an event.
        (self.events_are_read() && (held > 0 || self.makes_events())).then_some(held)
    }

    fn notes(&self, kinds: &[KindView]) -> Vec<Arc<str>> {
        let mut notes: Vec<Arc<str>> = self.server.insecure.iter().map(|insecure| Arc::from(insecure.in_words())).collect();
        notes.extend_from_slice(&self.facts.notes);
        if !self.identity.namespaces.is_empty() {
            notes.push(Arc::from(format!("limited to the namespaces {}: nothing else is looked at", self.identity.namespaces.join(", "))));
        }
        if self.facts.makes_events == Some(false) {
            notes.push(Arc::from(
                "Kyverno makes no events of blocked requests (--omitEvents or --maxQueuedEvents): their number is unknown",
            ));
        }
        if lacks_reports(kinds) {
            notes.push(Arc::from(NO_REPORTS));
        }
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
        let events: u64 = KindId::of_family(Family::Event).map(|kind| self.events.left_out(kind)).sum();
        if events > 0 {
            notes.push(Arc::from(format!(
                "{events} events of blocked requests are left out: more than {MOST} are there. How many requests are blocked is unknown until they expire"
            )));
        }
        if self.ledger.is_full() {
            notes.push(Arc::from(format!(
                "the texts of reports here exceed {} MiB: what has no room is left out. Limit the environment to fewer namespaces",
                crate::fleet::strings::MOST >> 20
            )));
        }
        if self.ledger.malformed() > 0 {
            notes.push(Arc::from(format!("{} results in reports could not be read and are left out", self.ledger.malformed())));
        }
        notes
    }

    /// The findings that `query` asks for, worst first.
    pub fn findings(&self, query: &FindingQuery) -> Vec<FindingRow> {
        match &query.policy {
            Some(policy) if query.counted => self.counted(policy, query.namespace.as_deref()),
            _ => self.ledger.findings(query),
        }
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
                source: Arc::new(event.source.clone()),
            })
            .collect();
        rows.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.resource.cmp(&b.resource)));
        rows
    }

    /// All policies with their rules' modes, in `namespace` where one is given.
    pub fn policy_rows(&self, namespace: Option<&str>) -> Vec<PolicyRow> {
        let namespace = namespace.map(|name| self.namespace(name));
        let path = self.admission.path(&self.streams);
        let mut rows: Vec<PolicyRow> = self.policies.values().map(|kept| self.policy_row(kept, &path, namespace.as_ref())).collect();
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        rows
    }

    /// What a policy would do in each of these namespaces; unknown where that depends on labels that are not known.
    pub fn modes_in(&self, policy: &Policy, namespaces: BTreeSet<String>) -> BTreeMap<String, Mode> {
        let mode = |name: &str| {
            let namespace = self.namespace(name);
            let unknown = policy.asks_for_labels() && !namespace.is_cluster_scoped() && !self.labels_are_known();
            if unknown { Mode::Unknown } else { mode_in(policy, &self.facts.kyverno, &namespace) }
        };
        namespaces.into_iter().map(|name| (name.clone(), mode(&name))).collect()
    }

    fn policy_row(&self, kept: &KeptPolicy, path: &AdmissionPath<'_>, namespace: Option<&Namespace>) -> PolicyRow {
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
        PolicyRow {
            key: kept.key.clone(),
            mode,
            in_force: in_force(policy, path, kyverno, namespace),
            native: policy.native || path.twin(policy).is_some(),
            rules: policy.rules.iter().map(rule_row).collect(),
            policy: Arc::clone(policy),
        }
    }

    /// What modes depend on, as far as it could be found out.
    pub fn kyverno(&self) -> &Kyverno {
        &self.facts.kyverno
    }

    /// The oldest result of each policy, of all or of one.
    pub fn oldest_results(&self, policy: Option<&PolicyKey>) -> Vec<OldestResult> {
        self.ledger.oldest(policy)
    }

    /// What reports say about policies, about all or about one, that nothing verifies. Costs nothing where there is none.
    pub fn claims(&self, policy: Option<&PolicyKey>) -> BTreeMap<PolicyKey, Vec<Claim>> {
        let some = self.ledger.sums().iter().any(|sum| sum.foreign > 0 && policy.is_none_or(|key| *key == sum.key));
        if some { self.ledger.claims(policy) } else { BTreeMap::new() }
    }

    /// All exceptions, without a look at the results.
    pub fn exceptions(&self) -> Vec<Arc<crate::domain::Exception>> {
        self.exceptions.values().cloned().collect()
    }

    /// All exceptions, with the results that they excuse.
    ///
    /// A result names them by namespace and name in its message. Where only their names are known, every exception of that name that names the policy counts.
    pub fn exception_uses(&self) -> ExceptionUses {
        let row =
            |exception: &Arc<crate::domain::Exception>| ExceptionRow { exception: Arc::clone(exception), uses: 0, uses_by: Vec::new() };
        let mut rows: Vec<ExceptionRow> = self.exceptions.values().map(row).collect();
        let named: Vec<String> = rows.iter().map(|row| row.exception.name.clone()).collect();
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, name) in named.iter().enumerate() {
            places.entry(name).or_default().push(at);
        }
        let mut unseen: BTreeMap<(&PolicyKey, String), u64> = BTreeMap::new();
        for excuse in self.ledger.excuses() {
            let mut missed = |name: String| *unseen.entry((excuse.policy, name)).or_default() += excuse.uses;
            let by = excused_by(excuse.names, excuse.message);
            if by.is_empty() {
                missed(String::new());
            }
            for by in by {
                let mut seen = false;
                for &at in places.get(by.name).into_iter().flatten() {
                    let Some(row) = rows.get_mut(at) else { continue };
                    let there = by.namespace.is_none_or(|namespace| namespace == row.exception.namespace);
                    if there && row.exception.names(&excuse.policy.id) {
                        row.add(excuse.policy, excuse.uses);
                        seen = true;
                    }
                }
                if !seen {
                    missed(by.namespace.map_or_else(|| by.name.to_owned(), |namespace| format!("{namespace}/{}", by.name)));
                }
            }
        }
        let unseen = unseen.into_iter().map(|((policy, name), uses)| UnseenException { policy: policy.clone(), name, uses }).collect();
        ExceptionUses { rows, unseen }
    }
}

/// Policies that are known from results alone and have a cell. Users who write reports name as many as they like.
const BARE_CELLS: usize = 10_000;

/// Takes away the cells of policies that are known from results alone, but for the first so many; a note, where there were more.
fn cap(cells: &mut Vec<PolicyCell>) -> Option<String> {
    let all = cells.len();
    let mut bare = 0;
    cells.retain(|cell| {
        bare += usize::from(cell.revision.is_none());
        cell.revision.is_some() || bare <= BARE_CELLS
    });
    let left_out = all - cells.len();
    (left_out > 0)
        .then(|| format!("{left_out} policies that only results name are counted and not listed: there are more than {BARE_CELLS}"))
}

/// Why a policy's numbers are not certain: results that another policy of the same name may have.
fn doubt(policy: &PolicyId, results: u64) -> Arc<str> {
    let name = policy.report_name();
    Arc::from(format!("{results} results in reports name {name}, and several policies may be meant"))
}
