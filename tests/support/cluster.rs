//! Fleets of real API servers, with or without controllers and Kyverno, started through the scripts in `tests/envtest`.
//!
//! A fleet's processes hang on a pipe that this process holds (`up --hold`): they end when the fleet is dropped, when the test panics and when the
//! test process is killed. A test that only uses a cluster shares a fleet with others ([`Fleet::shared`], in `shared`); of the fleets that belong to one
//! test, as many run in a process as two cores carry, however many threads the test runner has (`turn`).

use super::api::Api;
use super::{eventually, say};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use turn::Turn;

mod shared;
mod turn;

#[allow(unused_imports, reason = "each test binary uses its part of the shared support")]
pub(crate) use shared::{Need, Shared};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The release that runs, and whose CRDs `up-kyverno` installs.
pub(crate) const RUNNING: &str = "kyverno-1.19.1";

/// A former release that runs instead, as `1.18.2`, where `POLICYDECK_KYVERNO` names one; `tests/envtest/build --release` builds it.
pub(crate) fn former() -> Option<String> {
    std::env::var("POLICYDECK_KYVERNO").ok().filter(|release| !release.is_empty())
}

/// What a fleet is made of.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    /// kube-controller-manager: workloads get their Pods, the garbage collector and the namespace controller work.
    pub(crate) controllers: bool,
    /// The running Kyverno in every cluster.
    pub(crate) kyverno: bool,
    /// Its scan interval; an hour where there is none.
    pub(crate) scan: Option<&'static str>,
    /// Each request is written down: see [`Cluster::requests`].
    pub(crate) audit: bool,
}

/// Who a context of the kubeconfig is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum User {
    /// May do everything.
    Admin,
    /// In group `viewers`; may do what a test binds.
    Viewer,
    /// In group `tenants`; the tests give it rights in single namespaces.
    Tenant,
    /// In no group, and nothing is bound to it.
    Nobody,
    /// Has a token that the server does not take.
    Expired,
}

/// Says at its end how long a test had its fleet, and how long it waited for it: what is slow shows in the log of a check.
struct Took {
    test: String,
    waited: Duration,
    since: Instant,
}

impl Took {
    /// `asked` is when the test asked for its fleet.
    fn start(asked: Instant) -> Self {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        Self { test, waited: asked.elapsed(), since: Instant::now() }
    }
}

impl Drop for Took {
    fn drop(&mut self) {
        say(format_args!("TOOK {:4} s, after {} s for its clusters: {}", self.since.elapsed().as_secs(), self.waited.as_secs(), self.test));
    }
}

/// Real API servers that live as long as this value.
pub(crate) struct Fleet {
    pub(crate) run: PathBuf,
    run_name: String,
    options: Options,
    clusters: Vec<Cluster>,
    holder: Child,
    pipe: Option<ChildStdin>,
    /// Of a fleet that belongs to one test.
    _turn: Option<Turn>,
    took: Option<Took>,
}

/// One of a fleet's clusters, as its admin.
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) api: Api,
    run: PathBuf,
    runtime: Arc<Runtime>,
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/envtest")
}

/// The root folder of programs, CRDs and modules, as the scripts choose it.
pub(crate) fn root() -> PathBuf {
    let cache = std::env::var_os("POLICYDECK_CACHE").map(PathBuf::from).or_else(|| {
        let user = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        user.or_else(|| std::env::home_dir().map(|h| h.join(".cache"))).map(|c| c.join("policydeck"))
    });
    cache.expect("a home folder").join("envtest")
}

/// The folder with the CRDs of a release (`kyverno-1.13.4`, `kyverno-1.18.2`, [`RUNNING`], `openreports`).
pub(crate) fn crds(release: &str) -> PathBuf {
    root().join("crds").join(release)
}

/// The Go module that the CRDs of a release came from: Kyverno's own conformance tests lie in it.
pub(crate) fn module(release: &str) -> PathBuf {
    root().join("modules").join(release)
}

/// kubectl, as the scripts choose it.
pub(crate) fn kubectl() -> Command {
    let program = std::env::var_os("KUBEBUILDER_ASSETS").map(|p| Path::new(&p).join("kubectl")).filter(|p| p.exists());
    Command::new(program.unwrap_or_else(|| root().join("bin/kubectl")))
}

/// Whether the programs are there in the pinned versions.
fn built() -> bool {
    static BUILT: OnceLock<bool> = OnceLock::new();
    *BUILT.get_or_init(|| {
        let check = Command::new(scripts().join("build")).arg("--check").output().expect("bash runs the harness");
        check.status.success()
    })
}

