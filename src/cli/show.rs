//! Running the commands that show the fleet: wait, ask, write, and say how it ended.

use super::args::{Format, GateArgs, Show, StatusArgs};
use super::document::{self, Document, Head, Style};
use super::fail_on::FailOn;
use super::findings::NotOne;
use super::items::{FindingItem, PolicyItem, StatusItem};
use super::scope::{Scope, Scoped, narrow, results};
use super::settle::settle;
use super::source::{GateQuestion, Source};
use super::{Exit, Problem, findings, flags, gate, policies, status, violations};
use crate::domain::{self, Disregard, PolicyId, clean};
use crate::engine::operations::GitRoad;
use crate::engine::{HistoryReader, JournalReader, troubles};
use crate::fleet::filter::{Field, Verdict};
use crate::fleet::query::FindingQuery;
use crate::fleet::view::FleetView;
use crate::ops::position::NoStep;
use crate::ops::road::Road;
use jiff::Timestamp;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// What a command needs to know beside the engine.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is wanted.
    pub scope: Scope,
    /// How to print.
    pub style: Style,
    /// How long to wait for completeness.
    pub wait: Duration,
    /// How many environments there are.
    pub environments: usize,
    /// The whole road, whatever part of it is looked at.
    pub road: Road,
    /// Where the step has to be that a gate leads to; empty where that was not said.
    pub into: Vec<String>,
    /// What was recorded over time, where that is known.
    pub history: Option<HistoryReader>,
    /// How repositories are read, where that is possible.
    pub git: Option<GitRoad>,
    /// Where operations were written down, where that is known.
    pub journal: Option<JournalReader>,
    /// Who decides that a claim is disregarded; `None` where the configuration forbids it.
    pub decides: Option<String>,
    /// Whether the output is a terminal, so that `--watch` may draw over what it drew.
    pub terminal: bool,
}

/// Where a command writes.
pub struct Streams<'s> {
    /// Documents.
    pub out: &'s mut dyn Write,
    /// Messages.
    pub err: &'s mut dyn Write,
}

/// Runs one command to its end. Reads the clock: it is as near to the user as a screen.
pub async fn show(command: &Show, source: &impl Source, request: &Request, streams: &mut Streams<'_>) -> Result<Exit, Problem> {
    match command {
        Show::Status(args) => {
            if args.watch {
                watch(args, source, request, streams).await
            } else {
                one_status(args, source, request, streams).await
            }
        }
        Show::Violations => show_violations(source, request, streams).await,
        Show::Findings { policy } => show_findings(policy.as_deref(), source, request, streams).await,
        Show::Policies => show_policies(source, request, streams).await,
        Show::Gate(args) => show_gate(args, source, request, streams).await,
    }
}

/// The items of all environments in scope; where that is not all of them, their numbers are counted again from what is.
async fn status_items(source: &impl Source, fleet: &FleetView, request: &Request) -> Vec<StatusItem> {
    let scope = &request.scope;
    let wanted = fleet.environments.iter().filter(|view| scope.filter.matches_environment(&view.name, view.tier));
    let mut items: Vec<StatusItem> = wanted.map(|view| status::item(view)).collect();
    let only_environments = scope.filter.fields().all(|field| matches!(field, Some(Field::Env | Field::Tier)));
    if scope.namespace.is_none() && only_environments {
        return items;
    }
    for (item, scoped) in items.iter_mut().zip(narrow(source, fleet, scope, Timestamp::now()).await) {
        status::narrow_to(item, &scoped);
    }
    items
}

