//! `audit`: the journal's entries, and what is wrong with it.

use super::document::Item;
use super::findings::names;
use super::rows::maybe;
use super::table::{Cell, Column, Role};
use crate::domain::journal::{Entry, Flaw, Phase, Signer, Standing, StepResult};
use crate::domain::{PolicyId, clean};
use crate::engine::operations::Compared;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// Which entries are wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Only in these environments; none means all.
    pub environments: Vec<String>,
    /// Only on objects in this namespace.
    pub namespace: Option<String>,
    /// Only on policies of this name: `name`, `kind/name` or `kind/namespace/name`.
    pub policy: Option<String>,
    /// Only of this plan.
    pub plan: Option<String>,
}

impl Wanted {
    /// Whether an entry is.
    pub fn has(&self, entry: &Entry) -> bool {
        let record = &entry.record;
        let object = |fits: &dyn Fn(&PolicyId) -> bool| record.object.as_ref().is_some_and(fits);
        (self.environments.is_empty() || record.environment.as_ref().is_some_and(|name| self.environments.contains(name)))
            && self.namespace.as_ref().is_none_or(|namespace| object(&|id| id.namespace.as_ref() == Some(namespace)))
            && self.policy.as_ref().is_none_or(|policy| object(&|id| names(policy, id)))
            && self.plan.as_ref().is_none_or(|plan| record.plan.as_ref() == Some(plan))
    }
}

/// An entry of the journal.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalItem {
    /// Number.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who: the user of the system, and whom the cluster saw where that is another name.
    pub who: String,
    /// The machine.
    pub host: String,
    /// Environment.
    pub environment: Option<String>,
    /// The uid of the cluster's `kube-system`.
    pub cluster_uid: Option<String>,
    /// The server's URL.
    pub server: Option<String>,
    /// What.
    pub verb: String,
    /// On what.
    pub object: Option<PolicyId>,
    /// The plan's id.
    pub plan: Option<String>,
    /// The gate as it was seen.
    pub gate: Option<Value>,
    /// Before or after.
    pub phase: Phase,
    /// Of an outcome: its intent's number.
    pub intent: Option<u64>,
    /// What became of it; of an intent without an outcome: unknown. None of other intents.
    pub result: Option<StepResult>,
    /// Why.
    pub reason: Option<String>,
    /// The ticket.
    pub ticket: Option<String>,
    /// The archive that undoes it.
    pub undo: Option<String>,
    /// SHA-256 of that archive's manifest.
    pub undo_digest: Option<String>,
    /// Who signed the plan file that was applied.
    pub signer: Option<Signer>,
    /// Where the policy stood.
    pub before: Option<Standing>,
    /// Where it was meant to stand, or stands.
    pub after: Option<Standing>,
    /// Of an intent without an outcome, where it was asked for: what the cluster shows of it.
    pub cluster: Option<ShownItem>,
    /// The hash before.
    pub prev: String,
    /// Its hash.
    pub hash: String,
}

/// What a cluster shows of an intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownItem {
    /// `carried-out`, `not-carried-out`, `other` or `unreadable`.
    pub shown: &'static str,
    /// In words.
    pub text: String,
}

impl From<Compared> for ShownItem {
    fn from(compared: Compared) -> Self {
        Self { shown: compared.shown.as_str(), text: clean(&compared.text).into_owned() }
    }
}

/// The item of an entry; `open` says that it is an intent without an outcome, `compared` what its cluster shows of it.
pub fn item(entry: Entry, open: bool, compared: Option<Compared>) -> JournalItem {
    let Entry { seq, record, prev, hash } = entry;
    JournalItem {
        seq,
        at: record.at,
        who: record.who.to_string(),
        host: record.who.host,
        environment: record.environment,
        cluster_uid: record.cluster_uid,
        server: record.server,
        verb: record.verb.as_str().to_owned(),
        object: record.object,
        plan: record.plan,
        gate: record.gate,
        phase: record.phase,
        intent: record.intent,
        result: if open { Some(StepResult::Unknown) } else { record.result },
        reason: record.reason,
        ticket: record.ticket,
        undo: record.undo,
        undo_digest: record.undo_digest,
        signer: record.signer,
        before: record.before,
        after: record.after,
        cluster: compared.map(ShownItem::from),
        prev,
        hash,
    }
}

/// `audit → enforce`, or what is known of it.
fn change(item: &JournalItem, ascii: bool) -> String {
    let mode = |standing: &Option<Standing>| standing.as_ref().map_or("", |standing| standing.mode.as_str());
    match (mode(&item.before), mode(&item.after)) {
        ("", after) => after.to_owned(),
        (before, "") => before.to_owned(),
        (before, after) if before == after => before.to_owned(),
        (before, after) => format!("{before} {} {after}", if ascii { "->" } else { "→" }),
    }
}

impl Item for JournalItem {
    type Context = ();
    const LONG: bool = true;

