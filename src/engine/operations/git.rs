//! Operations through git: planning a commit, making and pushing it, and following until the cluster shows it.
//!
//! What lives here: what belongs between a plan's commit and the user's git, and who is told meanwhile. What does not: what is committed (`ops::commit`),
//! how (`files::git`).

use super::execute::identified;
use super::{Declined, Operator, kind_of};
use crate::cluster::{self, Address, Refusal, Write, WriteError};
use crate::domain::journal::StepResult;
use crate::domain::secret::address;
use crate::domain::{Mode, PolicyId, time};
use crate::engine::Failure;
use crate::files::git::{Git, GitError, Pushed, Repository};
use crate::kinds::Kind;
use crate::kinds::hold::read_hold;
use crate::kinds::revision::revision;
use crate::kinds::set_mode::written_mode;
use crate::ops::commit::{self, RepoFile, Tree};
use crate::ops::plan::{CommitPlan, Direction, Expect, Plan, Step};
use crate::ops::{Facts, Place, Refusal as NoPlan};
use crate::settings::{EnvironmentSettings, GitOps, Push};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// How often a push is tried again on top of what somebody else pushed meanwhile.
const PUSHES: usize = 4;
/// How often the cluster is looked at while it is followed.
const LOOK: Duration = Duration::from_secs(1);
/// How often the wait is told.
const TELL: Duration = Duration::from_secs(15);

/// How operations go through git. Clones share who is told and who may stop waiting.
#[derive(Debug, Clone)]
pub struct GitRoad {
    git: Git,
    repositories: PathBuf,
    follow: Duration,
    said: watch::Sender<Arc<str>>,
    stopped: watch::Sender<bool>,
}

impl GitRoad {
    /// With private copies of repositories in that folder. After a push the cluster is followed for `follow`.
    pub fn new(repositories: PathBuf, follow: Duration) -> Self {
        Self { git: Git::default(), repositories, follow, said: watch::Sender::new(Arc::from("")), stopped: watch::Sender::new(false) }
    }

    /// The same with that git.
    #[must_use]
    pub fn using(self, git: Git) -> Self {
        Self { git, ..self }
    }

    /// The same with its progress not reported.
    #[must_use]
    pub(super) fn silent(&self) -> Self {
        Self { said: watch::Sender::new(Arc::from("")), ..self.clone() }
    }

    /// What is going on, a sentence at a time; empty at first.
    pub fn said(&self) -> watch::Receiver<Arc<str>> {
        self.said.subscribe()
    }

    /// Waits no longer for a cluster to show what was pushed. What is not pushed yet still is.
    pub fn stop_waiting(&self) {
        self.stopped.send_replace(true);
    }

    /// The branch that feeds an environment, as it is now.
    pub(super) async fn read(&self, git: &crate::settings::Git) -> Result<(Repository, Tree), GitError> {
        self.say(format!("reading {} ({})", address(&git.repo), git.branch));
        let repository = Repository::open(self.git.clone(), &self.repositories, &git.repo, &address(&git.repo)).await?;
        let tree = tree(&repository, &git.branch, &git.path).await?;
        Ok((repository, tree))
    }

    fn say(&self, what: String) {
        self.said.send_replace(Arc::from(what));
    }
}

impl Operator {
    /// The same operator, but where the configuration names a repository, its writes become commits.
    #[must_use]
    pub fn with_git(mut self, road: GitRoad) -> Self {
        self.git = Some(road);
        self
    }

