//! Draws one finding, and the live object behind it.
//!
//! What lives here: the lower pane below the list. What does not: asking (`finding`).

use super::board::Board;
use super::finding::{Finding, Object};
use super::rows_view::{crumbs, result_role};
use crate::domain::{ResourceRef, Tier, clean};
use crate::fleet::query::BlockedRow;
use crate::tui::pen::{Pen, Shade};
use crate::tui::screens::View;
use crate::tui::text::{fit_clean, pad, wrap};
use crate::tui::theme::Role;
use crate::tui::words;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

const LABEL: usize = 12;
type Piece = (String, Role);

/// ```text
///  disallow-latest-tag › staging › checkout › Deployment/web
///  ✖ fail  validate-image-tag · high · Best Practices
///
///  message     validation error: Using a mutable image tag e.g. 'latest' is not allowed. rule
///              validate-image-tag failed at path /spec/containers/0/image/
///  resource    apps/v1 Deployment checkout/web
///  evaluated   11 min ago, Nov 23 14:21:07
///  elsewhere   dev         · no such finding
///              PRODUCTION  ✖ fail, evaluated 8 min ago
/// ```
pub(super) fn draw(finding: &mut Finding, board: &Board, view: &View<'_>, area: Rect, buffer: &mut Buffer) {
    let environment = board.environments.iter().find(|e| e.name == finding.target.environment).cloned();
    let row = &finding.row;
    let resource = clean(&row.resource.to_string()).into_owned();
    let namespace = clean(&row.resource.namespace).into_owned();
    let mut further: Vec<&str> = [namespace.as_str(), resource.as_str()].into_iter().filter(|s| !s.is_empty()).collect();
    if finding.showing_object {
        further.push("live object");
    }
    let mut pen = Pen::new(buffer, view.theme, area, 0);
    crumbs(&mut pen, view, &finding.target.key, environment.as_deref(), &further);
    let body = Rect { y: area.y.saturating_add(1), height: area.height.saturating_sub(1), ..area };
    if finding.showing_object {
        object(finding, environment.is_some_and(|e| e.tier == Tier::Production), view, body, buffer);
    } else {
        let columns = usize::from(body.width);
        let lines = match &finding.refused {
            Some(refused) => refusal_lines(refused, view, columns),
            None => lines(finding, board, view, columns),
        };
        let top = finding.scroll[0].min(lines.len().saturating_sub(usize::from(body.height)));
        finding.scroll[0] = top;
        for (at, line) in lines.iter().skip(top).take(usize::from(body.height)).enumerate() {
            let mut pen = Pen::new(buffer, view.theme, body, u16::try_from(at).unwrap_or(u16::MAX));
            pen.put(" ", Role::Text);
            for (text, role) in line {
                pen.put(text, *role);
            }
        }
    }
}

fn labelled(out: &mut Vec<Vec<Piece>>, label: &str, text: &str, role: Role, columns: usize) {
    for (i, line) in wrap(&clean(text), columns.saturating_sub(LABEL + 2)).into_iter().enumerate() {
        out.push(vec![(pad(if i == 0 { label } else { "" }, LABEL), Role::Muted), (line, role)]);
    }
}

fn reference(resource: &ResourceRef) -> String {
    let place = if resource.namespace.is_empty() { resource.name.clone() } else { format!("{}/{}", resource.namespace, resource.name) };
    format!("{} {} {place}", resource.api_version, resource.kind).trim().to_owned()
}

/// What is known of a refused admission: it has no result, no object, and nothing like it elsewhere.
fn refusal_lines(refused: &BlockedRow, view: &View<'_>, columns: usize) -> Vec<Vec<Piece>> {
    let times = if refused.count == 1 { String::new() } else { format!("  {} times", words::number(refused.count)) };
    let mut out = vec![vec![(format!("{} refused", view.theme.symbols.refused), Role::Attention), (times, Role::Text)], Vec::new()];
    labelled(&mut out, "message", if refused.message.is_empty() { "none" } else { &refused.message }, Role::Text, columns);
    labelled(&mut out, "resource", &reference(&refused.resource), Role::Text, columns);
    if let Some(at) = refused.at {
        let last = if refused.count == 1 { "when" } else { "last" };
        labelled(&mut out, last, &format!("{} ago, {}", words::span(at, view.now), words::date(at, view.zone)), Role::Text, columns);
    }
    labelled(&mut out, "source", "Kyverno's event, which the cluster keeps for an hour unless told otherwise", Role::Muted, columns);
    out
}

