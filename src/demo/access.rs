//! Who may do what: three callers, their rights, and the access reviews that tell them.
//!
//! The viewer has what Kyverno's aggregated view role gives: policies and reports, but neither secrets nor
//! exceptions nor openreports (kyverno/kyverno `charts/kyverno/templates/rbac`, every minor so far).

use serde_json::{Value, json};

use super::failure::Failure;

/// A caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    Admin,
    Viewer,
    Nobody,
}

struct Rule {
    groups: &'static [&'static str],
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
}

const READ: &[&str] = &["get", "list", "watch"];

const EVERYTHING: &[Rule] = &[Rule { groups: &["*"], resources: &["*"], verbs: &["*"] }];

/// Every user may ask about itself (`system:basic-user`).
const BASIC: &[Rule] = &[
    Rule { groups: &["authorization.k8s.io"], resources: &["selfsubjectaccessreviews", "selfsubjectrulesreviews"], verbs: &["create"] },
    Rule { groups: &["authentication.k8s.io"], resources: &["selfsubjectreviews"], verbs: &["create"] },
];

const VIEW: &[Rule] = &[
    Rule { groups: &[""], resources: &["namespaces", "pods", "configmaps", "services", "serviceaccounts", "events"], verbs: READ },
    Rule { groups: &["apps", "batch", "networking.k8s.io", "coordination.k8s.io", "discovery.k8s.io"], resources: &["*"], verbs: READ },
    Rule { groups: &["admissionregistration.k8s.io"], resources: &["*"], verbs: READ },
    Rule { groups: &["kyverno.io"], resources: &["clusterpolicies", "policies", "cleanuppolicies", "clustercleanuppolicies"], verbs: READ },
    Rule {
        groups: &["policies.kyverno.io"],
        resources: &[
            "validatingpolicies",
            "namespacedvalidatingpolicies",
            "imagevalidatingpolicies",
            "namespacedimagevalidatingpolicies",
            "mutatingpolicies",
            "namespacedmutatingpolicies",
            "generatingpolicies",
            "namespacedgeneratingpolicies",
            "deletingpolicies",
            "namespaceddeletingpolicies",
        ],
        verbs: READ,
    },
    Rule { groups: &["wgpolicyk8s.io", "reports.kyverno.io"], resources: &["*"], verbs: READ },
];

/// What only the demo's kubeconfigs know. Other users of the machine and pages in a browser reach its ports, too.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// A new one; `None` where the system has no randomness.
    pub(crate) fn new() -> Option<Self> {
        let mut bytes = [0; 16];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).ok()?;
        Some(Self(format!("{:032x}", u128::from_be_bytes(bytes))))
    }

    /// The bearer token of a user.
    pub(crate) fn token(&self, user: &str) -> String {
        format!("{user}-{}", self.0)
    }

    /// What a path begins with that needs no token.
    pub(crate) fn path(&self) -> String {
        format!("/key/{}", self.0)
    }
}

/// Whether a request is meant for this machine. A page can point a name of its own at 127.0.0.1, but it cannot choose the header `Host`.
pub(crate) fn is_here(host: Option<&str>) -> bool {
    let name =
        host.map(|host| host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |(name, _)| name));
    // What is written in digits is an address, and no name of anyone.
    let is_address = |name: &str| name.starts_with("127.") && name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    name.is_some_and(|name| matches!(name, "localhost" | "[::1]") || is_address(name))
}

impl Caller {
    const ALL: [Self; 3] = [Self::Admin, Self::Viewer, Self::Nobody];

