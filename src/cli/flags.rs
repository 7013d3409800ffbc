//! What `-e`, `-n`, `-A`, `--context` and `--filter` mean for each command: one table. Where a flag means nothing it is rejected, never ignored.

use super::args::{Act, Args, AuditCommand, Command, ConfigCommand, Demo, Globals, HistoryCommand, PlanCommand, Show};
use clap::error::ErrorKind;

/// What `-e ENV` and `--context NAME` choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Places {
    /// Only these environments are shown, read or recorded.
    Shown,
    /// The operation writes there. What would write elsewhere is rejected; the pipeline stays whole.
    Written,
    /// Only entries of these environments, by the name in the journal. A context is no name in the journal.
    Named,
    /// Nothing.
    Nothing,
}

/// What `-n NAMESPACE` (and `-A`, its opposite) chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespaces {
    /// Only what concerns this namespace.
    Shown,
    /// Only this namespace is read, where `--context` or the current context is the single environment; an environment of a configuration names its
    /// own namespaces.
    Read,
    /// Nothing.
    Nothing,
}

/// What `--filter EXPR` chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filters {
    /// Only what passes, with numbers counted from it.
    Shown,
    /// Nothing.
    Nothing,
}

/// A command and what the flags mean for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// The command as it is typed; empty for the screen.
    pub command: &'static str,
    /// `-e` and `--context`.
    pub places: Places,
    /// `-n` and `-A`.
    pub namespaces: Namespaces,
    /// `--filter`.
    pub filter: Filters,
}

impl Meaning {
    /// The command in a sentence.
    fn subject(self) -> String {
        if self.command.is_empty() { "the screen".to_owned() } else { format!("`{}`", self.command) }
    }
}

const fn meaning(command: &'static str, places: Places, namespaces: Namespaces, filter: Filters) -> Meaning {
    Meaning { command, places, namespaces, filter }
}

/// Every command.
pub const MEANINGS: [Meaning; 28] = [
    meaning("", Places::Shown, Namespaces::Read, Filters::Nothing),
    meaning("status", Places::Shown, Namespaces::Shown, Filters::Shown),
    meaning("violations", Places::Shown, Namespaces::Shown, Filters::Shown),
    meaning("findings", Places::Shown, Namespaces::Shown, Filters::Shown),
    meaning("policies", Places::Shown, Namespaces::Shown, Filters::Shown),
    meaning("gate", Places::Written, Namespaces::Read, Filters::Nothing),
    meaning("promote", Places::Written, Namespaces::Read, Filters::Nothing),
    meaning("demote", Places::Written, Namespaces::Read, Filters::Nothing),
    meaning("rollback", Places::Written, Namespaces::Read, Filters::Nothing),
    meaning("undo", Places::Written, Namespaces::Read, Filters::Nothing),
    meaning("hold", Places::Written, Namespaces::Read, Filters::Nothing),
    meaning("release", Places::Written, Namespaces::Read, Filters::Nothing),
    meaning("unblock", Places::Written, Namespaces::Nothing, Filters::Nothing),
    meaning("audit show", Places::Named, Namespaces::Shown, Filters::Nothing),
    meaning("audit verify", Places::Nothing, Namespaces::Nothing, Filters::Nothing),
    meaning("audit export", Places::Nothing, Namespaces::Nothing, Filters::Nothing),
    meaning("timeline", Places::Shown, Namespaces::Read, Filters::Nothing),
    meaning("observe", Places::Shown, Namespaces::Read, Filters::Nothing),
    meaning("history export", Places::Nothing, Namespaces::Nothing, Filters::Nothing),
    meaning("history prune", Places::Nothing, Namespaces::Nothing, Filters::Nothing),
    meaning("demo --listen", Places::Nothing, Namespaces::Nothing, Filters::Nothing),
    meaning("plan sign", Places::Nothing, Namespaces::Nothing, Filters::Nothing),
    meaning("config init", Places::Nothing, Namespaces::Nothing, Filters::Nothing),
    meaning("config check", Places::Nothing, Namespaces::Nothing, Filters::Nothing),
    meaning("config schema", Places::Nothing, Namespaces::Nothing, Filters::Nothing),
    meaning("paths", Places::Nothing, Namespaces::Nothing, Filters::Nothing),
    meaning("completion", Places::Nothing, Namespaces::Nothing, Filters::Nothing),
    meaning("version", Places::Nothing, Namespaces::Nothing, Filters::Nothing),
];

/// What the flags mean for a command.
pub fn of(command: Option<&Command>) -> Meaning {
    named(name(command))
}

