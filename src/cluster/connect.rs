//! From a kubeconfig context to a client.
//!
//! Building a client may run an exec plugin, which blocks and may want to talk to a terminal that is not there: it runs on a blocking
//! thread, without input, and within a time limit.

use super::ClusterSpec;
use super::client::Clients;
use super::refusal::{Refusal, deepest};
use super::requests::Requests;
use kube::config::{Config, ExecInteractiveMode, KubeConfigOptions, Kubeconfig};
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// How long an exec plugin may take.
const CREDENTIALS: Duration = Duration::from_secs(30);

/// A client with what should be said about it.
pub(super) struct Connection {
    pub(super) requests: Requests,
    /// URL of the API server.
    pub(super) server: String,
    /// The exec plugin that gets the credentials, as a command line.
    pub(super) plugin: Option<String>,
}

fn read(kubeconfig: Option<&Path>) -> Result<Kubeconfig, String> {
    let read = match kubeconfig {
        Some(path) => Kubeconfig::read_from(path).map_err(|error| format!("{}: {}", path.display(), deepest(&error))),
        None => Kubeconfig::read().map_err(|error| format!("the kubeconfig cannot be read: {}", deepest(&error))),
    };
    read.map(|mut config| {
        // An absent context is told in our words, with the names there are.
        config.contexts.retain(|named| named.context.is_some());
        config
    })
}

/// Builds the client of an environment.
pub(super) async fn connect(spec: &ClusterSpec) -> Result<Connection, Refusal> {
    let spec = spec.clone();
    let runtime = tokio::runtime::Handle::current();
    let built = tokio::task::spawn_blocking(move || runtime.block_on(build(&spec)));
    match timeout(CREDENTIALS, built).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(_)) => Err(Refusal::Invalid("building the client failed".to_owned())),
        Err(_) => Err(Refusal::Unauthorized(format!("the credentials did not arrive within {} s", CREDENTIALS.as_secs()))),
    }
}

async fn build(spec: &ClusterSpec) -> Result<Connection, Refusal> {
    let mut config = configure(spec).await.map_err(Refusal::Invalid)?;
    config.connect_timeout = Some(spec.request_timeout.min(Duration::from_secs(10)));
    // Retries are ours: a list that is throttled should say so, not sit silently.
    config.default_retry = false;
    if spec.impersonate_user.is_some() {
        config.auth_info.impersonate.clone_from(&spec.impersonate_user);
    }
    if !spec.impersonate_groups.is_empty() {
        config.auth_info.impersonate_groups = Some(spec.impersonate_groups.clone());
    }
    let plugin = config.auth_info.exec.as_mut().map(|exec| {
        exec.interactive_mode = Some(ExecInteractiveMode::Never);
        let command = exec.command.clone().unwrap_or_default();
        [command].into_iter().chain(exec.args.clone().unwrap_or_default()).collect::<Vec<_>>().join(" ")
    });
    let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let clients = Clients::new(config).map_err(|error| match Refusal::from_kube(&error) {
        Refusal::Unreachable(why) => Refusal::Invalid(why),
        other => other,
    })?;
    Ok(Connection { requests: Requests::new(clients, spec.request_timeout), server, plugin })
}

async fn configure(spec: &ClusterSpec) -> Result<Config, String> {
    let in_cluster = spec.kubeconfig.is_none() && spec.context.is_none() && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    if in_cluster && std::env::var_os("KUBECONFIG").is_none() {
        return Config::incluster().map_err(|error| deepest(&error));
    }
    let kubeconfig = read(spec.kubeconfig.as_deref())?;
    let name = spec.context.clone().or_else(|| kubeconfig.current_context.clone());
    let Some(name) = name else {
        return Err("the kubeconfig has no current context; name one with --context or in the configuration".to_owned());
    };
    if !kubeconfig.contexts.iter().any(|context| context.name == name) {
        let known: Vec<&str> = kubeconfig.contexts.iter().map(|context| context.name.as_str()).collect();
        return Err(format!(
            "the kubeconfig has no context \"{name}\"; it has {}",
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        ));
    }
    let explicit_proxy = proxy_of(&kubeconfig, &name);
    let options = KubeConfigOptions { context: Some(name), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| deepest(&error))?;
    // kube 5.0 holds NO_PROXY against the proxy's own address instead of the server's (config/file_loader.rs, `proxy_url`).
    if !explicit_proxy && config.proxy_url.is_some() && bypasses_proxy(config.cluster_url.host().unwrap_or_default()) {
        config.proxy_url = None;
    }
    Ok(config)
}

/// Whether the context's cluster names a proxy of its own.
fn proxy_of(kubeconfig: &Kubeconfig, context: &str) -> bool {
    let cluster = kubeconfig.contexts.iter().find(|c| c.name == context).and_then(|c| c.context.as_ref()).map(|c| c.cluster.as_str());
    let entry = kubeconfig.clusters.iter().find(|c| Some(c.name.as_str()) == cluster).and_then(|c| c.cluster.as_ref());
    entry.is_some_and(|cluster| cluster.proxy_url.as_ref().is_some_and(|url| !url.is_empty()))
}

fn bypasses_proxy(host: &str) -> bool {
    let list = std::env::var("NO_PROXY").or_else(|_| std::env::var("no_proxy")).unwrap_or_default();
    matches_no_proxy(host, &list)
}

/// Whether `host` is in a `NO_PROXY` list: exact names and addresses, domains with or without a leading dot, or `*`.
fn matches_no_proxy(host: &str, list: &str) -> bool {
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(entry, |(name, _)| name);
        let domain = entry.trim_start_matches("*.").trim_start_matches('.');
        entry == "*"
            || host.eq_ignore_ascii_case(domain)
            || host.to_ascii_lowercase().ends_with(&format!(".{}", domain.to_ascii_lowercase()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_is_about_the_server() {
        let table = [
            ("api.corp", "corp", true),
            ("api.corp", ".corp,", true),
            ("api.corp", "localhost, api.corp:6443", true),
            ("api.corp", "rp", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("api.corp", "*", true),
            ("api.corp", "", false),
        ];
        for (host, list, expected) in table {
            assert_eq!(matches_no_proxy(host, list), expected, "{host} in {list:?}");
        }
    }

    #[test]
    fn a_missing_context_names_those_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'https://x'}}]\ncontexts: [{name: a, context: {cluster: c}}]\n").unwrap();
        let spec = ClusterSpec {
            name: "e".into(),
            tier: crate::domain::Tier::Normal,
            context: Some("b".to_owned()),
            kubeconfig: Some(path),
            namespaces: Vec::new(),
            request_timeout: Duration::from_secs(1),
            impersonate_user: None,
            impersonate_groups: Vec::new(),
            summaries: false,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let error = runtime.block_on(configure(&spec)).unwrap_err();
        assert_eq!(error, "the kubeconfig has no context \"b\"; it has a");
    }
}
