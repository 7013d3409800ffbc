//! From what the file says to what it means: defaults filled in, contradictions found.

use super::check::Spans;
use super::model::{EnvironmentSettings, ExceptionKeys, Freeze, Git, HistorySettings, Push, Rules, Settings, Step, StepMode, UiSettings};
use super::problem::{Level, Places, Problem};
use super::road;
use super::schema::{
    ConfigFile, EnvironmentEntry, ExceptionsEntry, FreezeEntry, GatesEntry, GitEntry, HistoryEntry, Moment, RulesEntry, StepEntry, UiEntry,
};
use crate::domain::Tier;
use crate::domain::near::nearest;
use crate::domain::size::parse_size;
use crate::domain::time::parse_duration;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

/// Names that mean something else in commands and paths.
const RESERVED: [&str; 4] = ["all", "current", "fleet", "none"];

/// Whether an environment may not be called so.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name.to_lowercase().as_str())
}

pub(super) struct Resolver<'a> {
    pub(super) places: &'a Places<'a>,
    pub(super) spans: &'a Spans,
    /// The actions whose keys may be changed; empty means that nobody told.
    pub(super) actions: &'a [&'a str],
    pub(super) problems: Vec<Problem>,
}

impl Resolver<'_> {
    pub(super) fn settings(&mut self, file: ConfigFile) -> Settings {
        self.names(&file.environments);
        let gates = &file.gates;
        let environments: Vec<_> =
            file.environments.into_iter().enumerate().map(|(index, entry)| self.environment(index, entry, gates)).collect();
        self.road(&environments);
        self.keys(&file.keys);
        Settings {
            environments,
            acknowledge_unknown: file.gates.acknowledge_unknown,
            keys: file.keys,
            ui: ui(&file.ui),
            exceptions: self.exceptions(file.exceptions),
            history: self.history(&file.history),
        }
    }

    /// An error at the value of `path`.
    pub(super) fn wrong(&mut self, path: &str, message: impl Into<String>, remedy: impl Into<String>) {
        let problem = self.places.error(&self.spans.value(path), path, message, remedy);
        self.problems.push(problem);
    }

    pub(super) fn warn(&mut self, path: &str, message: impl Into<String>, remedy: impl Into<String>) {
        self.wrong(path, message, remedy);
        if let Some(problem) = self.problems.last_mut() {
            problem.level = Level::Warning;
        }
    }

    fn names(&mut self, environments: &[EnvironmentEntry]) {
        let mut seen: HashMap<String, usize> = HashMap::new();
        for (index, entry) in environments.iter().enumerate() {
            let path = format!("environments[{index}].name");
            let name = entry.name.as_str();
            let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
            let fits = name.len() <= 63 && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
            if !(starts_well && fits) {
                let remedy = "Use up to 63 letters, digits, `-`, `_` and `.`, beginning with a letter or digit: names become parts of commands and file names.";
                self.wrong(&path, "is not a usable name", remedy);
            } else if is_reserved(name) {
                self.wrong(&path, "is reserved", format!("Choose another name than {}.", RESERVED.join(", ")));
            }
            if let Some(first) = seen.insert(name.to_lowercase(), index) {
                let message = format!("environments[{first}] has the same name");
                self.wrong(&path, message, "Names must differ by more than capital letters.");
            }
        }
    }

    fn environment(&mut self, index: usize, entry: EnvironmentEntry, gates: &GatesEntry) -> EnvironmentSettings {
        let at = |key: &str| format!("environments[{index}].{key}");
        if entry.context.trim().is_empty() {
            self.wrong(&at("context"), "is empty", "Name a context of the kubeconfig: `kubectl config get-contexts` lists them.");
        }
        if entry.kubeconfig.as_deref().is_some_and(|path| path.trim().is_empty()) {
            self.wrong(&at("kubeconfig"), "is empty", "Name a file, or leave the key out.");
        }
        if entry.tier == Tier::Normal && road::looks_like_production(&entry.name) && !self.spans.has(&at("tier")) {
            let remedy = "Add `tier = \"production\"`, or `tier = \"normal\"` if it is not.";
            self.warn(&at("name"), format!("`{}` has no tier and counts as normal", entry.name), remedy);
        }
        let namespaces = self.namespaces(&at("namespaces"), entry.namespaces);
        let freeze = entry.freeze.into_iter().enumerate();
        let freeze = freeze.filter_map(|(window, entry)| self.freeze(&format!("environments[{index}].freeze[{window}]"), entry)).collect();
        EnvironmentSettings {
            steps: self.steps(&at("steps"), entry.steps, road::Stop { name: &entry.name, tier: entry.tier }, gates),
            git: entry.git.map(|git| self.git(&at("git"), git, entry.tier)),
            prometheus: entry.prometheus.map(|entry| self.prometheus(&at("prometheus"), entry)),
            rules: self.rules(&at("rules"), entry.rules, entry.tier),
            name: entry.name,
            context: Some(entry.context),
            kubeconfig: entry.kubeconfig.map(PathBuf::from),
            namespaces,
            tier: entry.tier,
            read_only: entry.read_only,
            freeze,
            gitops: entry.gitops,
        }
    }

    fn rules(&mut self, path: &str, entry: RulesEntry, tier: Tier) -> Rules {
        for (index, denied) in entry.deny.iter().enumerate() {
            if entry.deny[..index].contains(denied) {
                self.wrong(&format!("{path}.deny[{index}]"), format!("`{}` stands twice", denied.as_str()), "Take one of them away.");
            }
        }
        if entry.bulk == Some(0) {
            self.wrong(&format!("{path}.bulk"), "is 0, so no plan could change anything", "Write 1 or more, or `read_only = true`.");
        }
        if entry.typed_name == Some(false) && tier == Tier::Production {
            let remedy = "Take it away, or change the tier.";
            self.wrong(&format!("{path}.typed_name"), "is `false`, but `production` always asks for its name", remedy);
        }
        if entry.allowed_signers.as_deref().is_some_and(|file| file.trim().is_empty()) {
            self.wrong(&format!("{path}.allowed_signers"), "is empty", "Name a file, or leave the key out.");
        }
        match (entry.four_eyes, &entry.allowed_signers) {
            (true, None) => self.warn(
                &format!("{path}.four_eyes"),
                "is set without `allowed_signers`, so every plan that needs a second person is rejected",
                "Add `allowed_signers = \"FILE\"` with the keys of the people who may make plans (ssh-keygen(1), ALLOWED SIGNERS).",
            ),
            (false, Some(_)) => self.warn(
                &format!("{path}.allowed_signers"),
                "requires no signature, because `four_eyes` is not set",
                "Add `four_eyes = true`, or leave the key out.",
            ),
            _ => {}
        }
        Rules {
            deny: entry.deny,
            typed_name: entry.typed_name.unwrap_or_default(),
            bulk: entry.bulk,
            four_eyes: entry.four_eyes,
            allowed_signers: entry.allowed_signers.map(PathBuf::from),
        }
    }

    fn namespaces(&mut self, path: &str, namespaces: Option<Vec<String>>) -> Vec<String> {
        let Some(namespaces) = namespaces else { return Vec::new() };
        if namespaces.is_empty() {
            self.wrong(path, "names no namespace, so nothing would be seen", "Leave the key out for all namespaces.");
        }
        for (index, name) in namespaces.iter().enumerate() {
            let fits = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '*' | '?'));
            if name.is_empty() || name.len() > 63 || !fits {
                let remedy = "Use lower-case letters, digits and `-`; `*` and `?` stand for any letters.";
                self.wrong(&format!("{path}[{index}]"), "cannot be the name of a namespace", remedy);
            }
        }
        namespaces
    }

    fn freeze(&mut self, path: &str, entry: FreezeEntry) -> Option<Freeze> {
        if entry.reason.trim().is_empty() {
            self.wrong(&format!("{path}.reason"), "is empty", "Say why: the gate shows it to whoever waits.");
        }
        let from = self.moment(&format!("{path}.from"), &entry.from, Edge::Start)?;
        let until = self.moment(&format!("{path}.until"), &entry.until, Edge::End)?;
        if until <= from {
            self.wrong(&format!("{path}.until"), "is not after `from`", "Exchange the two.");
            return None;
        }
        Some(Freeze { from, until, reason: entry.reason })
    }

    fn moment(&mut self, path: &str, moment: &Moment, edge: Edge) -> Option<Timestamp> {
        let text = match moment {
            Moment::Text(text) => text.trim().to_owned(),
            Moment::Native(datetime) => datetime.to_string(),
        };
        if let Ok(instant) = text.parse::<Timestamp>() {
            return Some(instant);
        }
        let day = text.parse::<Date>().ok().filter(|_| text.len() == 10);
        let midnight = day.and_then(|day| match edge {
            Edge::Start => Some(day),
            Edge::End => day.tomorrow().ok(),
        });
        if let Some(zoned) = midnight.and_then(|day| day.to_zoned(TimeZone::UTC).ok()) {
            return Some(zoned.timestamp());
        }
        let remedy = "Write a day, `2026-12-20`, or a time with its offset, `2026-12-20T18:00:00+01:00`.";
        self.wrong(path, "is not a day or a time with its offset", remedy);
        None
    }

    fn git(&mut self, path: &str, entry: GitEntry, tier: Tier) -> Git {
        if entry.repo.trim().is_empty() {
            self.wrong(&format!("{path}.repo"), "is empty", "Name the repository's URL or path.");
        }
        // What git would take for an option, or run as a command (gitremote-helpers(7)).
        let is_command = ["ext::", "fd::"].iter().any(|helper| entry.repo.trim_start().starts_with(helper));
        if is_command || entry.repo.starts_with('-') || entry.repo.contains(char::is_control) {
            self.wrong(&format!("{path}.repo"), "is not the address of a repository", "Name the repository's URL or path.");
        }
        let folder = entry.path.unwrap_or_default();
        if folder.starts_with('/') || folder.split('/').any(|part| part == "..") {
            self.wrong(&format!("{path}.path"), "leaves the repository", "Name a folder relative to the repository's top.");
        }
        let branch = entry.branch.unwrap_or_else(|| "main".into());
        if !is_branch(&branch) {
            let remedy = "Write it without `refs/heads/`, as `git branch` shows it: `main` or `env/prod`.";
            self.wrong(&format!("{path}.branch"), "cannot be the name of a branch", remedy);
        }
        let push = entry.push.unwrap_or(if tier == Tier::Production { Push::Proposal } else { Push::Branch });
        Git { repo: entry.repo, path: folder.trim_start_matches("./").trim_matches('/').to_owned(), branch, push }
    }

    fn steps(&mut self, path: &str, entries: Option<Vec<StepEntry>>, stop: road::Stop<'_>, gates: &GatesEntry) -> Vec<Step> {
        let with_gates =
            |step: Step| Step { max_violations: gates.max_violations, max_blocked: gates.max_blocked, evidence: gates.evidence, ..step };
        let Some(entries) = entries else { return road::default_steps(stop).into_iter().map(with_gates).collect() };
        if entries.is_empty() {
            self.wrong(path, "is empty, so no policy could ever be here", "Name at least one step, or leave the key out for the default.");
        }
        let mut before: Option<StepMode> = None;
        let mut steps = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if before.is_some_and(|mode| mode == entry.mode) {
                self.wrong(&format!("{path}.mode"), format!("`{}` stands twice", entry.mode.as_str()), "Take one of them away.");
            } else if before.is_some() && entry.mode == StepMode::Audit {
                self.wrong(
                    &format!("{path}.mode"),
                    "`audit` comes after `enforce`",
                    "Put `audit` first: a policy goes from audit to enforce.",
                );
            }
            if entry.mode == StepMode::Audit && entry.max_blocked.is_some() {
                let remedy = "Take it away: a policy in audit refuses nothing.";
                self.wrong(&format!("{path}.max_blocked"), "is a limit of an `enforce` step", remedy);
            }
            before = Some(entry.mode);
            let soak = entry.soak.as_deref().map_or(SignedDuration::ZERO, |text| self.soak(&format!("{path}.soak"), text));
            let defaults = with_gates(Step::new(entry.mode, soak));
            steps.push(Step {
                max_violations: entry.max_violations.unwrap_or(defaults.max_violations),
                max_blocked: entry.max_blocked.unwrap_or(defaults.max_blocked),
                evidence: entry.evidence.unwrap_or(defaults.evidence),
                ..defaults
            });
        }
        steps
    }

    fn soak(&mut self, path: &str, text: &str) -> SignedDuration {
        parse_duration(text).unwrap_or_else(|message| {
            self.wrong(path, message, "Write for example `7d`.");
            SignedDuration::ZERO
        })
    }

    /// The Audit phase cannot be configured away.
    fn road(&mut self, environments: &[EnvironmentSettings]) {
        let road = environments.iter().enumerate().flat_map(|(index, environment)| {
            environment.steps.iter().enumerate().map(move |(step, settings)| (index, step, settings.mode))
        });
        let Some((environment, step, StepMode::Enforce)) = road.into_iter().next() else { return };
        let path = format!("environments[{environment}].steps[{step}].mode");
        self.wrong(
            &path,
            "`enforce` with no `audit` step before it in the pipeline",
            "Put `{ mode = \"audit\", soak = \"7d\" }` before it.",
        );
    }

    fn keys(&mut self, keys: &BTreeMap<String, String>) {
        let mut taken: HashMap<&str, &str> = HashMap::new();
        let mut in_file_order: Vec<_> = keys.iter().collect();
        in_file_order.sort_by_key(|(action, _)| self.spans.key(&format!("keys.{action}")).start);
        for (action, key) in in_file_order {
            let path = format!("keys.{action}");
            if !self.actions.is_empty() && !self.actions.contains(&action.as_str()) {
                let span = self.spans.key(&path);
                let mut problem = self.places.error(&span, &path, "no such action", "");
                problem.nearest = nearest(action, self.actions.iter().copied()).map(str::to_owned);
                if problem.nearest.is_none() {
                    problem.remedy = "The help screen (`?`) lists the actions.".into();
                }
                self.problems.push(problem);
            }
            if key.trim().is_empty() {
                self.wrong(&path, "names no key", "Write for example `\"ctrl-p\"`.");
            } else if let Some(other) = taken.insert(key, action) {
                self.wrong(&path, format!("is the key of `{other}`, too"), "Choose another key for one of them.");
            }
        }
    }

    fn history(&mut self, entry: &HistoryEntry) -> HistorySettings {
        let max_size = match parse_size(&entry.max_size) {
            Ok(size) if size >= SIZE_AT_LEAST => size,
            Ok(_) => {
                let message = format!("`{}` is less than 16MiB", entry.max_size);
                self.wrong("history.max_size", message, "Write for example `1GiB`; to record nothing, `record = false`.");
                HistorySettings::default().max_size
            }
            Err(message) => {
                self.wrong("history.max_size", message, "Write for example `1GiB`.");
                HistorySettings::default().max_size
            }
        };
        let default = HistorySettings { record: entry.record, max_size, ..HistorySettings::default() };
        match parse_duration(&entry.keep) {
            Ok(keep) if keep >= KEEP_AT_LEAST => HistorySettings { keep, ..default },
            Ok(_) => {
                self.wrong("history.keep", "is less than a day", "Write for example `400d`; to record nothing, `record = false`.");
                default
            }
            Err(message) => {
                self.wrong("history.keep", message, "Write for example `400d`.");
                default
            }
        }
    }

    fn exceptions(&mut self, entry: ExceptionsEntry) -> ExceptionKeys {
        for (name, key) in [("ticket", &entry.ticket), ("owner", &entry.owner), ("expiry", &entry.expiry), ("reviewer", &entry.reviewer)] {
            if !is_annotation_key(key) {
                let remedy = "Write it as Kubernetes does: `example.com/ticket` or `ticket`.";
                self.wrong(&format!("exceptions.{name}"), "cannot be an annotation's key", remedy);
            }
        }
        ExceptionKeys { ticket: entry.ticket, owner: entry.owner, expiry: entry.expiry, reviewer: entry.reviewer }
    }
}

