//! What a request asks for: path, query, representation and caller, taken apart once.
//!
//! Not here: doing it (`super::route`).

use super::failure::Failure;
use super::store::Key;

/// The object part of a path under `/api/v1` or `/apis/G/V`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) namespace: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

impl Target {
    /// Reads the segments after the leading slash; `None` when they name no resource.
    pub(crate) fn parse(segments: &[&str]) -> Option<Self> {
        let (group, version, rest) = match segments {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        // `namespaces/N/status` is about the namespace, `namespaces/N/pods` about something in it.
        let (namespace, rest) = match rest {
            ["namespaces", namespace, inner @ ..] if !inner.is_empty() && !matches!(inner.first(), Some(&("status" | "finalize"))) => {
                (*namespace, inner)
            }
            other => ("", other),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (*plural, None, None),
            [plural, name] => (*plural, Some(*name), None),
            [plural, name, subresource] => (*plural, Some(*name), Some(*subresource)),
            _ => return None,
        };
        Some(Self {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.to_owned(),
            namespace: namespace.to_owned(),
            name: name.map(str::to_owned),
            subresource: subresource.map(str::to_owned),
        })
    }

    pub(crate) fn key(&self) -> Key {
        Key::new(self.namespace.clone(), self.name.clone().unwrap_or_default())
    }
}

/// A query string, decoded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(raw: &str) -> Self {
        let pairs = raw.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    /// The first value of a parameter; empty values count as absent, as they do for the API server.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub(crate) fn is_true(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1"))
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        self.get(name)
            .map(|value| value.parse().map_err(|_| Failure::bad_request(format!("invalid value for {name}: \"{value}\" is not a number"))))
            .transpose()
    }
}

/// Percent and plus decoding.
pub(crate) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = text.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, hex) {
            (b'%', Some(value)) => {
                out.push(value);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// How the answer shall look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The objects themselves.
    Whole,
    /// Metadata only.
    Partial,
    /// Rows for `kubectl get`.
    Table(Include),
}

/// What a table's rows carry of their object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Include {
    Nothing,
    Metadata,
    Object,
}

impl Shape {
    /// Reads `Accept` and `includeObject`. Anything unknown gets plain JSON, as clients of all ages expect.
    pub(crate) fn negotiate(accept: &str, query: &Query) -> Self {
        for range in accept.split(',') {
            let range = range.trim();
            if !range.starts_with("application/json") && !range.starts_with("*/*") {
                continue;
            }
            match parameter(range, "as") {
                Some("Table") if parameter(range, "v") == Some("v1") => {
                    return Self::Table(match query.get("includeObject") {
                        Some("None") => Include::Nothing,
                        Some("Object") => Include::Object,
                        _ => Include::Metadata,
                    });
                }
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => {
                    return Self::Partial;
                }
                Some(_) => {}
                None => return Self::Whole,
            }
        }
        Self::Whole
    }
}

/// A parameter of one media range.
pub(crate) fn parameter<'a>(range: &'a str, name: &str) -> Option<&'a str> {
    range.split(';').skip(1).find_map(|part| {
        let (key, value) = part.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Target {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        Target::parse(&segments).unwrap()
    }

    #[test]
    fn namespaces_are_a_resource_and_a_scope() {
        assert_eq!(target("/api/v1/namespaces/a").plural, "namespaces");
        assert_eq!(target("/api/v1/namespaces/a/status").subresource.as_deref(), Some("status"));
        let pods = target("/api/v1/namespaces/a/pods");
        assert_eq!((pods.plural.as_str(), pods.namespace.as_str()), ("pods", "a"));
        let one = target("/apis/kyverno.io/v1/clusterpolicies/x/status");
        assert_eq!((one.name.as_deref(), one.subresource.as_deref()), (Some("x"), Some("status")));
    }

    #[test]
    fn the_first_acceptable_shape_wins() {
        let query = Query::parse("?&includeObject=None");
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(Shape::negotiate(table, &query), Shape::Table(Include::Nothing));
        assert_eq!(Shape::negotiate("application/vnd.kubernetes.protobuf", &query), Shape::Whole);
        assert_eq!(decode("a%2Cb%3Dc+d%"), "a,b=c d%");
    }
}
