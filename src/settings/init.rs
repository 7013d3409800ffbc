//! The first configuration, written from the contexts there are.

use super::contexts::{Context, Contexts};
use super::model::{Step, StepMode};
use super::road::{self, Stage, Stop};
use crate::domain::{Tier, clean, secret};
use std::collections::HashSet;
use std::fmt::Write as _;

const HEAD: &str = "\
# policydeck configuration. `policydeck config check` checks it, `policydeck config schema` prints its JSON Schema for editors.
#
# The order of the environments is the road that a policy travels, from the first to the last.
# It was guessed from the contexts' names: put it right, and take away what does not belong to it.
";

const TAIL: &str = r#"
# Every key an environment may have:
#
# [[environments]]
# name = "production"              # on screens, in commands and in archives
# context = "prod-eu"              # kubeconfig context, pinned: never follows current-context
# kubeconfig = "~/.kube/prod"      # a kubeconfig of its own; default: --kubeconfig, else KUBECONFIG, else ~/.kube/config
# namespaces = ["team-*"]          # only these; needed where you have no cluster-wide rights
# tier = "production"              # marked everywhere; changes ask for the name to be typed
# read_only = true                 # refuses every operation here
# freeze = [{ from = "2026-12-20", until = "2027-01-06", reason = "year end" }]   # days are UTC and included
# gitops = "refuse"                # where Argo CD, Flux, … keep an object: "refuse" with the manifest to commit, or "warn"
# git = { repo = "git@example.com:platform/policies.git", path = "prod", branch = "main" }   # operations become commits there
# prometheus = { url = "https://prometheus.example.com", matchers = "cluster=\"prod\"", token_file = "~/.prometheus-token" }   # asked what was refused while nobody watched
# steps = [                        # what a policy passes through here, in order
#   { mode = "audit", soak = "7d", max_violations = 0, evidence = "observed" },
#   { mode = "enforce", max_blocked = 0 },
# ]

[gates]                            # what must hold to leave a step; every step may say otherwise
# max_violations = 0               # failures and errors that may remain
# max_blocked = 0                  # refused admissions while enforcing
# evidence = "clock"               # "observed": only time that was watched and without violations counts
# acknowledge_unknown = true       # whether a gate that is unknown (never one that is closed) may be passed with a reason

[ui]
# ascii = false                    # only ASCII characters
# color = "auto"                   # "always", "never"; NO_COLOR is respected

[keys]                             # other keys: action = "key"; `?` lists the actions

[exceptions]                       # annotation keys that carry what a review needs
# ticket = "policydeck.dev/ticket"
# owner = "policydeck.dev/owner"
# expiry = "policydeck.dev/expires"
# reviewer = "policydeck.dev/reviewed-by"

[history]                          # what is recorded over time, for gates and timelines
# record = true                    # whether the screen records what it sees; `policydeck observe` always does
# keep = "400d"                    # how long
# max_size = "1GiB"                # how much; where there is more, the oldest records go
"#;

/// The text of a first configuration: an environment per context, ordered by what the names tell, and every key explained.
pub fn first_config(contexts: &Contexts) -> String {
    let mut ordered: Vec<&Context> = contexts.all.iter().collect();
    ordered.sort_by_key(|context| road::stage(&context.name));
    let mut out = String::from(HEAD);
    let mut names = HashSet::new();
    for context in ordered {
        environment(&mut out, context, &mut names);
    }
    if contexts.all.is_empty() {
        out.push_str("\n# The kubeconfig has no contexts: until an environment stands here, the current context is the single one.\n");
    }
    out.push_str(TAIL);
    out
}

fn environment(out: &mut String, context: &Context, names: &mut HashSet<String>) {
    let name = free_name(&context.name, names);
    let production = road::stage(&context.name) == Stage::Production;
    let tier = if production { Tier::Production } else { Tier::Normal };
    let _ = write!(out, "\n[[environments]]");
    if let Some(server) = &context.server {
        let _ = write!(out, "                   # {}", secret::mask(&clean(server)));
    }
    let _ = writeln!(out, "\nname = {}\ncontext = {}", quoted(&name), quoted(&context.name));
    if production {
        let _ = writeln!(out, "tier = \"production\"                # guessed from the name");
    }
    // The guess is made from the context, which may tell more than the name that is left of it.
    let stop = Stop { name: &context.name, tier };
    let _ = writeln!(out, "steps = [{}]", road::default_steps(stop).iter().map(step).collect::<Vec<_>>().join(", "));
}

fn step(step: &Step) -> String {
    let mode = match step.mode {
        StepMode::Audit => "audit",
        StepMode::Enforce => "enforce",
    };
    match step.soak.as_hours() {
        0 => format!("{{ mode = \"{mode}\" }}"),
        hours => format!("{{ mode = \"{mode}\", soak = \"{}d\" }}", hours / 24),
    }
}

/// A usable name for a context that no other environment has.
fn free_name(context: &str, taken: &mut HashSet<String>) -> String {
    // `arn:aws:eks:…:cluster/web`, `gke_project_zone_web`, `admin@web`, `kind-web`: the telling part is the last.
    let tail = context.rsplit(['/', '@', ':']).next().unwrap_or(context);
    let tail = if tail.starts_with("gke_") { tail.rsplit('_').next().unwrap_or(tail) } else { tail };
    let tail = tail.strip_prefix("kind-").or_else(|| tail.strip_prefix("k3d-")).unwrap_or(tail);
    let safe: String =
        tail.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' }).take(50).collect();
    let safe = safe.trim_start_matches(['-', '_', '.']).to_owned();
    let base = if safe.is_empty() || super::resolve::is_reserved(&safe) { format!("env-{}", taken.len() + 1) } else { safe };
    let mut name = base.clone();
    let mut number = 2;
    while !taken.insert(name.to_lowercase()) {
        name = format!("{base}-{number}");
        number += 1;
    }
    name
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts(names: &[&str]) -> Contexts {
        let all = names.iter().map(|name| Context { name: (*name).into(), server: Some("https://x:6443".into()), namespace: None });
        Contexts { all: all.collect(), current: None }
    }

    #[test]
    fn what_is_written_can_be_read_and_follows_the_road() {
        let text = first_config(&contexts(&["prod-eu", "kind-dev", "admin@staging", "gke_a_b_qac", "all", "we\"ird\\", "x/dev"]));
        let loaded = crate::settings::parse("config.toml", &text, &[]).unwrap();
        let names: Vec<_> = loaded.settings.environments.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(names, ["dev", "dev-2", "qac", "env-4", "we-ird-", "staging", "prod-eu"]);
        assert_eq!(loaded.settings.environments[6].tier, Tier::Production);
        assert_eq!(loaded.settings.environments[4].context.as_deref(), Some("we\"ird\\"));
        assert!(loaded.warnings.0.is_empty(), "{}", loaded.warnings);
    }

    #[test]
    fn without_contexts_it_is_still_a_configuration() {
        assert!(crate::settings::parse("config.toml", &first_config(&Contexts::default()), &[]).is_ok());
    }

    /// Every commented key is a key: uncommenting them all gives a valid file.
    #[test]
    fn the_commented_keys_are_real() {
        let uncommented: String = TAIL
            .lines()
            .filter(|line| !line.starts_with("# Every"))
            .map(|line| line.strip_prefix("# ").or_else(|| line.strip_prefix('#')).unwrap_or(line).to_owned() + "\n")
            .collect();
        crate::settings::parse("tail", &uncommented, &[]).unwrap();
    }
}
