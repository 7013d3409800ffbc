//! Facts of one cluster's Kyverno that modes depend on: its release, and what it leaves alone.

use super::super::{Namespace, Unreadable, json, release::Release, selector, wildcard};
use crate::domain::{LabelSelector, NAMESPACE_NAME, Requirement};
use serde_json::Value;

/// One cluster's Kyverno.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kyverno {
    /// Which release it is.
    pub release: Release,
    /// Patterns of namespaces whose requests it lets pass unseen.
    excluded: Vec<String>,
    /// What namespaces have to look like for its webhooks to be called.
    selector: Option<LabelSelector>,
    /// What its ConfigMap says of that.
    configured: Option<LabelSelector>,
    /// The exclusions are those of a default installation, because the real ones could not be read.
    pub assumed: bool,
    /// It is a release that lets through what it should refuse.
    defect: Option<Defect>,
}

/// A fault of single releases on which modes depend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    /// 1.13.0–1.13.2 do not refuse by rules with overrides in namespaces that these do not name (kyverno/kyverno#11808, #12172; mended in 1.13.3
    /// by #11811).
    Overrides,
}

/// The chart's `resourceFilters` for whole namespaces, and the Kyverno namespace that it excludes besides
/// (Kyverno `charts/kyverno/values.yaml`, `config.{resourceFilters,webhooks,excludeKyvernoNamespace}`).
const EXCLUDED: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "kyverno"];

impl Kyverno {
    /// A default installation of that release.
    pub fn new(release: Release) -> Self {
        Self { release, excluded: EXCLUDED.map(str::to_owned).to_vec(), selector: None, configured: None, assumed: true, defect: None }
    }

    /// The same as exactly this version, e.g. `v1.13.1`: some patch releases are broken.
    #[must_use]
    pub fn with_version(mut self, version: Option<&str>) -> Self {
        let patch = version.and_then(|version| version.trim_start_matches('v').strip_prefix("1.13."));
        let number: Option<u16> = patch.and_then(|patch| patch.split(['-', '+']).next()?.parse().ok());
        self.defect = number.filter(|patch| *patch <= 2).map(|_| Defect::Overrides);
        self
    }

    /// What is wrong with this release, in words.
    pub fn broken(&self) -> Option<&'static str> {
        self.defect.map(|Defect::Overrides| {
            "This Kyverno release does not enforce rules with failureActionOverrides where no override matches (kyverno/kyverno#11808). Upgrade to 1.13.3 or later."
        })
    }

    /// Whether rules with overrides are not enforced where no override matches.
    pub(super) fn loses_overrides(&self) -> bool {
        self.defect == Some(Defect::Overrides)
    }

    /// The same with what the ConfigMap `kyverno` says: keys `resourceFilters` and `webhooks`. A key that is missing excludes nothing.
    pub fn with_config_map(self, object: &Value) -> Result<Self, Unreadable> {
        let data = json::get(object, &["data"]).filter(|data| data.is_object()).ok_or_else(|| Unreadable {
            object: format!("ConfigMap/{}", json::text(object, &["metadata", "name"]).unwrap_or("?")),
            why: "it has no data".to_owned(),
        })?;
        let excluded = excluded_namespaces(json::text(data, &["resourceFilters"]).unwrap_or_default());
        let selector = json::text(data, &["webhooks"]).and_then(webhooks_selector);
        Ok(Self { excluded, configured: selector.clone(), selector, assumed: false, ..self })
    }

    /// The same with the namespace selector of the live webhooks in `kyverno-resource-validating-webhook-cfg`. It is what the API server goes
    /// by, and wins over the ConfigMap's. Only the webhooks that serve many policies count: into those of single CEL policies (`vpol.…`)
    /// goes the policy's own selector (seen on 1.19.1).
    #[must_use]
    pub fn with_webhooks(mut self, configuration: &Value) -> Self {
        let shared = |webhook: &&Value| json::text(webhook, &["name"]).is_some_and(|name| name.starts_with("validate.kyverno.svc"));
        if let Some(webhook) = json::list(configuration, &["webhooks"]).iter().find(shared) {
            self.selector = json::get(webhook, &["namespaceSelector"]).map(selector::read);
        }
        self
    }

    /// Whether what a webhook's namespace selector asks for takes out only namespaces that Kyverno is told to ignore, by name.
    pub(crate) fn excludes_by_name(&self, requirement: &Requirement) -> bool {
        let Requirement::NotIn(key, names) = requirement else { return false };
        let by_selector = |name: &String| {
            let requirements = self.configured.iter().flat_map(|selector| &selector.requirements);
            let mut lists = requirements.filter_map(|one| if let Requirement::NotIn(of, names) = one { Some((of, names)) } else { None });
            lists.any(|(of, names)| of == key && names.contains(name))
        };
        let by_filter = |name: &String| self.excluded.iter().any(|pattern| wildcard::matches(pattern, name));
        key == NAMESPACE_NAME && names.iter().all(|name| by_selector(name) || by_filter(name))
    }

    /// Whether requests in that namespace pass unseen. Cluster-scoped resources pass webhook selectors (Kubernetes ignores them there).
    pub fn leaves_alone(&self, namespace: &Namespace) -> bool {
        let excluded = self.excluded.iter().any(|pattern| wildcard::matches(pattern, &namespace.name));
        let unselected =
            !namespace.is_cluster_scoped() && self.selector.as_ref().is_some_and(|selector| !selector.matches(&namespace.labels));
        excluded || unselected
    }
}

