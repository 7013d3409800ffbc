//! Paths to what an API server serves: the one place that makes them.
//!
//! Every segment is checked against what Kubernetes allows there and then percent-encoded. A text from a report, a file or another server can make a path
//! invalid, but never lead to another resource.

use super::refusal::Refusal;
use crate::domain::clean;
use crate::kinds::REGISTRY;
use http::Uri;
use serde_json::Value;
use std::fmt::{self, Write as _};

/// Maximum length of a path with its query in bytes. `http::Uri` takes 64 KiB, the path of the server's own URL included.
const LONGEST: usize = 32 << 10;
/// Maximum length of a name in bytes. Most kinds allow 253, some (roles) do not say.
const LONGEST_NAME: usize = 1024;
/// Maximum number of characters that an error repeats.
const SHOWN: usize = 80;

/// A text that cannot be a part of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSegment {
    what: &'static str,
    text: String,
}

impl InvalidSegment {
    fn new(what: &'static str, text: &str) -> Self {
        Self { what, text: shown(text) }
    }
}

impl fmt::Display for InvalidSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not a valid {}", self.text, self.what)
    }
}

impl std::error::Error for InvalidSegment {}

impl From<InvalidSegment> for Refusal {
    fn from(invalid: InvalidSegment) -> Self {
        Self::Invalid(invalid.to_string())
    }
}

/// A text for an error: on one line and not too long.
pub(super) fn shown(text: &str) -> String {
    let mut letters = text.chars();
    let mut start: String = letters.by_ref().take(SHOWN).collect();
    if letters.next().is_some() {
        start.push('…');
    }
    clean(&start).into_owned()
}

/// The path and the query of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    text: String,
    has_query: bool,
}

impl Path {
    /// A path that the source code spells out, without a query.
    pub(super) fn fixed(text: &'static str) -> Self {
        Self { text: text.to_owned(), has_query: false }
    }

    /// `/api/VERSION`, or `/apis/GROUP/VERSION`.
    pub(super) fn version(group: &str, version: &str) -> Result<Self, InvalidSegment> {
        Self::fixed("").in_version(group, version)
    }

    /// The OpenAPI v3 document of a version.
    pub(super) fn schema(group: &str, version: &str) -> Result<Self, InvalidSegment> {
        Self::fixed("/openapi/v3").in_version(group, version)
    }

    /// All objects of a resource, in all namespaces (empty) or in one.
    pub(super) fn list(group: &str, version: &str, namespace: &str, plural: &str) -> Result<Self, InvalidSegment> {
        let mut path = Self::version(group, version)?;
        if !namespace.is_empty() {
            path = path.push("namespaces").push(label("namespace", namespace)?);
        }
        Ok(path.push(label("resource", plural)?))
    }

    /// One object of a list.
    pub(super) fn name(self, name: &str) -> Result<Self, InvalidSegment> {
        // What `apimachinery` demands of every name (`pkg/api/validation/path`, `IsValidPathSegmentName`).
        let is_segment = !matches!(name, "" | "." | "..") && !name.contains(['/', '%']) && name.len() <= LONGEST_NAME;
        if is_segment && !name.contains(char::is_control) { Ok(self.push(name)) } else { Err(InvalidSegment::new("name", name)) }
    }

    /// With one more parameter.
    pub(super) fn with(mut self, parameter: &'static str, value: &str) -> Self {
        self.text.push(if std::mem::replace(&mut self.has_query, true) { '&' } else { '?' });
        self.text.push_str(parameter);
        self.text.push('=');
        percent(value, &mut self.text);
        self
    }

    /// As a request takes it.
    pub(super) fn uri(&self) -> Result<Uri, InvalidSegment> {
        let invalid = || InvalidSegment::new("path", &self.text);
        if self.text.len() > LONGEST { Err(invalid()) } else { self.text.parse().map_err(|_| invalid()) }
    }

    fn in_version(self, group: &str, version: &str) -> Result<Self, InvalidSegment> {
        let root = if group.is_empty() { self.push("api") } else { self.push("apis").push(subdomain("API group", group)?) };
        Ok(root.push(label("API version", version)?))
    }

