//! Running the commands that show the fleet: wait, ask, write, and say how it ended.

use super::args::{Format, GateArgs, Show, StatusArgs};
use super::document::{self, Document, Head, Style};
use super::fail_on::FailOn;
use super::findings::NotOne;
use super::items::{FindingItem, PolicyItem, StatusItem};
use super::scope::{Scope, Scoped, narrow, results};
use super::settle::settle;
use super::source::{GateQuestion, Source};
use super::{Exit, Problem, findings, gate, policies, status, violations};
use crate::domain::{self, PolicyId, clean};
use crate::engine::HistoryReader;
use crate::fleet::filter::{Field, Verdict};
use crate::fleet::query::FindingQuery;
use crate::fleet::view::FleetView;
use crate::ops::road::Road;
use jiff::Timestamp;
use std::io::Write;
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
    /// What was recorded over time, where that is known.
    pub history: Option<HistoryReader>,
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
            only_environment_fields(request)?;
            if args.watch { watch(args, source, request, streams).await } else { one_status(args, source, request, streams).await }
        }
        Show::Violations => show_violations(source, request, streams).await,
        Show::Findings { policy } => show_findings(policy.as_deref(), source, request, streams).await,
        Show::Policies => show_policies(source, request, streams).await,
        Show::Gate(args) => show_gate(args, source, request, streams).await,
    }
}

/// `status` has nothing that other fields could be asked of, and to ignore them would be a lie.
fn only_environment_fields(request: &Request) -> Result<(), Problem> {
    let foreign = request.scope.filter.fields().find(|field| !matches!(field, Some(Field::Env | Field::Tier)));
    match foreign {
        None => Ok(()),
        Some(field) => {
            let what = field.map_or_else(|| "plain text".to_owned(), |field| format!("`{}`", field.as_str()));
            Err(Problem::usage(format!("status can be filtered by `env` and `tier`, not by {what}. `violations` and `findings` can.")))
        }
    }
}

fn status_items(fleet: &FleetView, request: &Request) -> Vec<StatusItem> {
    let wanted = fleet.environments.iter().filter(|view| request.scope.filter.matches_environment(&view.name, view.tier));
    wanted.map(|view| status::item(view)).collect()
}

async fn one_status(args: &StatusArgs, source: &impl Source, request: &Request, streams: &mut Streams<'_>) -> Result<Exit, Problem> {
    let fleet = settle(source.fleet(), request.environments, request.wait).await;
    let items = status_items(&fleet, request);
    let complete = items.iter().all(|item| item.complete);
    let head = Head::new("Status", Timestamp::now(), complete);
    document::write(streams.out, request.style, head, (), &items)?;
    for item in &items {
        if let Some(message) = &item.message {
            writeln!(streams.err, "{}: {message}", item.name)?;
        }
    }
    Ok(args.fail_on.as_ref().map_or(Exit::of(complete), |expression| judge(expression, &items, complete)))
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
        let items = status_items(&view, request);
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
    items.iter().map(|item| StatusItem { last_seen: None, ..item.clone() }).collect()
}

async fn settled(source: &impl Source, request: &Request) -> (std::sync::Arc<FleetView>, Vec<Scoped>) {
    let fleet = settle(source.fleet(), request.environments, request.wait).await;
    let scoped = narrow(source, &fleet, &request.scope, Timestamp::now()).await;
    (fleet, scoped)
}

/// Says why environments are not complete; the exit status that belongs to it.
fn explain(environments: &[Scoped], streams: &mut Streams<'_>) -> Result<Exit, Problem> {
    for environment in environments {
        for reason in &environment.reasons {
            writeln!(streams.err, "{}: {reason}", environment.name)?;
        }
    }
    Ok(Exit::of(environments.iter().all(|environment| environment.complete)))
}

async fn show_violations(source: &impl Source, request: &Request, streams: &mut Streams<'_>) -> Result<Exit, Problem> {
    let (_, environments) = settled(source, request).await;
    let items = violations::items(&environments, request.style.format == Format::Table);
    let road = environments.iter().map(|environment| (environment.name.clone(), environment.tier)).collect();
    let complete = environments.iter().all(|environment| environment.complete);
    document::write(streams.out, request.style, Head::new("Violations", Timestamp::now(), complete), road, &items)?;
    explain(&environments, streams)
}

async fn show_policies(source: &impl Source, request: &Request, streams: &mut Streams<'_>) -> Result<Exit, Problem> {
    let (_, mut environments) = settled(source, request).await;
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
    let complete = environments.iter().all(|environment| environment.complete);
    document::write(streams.out, request.style, Head::new("Policies", Timestamp::now(), complete), (), &items)?;
    explain(&environments, streams)
}

async fn show_findings(policy: Option<&str>, source: &impl Source, request: &Request, streams: &mut Streams<'_>) -> Result<Exit, Problem> {
    let fleet = settle(source.fleet(), request.environments, request.wait).await;
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
    let complete = environments.iter().all(|environment| environment.complete);
    let mut document: Document<'_, FindingItem> = Document::begin(streams.out, request.style, Head::new("Findings", now, complete), ())?;
    for environment in &mut environments {
        // One policy at a time: what is in memory is never more than the rows of one.
        for cell in std::mem::take(&mut environment.cells) {
            if cell.findings.total() == 0 && cell.stale == 0 && cell.complete {
                continue;
            }
            let query = FindingQuery {
                policy: Some(cell.key),
                namespace: request.scope.namespace.clone(),
                results: results(filter),
                by_owner: false,
                with_stale: filter.wants_stale(),
            };
            match source.findings(&environment.name, query).await {
                Ok(rows) => {
                    for row in rows {
                        if filter.matches_finding(&environment.name, environment.tier, &row, now) {
                            document.item(&findings::item(&environment.name, row))?;
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
    explain(&environments, streams)
}

async fn show_gate(args: &GateArgs, source: &impl Source, request: &Request, streams: &mut Streams<'_>) -> Result<Exit, Problem> {
    let fleet = settle(source.fleet(), request.environments, request.wait).await;
    let policy = choose(&args.policy, &fleet, &[])?;
    let now = Timestamp::now();
    let question = GateQuestion { road: &request.road, history: request.history.as_ref(), policy: &policy, to: args.to.as_deref() };
    let judged = source.gate(question, now).await.map_err(|why| Problem::usage(format!("{policy}: {why}")))?;
    let head = Head::new("Gate", now, judged.verdict != domain::Verdict::Unknown);
    if request.style.format == Format::Table {
        writeln!(streams.out, "{}", clean(&gate::sentence(&judged)))?;
        let rows: Vec<gate::ConditionRow> = judged.conditions.iter().cloned().map(gate::ConditionRow).collect();
        document::write(streams.out, request.style, head, (), &rows)?;
    } else {
        document::write(streams.out, request.style, head, (), &[gate::GateItem(judged.clone())])?;
    }
    Ok(gate::exit(judged.verdict))
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
