//! Operations from the command line: plan, preview, confirmation, execution.
//!
//! What lives here: the order of it, prompts, plan files. What does not: what a plan says (`ops`), how it is carried out (`engine::operations`), how either
//! looks (`cli::preview`, `cli::outcome`).

use super::{Loaded, failure, interrupted, load, sign, style, wiring};
use crate::cli::args::{Act, ActFlags, DryRun, Globals};
use crate::cli::document::{self, Head};
use crate::cli::findings::find;
use crate::cli::settle::settle;
use crate::cli::show::choose;
use crate::cli::{Exit, Problem, flags, formers, gate, outcome, preview};
use crate::domain::journal::StepResult;
use crate::domain::{Gate, PolicyId, clean};
use crate::engine::JournalReader;
use crate::engine::operations::{Declined, GitRoad, Operator, Outcome, PlanFile, Request, StepOutcome, UNACKNOWLEDGED, Undone};
use crate::files;
use crate::fleet::view::FleetView;
use crate::ops::plan::{ConfirmLevel, Plan, Step, to_file};
use crate::ops::rules::needs_second_eyes;
use crate::settings::EnvironmentSettings;
use jiff::Timestamp;
use serde_json::json;
use std::cell::Cell;
use std::io::{self, BufRead as _, BufWriter, IsTerminal as _, Write as _};
use std::path::Path;

/// Runs one operation to its end.
pub(super) async fn run(act: &Act, globals: &Globals) -> Result<Exit, Problem> {
    // Where a policy is in its pipeline shows only on the whole of it; -e and --context say where to write.
    let (loaded, chosen) = load::load_whole(globals, wiring::actions())?;
    load::check_namespace(&loaded, flags::of_act(act), globals)?;
    for warning in &loaded.warnings {
        writeln!(io::stderr(), "{warning}")?;
    }
    let writing = Cell::new(false);
    let interrupted = interrupted_before(&writing);
    let engine = wiring::start_engine(&loaded, false);
    let paths = wiring::own_paths()?;
    if let Some(trouble) = JournalReader::new(paths.journal()).trouble().await {
        writeln!(io::stderr(), "{}", clean(&trouble))?;
    }
    let git = GitRoad::new(paths.repositories(), act.flags().follow);
    let operator = wiring::own_operator(&engine, &loaded, &paths).with_git(git.clone());
    let asked = Asked { act, globals, loaded: &loaded, chosen: &chosen, operator: &operator, git: &git, writing: &writing };
    tokio::select! {
        result = asked.run(&engine) => result,
        () = interrupted => Err(Problem { exit: Exit::Interrupted, message: "nothing was done".to_owned() }),
        () = tell(&git) => Ok(Exit::Failed),
        why = failure(&engine) => Err(Problem::failed(format!("a part of the program failed: {why}"))),
    }
}

/// What is to be done.
struct Planned {
    /// One plan of everything that goes; `None` where nothing does.
    plan: Option<Plan>,
    /// The gates that are not open of what is left out.
    shut: Vec<Gate>,
    /// What needs nothing or cannot go.
    left_out: Vec<StepOutcome>,
}

impl Planned {
    fn of(plan: Plan) -> Self {
        Self { plan: Some(plan), shut: Vec::new(), left_out: Vec::new() }
    }
}

struct Asked<'a> {
    act: &'a Act,
    globals: &'a Globals,
    loaded: &'a Loaded,
    /// The environments that -e or --context name; empty where neither was typed.
    chosen: &'a [String],
    operator: &'a Operator,
    git: &'a GitRoad,
    /// Something may have been written: no interruption ends it.
    writing: &'a Cell<bool>,
}

/// Becomes ready at ctrl-c and TERM while nothing is being written; both are listened for from the call on.
fn interrupted_before(writing: &Cell<bool>) -> impl Future<Output = ()> {
    let mut next = interrupted();
    async move {
        loop {
            next.await;
            if !writing.get() {
                return;
            }
            next = interrupted();
        }
    }
}

