//! Revisions: what a policy says, whatever its mode and whatever the cluster filled in.
//!
//! What lives here: the normal form of a policy and its hash. What does not: comparing, diffing and keeping revisions.
//!
//! The normal form holds
//! - `spec` without the values that a CRD would fill in anyway, so that a manifest and the object a cluster made of it are equal
//!   (Kyverno itself changes no policy, it only has CRD defaults: `config/crds`, all tags 1.10–1.19);
//! - but without the mode: `validationFailureAction`, `failureAction`, `validationActions`, **and the overrides of both**. An override is
//!   nothing but the mode in some namespaces; a policy that is promoted namespace by namespace keeps its revision;
//! - the annotations and the label that change what Kyverno does or reports.
//!
//! `emitWarning`, `admission`, `evaluation` and `mutateDigest` are content, although they change what a violation does: turning them is no
//! step on the road. Identity, ownership marks, other metadata and `status` are left out.

use super::{CEL, Kind, json};
use crate::domain::Revision;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// Annotations that change behaviour or reports (Kyverno `api/kyverno/constants.go`, `pkg/autogen`, `pkg/utils/report/results.go`).
pub(super) const ANNOTATIONS: [&str; 4] = [
    "pod-policies.kyverno.io/autogen-controllers",
    "policies.kyverno.io/severity",
    "policies.kyverno.io/category",
    "policies.kyverno.io/scored",
];

/// With this label, whatever its value, a policy is not reported on (Kyverno 1.15.3, 1.16 and later).
pub(super) const UNREPORTED: &str = "reports.kyverno.io/disabled";

