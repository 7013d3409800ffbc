//! Which webhooks of a configuration carry a policy, and whether they send all that it matches.

use super::selectors::lets_through;
use super::users::exempts_users;
use crate::domain::{Force, Gap, InForce, LabelSelector, MatchedResource, NAMESPACE_NAME, Policy, Requirement, RuleType};
use crate::kinds::mode::Kyverno;
use crate::kinds::served::{ServedResource, ServedResources, plural};
use crate::kinds::webhook::{Webhook, WebhookConfiguration, WebhookRule};
use crate::kinds::{CEL, Namespace, selector};

/// Kyverno leaves out what a node needs to join a cluster, in all webhooks that fail closed (`bootstrap_exclusion.go`).
const BOOTSTRAP: &str = "kyverno-exclude-bootstrap-resources";
/// That is, as (group, plural).
const OF_BOOTSTRAP: [(&str, &str); 2] = [("", "nodes"), ("certificates.k8s.io", "certificatesigningrequests")];

/// Where it is asked about: in a namespace, or anywhere.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) kyverno: &'a Kyverno,
    pub(super) namespace: Option<&'a Namespace>,
}

/// Whether the configuration's webhooks send what the policy's rules of that type match.
pub(super) fn carried(
    policy: &Policy,
    rule_type: RuleType,
    configuration: &WebhookConfiguration,
    served: Option<&ServedResources>,
    asked: Asked<'_>,
) -> InForce {
    let carriers = carriers(policy, configuration);
    if carriers.is_empty() {
        return InForce::because(Force::No, Gap::NotCarried);
    }
    let wanted: Vec<&MatchedResource> = policy.matches.resources.iter().filter(|one| one.rule_type == rule_type).collect();
    let parts: Vec<InForce> = wanted.iter().filter_map(|one| sends(policy, one, &carriers, served, asked)).collect();
    if parts.is_empty() {
        return InForce::because(Force::No, Gap::NothingServed(wanted.iter().map(|one| one.name.clone()).collect()));
    }
    let missing = missing(&parts);
    let mut all = super::together(parts);
    if let Some(Gap::Rules(_)) = &all.gap {
        all.gap = Some(Gap::Rules(missing));
    }
    all
}

fn missing(parts: &[InForce]) -> Vec<String> {
    let names = parts.iter().filter_map(|part| if let Some(Gap::Rules(names)) = &part.gap { Some(names) } else { None });
    let mut names: Vec<String> = names.flatten().cloned().collect();
    names.sort();
    names.dedup();
    names
}

/// The webhooks through which requests can reach the policy.
fn carriers<'a>(policy: &Policy, configuration: &'a WebhookConfiguration) -> Vec<&'a Webhook> {
    let webhooks = configuration.webhooks.iter();
    if policy.id.group == CEL {
        let prefix = cel_prefix(&policy.id.kind);
        return webhooks.filter(|webhook| webhook.name.starts_with(prefix) && names(&webhook.path, &policy.id.name)).collect();
    }
    let own = |webhook: &&Webhook| webhook.path.split_once("/finegrained/").map(|(_, key)| key) == Some(&policy.id.report_name());
    let shared = |webhook: &&Webhook| {
        let is_shared = webhook.name.starts_with("validate.kyverno.svc") || webhook.name.starts_with("mutate.kyverno.svc");
        is_shared && !webhook.path.contains("/finegrained/")
    };
    if !policy.matches.conditions.is_empty() {
        return webhooks.filter(own).collect();
    }
    let shared: Vec<&Webhook> = webhooks.filter(shared).collect();
    let same = |webhook: &&&Webhook| webhook.ignores_failures == policy.matches.ignores_failures;
    // With `--forceFailurePolicyIgnore` all are in the one that ignores failures.
    let fitting: Vec<&Webhook> = shared.iter().filter(same).copied().collect();
    if fitting.is_empty() { shared } else { fitting }
}

