//! A company's four clusters without a cluster: an in-process Kubernetes API server per environment on loopback,
//! an imitation of Kyverno in each, and a scenario that makes things happen.
//!
//! ```no_run
//! use policydeck::demo::{Demo, DemoOptions};
//!
//! let demo = Demo::start(DemoOptions::default())?;
//! let kubeconfig = demo.kubeconfig(); // contexts dev, qac, staging, production
//! demo.lose("qac");
//! # Ok::<(), policydeck::demo::DemoError>(())
//! ```
//!
//! The app sees ordinary clusters through an ordinary kubeconfig; nothing outside this module knows of the demo.
//! The server is generic (kinds are data), and the imitation reads policies in its own way, not the product's.
//! Not here: anything of policydeck itself.

mod access;
mod call;
mod catalog;
mod checks;
mod cluster;
mod controllers;
mod delete;
mod discovery;
mod failure;
mod fields;
mod fleet;
mod guide;
mod kyverno;
mod managed;
mod patch;
mod read;
mod request;
mod route;
mod scale;
mod scenario;
mod seed;
mod seed_kyverno;
mod select;
mod server;
mod shape;
mod store;
mod watching;
mod witness;
mod write;

use std::fmt;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use access::Secret;
use catalog::Catalog;
use cluster::{Cluster, Profile, hash};
use fleet::{Environment, Fleet, Workloads};
use seed::Seeder;
use server::Server;

pub use cluster::Pace;
pub use scenario::Scenario;
pub use witness::{Asked, Changed, Fate, Witness};

/// How to start a demo.
#[derive(Debug, Clone, Default)]
pub struct DemoOptions {
    /// Port of the first environment; the others take those after it. Free ports when absent.
    pub listen_port: Option<u16>,
    /// What happens while the demo runs.
    pub scenario: Scenario,
    /// How fast the imitation of Kyverno reacts.
    pub pace: Pace,
}

/// Why a demo could not start or do what it was told.
#[derive(Debug)]
pub enum DemoError {
    /// A socket could not be had.
    Listen(io::Error),
    /// The demo's own data is wrong.
    Data(String),
    /// The scenario does not exist or cannot be read.
    Scenario(String),
    /// There is no environment of this name.
    NoEnvironment(String),
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(error) => write!(f, "cannot listen on loopback: {error}"),
            Self::Data(what) => write!(f, "the demo's data is wrong: {what}"),
            Self::Scenario(what) => write!(f, "the scenario cannot be used: {what}"),
            Self::NoEnvironment(name) => write!(f, "the demo has no environment {name}"),
        }
    }
}

impl std::error::Error for DemoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen(error) => Some(error),
            _ => None,
        }
    }
}

/// How long policies soak in `assets/demo/fleet.toml`; a story may make it shorter.
const SOAK: &str = "7d";

/// Users of every demo cluster besides the admin.
const OTHER_USERS: [&str; 2] = ["viewer", "nobody"];

/// A running demo. Dropping it closes every socket.
#[derive(Debug)]
pub struct Demo {
    secret: Secret,
    servers: Vec<Arc<Server>>,
    environments: Vec<Environment>,
    title: String,
    soak: Option<String>,
    said: Option<watch::Receiver<Arc<str>>>,
    /// Its own threads, so that a busy or single-threaded caller cannot stall the clusters.
    runtime: Option<Runtime>,
}

impl Demo {
    /// Seeds and starts all environments. Returns when every port answers.
    pub fn start(options: DemoOptions) -> Result<Self, DemoError> {
        let fleet = Fleet::load().map_err(|error| DemoError::Data(error.to_string()))?;
        let workloads = Workloads::load().map_err(|error| DemoError::Data(error.to_string()))?;
        let now = Timestamp::now();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("demo")
            .enable_all()
            .build()
            .map_err(DemoError::Listen)?;
        let secret = Secret::new().ok_or_else(|| DemoError::Listen(io::Error::other("the system gives no random numbers")))?;
        let mut servers = Vec::new();
        for (environment, n) in fleet.environment.iter().zip(0_u16..) {
            let cluster = Arc::new(seeded(&fleet, &workloads, environment, options.pace, now)?);
            let port = options.listen_port.map_or(0, |first| first.saturating_add(n));
            runtime.spawn(controllers::run(cluster.clone()));
            runtime.spawn(kyverno::status::run(cluster.clone()));
            runtime.spawn(kyverno::reports::run(cluster.clone()));
            runtime.spawn(kyverno::webhooks::run(cluster.clone()));
            let server = Server::start(cluster, port, secret.clone(), runtime.handle()).map_err(DemoError::Listen)?;
            servers.push(Arc::new(server));
        }
        let story = options.scenario;
        runtime.spawn(scenario::play(story.steps().to_vec(), servers.clone()));
        let said = (!story.hints().is_empty()).then(|| {
            let (sender, said) = watch::channel(Arc::from(""));
            runtime.spawn(guide::guide(story.hints().to_vec(), servers.clone(), sender));
            said
        });
        let (title, soak) = (story.title().to_owned(), story.soak().map(str::to_owned));
        Ok(Self { secret, servers, environments: fleet.environment, title, soak, said, runtime: Some(runtime) })
    }

    /// The environments' names in the order of the road.
    pub fn environments(&self) -> impl Iterator<Item = &str> {
        self.environments.iter().map(|environment| environment.name.as_str())
    }

