//! `status`: an item per environment.

use super::document::Item;
use super::items::{KindItem, StatusItem};
use super::reason;
use super::rows::{count, production_name, text_or};
use super::scope::Scoped;
use super::table::{Cell, Column, Role};
use crate::domain::{Sync, Tally, Tier};
use crate::fleet::view::{EnvironmentView, KindView, PolicyCell};

/// The item of one environment.
pub fn item(view: &EnvironmentView) -> StatusItem {
    let reports = knows(view, |kind| matches!(kind.group, "wgpolicyk8s.io" | "openreports.io"));
    let policies = knows(view, |kind| is_kyverno(kind) && kind.kind != "PolicyException");
    let exceptions = knows(view, |kind| is_kyverno(kind) && kind.kind == "PolicyException");
    let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().map(str::to_owned);
    StatusItem {
        name: view.name.to_string(),
        tier: view.tier,
        context: view.context.to_string(),
        server: text(&view.server),
        cluster_uid: text(&view.cluster_uid),
        kubernetes: text(&view.kubernetes),
        kyverno: text(&view.kyverno),
        state: view.link.as_str(),
        complete: view.is_certain(),
        scope: scope(view),
        insecure: view.insecure.clone(),
        last_seen: view.last_seen,
        clock_skew_seconds: view.skew.map(|skew| skew.as_secs()),
        kinds: view.kinds.iter().map(kind).collect(),
        findings: reports.then_some(view.findings),
        owners: reports.then_some(view.owners),
        blocked: view.blocked,
        malformed: reports.then_some(view.malformed),
        stale: reports.then_some(view.stale),
        foreign: reports.then_some(view.foreign),
        unverified: reports.then_some(view.unverified),
        disappeared: reports.then_some(view.disappeared),
        policies: policies.then_some(view.policies),
        exceptions: exceptions.then_some(view.exceptions),
        message: reason::message(view).or_else(|| doubts(view).next()),
        notes: view.notes.iter().map(ToString::to_string).chain(doubts(view)).collect(),
        pending: None,
    }
}

/// Whose numbers are unknown although everything was read, and why.
fn doubts(view: &EnvironmentView) -> impl Iterator<Item = String> {
    let doubted = view.cells.iter().filter_map(|cell| Some((&cell.key.id, cell.doubt.as_ref()?)));
    doubted.map(|(policy, doubt)| format!("the numbers of {policy} are unknown: {doubt}"))
}

/// Takes over the numbers of what is in scope. Exceptions and what could not be read belong to the whole environment only.
pub fn narrow_to(item: &mut StatusItem, scoped: &Scoped) {
    let sum = |number: fn(&PolicyCell) -> u64| scoped.cells.iter().map(number).sum::<u64>();
    let tally = |tally: fn(&PolicyCell) -> Tally| {
        scoped.cells.iter().map(tally).fold(Tally::default(), |mut total, one| {
            total += one;
            total
        })
    };
    item.findings = item.findings.map(|_| tally(|cell| cell.findings));
    item.owners = item.owners.map(|_| tally(|cell| cell.owners));
    item.stale = item.stale.map(|_| sum(|cell| cell.stale));
    item.foreign = item.foreign.map(|_| sum(|cell| cell.foreign));
    item.unverified = item.unverified.map(|_| sum(|cell| cell.unverified));
    item.disappeared = item.disappeared.map(|_| sum(|cell| cell.disappeared.as_ref().map_or(0, |one| one.results)));
    item.policies = item.policies.map(|_| scoped.cells.iter().filter(|cell| cell.revision.is_some()).count() as u64);
    item.blocked = scoped.cells.iter().map(PolicyCell::blocks).sum::<Option<u64>>().filter(|_| scoped.blocked_known.is_some());
    item.exceptions = None;
    item.complete = scoped.is_certain();
    if item.message.is_none() && !scoped.reasons.is_empty() {
        item.message = Some(scoped.reasons.join("; "));
    }
}

/// `all`, or the namespaces that are looked at.
fn scope(view: &EnvironmentView) -> Vec<String> {
    if view.namespaces.is_empty() { vec!["all".to_owned()] } else { view.namespaces.to_vec() }
}

