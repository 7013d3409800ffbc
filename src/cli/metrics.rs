//! What `observe --listen` tells Prometheus, in its text format (version 0.0.4).
//!
//! Pure: a view and a recorder's status become text. Numbers that are not known are left out, never zero.

use crate::domain::FindingResult;
use crate::engine::recorder::RecorderStatus;
use crate::fleet::view::{EnvironmentView, FleetView};
use std::fmt::Write as _;

/// The text's `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics.
pub fn text(fleet: &FleetView, status: &RecorderStatus) -> String {
    let mut out = String::new();
    environments(&mut out, fleet);
    findings(&mut out, fleet);
    recorder(&mut out, status);
    out
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// A label's value: backslash, quote and line break are escaped.
fn label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn environments(out: &mut String, fleet: &FleetView) {
    let each = |out: &mut String, name: &str, help: &str, value: fn(&EnvironmentView) -> Option<u64>| {
        head(out, name, "gauge", help);
        for view in &fleet.environments {
            if let Some(value) = value(view) {
                let _ = writeln!(out, "{name}{{environment=\"{}\"}} {value}", label(&view.name));
            }
        }
    };
    each(out, "policydeck_environment_up", "Whether the API server answers.", |view| Some(u64::from(view.link.is_up())));
    each(out, "policydeck_environment_complete", "Whether every number counts everything.", |view| Some(u64::from(view.complete)));
    each(out, "policydeck_policies", "Policies of all kinds.", |view| view.complete.then_some(view.policies));
    each(out, "policydeck_exceptions", "Policy exceptions.", |view| view.complete.then_some(view.exceptions));
    head(out, "policydeck_link_state", "gauge", "State of the link: 1 for the state that holds.");
    for view in &fleet.environments {
        let _ = writeln!(out, "policydeck_link_state{{environment=\"{}\",state=\"{}\"}} 1", label(&view.name), label(view.link.as_str()));
    }
}

fn findings(out: &mut String, fleet: &FleetView) {
    let complete = || fleet.environments.iter().filter(|view| view.complete);
    let labels = |view: &EnvironmentView, cell: &crate::fleet::view::PolicyCell| {
        let id = &cell.key.id;
        format!(
            "environment=\"{}\",source=\"{}\",kind=\"{}\",namespace=\"{}\",policy=\"{}\"",
            label(&view.name),
            label(&cell.key.source),
            label(&id.kind),
            label(id.namespace.as_deref().unwrap_or_default()),
            label(&id.name)
        )
    };
    head(out, "policydeck_findings", "gauge", "Findings by policy and result; only of environments that are complete.");
    for view in complete() {
        // Without reports, or where a result may belong to another policy, the count is unknown: no sample instead of 0.
        for cell in view.cells.iter().filter(|cell| cell.complete && !cell.is_silent()) {
            let labels = labels(view, cell);
            for result in FindingResult::ALL {
                let _ = writeln!(out, "policydeck_findings{{{labels},result=\"{result}\"}} {}", cell.findings.of(result));
            }
        }
    }
    head(out, "policydeck_blocked", "gauge", "Refused admissions whose events the cluster still holds.");
    for view in complete() {
        for cell in view.cells.iter() {
            if let Some(blocked) = cell.blocked {
                let _ = writeln!(out, "policydeck_blocked{{{}}} {blocked}", labels(view, cell));
            }
        }
    }
    head(out, "policydeck_policy_mode", "gauge", "Mode of a policy: 1 for the mode that holds.");
    for view in complete() {
        for cell in view.cells.iter().filter(|cell| cell.revision.is_some()) {
            let _ = writeln!(out, "policydeck_policy_mode{{{},mode=\"{}\"}} 1", labels(view, cell), cell.mode);
        }
    }
}

fn recorder(out: &mut String, status: &RecorderStatus) {
    head(out, "policydeck_coverage_seconds_total", "counter", "How long a family of kinds was watched.");
    for (environment, family, time) in &status.watched {
        let _ = writeln!(
            out,
            "policydeck_coverage_seconds_total{{environment=\"{}\",family=\"{}\"}} {}",
            label(environment),
            family.as_str(),
            time.as_secs()
        );
    }
    head(out, "policydeck_history_notes_total", "counter", "Notes written to the history.");
    let _ = writeln!(out, "policydeck_history_notes_total {}", status.notes);
    head(out, "policydeck_history_writable", "gauge", "Whether the history can be written.");
    let _ = writeln!(out, "policydeck_history_writable {}", u8::from(status.trouble.is_none()));
    if let Some(at) = status.last_write {
        head(out, "policydeck_history_last_write_timestamp_seconds", "gauge", "When the history was written last.");
        let _ = writeln!(out, "policydeck_history_last_write_timestamp_seconds {}", at.as_second());
    }
}