    /// The address of an environment's API server.
    pub fn url(&self, environment: &str) -> Result<String, DemoError> {
        self.server(environment).map(Server::url)
    }

    /// The bearer token of a user: `admin`, `viewer` or `nobody`.
    pub fn token(&self, user: &str) -> String {
        self.secret.token(user)
    }

    /// A kubeconfig with contexts NAME, NAME-viewer and NAME-nobody per environment; the first one is current.
    pub fn kubeconfig(&self) -> String {
        self.kubeconfig_below("")
    }

    /// The same for kubectl, which sends no token over plain HTTP: the secret is in the addresses.
    pub fn kubeconfig_for_kubectl(&self) -> String {
        self.kubeconfig_below(&self.secret.path())
    }

    fn kubeconfig_below(&self, path: &str) -> String {
        let mut out = String::from("apiVersion: v1\nkind: Config\n");
        let first = self.environments().next().unwrap_or_default().to_owned();
        let _ = writeln!(out, "current-context: {first}");
        let (mut clusters, mut contexts) = (String::from("clusters:\n"), String::from("contexts:\n"));
        for server in &self.servers {
            let (name, url) = (&server.cluster.profile.name, format!("{}{path}", server.url()));
            let _ = writeln!(clusters, "- {{name: {name}, cluster: {{server: \"{url}\"}}}}");
            let _ = writeln!(contexts, "- {{name: {name}, context: {{cluster: {name}, user: admin}}}}");
            for user in OTHER_USERS {
                let _ = writeln!(clusters, "- {{name: {name}-{user}, cluster: {{server: \"{url}/user/{user}\"}}}}");
                let _ = writeln!(contexts, "- {{name: {name}-{user}, context: {{cluster: {name}-{user}, user: {user}}}}}");
            }
        }
        out.push_str(&clusters);
        out.push_str("users:\n");
        for user in std::iter::once("admin").chain(OTHER_USERS) {
            let _ = writeln!(out, "- {{name: {user}, user: {{token: {}}}}}", self.secret.token(user));
        }
        out.push_str(&contexts);
        out
    }

    /// A policydeck configuration of the road: the environments in order with their contexts, tiers and steps.
    pub fn config_toml(&self) -> String {
        let mut out = String::new();
        for environment in &self.environments {
            let _ = writeln!(out, "[[environments]]\nname = \"{0}\"\ncontext = \"{0}\"", environment.name);
            if let Some(tier) = &environment.tier {
                let _ = writeln!(out, "tier = \"{tier}\"");
            }
            let soak = self.soak.as_deref().unwrap_or(SOAK);
            let _ = writeln!(out, "steps = {}\n", environment.steps.replace(SOAK, soak));
        }
        out
    }

    /// One line that says that this is no real fleet, and what is going to happen.
    pub fn banner(&self) -> String {
        let names: Vec<&str> = self.environments().collect();
        format!("DEMO: {} imaginary clusters ({}) on loopback · scenario: {}", names.len(), names.join(", "), self.title)
    }

    /// What the person is told to do now, where the story guides them.
    pub fn guide(&self) -> Option<watch::Receiver<Arc<str>>> {
        self.said.clone()
    }

    /// Takes an environment away: its listener closes, every connection is cut, new ones are refused.
    pub fn lose(&self, environment: &str) -> Result<(), DemoError> {
        self.server(environment)?.lose();
        Ok(())
    }

    /// Gives a lost environment back on the same port, with everything that happened in it meanwhile.
    pub fn find(&self, environment: &str) -> Result<(), DemoError> {
        self.server(environment)?.find().map_err(DemoError::Listen)
    }

    /// Forgets an environment's past: older watches and continue tokens get `410 Expired`.
    pub fn compact(&self, environment: &str) -> Result<(), DemoError> {
        self.server(environment)?.cluster.store().compact();
        Ok(())
    }

    /// Has somebody see what clients change from now on. There is one witness; a second one is not taken, which `false` says.
    pub fn witnessed_by(&self, witness: &Arc<dyn Witness>) -> bool {
        self.servers.iter().all(|server| server.cluster.witness.set(Arc::clone(witness)).is_ok())
    }

    fn server(&self, environment: &str) -> Result<&Server, DemoError> {
        let found = self.servers.iter().find(|server| server.cluster.profile.name == environment);
        found.map(AsRef::as_ref).ok_or_else(|| DemoError::NoEnvironment(environment.to_owned()))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        for server in &self.servers {
            server.lose();
        }
        if let Some(runtime) = self.runtime.take() {
            // A demo may be dropped inside somebody's async code, where waiting for threads is forbidden.
            runtime.shutdown_background();
        }
    }
}

fn seeded(fleet: &Fleet, workloads: &Workloads, environment: &Environment, pace: Pace, now: Timestamp) -> Result<Cluster, DemoError> {
    let profile = Profile {
        name: environment.name.clone(),
        kubernetes: environment.kubernetes.clone(),
        minor: environment.minor(),
        features: environment.features.clone(),
        unsigned: fleet.unsigned.clone(),
    };
    let catalog = Catalog::load(profile.minor, &profile.features).map_err(|error| DemoError::Data(error.to_string()))?;
    let cluster = Cluster::new(profile, catalog, pace, hash(&environment.name));
    Seeder { cluster: &cluster, environment, now }
        .run(fleet, workloads)
        .map_err(|what| DemoError::Data(format!("{}: {what}", environment.name)))?;
    Ok(cluster)
}
