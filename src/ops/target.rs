//! Which objects operations write: policies, by our own table of kinds, and Kyverno's webhook configurations. An address in a file is not believed.

use super::plan::ObjectRef;
use super::refusal::Refusal;
use super::unblock::{CONFIGURATIONS, address};
use crate::kinds::{Family, KindId};

/// Whether operations write to that address at all.
///
/// # Errors
/// It is no policy and no webhook configuration of Kyverno, or not where such objects are.
pub fn is_ours(object: &ObjectRef) -> Result<(), Refusal> {
    if CONFIGURATIONS.into_iter().any(|which| address(which) == *object) {
        return Ok(());
    }
    let refused = |why: String| Err(Refusal::new("not-ours", format!("{object} is not written by this program: {why}.")));
    let kind = KindId::find(&object.group, &object.kind).map(KindId::kind).filter(|kind| kind.family == Family::Policy);
    let Some(kind) = kind else {
        let group = if object.group.is_empty() { "the core group" } else { &object.group };
        return refused(format!("{} of {group} is no kind of policy", object.kind));
    };
    if object.plural != kind.plural || !kind.versions.contains(&object.version.as_str()) {
        return refused(format!(
            "its address is {}/{}/{}, which is not that of a {}",
            object.group, object.version, object.plural, kind.kind
        ));
    }
    if object.namespace.is_some() != kind.namespaced {
        let how = if kind.namespaced { "lives in a namespace" } else { "has no namespace" };
        return refused(format!("a {} {how}", kind.kind));
    }
    let names = object.namespace.iter().chain([&object.name]);
    match names.into_iter().find(|name| !is_name(name)) {
        Some(name) => refused(format!("`{name}` is no name")),
        None => Ok(()),
    }
}

/// Whether Kubernetes takes it as the name of an object (a DNS subdomain, RFC 1123).
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !label.is_empty() && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_policies_and_kyvernos_webhooks_are_written() {
        let object = |group: &str, version: &str, kind: &str, plural: &str, namespace: Option<&str>, name: &str| ObjectRef {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        };
        let (kyverno, admission) = ("kyverno.io", "admissionregistration.k8s.io");
        for fine in [
            object(kyverno, "v1", "ClusterPolicy", "clusterpolicies", None, "p"),
            object(kyverno, "v1", "Policy", "policies", Some("shop"), "p.q-1"),
            object("policies.kyverno.io", "v1", "ValidatingPolicy", "validatingpolicies", None, "p"),
            address(CONFIGURATIONS[0]),
        ] {
            assert_eq!(is_ours(&fine), Ok(()), "{fine:?}");
        }
        for (forged, words) in [
            (object(kyverno, "v1", "ClusterPolicy", "clusterrolebindings", None, "p"), "which is not that of a ClusterPolicy"),
            (object(kyverno, "v1/../../rbac.authorization.k8s.io/v1", "ClusterPolicy", "clusterpolicies", None, "p"), "not that of a"),
            (object("", "v1", "Secret", "secrets", Some("shop"), "s"), "Secret of the core group is no kind of policy"),
            (object("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", None, "r"), "is no kind of policy"),
            (object("wgpolicyk8s.io", "v1alpha2", "PolicyReport", "policyreports", Some("shop"), "r"), "is no kind of policy"),
            (object(kyverno, "v1", "ClusterPolicy", "clusterpolicies", Some("shop"), "p"), "has no namespace"),
            (object(kyverno, "v1", "Policy", "policies", None, "p"), "lives in a namespace"),
            (object(kyverno, "v1", "ClusterPolicy", "clusterpolicies", None, "../../secrets"), "is no name"),
            (object(kyverno, "v1", "Policy", "policies", Some(".."), "p"), "is no name"),
            (
                object(admission, "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", None, "another"),
                "no kind of policy",
            ),
        ] {
            let refusal = is_ours(&forged).unwrap_err();
            assert!(refusal.word == "not-ours" && refusal.text.contains(words), "{refusal:?}");
        }
    }
}
