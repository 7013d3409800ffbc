//! Reading policy reports of every shape: wgpolicyk8s.io and openreports.io, one per resource (Kyverno 1.11 and later), one per
//! policy (1.10), and other tools' own.
//!
//! What lives here: a tolerant view of a report that borrows from the bytes as they came, since reports are the bulk of all data.
//! What does not: which of several results for one finding counts (`fleet::ledger`).
//!
//! A report is read in one pass. If something in it has the wrong type, it is read again result by result, so that one bad result
//! costs only itself.

mod naming;
mod repeated;
mod writer;

pub use naming::{Twin, cel_rule, cel_sources, generated_from, is_cel, is_kyverno, may_be_generated, own_rule, policy_of_source};
pub(crate) use repeated::Repeated;
pub use writer::Writer;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

use crate::domain::FindingResult;

/// A text field that may be missing, null, or of another scalar type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text<'a>(pub Cow<'a, str>);

impl Text<'_> {
    /// The text, empty if there was none.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Text::default())
    }
    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(if value { "true" } else { "false" })))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(value.to_string())))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(value.to_string())))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(value.to_string())))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

/// `metadata`, as far as counting needs it.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Metadata<'a> {
    /// Name.
    #[serde(borrow, default)]
    pub name: Text<'a>,
    /// Namespace; empty for cluster-scoped reports.
    #[serde(borrow, default)]
    pub namespace: Text<'a>,
    /// UID.
    #[serde(borrow, default)]
    pub uid: Text<'a>,
    /// Who wrote the results last.
    #[serde(borrow, default, rename = "managedFields", deserialize_with = "writer::read")]
    pub writer: Writer<'a>,
}

/// A `corev1.ObjectReference`: the report's `scope`, or one of a result's `resources`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Reference<'a> {
    /// `apiVersion`.
    #[serde(borrow, default, rename = "apiVersion")]
    pub api_version: Text<'a>,
    /// Kind.
    #[serde(borrow, default)]
    pub kind: Text<'a>,
    /// Namespace.
    #[serde(borrow, default)]
    pub namespace: Text<'a>,
    /// Name.
    #[serde(borrow, default)]
    pub name: Text<'a>,
    /// UID.
    #[serde(borrow, default)]
    pub uid: Text<'a>,
}

impl Reference<'_> {
    /// Whether this names what `whole` names in fewer words, in a report of the namespace `home`: other tools leave out what the scope says.
    pub fn is_short_for(&self, whole: &Self, home: &str) -> bool {
        let fits = |own: &Text<'_>, other: &str| own.as_str().is_empty() || own.as_str() == other;
        let group = |of: &Self| super::group_of(of.api_version.as_str()).to_owned();
        let namespace = Some(whole.namespace.as_str()).filter(|namespace| !namespace.is_empty()).unwrap_or(home);
        fits(&self.name, whole.name.as_str())
            && fits(&self.kind, whole.kind.as_str())
            && fits(&self.uid, whole.uid.as_str())
            && fits(&self.namespace, namespace)
            && (self.api_version.as_str().is_empty() || !whole.api_version.as_str().is_empty() && group(self) == group(whole))
    }
}

/// `results[].timestamp`, a protobuf timestamp; only the seconds are ever written.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Stamp {
    #[serde(default)]
    seconds: Option<i64>,
}

/// String properties in the order of the report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties<'a>(pub Vec<(Text<'a>, Text<'a>)>);

struct PropertiesVisitor;

impl<'de> Visitor<'de> for PropertiesVisitor {
    type Value = Properties<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of texts")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Properties::default())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::with_capacity(map.size_hint().unwrap_or(2));
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Properties(entries))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Properties<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PropertiesVisitor)
    }
}

/// One entry of `results`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RawResult<'a> {
    /// Who evaluated; falls back to the report's own `source` (openreports.io).
    #[serde(borrow, default)]
    pub source: Text<'a>,
    /// `name`, or `namespace/name` for namespaced policies.
    #[serde(borrow, default)]
    pub policy: Text<'a>,
    /// Rule; empty for most CEL kinds.
    #[serde(borrow, default)]
    pub rule: Text<'a>,
    #[serde(borrow, default)]
    result: Text<'a>,
    /// Severity word.
    #[serde(borrow, default)]
    pub severity: Text<'a>,
    /// Category.
    #[serde(borrow, default)]
    pub category: Text<'a>,
    /// Message.
    #[serde(borrow, default, alias = "description")]
    pub message: Text<'a>,
    #[serde(default)]
    timestamp: Option<Stamp>,
    /// Properties.
    #[serde(borrow, default)]
    pub properties: Properties<'a>,
    #[serde(borrow, default, alias = "subjects")]
    resources: Option<Vec<Reference<'a>>>,
}