/// Records are rolled up by the day, and a gate looks back at least as long as a soak.
/// Less would be full with the policies of a larger cluster.
const SIZE_AT_LEAST: u64 = 16 << 20;
const KEEP_AT_LEAST: SignedDuration = SignedDuration::from_hours(24);

/// Which end of a window a day stands for.
#[derive(Clone, Copy)]
enum Edge {
    Start,
    End,
}

fn ui(entry: &UiEntry) -> UiSettings {
    UiSettings { ascii: entry.ascii, color: entry.color }
}

/// What `git check-ref-format --branch` takes, a little stricter.
fn is_branch(name: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '~' | '^' | ':' | '?' | '*' | '[' | '\\' | '@');
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with('.') && part.strip_suffix(".lock").is_none();
    !name.starts_with('-') && !name.starts_with("refs/") && !name.contains(odd) && !name.contains("..") && name.split('/').all(part)
}

/// `[prefix/]name` as the API server checks it.
fn is_annotation_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let edge = |part: &str| part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.ends_with(|c: char| c.is_ascii_alphanumeric());
    let name_fits = name.len() <= 63 && edge(name) && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let domain = |text: &str| {
        text.len() <= 253 && edge(text) && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.'))
    };
    name_fits && prefix.is_none_or(domain)
}
