//! The command line: what can be typed.

use super::fail_on::FailOn;
use crate::domain::EvidenceRef;
use crate::domain::time::parse_duration;
use crate::fleet::filter::{Field, Filter};
use clap::{Args as ClapArgs, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use jiff::SignedDuration;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A terminal flight deck for Kyverno policy rollouts.
///
/// Without a command it opens the screen. Commands print what the screen shows, for people and for scripts.
#[derive(Debug, Parser)]
#[command(name = "policydeck", version, propagate_version = false, disable_help_subcommand = true)]
pub struct Args {
    /// Flags of every command.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do; nothing means the screen.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags that mean the same before and after any command.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Options of every command")]
pub struct Globals {
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE", env = "POLICYDECK_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Kubeconfig for all environments
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// A kubeconfig context as the single environment
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "environments")]
    pub context: Option<String>,
    /// Only this environment of the configuration; may be repeated
    #[arg(short = 'e', long = "environment", global = true, value_name = "NAME")]
    pub environments: Vec<String>,
    /// Only what concerns this namespace
    #[arg(short = 'n', long, global = true, value_name = "NAME", conflicts_with = "all_namespaces")]
    pub namespace: Option<String>,
    /// All namespaces, as without -n
    #[arg(short = 'A', long, global = true)]
    pub all_namespaces: bool,
    /// How to print
    #[arg(short = 'o', long, global = true, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
    /// Only what passes, for example 'sev>=high !ns=kube-system'
    #[arg(long, global = true, value_name = "EXPR", value_parser = Filter::parse, default_value = "", hide_default_value = true)]
    pub filter: Filter,
    /// How long to wait for all environments to be complete
    #[arg(long, global = true, value_name = "TIME", value_parser = seconds, default_value = "60s")]
    pub wait: Duration,
    /// How long a single request may take; 0 means no limit
    #[arg(long, global = true, value_name = "TIME", value_parser = seconds)]
    pub request_timeout: Option<Duration>,
    /// User to act as
    #[arg(long = "as", global = true, value_name = "USER")]
    pub as_user: Option<String>,
    /// Group to act as; may be repeated
    #[arg(long, global = true, value_name = "GROUP", requires = "as_user")]
    pub as_group: Vec<String>,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN")]
    pub color: Option<Color>,
    /// Refuse every operation
    #[arg(long, global = true)]
    pub read_only: bool,
    /// Only ASCII characters
    #[arg(long, global = true)]
    pub ascii: bool,
    /// Write more to the log; may be repeated
    #[arg(short = 'v', long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Commands that show the fleet.
    #[command(flatten)]
    Show(Show),
    /// Commands that change something.
    #[command(flatten)]
    Act(Act),
    /// Sign plan files
    #[command(subcommand)]
    Plan(PlanCommand),
    /// The journal: what was done, by whom, and what became of it
    #[command(subcommand)]
    Audit(AuditCommand),
    /// What a policy did in each environment over time
    Timeline(TimelineArgs),
    /// Record what happens, without a screen, until ctrl-c or TERM
    Observe(ObserveArgs),
    /// What has been recorded
    #[command(subcommand)]
    History(HistoryCommand),
    /// A fleet of four clusters to try everything on, without a cluster
    Demo(Demo),
    /// Write, check and describe the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Where configuration, data and logs are kept
    Paths,
    /// Completion for a shell
    Completion {
        /// The shell
        shell: Shell,
    },
    /// The version
    Version,
}

/// Commands that ask a running engine.
#[derive(Debug, Clone, Subcommand)]
pub enum Show {
    /// Environments: state, versions, counts
    Status(StatusArgs),
    /// Violations: every policy in every environment
    Violations,
    /// Findings: every result of one policy, or of all
    Findings {
        /// name, kind/name or kind/namespace/name
        policy: Option<String>,
    },
    /// Policies with their rules and what these do
    Policies,
    /// Whether a policy may move on, and what is lacking: exit status 0 open or fully rolled out, 3 closed, 4 unknown
    Gate(GateArgs),
}