/// What a CRD fills in.
enum Filled {
    True,
    False,
    Text(&'static str),
    /// An object that holds nothing once its own defaults are gone.
    Empty,
}

use Filled::{Empty, False, Text, True};

// Inner fields come before the objects that they leave empty. `[]` is every element of a list.
const CLUSTER_POLICY: &[(&str, Filled)] = &[
    ("admission", True),
    ("background", True),
    ("emitWarning", False),
    ("rules[].skipBackgroundRequests", True),
    ("rules[].validate.allowExistingViolations", True),
    ("rules[].validate.cel.generate", False),
    ("rules[].verifyImages[].mutateDigest", True),
    ("rules[].verifyImages[].required", True),
    ("rules[].verifyImages[].useCache", True),
    ("rules[].verifyImages[].verifyDigest", True),
    ("rules[].verifyImages[].attestors[].entries[].keys.signatureAlgorithm", Text("sha256")),
    ("rules[].verifyImages[].attestors[].entries[].signatureAlgorithm", Text("sha256")),
    ("rules[].verifyImages[].attestations[].attestors[].entries[].keys.signatureAlgorithm", Text("sha256")),
    ("rules[].verifyImages[].attestations[].attestors[].entries[].signatureAlgorithm", Text("sha256")),
    ("rules[].validate.manifests.attestors[].entries[].keys.signatureAlgorithm", Text("sha256")),
    ("rules[].validate.manifests.attestors[].entries[].signatureAlgorithm", Text("sha256")),
    ("rules[].context[].apiCall.method", Text("GET")),
    ("rules[].validate.foreach[].context[].apiCall.method", Text("GET")),
    ("rules[].mutate.foreach[].context[].apiCall.method", Text("GET")),
    ("rules[].mutate.targets[].context[].apiCall.method", Text("GET")),
    ("rules[].generate.foreach[].context[].apiCall.method", Text("GET")),
    // CleanupPolicy and ClusterCleanupPolicy of the same group.
    ("context[].apiCall.method", Text("GET")),
];

const CEL_POLICY: &[(&str, Filled)] = &[
    ("evaluation.admission.enabled", True),
    ("evaluation.admission", Empty),
    ("evaluation.background.enabled", True),
    ("evaluation.background", Empty),
    ("evaluation.mutateExisting.enabled", False),
    ("evaluation.mutateExisting", Empty),
    ("evaluation.generateExisting.enabled", False),
    ("evaluation.generateExisting", Empty),
    ("evaluation.orphanDownstreamOnPolicyDelete.enabled", False),
    ("evaluation.orphanDownstreamOnPolicyDelete", Empty),
    ("evaluation.synchronize.enabled", False),
    ("evaluation.synchronize", Empty),
    ("evaluation.skipBackgroundRequests", True),
    ("evaluation", Empty),
    ("validationConfigurations.mutateDigest", True),
    ("validationConfigurations.required", True),
    ("validationConfigurations.verifyDigest", True),
    ("validationConfigurations", Empty),
    ("generate[].template.interpolate", Text("none")),
    ("attestors[].cosign.source.PullSecrets[].name", Text("")),
];

/// Where the mode lives, in either group.
const MODE: &[&str] = &[
    "validationFailureAction",
    "validationFailureActionOverrides",
    "rules[].validate.failureAction",
    "rules[].validate.failureActionOverrides",
    "rules[].verifyImages[].failureAction",
    "validationActions",
];

/// The revision of a policy.
pub fn revision(kind: &Kind, object: &Value) -> Revision {
    Revision(digest(&normalise(kind, object)))
}

/// Hex digits of a short digest: enough to tell apart what people make, not what somebody forges.
const SHORT: usize = 12;

/// The first twelve hex digits of [`full_digest`].
pub fn digest(value: &Value) -> String {
    let mut hex = full_digest(value);
    hex.truncate(SHORT);
    hex
}

/// The SHA-256 of a JSON value, in whatever order its members stand: 64 hex digits.
pub fn full_digest(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let mut hex = String::with_capacity(64);
    for byte in digest.as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// The normal form of a policy: equal forms say the same. For comparing and showing, not for applying.
pub fn normalise(kind: &Kind, object: &Value) -> Value {
    let mut spec = json::get(object, &["spec"]).cloned().unwrap_or_default();
    for path in MODE {
        remove_where(&mut spec, path, |_| true);
    }
    let defaults = if kind.group == CEL { CEL_POLICY } else { CLUSTER_POLICY };
    for (path, filled) in defaults {
        remove_where(&mut spec, path, |value| is_filled_in(value, filled));
    }
    let mut form = Map::new();
    form.insert("spec".to_owned(), spec);
    for annotation in ANNOTATIONS {
        if let Some(value) = json::get(object, &["metadata", "annotations", annotation]) {
            form.insert(annotation.to_owned(), value.clone());
        }
    }
    if json::get(object, &["metadata", "labels", UNREPORTED]).is_some() {
        form.insert(UNREPORTED.to_owned(), Value::Bool(true));
    }
    Value::Object(form)
}

/// The object without what its CRD would fill in anyway: as somebody would write it into a file. Its revision is the same.
pub fn without_defaults(kind: &Kind, object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(spec) = object.get_mut("spec") {
        for (path, filled) in if kind.group == CEL { CEL_POLICY } else { CLUSTER_POLICY } {
            remove_where(spec, path, |value| is_filled_in(value, filled));
        }
    }
    object
}

/// Whether a CRD would fill in this very value. `null` is replaced by the default, too (apiextensions structural defaulting).
fn is_filled_in(value: &Value, filled: &Filled) -> bool {
    value.is_null()
        || match filled {
            True => value.as_bool() == Some(true),
            False => value.as_bool() == Some(false),
            Text(text) => value.as_str() == Some(text),
            Empty => value.as_object().is_some_and(Map::is_empty),
        }
}

/// Removes the member at `path` wherever `condition` holds for it.
fn remove_where(value: &mut Value, path: &str, condition: impl Fn(&Value) -> bool + Copy) {
    let (step, rest) = match path.split_once('.') {
        Some((step, rest)) => (step, Some(rest)),
        None => (path, None),
    };
    let (name, every) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
    let Some(members) = value.as_object_mut() else { return };
    let Some(rest) = rest else {
        if members.get(name).is_some_and(condition) {
            members.remove(name);
        }
        return;
    };
    match members.get_mut(name) {
        Some(Value::Array(elements)) if every => elements.iter_mut().for_each(|element| remove_where(element, rest, condition)),
        Some(member) if !every => remove_where(member, rest, condition),
        _ => {}
    }
}

/// JSON with sorted keys and without white space. Whole numbers are written without a fraction, as the API server does.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (position, (key, value)) in members.into_iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_scalar(&Value::String(key.clone()), out);
                out.push(':');
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(elements) => {
            out.push('[');
            for (position, element) in elements.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_canonical(element, out);
            }
            out.push(']');
        }
        scalar => write_scalar(scalar, out),
    }
}

fn write_scalar(value: &Value, out: &mut String) {
    // 2^53: beyond it, a float no longer tells whole numbers apart.
    let whole = value.as_f64().filter(|number| value.is_f64() && number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0);
    let _ = match whole {
        Some(number) => write!(out, "{number:.0}"),
        None => write!(out, "{value}"),
    };
}

#[cfg(test)]
mod tests;