impl<'a> RawResult<'a> {
    /// The result, if it is one of the API's five words.
    pub fn result(&self) -> Option<FindingResult> {
        self.result.as_str().parse().ok()
    }

    /// When it was evaluated, in seconds since 1970; 0 if unknown.
    pub fn seconds(&self) -> i64 {
        self.timestamp.and_then(|stamp| stamp.seconds).unwrap_or(0)
    }

    /// Its own resources; empty from Kyverno 1.11 on, where the report's scope is the resource.
    pub fn resources(&self) -> &[Reference<'a>] {
        self.resources.as_deref().unwrap_or_default()
    }

    /// Whether it can be counted: a policy and a known result (the CRD requires both).
    pub fn is_readable(&self) -> bool {
        !self.policy.as_str().is_empty() && self.result().is_some()
    }
}

/// A report, borrowed from its bytes.
#[derive(Debug, Clone, Default)]
pub struct Report<'a> {
    /// Metadata.
    pub metadata: Metadata<'a>,
    /// The resource that all results without resources of their own are about.
    pub scope: Option<Reference<'a>>,
    /// The report's source (openreports.io).
    pub source: Text<'a>,
    /// Readable results.
    pub results: Vec<RawResult<'a>>,
    /// Results that could not be read.
    pub malformed: u64,
}

#[derive(Deserialize)]
struct Strict<'a> {
    #[serde(borrow, default)]
    metadata: Metadata<'a>,
    #[serde(borrow, default)]
    scope: Option<Reference<'a>>,
    #[serde(borrow, default)]
    source: Text<'a>,
    #[serde(borrow, default)]
    results: Option<Vec<RawResult<'a>>>,
}

/// As [`Strict`], but every part that has the wrong shape is left out instead of failing the whole.
#[derive(Deserialize)]
struct Lenient<'a> {
    #[serde(borrow, default)]
    metadata: Metadata<'a>,
    #[serde(borrow, default)]
    scope: Option<&'a serde_json::value::RawValue>,
    #[serde(borrow, default)]
    source: Option<&'a serde_json::value::RawValue>,
    #[serde(borrow, default)]
    results: RawResults<'a>,
}

#[derive(Default)]
struct RawResults<'a>(Vec<&'a serde_json::value::RawValue>, bool);

impl<'de: 'a, 'a> Deserialize<'de> for RawResults<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = RawResults<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of results")
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(RawResults::default())
            }
            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(RawResults(Vec::new(), true))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(RawResults(Vec::new(), true))
            }
            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(RawResults(Vec::new(), true))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(RawResults(Vec::new(), true))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(RawResults(Vec::new(), true))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(RawResults(Vec::new(), true))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = seq.next_element()? {
                    all.push(one);
                }
                Ok(RawResults(all, false))
            }
        }
        deserializer.deserialize_any(Each)
    }
}

/// Reads a report from its JSON.
///
/// # Errors
/// Only when nothing of it can be used: the bytes are not a JSON object, or it has no name.
pub fn read_report(json: &[u8]) -> Result<Report<'_>, serde_json::Error> {
    let mut report = match serde_json::from_slice::<Strict<'_>>(json) {
        Ok(strict) => Report {
            metadata: strict.metadata,
            scope: strict.scope,
            source: strict.source,
            results: strict.results.unwrap_or_default(),
            malformed: 0,
        },
        Err(_) => read_leniently(json)?,
    };
    if report.metadata.name.as_str().is_empty() {
        return Err(de::Error::custom("the report has no metadata.name"));
    }
    let before = report.results.len();
    report.results.retain(RawResult::is_readable);
    report.malformed += (before - report.results.len()) as u64;
    Ok(report)
}

