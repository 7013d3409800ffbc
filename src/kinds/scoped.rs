//! Kinds that live in no namespace.
//!
//! What lives here: those that every cluster has, and those of the registry. What does not: custom kinds, of which only a cluster itself knows (`served`).
//!
//! Source: kubernetes v1.36 `pkg/apis/*/install` and `api/discovery/aggregated_v2.json`.

use super::{KindId, group_of};

const CLUSTER_SCOPED: [(&str, &[&str]); 14] = [
    ("", &["Namespace", "Node", "PersistentVolume"]),
    (
        "admissionregistration.k8s.io",
        &[
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ],
    ),
    ("apiextensions.k8s.io", &["CustomResourceDefinition"]),
    ("apiregistration.k8s.io", &["APIService"]),
    ("certificates.k8s.io", &["CertificateSigningRequest", "ClusterTrustBundle"]),
    ("flowcontrol.apiserver.k8s.io", &["FlowSchema", "PriorityLevelConfiguration"]),
    ("internal.apiserver.k8s.io", &["StorageVersion"]),
    ("networking.k8s.io", &["IngressClass", "IPAddress", "ServiceCIDR"]),
    ("node.k8s.io", &["RuntimeClass"]),
    ("rbac.authorization.k8s.io", &["ClusterRole", "ClusterRoleBinding"]),
    ("resource.k8s.io", &["DeviceClass", "DeviceTaintRule", "ResourceSlice"]),
    ("scheduling.k8s.io", &["PriorityClass"]),
    ("storage.k8s.io", &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment", "VolumeAttributesClass"]),
    ("storagemigration.k8s.io", &["StorageVersionMigration"]),
];

/// Whether an object of this kind is in no namespace, as far as that is the same in every cluster.
pub fn is_cluster_scoped(api_version: &str, kind: &str) -> bool {
    let group = group_of(api_version);
    let built_in = CLUSTER_SCOPED.iter().find(|(name, _)| *name == group).is_some_and(|(_, kinds)| kinds.contains(&kind));
    built_in || KindId::find(group, kind).is_some_and(|id| !id.kind().namespaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_without_a_namespace() {
        let cases = [
            ("v1", "Namespace", true),
            ("v1", "Pod", false),
            ("rbac.authorization.k8s.io/v1", "ClusterRole", true),
            ("rbac.authorization.k8s.io/v1", "Role", false),
            ("kyverno.io/v1", "ClusterPolicy", true),
            ("kyverno.io/v1", "Policy", false),
            // The same word in another group is another kind.
            ("example.com/v1", "Node", false),
            ("", "", false),
        ];
        for (version, kind, scoped) in cases {
            assert_eq!(is_cluster_scoped(version, kind), scoped, "{version} {kind}");
        }
    }
}
