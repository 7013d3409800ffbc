//! `audit`: the journal, shown, checked and handed on. No cluster is asked, unless somebody wants to know what became of intents without an outcome.

use super::{load, wiring};
use crate::cli::args::{AuditCommand, AuditShow, Globals};
use crate::cli::document::{API_VERSION, Document, Head, Style};
use crate::cli::journal::{FlawItem, JournalItem, Wanted, item};
use crate::cli::settle::settle;
use crate::cli::{Exit, Problem, document};
use crate::domain::clean;
use crate::domain::journal::{Checked, Phase, Record, StepResult};
use crate::engine::operations::{Compared, Shown};
use crate::files::journal::Journal;
use crate::files::{self, FileError};
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;

pub(super) fn run(command: &AuditCommand, globals: &Globals) -> Result<Exit, Problem> {
    let journal = journal()?;
    match command {
        AuditCommand::Show(args) => {
            let read = Read::of(&journal, args, globals)?;
            show(&journal, &read, &BTreeMap::new(), globals)
        }
        AuditCommand::Verify => verify(&journal, globals),
        AuditCommand::Export { out } => export(&journal, out),
    }
}

/// Whether a command needs clusters.
pub(super) fn asks_clusters(command: &AuditCommand) -> bool {
    matches!(command, AuditCommand::Show(args) if args.compare)
}

/// `audit show --compare`: each intent without an outcome beside what its cluster shows.
pub(super) async fn run_with_clusters(command: &AuditCommand, globals: &Globals) -> Result<Exit, Problem> {
    let AuditCommand::Show(args) = command else { return run(command, globals) };
    let journal = journal()?;
    let read = Read::of(&journal, args, globals)?;
    let compared = compare(&read, globals).await?;
    show(&journal, &read, &compared, globals)
}

fn journal() -> Result<Journal, Problem> {
    Ok(Journal::open(&wiring::own_paths()?.journal()))
}

/// What the clusters show, by the intents' numbers.
async fn compare(read: &Read, globals: &Globals) -> Result<BTreeMap<u64, Compared>, Problem> {
    let mut compared = BTreeMap::new();
    if read.open.is_empty() {
        return Ok(compared);
    }
    // The journal may name environments that are not configured any more: each says so by itself.
    let loaded = load::load(&Globals { environments: Vec::new(), ..globals.clone() }, wiring::actions())?;
    for warning in &loaded.warnings {
        writeln!(io::stderr(), "{warning}")?;
    }
    let engine = wiring::start_engine(&loaded, false);
    settle(engine.fleet(), loaded.options.environments.len(), globals.wait, &mut io::stderr()).await?;
    for (seq, intent) in &read.open {
        compared.insert(*seq, engine.compare(intent, Timestamp::now()).await);
    }
    Ok(compared)
}

fn failed(error: FileError) -> Problem {
    Problem::failed(error.what)
}

fn style(globals: &Globals) -> Style {
    Style { format: globals.output, color: false, ascii: globals.ascii, compact: false }
}

/// What is shown, and what became of it.
struct Read {
    wanted: Wanted,
    since: Timestamp,
    /// Wanted entries of which nobody knows what became: intents without an outcome, and outcomes that say so. By number.
    open: BTreeMap<u64, Record>,
    /// Lines that cannot be read, in words.
    damage: Vec<String>,
}

impl Read {
    /// What became of an intent stands behind it, so that the journal is read twice: it may be longer than memory.
    fn of(journal: &Journal, args: &AuditShow, globals: &Globals) -> Result<Self, Problem> {
        let wanted = Wanted {
            environments: globals.environments.clone(),
            namespace: globals.namespace.clone(),
            policy: args.policy.clone(),
            plan: args.plan.clone(),
        };
        let since = args.since.map_or(Timestamp::MIN, |since| Timestamp::now().checked_sub(since).unwrap_or(Timestamp::MIN));
        let (mut open, mut damage) = (BTreeMap::new(), Vec::new());
        for entry in journal.read(since..).map_err(failed)? {
            match entry {
                Ok(entry) => match (entry.record.phase, entry.record.intent) {
                    (Phase::Intent, _) if wanted.has(&entry) => drop(open.insert(entry.seq, entry.record)),
                    (Phase::Outcome, intent) => {
                        intent.map(|intent| open.remove(&intent));
                        // What was sent and never answered is as open.
                        if entry.record.result == Some(StepResult::Unknown) && wanted.has(&entry) {
                            open.insert(entry.seq, entry.record);
                        }
                    }
                    (Phase::Intent, _) => {}
                },
                Err(error) => damage.push(error.what),
            }
        }
        Ok(Self { wanted, since, open, damage })
    }
}

fn show(journal: &Journal, read: &Read, compared: &BTreeMap<u64, Compared>, globals: &Globals) -> Result<Exit, Problem> {
    let Read { wanted, since, open, damage } = read;
    let complete = damage.is_empty() && compared.values().all(|compared| compared.shown != Shown::Unreadable);
    let mut out = BufWriter::new(io::stdout());
    let head = Head::new("Journal", Timestamp::now(), complete);
    let mut document: Document<'_, JournalItem> = Document::begin(&mut out, style(globals), head, ())?;
    for entry in journal.read(*since..).map_err(failed)?.flatten().filter(|entry| wanted.has(entry)) {
        let (unanswered, shown) = (open.contains_key(&entry.seq), compared.get(&entry.seq).cloned());
        document.item(&item(entry, unanswered, shown))?;
    }
    document.finish()?;
    drop(out);
    let mut err = io::stderr();
    for what in damage {
        writeln!(err, "{}", clean(what))?;
    }
    if !journal.exists() {
        writeln!(err, "there is no journal yet: {}", journal.folder().display())?;
    }
    if !open.is_empty() && compared.is_empty() {
        let (count, have) = if open.len() == 1 { ("1 operation", "has") } else { (&*format!("{} operations", open.len()), "have") };
        writeln!(err, "{count} {have} no known outcome; `policydeck audit show --compare` asks the clusters what became of that")?;
    }
    Ok(Exit::of(complete))
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
