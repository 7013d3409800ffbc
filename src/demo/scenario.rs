//! Timed stories: bad deployments, lost environments, policies fixed.
//!
//! A scenario is a TOML file of steps; it acts on the clusters as somebody with kubectl would, through admission. It may guide the person beside it
//! (`guide`), and make soaks short enough to wait for.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::cluster::Cluster;
use super::delete;
use super::failure::Failure;
use super::guide::{Hint, RawHint};
use super::patch::PatchKind;
use super::seed::{self, App};
use super::server::Server;
use super::store::{Key, text};
use super::write::{self, Options};
use super::{DemoError, fleet::Workloads};

/// The scenarios that come with the program.
const BUILT_IN: [(&str, &str); 4] = [
    ("rollout", include_str!("../../assets/demo/scenarios/rollout.toml")),
    ("incident", include_str!("../../assets/demo/scenarios/incident.toml")),
    ("exceptions", include_str!("../../assets/demo/scenarios/exceptions.toml")),
    ("outage", include_str!("../../assets/demo/scenarios/outage.toml")),
];

/// A timed story played on the demo's clusters.
#[derive(Debug, Clone)]
pub struct Scenario {
    title: String,
    soak: Option<String>,
    steps: Vec<Step>,
    hints: Vec<Hint>,
}

impl Default for Scenario {
    /// The story `policydeck demo` tells when it is not asked for another one.
    fn default() -> Self {
        Self::named("rollout").unwrap_or_else(|_| Self::none())
    }
}

impl Scenario {
    /// Nothing ever happens: for tests.
    pub fn none() -> Self {
        Self { title: "calm".to_owned(), soak: None, steps: Vec::new(), hints: Vec::new() }
    }

    /// A built-in scenario.
    pub fn named(name: &str) -> Result<Self, DemoError> {
        let found = BUILT_IN.iter().find(|(own, _)| *own == name);
        let (_, text) = found.ok_or_else(|| {
            let names: Vec<&str> = Self::names().collect();
            DemoError::Scenario(format!("there is no scenario {name}; there are {}", names.join(", ")))
        })?;
        Self::parse(text)
    }

    /// Reads a scenario file.
    pub fn parse(text: &str) -> Result<Self, DemoError> {
        let file: File = toml::from_str(text).map_err(|error| DemoError::Scenario(error.to_string()))?;
        let mut steps = Vec::new();
        for raw in file.step {
            steps.push(Step::read(raw)?);
        }
        steps.sort_by_key(|step| step.at);
        let hints = file.guide.into_iter().map(Hint::read).collect::<Result<_, _>>()?;
        Ok(Self { title: file.title, soak: file.soak, steps, hints })
    }

    /// The built-in scenarios' names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// What the story is about, in a few words.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What happens by itself, in order.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The same story with other soaks.
    #[must_use]
    pub fn soaking(mut self, soak: String) -> Self {
        self.soak = Some(soak);
        self
    }

    /// How long every soak on the road takes instead of what the environments say.
    pub(super) fn soak(&self) -> Option<&str> {
        self.soak.as_deref()
    }

