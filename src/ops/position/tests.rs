//! Where a revision is and what is in its way, fleet by fleet.

use super::*;
use crate::domain::{Link, Sync};
use crate::fleet::view::KindView;
use crate::settings::{EnvironmentSettings, Step, StepMode};
use crate::testing::fleet;
use jiff::SignedDuration;
use std::fmt::Write as _;

/// dev audit, enforce → qac audit → prd audit, enforce.
fn road() -> Road {
    let of = |name: &str, modes: &[StepMode]| {
        let steps = modes.iter().map(|mode| Step::new(*mode, SignedDuration::ZERO)).collect();
        EnvironmentSettings { name: name.to_owned(), steps, ..EnvironmentSettings::of_context(name) }
    };
    let (audit, enforce) = (StepMode::Audit, StepMode::Enforce);
    Road::new(vec![of("dev", &[audit, enforce]), of("qac", &[audit]), of("prd", &[audit, enforce])])
}

fn policy() -> PolicyId {
    PolicyId { group: "kyverno.io".into(), kind: "ClusterPolicy".into(), namespace: None, name: "p".into() }
}

/// `A enforce` is revision A in enforce; `-` is nothing; `?` an environment that was never read; `lost A audit` one that is gone since.
fn fleet_of(text: &str) -> FleetView {
    let environments = text.split(',').zip(["dev", "qac", "prd"]).map(|(says, name)| {
        let says = says.trim();
        let (lost, says) = says.strip_prefix("lost ").map_or((false, says), |says| (true, says));
        let cell = says.split_once(' ').map(|(revision, mode)| {
            let modes = [Mode::Audit, Mode::Enforce, Mode::Mixed, Mode::Warn, Mode::Off, Mode::NotReady, Mode::Absent, Mode::Unknown];
            let mode = modes.into_iter().find(|one| one.as_str() == mode).unwrap();
            let revision = (revision != "?").then(|| Revision(revision.to_owned()));
            crate::fleet::view::PolicyCell { revision, ..fleet::cell("p", mode) }
        });
        let mut view = fleet::environment(name, cell.into_iter().collect());
        let sync = if says == "?" { Sync::Connecting } else { Sync::Live };
        view.kinds = vec![KindView { group: "kyverno.io", kind: "ClusterPolicy", sync, objects: 1, essential: true, left_out: 0 }];
        if lost {
            view.link = Link::Connecting;
        }
        Arc::new(view)
    });
    FleetView { environments: environments.collect() }
}

/// `dev·audit → dev·enforce`, what is replaced, how environments differ, and which later ones have it.
fn told(fleet: &str, to: Option<&str>) -> String {
    let road = road();
    let travel = match road.travel(&policy(), &fleet_of(fleet), to) {
        Ok(travel) => travel,
        Err(why) => return why.to_string(),
    };
    let from = match travel.from {
        Standing::Nowhere => "nowhere".to_owned(),
        Standing::On(step) => road.stop(step).to_string(),
        Standing::Beside { environment, mode } => format!("{} beside {mode}", road.name(environment)),
    };
    let revision = travel.revision.map(|revision| format!("{revision} ")).unwrap_or_default();
    let mut text = format!("{revision}{from} → {}", road.stop(travel.to)).replace(" · ", "·");
    if travel.ended {
        text.push_str(" (end)");
    }
    let short = |there: &There| format!("{} {}", there.revision.as_ref().map_or("?", |revision| &revision.0), there.mode);
    if let Some(replaced) = &travel.replaces {
        let _ = write!(text, ", replaces {}", short(replaced));
    }
    for drift in &travel.drift {
        let what = match &drift.what {
            Differs::Unread(_) => "unread".to_owned(),
            Differs::Unclear(there) => format!("unclear {}", short(there)),
            Differs::Missing => "missing".to_owned(),
            Differs::Pending(pending) => format!("pending {}", pending.commit),
            Differs::Repository(_) => "repository".to_owned(),
            Differs::Other { there, next } => format!("has {} which goes to {next}", short(there)),
            Differs::Weaker { mode, wanted } => format!("{mode} below {wanted}"),
        };
        let _ = write!(text, ", {} {what}", drift.environment);
    }
    for (environment, there) in &travel.ahead {
        let _ = write!(text, ", {environment} ahead {}", short(there));
    }
    text
}