/// Commands that change something, each after a confirmation.
#[derive(Debug, Clone, Subcommand)]
pub enum Act {
    /// Bring policies to the next step of the pipeline, if their gates are open
    Promote(PromoteArgs),
    /// Make policies audit again where they enforce; never gated
    Demote(PolicyArgs),
    /// Put a policy back to what it was
    Rollback(RollbackArgs),
    /// Take back a plan that was carried out, if nobody has changed what it wrote
    Undo(UndoArgs),
    /// Keep policies where they are until they are released
    Hold(HoldArgs),
    /// Let held policies go on
    Release(PolicyArgs),
    /// While Kyverno is down: let workloads through, by removing its resource webhooks
    Unblock(UnblockArgs),
}

impl Act {
    /// What every operation can be told.
    pub fn flags(&self) -> &ActFlags {
        match self {
            Self::Promote(args) => &args.flags,
            Self::Demote(args) | Self::Release(args) => &args.flags,
            Self::Rollback(args) => &args.flags,
            Self::Hold(args) => &args.flags,
            Self::Unblock(args) => &args.flags,
            Self::Undo(args) => &args.flags,
        }
    }

    /// Why it is done, where that is said.
    pub fn reason(&self) -> Option<&str> {
        let reason = match self {
            Self::Promote(args) => &args.reason,
            Self::Demote(args) | Self::Release(args) => &args.reason,
            Self::Rollback(args) => &args.reason,
            Self::Hold(args) => &args.reason,
            Self::Unblock(args) => &args.reason,
            Self::Undo(args) => &args.reason,
        };
        reason.as_deref()
    }

    /// The policies that are named.
    pub fn policies(&self) -> &[String] {
        match self {
            Self::Promote(args) => &args.policies,
            Self::Demote(args) | Self::Release(args) => &args.policies,
            Self::Rollback(args) => args.policy.as_slice(),
            Self::Hold(args) => &args.policies,
            Self::Unblock(_) | Self::Undo(_) => &[],
        }
    }
}

/// What every operation can be told.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct ActFlags {
    /// Have the servers and their webhooks check it, and write nothing: none, client (only the plan) or server
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_value = "none", default_missing_value = "server")]
    pub dry_run: DryRun,
    /// Write the plan to a file, for somebody else to carry out
    #[arg(long, value_name = "FILE", conflicts_with = "plan")]
    pub plan_out: Option<PathBuf>,
    /// Sign the file of --plan-out with this SSH key, as `plan sign` does
    #[arg(long, value_name = "KEY", requires = "plan_out")]
    pub sign_key: Option<PathBuf>,
    /// Carry out the plan in this file
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// The ticket that allows it
    #[arg(long, value_name = "ID")]
    pub ticket: Option<String>,
    /// Yes, without asking; not for production
    #[arg(long)]
    pub yes: bool,
    /// Where it goes through git: how long to wait until the cluster shows what was pushed
    #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "5m")]
    pub follow: Duration,
    /// The environment's name, typed: yes for production
    #[arg(long, value_name = "NAME")]
    pub confirm: Option<String>,
}

/// How much of an operation is only tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// Nothing: it is done.
    #[default]
    None,
    /// Only the plan is made.
    Client,
    /// The servers check every write.
    Server,
}

