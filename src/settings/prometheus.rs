//! `prometheus = { … }` of an environment: what it may say.

use super::model::{Prometheus, TokenSource};
use super::resolve::Resolver;
use super::schema::PrometheusEntry;
use http::Uri;
use std::net::Ipv6Addr;
use std::path::PathBuf;

impl Resolver<'_> {
    pub(super) fn prometheus(&mut self, path: &str, entry: PrometheusEntry) -> Prometheus {
        let at = |key: &str| format!("{path}.{key}");
        let url = entry.url.trim().trim_end_matches('/').to_owned();
        if let Err((message, remedy)) = check_url(&url) {
            self.wrong(&at("url"), message, remedy);
        }
        let matchers = match matchers(entry.matchers.as_deref().unwrap_or_default()) {
            Ok(matchers) => matchers,
            Err(message) => {
                self.wrong(&at("matchers"), message, r#"Write them as in a query, without braces: `cluster="staging", region=~"eu-.*"`."#);
                String::new()
            }
        };
        for (key, text) in [("token_file", &entry.token_file), ("ca_file", &entry.ca_file)] {
            if text.as_deref().is_some_and(|text| text.trim().is_empty()) {
                self.wrong(&at(key), "is empty", "Name a file, or leave the key out.");
            }
        }
        if entry.token_env.as_deref().is_some_and(|name| !is_variable(name)) {
            let remedy = "Write its name without `$`; the token itself does not belong into this file.";
            self.wrong(&at("token_env"), "is not the name of an environment variable", remedy);
        }
        if entry.tenant.as_deref().is_some_and(|tenant| tenant.is_empty() || !tenant.bytes().all(|byte| byte.is_ascii_graphic())) {
            self.wrong(&at("tenant"), "cannot be sent as a header", "Write letters, digits and signs without blanks.");
        }
        if entry.token_file.is_some() && entry.token_env.is_some() {
            self.wrong(&at("token_env"), "stands beside `token_file`", "Take one of them away.");
        }
        let token = entry.token_file.map(|file| TokenSource::File(PathBuf::from(file)));
        let token = token.or(entry.token_env.map(TokenSource::Variable));
        if token.is_some() && url.starts_with("http://") {
            self.warn(&at("url"), "is not encrypted, and a token is sent to it", "Write `https://…`.");
        }
        Prometheus { url, matchers, token, ca_file: entry.ca_file.map(PathBuf::from), tenant: entry.tenant }
    }
}

/// Whether it is the address of an HTTP server; else what is wrong, and the remedy. What is written is not repeated: it may hold a password.
fn check_url(url: &str) -> Result<(), (&'static str, &'static str)> {
    const EXAMPLE: &str = "Write for example `https://prometheus.example.com`.";
    let is_http = url.starts_with("https://") || url.starts_with("http://");
    if !is_http {
        return Err(("begins with neither `https://` nor `http://`", EXAMPLE));
    }
    let uri: Uri = url.parse().map_err(|_| ("names no host, or holds what no URL holds", EXAMPLE))?;
    let authority = uri.authority().ok_or(("names no host", EXAMPLE))?;
    if authority.as_str().contains('@') {
        return Err(("holds a user or a password", "Take it out; a token goes into `token_file` or `token_env`."));
    }
    let host = authority.host();
    let is_address = host.strip_prefix('[').is_none_or(|rest| rest.strip_suffix(']').is_some_and(|host| host.parse::<Ipv6Addr>().is_ok()));
    let is_number = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && authority.port_u16().is_some();
    // Nothing else can follow the host: not even digits without a colon.
    let after = authority.as_str().strip_prefix(host);
    let is_port = after.is_some_and(|after| after.is_empty() || after.strip_prefix(':').is_some_and(is_number));
    if host.is_empty() || !is_address || !is_port {
        return Err(("names no host", EXAMPLE));
    }
    if uri.query().is_some() || url.contains('#') || uri.path().contains(['{', '}', '"', '<', '>', '\\', '^', '`', '|']) {
        return Err(("has more than a path after the host", EXAMPLE));
    }
    if uri.path().contains("/api/v1") {
        return Err(("goes into its API", "Take `/api/v1` and what follows away; that is added."));
    }
    Ok(())
}

fn is_variable(name: &str) -> bool {
    let fits = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    fits && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Matchers as they go into a selector: `label="value"` and so on, separated by commas. See
/// <https://prometheus.io/docs/prometheus/latest/querying/basics/#time-series-selectors>.
fn matchers(text: &str) -> Result<String, String> {
    let mut out: Vec<String> = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (label, after) = rest.split_at(end);
        if label.is_empty() || label.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!("the {} does not begin with a label", ordinal(out.len())));
        }
        let after = after.trim_start();
        let operator = ["=~", "!~", "!=", "="].into_iter().find(|operator| after.starts_with(operator));
        let operator = operator.ok_or_else(|| format!("in the {}, none of `=`, `!=`, `=~`, `!~` follows the label", ordinal(out.len())))?;
        let value = quoted(after[operator.len()..].trim_start());
        let (value, left) = value.ok_or_else(|| format!("the value of the {} is not in quotes", ordinal(out.len())))?;
        out.push(format!("{label}{operator}{value}"));
        rest = left.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if rest.is_empty() => rest,
            None => return Err(format!("after the {}, a comma is missing", ordinal(out.len() - 1))),
        };
    }
    Ok(out.join(","))
}

/// Which matcher, without its text: that may be a token in the wrong place.
fn ordinal(before: usize) -> String {
    match before {
        0 => "first matcher".to_owned(),
        1 => "second matcher".to_owned(),
        more => format!("matcher {}", more + 1),
    }
}

/// A text in double or single quotes at the beginning, with its quotes, and what comes after it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\n' => return None,
            c if c == quote => return Some(text.split_at(at + 1)),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for good in [
            "https://p.example.com",
            "http://127.0.0.1:9090/prom",
            "https://[::1]:9090",
            "https://[2001:db8::1]/prom",
            "https://p/select/0/prometheus",
        ] {
            assert_eq!(check_url(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "p.example.com",
            "ftp://p",
            "https://",
            "https://u:secret@p",
            "https://p:x",
            "https://p:",
            "https://p:65536",
            "https://::1:9090",
            "https://[::1",
            "https://[p]:9090",
            "https://[::1]9090",
            "https://p/#x",
            "https://p/api/v1/query",
            "https://p/?a=b",
            "https://p q",
        ] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn matchers_are_read_as_a_query_has_them() {
        for (text, expected) in [
            ("", Ok("")),
            (r#" cluster = "staging" "#, Ok(r#"cluster="staging""#)),
            (r#"a="x",b!~'y|z' ,"#, Ok(r#"a="x",b!~'y|z'"#)),
            (r#"a="x\"},b",_c=~".*""#, Ok(r#"a="x\"},b",_c=~".*""#)),
            ("cluster=staging", Err("the value of the first matcher is not in quotes")),
            (r#"{cluster="a"}"#, Err("the first matcher does not begin with a label")),
            (r#"a="x" b="y""#, Err("after the first matcher, a comma is missing")),
            (r#"a="x"#, Err("the value of the first matcher is not in quotes")),
            (r#"a>"x""#, Err("in the first matcher, none of `=`, `!=`, `=~`, `!~` follows the label")),
            (r#"1a="x""#, Err("the first matcher does not begin with a label")),
        ] {
            assert_eq!(matchers(text).as_deref().map_err(String::as_str), expected, "{text}");
        }
    }
}