fn lines(finding: &Finding, board: &Board, view: &View<'_>, columns: usize) -> Vec<Vec<Piece>> {
    let (row, symbols) = (&finding.row, view.theme.symbols);
    let production = board.environments.iter().any(|e| e.name == finding.target.environment && e.tier == Tier::Production);
    let mut out = Vec::new();
    if finding.gone {
        out.push(vec![("No longer reported; this is what it said last.".to_owned(), Role::Attention)]);
    }
    let facts: Vec<_> = [&*row.rule, row.severity.map_or("", crate::domain::Severity::as_str), &*row.category]
        .into_iter()
        .filter(|s| !s.is_empty())
        .map(|s| clean(s).into_owned())
        .collect();
    out.push(vec![
        (format!("{} {}", symbols.result(row.result), row.result), result_role(row, production)),
        (format!("  {}", facts.join(&format!(" {} ", symbols.middot))), Role::Text),
    ]);
    out.push(Vec::new());
    let message = if row.message.is_empty() { "none" } else { &*row.message };
    labelled(&mut out, "message", message, Role::Text, columns);
    labelled(&mut out, "resource", &reference(&row.resource), Role::Text, columns);
    if row.resources > 1 {
        labelled(
            &mut out,
            "",
            &format!(
                "stands for {} resources ({} shows them one by one)",
                words::number(u64::from(row.resources)),
                view.keys.of(super::RAW)
            ),
            Role::Muted,
            columns,
        );
    }
    if let Some(owner) = row.owner.as_ref().filter(|o| **o != row.resource) {
        labelled(&mut out, "owner", &reference(owner), Role::Text, columns);
    }
    if let Some(set) = &row.idle {
        let text = format!("only the old {set} violates: {} itself passes", row.resource);
        labelled(&mut out, "", &text, Role::Attention, columns);
    }
    if row.owner_guessed {
        labelled(&mut out, "", "guessed by name: owners may not be read here", Role::Attention, columns);
    }
    if let Some(at) = row.evaluated_at {
        let text = words::evaluated(at, view.now, view.zone);
        labelled(&mut out, "evaluated", &text, Role::Text, columns);
    }
    if !row.exception.is_empty() {
        labelled(&mut out, "exception", &row.exception, Role::Accent, columns);
    }
    if row.stale {
        labelled(&mut out, "stale", "the policy or the rule no longer exists", Role::Attention, columns);
    }
    for (i, (key, value)) in row.properties.iter().enumerate() {
        labelled(&mut out, if i == 0 { "properties" } else { "" }, &format!("{key}: {value}"), Role::Text, columns);
    }
    elsewhere(finding, board, view, columns, &mut out);
    out
}

fn elsewhere(finding: &Finding, board: &Board, view: &View<'_>, columns: usize, out: &mut Vec<Vec<Piece>>) {
    let symbols = view.theme.symbols;
    let Some(found) = &finding.elsewhere else {
        out.push(vec![(pad("elsewhere", LABEL), Role::Muted), ("asking the other environments".to_owned(), Role::Muted)]);
        return;
    };
    let width = found
        .iter()
        .filter_map(|(name, _)| board.environments.iter().find(|e| e.name == *name))
        .map(|e| crate::tui::text::width(&words::label(e)));
    let width = width.max().unwrap_or(0).min(columns / 3);
    for (i, (name, result)) in found.iter().enumerate() {
        let environment = board.environments.iter().find(|e| e.name == *name);
        let label = environment.map_or_else(|| clean(name).into_owned(), |e| words::label(e));
        let production = environment.is_some_and(|e| e.tier == Tier::Production);
        let known = environment.is_some_and(|e| e.complete || crate::tui::screens::seen::once_complete(e));
        let (text, role) = match result {
            Err(failure) => (format!("? {}", clean(&failure.what)), Role::Muted),
            Ok(None) if !known => ("? not known, the environment has not been read completely".to_owned(), Role::Muted),
            Ok(None) => (format!("{} no such result", symbols.nothing), Role::Muted),
            Ok(Some(row)) => {
                let when = row.evaluated_at.map_or_else(String::new, |at| format!(", evaluated {} ago", words::span(at, view.now)));
                (format!("{} {}{when}", symbols.result(row.result), row.result), result_role(row, production))
            }
        };
        let shown = fit_clean(&label, width, symbols.cut);
        let blank = " ".repeat((width + 2).saturating_sub(crate::tui::text::width(&shown)));
        out.push(vec![
            (pad(if i == 0 { "elsewhere" } else { "" }, LABEL), Role::Muted),
            (shown, if production { Role::Production } else { Role::Text }),
            (blank, Role::Text),
            (text, role),
        ]);
    }
}

