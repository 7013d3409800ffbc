//! Whether a client can be built from a configuration at all: what kube would panic over or run without our limits is an error here.

use super::refusal::Refusal;
use http::{HeaderValue, Uri};
use kube::Config;
use kube::config::AuthInfo;

/// Maximum length of a URL of a kubeconfig, so that a path fits after it into what `http::Uri` takes.
const LONGEST_URL: usize = 2048;

pub(super) fn usable(config: &Config) -> Result<(), Refusal> {
    url("server", &config.cluster_url, &["https", "http"])?;
    if let Some(proxy) = &config.proxy_url {
        url("proxy-url", proxy, &["https", "http", "socks5"])?;
    }
    credentials(&config.auth_info)
}

/// What is wrong with a URL is said without the URL, which may hold a password.
fn url(what: &str, url: &Uri, schemes: &[&str]) -> Result<(), Refusal> {
    let invalid = |why: &str| Err(Refusal::Invalid(format!("the kubeconfig's {what} {why}")));
    if !url.scheme_str().is_some_and(|scheme| schemes.contains(&scheme)) {
        return invalid(&format!("does not begin with {}://", schemes.join(":// or ")));
    }
    if url.host().is_none_or(str::is_empty) {
        return invalid("names no host");
    }
    if url.authority().is_some_and(|authority| authority.port_u16().is_none() && authority.as_str().ends_with(':')) {
        return invalid("names no port after the colon");
    }
    if url.to_string().len() > LONGEST_URL {
        return invalid(&format!("is longer than {LONGEST_URL} bytes"));
    }
    Ok(())
}

fn credentials(user: &AuthInfo) -> Result<(), Refusal> {
    let provider = user.auth_provider.as_ref().filter(|provider| provider.name == "gcp");
    if provider.is_some_and(|provider| provider.config.contains_key("cmd-path")) {
        let remedy = "use its exec plugin (gke-gcloud-auth-plugin), as kubectl does since 1.26";
        return Err(Refusal::Unauthorized(format!("no credentials: the command of the auth provider gcp is not run; {remedy}")));
    }
    let given =
        provider.into_iter().flat_map(|provider| ["id-token", "access-token"].map(|key| provider.config.get(key).cloned())).flatten();
    if own_token(user).into_iter().chain(given).any(|token| HeaderValue::try_from(format!("Bearer {token}")).is_err()) {
        return Err(Refusal::Unauthorized(
            "no credentials: the token holds a line break or another character that cannot be sent".to_owned(),
        ));
    }
    Ok(())
}

/// The token as it is written. kube shows it to nobody but a serializer.
fn own_token(user: &AuthInfo) -> Option<String> {
    user.token.as_ref()?;
    let written = serde_json::to_value(AuthInfo { token: user.token.clone(), ..AuthInfo::default() }).ok()?;
    written.get("token")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn why(server: &str, proxy: Option<&str>, user: Value) -> Result<(), String> {
        let mut config = Config::new(server.parse().unwrap());
        config.proxy_url = proxy.map(|proxy| proxy.parse().unwrap());
        config.auth_info = serde_json::from_value(user).unwrap();
        usable(&config).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn what_no_client_can_be_built_from_is_said() {
        let server = |url: &str| why(url, None, json!({}));
        for good in ["https://x", "http://127.0.0.1:6443/k8s/clusters/c", "https://[::1]:6443"] {
            assert_eq!(server(good), Ok(()), "{good}");
        }
        let schemes = "the kubeconfig's server does not begin with https:// or http://";
        for (url, said) in [("localhost:6443", schemes), ("localhost", schemes), ("/x", schemes), ("*", schemes), ("ftp://x", schemes)] {
            assert_eq!(server(url).unwrap_err(), said, "{url}");
        }
        assert!(server(&format!("https://x/{}", "a".repeat(3000))).unwrap_err().ends_with("is longer than 2048 bytes"));
        assert_eq!(why("https://x", Some("socks5://p:1080"), json!({})), Ok(()));
        let proxy = why("https://x", Some("p.corp:3128"), json!({})).unwrap_err();
        assert_eq!(proxy, "the kubeconfig's proxy-url does not begin with https:// or http:// or socks5://");
    }

    #[test]
    fn a_token_that_cannot_be_sent_is_not_repeated() {
        for token in ["s3cret\n", "s3c\r\nX-Evil: 1", "s3c\u{0}ret", "s3c\u{7f}ret"] {
            for user in [json!({"token": token}), json!({"auth-provider": {"name": "gcp", "config": {"id-token": token}}})] {
                let said = why("https://x", None, user).unwrap_err();
                assert_eq!(said, "no credentials: the token holds a line break or another character that cannot be sent");
            }
        }
        for token in ["s3cret", "s3c ret", "größer", ""] {
            assert_eq!(why("https://x", None, json!({"token": token})), Ok(()));
        }
    }

    #[test]
    fn the_command_of_an_auth_provider_is_not_run() {
        let provider = |config: Value| json!({"auth-provider": {"name": "gcp", "config": config}});
        let far = "2999-01-01T00:00:00Z";
        for config in [json!({"cmd-path": "/bin/sh"}), json!({"cmd-path": "x", "access-token": "t", "expiry": far})] {
            let said = why("https://x", None, provider(config)).unwrap_err();
            assert!(said.starts_with("no credentials: the command of the auth provider gcp is not run; use its exec plugin"), "{said}");
        }
        assert_eq!(why("https://x", None, provider(json!({"access-token": "t", "expiry": far}))), Ok(()));
    }
}