    /// What the person is told to do, one after the other.
    pub(super) fn hints(&self) -> &[Hint] {
        &self.hints
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: String,
    #[serde(default)]
    soak: Option<String>,
    #[serde(default)]
    step: Vec<Raw>,
    #[serde(default)]
    guide: Vec<RawHint>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    /// Without a time it happens at once.
    #[serde(default)]
    at: String,
    /// What happens, for readers of the file.
    #[serde(default, rename = "say")]
    _say: String,
    environment: String,
    #[serde(default)]
    apply: Option<String>,
    #[serde(default)]
    patch: Option<RawPatch>,
    #[serde(default)]
    delete: Option<Reference>,
    #[serde(default)]
    deploy: Option<Deploy>,
    #[serde(default)]
    lose: bool,
    #[serde(default)]
    find: bool,
}

/// `resource` is `plural.group`, as kubectl writes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reference {
    pub(super) resource: String,
    #[serde(default)]
    pub(super) namespace: String,
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPatch {
    resource: String,
    #[serde(default)]
    namespace: String,
    name: String,
    /// A merge patch in YAML, or a list for a JSON Patch.
    body: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Deploy {
    namespace: String,
    name: String,
    #[serde(default)]
    team: String,
    #[serde(default)]
    flaws: Vec<String>,
    replicas: u64,
}

#[derive(Debug, Clone)]
enum Act {
    Apply(Value),
    Patch(Reference, Value),
    Delete(Reference),
    Deploy(Deploy),
    Lose,
    Find,
}

/// Something that happens in one environment.
#[derive(Debug, Clone)]
pub(super) struct Step {
    at: Duration,
    environment: String,
    act: Act,
}

impl Step {
    pub(super) fn read(raw: Raw) -> Result<Self, DemoError> {
        let wrong = |what: String| DemoError::Scenario(format!("step at {}: {what}", raw.at));
        let at = if raw.at.is_empty() { "0s" } else { &raw.at };
        let at = seed::duration(at).and_then(|at| Duration::try_from(at).ok());
        let at = at.ok_or_else(|| wrong("not a time such as 20s or 2m".to_owned()))?;
        let read = |yaml: &str| -> Result<Value, DemoError> { serde_saphyr::from_str(yaml).map_err(|error| wrong(error.to_string())) };
        let mut acts = Vec::new();
        if let Some(yaml) = &raw.apply {
            acts.push(Act::Apply(read(yaml)?));
        }
        if let Some(patch) = &raw.patch {
            let of = Reference { resource: patch.resource.clone(), namespace: patch.namespace.clone(), name: patch.name.clone() };
            acts.push(Act::Patch(of, read(&patch.body)?));
        }
        acts.extend(raw.delete.clone().map(Act::Delete));
        acts.extend(raw.deploy.clone().map(Act::Deploy));
        acts.extend(raw.lose.then_some(Act::Lose));
        acts.extend(raw.find.then_some(Act::Find));
        match (acts.pop(), acts.is_empty()) {
            (Some(act), true) => Ok(Self { at, environment: raw.environment, act }),
            _ => Err(wrong("a step does exactly one thing".to_owned())),
        }
    }

    /// Makes it happen after its time.
    pub(super) async fn happen_in_time(self, servers: &[Arc<Server>]) {
        tokio::time::sleep(self.at).await;
        self.happen(servers).await;
    }

    /// Makes it happen. Losing and finding wait for sockets, so none of it may hold up the servers' own threads. What a step meets (a refusal, a missing
    /// object) is part of the story, not an error of the demo.
    async fn happen(self, servers: &[Arc<Server>]) {
        let server = servers.iter().find(|server| server.cluster.profile.name == self.environment).cloned();
        if let Some(server) = server {
            let _ = tokio::task::spawn_blocking(move || act(&server, &self.act)).await;
        }
    }
}

/// Plays the scenario to its end.
pub(crate) async fn play(steps: Vec<Step>, servers: Vec<Arc<Server>>) {
    let start = Instant::now();
    for step in steps {
        tokio::time::sleep_until(start + step.at).await;
        step.happen(&servers).await;
    }
}

fn act(server: &Server, act: &Act) -> Result<(), Failure> {
    let cluster = &server.cluster;
    match act {
        Act::Lose => server.lose(),
        Act::Find => drop(server.find()),
        Act::Apply(manifest) => apply(cluster, manifest)?,
        Act::Deploy(deploy) => apply(cluster, &deploy.manifest())?,
        Act::Patch(of, body) => {
            let resource = of.find(cluster)?;
            let kind = if body.is_array() { PatchKind::Json } else { PatchKind::Merge };
            let mut options = Options::internal(resource, "kubectl-patch");
            options.admitted = false;
            write::patch(cluster, resource, &of.key(), kind, body, &options)?;
        }
        Act::Delete(of) => {
            delete::delete(cluster, of.find(cluster)?, &of.key(), &Value::Null, false, Some("kubectl"))?;
        }
    }
    Ok(())
}

impl Reference {
    pub(super) fn find<'a>(&self, cluster: &'a Cluster) -> Result<&'a super::catalog::Resource, Failure> {
        let (plural, group) = self.resource.split_once('.').unwrap_or((&self.resource, ""));
        cluster.resource(group, plural).ok_or_else(Failure::no_such_path)
    }

    pub(super) fn key(&self) -> Key {
        Key::new(self.namespace.clone(), self.name.clone())
    }
}

impl Deploy {
    fn manifest(&self) -> Value {
        let (registry, foreign) = Workloads::load().map_or_else(|_| (String::new(), String::new()), |w| (w.registry, w.foreign));
        let app = App { kind: "Deployment", name: &self.name, namespace: &self.namespace, team: &self.team, replicas: self.replicas };
        app.manifest(&registry, &foreign, 41, &|flaw| self.flaws.iter().any(|own| own == flaw))
    }
}

/// `kubectl apply` in short: create, or merge into what is there.
fn apply(cluster: &Cluster, manifest: &Value) -> Result<(), Failure> {
    let resource = cluster.catalog.of_manifest(manifest).ok_or_else(Failure::no_such_path)?;
    let key = Key::new(text(manifest, "/metadata/namespace"), text(manifest, "/metadata/name"));
    let mut manifest = manifest.clone();
    manifest["apiVersion"] = Value::from(resource.api_version(resource.preferred()));
    let mut options = Options::internal(resource, "kubectl-client-side-apply");
    options.admitted = false;
    let exists = cluster.store().get(resource.index, &key).is_some();
    if exists {
        write::patch(cluster, resource, &key, PatchKind::Merge, &manifest, &options)?;
    } else {
        write::create(cluster, resource, &key.namespace.clone(), manifest, &options)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_scenarios_are_whole() {
        for name in Scenario::names() {
            assert!(!Scenario::named(name).unwrap().steps.is_empty(), "{name}");
        }
        assert!(Scenario::named("nope").unwrap_err().to_string().contains("rollout"));
        let two = "title = \"t\"\n[[step]]\nat = \"1s\"\nenvironment = \"dev\"\nlose = true\nfind = true\n";
        assert!(Scenario::parse(two).unwrap_err().to_string().contains("exactly one"));
    }
}