/// The row of a command as it is typed; a command without a row knows none of the flags.
pub fn named(name: &'static str) -> Meaning {
    let found = MEANINGS.into_iter().find(|row| row.command == name);
    found.unwrap_or(meaning(name, Places::Nothing, Namespaces::Nothing, Filters::Nothing))
}

/// The command as it is typed. The demo shows what the command after it shows.
fn name(command: Option<&Command>) -> &'static str {
    match command {
        None => "",
        Some(Command::Show(show)) => of_show(show),
        Some(Command::Act(act)) => of_act(act),
        Some(Command::Plan(PlanCommand::Sign { .. })) => "plan sign",
        Some(Command::Audit(AuditCommand::Show(_))) => "audit show",
        Some(Command::Audit(AuditCommand::Verify)) => "audit verify",
        Some(Command::Audit(AuditCommand::Export { .. })) => "audit export",
        Some(Command::Timeline(_)) => "timeline",
        Some(Command::Observe(_)) => "observe",
        Some(Command::History(HistoryCommand::Export)) => "history export",
        Some(Command::History(HistoryCommand::Prune { .. })) => "history prune",
        Some(Command::Demo(Demo { listen: true, .. })) => "demo --listen",
        Some(Command::Demo(Demo { show, .. })) => show.as_ref().map_or("", of_show),
        Some(Command::Config(ConfigCommand::Init { .. })) => "config init",
        Some(Command::Config(ConfigCommand::Check { .. })) => "config check",
        Some(Command::Config(ConfigCommand::Schema)) => "config schema",
        Some(Command::Paths) => "paths",
        Some(Command::Completion { .. }) => "completion",
        Some(Command::Version) => "version",
    }
}

/// A command that shows, as it is typed.
pub fn of_show(show: &Show) -> &'static str {
    match show {
        Show::Status(_) => "status",
        Show::Violations => "violations",
        Show::Findings { .. } => "findings",
        Show::Policies => "policies",
        Show::Gate(_) => "gate",
    }
}

/// An operation, as it is typed.
pub fn of_act(act: &Act) -> &'static str {
    match act {
        Act::Promote(_) => "promote",
        Act::Demote(_) => "demote",
        Act::Rollback(_) => "rollback",
        Act::Undo(_) => "undo",
        Act::Hold(_) => "hold",
        Act::Release(_) => "release",
        Act::Unblock(_) => "unblock",
    }
}

/// Rejects a flag that means nothing for the command. What depends on the configuration is rejected once that is read ([`only_one_environment`]).
pub(super) fn check(args: &Args, command: &mut clap::Command) -> Result<(), clap::Error> {
    let Globals { environments, namespace, all_namespaces, context, filter, .. } = &args.globals;
    let meaning = of(args.command.as_ref());
    let context_means = matches!(meaning.places, Places::Shown | Places::Written);
    let flags = [
        ("-e", !environments.is_empty() && meaning.places == Places::Nothing),
        ("--context", context.is_some() && !context_means),
        ("-n", namespace.is_some() && meaning.namespaces == Namespaces::Nothing),
        ("-A", *all_namespaces && meaning.namespaces == Namespaces::Nothing),
        ("--filter", !filter.is_empty() && meaning.filter == Filters::Nothing),
    ];
    let Some((flag, _)) = flags.into_iter().find(|(_, is_foreign)| *is_foreign) else { return Ok(()) };
    let instead = match (flag, meaning.command) {
        ("--filter", "") => ": type / there",
        ("--filter", "audit show") => ": use --since, -e, -n, --policy or --plan",
        _ => "",
    };
    Err(command.error(ErrorKind::UnknownArgument, format!("{flag} means nothing for {}{instead}", meaning.subject())))
}

/// Why something is not written: `-e` or `--context` names other environments. `chosen` is empty where neither was typed.
pub fn elsewhere(chosen: &[String], what: &str, environment: &str) -> Option<String> {
    let refused = !chosen.is_empty() && !chosen.iter().any(|one| one == environment);
    refused.then(|| format!("{what} would be written to {environment}, not to {} (-e): nothing was done", chosen.join(", ")))
}