async fn one_status(args: &StatusArgs, source: &impl Source, request: &Request, streams: &mut Streams<'_>) -> Result<Exit, Problem> {
    let fleet = settle(source.fleet(), request.environments, request.wait, streams.err).await?;
    let mut items = status_items(source, &fleet, request).await;
    say_missing_namespace(source, &fleet, &request.scope, streams).await?;
    if let Some(git) = &request.git {
        for (environment, pending) in source.pending(&request.road, git).await {
            let Some(item) = items.iter_mut().find(|item| item.name == *environment) else { continue };
            match pending {
                Ok(committed) => {
                    if let Some(((policy, why), others)) = committed.unclear.split_first() {
                        let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
                        item.notes.push(format!("whether a commit of {policy}{more} is pending is unknown: {why}"));
                    }
                    item.pending = Some(committed.pending);
                }
                Err(why) => item.notes.push(format!("what is pending is unknown: {why}")),
            }
        }
    }
    let complete = items.iter().all(|item| item.complete);
    let head = Head::new("Status", Timestamp::now(), complete);
    document::write(streams.out, request.style, head, (), &items)?;
    if let Some(words) = request.scope.in_words() {
        writeln!(streams.err, "{words}")?;
    }
    for item in &items {
        if let Some(message) = &item.message {
            writeln!(streams.err, "{}: {message}", item.name)?;
        }
        for insecure in &item.insecure {
            writeln!(streams.err, "{}: {}", item.name, insecure.in_words())?;
        }
        for pending in item.pending.iter().flatten() {
            let mode = pending.mode.map(|mode| format!(" ({mode})")).unwrap_or_default();
            let short: String = pending.commit.chars().take(10).collect();
            writeln!(streams.err, "{}: {}: commit {short}{mode} is pending", item.name, clean(&pending.policy.to_string()))?;
        }
    }
    say_records(request, streams).await?;
    Ok(args.fail_on.as_ref().map_or(Exit::of(complete), |expression| judge(expression, &items, complete)))
}

/// Says where the history cannot be read or something of the journal is missing.
async fn say_records(request: &Request, streams: &mut Streams<'_>) -> Result<(), Problem> {
    for trouble in troubles(request.history.as_ref(), request.journal.as_ref()).await {
        writeln!(streams.err, "{}", clean(&trouble))?;
    }
    Ok(())
}

fn judge(expression: &FailOn, items: &[StatusItem], complete: bool) -> Exit {
    let verdicts: Vec<Option<bool>> = items.iter().map(|item| expression.holds(item)).collect();
    if verdicts.contains(&Some(true)) { Exit::Closed } else { Exit::of(complete && !verdicts.contains(&None)) }
}

/// How long changes are gathered before a document is written.
const GATHER: Duration = Duration::from_millis(50);

/// Writes a document whenever something changed, until interrupted or until the expression holds.
async fn watch(args: &StatusArgs, source: &impl Source, request: &Request, streams: &mut Streams<'_>) -> Result<Exit, Problem> {
    if matches!(request.style.format, Format::Csv | Format::Name) {
        return Err(Problem::usage("--watch writes documents one after the other: use -o table, json or yaml".into()));
    }
    let style = Style { compact: true, ..request.style };
    let mut fleet = source.fleet();
    let mut written: Option<Vec<StatusItem>> = None;
    loop {
        let view = std::sync::Arc::clone(&fleet.borrow_and_update());
        let items = status_items(source, &view, request).await;
        let news = written.as_ref().is_none_or(|before| without_heartbeat(before) != without_heartbeat(&items));
        let complete = view.environments.len() >= request.environments && items.iter().all(|item| item.complete);
        if news && !items.is_empty() {
            if request.terminal && style.format == Format::Table {
                // Home, and clear what is below: the block is drawn over the last one.
                streams.out.write_all(b"\x1b[H\x1b[J")?;
            } else if written.is_some() && style.format == Format::Table {
                streams.out.write_all(b"\n")?;
            }
            document::write(streams.out, style, Head::new("Status", Timestamp::now(), complete), (), &items)?;
            if let Some(expression) = &args.fail_on
                && judge(expression, &items, complete) == Exit::Closed
            {
                return Ok(Exit::Closed);
            }
            written = Some(items);
        }
        if fleet.changed().await.is_err() {
            return Ok(Exit::of(complete));
        }
        sleep(GATHER).await;
    }
}

/// A sign of life alone is no news.
fn without_heartbeat(items: &[StatusItem]) -> Vec<StatusItem> {
    items.iter().map(|item| StatusItem { last_seen: None, clock_skew_seconds: None, ..item.clone() }).collect()
}

async fn settled(
    source: &impl Source,
    request: &Request,
    streams: &mut Streams<'_>,
) -> Result<(std::sync::Arc<FleetView>, Vec<Scoped>), Problem> {
    let fleet = settle(source.fleet(), request.environments, request.wait, streams.err).await?;
    let scoped = narrow(source, &fleet, &request.scope, Timestamp::now()).await;
    say_missing_namespace(source, &fleet, &request.scope, streams).await?;
    Ok((fleet, scoped))
}

