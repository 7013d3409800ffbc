//! Clients other people wrote: kube and kubectl; and the files they read.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Command;

use policydeck::demo::Demo;
use serde_json::{Value, json};

use super::client::*;

#[tokio::test]
async fn kube_clients_are_at_home() {
    use kube::api::{ApiResource, DynamicObject, ListParams, WatchParams};
    use kube::core::GroupVersionKind;
    let kubeconfig = kube::config::Kubeconfig::from_yaml(&shared().kubeconfig()).unwrap();
    let options = kube::config::KubeConfigOptions { context: Some("dev-viewer".into()), ..Default::default() };
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    let client = kube::Client::try_from(config).unwrap();
    let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("kyverno.io", "v1", "ClusterPolicy"), "clusterpolicies");
    let policies: kube::Api<DynamicObject> = kube::Api::all_with(client.clone(), &kind);
    let list = policies.list(&ListParams::default().limit(4)).await.unwrap();
    assert_eq!(list.items.len(), 4);
    let mut events = Box::pin(policies.watch(&WatchParams::default().timeout(1), "0").await.unwrap());
    assert!(futures::StreamExt::next(&mut events).await.unwrap().is_ok());
    let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("kyverno.io", "v2", "PolicyException"), "policyexceptions");
    let refused = kube::Api::<DynamicObject>::all_with(client, &kind).list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 403));
}

#[test]
fn files_are_as_clients_read_them() {
    let kubeconfig: Value = serde_saphyr::from_str(&shared().kubeconfig()).unwrap();
    assert_eq!(kubeconfig["current-context"], "dev");
    assert_eq!(kubeconfig["contexts"].as_array().unwrap().len(), 12);
    let config: toml::Table = toml::from_str(&shared().config_toml()).unwrap();
    let environments = config["environments"].as_array().unwrap();
    let order: Vec<&str> = environments.iter().map(|e| e["name"].as_str().unwrap()).collect();
    assert_eq!(order, ["dev", "qac", "staging", "production"]);
    assert_eq!(environments[3]["tier"].as_str(), Some("production"));
    assert!(shared().banner().contains("DEMO"));
}

/// The real kubectl, where the developer's cache has one.
struct Kubectl {
    program: PathBuf,
    home: tempfile::TempDir,
}

impl Kubectl {
    fn find(demo: &Demo) -> Option<Self> {
        let program = PathBuf::from(std::env::var_os("HOME")?).join(".cache/policydeck/envtest/bin/kubectl");
        if !program.exists() {
            eprintln!("skipped: no kubectl at {}", program.display());
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("config"), demo.kubeconfig_for_kubectl()).unwrap();
        Some(Self { program, home })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("KUBECONFIG", self.home.path().join("config")).env("HOME", self.home.path());
        command
    }

    /// Status, standard output, standard error.
    fn run(&self, arguments: &[&str]) -> (bool, String, String) {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let (success, out, err) = self.run(arguments);
        assert!(success, "kubectl {arguments:?}: {out}{err}");
        out
    }

    fn file(&self, name: &str, manifest: &Value) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, manifest.to_string()).unwrap();
        path.display().to_string()
    }
}

#[test]
fn kubectl_works_with_it() {
    let demo = start();
    let Some(kubectl) = Kubectl::find(&demo) else {
        return;
    };
    assert!(kubectl.ok(&["get", "cpol"]).contains("require-team-label"));
    assert!(kubectl.ok(&["get", "polr", "-n", "payments"]).starts_with("NAME"));
    assert!(kubectl.ok(&["--context", "staging", "get", "reps", "-A"]).contains("checkout"));
    let file = kubectl.file("p.json", &policy("mine"));
    assert!(kubectl.ok(&["apply", "--dry-run=server", "-f", &file]).contains("created (server dry run)"));
    assert!(kubectl.ok(&["apply", "-f", &file]).contains("created"));
    let version = || kubectl.ok(&["get", "cpol", "mine", "-o", "jsonpath={.metadata.generation}"]);
    let before = version();
    kubectl.ok(&["apply", "-f", &file]);
    assert_eq!(version(), before, "the same manifest again is no new generation");
    kubectl.ok(&["wait", "cpol/mine", "--for=condition=Ready", "--timeout=10s"]);
    assert!(
        kubectl
            .ok(&["patch", "cpol", "mine", "--type=merge", "-p", "{\"spec\":{\"validationFailureAction\":\"Enforce\"}}"])
            .contains("patched")
    );
    assert!(kubectl.ok(&["label", "cpol", "mine", "a=b"]).contains("labeled"));
    kubectl.ok(&["apply", "--server-side", "--force-conflicts", "-f", &file]);
    assert!(kubectl.ok(&["delete", "cpol", "mine"]).contains("deleted"));
    let (success, _, err) = kubectl.run(&["apply", "-n", "checkout", "-f", &kubectl.file("bad.json", &pod("bad", &json!({})))]);
    assert!(!success && err.contains("denied the request"), "{err}");
    let wrong =
        json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "w"}, "spec": {"rulez": [], "rules": []}});
    let (success, _, err) = kubectl.run(&["apply", "-f", &kubectl.file("wrong.json", &wrong)]);
    assert!(!success && err.contains("unknown field \"spec.rulez\""), "{err}");
    assert!(kubectl.ok(&["auth", "can-i", "patch", "pods"]).contains("yes"));
    let (success, out, _) = kubectl.run(&["--context", "dev-viewer", "auth", "can-i", "patch", "pods"]);
    assert!(!success && out.contains("no"));
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}});
    kubectl.ok(&["create", "-f", &kubectl.file("c.json", &config)]);
    kubectl.ok(&["scale", "deploy/query-api", "-n", "search", "--replicas=2"]);
}

#[test]
fn kubectl_watches() {
    let demo = start();
    let Some(kubectl) = Kubectl::find(&demo) else {
        return;
    };
    let mut child = kubectl.command(&["get", "cpol", "-w", "--no-headers"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    ask(&demo, "dev").post(CPOL, &policy("watched"));
    let seen = std::iter::once(first).chain(lines.map_while(Result::ok)).any(|line| line.starts_with("watched"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(seen);
}