    fn push(mut self, segment: &str) -> Self {
        self.text.push('/');
        percent(segment, &mut self.text);
        self
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A DNS label (RFC 1123).
fn label<'a>(what: &'static str, text: &'a str) -> Result<&'a str, InvalidSegment> {
    if is_label(text) { Ok(text) } else { Err(InvalidSegment::new(what, text)) }
}

/// Labels with dots between them.
fn subdomain<'a>(what: &'static str, text: &'a str) -> Result<&'a str, InvalidSegment> {
    if text.len() <= 253 && text.split('.').all(is_label) { Ok(text) } else { Err(InvalidSegment::new(what, text)) }
}

fn is_label(text: &str) -> bool {
    let fits = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    fits && (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-')
}

/// Adds a text in which only unreserved characters (RFC 3986 §2.3) are left as they are.
fn percent(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// API group; empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Plural, as in URLs.
    pub plural: String,
    /// Namespace; empty for cluster-wide objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Address {
    pub(super) fn collection(&self) -> Result<Path, InvalidSegment> {
        Path::list(&self.group, &self.version, &self.namespace, &self.plural)
    }

    pub(super) fn object(&self) -> Result<Path, InvalidSegment> {
        self.collection()?.name(&self.name)
    }

    /// How an object differs from the one that is here, in words; `None` where it is the one.
    pub(super) fn mismatch(&self, object: &Value) -> Option<String> {
        let kind = REGISTRY.iter().find(|kind| kind.group == self.group && kind.plural == self.plural).map(|kind| kind.kind);
        let expected = Expected { group: &self.group, kind, namespace: &self.namespace, name: &self.name, uid: "" };
        expected.mismatch(object)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.plural)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// What an answer has to be about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) group: &'a str,
    /// `None` where it is unknown.
    pub(super) kind: Option<&'a str>,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    /// Empty where it is unknown.
    pub(super) uid: &'a str,
}

impl Expected<'_> {
    /// How an object differs from it, in words; `None` where it does not.
    pub(super) fn mismatch(&self, object: &Value) -> Option<String> {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let group = text("/apiVersion").split_once('/').map_or("", |(group, _)| group);
        let compared = [
            ("kind", self.kind.unwrap_or(text("/kind")), text("/kind")),
            ("API group", self.group, group),
            ("namespace", self.namespace, text("/metadata/namespace")),
            ("name", self.name, text("/metadata/name")),
        ];
        if let Some((what, requested, answered)) = compared.into_iter().find(|(_, requested, answered)| requested != answered) {
            let (requested, answered) = (shown(requested), shown(answered));
            return Some(format!("the API server answered with another object: {what} \"{answered}\" instead of \"{requested}\""));
        }
        let uid = text("/metadata/uid");
        let is_another = !self.uid.is_empty() && self.uid != uid;
        is_another.then(|| format!("this is another object of that name: uid {} instead of {}", shown(uid), shown(self.uid)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{broken_text, cases};
    use serde_json::json;

    const ODD: [&str; 22] = [
        "", ".", "..", "/", "a/b", "../..", "%2f", "%2e%2e", "a%2Fb", "\\", "..\\", "?", "a?b=c", "#", "a#b", "\0", "\r\nX: y", "\u{7f}",
        "é", "\u{202e}", " ", "a b",
    ];

    /// The segments of a path and the values of its query, decoded.
    fn decoded(path: &Path) -> (Vec<String>, Vec<String>) {
        let decode = |text: &str| {
            let mut parts = text.split('%');
            let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
            for part in parts {
                bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
                bytes.extend(part[2..].bytes());
            }
            String::from_utf8(bytes).unwrap()
        };
        let uri = path.uri().unwrap();
        let values = uri.query().into_iter().flat_map(|query| query.split('&'));
        let values = values.map(|pair| decode(pair.split_once('=').unwrap().1)).collect();
        (uri.path().split('/').skip(1).map(decode).collect(), values)
    }

    #[test]
    fn paths_are_those_of_kubernetes() {
        let path = |group, version, namespace, plural| Path::list(group, version, namespace, plural).unwrap().to_string();
        assert_eq!(path("", "v1", "a", "pods"), "/api/v1/namespaces/a/pods");
        assert_eq!(path("kyverno.io", "v2beta1", "", "clusterpolicies"), "/apis/kyverno.io/v2beta1/clusterpolicies");
        let role = Path::list("rbac.authorization.k8s.io", "v1", "", "clusterroles").and_then(|list| list.name("system:node"));
        assert_eq!(role.unwrap().to_string(), "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode");
        assert_eq!(Path::schema("kyverno.io", "v1").unwrap().to_string(), "/openapi/v3/apis/kyverno.io/v1");
        let asked = Path::fixed("/apis").with("labelSelector", "a=b,c in (d)").with("continue", "x&y#z");
        assert_eq!(asked.to_string(), "/apis?labelSelector=a%3Db%2Cc%20in%20%28d%29&continue=x%26y%23z");
    }

    #[test]
    fn what_kubernetes_would_not_take_is_named() {
        let why = |result: Result<Path, InvalidSegment>| result.unwrap_err().to_string();
        for odd in ODD {
            let text = clean(odd);
            if !odd.is_empty() {
                assert_eq!(why(Path::list(odd, "v1", "", "pods")), format!("\"{text}\" is not a valid API group"));
                assert_eq!(why(Path::list("", "v1", odd, "pods")), format!("\"{text}\" is not a valid namespace"));
            }
            assert_eq!(why(Path::list("a", odd, "", "pods")), format!("\"{text}\" is not a valid API version"));
            assert_eq!(why(Path::list("", "v1", "", odd)), format!("\"{text}\" is not a valid resource"));
        }
        let named = |name: &str| Path::fixed("/api/v1/pods").name(name);
        for odd in ["", ".", "..", "a/b", "../secrets/x", "%2f", "%2e%2e", "\0", "\r\nX: y", "\u{7f}"] {
            assert_eq!(why(named(odd)), format!("\"{}\" is not a valid name", clean(odd)));
        }
        assert_eq!(why(named(&"x".repeat(1 << 20))), format!("\"{}…\" is not a valid name", "x".repeat(80)));
        assert!(Path::fixed("/apis").with("continue", &"x".repeat(1 << 20)).uri().is_err());
    }

    #[test]
    fn a_text_never_leaves_its_segment() {
        let parts = [ODD.as_slice(), &["pods", "kube-system", "secrets", "apps", "v1", "~", ":", "*", ";", "=", "&", "+"]].concat();
        let mut made = 0;
        cases("a_text_never_leaves_its_segment", 20_000, |dice| {
            let mut text = || broken_text(&parts, 3, dice);
            let (group, version, namespace, plural, name, value) = (text(), text(), text(), text(), text(), text());
            // Any text as a name and as a value; the others as they come, in a path of their own.
            if let Ok(path) = Path::fixed("/api/v1/pods").name(&name) {
                made += 1;
                let path = path.with("a", &value).with("b", &group);
                if path.text.len() > LONGEST {
                    assert!(path.uri().is_err());
                    return;
                }
                assert_eq!(decoded(&path), (vec!["api".into(), "v1".into(), "pods".into(), name.clone()], vec![value, group.clone()]));
            }
            let Ok(path) = Path::list(&group, &version, &namespace, &plural).and_then(|list| list.name(&name)) else { return };
            let root = if group.is_empty() { vec!["api".to_owned()] } else { vec!["apis".to_owned(), group] };
            let place = if namespace.is_empty() { Vec::new() } else { vec!["namespaces".to_owned(), namespace] };
            let expected = [root, vec![version], place, vec![plural, name]].concat();
            assert_eq!(decoded(&path).0, expected);
        });
        assert!(made > 0);
    }

    #[test]
    fn another_object_than_the_requested_one_is_named() {
        let expected = Expected { group: "apps", kind: Some("Deployment"), namespace: "team-a", name: "web", uid: "u1" };
        let object =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "team-a", "name": "web", "uid": "u1"}});
        assert_eq!(expected.mismatch(&object), None);
        assert_eq!(Expected { kind: None, uid: "", ..expected }.mismatch(&object), None, "what is unknown is not compared");
        for (path, value, what) in [
            ("/kind", "Secret", "kind \"Secret\" instead of \"Deployment\""),
            ("/apiVersion", "v1", "API group \"\" instead of \"apps\""),
            ("/apiVersion", "extensions/v1", "API group \"extensions\" instead of \"apps\""),
            ("/metadata/namespace", "kube-system", "namespace \"kube-system\" instead of \"team-a\""),
            ("/metadata/name", "other", "name \"other\" instead of \"web\""),
            ("/metadata/uid", "u2", "this is another object of that name: uid u2 instead of u1"),
        ] {
            let mut other = object.clone();
            *other.pointer_mut(path).unwrap() = json!(value);
            let said = expected.mismatch(&other).unwrap();
            assert!(said.ends_with(what), "{said}");
        }
        for nothing in [json!(null), json!([]), json!({}), json!({"kind": 7, "metadata": []})] {
            assert!(expected.mismatch(&nothing).is_some(), "{nothing}");
        }
        let policy = Address {
            group: "kyverno.io".into(),
            version: "v1".into(),
            plural: "policies".into(),
            namespace: "a".into(),
            name: "p".into(),
        };
        let object = |kind: &str| json!({"apiVersion": "kyverno.io/v1", "kind": kind, "metadata": {"namespace": "a", "name": "p"}});
        assert_eq!(policy.mismatch(&object("Policy")), None);
        assert!(policy.mismatch(&object("ClusterPolicy")).unwrap().contains("kind \"ClusterPolicy\""));
    }
}
