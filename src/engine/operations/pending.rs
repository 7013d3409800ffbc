//! What is committed for an environment and not applied yet, from its repository and its cluster.
//!
//! What lives here: reading both and comparing them. What does not: what a gate makes of it (`engine::gates`).

use super::{GitRoad, kind_of};
use crate::domain::{Pending, PolicyId};
use crate::engine::EngineHandle;
use crate::engine::gates::{Committed, PendingByEnvironment};
use crate::kinds::hold::read_hold;
use crate::kinds::mode::{Kyverno, overrides_in_words};
use crate::kinds::revision::revision;
use crate::kinds::set_mode::written_mode;
use crate::kinds::{Kind, read_policy};
use crate::ops::commit;
use crate::ops::road::Road;
use crate::settings::{EnvironmentSettings, GitOps};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// For as long as git itself is patient: its commands have limits of their own.
pub const HOWEVER_LONG: Duration = Duration::from_secs(600);

/// What is pending of one policy, or of all that the repositories hold. A repository that takes longer than `within` is unknown.
pub async fn pending(
    engine: &EngineHandle,
    road: &Road,
    git: &GitRoad,
    policy: Option<&PolicyId>,
    within: Duration,
) -> PendingByEnvironment {
    let mut found = HashMap::new();
    for settings in road.environments().iter().filter(|one| one.git.is_some() && one.gitops == GitOps::Refuse) {
        // One that is not watched is not asked about.
        if engine.fleet().borrow().environment(&settings.name).is_some() {
            let name = Arc::from(settings.name.as_str());
            let told = timeout(within, of_environment(engine, settings, git, policy)).await;
            let late = |_| Err(format!("its repository cannot be read: no answer within {} s", within.as_secs()));
            found.insert(name, told.unwrap_or_else(late));
        }
    }
    found
}

async fn of_environment(
    engine: &EngineHandle,
    settings: &EnvironmentSettings,
    road: &GitRoad,
    policy: Option<&PolicyId>,
) -> Result<Committed, String> {
    let Some(git) = &settings.git else { return Ok(Committed::default()) };
    let unread = |why: String| format!("its repository cannot be read: {why}");
    let (repository, tree) = road.read(git).await.map_err(|error| unread(error.to_string()))?;
    let kyverno = engine.kyverno(&settings.name).await.map_err(|failure| failure.what)?;
    let mut wanted: BTreeSet<PolicyId> = policy.into_iter().cloned().collect();
    if policy.is_none() {
        wanted.extend(commit::policies(&tree, &git.path));
        // Files that cannot be read for themselves may change what is there.
        let there = engine.fleet().borrow().environment(&settings.name).map(|view| Arc::clone(&view.cells));
        wanted.extend(there.iter().flat_map(|cells| cells.iter()).map(|cell| (*cell.key.id).clone()));
    }
    let (mut differing, mut unclear) = (Vec::new(), Vec::new());
    for policy in wanted {
        let Ok(kind) = kind_of(&policy) else { continue };
        let (path, manifest) = match commit::manifest(&tree, &git.path, kind, &policy) {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(why) => {
                unclear.push((policy, why));
                continue;
            }
        };
        let live = engine.policy_object(&settings.name, &policy).await.map_err(|failure| failure.what)?;
        let says = |object: &Value, kyverno: &Kyverno| {
            let mode = written_mode(kind, object, kyverno).ok();
            (revision(kind, object), mode, overrides(kind, object), read_hold(object).is_some())
        };
        if live.as_ref().is_some_and(|live| says(live, &kyverno) == says(&manifest, &kyverno)) {
            continue;
        }
        let (revision, mode, ..) = says(&manifest, &kyverno);
        differing.push((policy, path, revision, mode));
    }
    let paths: Vec<&str> = differing.iter().map(|(_, path, ..)| path.as_str()).collect();
    let changes = repository.last_changes(&git.branch, &tree.head, &paths).await.map_err(|error| unread(error.to_string()))?;
    let pending = differing.into_iter().map(|(policy, path, revision, mode)| {
        let (commit, since) = changes.get(&path).cloned().unwrap_or_else(|| (tree.head.clone(), None));
        let since = since.and_then(|seconds| Timestamp::from_second(seconds).ok());
        Pending { environment: Arc::from(settings.name.as_str()), policy, revision: Some(revision), mode, commit, since }
    });
    Ok(Committed { pending: pending.collect(), unclear })
}

/// The overrides of each rule, in words.
fn overrides(kind: &Kind, object: &Value) -> Vec<Vec<String>> {
    let policy = read_policy(kind, object).ok();
    policy.iter().flat_map(|policy| policy.rules.iter().map(|rule| overrides_in_words(rule, policy))).collect()
}
