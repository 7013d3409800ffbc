//! From a kubeconfig context to a client.
//!
//! What may block, such as reading files on a home folder that hangs, happens on a blocking thread and within a time limit.

use super::ClusterSpec;
use super::client::Clients;
use super::contained::{contain, contained};
use super::kubeconfig::{Concern, choose, is_in_cluster};
use super::plugin;
use super::refusal::{Refusal, outline};
use super::requests::Requests;
use super::usable::usable;
use crate::domain::Insecure;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use jiff::Timestamp;
use kube::config::{Config, ExecConfig, KubeConfigOptions};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long a client may take to build, without an exec plugin, which has its own limit.
const LIMIT: Duration = Duration::from_secs(30);
/// Maximum number of characters of an error, which may repeat names of a kubeconfig.
const LONGEST: usize = 1000;
/// How long before their end credentials are renewed, if they last long enough.
const BEFORE_EXPIRY: Duration = Duration::from_secs(60);
/// The shortest time between two renewals: a plugin may give the same credentials again until they have run out.
const RENEW_AGAIN: Duration = Duration::from_secs(10);

/// A client with what should be said about it.
pub(super) struct Connection {
    pub(super) requests: Requests,
    /// URL of the API server.
    pub(super) server: String,
    /// Address of the proxy on the way there.
    pub(super) proxy: Option<String>,
    /// What of the way there others could read or answer.
    pub(super) insecure: Vec<Insecure>,
    /// The program of the exec plugin that gets the credentials.
    pub(super) plugin: Option<String>,
    /// The kubeconfig's context.
    pub(super) context: Option<String>,
    /// What it was built from; `None` in a cluster, where the client reads its token again by itself.
    pub(super) concern: Option<Concern>,
    /// When new credentials should be got, if the plugin tells how long they last.
    pub(super) renew_at: Option<Instant>,
}

/// Builds the client of an environment.
pub(super) async fn connect(spec: &ClusterSpec) -> Result<Connection, Refusal> {
    contained("login", &spec.name, build(spec)).await.unwrap_or_else(|error| Err(error.into()))
}

async fn build(spec: &ClusterSpec) -> Result<Connection, Refusal> {
    let (mut config, chosen) = configure(spec).await?;
    let (context, concern) = chosen.unzip();
    config.connect_timeout = Some(spec.request_timeout.min(Duration::from_secs(10)));
    // Retries are ours: a list that is throttled should say so, not sit silently.
    config.default_retry = false;
    if spec.impersonate_user.is_some() {
        config.auth_info.impersonate.clone_from(&spec.impersonate_user);
    }
    if !spec.impersonate_groups.is_empty() {
        config.auth_info.impersonate_groups = Some(spec.impersonate_groups.clone());
    }
    let (mut plugin, mut renew_at) = (None, None);
    if let Some(exec) = take_plugin(&mut config) {
        plugin = Some(plugin::program(&exec));
        let credentials = plugin::run(&exec).await?;
        renew_at = credentials.expires.map(|expires| Instant::now() + until_renewal(expires, Timestamp::now()));
        config.auth_info.token = credentials.token.map(Into::into);
        if let Some((certificate, key)) = credentials.identity {
            config.auth_info.client_certificate_data = Some(STANDARD.encode(certificate));
            config.auth_info.client_key_data = Some(STANDARD.encode(key).into());
        }
    }
    usable(&config)?;
    let proxy = config.proxy_url.as_ref().map(address);
    let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let insecure = insecure(&config);
    // Files are read, and old kinds of plugins are run.
    let (runtime, name) = (tokio::runtime::Handle::current(), Arc::clone(&spec.name));
    let built = tokio::task::spawn_blocking(move || {
        let _entered = runtime.enter();
        contain(|| Clients::new(&config, &name))
    });
    let clients = match timeout(LIMIT, built).await {
        Ok(Ok(clients)) => clients?.map_err(|error| match Refusal::from_kube(&error) {
            // The text of a certificate or a key that cannot be read is not repeated.
            Refusal::Unreachable(_) => Refusal::Invalid(outline(&error)),
            other => other,
        })?,
        Ok(Err(_)) => return Err(Refusal::Invalid("building the client failed".to_owned())),
        Err(_) => return Err(Refusal::Unauthorized(format!("the credentials did not arrive within {} s", LIMIT.as_secs()))),
    };
    Ok(Connection { requests: Requests::new(clients, spec.request_timeout), server, proxy, insecure, plugin, context, concern, renew_at })
}

/// Takes the exec plugin out, if nothing else is configured that comes before it: we run it ourselves.
fn take_plugin(config: &mut Config) -> Option<ExecConfig> {
    let auth = &mut config.auth_info;
    let is_basic = auth.username.is_some() && auth.password.is_some();
    let comes_before = is_basic || auth.auth_provider.is_some() || auth.token.is_some() || auth.token_file.is_some();
    auth.exec.take().filter(|_| !comes_before)
}

/// How long to wait before credentials are renewed: until shortly before they run out.
fn until_renewal(expires: Timestamp, now: Timestamp) -> Duration {
    let left = Duration::try_from(expires.duration_since(now)).unwrap_or_default();
    left.saturating_sub(BEFORE_EXPIRY).max((left / 2).min(BEFORE_EXPIRY)).max(RENEW_AGAIN)
}

