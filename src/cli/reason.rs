//! Why an environment is not complete, in words.

use crate::domain::{Link, Sync, clean};
use crate::fleet::view::{EnvironmentView, KindView, NO_REPORTS, lacks_reports};

/// Where the rights that are missing can be read up.
const VIEWER: &str = "Ask for the ClusterRole policydeck-viewer: assets/rbac/viewer.yaml";

/// Why the numbers of an environment are not complete; empty where they are. Without the environment's name.
pub fn reasons(view: &EnvironmentView) -> Vec<String> {
    if view.complete {
        return Vec::new();
    }
    let mut out: Vec<String> = link(&view.link).into_iter().collect();
    // Where nothing answers, the kinds have nothing to add.
    if view.link.is_up() && !matches!(view.link, Link::Denied { .. }) {
        out.extend(denied(view));
        let essential = view.kinds.iter().filter(|kind| kind.essential);
        out.extend(essential.filter_map(kind));
        out.extend(lacks_reports(&view.kinds).then(|| NO_REPORTS.to_owned()));
    }
    if out.is_empty() {
        out.push("not everything has been read yet".into());
    }
    out
}

/// One sentence for the document: why it is not complete, or that there is no Kyverno.
pub fn message(view: &EnvironmentView) -> Option<String> {
    let reasons = reasons(view);
    if !reasons.is_empty() {
        return Some(reasons.join("; "));
    }
    let mut kyverno = view.kinds.iter().filter(|kind| matches!(kind.group, "kyverno.io" | "policies.kyverno.io")).peekable();
    let missing = kyverno.peek().is_some() && kyverno.all(|kind| kind.sync == Sync::NotInstalled);
    missing.then(|| "Kyverno is not installed (no kyverno.io API). Policies and reports will appear here when it is.".into())
}

fn link(link: &Link) -> Option<String> {
    Some(match link {
        Link::Live | Link::Listing => return None,
        Link::Connecting => "no answer yet".into(),
        Link::Stale { since } => format!("no sign of life since {since}; numbers are from then"),
        Link::Retrying { since: Some(since), why, .. } => format!("lost: {}; numbers are from {since}", clean(why)),
        Link::Retrying { since: None, why, .. } | Link::Unreachable { why } => clean(why).into_owned(),
        Link::LoginNeeded { why } => format!("login needed: {}", clean(why)),
        Link::Denied { why } => with_remedy(&clean(why)),
    })
}

/// All kinds that may not be read, in one sentence with the server's words for the first.
fn denied(view: &EnvironmentView) -> Option<String> {
    let mut kinds = view.kinds.iter().filter(|kind| kind.essential).filter_map(|kind| match &kind.sync {
        Sync::Denied { why } => Some((kind, why)),
        _ => None,
    });
    let (_, why) = kinds.next()?;
    // Kinds of the same name live in several groups.
    let more: Vec<String> =
        kinds.map(|(kind, _)| if kind.group.is_empty() { kind.kind.to_owned() } else { format!("{}.{}", kind.kind, kind.group) }).collect();
    let more = if more.is_empty() { String::new() } else { format!(", nor {}", more.join(", ")) };
    let why = clean(why);
    // What is missing belongs before the remedy, where the words bring one along.
    match why.split_once(". Ask for") {
        Some((what, remedy)) => Some(format!("{what}{more}. Ask for{remedy}")),
        None => Some(with_remedy(&format!("{}{more}", why.trim_end_matches('.')))),
    }
}

fn with_remedy(why: &str) -> String {
    if why.contains("policydeck-viewer") { why.to_owned() } else { format!("{}. {VIEWER}", why.trim_end_matches('.')) }
}

fn kind(kind: &KindView) -> Option<String> {
    match &kind.sync {
        Sync::Live | Sync::NotInstalled => kind.lack().map(|lack| format!("{} {lack}", kind.kind)),
        Sync::Denied { .. } => None,
        Sync::Connecting => Some(format!("{} not read yet", kind.kind)),
        Sync::Listing { seen, total: Some(total) } => Some(format!("listing {} {seen} of {total}", kind.kind)),
        Sync::Listing { seen, total: None } => Some(format!("listing {} {seen} so far", kind.kind)),
        Sync::Stale { since } => Some(format!("{} not followed since {since}", kind.kind)),
        Sync::Retrying { why } => Some(format!("{} cannot be read: {}", kind.kind, clean(why))),
        Sync::Unread { why } => Some(format!("{} unknown: {}", kind.kind, clean(why))),
    }
}

/// Whether an environment that is not complete will not become so by waiting.
pub fn is_final(view: &EnvironmentView) -> bool {
    match view.link {
        Link::Denied { .. } | Link::LoginNeeded { .. } | Link::Unreachable { .. } => true,
        Link::Connecting | Link::Retrying { .. } | Link::Stale { .. } => false,
        Link::Live | Link::Listing => {
            let open = |kind: &&KindView| kind.essential && !kind.is_whole();
            let mut open = view.kinds.iter().filter(open).peekable();
            let somewhat = open.peek().is_some() || lacks_reports(&view.kinds);
            // What was left out stays so until it is listed again, which may be never.
            somewhat && open.all(|kind| kind.sync.is_complete() || matches!(kind.sync, Sync::Denied { .. } | Sync::Unread { .. }))
        }
    }
}