/// Says where the namespace in scope does not exist: nothing is wrong in what is not there.
async fn say_missing_namespace(source: &impl Source, fleet: &FleetView, scope: &Scope, streams: &mut Streams<'_>) -> Result<(), Problem> {
    let Some(namespace) = &scope.namespace else { return Ok(()) };
    let mut missing = Vec::new();
    for view in fleet.environments.iter().filter(|view| scope.filter.matches_environment(&view.name, view.tier)) {
        if source.has_namespace(&view.name, namespace).await == Some(false) {
            missing.push(&*view.name);
        }
    }
    if !missing.is_empty() {
        writeln!(streams.err, "namespace {} not found in {}", clean(namespace), missing.join(", "))?;
    }
    Ok(())
}

/// Says why environments are not complete; the exit status that belongs to it.
fn explain(environments: &[Scoped], request: &Request, streams: &mut Streams<'_>) -> Result<Exit, Problem> {
    if let Some(words) = request.scope.in_words() {
        writeln!(streams.err, "{words}")?;
    }
    for environment in environments {
        for reason in &environment.reasons {
            writeln!(streams.err, "{}: {reason}", environment.name)?;
        }
        for cell in &environment.cells {
            if let Some(doubt) = &cell.doubt {
                writeln!(
                    streams.err,
                    "{}: {}: its numbers are unknown: {}",
                    environment.name,
                    clean(&cell.key.id.to_string()),
                    clean(doubt)
                )?;
            }
        }
    }
    Ok(Exit::of(environments.iter().all(Scoped::is_certain)))
}

async fn show_violations(source: &impl Source, request: &Request, streams: &mut Streams<'_>) -> Result<Exit, Problem> {
    let (_, environments) = settled(source, request, streams).await?;
    let items = violations::items(&environments, request.style.format == Format::Table);
    let road = environments.iter().map(|environment| (environment.name.clone(), environment.tier)).collect();
    let complete = environments.iter().all(Scoped::is_certain);
    document::write(streams.out, request.style, Head::new("Violations", Timestamp::now(), complete), road, &items)?;
    explain(&environments, request, streams)
}

async fn show_policies(source: &impl Source, request: &Request, streams: &mut Streams<'_>) -> Result<Exit, Problem> {
    let (_, mut environments) = settled(source, request, streams).await?;
    let mut items: Vec<PolicyItem> = Vec::new();
    for environment in &mut environments {
        match source.policies(&environment.name, request.scope.namespace.clone()).await {
            Ok(rows) => {
                let in_scope = |key| environment.cells.iter().any(|cell| &cell.key == key);
                let rows = rows.iter().filter(|row| in_scope(&row.key));
                items.extend(rows.map(|row| policies::item(&environment.name, row)));
            }
            Err(failure) => {
                environment.complete = false;
                environment.reasons.push(failure.what);
            }
        }
    }
    let complete = environments.iter().all(Scoped::is_certain);
    document::write(streams.out, request.style, Head::new("Policies", Timestamp::now(), complete), (), &items)?;
    explain(&environments, request, streams)
}