#[test]
fn the_next_step_is_of_the_revision_that_travels() {
    for (fleet, expected) in [
        ("-, -, -", "nowhere → dev·audit"),
        ("A audit, -, -", "A dev·audit → dev·enforce"),
        ("A enforce, -, -", "A dev·enforce → qac·audit"),
        ("A enforce, A audit, -", "A qac·audit → prd·audit"),
        ("A enforce, A audit, A audit", "A prd·audit → prd·enforce"),
        ("A enforce, A audit, A enforce", "it is fully rolled out: there is no further step"),
        // A new revision in dev travels through all steps of a policy that is in production.
        ("B audit, A audit, A enforce", "B dev·audit → dev·enforce, qac ahead A audit, prd ahead A enforce"),
        ("B enforce, A audit, A enforce", "B dev·enforce → qac·audit, replaces A audit, prd ahead A enforce"),
        ("B enforce, B audit, A enforce", "B qac·audit → prd·audit, replaces A enforce"),
        ("B enforce, B audit, A audit", "B qac·audit → prd·audit, replaces A audit"),
        ("B enforce, B audit, B audit", "B prd·audit → prd·enforce"),
        // Three at once: the first environment's goes first.
        ("C enforce, B audit, A enforce", "C dev·enforce → qac·audit, replaces B audit, prd ahead A enforce"),
        // A hotfix in the middle, or something done by hand.
        ("A enforce, B audit, A enforce", "A dev·enforce → qac·audit, replaces B audit, prd ahead A enforce"),
        ("A enforce, -, A enforce", "A dev·enforce → qac·audit, prd ahead A enforce"),
        // It is not where it should have been first.
        ("-, A audit, -", "A qac·audit → prd·audit, dev missing"),
        ("-, -, A audit", "A prd·audit → prd·enforce, dev missing, qac missing"),
        ("-, -, A enforce", "A prd·enforce → prd·enforce (end), dev missing, qac missing"),
        ("-, A audit, A enforce", "A prd·enforce → prd·enforce (end), dev missing"),
        // Demoted, or made weaker, in an earlier environment: that comes first.
        ("A audit, A audit, A enforce", "A dev·audit → dev·enforce, qac ahead A audit, prd ahead A enforce"),
        ("A enforce, A off, A enforce", "A qac beside off → qac·audit, prd ahead A enforce"),
        ("A not-ready, A audit, A enforce", "A dev beside not-ready → dev·audit, qac ahead A audit, prd ahead A enforce"),
        ("A mixed, A audit, A enforce", "A dev beside mixed → dev·audit, qac ahead A audit, prd ahead A enforce"),
        // Stronger than the last step asks for is enough, where it has gone on.
        ("A enforce, A enforce, A audit", "A prd·audit → prd·enforce"),
        ("A enforce, A enforce, -", "A qac beside enforce → qac·audit"),
        // What cannot be read is unknown.
        ("?, -, -", "nowhere → dev·audit, dev unread"),
        ("-, -, ?", "nowhere → dev·audit, prd unread"),
        ("?, A audit, -", "A qac·audit → prd·audit, dev unread"),
        ("?, A audit, A enforce", "A prd·enforce → prd·enforce (end), dev unread"),
        ("A enforce, A audit, ?", "A qac·audit → prd·audit, prd unread"),
        ("lost A enforce, A audit, -", "A qac·audit → prd·audit, dev unread"),
        ("A enforce, lost A audit, -", "A qac·audit → prd·audit, qac unread"),
        ("A enforce, A audit, lost A enforce", "A prd·enforce → prd·enforce (end), prd unread"),
        ("A unknown, A audit, -", "A qac·audit → prd·audit, dev unclear A unknown"),
        ("? enforce, A audit, -", "A qac·audit → prd·audit, dev unclear ? enforce"),
        ("A enforce, ? audit, -", "qac·audit → prd·audit, dev unclear A enforce"),
    ] {
        assert_eq!(told(fleet, None), expected, "{fleet}");
    }
}

#[test]
fn a_step_that_is_named_is_reached_by_what_may_go_there() {
    for (fleet, to, expected) in [
        ("A enforce, A audit, -", "prd", "A qac·audit → prd·audit"),
        ("A enforce, A audit, A audit", "prd", "A prd·audit → prd·enforce"),
        ("A enforce, A audit, A enforce", "prd", "A prd·enforce → prd·enforce"),
        ("A audit, -, -", "prd", "A dev·audit → prd·audit"),
        ("A audit, -, -", "prd:enforce", "A dev·audit → prd·enforce"),
        // Demoted in dev while it is in production: its way back is its own.
        ("A audit, A audit, A enforce", "dev:enforce", "A dev·audit → dev·enforce, qac ahead A audit, prd ahead A enforce"),
        ("A enforce, A audit, A enforce", "dev", "A dev·enforce → dev·enforce, qac ahead A audit, prd ahead A enforce"),
        // The older revision in production does not go up while the earlier environments have another.
        (
            "B enforce, B audit, A audit",
            "prd:enforce",
            "A prd·audit → prd·enforce, dev has B enforce which goes to qac, qac has B audit which goes to prd",
        ),
        ("B enforce, B audit, A enforce", "prd", "B qac·audit → prd·audit, replaces A enforce"),
        ("B enforce, A audit, A audit", "prd:enforce", "A prd·audit → prd·enforce, dev has B enforce which goes to qac"),
        ("B enforce, A audit, A audit", "prd", "A prd·audit → prd·enforce, dev has B enforce which goes to qac"),
        ("C enforce, B audit, A enforce", "prd", "B qac·audit → prd·audit, replaces A enforce, dev has C enforce which goes to qac"),
        ("A audit, A audit, A audit", "prd:enforce", "A prd·audit → prd·enforce, dev audit below enforce"),
        ("A warn, A audit, A audit", "prd:enforce", "A prd·audit → prd·enforce, dev warn below enforce"),
        ("-, -, A enforce", "dev", "nowhere → dev·audit, prd ahead A enforce"),
        ("-, -, A audit", "prd:enforce", "A prd·audit → prd·enforce, dev missing, qac missing"),
        ("?, A audit, ?", "prd", "A qac·audit → prd·audit, dev unread, prd unread"),
        ("-, -, -", "qac", "nowhere → qac·audit"),
        ("A audit, -, -", "stage", "there is no environment `stage`; there are dev, qac, prd"),
        ("A audit, -, -", "qac:enforce", "qac has no step `enforce`; its steps are audit"),
    ] {
        assert_eq!(told(fleet, Some(to)), expected, "{fleet} --to {to}");
    }
}