fn is_kyverno(kind: &KindView) -> bool {
    matches!(kind.group, "kyverno.io" | "policies.kyverno.io")
}

fn kind(view: &KindView) -> KindItem {
    KindItem { group: view.group, kind: view.kind, state: view.sync.as_str(), objects: has_been_read(view).then_some(view.objects) }
}

/// Whether the kind's number is one: it may still grow, but it is not merely "nobody has looked".
fn has_been_read(kind: &KindView) -> bool {
    kind.objects > 0 || matches!(kind.sync, Sync::Live | Sync::Stale { .. } | Sync::NotInstalled)
}

/// Whether anything is known of the kinds that a number comes from. "Not served" is knowledge only where it is said of all of them.
fn knows(view: &EnvironmentView, belongs: impl Fn(&KindView) -> bool) -> bool {
    let mut kinds = view.kinds.iter().filter(|kind| belongs(kind));
    let any = kinds.clone().any(|kind| kind.sync != Sync::NotInstalled && has_been_read(kind));
    view.complete || any || (kinds.clone().next().is_some() && kinds.all(|kind| kind.sync == Sync::NotInstalled))
}

impl Item for StatusItem {
    type Context = ();

    fn columns((): &()) -> Vec<Column> {
        let mut columns: Vec<Column> = ["environment", "state", "kubernetes", "kyverno"].map(Column::text).into();
        columns.extend(["policies", "exceptions", "fail", "error", "warn", "skip", "pass", "blocked", "stale"].map(Column::number));
        columns
    }

    fn row(&self, (): &(), _ascii: bool) -> Vec<Cell> {
        let state = match (self.state, self.complete) {
            ("live", true) => Cell::new("live", Role::Dim),
            ("live", false) => Cell::new("live, incomplete", Role::Attention),
            (state @ ("connecting" | "listing"), _) => Cell::new(state, Role::Attention),
            (state, _) => Cell::new(state, Role::Fault),
        };
        let tally = |number: fn(&Tally) -> u64, role| count(self.findings.as_ref().map(number), self.complete, role);
        vec![
            production_name(&self.name, self.tier),
            state,
            Cell::plain(text_or(self.kubernetes.as_deref(), "?")),
            Cell::plain(text_or(self.kyverno.as_deref(), "?")),
            count(self.policies, self.complete, Role::Plain),
            count(self.exceptions, self.complete, Role::Plain),
            tally(|tally| tally.fail, Role::Fault),
            tally(|tally| tally.error, Role::Fault),
            tally(|tally| tally.warn, Role::Attention),
            tally(|tally| tally.skip, Role::Plain),
            tally(|tally| tally.pass, Role::Plain),
            count(self.blocked, self.complete, Role::Attention),
            count(self.stale, self.complete, Role::Plain),
        ]
    }

    fn csv_columns() -> Vec<&'static str> {
        let mut columns = vec!["name", "tier", "context", "server", "clusterUid", "kubernetes", "kyverno", "state", "complete", "lastSeen"];
        columns.extend(super::rows::TALLY_COLUMNS);
        columns.extend(super::rows::OWNER_COLUMNS);
        columns.extend(["blocked", "malformed", "stale", "policies", "exceptions", "message"]);
        columns
    }

    fn csv_rows(&self) -> Vec<Vec<String>> {
        use super::rows::{maybe, tally};
        let tier = if self.tier == Tier::Production { "production" } else { "normal" };
        let mut row =
            vec![self.name.clone(), tier.into(), self.context.clone(), maybe(self.server.as_ref()), maybe(self.cluster_uid.as_ref())];
        row.extend([maybe(self.kubernetes.as_ref()), maybe(self.kyverno.as_ref()), self.state.into(), self.complete.to_string()]);
        row.push(maybe(self.last_seen));
        row.extend(tally(self.findings.as_ref()));
        row.extend(tally(self.owners.as_ref()));
        row.extend([self.blocked, self.malformed, self.stale, self.policies, self.exceptions].map(maybe));
        row.push(maybe(self.message.as_ref()));
        vec![row]
    }

    fn identifiers(&self) -> Vec<String> {
        vec![self.name.clone()]
    }
}