/// What names of webhooks for policies of a kind begin with (Kyverno `pkg/config/config.go`).
fn cel_prefix(kind: &str) -> &'static str {
    match kind {
        "ValidatingPolicy" => "vpol.validate.kyverno.svc",
        "NamespacedValidatingPolicy" => "nvpol.validate.kyverno.svc",
        "MutatingPolicy" => "mpol.validate.kyverno.svc",
        "NamespacedMutatingPolicy" => "nmpol.validate.kyverno.svc",
        "GeneratingPolicy" => "gpol.validate.kyverno.svc",
        "NamespacedGeneratingPolicy" => "ngpol.validate.kyverno.svc",
        // Both kinds of image policies share it.
        _ => "ivpol.validate.kyverno.svc",
    }
}

/// Whether a path (`/vpol/a/b`) names the policy; one that names none serves all policies of its kind.
fn names(path: &str, policy: &str) -> bool {
    let mut segments = path.trim_matches('/').split('/').skip(1);
    let last = path.trim_end_matches('/').rsplit('/').next();
    segments.any(|segment| segment == policy) || last.is_some_and(|last| matches!(last, "fail" | "ignore"))
}

/// Whether one of the webhooks sends requests for the resource; `None` where it is not served, so that there are no requests.
fn sends(
    policy: &Policy,
    wanted: &MatchedResource,
    carriers: &[&Webhook],
    served: Option<&ServedResources>,
    asked: Asked<'_>,
) -> Option<InForce> {
    let Some(resources) = resources(wanted, served) else {
        let silent = told(served).is_some_and(|served| served.may_hide(&wanted.group));
        let why = "the server of an API group does not answer";
        return silent.then(|| InForce::because(Force::Unknown, Gap::NotRead { what: "what the cluster serves", why: why.to_owned() }));
    };
    let covering = carriers.iter().filter(|webhook| resources.iter().any(|one| covers(webhook, one, wanted)));
    let best = covering.map(|webhook| selects(policy, webhook, asked).and(bootstrap(webhook, &resources))).reduce(better);
    Some(best.unwrap_or_else(|| {
        let name = if wanted.subresource.is_empty() { wanted.name.clone() } else { format!("{}/{}", wanted.name, wanted.subresource) };
        // Without discovery the plural of a kind is a guess.
        let state = if wanted.is_kind && told(served).is_none() { Force::Unknown } else { Force::No };
        InForce::because(state, Gap::Rules(vec![name]))
    }))
}

/// Whether the webhook leaves the resources out as those that a node needs.
fn bootstrap(webhook: &Webhook, resources: &[ServedResource]) -> InForce {
    let is_left_out = |one: &ServedResource| {
        OF_BOOTSTRAP.iter().any(|(group, plural)| one.plural == *plural && (one.group == *group || one.group == "*"))
    };
    let left_out = resources.iter().filter(|one| is_left_out(one)).count();
    if left_out == 0 || webhook.conditions.iter().all(|(name, _)| name != BOOTSTRAP) {
        return InForce::YES;
    }
    let state = if left_out == resources.len() { Force::No } else { Force::Partly };
    InForce::because(state, Gap::MatchCondition(BOOTSTRAP.to_owned()))
}

fn better(one: InForce, other: InForce) -> InForce {
    let worse = one.state.and(other.state);
    if worse == one.state { other } else { one }
}

/// What is served, as far as discovery told.
fn told(served: Option<&ServedResources>) -> Option<&ServedResources> {
    served.filter(|served| !served.is_empty())
}

/// The resources that are meant; `None` where nothing like that is served.
fn resources(wanted: &MatchedResource, served: Option<&ServedResources>) -> Option<Vec<ServedResource>> {
    let as_written = |plural: String| ServedResource { group: wanted.group.clone(), version: wanted.version.clone(), plural };
    if wanted.name == "*" {
        return Some(vec![as_written(wanted.name.clone())]);
    }
    if !wanted.is_kind {
        let is_served = told(served).is_none_or(|served| served.serves(&wanted.group, &wanted.version, &wanted.name));
        return is_served.then(|| vec![as_written(wanted.name.clone())]);
    }
    if let Some(served) = told(served) {
        return Some(served.find(&wanted.group, &wanted.version, &wanted.name)).filter(|found| !found.is_empty());
    }
    let lower = wanted.name.to_lowercase();
    Some([plural(&wanted.name), format!("{lower}s")].into_iter().map(as_written).collect())
}