/// The live object as YAML, the line that the message names marked.
fn object(finding: &mut Finding, production: bool, view: &View<'_>, body: Rect, buffer: &mut Buffer) {
    let symbols = view.theme.symbols;
    let role = result_role(&finding.row, production);
    let note = |buffer: &mut Buffer, line: u16, text: &str, role: Role| {
        Pen::new(buffer, view.theme, body, line).put(" ", Role::Text).rest_clean(text, role);
    };
    let (top, reveals) = (finding.scroll[1], finding.reveals());
    match &finding.object {
        Object::NotAsked => {}
        Object::Asked(_) => note(buffer, 0, &format!("fetching {} from the API server", reference(&finding.row.resource)), Role::Muted),
        Object::Failed(failure) => {
            note(buffer, 0, &failure.what, Role::Fault);
            note(buffer, 1, &failure.hint, Role::Text);
        }
        Object::Here { lines, failing, path, replaced, secret } => {
            let mut head = 0;
            if secret.is_some() {
                let key = view.keys.of(super::REVEAL);
                let (text, role) = if reveals {
                    (format!("The values of Secrets are shown; they are not copied or saved. {key} hides them."), Role::Attention)
                } else {
                    (format!("The values of Secrets are hidden. {key} shows them."), Role::Muted)
                };
                note(buffer, head, &text, role);
                head += 1;
            }
            let lines = secret.as_ref().filter(|_| reveals).unwrap_or(lines);
            if *replaced {
                note(buffer, head, "Another object of the same name: the one that was judged no longer exists.", Role::Attention);
                head += 1;
            }
            if let (Some(path), None) = (path, failing) {
                note(buffer, head, &format!("The message names {path}, which is not in the object now."), Role::Attention);
                head += 1;
            }
            let body = Rect { y: body.y.saturating_add(head), height: body.height.saturating_sub(head), ..body };
            let height = usize::from(body.height);
            let top = top.min(lines.len().saturating_sub(height));
            for (at, line) in lines.iter().enumerate().skip(top).take(height) {
                let mut pen = Pen::new(buffer, view.theme, body, u16::try_from(at - top).unwrap_or(u16::MAX));
                let marked = failing.as_ref().filter(|spot| spot.line == at);
                if marked.is_some() {
                    pen.shade(Shade::Weak);
                }
                pen.put(if marked.is_some() { symbols.point } else { " " }, role).put(" ", Role::Text);
                pen.put(&line.lead, Role::Muted).put(&line.key, Role::Accent);
                if !line.key.is_empty() && !line.value.is_empty() {
                    pen.put(" ", Role::Text);
                }
                // What is there is at fault only if nothing is missing.
                let at_fault = marked.is_some_and(|spot| spot.missing.is_none());
                pen.put(&line.value, if at_fault { role } else { Role::Text });
                if let Some(spot) = marked {
                    let words = spot.missing.as_ref().map_or_else(|| "fails here".to_owned(), |part| format!("{part} is missing here"));
                    pen.put("   ", Role::Text).put(&format!("{} {words}", symbols.left), role).finish();
                }
            }
            finding.scroll[1] = top;
        }
    }
}