    /// The plan that `make` makes: of writes to the cluster, or of a commit where that is how the environment is fed.
    pub(super) async fn make(
        &self,
        kind: &'static Kind,
        policy: &PolicyId,
        place: Place<'_>,
        live: Option<&Value>,
        make: impl Fn(Place<'_>, Option<&Value>) -> Result<Plan, NoPlan> + Send,
    ) -> Result<Plan, Declined> {
        let Some((road, git)) = self.road_of(place.settings) else { return Ok(make(place, live)?) };
        // What the cluster alone refuses needs no repository.
        match make(Place { through_git: true, ..place }, live) {
            // What is pushed and not applied yet may have to be stopped.
            Err(refusal) if refusal.needs_nothing() => {}
            other => drop(other?),
        }
        let tree = self.branch(road, place.settings, git).await?;
        Ok(commit::plan(&commit::Input { kind, policy, place, git, tree: &tree, live }, make)?)
    }

    /// Whether what is written to an environment becomes a commit.
    pub(super) fn goes_through_git(&self, settings: &EnvironmentSettings) -> bool {
        self.road_of(settings).is_some()
    }

    /// The plan that undoes a commit by another one.
    pub(super) async fn reverted(
        &self,
        done: &Plan,
        step: &Step,
        place: Place<'_>,
        live: Option<&Value>,
        direction: Direction,
        facts: &Facts<'_>,
    ) -> Result<Plan, Declined> {
        let policy = super::execute::policy_of(&step.object);
        let kind = kind_of(&policy)?;
        let Some((road, git)) = self.road_of(place.settings) else {
            return Err(Declined::Usage(format!("{} does not go through git", place.settings.name)));
        };
        let tree = self.branch(road, place.settings, git).await?;
        Ok(commit::revert(&commit::Input { kind, policy: &policy, place, git, tree: &tree, live }, done, direction, facts)?)
    }

    /// What the branch says that feeds an environment.
    async fn branch(&self, road: &GitRoad, settings: &EnvironmentSettings, git: &crate::settings::Git) -> Result<Tree, Declined> {
        road.say(format!("reading {} ({})", address(&git.repo), git.branch));
        let repository = self.open(road, &git.repo).await?;
        tree(&repository, &git.branch, &git.path).await.map_err(|error| failed(settings, &error))
    }

    /// How an environment's policies go through git, where they do: a repository is named, and nobody wants to write past it.
    fn road_of<'a>(&'a self, settings: &'a EnvironmentSettings) -> Option<(&'a GitRoad, &'a crate::settings::Git)> {
        let git = settings.git.as_ref().filter(|_| settings.gitops == GitOps::Refuse)?;
        Some((self.git.as_ref()?, git))
    }

    async fn open(&self, road: &GitRoad, repo: &str) -> Result<Repository, Declined> {
        let opened = Repository::open(road.git.clone(), &road.repositories, repo, &address(repo)).await;
        opened.map_err(|error| Declined::Failed(Failure { what: error.to_string(), hint: String::new() }))
    }

    /// Has the server check what is to be committed, where the user may write there at all.
    pub(super) async fn rehearse_commit(&self, step: &Step) -> (StepResult, String, Vec<String>) {
        let unchecked = |why: &str| (StepResult::Done, format!("to be committed; the server did not check it: {why}"), Vec::new());
        let Some(after) = &step.after else { return unchecked("nothing is left of it") };
        let text = |object: &Value, path: &str| object.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let before = step.before.as_ref();
        let expect = before.and_then(|before| {
            Some(Expect { uid: text(before, "/metadata/uid")?, resource_version: text(before, "/metadata/resourceVersion")? })
        });
        let write = match expect {
            Some(expect) => Write::Replace(identified(after, &expect)),
            None => Write::Create(after.clone()),
        };
        let version = text(after, "/apiVersion").and_then(|version| version.rsplit('/').next().map(str::to_owned));
        let address = Address { version: version.unwrap_or_else(|| step.object.version.clone()), ..super::execute::address(&step.object) };
        let environment = match self.engine.environment(&step.environment) {
            Ok(environment) => environment,
            Err(failure) => return unchecked(&failure.what),
        };
        match cluster::write(&environment.signals, &address, &write, true).await {
            Ok(written) => (StepResult::Done, "to be committed; the server would take it".to_owned(), written.warnings),
            // That nobody but the tool may write is how it should be.
            Err(WriteError::Refused(Refusal::Forbidden(why))) => unchecked(&why),
            Err(error @ WriteError::Refused(_)) => (StepResult::Refused, error.to_string(), Vec::new()),
            Err(error) => unchecked(&error.to_string()),
        }
    }