async fn show_findings(policy: Option<&str>, source: &impl Source, request: &Request, streams: &mut Streams<'_>) -> Result<Exit, Problem> {
    let fleet = settle(source.fleet(), request.environments, request.wait, streams.err).await?;
    say_missing_namespace(source, &fleet, &request.scope, streams).await?;
    let now = Timestamp::now();
    let filter = &request.scope.filter;
    let mut environments: Vec<Scoped> = Vec::new();
    for view in fleet.environments.iter().filter(|view| filter.matches_environment(&view.name, view.tier)) {
        let mut scoped = Scoped::whole(view);
        scoped.cells.retain(|cell| filter.matches_cell(&view.name, view.tier, cell, now) != Verdict::No);
        environments.push(scoped);
    }
    if let Some(argument) = policy {
        // A policy without findings that pass exists all the same, so names are looked for among all.
        let id = choose(argument, &fleet, &environments)?;
        for environment in &mut environments {
            environment.cells.retain(|cell| *cell.key.id == id);
        }
    }
    let complete = environments.iter().all(Scoped::is_certain);
    let shows_idle = matches!(request.style.format, Format::Json | Format::Yaml);
    let mut document: Document<'_, FindingItem> = Document::begin(streams.out, request.style, Head::new("Findings", now, complete), ())?;
    for environment in &mut environments {
        // One policy at a time: what is in memory is never more than the rows of one.
        for cell in environment.cells.clone() {
            if cell.findings.total() == 0 && cell.stale == 0 && cell.foreign == 0 && cell.complete {
                continue;
            }
            let idle = if shows_idle { findings::idle(source, &environment.name, &cell).await } else { findings::Idle::default() };
            let query = FindingQuery {
                policy: Some(cell.key),
                namespace: request.scope.namespace.clone(),
                results: results(filter),
                by_owner: false,
                with_stale: filter.wants_stale(),
                with_foreign: filter.wants_foreign(),
                with_report: false,
                counted: false,
            };
            match source.findings(&environment.name, query).await {
                Ok(rows) => {
                    for row in rows {
                        if filter.matches_finding(&environment.name, environment.tier, &row, now) {
                            let owner = row.owner.clone().filter(|_| row.result.is_fault() && row.resource.kind == "ReplicaSet");
                            let idle = owner.and_then(|owner| idle.get(&(Arc::clone(&row.own_rule), owner)).cloned());
                            document.item(&FindingItem { idle, ..findings::item(&environment.name, row) })?;
                        }
                    }
                }
                Err(failure) => {
                    environment.complete = false;
                    environment.reasons.push(failure.what);
                }
            }
        }
    }
    document.finish()?;
    explain(&environments, request, streams)
}

async fn show_gate(args: &GateArgs, source: &impl Source, request: &Request, streams: &mut Streams<'_>) -> Result<Exit, Problem> {
    let fleet = settle(source.fleet(), request.environments, request.wait, streams.err).await?;
    let policy = args.policy.as_ref().map(|policy| choose(policy, &fleet, &[])).transpose()?;
    let now = Timestamp::now();
    let disregard = disregards(args, request)?;
    let question = GateQuestion {
        road: &request.road,
        history: request.history.as_ref(),
        policy: policy.as_ref(),
        to: args.to.as_deref(),
        git: request.git.as_ref(),
        disregard: &disregard,
    };
    let judged = source.gates(question, now).await;
    let Some(policy) = policy else { return show_gates(&fleet, judged, now, request, streams).await };
    let judged = judged.into_iter().next().map_or_else(|| Err(NoStep::Invalid("it is not seen".to_owned())), |(_, gate)| gate);
    let judged = match judged {
        Err(NoStep::Ended) => return show_no_gate(&policy, now, request, streams),
        judged => judged.map_err(|why| Problem::usage(format!("{policy}: {why}")))?,
    };
    if let Some(why) = flags::elsewhere(&request.into, &format!("promote {policy}"), &judged.to.environment) {
        return Err(Problem::usage(why));
    }
    let head = Head::new("Gate", now, judged.verdict != domain::Verdict::Unknown);
    if request.style.format == Format::Table {
        writeln!(streams.out, "{}", clean(&gate::sentence(&judged)))?;
        let rows: Vec<gate::ConditionRow> = judged.conditions.iter().cloned().map(gate::ConditionRow).collect();
        document::write(streams.out, request.style, head, (), &rows)?;
        for line in gate::evidence(&judged) {
            writeln!(streams.out, "{}", clean(&line))?;
        }
    } else {
        document::write(streams.out, request.style, head, (), &[gate::GateItem(judged.clone())])?;
    }
    say_records(request, streams).await?;
    if let Some(from) = &judged.from
        && let Some(cell) = fleet.environment(&from.environment).and_then(|view| view.cell_of(&policy))
    {
        for ((_, owner), set) in findings::idle(source, &from.environment, cell).await {
            let (owner, set) = (clean(&owner.to_string()).into_owned(), clean(&set.to_string()).into_owned());
            writeln!(
                streams.err,
                "{}: {owner} itself passes; only its old {set} violates. It is kept for a rollback: delete it, or fix it there",
                from.environment
            )?;
        }
    }
    Ok(gate::exit(judged.verdict))
}