/// Why `-n` cannot be used with a command that shows whole environments, where a configuration names them. `configured` says that it does.
pub fn only_one_environment(meaning: Meaning, globals: &Globals, configured: bool) -> Option<String> {
    let refused = configured && globals.namespace.is_some() && meaning.namespaces == Namespaces::Read;
    refused.then(|| {
        let what = meaning.subject();
        format!(
            "-n means nothing for {what} with configured environments: it uses all of an environment. `namespaces` of an environment in the configuration \
             limits what is read there."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::args::{command, parse};
    use super::*;
    use clap::CommandFactory as _;
    use std::ffi::OsString;

    /// What is typed beside a command's name to be accepted.
    fn arguments(command: &str) -> &'static [&'static str] {
        match command {
            "gate" | "promote" | "demote" | "release" | "rollback" | "timeline" => &["p"],
            "hold" => &["p", "--reason", "r"],
            "undo" => &["--last"],
            "audit export" => &["--out", "f"],
            "plan sign" => &["f", "--key", "k"],
            "completion" => &["bash"],
            _ => &[],
        }
    }

    fn typed(command: &str, flag: &[&str]) -> Result<Args, String> {
        let words = std::iter::once("policydeck").chain(command.split(' ').filter(|word| !word.is_empty()));
        let words: Vec<OsString> =
            words.chain(arguments(command).iter().copied()).chain(flag.iter().copied()).map(OsString::from).collect();
        parse(&words).map_err(|error| {
            assert!(error.use_stderr() && error.exit_code() == 2, "{error}");
            error.to_string()
        })
    }

    #[test]
    fn every_flag_has_a_meaning_for_every_command_or_is_rejected() {
        for row in MEANINGS {
            let places = row.places != Places::Nothing;
            let context = matches!(row.places, Places::Shown | Places::Written);
            let namespaces = row.namespaces != Namespaces::Nothing;
            let filter = row.filter != Filters::Nothing;
            assert!(typed(row.command, &[]).is_ok(), "{}", row.command);
            for (flag, means) in [
                (&["-e", "dev"][..], places),
                (&["--environment", "dev"], places),
                (&["--context", "kind-dev"], context),
                (&["-n", "shop"], namespaces),
                (&["--namespace", "shop"], namespaces),
                (&["-A"], namespaces),
                (&["--filter", "sev>=high"], filter),
                (&["--filter", "word"], filter),
                (&["--filter", ""], true),
            ] {
                let said = typed(row.command, flag);
                assert_eq!(said.is_ok(), means, "{} {flag:?}: {said:?}", row.command);
                if let Err(why) = said {
                    assert!(why.contains(&format!("means nothing for {}", row.subject())), "{} {flag:?}: {why}", row.command);
                }
                // Before the command it means the same as behind it.
                let before =
                    [flag, &row.command.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>(), arguments(row.command)].concat();
                let before: Vec<OsString> = std::iter::once("policydeck").chain(before).map(OsString::from).collect();
                assert_eq!(parse(&before).is_ok(), means, "{before:?}");
            }
        }
    }

    #[test]
    fn every_command_has_a_row() {
        fn leaves(command: &clap::Command, path: &str, out: &mut Vec<String>) {
            let subcommands: Vec<_> = command.get_subcommands().collect();
            if subcommands.is_empty() {
                out.push(path.trim().to_owned());
            }
            for sub in subcommands {
                leaves(sub, &format!("{path} {}", sub.get_name()), out);
            }
        }
        let mut all = Vec::new();
        leaves(&Args::command(), "", &mut all);
        for name in all {
            let name = name.strip_prefix("demo ").unwrap_or(&name);
            assert!(MEANINGS.iter().any(|row| row.command == name), "{name} has no row in MEANINGS");
        }
        assert_eq!(command(None).get_name(), "policydeck");
    }

    #[test]
    fn a_command_of_the_demo_means_what_it_means_without_it() {
        for row in MEANINGS.iter().filter(|row| ["status", "violations", "findings", "policies", "gate"].contains(&row.command)) {
            let words = ["policydeck", "demo", row.command].into_iter().chain(arguments(row.command).iter().copied());
            let words: Vec<OsString> = words.map(OsString::from).collect();
            assert_eq!(of(parse(&words).unwrap().command.as_ref()), *row);
        }
    }

    #[test]
    fn what_would_be_written_elsewhere_is_rejected() {
        let chosen = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(elsewhere(&[], "promote p", "live"), None, "nothing was typed");
        assert_eq!(elsewhere(&chosen(&["dev", "live"]), "promote p", "live"), None);
        let why = elsewhere(&chosen(&["dev"]), "promote p", "live").unwrap();
        assert_eq!(why, "promote p would be written to live, not to dev (-e): nothing was done");
    }

    #[test]
    fn one_namespace_of_configured_environments_is_read_by_none() {
        for row in MEANINGS {
            let Ok(args) = typed(row.command, if row.namespaces == Namespaces::Nothing { &[] } else { &["-n", "shop"] }) else { panic!() };
            assert_eq!(only_one_environment(row, &args.globals, true).is_some(), row.namespaces == Namespaces::Read, "{}", row.command);
            assert_eq!(only_one_environment(row, &args.globals, false), None);
        }
    }
}