/// Whether clusters can be started. Where they cannot, the test says so and is left out, unless `POLICYDECK_REQUIRE_CLUSTERS=1` makes that a failure.
fn available() -> bool {
    if !built() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let why = "the programs of tests/envtest are not built; run tests/envtest/build (about fifteen minutes, once)";
        assert!(std::env::var_os("POLICYDECK_REQUIRE_CLUSTERS").is_none_or(|v| v != "1"), "{test}: {why}");
        say(format_args!("SKIPPED {test}: {why}"));
        return false;
    }
    true
}

impl Fleet {
    /// Starts clusters for this test alone and waits until they are ready. `None` where the programs are not built.
    pub(crate) fn start(names: &[&str], options: Options) -> Option<Self> {
        available().then(|| {
            let asked = Instant::now();
            let mut fleet = Self::launch(names, options, Some(Turn::own(names.len(), options.kyverno)));
            fleet.took = Some(Took::start(asked));
            fleet
        })
    }

    fn launch(names: &[&str], options: Options, turn: Option<Turn>) -> Self {
        let run_name = format!("test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut up = Command::new(scripts().join("up"));
        up.args(["--hold", "--run", &run_name]);
        up.args(options.controllers.then_some("--controllers")).args(options.audit.then_some("--audit")).args(names);
        // A ctrl-c ends the tests, and through the pipe this; not both at once, or nobody would clean up.
        up.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = up.spawn().expect("bash runs the harness");
        let pipe = holder.stdin.take();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("piped")).read_line(&mut line).expect("the harness speaks");
        let run = line.trim().strip_prefix("ready ").map(PathBuf::from).expect("the harness starts; see its words above");

        let runtime = Arc::new(Runtime::new().expect("a runtime"));
        let kubeconfig = run.join("kubeconfig");
        let cluster = |name: &&str| Cluster {
            name: (*name).to_owned(),
            api: Api::new(&runtime, &kubeconfig, name),
            run: run.clone(),
            runtime: Arc::clone(&runtime),
        };
        let clusters = names.iter().map(cluster).collect();
        let fleet = Self { run, run_name, options, clusters, holder, pipe, _turn: turn, took: None };
        if options.kyverno {
            fleet.start_kyverno(names, false);
        }
        fleet
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.run.join("kubeconfig")
    }

    pub(crate) fn clusters(&self) -> &[Cluster] {
        &self.clusters
    }

    pub(crate) fn cluster(&self, name: &str) -> &Cluster {
        self.clusters.iter().find(|c| c.name == name).expect("a cluster of this fleet")
    }

    /// Brings back what has died of these clusters' Kubernetes, and waits until it is ready.
    pub(crate) fn restart(&self, names: &[&str]) {
        let mut up = Command::new(scripts().join("up"));
        up.args(["--run", &self.run_name]);
        up.args(self.options.controllers.then_some("--controllers")).args(self.options.audit.then_some("--audit"));
        succeed(up.args(names));
    }

    /// Starts a Prometheus that scrapes Kyverno in these clusters; its URL. `past` are samples (OpenMetrics) of the time before.
    pub(crate) fn start_prometheus(&self, names: &[&str], past: Option<&Path>) -> String {
        let mut up = Command::new(scripts().join("up-prometheus"));
        up.args(["--run", &self.run_name]);
        if let Some(past) = past {
            up.arg("--past").arg(past);
        }
        let output = succeed(up.args(names));
        String::from_utf8(output.stdout).expect("a URL").trim().to_owned()
    }

    fn last_words(&self) {
        say(format_args!("the last words of the fleet {}:", self.run_name));
        for cluster in &self.clusters {
            cluster.last_words();
        }
    }

    /// Starts Kyverno in these clusters, or brings back what has died of it; `openreports` moves its reports there.
    pub(crate) fn start_kyverno(&self, names: &[&str], openreports: bool) {
        let mut up = Command::new(scripts().join("up-kyverno"));
        up.args(["--run", &self.run_name, "--scan", self.options.scan.unwrap_or("1h")]);
        if let Some(release) = former() {
            up.args(["--release", &release]);
        }
        succeed(up.args(openreports.then_some("--openreports")).args(names));
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.last_words();
        }
        drop(self.pipe.take());
        let _ = self.holder.wait();
    }
}

