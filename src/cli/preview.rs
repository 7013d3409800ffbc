//! A plan in words, before somebody agrees to it: where first, then why it may, what changes, what to know, and how it is taken back.

use super::gate::{evidence, sentence};
use super::rows::maybe;
use crate::domain::{Condition, Gate, Tier, clean};
use crate::engine::operations::Outcome;
use crate::ops::plan::{CommitPlan, Plan, Step, Verb};
use crate::ops::rules::needs_second_eyes;
use crate::ops::written::Written;
use crate::settings::EnvironmentSettings;
use std::fmt::Write as _;

/// The preview of a plan, with what the servers said of it where they were asked.
pub fn preview(plan: &Plan, environments: &[EnvironmentSettings], rehearsed: Option<&Outcome>) -> String {
    let mut out = String::new();
    let mut line = |label: &str, text: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{label:<7} {}", clean(text));
    };
    let target = plan.steps.first().map(|step| step.environment.as_str()).unwrap_or_default();
    let settings = environments.iter().find(|one| one.name == target);
    let basis = plan.basis.iter().find(|basis| basis.environment == target);
    let production = if settings.is_some_and(|one| one.tier == Tier::Production) { "PRODUCTION " } else { "" };
    let what = match &plan.steps[..] {
        [] => String::new(),
        [one] => one.object.to_string(),
        // One plan of several policies names them all where it begins.
        several => format!("{}: {}", several.len(), several.iter().map(|step| step.object.to_string()).collect::<Vec<_>>().join(", ")),
    };
    line(plan.operation.as_str(), &format!("{what} in {production}{target}"));
    if let Some(basis) = basis {
        let context = settings.and_then(|one| one.context.as_deref()).unwrap_or("in cluster");
        line("where", &format!("context {context} · {} · cluster {}", basis.server, basis.cluster_uid));
    }
    line("by", &format!("{}{}", plan.made_by, plan.ticket.as_ref().map(|ticket| format!(" · ticket {ticket}")).unwrap_or_default()));
    if let Some(words) = hands(plan, settings) {
        line("signed", &words);
    }
    let several = plan.gates().count() > 1;
    for words in plan.gates().filter_map(|one| gate(one, several)) {
        line("gate", &words);
    }
    for step in &plan.steps {
        line("change", &format!("{} {} in {}", step.verb.as_str(), step.object, step.environment));
        if let Verb::Commit { commit } = &step.verb {
            of_commit(commit, &mut line);
            continue;
        }
        written(step, &mut line);
    }
    for line_of_impact in &plan.impact {
        line("impact", line_of_impact);
    }
    for note in &plan.notes {
        line("note", note);
    }
    for warning in &plan.warnings {
        line("warning", warning);
    }
    for step in rehearsed.into_iter().flat_map(|outcome| &outcome.steps) {
        line("server", &format!("{}: {}", step.environment, step.reason));
        for warning in &step.warnings {
            line("kyverno", warning);
        }
    }
    line("undo", plan.undo.words());
    line("plan", &plan.id);
    out
}

/// Who made the plan and who signed it, where an environment wants a second person.
fn hands(plan: &Plan, settings: Option<&EnvironmentSettings>) -> Option<String> {
    let maker = plan.maker.as_ref().map(|maker| format!("made by {maker} on {}", maker.host)).unwrap_or_default();
    match &plan.signer {
        Some(signer) => Some(format!("by {signer}; {maker}")),
        None => settings.filter(|settings| needs_second_eyes(plan, settings)).map(|_| format!("no; {maker}")),
    }
}

/// All of what a step writes to an object: as YAML, as a unified diff, or place by place where there is no object afterwards.
fn written(step: &Step, line: &mut impl FnMut(&str, &str)) {
    let Some(text) = Written::of(step) else {
        step.diff.iter().for_each(|diff| line("", &format!("  {diff}")));
        return;
    };
    let lines = text.folded.as_ref().map_or(&text.full, |folded| &folded.lines);
    for text in lines {
        line("", &format!("  {text}"));
    }
    match &text.folded {
        Some(folded) => line("", &format!("  {} (the file of --plan-out has them)", folded.left_out)),
        None if text.full.is_empty() => line("", "  nothing changes"),
        None => {}
    }
}

/// Where it is pushed to, every file's diff, and the message, word for word.
fn of_commit(commit: &CommitPlan, line: &mut impl FnMut(&str, &str)) {
    line("git", &format!("{} · branch {} · on top of {}", commit.repo, commit.branch, commit.base.get(..10).unwrap_or(&commit.base)));
    let push = if commit.is_proposal() {
        format!("a branch of its own, {}: open a pull request afterwards; nothing changes before it is merged", commit.to)
    } else {
        format!("{} itself: the tool that reads it applies it by itself", commit.to)
    };
    line("push", &push);
    for file in &commit.files {
        line("file", &file.path);
        file.diff.lines().for_each(|text| line("", &format!("  {text}")));
    }
    commit.message.lines().enumerate().for_each(|(at, text)| line(if at == 0 { "message" } else { "" }, &format!("  {text}")));
}

/// A gate in one line, with its policy's name where there are several.
fn gate(gate: &serde_json::Value, several: bool) -> Option<String> {
    let verdict = gate.get("verdict")?.as_str()?.to_uppercase();
    let conditions = gate.get("conditions")?.as_array()?;
    let name = gate.pointer("/policy/name").and_then(serde_json::Value::as_str).filter(|_| several);
    let name = name.map(|name| format!("{name} ")).unwrap_or_default();
    let state = |condition: &serde_json::Value| {
        let text = |key: &str| condition.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        format!("{} {}", text("name"), text("state"))
    };
    let states: Vec<String> = conditions.iter().map(state).collect();
    let reason = gate.get("acknowledged").and_then(serde_json::Value::as_str);
    let acknowledged = reason.map(|reason| format!("; unknown acknowledged: {reason}")).unwrap_or_default();
    Some(format!("{name}{verdict}: {}{acknowledged}{}", states.join(" · "), disregarded(gate)))
}

/// `; disregarded event/default/x (by ana: forged)`, for each claim that is left out.
fn disregarded(gate: &serde_json::Value) -> String {
    let all = gate.get("disregarded").and_then(serde_json::Value::as_array).into_iter().flatten();
    let one = |one: &serde_json::Value| {
        let text = |key: &str| one.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
        format!("; disregarded {} (by {}: {})", text("ref"), text("by"), text("reason"))
    };
    all.map(one).collect()
}

/// A gate that is not open, condition by condition.
pub fn closed(gate: &Gate) -> String {
    let mut out = format!("{}\n", clean(&sentence(gate)));
    let row = |condition: &Condition| {
        let value = maybe(condition.value);
        let limit = condition.limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
        format!("  {:<8}{:<11} {value}{limit}  {}\n", condition.state.as_str(), condition.name.as_str(), clean(&condition.reason))
    };
    out.extend(gate.conditions.iter().map(row));
    out.extend(evidence(gate).iter().map(|line| format!("{}\n", clean(line))));
    out
}