    fn columns((): &()) -> Vec<Column> {
        let mut columns = vec![Column::number("seq")];
        columns.extend(["at", "environment", "verb", "object", "change", "phase", "result", "who", "plan", "reason"].map(Column::text));
        columns
    }

    fn row(&self, (): &(), ascii: bool) -> Vec<Cell> {
        let role = match self.result {
            Some(StepResult::Failed | StepResult::Unknown) => Role::Fault,
            Some(StepResult::Refused | StepResult::Skipped) => Role::Attention,
            _ => Role::Plain,
        };
        let text = |text: &Option<String>| Cell::plain(text.as_deref().unwrap_or_default());
        let seconds = self.at.round(jiff::Unit::Second).unwrap_or(self.at);
        vec![
            Cell::plain(&self.seq.to_string()),
            Cell::plain(&seconds.to_string()),
            text(&self.environment),
            Cell::plain(&self.verb),
            Cell::plain(&maybe(self.object.as_ref())),
            Cell::plain(&change(self, ascii)),
            Cell::new(self.phase.as_str(), Role::Dim),
            Cell::new(self.result.map(StepResult::as_str).unwrap_or_default(), role),
            Cell::plain(&self.who),
            text(&self.plan),
            match &self.cluster {
                Some(shown) => Cell::new(&format!("cluster: {}, {}", shown.shown, shown.text), Role::Attention),
                None => text(&self.reason),
            },
        ]
    }

    fn csv_columns() -> Vec<&'static str> {
        let mut columns =
            vec!["seq", "at", "who", "host", "environment", "clusterUid", "server", "verb", "group", "kind", "namespace", "name"];
        columns.extend(["plan", "gate", "phase", "intent", "result", "reason", "ticket", "undo"]);
        columns.extend(["beforeRevision", "beforeMode", "afterRevision", "afterMode", "clusterShows", "clusterText", "prev", "hash"]);
        columns.extend(["undoDigest", "signer", "signerKey"]);
        columns
    }

    fn csv_rows(&self) -> Vec<Vec<String>> {
        let object = self.object.as_ref();
        let standing = |standing: &Option<Standing>| {
            let standing = standing.as_ref();
            [maybe(standing.and_then(|standing| standing.revision.as_ref())), maybe(standing.map(|standing| standing.mode))]
        };
        let mut row = vec![self.seq.to_string(), self.at.to_string(), self.who.clone(), self.host.clone()];
        row.extend([&self.environment, &self.cluster_uid, &self.server].map(|text| maybe(text.as_ref())));
        row.extend([self.verb.clone(), maybe(object.map(|id| &id.group)), maybe(object.map(|id| &id.kind))]);
        row.extend([maybe(object.and_then(|id| id.namespace.as_ref())), maybe(object.map(|id| &id.name)), maybe(self.plan.as_ref())]);
        row.extend([maybe(self.gate.as_ref()), self.phase.as_str().to_owned(), maybe(self.intent), maybe(self.result)]);
        row.extend([&self.reason, &self.ticket, &self.undo].map(|text| maybe(text.as_ref())));
        row.extend(standing(&self.before));
        row.extend(standing(&self.after));
        row.extend([maybe(self.cluster.as_ref().map(|shown| shown.shown)), maybe(self.cluster.as_ref().map(|shown| &shown.text))]);
        row.extend([self.prev.clone(), self.hash.clone()]);
        let signer = self.signer.as_ref();
        row.extend([self.undo_digest.as_ref(), signer.map(|signer| &signer.principal), signer.map(|signer| &signer.key)].map(maybe));
        vec![row]
    }

    fn identifiers(&self) -> Vec<String> {
        vec![self.seq.to_string()]
    }
}

/// Something that is wrong with the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FlawItem {
    /// The file in the journal's folder.
    pub file: String,
    /// The line; none where a whole file is meant.
    pub line: Option<u64>,
    /// What kind: changed, removed, swapped, missing-file, truncated, not-whole, no-head.
    pub problem: &'static str,
    /// What it means.
    pub message: String,
}

impl From<Flaw> for FlawItem {
    fn from(flaw: Flaw) -> Self {
        Self { file: flaw.file, line: flaw.line, problem: flaw.kind.as_str(), message: flaw.means }
    }
}

impl FlawItem {
    /// `2026-11.jsonl:7`, or the file alone.
    pub fn place(&self) -> String {
        self.line.map_or_else(|| self.file.clone(), |line| format!("{}:{line}", self.file))
    }
}

impl Item for FlawItem {
    type Context = ();

    fn columns((): &()) -> Vec<Column> {
        ["place", "problem", "what it means"].map(Column::text).into()
    }

    fn row(&self, (): &(), _ascii: bool) -> Vec<Cell> {
        vec![Cell::plain(&self.place()), Cell::new(self.problem, Role::Fault), Cell::plain(&self.message)]
    }