fn read_leniently(json: &[u8]) -> Result<Report<'_>, serde_json::Error> {
    let lenient: Lenient<'_> = serde_json::from_slice(json)?;
    let RawResults(raw, misshapen) = lenient.results;
    let mut report = Report {
        metadata: lenient.metadata,
        scope: lenient.scope.and_then(|raw| serde_json::from_str(raw.get()).ok()),
        source: lenient.source.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default(),
        results: Vec::with_capacity(raw.len()),
        malformed: u64::from(misshapen),
    };
    for one in raw {
        match serde_json::from_str(one.get()) {
            Ok(result) => report.results.push(result),
            Err(_) => report.malformed += 1,
        }
    }
    Ok(report)
}

/// The identity of a report that is deleted: namespace and name.
///
/// # Errors
/// When the bytes are not an object with metadata.
pub fn read_metadata(json: &[u8]) -> Result<Metadata<'_>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Bare<'a> {
        #[serde(borrow)]
        metadata: Metadata<'a>,
    }
    serde_json::from_slice::<Bare<'_>>(json).map(|bare| bare.metadata)
}

/// Which kinds' results carry which `source`: (source, group, cluster-wide kind, namespaced kind), as kyverno/kyverno
/// `pkg/utils/report/source.go` has them.
const SOURCES: [(&str, &str, &str, &str); 5] = [
    ("kyverno", "kyverno.io", "ClusterPolicy", "Policy"),
    ("KyvernoValidatingPolicy", "policies.kyverno.io", "ValidatingPolicy", "NamespacedValidatingPolicy"),
    ("KyvernoImageValidatingPolicy", "policies.kyverno.io", "ImageValidatingPolicy", "NamespacedImageValidatingPolicy"),
    ("KyvernoMutatingPolicy", "policies.kyverno.io", "MutatingPolicy", "NamespacedMutatingPolicy"),
    ("KyvernoGeneratingPolicy", "policies.kyverno.io", "GeneratingPolicy", "NamespacedGeneratingPolicy"),
];

/// The `source` that a kind's results carry; `None` for kinds that never report.
pub fn source_of_kind(group: &str, kind: &str) -> Option<&'static str> {
    SOURCES.iter().find(|(_, g, wide, namespaced)| *g == group && (*wide == kind || *namespaced == kind)).map(|entry| entry.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_per_resource_is_borrowed() {
        let json = br#"{"apiVersion":"wgpolicyk8s.io/v1alpha2","kind":"PolicyReport","metadata":{"name":"u-1","namespace":"a","uid":"x"},
            "scope":{"apiVersion":"v1","kind":"Pod","name":"p","namespace":"a","uid":"u-1"},
            "results":[{"source":"kyverno","policy":"p","rule":"r","result":"fail","message":"no","timestamp":{"nanos":0,"seconds":17},"properties":{"process":"x"}}],
            "summary":{"fail":1}}"#;
        let report = read_report(json).unwrap();
        assert_eq!(report.malformed, 0);
        assert!(matches!(report.results[0].policy.0, Cow::Borrowed("p")));
        assert_eq!((report.results[0].result(), report.results[0].seconds()), (Some(FindingResult::Fail), 17));
        assert_eq!(report.scope.unwrap().uid.as_str(), "u-1");
    }

    #[test]
    fn bad_results_cost_only_themselves() {
        let json = br#"{"metadata":{"name":"n"},"results":[{"policy":"p","result":"pass"},{"policy":{},"result":"pass"},{"result":"fail"},{"policy":"p","result":"maybe"},7]}"#;
        let report = read_report(json).unwrap();
        assert_eq!((report.results.len(), report.malformed), (1, 4));
    }

    #[test]
    fn results_of_the_wrong_shape_are_one_malformed_thing() {
        for results in ["7", "\"x\"", "{}", "true"] {
            let json = format!(r#"{{"metadata":{{"name":"n"}},"results":{results}}}"#);
            assert_eq!(read_report(json.as_bytes()).unwrap().malformed, 1, "{results}");
        }
        assert_eq!(read_report(br#"{"metadata":{"name":"n"},"results":null}"#).unwrap().malformed, 0);
    }

    #[test]
    fn a_report_outlives_its_own_source_and_scope() {
        let json = br#"{"metadata":{"name":"n"},"source":["x"],"scope":7,"results":[{"source":"kyverno","policy":"p","result":"pass"}]}"#;
        assert_eq!(read_report(json).unwrap().results.len(), 1);
    }

    #[test]
    fn what_has_no_name_is_refused() {
        assert!(read_report(b"{}").is_err());
        assert!(read_report(b"[1").is_err());
    }
}
