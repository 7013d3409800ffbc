//! `audit`: the journal, shown, checked and handed on. No cluster is asked.

use crate::cli::args::{AuditCommand, AuditShow, Globals};
use crate::cli::document::{API_VERSION, Document, Head, Style};
use crate::cli::journal::{FlawItem, JournalItem, Wanted, item};
use crate::cli::{Exit, Problem, document};
use crate::domain::clean;
use crate::domain::journal::{Checked, Phase};
use crate::files::journal::Journal;
use crate::files::{self, FileError, Paths};
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::path::Path;

pub(super) fn run(command: &AuditCommand, globals: &Globals) -> Result<Exit, Problem> {
    only_own_flags(globals)?;
    let journal = Journal::open(&Paths::find().map_err(failed)?.journal());
    match command {
        AuditCommand::Show(args) => show(&journal, args, globals),
        AuditCommand::Verify => verify(&journal, globals),
        AuditCommand::Export { out } => export(&journal, out),
    }
}

fn failed(error: FileError) -> Problem {
    Problem::failed(error.what)
}

/// To take a filter and not to filter would be a lie.
fn only_own_flags(globals: &Globals) -> Result<(), Problem> {
    match globals.filter.fields().next() {
        None => Ok(()),
        Some(_) => Err(Problem::usage(
            "the journal is filtered by --since, --environment, --namespace, --policy and --plan, not by --filter".into(),
        )),
    }
}

fn style(globals: &Globals) -> Style {
    Style { format: globals.output, color: false, ascii: globals.ascii, compact: false }
}

fn show(journal: &Journal, args: &AuditShow, globals: &Globals) -> Result<Exit, Problem> {
    let wanted = Wanted {
        environments: globals.environments.clone(),
        namespace: globals.namespace.clone(),
        policy: args.policy.clone(),
        plan: args.plan.clone(),
    };
    let now = Timestamp::now();
    let since = args.since.map_or(Timestamp::MIN, |since| now.checked_sub(since).unwrap_or(Timestamp::MIN));
    // What became of an intent stands behind it, so that the journal is read twice: it may be longer than memory.
    let mut open = BTreeSet::new();
    let mut damage = Vec::new();
    for entry in journal.read(since..).map_err(failed)? {
        match entry {
            Ok(entry) => {
                if entry.record.phase == Phase::Intent {
                    open.insert(entry.seq);
                } else if let Some(intent) = entry.record.intent {
                    open.remove(&intent);
                }
            }
            Err(error) => damage.push(error.what),
        }
    }
    let mut out = BufWriter::new(io::stdout());
    let head = Head::new("Journal", now, damage.is_empty());
    let mut document: Document<'_, JournalItem> = Document::begin(&mut out, style(globals), head, ())?;
    for entry in journal.read(since..).map_err(failed)?.flatten().filter(|entry| wanted.has(entry)) {
        let unanswered = open.contains(&entry.seq);
        document.item(&item(entry, unanswered))?;
    }
    document.finish()?;
    drop(out);
    let mut err = io::stderr();
    for what in &damage {
        writeln!(err, "{}", clean(what))?;
    }
    if !journal.exists() {
        writeln!(err, "there is no journal yet: {}", journal.folder().display())?;
    }
    Ok(Exit::of(damage.is_empty()))
}

fn verify(journal: &Journal, globals: &Globals) -> Result<Exit, Problem> {
    let checked = journal.verify().map_err(failed)?;
    let items: Vec<FlawItem> = checked.flaws.iter().cloned().map(FlawItem::from).collect();
    document::write(&mut io::stdout(), style(globals), Head::new("JournalCheck", Timestamp::now(), true), (), &items)?;
    writeln!(io::stderr(), "{}", summary(journal, &checked))?;
    Ok(if items.is_empty() { Exit::Done } else { Exit::Failed })
}

fn summary(journal: &Journal, checked: &Checked) -> String {
    let folder = journal.folder().display();
    let last = checked.last.as_ref().map(|(seq, hash)| format!("; the last one is {seq} with the hash {hash}")).unwrap_or_default();
    let Checked { entries, flaws, .. } = checked;
    match flaws.len() {
        0 if *entries == 0 => format!("{folder}: there is no journal yet"),
        0 => format!("{folder}: {entries} entries, all as they were written{last}"),
        1 => format!("{folder}: {entries} entries, and 1 flaw{last}"),
        count => format!("{folder}: {entries} entries, and {count} flaws{last}"),
    }
}

/// The lines as they are, after a line that says where they end.
fn export(journal: &Journal, out: &Path) -> Result<Exit, Problem> {
    let mut lines = Vec::new();
    let checked = journal
        .walk(|line| {
            lines.extend_from_slice(line);
            lines.push(b'\n');
            Ok(())
        })
        .map_err(failed)?;
    let Some((last, hash)) = &checked.last else {
        return Err(Problem::failed(format!("there is nothing to export: {} has no entries", journal.folder().display())));
    };
    let now = Timestamp::now();
    let head = json!({
        "apiVersion": API_VERSION,
        "kind": "JournalExport",
        "generatedAt": now.round(jiff::Unit::Millisecond).unwrap_or(now),
        "complete": checked.flaws.is_empty(),
        "entries": checked.entries,
        "lastSeq": last,
        "lastHash": hash,
        "problems": checked.flaws.iter().cloned().map(FlawItem::from).collect::<Vec<_>>(),
    });
    let mut content = format!("{head}\n").into_bytes();
    content.append(&mut lines);
    files::write_atomic(out, &content).map_err(failed)?;
    writeln!(io::stdout(), "{}", out.display())?;
    writeln!(io::stderr(), "{}", summary(journal, &checked))?;
    Ok(if checked.flaws.is_empty() { Exit::Done } else { Exit::Failed })
}