    fn csv_columns() -> Vec<&'static str> {
        vec!["file", "line", "problem", "message"]
    }

    fn csv_rows(&self) -> Vec<Vec<String>> {
        vec![vec![self.file.clone(), maybe(self.line), self.problem.to_owned(), self.message.clone()]]
    }

    fn identifiers(&self) -> Vec<String> {
        vec![self.place()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;
    use crate::cli::document::{Head, Style, write};
    use crate::domain::journal::{GENESIS, Record, Verb, Who, seal};
    use crate::domain::{Mode, Revision};
    use crate::engine::operations::Shown;
    use serde_json::json;

    fn entry() -> Entry {
        let at = "2026-11-25T23:26:49.123Z".parse().unwrap();
        let who = Who { user: "ana".into(), kubeconfig_user: Some("oidc:ana".into()), host: "lap".into() };
        let mut record = Record::intent(at, who, Verb::Promote);
        record.environment = Some("production".into());
        record.object =
            Some(PolicyId { group: "kyverno.io".into(), kind: "Policy".into(), namespace: Some("team".into()), name: "no-latest".into() });
        record.plan = Some("k3v9".into());
        record.gate = Some(json!({"verdict": "open"}));
        record.reason = Some("red \u{1b}[31m".into());
        record.before = Some(Standing { revision: Some(Revision("abc".into())), mode: Mode::Audit });
        record.after = Some(Standing { revision: Some(Revision("abc".into())), mode: Mode::Enforce });
        seal(record, 1, GENESIS).unwrap().0
    }

    fn print(format: Format, open: bool) -> String {
        print_with(format, open, None)
    }

    fn print_with(format: Format, open: bool, compared: Option<Compared>) -> String {
        let mut out = Vec::new();
        let style = Style { format, color: false, ascii: false, compact: false };
        write(&mut out, style, Head::new("Journal", Timestamp::UNIX_EPOCH, true), (), &[item(entry(), open, compared)]).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_item_has_the_fields_of_the_interface() {
        for (format, text) in [(Format::Json, print(Format::Json, true)), (Format::Yaml, print(Format::Yaml, true))] {
            let document: Value = serde_saphyr::from_str(&text).unwrap();
            let item = &document["items"][0];
            for field in
                ["seq", "at", "who", "host", "environment", "verb", "object", "plan", "gate", "phase", "result", "reason", "prev", "hash"]
            {
                assert!(!item[field].is_null(), "{field} in {format:?}: {text}");
            }
            assert_eq!(item.get("clusterUid"), Some(&Value::Null), "unknown is null, and there");
            assert_eq!((&item["who"], &item["result"], &item["phase"]), (&json!("ana as oidc:ana"), &json!("unknown"), &json!("intent")));
            assert_eq!(item["object"], json!({"group": "kyverno.io", "kind": "Policy", "namespace": "team", "name": "no-latest"}));
        }
    }

    #[test]
    fn tables_and_csv_are_flat_and_drive_no_terminal() {
        let table = print(Format::Table, true);
        assert!(
            table.contains("1   2026-11-25T23:26:49Z   production    promote   Policy/team/no-latest   audit → enforce   intent   unknown"),
            "{table}"
        );
        let csv = print(Format::Csv, false);
        assert_eq!(csv.lines().count(), 2);
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        assert_eq!(reader.headers().unwrap().len(), reader.records().next().unwrap().unwrap().len());
        assert!(csv.contains("abc,audit,abc,enforce"), "{csv}");
        for text in [table, csv, print(Format::Json, false), print(Format::Yaml, false)] {
            assert!(!text.contains('\u{1b}'), "{text}");
        }
        assert_eq!(print(Format::Name, false), "1\n");
        let compared = || Some(Compared { shown: Shown::NotCarriedOut, text: "it is as it was: at audit".to_owned() });
        let table = print_with(Format::Table, true, compared());
        assert!(table.contains("cluster: not-carried-out, it is as it was: at audit"), "{table}");
        let document: Value = serde_json::from_str(&print_with(Format::Json, true, compared())).unwrap();
        assert_eq!(document["items"][0]["cluster"], json!({"shown": "not-carried-out", "text": "it is as it was: at audit"}));
    }

    #[test]
    fn wanted_are_those_that_fit_everything_asked_for() {
        let entry = entry();
        let all = Wanted::default();
        let with = |change: fn(&mut Wanted)| {
            let mut wanted = all.clone();
            change(&mut wanted);
            wanted.has(&entry)
        };
        assert!(all.has(&entry));
        assert!(with(|wanted| wanted.environments = vec!["dev".into(), "production".into()]));
        assert!(!with(|wanted| wanted.environments = vec!["dev".into()]));
        for policy in ["no-latest", "policy/no-latest", "Policy/team/no-latest"] {
            let wanted = Wanted { policy: Some(policy.into()), ..Wanted::default() };
            assert!(wanted.has(&entry), "{policy}");
        }
        assert!(!with(|wanted| wanted.policy = Some("latest".into())));
        assert!(with(|wanted| wanted.namespace = Some("team".into())) && !with(|wanted| wanted.namespace = Some("other".into())));
        assert!(with(|wanted| wanted.plan = Some("k3v9".into())) && !with(|wanted| wanted.plan = Some("k3".into())));
    }
}