/// Arguments of `promote`.
#[derive(Debug, Clone, ClapArgs)]
pub struct PromoteArgs {
    /// name, kind/name or kind/namespace/name
    #[arg(required_unless_present = "plan")]
    pub policies: Vec<String>,
    /// The step to go to, ENV or ENV:MODE; default: the next step of the pipeline
    #[arg(long, value_name = "STEP")]
    pub to: Option<String>,
    /// Pass a gate that is unknown, for this reason; a closed gate stays closed
    #[arg(long, value_name = "REASON")]
    pub acknowledge_unknown: Option<String>,
    /// Leave out of the gate what this report or event claims and nothing verifies, for the reason of --reason; may be repeated
    #[arg(long, value_name = "OBJECT", requires = "reason", conflicts_with = "plan")]
    pub disregard: Vec<EvidenceRef>,
    /// Of several policies, leave out those whose gates are not open
    #[arg(long, conflicts_with = "plan")]
    pub skip_closed: bool,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT", conflicts_with = "plan")]
    pub reason: Option<String>,
    /// What every operation can be told.
    #[command(flatten)]
    pub flags: ActFlags,
}

/// Arguments of `demote` and `release`.
#[derive(Debug, Clone, ClapArgs)]
pub struct PolicyArgs {
    /// name, kind/name or kind/namespace/name
    #[arg(required_unless_present = "plan")]
    pub policies: Vec<String>,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT", conflicts_with = "plan")]
    pub reason: Option<String>,
    /// What every operation can be told.
    #[command(flatten)]
    pub flags: ActFlags,
}

/// Arguments of `rollback`.
#[derive(Debug, Clone, ClapArgs)]
pub struct RollbackArgs {
    /// name, kind/name or kind/namespace/name
    #[arg(required_unless_present = "plan")]
    pub policy: Option<String>,
    /// Show what it was, and can be put back to; nothing is changed
    #[arg(long, conflicts_with_all = ["archive", "to_revision", "plan"])]
    pub list: bool,
    /// The revision to put it back to, or a beginning that only it has; without it, the newest state that differs from what it is
    #[arg(long, value_name = "HASH", conflicts_with_all = ["archive", "plan"])]
    pub to_revision: Option<String>,
    /// The archive to take it from
    #[arg(long, value_name = "FOLDER")]
    pub archive: Option<PathBuf>,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT", conflicts_with = "plan")]
    pub reason: Option<String>,
    /// What every operation can be told.
    #[command(flatten)]
    pub flags: ActFlags,
}

/// Arguments of `hold`.
#[derive(Debug, Clone, ClapArgs)]
pub struct HoldArgs {
    /// name, kind/name or kind/namespace/name
    #[arg(required_unless_present = "plan")]
    pub policies: Vec<String>,
    /// Why
    #[arg(long, value_name = "TEXT", required_unless_present = "plan", conflicts_with = "plan")]
    pub reason: Option<String>,
    /// What every operation can be told.
    #[command(flatten)]
    pub flags: ActFlags,
}

/// Arguments of `undo`.
#[derive(Debug, Clone, ClapArgs)]
pub struct UndoArgs {
    /// The plan's id, or a beginning that only it has
    #[arg(required_unless_present_any = ["plan", "last"])]
    pub id: Option<String>,
    /// The last plan in the environment that has not been taken back
    #[arg(long, conflicts_with_all = ["id", "plan"])]
    pub last: bool,
    /// Pass a gate that is unknown, for this reason, where policies come back to refusing more; a closed gate stays closed
    #[arg(long, value_name = "REASON")]
    pub acknowledge_unknown: Option<String>,
    /// Leave out of the gate what this report or event claims and nothing verifies, for the reason of --reason; may be repeated
    #[arg(long, value_name = "OBJECT", requires = "reason", conflicts_with = "plan")]
    pub disregard: Vec<EvidenceRef>,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT", conflicts_with = "plan")]
    pub reason: Option<String>,
    /// What every operation can be told.
    #[command(flatten)]
    pub flags: ActFlags,
}

/// Arguments of `unblock`.
#[derive(Debug, Clone, ClapArgs)]
pub struct UnblockArgs {
    /// Why, for the journal
    #[arg(long, value_name = "TEXT", conflicts_with = "plan")]
    pub reason: Option<String>,
    /// What every operation can be told.
    #[command(flatten)]
    pub flags: ActFlags,
}