    /// The caller of a request, and the rest of its path. The secret is in the token, or in the path (`/key/SECRET`) because client-go sends no
    /// token over plain HTTP (`clientcmd`, "only try to read the auth information if we are secure"). `/user/NAME` names a caller.
    pub(crate) fn of<'p>(secret: &Secret, path: &'p str, token: Option<&str>) -> Result<(Self, &'p str), Failure> {
        let unauthorized = || Failure::new(401, "Unauthorized", "Unauthorized");
        let keyed = path.strip_prefix(secret.path().as_str()).filter(|rest| rest.starts_with('/'));
        let by_token = Self::ALL.into_iter().find(|caller| token == Some(secret.token(caller.name()).as_str()));
        let (path, caller) = match (keyed, by_token) {
            (Some(rest), caller) => (rest, caller.unwrap_or(Self::Admin)),
            (None, Some(caller)) => (path, caller),
            (None, None) => return Err(unauthorized()),
        };
        let Some((name, rest)) =
            path.strip_prefix("/user/").and_then(|rest| Some((rest, rest.find('/')?))).map(|(rest, at)| rest.split_at(at))
        else {
            return Ok((caller, path));
        };
        let named = Self::ALL.into_iter().find(|caller| caller.name() == name).ok_or_else(unauthorized)?;
        Ok((named, rest))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Viewer => "viewer",
            Self::Nobody => "nobody",
        }
    }

    fn rules(self) -> impl Iterator<Item = &'static Rule> {
        let own: &[Rule] = match self {
            Self::Admin => EVERYTHING,
            Self::Viewer => VIEW,
            Self::Nobody => &[],
        };
        BASIC.iter().chain(own)
    }

    pub(crate) fn may(self, verb: &str, group: &str, resource: &str) -> bool {
        let has = |list: &[&str], wanted: &str| list.iter().any(|item| *item == "*" || *item == wanted);
        // A right on a kind does not reach its subresources unless it is a star.
        self.rules().any(|rule| has(rule.groups, group) && has(rule.resources, resource) && has(rule.verbs, verb))
    }

    /// 403 in the API server's words unless the caller may.
    pub(crate) fn demand(self, verb: &str, group: &str, resource: &str, namespace: &str, name: &str) -> Result<(), Failure> {
        if self.may(verb, group, resource) {
            return Ok(());
        }
        let of = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let named = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
        let scope = if namespace.is_empty() { "at the cluster scope".to_owned() } else { format!("in the namespace \"{namespace}\"") };
        Err(Failure::forbidden(format!(
            "{of}{named} is forbidden: User \"{}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {scope}",
            self.name()
        )))
    }

    /// Answers a SelfSubjectAccessReview.
    pub(crate) fn access_review(self, body: &[u8]) -> Value {
        let asked = Question::read(body);
        let allowed = match &asked.path {
            Some(path) => self == Self::Admin || path.starts_with("/api") || path.starts_with("/version"),
            None => self.may(&asked.verb, &asked.group, &asked.resource),
        };
        let reason = if allowed && self == Self::Admin { "demo: admin may do everything" } else { "" };
        json!({
            "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {},
            "spec": {"resourceAttributes": {
                "verb": asked.verb, "group": asked.group, "resource": asked.resource, "namespace": asked.namespace,
            }},
            "status": {"allowed": allowed, "reason": reason},
        })
    }

    /// Answers a SelfSubjectRulesReview.
    pub(crate) fn rules_review(self) -> Value {
        let rules: Vec<Value> =
            self.rules().map(|rule| json!({"verbs": rule.verbs, "apiGroups": rule.groups, "resources": rule.resources})).collect();
        let paths: Value = json!([{"verbs": ["get"], "nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/readyz", "/openapi", "/openapi/*", "/version"]}]);
        json!({
            "kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": {},
            "status": {"resourceRules": rules, "nonResourceRules": paths, "incomplete": false},
        })
    }

    /// Answers a SelfSubjectReview (`kubectl auth whoami`).
    pub(crate) fn self_review(self) -> Value {
        json!({
            "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"creationTimestamp": null},
            "status": {"userInfo": {"username": self.name(), "groups": ["system:authenticated"]}},
        })
    }
}

/// The part of an access review that decides.
#[derive(Debug, Default, PartialEq, Eq)]
struct Question {
    verb: String,
    group: String,
    resource: String,
    namespace: String,
    path: Option<String>,
}

impl Question {
    /// Reads JSON, or the protobuf that kubectl sends for `auth can-i`.
    fn read(body: &[u8]) -> Self {
        match body.strip_prefix(b"k8s\0") {
            Some(unknown) => Self::from_protobuf(unknown),
            None => Self::from_json(&serde_json::from_slice(body).unwrap_or(Value::Null)),
        }
    }

    fn from_json(body: &Value) -> Self {
        let string = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut question = Self {
            verb: string("/spec/resourceAttributes/verb"),
            group: string("/spec/resourceAttributes/group"),
            resource: string("/spec/resourceAttributes/resource"),
            namespace: string("/spec/resourceAttributes/namespace"),
            path: body.pointer("/spec/nonResourceAttributes/path").and_then(Value::as_str).map(str::to_owned),
        };
        if question.path.is_some() {
            question.verb = string("/spec/nonResourceAttributes/verb");
        }
        question
    }