async fn configure(spec: &ClusterSpec) -> Result<(Config, Option<(String, Concern)>), Refusal> {
    if is_in_cluster(spec) {
        return Ok((Config::incluster().map_err(|error| Refusal::Invalid(outline(&error)))?, None));
    }
    let spec = spec.clone();
    let chosen = tokio::task::spawn_blocking(move || {
        contain(|| {
            let mut chosen = choose(&spec)?;
            chosen.check_files()?;
            let concern = chosen.concern();
            chosen.take_untidy_token();
            Ok((concern, chosen))
        })
    });
    let chosen = timeout(LIMIT, chosen).await.map_err(|_| Refusal::Invalid("the kubeconfig cannot be read: no answer".to_owned()))?;
    let (concern, chosen) = chosen
        .map_err(|_| Refusal::Invalid("the kubeconfig cannot be read".to_owned()))??
        .map_err(|why: String| Refusal::Invalid(why.chars().take(LONGEST).collect()))?;
    let names_proxy = chosen.names_proxy();
    let options = KubeConfigOptions { context: Some(chosen.context.clone()), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(chosen.kubeconfig, &options).await;
    let mut config = config.map_err(|error| Refusal::Invalid(outline(&error)))?;
    config.cluster_url = without_userinfo(config.cluster_url);
    // kube 5.0 holds NO_PROXY against the proxy's own address instead of the server's (config/file_loader.rs, `proxy_url`).
    if !names_proxy && config.proxy_url.is_some() && bypasses_proxy(config.cluster_url.host().unwrap_or_default()) {
        config.proxy_url = None;
    }
    Ok((config, Some((chosen.context, concern))))
}

/// What of a connection is open to others. Plain HTTP within this machine is not.
fn insecure(config: &Config) -> Vec<Insecure> {
    let (url, auth) = (&config.cluster_url, &config.auth_info);
    let is_http = url.scheme_str() == Some("http");
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let sends = auth.token.is_some() || auth.token_file.is_some() || auth.password.is_some() || auth.auth_provider.is_some();
    let unverified = (config.accept_invalid_certs && !is_http).then_some(Insecure::Tls);
    unverified.into_iter().chain((is_http && sends && !is_here).then_some(Insecure::PlainHttp)).collect()
}

/// A URL as clients may see it: they log its authority, and send no userinfo anyway.
fn without_userinfo(url: Uri) -> Uri {
    let mut parts = url.clone().into_parts();
    let host = parts.authority.as_ref().and_then(|authority| authority.as_str().rsplit_once('@')).and_then(|(_, host)| host.parse().ok());
    match host {
        Some(host) => {
            parts.authority = Some(host);
            Uri::from_parts(parts).unwrap_or(url)
        }
        None => url,
    }
}

/// Scheme, host and port of a proxy, without the credentials that its URL may hold.
fn address(proxy: &http::Uri) -> String {
    let port = proxy.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", proxy.scheme_str().unwrap_or("http"), proxy.host().unwrap_or_default())
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
    fn a_way_that_others_can_read_is_named() {
        for (url, unverified, token, expected) in [
            ("https://h", false, true, &[][..]),
            ("https://h", true, false, &[Insecure::Tls]),
            ("https://127.0.0.1:6443", true, true, &[Insecure::Tls]),
            ("http://h", false, true, &[Insecure::PlainHttp]),
            ("http://h", true, true, &[Insecure::PlainHttp]),
            ("http://h", false, false, &[]),
            ("http://127.0.0.1:8001", false, true, &[]),
            ("http://[::1]:8001", false, true, &[]),
            ("http://localhost:8001", false, true, &[]),
        ] {
            let mut config = Config::new(url.parse().unwrap());
            config.accept_invalid_certs = unverified;
            config.auth_info.token = token.then(|| "t".to_owned().into());
            assert_eq!(insecure(&config), expected, "{url}");
        }
    }

    #[test]
    fn a_server_is_reached_without_the_userinfo_of_its_url() {
        for (url, expected) in [
            ("https://jane:secret@h:6443/k8s", "https://h:6443/k8s"),
            ("https://h:6443/a@b", "https://h:6443/a@b"),
            ("https://jane@[::1]:6443", "https://[::1]:6443/"),
        ] {
            assert_eq!(without_userinfo(url.parse().unwrap()).to_string(), expected);
        }
    }

    #[test]
    fn a_proxy_is_named_without_its_password() {
        for (url, expected) in [
            ("http://127.0.0.1:3128", "http://127.0.0.1:3128"),
            ("http://jane:secret@proxy.corp:8080/", "http://proxy.corp:8080"),
            ("socks5://proxy", "socks5://proxy"),
        ] {
            assert_eq!(address(&url.parse().unwrap()), expected);
        }
    }

    #[test]
    fn credentials_are_renewed_before_they_run_out() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let table = [(3600, 3540), (121, 61), (100, 50), (30, 15), (12, 10), (0, 10), (-50, 10)];
        for (left, wait) in table {
            let expires = now + jiff::SignedDuration::from_secs(left);
            assert_eq!(until_renewal(expires, now), Duration::from_secs(wait), "{left} s are left");
        }
    }
}