impl Asked<'_> {
    fn flags(&self) -> &ActFlags {
        self.act.flags()
    }

    fn environments(&self) -> &[EnvironmentSettings] {
        &self.loaded.options.environments
    }

    async fn run(&self, engine: &crate::engine::EngineHandle) -> Result<Exit, Problem> {
        let fleet = settle(engine.fleet(), self.environments().len(), self.globals.wait, &mut io::stderr()).await?;
        if let Act::Rollback(args) = self.act
            && args.list
        {
            return self.list(&fleet).await;
        }
        let Planned { plan, shut, left_out } = match &self.flags().plan {
            Some(file) => {
                let asked = self.read_plan(file)?;
                let (plan, left_out) = self.operator.of_file(&asked).await.map_err(|declined| decline(&declined))?;
                Planned { left_out, ..Planned::of(plan) }
            }
            None => self.planned(&fleet).await?,
        };
        for left in &left_out {
            writeln!(io::stderr(), "{}: {}: {}", left.object, left.result, clean(&left.reason))?;
        }
        let Some(plan) = plan else {
            // Nothing has to be done, or nothing can be.
            let outcome = Outcome { plan: String::new(), undo: None, dry_run: self.flags().dry_run != DryRun::None, steps: left_out };
            return self.tell(&[], &outcome, &shut);
        };
        self.writes_there(&plan)?;
        let is_whole = left_out.iter().all(|one| one.result == StepResult::Unchanged);
        let planned = if is_whole { Exit::Done } else { Exit::Partly };
        let Some(mut outcome) = self.settle_plan(&plan).await? else { return Ok(planned) };
        outcome.steps.extend(left_out);
        let tried = self.tell(&plan.impact, &outcome, &shut)?;
        // Without a try, what counts is whether all of it was planned.
        Ok(if self.flags().dry_run == DryRun::Client { planned } else { tried })
    }

    /// The plan in a file, which has to do what is typed.
    fn read_plan(&self, path: &Path) -> Result<PlanFile, Problem> {
        let file = PlanFile::read(path).map_err(Problem::usage)?;
        let (typed, does) = (flags::of_act(self.act), file.plan().operation.as_str());
        if typed != does {
            let path = path.display();
            return Err(Problem::usage(format!("the plan in {path} does not {typed}, it does {does}: `policydeck {does} --plan {path}`")));
        }
        Ok(file)
    }

    /// Writes the plan to a file for someone else, and signs it where that was asked for.
    async fn hand_over(&self, plan: &Plan, file: &Path) -> Result<(), Problem> {
        let text = to_file(plan).map_err(Problem::failed)?;
        files::write_atomic(file, text.as_bytes()).map_err(|error| Problem::failed(error.what))?;
        let shown = file.display();
        writeln!(io::stderr(), "The plan is in {shown}. Someone else can apply it: --plan {shown}")?;
        let needed = |settings: &EnvironmentSettings| {
            plan.steps.iter().any(|step| step.environment == settings.name) && needs_second_eyes(plan, settings)
        };
        match &self.flags().sign_key {
            Some(key) => sign::signed(&PlanFile::read(file).map_err(Problem::failed)?, key).await?,
            None if self.environments().iter().any(needed) => {
                writeln!(io::stderr(), "It has to be signed first: policydeck plan sign {shown} --key KEY")?;
            }
            None => {}
        }
        Ok(())
    }

    /// Whether everything is written where -e or --context say.
    fn writes_there(&self, plan: &Plan) -> Result<(), Problem> {
        let elsewhere = |step: &Step| flags::elsewhere(self.chosen, &format!("{} {}", plan.operation, step.object), &step.environment);
        plan.steps.iter().find_map(elsewhere).map_or(Ok(()), |why| Err(Problem::usage(why)))
    }

    /// The same of a gate that is not open: what lies behind it is not what was asked for.
    fn leads_there(&self, gate: &Gate) -> Result<(), Problem> {
        let elsewhere = flags::elsewhere(self.chosen, &format!("{} {}", flags::of_act(self.act), gate.policy), &gate.to.environment);
        elsewhere.map_or(Ok(()), |why| Err(Problem::usage(why)))
    }

    /// The one plan of everything that is asked for, and what is left out of it.
    async fn planned(&self, fleet: &FleetView) -> Result<Planned, Problem> {
        let told = |declined: Declined| decline(&declined);
        match self.act {
            Act::Unblock(_) => return Ok(Planned::of(self.operator.unblock(self.environment()?, &self.request()).await.map_err(told)?)),
            Act::Undo(args) => {
                let which = args.id.as_deref().map_or(Undone::Last, Undone::Plan);
                let (plan, left_out) = self.operator.undo(which, self.environment()?, &self.request()).await.map_err(told)?;
                return Ok(Planned { left_out, ..Planned::of(plan) });
            }
            _ => {}
        }
        // What makes policies block less, or stops them, is never kept back by one that needs nothing or cannot go.
        let one_by_one = matches!(self.act, Act::Demote(_) | Act::Hold(_) | Act::Release(_));
        let several = self.act.policies().len() > 1;
        let (mut plans, mut shut, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        let mut seen: Vec<PolicyId> = Vec::new();
        if several && matches!(self.act, Act::Promote(args) if !args.disregard.is_empty()) {
            return Err(Problem::usage("--disregard is about the gate of one policy: name only that one".to_owned()));
        }
        for argument in self.act.policies() {
            let policy = match self.named(argument, fleet).await {
                Ok(policy) => policy,
                Err(problem) if one_by_one && several => {
                    left_out.push(StepOutcome::left_out(&as_typed(argument), self.environment()?, &Declined::Usage(problem.message)));
                    continue;
                }
                Err(problem) => return Err(problem),
            };
            if seen.contains(&policy) {
                continue;
            }
            match self.plan(&policy).await {
                Ok(plan) => plans.push(plan),
                // Every gate is looked at, so that all that is lacking is told at once.
                Err(Declined::Gate(gate)) => {
                    self.leads_there(&gate)?;
                    shut.push(*gate);
                }
                Err(declined) if one_by_one && (several || needs_nothing(&declined)) => {
                    left_out.push(StepOutcome::left_out(&policy, self.environment()?, &declined));
                }
                Err(declined) => return Err(told(declined)),
            }
            seen.push(policy);
        }
        let skips = matches!(self.act, Act::Promote(args) if args.skip_closed) && !plans.is_empty();
        if !shut.is_empty() && !skips {
            return Err(shut_gates(&shut, plans.len()));
        }
        for gate in &shut {
            write!(io::stderr(), "left out: {}", preview::closed(gate))?;
        }
        let plan = if plans.is_empty() { None } else { Some(self.operator.together(plans).map_err(told)?) };
        Ok(Planned { plan, shut, left_out })
    }

    fn request(&self) -> Request {
        let (acknowledge, disregard) = match self.act {
            Act::Promote(args) => (args.acknowledge_unknown.clone(), args.disregard.clone()),
            Act::Undo(args) => (args.acknowledge_unknown.clone(), args.disregard.clone()),
            _ => (None, Vec::new()),
        };
        let reason = self.act.reason().map(str::to_owned);
        Request { ticket: self.flags().ticket.clone(), reason, acknowledge, disregard, given: Vec::new() }
    }

    /// The one environment that -e names.
    fn environment(&self) -> Result<&str, Problem> {
        match self.chosen {
            [one] => Ok(one),
            _ if self.environments().len() == 1 => Ok(&self.environments()[0].name),
            _ => {
                let names: Vec<&str> = self.environments().iter().map(|one| one.name.as_str()).collect();
                Err(Problem::usage(format!("name one environment with -e: {}", names.join(", "))))
            }
        }
    }

    /// The policy that the argument means. One that is gone can be rolled back all the same.
    async fn named(&self, argument: &str, fleet: &FleetView) -> Result<PolicyId, Problem> {
        let found = choose(argument, fleet, &[]);
        match (found, self.act) {
            (Err(problem), Act::Rollback(_)) => {
                let gone = self.operator.once_there(self.environment()?).await;
                find(argument, &gone).cloned().map_err(|_| problem)
            }
            (found, _) => found,
        }
    }

    async fn plan(&self, policy: &PolicyId) -> Result<Plan, Declined> {
        let request = self.request();
        let here = || self.environment().map_err(|problem| Declined::Usage(problem.message));
        match self.act {
            Act::Promote(args) => self.operator.promote(policy, args.to.as_deref(), &request).await,
            Act::Demote(_) => self.operator.demote(policy, here()?, &request).await,
            Act::Hold(args) => self.operator.hold(policy, here()?, Some(args.reason.as_deref().unwrap_or_default()), &request).await,
            Act::Release(_) => self.operator.hold(policy, here()?, None, &request).await,
            Act::Rollback(args) => match &args.archive {
                Some(folder) => self.operator.rollback_from(policy, here()?, folder, &request).await,
                None => self.operator.rollback_to(policy, here()?, args.to_revision.as_deref(), &request).await,
            },
            Act::Unblock(_) | Act::Undo(_) => Err(Declined::Usage("it names no policy".to_owned())),
        }
    }

    /// What the policy was, from archives and history; nothing is changed.
    async fn list(&self, fleet: &FleetView) -> Result<Exit, Problem> {
        let environment = self.environment()?;
        let mut items = Vec::new();
        let mut complete = true;
        for policy in self.act.policies() {
            let policy = self.named(policy, fleet).await?;
            let formers = self.operator.formers(&policy, environment).await.map_err(|declined| decline(&declined))?;
            for trouble in &formers.troubles {
                writeln!(io::stderr(), "{}", clean(trouble))?;
            }
            complete &= formers.troubles.is_empty();
            items.extend(formers.all.iter().map(formers::item));
        }
        let head = Head::new("Formers", Timestamp::now(), complete).with("environment", json!(environment));
        let mut out = BufWriter::new(io::stdout());
        document::write(&mut out, style(self.globals, self.loaded, io::stdout().is_terminal()), head, (), &items)?;
        if items.is_empty() && complete {
            writeln!(io::stderr(), "neither an archive nor the history has anything of it in {environment}")?;
        }
        Ok(Exit::of(complete))
    }

    /// One plan from preview to outcome; `None` where it was only written to a file.
    async fn settle_plan(&self, plan: &Plan) -> Result<Option<Outcome>, Problem> {
        let flags = self.flags();
        let rehearsed = if flags.dry_run == DryRun::Client { None } else { Some(self.operator.rehearse(plan).await) };
        write!(io::stderr(), "{}", preview::preview(plan, self.environments(), rehearsed.as_ref()))?;
        if let Some(file) = &flags.plan_out {
            self.hand_over(plan, file).await?;
            return Ok(None);
        }
        match (flags.dry_run, rehearsed) {
            (DryRun::Client, _) => return Ok(Some(Outcome { plan: plan.id.clone(), undo: None, dry_run: true, steps: Vec::new() })),
            (DryRun::Server, Some(rehearsed)) => return Ok(Some(rehearsed)),
            // What a server refuses needs no confirmation.
            (_, Some(rehearsed)) if !(rehearsed.is_done() || plan.goes_one_by_one() && rehearsed.is_partly_done()) => {
                return Ok(Some(Outcome { dry_run: false, ..rehearsed }));
            }
            _ => {}
        }
        // Nobody is asked for what would be refused.
        self.operator.permitted(plan).await.map_err(|declined| decline(&declined))?;
        confirm(plan, flags).await?;
        self.writing.set(true);
        // From here on an interruption would leave open what was done: it waits until that is known.
        let carrying = self.operator.carry_out(plan);
        tokio::pin!(carrying);
        loop {
            tokio::select! {
                done = &mut carrying => return done.map(Some).map_err(|declined| decline(&declined)),
                () = interrupted() => {
                    self.git.stop_waiting();
                    writeln!(io::stderr(), "a write is under way; what becomes of it is being found out")?;
                }
            }
        }
    }

    fn tell(&self, impact: &[String], outcome: &Outcome, left_out: &[Gate]) -> Result<Exit, Problem> {
        let items: Vec<_> = outcome.steps.iter().map(outcome::item).collect();
        let exit = outcome::exit(outcome);
        let undo = outcome.undo.as_ref().map(|path| path.display().to_string());
        let head = Head::new("Outcome", Timestamp::now(), exit != Exit::Unknown)
            .with("plan", json!(Some(&outcome.plan).filter(|plan| !plan.is_empty())))
            .with("undo", json!(undo))
            .with("dryRun", json!(outcome.dry_run))
            .with("impact", json!(impact))
            .with("leftOut", json!(left_out));
        let mut out = BufWriter::new(io::stdout());
        document::write(&mut out, style(self.globals, self.loaded, io::stdout().is_terminal()), head, (), &items)?;
        if let Some(undo) = undo {
            writeln!(io::stderr(), "What was there before is in {undo}")?;
        }
        Ok(exit)
    }
}

