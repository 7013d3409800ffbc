use super::*;
use crate::kinds::webhook::WebhookConfiguration;
use crate::kinds::{KindId, Release, read_policy};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn policy(object: &Value) -> Policy {
    let id = KindId::of_object(object).unwrap();
    read_policy(id.kind(), object).unwrap()
}

fn vpol(name: &str, constraints: &Value) -> Policy {
    let mut object = json!({"apiVersion": "policies.kyverno.io/v1", "kind": "ValidatingPolicy", "metadata": {"name": name},
        "spec": {"validationActions": ["Deny"], "matchConstraints": {"resourceRules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}]}},
        "status": {"conditionStatus": {"conditions": [{"type": "WebhookConfigured", "status": "True"}]}}});
    for (field, value) in constraints.as_object().unwrap() {
        object["spec"]["matchConstraints"][field] = value.clone();
    }
    policy(&object)
}

fn cpol(name: &str, kinds: &[&str], spec: &Value) -> Policy {
    let mut object = json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name},
        "spec": {"rules": [{"name": "r", "match": {"any": [{"resources": {"kinds": kinds}}]}, "validate": {"failureAction": "Enforce"}}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    policy(&object)
}

/// A webhook; `changes` are laid over it.
fn webhook(name: &str, path: &str, resources: &[&str], changes: &Value) -> Value {
    let mut webhook = json!({"name": name, "failurePolicy": "Fail", "clientConfig": {"service": {"name": "kyverno-svc", "namespace": "kyverno", "path": path}},
        "rules": [{"apiGroups": ["", "apps"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE", "DELETE", "CONNECT"], "resources": resources, "scope": "*"}]});
    for (field, value) in changes.as_object().unwrap() {
        webhook[field] = value.clone();
    }
    webhook
}

fn configuration(webhooks: &[Value]) -> WebhookConfiguration {
    WebhookConfiguration::read(&json!({"metadata": {"name": VALIDATING}, "webhooks": webhooks})).unwrap()
}

fn judged(policy: &Policy, webhooks: &[Value]) -> InForce {
    judged_in(policy, webhooks, None)
}

fn judged_in(policy: &Policy, webhooks: &[Value], namespace: Option<&Namespace>) -> InForce {
    let configuration = configuration(webhooks);
    let path = AdmissionPath {
        validating: Seen::There(&configuration),
        natives: Seen::There(Vec::new()),
        bindings: Seen::There(Vec::new()),
        answers: InForce::YES,
        ..AdmissionPath::default()
    };
    in_force(policy, &path, &Kyverno::new(Release::exactly(19)), namespace)
}

/// As the code of Kyverno 1.18.2 makes it of two policies of different object selectors; 1.19.1 makes a webhook of each.
#[test]
fn a_webhook_with_another_policys_selector_does_not_send() {
    let selector = |case: &str| json!({"matchLabels": {"case": case}});
    let deny = vpol("t-deny", &json!({"objectSelector": selector("deny")}));
    let audit = vpol("t-audit", &json!({"objectSelector": selector("audit")}));
    let merged = [webhook(
        "vpol.validate.kyverno.svc-fail",
        "/vpol/t-audit/t-deny",
        &["configmaps"],
        &json!({"objectSelector": selector("audit"), "namespaceSelector": {}}),
    )];
    assert_eq!(judged(&audit, &merged), InForce::YES);
    let judged_deny = judged(&deny, &merged);
    assert_eq!((judged_deny.state, judged_deny.reason().as_str()), (Force::No, "webhook does not send it: object selector case=audit"));
    // A third one that selects nothing would be sent in part.
    assert_eq!(judged(&vpol("t-deny", &json!({})), &merged).state, Force::Partly);
    let apart = [
        webhook("vpol.validate.kyverno.svc-fail-1", "/vpol/t-audit", &["configmaps"], &json!({"objectSelector": selector("audit")})),
        webhook("vpol.validate.kyverno.svc-fail-2", "/vpol/t-deny", &["configmaps"], &json!({"objectSelector": selector("deny")})),
    ];
    assert_eq!((judged(&audit, &apart), judged(&deny, &apart)), (InForce::YES, InForce::YES));
}

#[test]
fn a_policy_that_no_webhook_names_is_not_in_force() {
    let policy = vpol("p", &json!({}));
    let other = [webhook("vpol.validate.kyverno.svc-fail", "/vpol/pp/q", &["configmaps"], &json!({}))];
    assert_eq!(judged(&policy, &other).gap, Some(Gap::NotCarried));
    // Another kind's webhook that happens to name it.
    let wrong = [webhook("nvpol.validate.kyverno.svc-fail", "/nvpol/p", &["configmaps"], &json!({}))];
    assert_eq!(judged(&policy, &wrong).gap, Some(Gap::NotCarried));
    assert_eq!(judged(&policy, &[]).gap, Some(Gap::NotCarried));
    let url = json!({"clientConfig": {"url": "https://127.0.0.1:9443/vpol/p"}});
    assert_eq!(judged(&policy, &[webhook("vpol.validate.kyverno.svc-fail", "", &["configmaps"], &url)]), InForce::YES);
}

#[test]
fn rules_have_to_cover_kinds_and_operations() {
    let shared = |resources: &[&str], changes: &Value| [webhook("validate.kyverno.svc-fail", "/validate/fail", resources, changes)];
    let none = json!({});
    let pods = cpol("p", &["Pod"], &none);
    assert_eq!(judged(&pods, &shared(&["pods"], &none)), InForce::YES);
    assert_eq!(judged(&pods, &shared(&["*"], &none)), InForce::YES);
    assert_eq!(judged(&pods, &shared(&["*/*"], &none)), InForce::YES);
    assert_eq!(judged(&cpol("p", &["v1/Pod"], &none), &shared(&["pods"], &none)), InForce::YES);
    assert_eq!(judged(&cpol("p", &["Pod/exec"], &none), &shared(&["pods/exec"], &none)), InForce::YES);
    assert_ne!(judged(&cpol("p", &["Pod/exec"], &none), &shared(&["pods"], &none)), InForce::YES);
    assert_ne!(judged(&cpol("p", &["*"], &none), &shared(&["pods"], &none)), InForce::YES);
    // Without discovery the plural of a kind is a guess.
    assert_eq!(judged(&pods, &shared(&["services"], &none)).state, Force::Unknown);
    let creates = json!({"rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]});
    let vpol = vpol("p", &none);
    let judged_vpol = judged(&vpol, &[webhook("vpol.validate.kyverno.svc-fail", "/vpol/p", &[], &creates)]);
    assert_eq!((judged_vpol.state, judged_vpol.reason().as_str()), (Force::No, "webhook does not send configmaps"));
}

/// A webhook for a CEL policy that is sent everything.
fn configuration_of_all() -> WebhookConfiguration {
    let all = json!({"rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]});
    configuration(&[webhook("vpol.validate.kyverno.svc-fail", "/vpol/p", &[], &all)])
}

#[test]
fn discovery_tells_kinds_that_are_not_guessed() {
    let mut served = ServedResources::default();
    served.add("Gateway", super::super::served::ServedResource { group: "g.io".into(), version: "v1".into(), plural: "gws".into() });
    let configuration = configuration(&[webhook(
        "validate.kyverno.svc-fail",
        "/validate/fail",
        &["gws"],
        &json!({"rules": [
        {"apiGroups": ["g.io"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["gws"]}]}),
    )]);
    let path =
        AdmissionPath { validating: Seen::There(&configuration), answers: InForce::YES, served: Some(&served), ..AdmissionPath::default() };
    let judge = |kinds: &[&str]| in_force(&cpol("p", kinds, &json!({})), &path, &Kyverno::new(Release::exactly(19)), None);
    assert_eq!(judge(&["Gateway"]), InForce::YES);
    assert_eq!(judge(&["g.io/v1/Gateway"]), InForce::YES);
    assert_eq!((judge(&["Pod"]).state, judge(&["Gateway", "Pod"]).state), (Force::No, Force::Partly));
    assert_eq!(judge(&["Gateway", "Rollout"]), InForce::YES, "nothing can be requested of what is not served");
    assert_eq!(judge(&["Rollout"]).gap, Some(Gap::NothingServed(vec!["Rollout".into()])));
    let named = |group: &str, name: &str| {
        let rules = json!([{"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [name]}]);
        let policy = vpol("p", &json!({"resourceRules": rules}));
        let webhooks = configuration_of_all();
        let path = AdmissionPath { validating: Seen::There(&webhooks), ..path.clone() };
        in_force(&policy, &path, &Kyverno::new(Release::exactly(19)), None).gap
    };
    assert_eq!((named("g.io", "gws"), named("", "configmaps")), (None, None));
    assert_eq!(
        named("example.com", "widgets"),
        Some(Gap::NothingServed(vec!["widgets".into()])),
        "a webhook carries it, and nothing comes"
    );
    // A group of which the server is down may serve it.
    let mut silent = served.clone();
    silent.keep_silent(&served, &["argoproj.io".to_owned()].into());
    let path = AdmissionPath { served: Some(&silent), ..path };
    let judge = |kinds: &[&str]| in_force(&cpol("p", kinds, &json!({})), &path, &Kyverno::new(Release::exactly(19)), None).state;
    assert_eq!((judge(&["Gateway", "Rollout"]), judge(&["argoproj.io/v1/Rollout"])), (Force::Unknown, Force::Unknown));
    assert_eq!((judge(&["Gateway"]), judge(&["other.io/v1/Rollout"])), (Force::Yes, Force::No));
}

#[test]
fn own_webhooks_and_failure_policies() {
    let own = json!({"webhookConfiguration": {"matchConditions": [{"name": "n", "expression": "e"}]}});
    let policy = cpol("p", &["Pod"], &own);
    let conditions = |expression: &str| json!({"matchConditions": [{"name": "n", "expression": expression}, {"name": "kyverno-exclude-bootstrap-resources", "expression": "x"}]});
    let fine = |expression: &str| {
        [webhook("validate.kyverno.svc-fail-finegrained-p", "/validate/fail/finegrained/p", &["pods"], &conditions(expression))]
    };
    assert_eq!(judged(&policy, &fine("e")), InForce::YES);
    assert_eq!(judged(&policy, &fine("false")).gap, Some(Gap::MatchCondition("n".into())));
    let shared = |ignores: bool, changes: &Value| {
        let (name, path) =
            if ignores { ("validate.kyverno.svc-ignore", "/validate/ignore") } else { ("validate.kyverno.svc-fail", "/validate/fail") };
        let mut webhook = webhook(name, path, &["pods"], changes);
        webhook["failurePolicy"] = json!(if ignores { "Ignore" } else { "Fail" });
        webhook
    };
    assert_eq!(judged(&policy, &[shared(false, &json!({}))]).gap, Some(Gap::NotCarried), "it has a webhook of its own, or none");
    let lenient = cpol("p", &["Pod"], &json!({"failurePolicy": "Ignore"}));
    assert_eq!(judged(&lenient, &[shared(true, &json!({}))]), InForce::YES);
    let services = json!({"rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["services"]}]});
    assert_ne!(judged(&lenient, &[shared(true, &services), shared(false, &json!({}))]), InForce::YES);
    assert_eq!(judged(&cpol("p", &["Pod"], &json!({})), &[shared(true, &json!({}))]), InForce::YES, "all ignore failures by flag");
    // Conditions from Kyverno's settings.
    let foreign = |expression: &str| json!({"matchConditions": [{"name": "m", "expression": expression}]});
    let plain = cpol("p", &["Pod"], &json!({}));
    assert_eq!(judged(&plain, &[shared(false, &foreign("request.namespace != 'x'"))]).state, Force::Unknown);
    assert_eq!(judged(&plain, &[shared(false, &foreign("!('system:nodes' in request.userInfo.groups)"))]), InForce::YES);
    let hides = "!('a' in request.userInfo.groups) && namespaceObject.metadata.labels['on'] == 'yes'";
    assert_eq!(judged(&plain, &[shared(false, &foreign(hides))]).gap, Some(Gap::MatchCondition("m".into())));
}

#[test]
fn what_a_node_needs_to_join_is_not_sent() {
    let bootstrap = json!({"matchConditions": [{"name": "kyverno-exclude-bootstrap-resources", "expression": "x"}]});
    let shared = |changes: &Value| [webhook("validate.kyverno.svc-fail", "/validate/fail", &["pods", "nodes"], changes)];
    let judge = |kinds: &[&str], changes: &Value| judged(&cpol("p", kinds, &json!({})), &shared(changes));
    assert_eq!(judge(&["Node"], &json!({})), InForce::YES);
    assert_eq!(judge(&["Pod"], &bootstrap), InForce::YES);
    let gap = Some(Gap::MatchCondition("kyverno-exclude-bootstrap-resources".into()));
    assert_eq!((judge(&["Node"], &bootstrap).state, judge(&["Node"], &bootstrap).gap), (Force::No, gap));
    assert_eq!(judge(&["Node", "Pod"], &bootstrap).state, Force::Partly);
}

#[test]
fn namespaces_decide_where_they_are_asked_about() {
    let told = |names: &str| {
        let webhooks = format!(
            r#"{{"namespaceSelector":{{"matchExpressions":[{{"key":"kubernetes.io/metadata.name","operator":"NotIn","values":[{names}]}}]}}}}"#
        );
        let data = json!({"resourceFilters": "[*/*,kube-system,*]", "webhooks": webhooks});
        Kyverno::new(Release::exactly(19)).with_config_map(&json!({"metadata": {"name": "kyverno"}, "data": data})).unwrap()
    };
    let judged_by = |kyverno: &Kyverno, policy: &Policy, webhooks: &[Value], namespace: Option<&Namespace>| {
        let configuration = configuration(webhooks);
        let (natives, bindings) = (Seen::There(Vec::new()), Seen::There(Vec::new()));
        let path =
            AdmissionPath { validating: Seen::There(&configuration), natives, bindings, answers: InForce::YES, ..AdmissionPath::default() };
        in_force(policy, &path, kyverno, namespace)
    };
    let selector = json!({"namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "infra"]}]}});
    let webhooks = [webhook("validate.kyverno.svc-fail", "/validate/fail", &["pods"], &selector)];
    let policy = cpol("p", &["Pod"], &json!({}));
    let namespace = |name: &str| Namespace::new(name, BTreeMap::new());
    assert_eq!(judged_by(&told(r#""infra""#), &policy, &webhooks, None), InForce::YES);
    // Nobody told Kyverno to ignore infra: the selector is another policy's, or somebody changed it.
    assert_eq!(judged_by(&told(r#""other""#), &policy, &webhooks, None).state, Force::Partly);
    assert_eq!(judged(&policy, &webhooks).state, Force::Partly, "of a default installation");
    assert_eq!(judged_in(&policy, &webhooks, Some(&namespace("dev"))), InForce::YES);
    assert_eq!(judged_in(&policy, &webhooks, Some(&namespace("infra"))).state, Force::No);
    assert_eq!(judged_in(&policy, &webhooks, Some(&namespace("kube-system"))).gap, Some(Gap::LeftAlone));
    let only =
        [webhook("validate.kyverno.svc-fail", "/validate/fail", &["pods"], &json!({"namespaceSelector": {"matchLabels": {"on": "yes"}}}))];
    assert_eq!(judged(&policy, &only).reason(), "webhook does not send it: namespace selector on=yes");
    assert_eq!(judged(&policy, &only).state, Force::Partly);
    // A policy is named after the kind of its path.
    let other = [webhook("vpol.validate.kyverno.svc-fail", "/vpol/other", &["configmaps"], &json!({}))];
    assert_eq!(judged(&vpol("vpol", &json!({})), &other).gap, Some(Gap::NotCarried));
    // A namespaced policy needs its own namespace only.
    let object = json!({"apiVersion": "policies.kyverno.io/v1", "kind": "NamespacedValidatingPolicy", "metadata": {"name": "p", "namespace": "a"},
        "spec": {"matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]}},
        "status": {"conditionStatus": {"ready": true}}});
    let of = |name: &str| json!({"namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": [name]}]}});
    let nvpol = |name: &str| [webhook("nvpol.validate.kyverno.svc-fail", "/nvpol/p", &["configmaps"], &of(name))];
    assert_eq!((judged(&self::policy(&object), &nvpol("a")), judged(&self::policy(&object), &nvpol("b")).state), (InForce::YES, Force::No));
}

#[test]
fn what_cannot_be_read_is_unknown_and_what_is_missing_is_not() {
    let policy = cpol("p", &["Pod"], &json!({}));
    let kyverno = Kyverno::new(Release::exactly(19));
    let judge = |path: &AdmissionPath<'_>| in_force(&policy, path, &kyverno, None);
    assert_eq!(judge(&AdmissionPath::default()), InForce::default());
    let denied = AdmissionPath { validating: Seen::Denied("ask jane".into()), answers: InForce::YES, ..AdmissionPath::default() };
    assert_eq!((judge(&denied).state, judge(&denied).reason().contains("ask jane")), (Force::Unknown, true));
    let gone = AdmissionPath { validating: Seen::Missing, answers: InForce::YES, ..AdmissionPath::default() };
    assert_eq!(judge(&gone).gap, Some(Gap::NoConfiguration(VALIDATING)));
    let configuration = configuration(&[webhook("validate.kyverno.svc-fail", "/validate/fail", &["pods"], &json!({}))]);
    let dead = InForce::because(Force::No, Gap::NoEndpoint { service: "kyverno/kyverno-svc".into() });
    let silent = AdmissionPath { validating: Seen::There(&configuration), answers: dead.clone(), ..AdmissionPath::default() };
    assert_eq!(judge(&silent), dead);
    let dark = AdmissionPath { validating: Seen::There(&configuration), ..AdmissionPath::default() };
    assert_eq!(judge(&dark).state, Force::Unknown);
}

#[test]
fn a_native_twin_with_its_binding_is_enough() {
    let mut object = json!({"apiVersion": "policies.kyverno.io/v1", "kind": "ValidatingPolicy", "metadata": {"name": "p"},
        "spec": {"validationActions": ["Deny"]}, "status": {"generated": true}});
    let twin = Native { name: "vpol-p".into(), binds: None, selects: false, denies: false, owner: None, created: None };
    let binding =
        Native { name: "vpol-p-binding".into(), binds: Some("vpol-p".into()), selects: false, denies: true, owner: None, created: None };
    let audits = Native { denies: false, ..binding.clone() };
    let kyverno = Kyverno::new(Release::exactly(19));
    let judge = |object: &Value, natives: Seen<Vec<&Native>>, bindings: Seen<Vec<&Native>>| {
        // Kyverno is dead, and nothing is configured: the API server does it alone.
        in_force(&policy(object), &AdmissionPath { natives, bindings, ..AdmissionPath::default() }, &kyverno, None)
    };
    let there = |all: &[&'static str]| -> Vec<String> { all.iter().map(|one| (*one).to_owned()).collect() };
    assert_eq!(judge(&object, Seen::There(vec![&twin]), Seen::There(vec![&binding])), InForce::YES);
    assert_eq!(judge(&object, Seen::There(vec![&twin]), Seen::There(vec![])).gap, Some(Gap::NoBinding(there(&["vpol-p"]).remove(0))));
    assert_eq!(judge(&object, Seen::There(vec![]), Seen::There(vec![&binding])).gap, Some(Gap::NoNative("vpol-p".into())));
    assert_eq!(judge(&object, Seen::Denied("no".into()), Seen::NotYet).state, Force::Unknown);
    // The API server goes by the binding, whatever the policy says.
    assert_eq!(
        judge(&object, Seen::There(vec![&twin]), Seen::There(vec![&audits])).gap,
        Some(Gap::BindingOnlyAudits("vpol-p-binding".into()))
    );
    assert_eq!(judge(&object, Seen::There(vec![&twin]), Seen::There(vec![&audits, &binding])), InForce::YES);
    object["spec"]["validationActions"] = json!(["Audit"]);
    assert_eq!(judge(&object, Seen::There(vec![&twin]), Seen::There(vec![&audits])), InForce::YES);
    assert_eq!(
        judge(&object, Seen::There(vec![&twin]), Seen::There(vec![&binding])).gap,
        Some(Gap::BindingDenies("vpol-p-binding".into()))
    );
    object["spec"]["validationActions"] = json!(["Deny"]);
    // The twin is there before the status says so.
    object["status"] = json!({"conditionStatus": {"ready": true}});
    assert_eq!(judge(&object, Seen::There(vec![&twin]), Seen::There(vec![&binding])), InForce::YES);
}

#[test]
fn a_native_policy_that_is_not_read_is_unknown() {
    let mut object = json!({"apiVersion": "policies.kyverno.io/v1", "kind": "MutatingPolicy", "metadata": {"name": "p"},
        "spec": {"matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]}},
        "status": {"generated": true}});
    let kyverno = Kyverno::new(Release::exactly(19));
    let configuration = configuration(&[]);
    let path = AdmissionPath {
        natives: Seen::There(Vec::new()),
        bindings: Seen::There(Vec::new()),
        mutating: Seen::There(&configuration),
        answers: InForce::YES,
        ..AdmissionPath::default()
    };
    let judged = in_force(&policy(&object), &path, &kyverno, None);
    let reason = "cannot read its native policy: policydeck does not read what the API server applies in place of a MutatingPolicy";
    assert_eq!((judged.state, judged.reason().as_str()), (Force::Unknown, reason));
    // As long as Kyverno mutates itself, its webhooks say whether it does.
    object["status"] = json!({"conditionStatus": {"ready": true}});
    assert_eq!(in_force(&policy(&object), &path, &kyverno, None).gap, Some(Gap::NotCarried));
    // Unless it is about to hand it over.
    object["spec"]["autogen"] = json!({"mutatingAdmissionPolicy": {"enabled": true}});
    let judged = in_force(&policy(&object), &path, &kyverno, None);
    assert_eq!((judged.state, judged.reason().as_str()), (Force::Unknown, reason));
}