/// Namespaces that `resourceFilters` excludes as a whole. Filters are `[kind,namespace,name]`, each with wildcards, with anything between
/// them (Kyverno `pkg/config/types.go`, `parseKinds`; `pkg/config/config.go`, `ToFilter`). One for single kinds or names says nothing about a
/// policy's mode, because others still meet it.
fn excluded_namespaces(filters: &str) -> Vec<String> {
    let inner = filters.split('[').skip(1).filter_map(|rest| rest.split_once(']')).map(|(inner, _)| inner);
    inner.filter_map(whole_namespace).collect()
}

fn whole_namespace(filter: &str) -> Option<String> {
    let mut parts = filter.split(',');
    let (kind, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
    (parts.next().is_none() && is_every_kind(kind) && is_everything(name)).then(|| namespace.to_owned())
}

/// `*`, `*/*`, `*/*/*` and so on: kinds are `[group/[version/]]kind[/subresource]`, and `*` alone leaves only subresources out.
fn is_every_kind(kind: &str) -> bool {
    kind.split(['/', '.']).all(|part| part == "*")
}

fn is_everything(pattern: &str) -> bool {
    !pattern.is_empty() && pattern.chars().all(|c| c == '*')
}

/// `webhooks` is a JSON object from 1.13 on, and was a list before, of which the first entry counts (Kyverno `pkg/config/types.go`,
/// `parseWebhooks`; ≤ 1.12 `pkg/controllers/webhook/controller.go`).
fn webhooks_selector(text: &str) -> Option<LabelSelector> {
    let parsed: Value = serde_json::from_str(text).ok()?;
    let webhook = parsed.as_array().map_or(Some(&parsed), |list| list.first())?;
    json::get(webhook, &["namespaceSelector"]).map(selector::read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn left_alone(kyverno: &Kyverno, name: &str) -> bool {
        kyverno.leaves_alone(&Namespace::new(name, BTreeMap::new()))
    }

    fn configured(data: &Value) -> Kyverno {
        Kyverno::new(Release::exactly(19)).with_config_map(&json!({"metadata": {"name": "kyverno"}, "data": data})).unwrap()
    }

    #[test]
    fn defaults_where_nothing_can_be_read() {
        let kyverno = Kyverno::new(Release::UNKNOWN);
        assert!(kyverno.assumed);
        for name in EXCLUDED {
            assert!(left_alone(&kyverno, name), "{name}");
        }
        assert!(!left_alone(&kyverno, "dev") && !kyverno.leaves_alone(&Namespace::cluster_scoped()));
        assert!(kyverno.with_config_map(&json!({"metadata": {"name": "kyverno"}})).is_err());
    }

    #[test]
    fn resource_filters() {
        let kyverno = configured(
            &json!({"resourceFilters": "[Event,*,*] [*/*,kube-system,*]\n [*,infra-*,*][Pod,dev,*] [*/*,qa,web] [Node/?*,*,*] [broken"}),
        );
        assert!(!kyverno.assumed);
        for (name, expected) in
            [("kube-system", true), ("infra-net", true), ("dev", false), ("qa", false), ("kyverno", false), ("kube-public", false)]
        {
            assert_eq!(left_alone(&kyverno, name), expected, "{name}");
        }
        assert!(!kyverno.leaves_alone(&Namespace::cluster_scoped()));
        let everything = configured(&json!({"resourceFilters": "[*/*,*,*]"}));
        assert!(left_alone(&everything, "dev") && everything.leaves_alone(&Namespace::cluster_scoped()));
    }

    #[test]
    fn webhook_selectors_of_both_shapes() {
        let selector = r#"{"namespaceSelector":{"matchExpressions":[{"key":"kubernetes.io/metadata.name","operator":"NotIn","values":["kube-system","kyverno"]}],"matchLabels":null}}"#;
        for text in [selector.to_owned(), format!("[{selector}]")] {
            let kyverno = configured(&json!({"webhooks": text}));
            assert!(left_alone(&kyverno, "kyverno") && left_alone(&kyverno, "kube-system") && !left_alone(&kyverno, "dev"), "{text}");
            assert!(!kyverno.leaves_alone(&Namespace::cluster_scoped()));
        }
        for nothing in ["[]", "{}", "null", "not json"] {
            assert!(!left_alone(&configured(&json!({"webhooks": nothing})), "kube-system"), "{nothing}");
        }
    }

    #[test]
    fn live_webhooks_win() {
        let live = json!({"webhooks": [
            {"name": "vpol.validate.kyverno.svc-fail", "namespaceSelector": {"matchLabels": {"native": "yes"}}},
            {"name": "validate.kyverno.svc-fail", "namespaceSelector": {"matchLabels": {"kyverno": "on"}}},
        ]});
        let kyverno = configured(&json!({})).with_webhooks(&live);
        assert!(left_alone(&kyverno, "dev"));
        let labels = BTreeMap::from([("kyverno".to_owned(), "on".to_owned())]);
        assert!(!kyverno.leaves_alone(&Namespace::new("dev", labels)));
        let unchanged = configured(&json!({})).with_webhooks(&json!({"webhooks": []}));
        assert!(!left_alone(&unchanged, "dev"));
    }
}