    /// Makes the commit, pushes it, and follows until the cluster shows it.
    pub(super) async fn carry_out_commit(
        &self,
        step: &Step,
        plan: &CommitPlan,
        landing: Option<&(PolicyId, Mode)>,
    ) -> (StepResult, String) {
        let (road, settings) = match self.settings(&step.environment).map(|settings| (self.road_of(settings), settings)) {
            Ok((Some((road, git)), settings)) if is_the_same(git, plan) => (road, settings),
            Ok(_) => {
                return (
                    StepResult::Refused,
                    format!("{} is not fed from {} ({}) any more; make the plan again", step.environment, plan.repo, plan.branch),
                );
            }
            Err(declined) => return (StepResult::Failed, declined.to_string()),
        };
        let sent = Timestamp::now();
        let commit = match self.pushed(road, settings, step, plan).await {
            Ok(commit) => commit,
            Err(told) => return told,
        };
        let short: String = commit.chars().take(10).collect();
        if plan.is_proposal() {
            let next = format!("open a pull request into {}: nothing changes in {} before it is merged", plan.branch, step.environment);
            return (StepResult::Done, format!("proposed as commit {short} on branch {} of {}; {next}", plan.to, plan.repo));
        }
        let pushed = format!("pushed as commit {short} to {} of {}", plan.branch, plan.repo);
        match self.await_cluster(road, step, &pushed).await {
            Ok(()) => {
                let shown = match landing {
                    Some((policy, mode)) => {
                        self.follow(step, policy, *mode, sent).await.map_or_else(|why| why, |effect| effect.to_string())
                    }
                    None => format!("{} shows it", step.environment),
                };
                (StepResult::Done, format!("{pushed}; {shown}"))
            }
            Err(why) => (StepResult::Unknown, format!("{pushed}, but {} does not show it yet{why}", step.environment)),
        }
    }

    /// The commit that is on its branch, or what became of it instead.
    async fn pushed(
        &self,
        road: &GitRoad,
        settings: &EnvironmentSettings,
        step: &Step,
        plan: &CommitPlan,
    ) -> Result<String, (StepResult, String)> {
        let no = |error: &GitError| (StepResult::Failed, error.to_string());
        let Some(git) = &settings.git else { return Err((StepResult::Refused, "no repository is configured".to_owned())) };
        let policy = super::execute::policy_of(&step.object);
        let kind = kind_of(&policy).map_err(|declined| (StepResult::Failed, declined.to_string()))?;
        let repository = self.open(road, &git.repo).await.map_err(|declined| (StepResult::Failed, declined.to_string()))?;
        let files: Vec<(&str, Option<&str>)> = plan.files.iter().map(|file| (file.path.as_str(), file.content())).collect();
        let mut last = String::new();
        for _ in 0..PUSHES {
            road.say(format!("committing to {} ({})", plan.repo, plan.to));
            let tree = tree(&repository, &git.branch, &git.path).await.map_err(|error| no(&error))?;
            if let Some(why) = commit::moved(plan, &tree, &git.path, kind, &policy) {
                return Err((StepResult::Refused, why.trim_end_matches('.').to_owned()));
            }
            if let Some(why) = commit::beyond(plan, &tree, &git.path, kind, &policy) {
                return Err((StepResult::Refused, why.trim_end_matches('.').to_owned()));
            }
            let commit = repository.commit(&tree.head, &files, &plan.message).await.map_err(|error| no(&error))?;
            let changed = repository.changed(&tree.head, &commit).await.map_err(|error| no(&error))?;
            if let Some(other) = changed.iter().find(|path| !files.iter().any(|(planned, _)| planned == path)) {
                return Err((StepResult::Refused, format!("the commit would change {other}, which the plan does not; nothing was pushed")));
            }
            tracing::info!(commit, branch = plan.to, "committed");
            match repository.push(&commit, &plan.to).await {
                Pushed::Done => return Ok(commit),
                Pushed::Refused(words) => return Err((StepResult::Refused, format!("{} refuses the push: {words}", plan.repo))),
                Pushed::Moved(words) if plan.is_proposal() => {
                    return Err((StepResult::Refused, format!("the branch {} is in {} already: {words}", plan.to, plan.repo)));
                }
                Pushed::Moved(words) => last = words,
                Pushed::Unclear(words) => match repository.head_of(&plan.to).await {
                    Ok(Some(head)) if head == commit => return Ok(commit),
                    Ok(_) => return Err((StepResult::Failed, format!("the push did not arrive: {words}"))),
                    Err(_) => {
                        return Err((
                            StepResult::Unknown,
                            format!("the push of commit {commit} got no answer, and {} cannot be asked: {words}", plan.repo),
                        ));
                    }
                },
            }
        }
        Err((StepResult::Failed, format!("{} of {} changes all the time, {PUSHES} pushes came too late: {last}", plan.to, plan.repo)))
    }