fn covers(webhook: &Webhook, resource: &ServedResource, wanted: &MatchedResource) -> bool {
    let rules: Vec<&WebhookRule> = webhook.rules.iter().filter(|rule| is_named(rule, resource, &wanted.subresource)).collect();
    let has = |operation: &str| rules.iter().any(|rule| rule.operations.iter().any(|one| one == "*" || one == operation));
    if wanted.operations.is_empty() { has("CREATE") && has("UPDATE") } else { wanted.operations.iter().all(|operation| has(operation)) }
}

fn is_named(rule: &WebhookRule, resource: &ServedResource, subresource: &str) -> bool {
    let any = |all: &[String], wanted: &str| all.iter().any(|one| one == "*" || one == wanted || wanted == "*");
    // A webhook is sent objects in equivalent versions (`matchPolicy: Equivalent`), but those of another group are others.
    any(&rule.groups, &resource.group) && rule.resources.iter().any(|one| is_resource(one, &resource.plural, subresource))
}

/// Rules name resources as `pods`, `*`, `pods/exec`, `pods/*`, `*/exec` or `*/*`; the last includes resources themselves.
fn is_resource(rule: &str, plural: &str, subresource: &str) -> bool {
    match rule.split_once('/') {
        None => subresource.is_empty() && (rule == "*" || rule == plural),
        Some(("*", "*")) => true,
        Some((resource, sub)) => !subresource.is_empty() && (resource == "*" || resource == plural) && (sub == "*" || sub == subresource),
    }
}

/// Whether the webhook's selectors and match conditions leave nothing out.
fn selects(policy: &Policy, webhook: &Webhook, asked: Asked<'_>) -> InForce {
    let said = |selector: &LabelSelector| selector::in_words(selector);
    let objects = match lets_through(&webhook.object_selector, policy.matches.object_selector.as_ref(), |_| false) {
        Force::Yes => InForce::YES,
        state => InForce::because(state, Gap::ObjectSelector(said(&webhook.object_selector))),
    };
    let state = match asked.namespace {
        // Selectors never keep cluster-scoped resources out.
        Some(namespace) if namespace.is_cluster_scoped() || webhook.namespace_selector.matches(&namespace.labels) => Force::Yes,
        Some(_) => Force::No,
        None => {
            let is_setting = |requirement: &Requirement| asked.kyverno.excludes_by_name(requirement);
            lets_through(&webhook.namespace_selector, own_namespaces(policy).as_ref(), is_setting)
        }
    };
    let namespaces = match state {
        Force::Yes => InForce::YES,
        state => InForce::because(state, Gap::NamespaceSelector(said(&webhook.namespace_selector))),
    };
    objects.and(namespaces).and(conditions(policy, webhook))
}

/// The namespaces that the policy asks for: its own, of a namespaced policy.
fn own_namespaces(policy: &Policy) -> Option<LabelSelector> {
    match &policy.id.namespace {
        Some(namespace) => Some(LabelSelector { requirements: vec![Requirement::In(NAMESPACE_NAME.to_owned(), vec![namespace.clone()])] }),
        None => policy.matches.namespace_selector.clone(),
    }
}

/// Match conditions that are not the policy's own, nor made of them for pod controllers, may leave anything out. What only exempts users
/// does not: no policy is about a user alone.
fn conditions(policy: &Policy, webhook: &Webhook) -> InForce {
    let own = |name: &str, expression: &str| {
        let of = |own: &(String, String)| {
            let generated = name.starts_with("autogen-") && name.ends_with(&own.0);
            generated || (own.0 == name && own.1 == expression)
        };
        policy.matches.conditions.iter().any(of)
    };
    let foreign =
        webhook.conditions.iter().find(|(name, expression)| name != BOOTSTRAP && !own(name, expression) && !exempts_users(expression));
    foreign.map_or(InForce::YES, |(name, _)| InForce::because(Force::Unknown, Gap::MatchCondition(name.clone())))
}