/// A policy that is not there, by what was typed.
fn as_typed(argument: &str) -> PolicyId {
    PolicyId { group: String::new(), kind: String::new(), namespace: None, name: argument.to_owned() }
}

fn needs_nothing(declined: &Declined) -> bool {
    matches!(declined, Declined::Refused(refusal) if refusal.needs_nothing())
}

/// Says what is going on with git, for as long as somebody works with it; never ends.
async fn tell(git: &GitRoad) {
    let mut said = git.said();
    while said.changed().await.is_ok() {
        let what = said.borrow_and_update().clone();
        // Who has closed stderr does not want to know.
        let _ = writeln!(io::stderr(), "{}", clean(&what));
    }
    std::future::pending::<()>().await;
}

/// Why there is no plan, with the exit status that belongs to it.
fn decline(declined: &Declined) -> Problem {
    match declined {
        Declined::Gate(judged) => Problem { exit: gate::exit(judged.verdict), message: preview::closed(judged) },
        Declined::Refused(refusal) if refusal.word == UNACKNOWLEDGED => Problem { exit: Exit::Unknown, message: refusal.to_string() },
        Declined::Refused(refusal) => {
            let hidden =
                |commit: &crate::ops::Commit| if commit.shown == commit.manifest { "" } else { "# Values of Secrets are hidden here.\n" };
            let commit = refusal.commit.as_ref().map(|commit| format!("\n{}{}", hidden(commit), commit.shown)).unwrap_or_default();
            Problem::failed(format!("{refusal}{commit}"))
        }
        Declined::Usage(why) => Problem::usage(why.clone()),
        Declined::Failed(_) => Problem::failed(declined.to_string()),
    }
}