/// Arguments of `gate`.
#[derive(Debug, Clone, ClapArgs)]
pub struct GateArgs {
    /// name, kind/name or kind/namespace/name; without it, a line for every policy
    pub policy: Option<String>,
    /// The step to judge, ENV or ENV:MODE; default: the next step of the pipeline
    #[arg(long, value_name = "STEP")]
    pub to: Option<String>,
    /// Judge it without what this report or event claims and nothing verifies: policyreport/NAMESPACE/NAME, event/NAMESPACE/NAME; may be repeated
    #[arg(long, value_name = "OBJECT", requires = "reason", requires = "policy")]
    pub disregard: Vec<EvidenceRef>,
    /// Why it is disregarded
    #[arg(long, value_name = "TEXT", requires = "disregard")]
    pub reason: Option<String>,
}

/// Arguments of `status`.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct StatusArgs {
    /// Print again whenever something changed
    #[arg(short = 'w', long)]
    pub watch: bool,
    /// Exit with status 3 when this holds in any environment, for example 'fail>0 or stale'
    #[arg(long, value_name = "EXPR", value_parser = FailOn::parse)]
    pub fail_on: Option<FailOn>,
}

/// Arguments of `timeline`.
#[derive(Debug, Clone, ClapArgs)]
pub struct TimelineArgs {
    /// name, kind/name or kind/namespace/name
    pub policy: String,
    /// How far back
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "30d")]
    pub last: SignedDuration,
    /// How many parts the time is cut into
    #[arg(long, value_name = "N", value_parser = parts, default_value = "60")]
    pub width: usize,
    /// Only what is on record: do not look at the clusters first
    #[arg(long)]
    pub no_look: bool,
}

/// Arguments of `observe`.
#[derive(Debug, Clone, ClapArgs)]
pub struct ObserveArgs {
    /// Watch the cluster whose pod this is, with its service account
    #[arg(long, conflicts_with_all = ["kubeconfig", "context", "environments"])]
    pub in_cluster: bool,
    /// What to call that cluster on record
    #[arg(long, value_name = "NAME", requires = "in_cluster")]
    pub name: Option<String>,
    /// Serve /healthz, /readyz and /metrics there, for example ':8080' or '127.0.0.1:8080'
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub listen: Option<SocketAddr>,
}

/// Commands on what has been recorded.
#[derive(Debug, Clone, Subcommand)]
pub enum HistoryCommand {
    /// Print every record as a line of JSON
    Export,
    /// Forget what is older than the configuration keeps, and give its room back
    Prune {
        /// Keep this much instead
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        keep: Option<SignedDuration>,
    },
}

/// Arguments of `demo`.
#[derive(Debug, Clone, ClapArgs)]
pub struct Demo {
    /// Serve the clusters and print a kubeconfig for kubectl, until ctrl-c
    #[arg(long)]
    pub listen: bool,
    /// Port of the first cluster, the others follow; without it, ports that are free
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,
    /// What happens to the clusters meanwhile
    #[arg(long, value_name = "NAME")]
    pub scenario: Option<String>,
    /// A command to run on the demo instead of the screen
    #[command(subcommand)]
    pub show: Option<Show>,
}

/// Commands about plan files.
#[derive(Debug, Clone, Subcommand)]
pub enum PlanCommand {
    /// Sign a plan file: the signature is written to FILE.sig, as `ssh-keygen -Y sign -n policydeck-plan -f KEY FILE` does
    Sign {
        /// The plan file
        file: PathBuf,
        /// The SSH key: a private key, or a public key whose private key is in ssh-agent
        #[arg(long, value_name = "KEY")]
        key: PathBuf,
    },
}