/// The claims that the gate is to be judged without.
fn disregards(args: &GateArgs, request: &Request) -> Result<Vec<Disregard>, Problem> {
    let reason = args.reason.as_deref().map(str::trim).unwrap_or_default();
    let Some(first) = args.disregard.first() else { return Ok(Vec::new()) };
    let Some(by) = &request.decides else {
        let object = clean(&first.to_string()).into_owned();
        return Err(Problem::usage(format!("{object} cannot be disregarded: the configuration forbids it (acknowledge_unknown = false)")));
    };
    if reason.is_empty() {
        return Err(Problem::usage("a claim is disregarded for a reason: --reason".to_owned()));
    }
    let one = |object: &domain::EvidenceRef| Disregard { object: object.clone(), content: None, by: by.clone(), reason: reason.to_owned() };
    Ok(args.disregard.iter().map(one).collect())
}

/// A policy at the end of the pipeline has no gate, which is no fault of the question.
fn show_no_gate(policy: &PolicyId, now: Timestamp, request: &Request, streams: &mut Streams<'_>) -> Result<Exit, Problem> {
    let says = clean(&format!("{policy}: {}", NoStep::Ended)).into_owned();
    if request.style.format == Format::Table {
        writeln!(streams.out, "{says}")?;
    } else {
        document::write::<gate::GateItem>(streams.out, request.style, Head::new("Gate", now, true), (), &[])?;
        writeln!(streams.err, "{says}")?;
    }
    Ok(Exit::Done)
}

/// The gate of every policy that can be promoted into one of the chosen environments; the exit status is that of the worst.
async fn show_gates(
    fleet: &FleetView,
    judged: Vec<(PolicyId, Result<domain::Gate, NoStep>)>,
    now: Timestamp,
    request: &Request,
    streams: &mut Streams<'_>,
) -> Result<Exit, Problem> {
    let (mut gates, mut without) = (Vec::new(), Vec::new());
    for (policy, gate) in judged {
        match gate {
            Ok(gate) if request.into.is_empty() || request.into.iter().any(|chosen| **chosen == *gate.to.environment) => gates.push(gate),
            Ok(_) => {}
            Err(why) => without.push(format!("{}: {}", clean(&policy.to_string()), clean(&why.to_string()))),
        }
    }
    let complete = fleet.environments.iter().all(|view| view.complete);
    let items: Vec<gate::GateItem> = gates.into_iter().map(gate::GateItem).collect();
    let exit = match gate::exit_of_all(&items) {
        Exit::Done if !complete => Exit::Unknown,
        exit => exit,
    };
    let head = Head::new("Gate", now, complete && items.iter().all(|item| item.0.verdict != domain::Verdict::Unknown));
    document::write(streams.out, request.style, head, (), &items)?;
    for line in without {
        writeln!(streams.err, "{line}")?;
    }
    say_records(request, streams).await?;
    Ok(exit)
}

/// The policy that the argument means among what passes the filter, else among all.
pub fn choose(argument: &str, fleet: &FleetView, environments: &[Scoped]) -> Result<PolicyId, Problem> {
    let passing = environments.iter().flat_map(|environment| environment.cells.iter().map(|cell| &*cell.key.id));
    let all = fleet.environments.iter().flat_map(|view| view.cells.iter().map(|cell| &*cell.key.id));
    let found = match findings::find(argument, passing) {
        Err(NotOne::None(_)) => findings::find(argument, all),
        found => found,
    };
    found.cloned().map_err(|why| match why {
        NotOne::Several(candidates) => Problem::usage(format!(
            "several policies are called `{argument}`; name one by kind/name or kind/namespace/name, or filter by source:\n  {}",
            candidates.join("\n  ")
        )),
        NotOne::None(near) => {
            let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let complete = fleet.environments.iter().all(|view| view.complete);
            let caveat = if complete { "" } else { " (not every environment could be read)" };
            let exit = if complete { Exit::Failed } else { Exit::Unknown };
            Problem { exit, message: format!("there is no policy `{argument}`{caveat}{hint}") }
        }
    })
}