/// Runs a script to its end; its words show when it fails.
fn succeed(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().expect("bash runs the harness");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

impl User {
    pub(crate) fn context(self, cluster: &str) -> String {
        match self {
            Self::Admin => cluster.to_owned(),
            Self::Viewer => format!("{cluster}-viewer"),
            Self::Tenant => format!("{cluster}-tenant"),
            Self::Nobody => format!("{cluster}-nobody"),
            Self::Expired => format!("{cluster}-expired"),
        }
    }
}

impl Cluster {
    /// The same cluster seen by another user.
    pub(crate) fn api_as(&self, user: User) -> Api {
        Api::new(&self.runtime, &self.run.join("kubeconfig"), &user.context(&self.name))
    }

    /// kubectl as this cluster's admin, with standard input; whatever comes of it.
    pub(crate) fn try_kubectl(&self, args: &[&str], input: &str) -> Output {
        let mut child = kubectl()
            .arg("--kubeconfig")
            .arg(self.run.join(format!("kubeconfig-{}", self.name)))
            .args(args)
            .env("HOME", self.run.join("home"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut pipe = child.stdin.take().expect("piped");
        // kubectl may end without reading everything, as on a usage error.
        let _ = pipe.write_all(input.as_bytes());
        drop(pipe);
        child.wait_with_output().expect("kubectl ends")
    }

    /// kubectl that must succeed; its standard output.
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        self.kubectl_with(args, "")
    }

    pub(crate) fn kubectl_with(&self, args: &[&str], input: &str) -> String {
        let output = self.try_kubectl(args, input);
        assert!(output.status.success(), "{}: kubectl {args:?}: {}", self.name, String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("kubectl writes UTF-8")
    }

    /// `kubectl apply` of manifests; namespaces are made first, so documents may name any.
    pub(crate) fn apply(&self, manifests: &str) {
        self.kubectl_with(&["apply", "-f", "-"], manifests);
    }

    /// Installs the CRDs of a release and waits until they are served.
    pub(crate) fn install_crds(&self, folder: &Path) {
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &folder.display().to_string()]);
        // `kubectl wait` fails on a CRD that has no conditions yet, and "established" comes before the handler serves: ask what the tests will ask.
        eventually("the CRDs are served", Duration::from_secs(60), || {
            let crds = self.api.list("/apis/apiextensions.k8s.io/v1/customresourcedefinitions").unwrap_or_default();
            let served = |crd: &Value| {
                let version = crd["spec"]["versions"].as_array().and_then(|v| v.iter().find(|v| v["served"] == true));
                let path = |part: &str| crd["spec"][part].as_str().unwrap_or_default().to_owned();
                let plural = crd["spec"]["names"]["plural"].as_str().unwrap_or_default();
                let version = version.and_then(|v| v["name"].as_str()).unwrap_or_default();
                self.api.get(&format!("/apis/{}/{version}/{plural}?limit=1", path("group"))).is_ok_and(|r| r.status == 200)
            };
            match crds.iter().find(|crd| !served(crd)) {
                Some(crd) => Err(format!("not yet: {}", crd["metadata"]["name"])),
                None => Ok(()),
            }
        });
    }

    pub(crate) fn namespace(&self, name: &str) {
        let body = serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let reply = self.api.post("/api/v1/namespaces", &body).expect("the API server answers");
        assert!(matches!(reply.status, 201 | 409), "{}: {}", self.name, reply.body);
    }

    /// Sends a signal (`KILL`, `STOP`, `CONT`) to one of the cluster's processes (`api`, `controllers`, `kyverno-admission`, `kyverno-reports`,
    /// `kyverno-background`, `kyverno-cleanup`); after `KILL` it is gone when this returns.
    pub(crate) fn signal(&self, process: &str, signal: &str) {
        let file = self.run.join(format!("{process}-{}.pid", self.name));
        let pid = std::fs::read_to_string(&file).expect("such a process was started").trim().to_owned();
        succeed(Command::new("kill").args(["-s", signal, &pid]));
        if signal == "KILL" {
            std::fs::remove_file(&file).expect("the run's folder is ours");
            eventually("the killed process is gone", Duration::from_secs(10), || {
                // A zombie has let go of its ports, and its parent reaps it in its own time; but the first thread is one while the others still end.
                let zombie = std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| s.contains(") Z "));
                let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
                if threads > usize::from(zombie) { Err("still there") } else { Ok(()) }
            });
        }
    }

    /// With [`Options::audit`]: what was asked of the API server by clients whose user agent contains `agent`, as `verb uri` in the order of arrival.
    pub(crate) fn requests(&self, agent: &str) -> Vec<String> {
        let log = std::fs::read_to_string(self.run.join(format!("audit-{}.log", self.name))).unwrap_or_default();
        let event = |line: &str| {
            let event: Value = serde_json::from_str(line).ok()?;
            let mine = event["userAgent"].as_str()?.contains(agent);
            mine.then(|| format!("{} {}", event["verb"].as_str().unwrap_or("?"), event["requestURI"].as_str().unwrap_or("?")))
        };
        log.lines().filter_map(event).collect()
    }

    fn last_words(&self) {
        for process in ["api", "kyverno-admission", "kyverno-reports"] {
            let log = std::fs::read_to_string(self.run.join(format!("{process}-{}.log", self.name))).unwrap_or_default();
            let bad: Vec<_> = log.lines().filter(|l| l.contains("ERR") || l.starts_with(['E', 'F'])).collect();
            for line in &bad[bad.len().saturating_sub(5)..] {
                say(format_args!("{process}-{}: {line}", self.name));
            }
        }
    }
}