    /// Field numbers from `k8s.io/apimachinery/pkg/runtime/generated.proto` (Unknown.raw = 2) and
    /// `k8s.io/api/authorization/v1/generated.proto` (spec = 2, its attributes = 1 and 2).
    fn from_protobuf(unknown: &[u8]) -> Self {
        let review = field(unknown, 2);
        let spec = field(review, 2);
        let (attributes, path) = (field(spec, 1), field(spec, 2));
        let string = |message: &[u8], number| String::from_utf8_lossy(field(message, number)).into_owned();
        if attributes.is_empty() && !path.is_empty() {
            return Self { verb: string(path, 2), path: Some(string(path, 1)), ..Self::default() };
        }
        Self {
            verb: string(attributes, 2),
            group: string(attributes, 3),
            resource: string(attributes, 5),
            namespace: string(attributes, 1),
            path: None,
        }
    }
}

/// The first length-delimited field of this number in a protobuf message, or nothing.
fn field(message: &[u8], wanted: u64) -> &[u8] {
    let mut rest = message;
    while let Some((tag, after)) = varint(rest) {
        match tag & 7 {
            0 => match varint(after) {
                Some((_, after)) => rest = after,
                None => return &[],
            },
            2 => {
                let Some((length, after)) = varint(after) else {
                    return &[];
                };
                let Some((value, after)) = usize::try_from(length).ok().and_then(|n| after.split_at_checked(n)) else {
                    return &[];
                };
                if tag >> 3 == wanted {
                    return value;
                }
                rest = after;
            }
            _ => return &[],
        }
    }
    &[]
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (n, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7F) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(n + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(body.len()).unwrap()];
        out.extend_from_slice(body);
        out
    }

    #[test]
    fn protobuf_questions_are_understood() {
        let attributes = [message(2, b"patch"), message(3, b"kyverno.io"), message(5, b"clusterpolicies")].concat();
        let review = message(2, &message(1, &attributes));
        let body = [b"k8s\0".as_slice(), &message(1, b"typemeta"), &message(2, &review)].concat();
        let asked = Question::read(&body);
        assert_eq!((asked.verb.as_str(), asked.resource.as_str()), ("patch", "clusterpolicies"));
        assert_eq!(Caller::Viewer.access_review(&body)["status"]["allowed"], false);
        assert_eq!(Caller::Admin.access_review(&body)["status"]["allowed"], true);
        assert_eq!(Question::read(b"k8s\0\xff\xff"), Question::default());
    }

    #[test]
    fn only_the_kubeconfig_knows_the_way_in() {
        let secret = Secret("5ec".into());
        let of =
            |path, token: Option<&str>| Caller::of(&secret, path, token).map(|(caller, rest)| (caller.name(), rest)).map_err(|f| f.code);
        for (path, token, says) in [
            ("/api", None, Err(401)),
            ("/api", Some("admin-token"), Err(401)),
            ("/api", Some("5ec"), Err(401)),
            ("/user/admin/api", None, Err(401)),
            ("/key/5e/api", None, Err(401)),
            ("/key/5ecx/api", None, Err(401)),
            ("/user/stranger/api", Some("admin-5ec"), Err(401)),
            ("/api", Some("admin-5ec"), Ok(("admin", "/api"))),
            ("/api", Some("viewer-5ec"), Ok(("viewer", "/api"))),
            ("/user/nobody/api/v1", Some("viewer-5ec"), Ok(("nobody", "/api/v1"))),
            ("/key/5ec/api", None, Ok(("admin", "/api"))),
            ("/key/5ec/user/viewer/api", None, Ok(("viewer", "/api"))),
        ] {
            assert_eq!(of(path, token), says, "{path} {token:?}");
        }
        assert_ne!(Secret::new().unwrap().0, Secret::new().unwrap().0);
    }

    #[test]
    fn requests_for_other_names_are_not_for_here() {
        for (host, here) in [
            (Some("127.0.0.1:8001"), true),
            (Some("localhost"), true),
            (Some("127.1:8001"), true),
            (Some("[::1]:8001"), true),
            (Some("rebound.example:8001"), false),
            (Some("127.0.0.1.example:80"), false),
            (Some("localhost.example"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(is_here(host), here, "{host:?}");
        }
    }

    #[test]
    fn the_viewer_sees_policies_but_no_exceptions() {
        assert!(Caller::Viewer.may("list", "kyverno.io", "clusterpolicies"));
        assert!(!Caller::Viewer.may("list", "kyverno.io", "policyexceptions"));
        assert!(!Caller::Viewer.may("list", "", "secrets"));
        let refused = Caller::Nobody.demand("list", "", "pods", "a", "").unwrap_err();
        assert_eq!(
            refused.message,
            "pods is forbidden: User \"nobody\" cannot list resource \"pods\" in API group \"\" in the namespace \"a\""
        );
    }
}