/// Commands about the journal.
#[derive(Debug, Clone, Subcommand)]
pub enum AuditCommand {
    /// Entries, oldest first
    Show(AuditShow),
    /// Check that nothing was changed, removed or cut off; status 1 and the place where it was
    Verify,
    /// Write all entries to a file, with the last hash in its first line
    Export {
        /// The file; what is in it is replaced
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// Arguments of `audit show`.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct AuditShow {
    /// Only what happened in this time, for example 7d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub since: Option<SignedDuration>,
    /// Only on this policy: name, kind/name or kind/namespace/name
    #[arg(long, value_name = "POLICY")]
    pub policy: Option<String>,
    /// Only of this plan
    #[arg(long, value_name = "ID")]
    pub plan: Option<String>,
    /// Ask the clusters what became of intents that have no outcome
    #[arg(long)]
    pub compare: bool,
}

/// Commands about the configuration.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// Write a first configuration from the kubeconfig's contexts
    Init {
        /// Overwrite a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Check a configuration
    Check {
        /// The file; without it, the one that would be used
        file: Option<PathBuf>,
    },
    /// Print the JSON Schema of the configuration
    Schema,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people.
    Table,
    /// One document.
    Json,
    /// One document.
    Yaml,
    /// Rows with a heading.
    Csv,
    /// One identifier a line.
    Name,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// `60s`, `2m`, or a bare number of seconds, as kubectl has it.
fn seconds(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let duration = parse_duration(text)?;
    Ok(duration.unsigned_abs())
}

/// `:8080` (every address of this machine), `127.0.0.1:8080`, `[::1]:8080`.
fn address(text: &str) -> Result<SocketAddr, String> {
    let whole = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    whole.parse().map_err(|_| format!("`{text}` is not an address such as `:8080` or `127.0.0.1:8080`"))
}

/// Parts of a timeline: as many as a wide screen has columns, and some.
fn parts(text: &str) -> Result<usize, String> {
    let parts: usize = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if (1..=2_000).contains(&parts) { Ok(parts) } else { Err("between 1 and 2000".to_owned()) }
}

/// Whether kubectl runs us, as `kubectl-policydeck`: people then type `kubectl policydeck`.
pub fn is_plugin(called: Option<&OsStr>) -> bool {
    called.map(Path::new).and_then(Path::file_stem).is_some_and(|stem| stem == "kubectl-policydeck")
}

/// The command, named as people type it.
pub fn command(called: Option<&OsStr>) -> clap::Command {
    let name = if is_plugin(called) { "kubectl policydeck" } else { "policydeck" };
    Args::command().bin_name(name).after_long_help(grammars())
}

/// What `--filter` and `--fail-on` take, and what exit statuses mean.
fn grammars() -> String {
    let fields: Vec<&str> = Field::all().map(Field::as_str).collect();
    format!(
        "Filters: words are ANDed; `!` turns one round. `field=value[,value]`, also != ~ (contains) and < <= > >= for sev, result and age;\n\
         values take * and ?, quotes make them literal; plain words are looked for in policy, rule, message, namespace and name.\n\
         Fields: {}.\n\n\
         --fail-on: counts ({}) compared with = != < <= > >=, or alone for \"any\"; complete, incomplete; and, or, not, ( ).\n\n\
         Exit status: 0 done, 1 failed, 2 usage or configuration, 3 a gate is closed or --fail-on holds, 4 unknown or incomplete, 5 partly done, 130 interrupted.",
        fields.join(", "),
        FailOn::counts().collect::<Vec<_>>().join(", "),
    )
}

/// Reads a command line, the first of `arguments` being the program. The error is clap's: help and version are among them.
pub fn parse(arguments: &[OsString]) -> Result<Args, clap::Error> {
    // clap would take the program's file for its name.
    let mut command = command(arguments.first().map(OsString::as_os_str)).no_binary_name(true);
    let matches = command.try_get_matches_from_mut(arguments.iter().skip(1))?;
    let args = <Args as clap::FromArgMatches>::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    super::flags::check(&args, &mut command)?;
    Ok(args)
}