    /// Waits until the cluster shows what was pushed. The error goes on after "does not show it yet".
    async fn await_cluster(&self, road: &GitRoad, step: &Step, pushed: &str) -> Result<(), String> {
        let brief = |time: Duration| time::brief(SignedDuration::try_from(time).unwrap_or_default());
        let start = Instant::now();
        let mut stopped = road.stopped.subscribe();
        let mut told: Option<Instant> = None;
        loop {
            let live = self.read(&step.environment, &step.object).await;
            if let Ok(live) = &live
                && self.shows(live.as_ref(), step).await
            {
                return Ok(());
            }
            let reason = live.err().map(|failure| format!(" ({})", failure.what)).unwrap_or_default();
            if *stopped.borrow() {
                return Err(format!(" after {}: no longer waited for{reason}", brief(start.elapsed())));
            }
            if start.elapsed() >= road.follow {
                return Err(format!(" after {}: look at the tool that reads the repository{reason}", brief(road.follow)));
            }
            if told.is_none_or(|told| told.elapsed() >= TELL) {
                told = Some(Instant::now());
                let waited = brief(start.elapsed());
                road.say(format!(
                    "{pushed}; waiting for {} to show it: {waited} of {}, ctrl-c ends the waiting",
                    step.environment,
                    brief(road.follow)
                ));
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        }
    }

    /// Whether the object says and does what was committed, whatever its server and the tool that applied it added.
    async fn shows(&self, live: Option<&Value>, step: &Step) -> bool {
        let (Some(live), Some(after)) = (live, &step.after) else { return live.is_none() && step.after.is_none() };
        let Ok(kind) = kind_of(&super::execute::policy_of(&step.object)) else { return false };
        let Ok(kyverno) = self.engine.kyverno(&step.environment).await else { return false };
        let mode = |object: &Value| written_mode(kind, object, &kyverno).ok();
        // Servers write some values in another way (durations). What was not there before, and is now, was applied all the same.
        let carried = || super::fate::carries(Some(live), step) && !super::fate::carries(step.before.as_ref(), step);
        mode(live) == mode(after) && read_hold(live) == read_hold(after) && (revision(kind, live) == revision(kind, after) || carried())
    }
}

/// Whether the configuration still says what it said when the plan was made.
fn is_the_same(git: &crate::settings::Git, plan: &CommitPlan) -> bool {
    let to = match git.push {
        Push::Branch => plan.to == git.branch,
        Push::Proposal => plan.to.starts_with("policydeck/"),
    };
    to && address(&git.repo) == address(&plan.repo) && git.branch == plan.branch
}

/// The files of a branch as it is now.
async fn tree(repository: &Repository, branch: &str, folder: &str) -> Result<Tree, GitError> {
    let head = repository.fetch(branch).await?;
    let snapshot = repository.read(&head, folder).await?;
    let files = snapshot.files.into_iter().map(|(path, text)| RepoFile { path, text }).collect();
    Ok(Tree { head, files, paths: snapshot.paths })
}

fn failed(settings: &EnvironmentSettings, error: &GitError) -> Declined {
    Declined::Failed(Failure { what: format!("{} goes through git: {error}", settings.name), hint: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Screens carry plans out beside drawing.
    #[expect(dead_code, reason = "it only has to compile")]
    fn plans_travel_between_threads(
        operator: &Operator,
        policy: &PolicyId,
        plan: &Plan,
        request: &crate::engine::operations::Request,
    ) -> (impl Send, impl Send) {
        (operator.carry_out(plan), operator.promote(policy, None, request))
    }

    #[test]
    fn a_plan_is_for_the_repository_it_was_made_for() {
        let git =
            |push: Push| crate::settings::Git { repo: "https://a:b@h/p".to_owned(), path: String::new(), branch: "main".to_owned(), push };
        let plan = |to: &str, repo: &str| CommitPlan {
            repo: repo.to_owned(),
            branch: "main".to_owned(),
            to: to.to_owned(),
            base: String::new(),
            files: Vec::new(),
            message: String::new(),
            document: None,
        };
        // Plans of earlier versions show the user.
        for shown in ["https://…@h/p", "https://a:…@h/p"] {
            assert!(
                is_the_same(&git(Push::Branch), &plan("main", shown)) && is_the_same(&git(Push::Proposal), &plan("policydeck/1", shown))
            );
        }
        let shown = "https://…@h/p";
        for (push, to, repo) in [
            (Push::Branch, "other", shown),
            (Push::Branch, "policydeck/1", shown),
            (Push::Proposal, "main", shown),
            (Push::Branch, "main", "https://h/other"),
        ] {
            assert!(!is_the_same(&git(push), &plan(to, repo)), "{to} {repo}");
        }
    }
}