/// Gates that are not open, each with its conditions. Closed counts more than unknown.
fn shut_gates(shut: &[Gate], open: usize) -> Problem {
    let exits: Vec<Exit> = shut.iter().map(|shut| gate::exit(shut.verdict)).collect();
    let exit = if exits.contains(&Exit::Closed) { Exit::Closed } else { Exit::Unknown };
    let mut message: String = shut.iter().map(preview::closed).collect();
    if open > 0 {
        let names: Vec<&str> = shut.iter().map(|shut| shut.policy.name.as_str()).collect();
        message
            .push_str(&clean(&format!("nothing was done, because of {}; --skip-closed goes on with the other {open}", names.join(", "))));
    }
    Problem { exit, message }
}

/// Asks, unless the command line has answered already.
async fn confirm(plan: &Plan, flags: &ActFlags) -> Result<(), Problem> {
    let name = match &plan.confirm {
        ConfirmLevel::Yes if flags.yes => return Ok(()),
        ConfirmLevel::Yes => None,
        ConfirmLevel::TypeName(name) if flags.confirm.as_deref() == Some(name) => return Ok(()),
        ConfirmLevel::TypeName(name) => Some(name),
    };
    let unconfirmed = |how: &str| Problem::usage(format!("nothing was done: {how}"));
    if let (Some(name), Some(typed)) = (name, &flags.confirm) {
        return Err(unconfirmed(&format!("--confirm {typed} is not the name of the environment, which is {name}")));
    }
    if !io::stdin().is_terminal() {
        let how = name.map_or_else(|| "confirm it with --yes".to_owned(), |name| format!("confirm it with --confirm {name}"));
        return Err(unconfirmed(&how));
    }
    match name {
        Some(name) => write!(io::stderr(), "Type {name} to go on: ")?,
        None => write!(io::stderr(), "Go on? [y/N] ")?,
    }
    let line = typed_line().await?;
    let agreed = match name {
        Some(name) => line.trim() == name,
        None => matches!(line.trim(), "y" | "Y" | "yes"),
    };
    if agreed { Ok(()) } else { Err(Problem { exit: Exit::Interrupted, message: "nothing was done".to_owned() }) }
}

/// A line of standard input. A thread of its own waits for it, so that ctrl-c and TERM are heard meanwhile; it ends with the program.
async fn typed_line() -> io::Result<String> {
    let (sender, line) = tokio::sync::oneshot::channel();
    let read = move || {
        let mut line = String::new();
        // Nobody listens after an interruption.
        let _ = sender.send(io::stdin().lock().read_line(&mut line).map(|_| line));
    };
    std::thread::Builder::new().name("confirmation".to_owned()).spawn(read)?;
    line.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
}
