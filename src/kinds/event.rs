//! Events of refused admissions.
//!
//! What lives here: which events say so, what they say, as far as Kyverno can have written it (tenants may write events in their own namespaces), and who
//! wrote them. What does not: which of them to believe; that needs the policy's mode and whether the resource exists, and is the reader's business (see
//! [`BlockedAdmission::doubtful`]).
//!
//! Facts: Kyverno `pkg/event/{events,controller}.go` and `pkg/webhooks/utils/event.go`; seen on a running 1.19.1.

use super::revision::full_digest;
use super::{CEL, Family, KYVERNO, KindId, group_of, json};
use crate::domain::{EventSource, EvidenceRef, PolicyId, ResourceRef};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// Where API servers keep events about what is in no namespace.
const DEFAULT_NAMESPACE: &str = "default";
/// How far Kyverno's clock may be ahead of the API server's.
const AHEAD: SignedDuration = SignedDuration::from_mins(1);
/// How many requests an event that stands for several may count before a second has passed (client-go `tools/record/events_cache.go`, `defaultSpamBurst`).
const BURST: u64 = 25;
/// No name that an API server takes is longer, nor anything else in a reference: what is longer was not written about a request.
const LONGEST_NAME: usize = 512;
const CREATED: &[&str] = &["metadata", "creationTimestamp"];
/// The component of Kyverno's admission controller in its events (`pkg/event/source.go`).
const COMPONENT: &str = "kyverno-admission";
/// The field manager of what it writes: client-go takes the name of the program, which is `kyverno` in every image and release.
const MANAGER: &str = "kyverno";

/// A request that Kyverno refused, as one event tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedAdmission {
    /// UID of the event: the same event, seen again with a higher count, replaces what was read before.
    pub uid: String,
    /// The policy that failed. Where several did, each has an event of its own.
    pub policy: PolicyId,
    /// The resource that was refused. Its UID belongs to no object, if it was refused indeed.
    pub resource: ResourceRef,
    /// When it happened last: what the event says, or when it was created if that was earlier.
    pub at: Option<Timestamp>,
    /// How often: 1, or what the API aggregated (Kyverno ≤ 1.11), but never more than one each second.
    pub count: u64,
    /// The note, as written.
    pub message: String,
    /// The event may be untrue. Of the CEL kinds, every failure is marked `(blocked)` as soon as any policy that was evaluated for the
    /// request holds `Deny`, whatever the outcome (`pkg/webhooks/resource/{vpol,ivpol}/handler.go`, `audit`; seen on 1.19.1). Count it only
    /// if the policy can block there, or better, if no object with the resource's UID exists.
    pub doubtful: bool,
    /// Who wrote the event.
    pub source: EventSource,
}

/// Reads a core v1 or events.k8s.io/v1 Event. `None` for every event that is not about a refused admission: other reasons, violations
/// that were let through (`Resource Passed`), events about the resource instead of the policy.
pub fn read_event(event: &Value) -> Option<BlockedAdmission> {
    if json::text(event, &["reason"]) != Some("PolicyViolation") {
        return None;
    }
    let message = json::text(event, &["message"]).or_else(|| json::text(event, &["note"])).unwrap_or_default();
    if !says_blocked(event, message) {
        return None;
    }
    let policy = policy(json::get(event, &["involvedObject"]).or_else(|| json::get(event, &["regarding"]))?)?;
    if json::text(event, &["metadata", "namespace"]) != Some(policy.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)) {
        return None;
    }
    let resource = match json::get(event, &["related"]) {
        Some(related) => reference(related),
        None => resource_in_words(message)?,
    };
    let texts = [&policy.name, &resource.api_version, &resource.kind, &resource.namespace, &resource.name, &resource.uid];
    if texts.into_iter().any(|text| text.len() > LONGEST_NAME) {
        return None;
    }
    Some(BlockedAdmission {
        uid: json::text_or_empty(event, &["metadata", "uid"]),
        doubtful: policy.group == CEL,
        policy,
        resource,
        at: believable_time(event),
        count: count(event),
        message: message.to_owned(),
        source: source(event),
    })
}

/// Who wrote an event. Writers choose both component and field manager, so neither proves anything.
fn source(event: &Value) -> EventSource {
    let text = |path: &[&str]| json::text(event, path).filter(|text| !text.is_empty());
    let component = text(&["reportingComponent"])
        .or_else(|| text(&["reportingController"]))
        .or_else(|| text(&["source", "component"]))
        .or_else(|| text(&["deprecatedSource", "component"]))
        .unwrap_or_default();
    let mut managers: Vec<&str> =
        json::list(event, &["metadata", "managedFields"]).iter().map(|entry| json::text(entry, &["manager"]).unwrap_or_default()).collect();
    managers.sort_unstable();
    managers.dedup();
    let verified = component == COMPONENT && managers == [MANAGER];
    let object = EvidenceRef::new(
        "Event",
        &json::text_or_empty(event, &["metadata", "namespace"]),
        &json::text_or_empty(event, &["metadata", "name"]),
    );
    let named: Vec<&str> = managers.iter().map(|manager| if manager.is_empty() { "an unnamed field manager" } else { manager }).collect();
    EventSource {
        object,
        component: component.to_owned(),
        by: (!named.is_empty()).then(|| named.join(", ")),
        verified,
        content: if verified { String::new() } else { content(event) },
    }
}

/// The digest of everything that an event says, whatever object says it.
fn content(event: &Value) -> String {
    let mut says = event.clone();
    if let Some(fields) = says.as_object_mut() {
        fields.remove("metadata");
    }
    full_digest(&says)
}

/// The action says it since 1.12. Before that events had no action, and the note says it: `Pod ns/name: [rule] fail (blocked); …`.
fn says_blocked(event: &Value, message: &str) -> bool {
    match json::text(event, &["action"]) {
        Some(action) if !action.is_empty() => action == "Resource Blocked",
        _ => message.split(';').next().is_some_and(|status| status.trim_end().ends_with("(blocked)")),
    }
}

/// The policy that an event is about; `None` if it is about something else, such as the resource.
fn policy(regarding: &Value) -> Option<PolicyId> {
    let kind = json::text(regarding, &["kind"])?;
    let group = match json::text(regarding, &["apiVersion"]) {
        Some(api_version) if !api_version.is_empty() => group_of(api_version),
        // Before there was a second group of policies, nobody needed it.
        _ => KYVERNO,
    };
    let known = KindId::find(group, kind).map(KindId::kind).filter(|known| known.family == Family::Policy)?;
    let namespace = json::text(regarding, &["namespace"]).filter(|namespace| known.namespaced && !namespace.is_empty());
    Some(PolicyId {
        group: known.group.to_owned(),
        kind: known.kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: json::text(regarding, &["name"]).filter(|name| !name.is_empty())?.to_owned(),
    })
}

fn reference(value: &Value) -> ResourceRef {
    ResourceRef {
        api_version: json::text_or_empty(value, &["apiVersion"]),
        kind: json::text_or_empty(value, &["kind"]),
        namespace: json::text_or_empty(value, &["namespace"]),
        name: json::text_or_empty(value, &["name"]),
        uid: json::text_or_empty(value, &["uid"]),
    }
}

/// The resource that a note names: `Pod ns/name: [rule] …` or `Namespace name: [rule] …`. Names may hold colons (`system:node`), so the
/// colon that ends one is followed by a blank.
fn resource_in_words(message: &str) -> Option<ResourceRef> {
    let (resource, _) = message.split_once(": ")?;
    let (kind, path) = resource.split_once(' ')?;
    let (namespace, name) = path.split_once('/').unwrap_or(("", path));
    let sane = !kind.is_empty() && !name.is_empty() && !name.contains(' ');
    sane.then(|| ResourceRef { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned(), ..ResourceRef::default() })
}

/// An event of one request counts once; one that stands for several counts as often as it says, if there was time for that.
fn count(event: &Value) -> u64 {
    let paths: [&[&str]; 3] = [&["series", "count"], &["count"], &["deprecatedCount"]];
    let counts = paths.iter().filter_map(|path| json::get(event, path)?.as_u64());
    let first =
        [&["firstTimestamp"][..], &["deprecatedFirstTimestamp"], &["eventTime"], CREATED].iter().find_map(|path| json::time(event, path));
    let span = first.zip(event_time(event)).map(|(first, last)| last.duration_since(first).as_secs().unsigned_abs());
    // The API has thirty-two bits for it.
    let most = span.unwrap_or(0).saturating_add(BURST).min(u64::from(u32::MAX));
    counts.max().unwrap_or(1).clamp(1, most)
}

/// When it happened, as far as the event can know: before it was created, which the API server says, or later where it was counted up.
fn believable_time(event: &Value) -> Option<Timestamp> {
    let Some(created) = json::time(event, CREATED) else { return event_time(event) };
    let fits = |at: &Timestamp| is_counted_up(event) || created.duration_since(*at) >= -AHEAD;
    event_time(event).filter(fits).or(Some(created))
}

/// Whether an event stands for several requests, of which the last may be long after it was created.
fn is_counted_up(event: &Value) -> bool {
    [&["series"][..], &["lastTimestamp"], &["deprecatedLastTimestamp"]]
        .iter()
        .any(|path| json::get(event, path).is_some_and(|value| !value.is_null()))
}

/// When what an event is about happened last; from then on the API server keeps it for a while.
pub fn event_time(event: &Value) -> Option<Timestamp> {
    let paths: [&[&str]; 5] = [&["series", "lastObservedTime"], &["lastTimestamp"], &["deprecatedLastTimestamp"], &["eventTime"], CREATED];
    paths.iter().find_map(|path| json::time(event, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As seen on a running 1.19.1.
    fn core() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": "require-team.18c2d3e4f5", "namespace": "default", "uid": "e1", "creationTimestamp": "2026-08-21T10:00:00Z"},
            "reason": "PolicyViolation", "action": "Resource Blocked", "type": "Warning", "reportingComponent": "kyverno-admission",
            "involvedObject": {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "name": "require-team", "uid": "p1"},
            "related": {"apiVersion": "v1", "kind": "Pod", "namespace": "dev", "name": "web", "uid": "r1"},
            "eventTime": "2026-08-21T10:00:01.123456Z", "firstTimestamp": null, "lastTimestamp": null,
            "message": "Pod dev/web: [check-team] fail (blocked); validation error: label team is required"
        })
    }

    fn with(changes: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Option<BlockedAdmission> {
        let mut event = core();
        changes(event.as_object_mut().unwrap());
        read_event(&event)
    }

    #[test]
    fn a_refused_request() {
        let blocked = read_event(&core()).unwrap();
        assert_eq!(blocked.policy.to_string(), "ClusterPolicy/require-team");
        assert_eq!(blocked.policy.group, "kyverno.io");
        assert_eq!((blocked.resource.namespace.as_str(), blocked.resource.to_string()), ("dev", "Pod/web".to_owned()));
        assert_eq!((blocked.uid.as_str(), blocked.resource.uid.as_str()), ("e1", "r1"));
        assert_eq!(blocked.at, "2026-08-21T10:00:01.123456Z".parse().ok());
        assert_eq!((blocked.count, blocked.doubtful), (1, false));
    }

    #[test]
    fn events_api_shape() {
        let blocked = with(|event| {
            let message = event.remove("message").unwrap();
            let policy = event.remove("involvedObject").unwrap();
            event.insert("note".into(), message);
            event.insert("regarding".into(), policy);
            event.insert("series".into(), json!({"count": 4, "lastObservedTime": "2026-08-21T11:00:00.000000Z"}));
        });
        let blocked = blocked.unwrap();
        assert_eq!((blocked.count, blocked.at), (4, "2026-08-21T11:00:00Z".parse().ok()));
        assert!(blocked.message.starts_with("Pod dev/web"));
    }

    #[test]
    fn before_1_12_the_note_says_it_all() {
        let old = |message: &str| {
            with(|event| {
                event.remove("related");
                event.remove("action");
                event.remove("eventTime");
                event.insert("count".into(), json!(7));
                event.insert("lastTimestamp".into(), json!("2026-08-21T12:00:00Z"));
                event.insert("message".into(), json!(message));
            })
        };
        let blocked = old("Pod dev/web: [check-team] fail (blocked); validation error").unwrap();
        assert_eq!((blocked.count, blocked.at), (7, "2026-08-21T12:00:00Z".parse().ok()));
        assert_eq!(
            (blocked.resource.kind.as_str(), blocked.resource.namespace.as_str(), blocked.resource.name.as_str()),
            ("Pod", "dev", "web")
        );
        let blocked = old("ClusterRole system:evil: [check-roles] error (blocked)").unwrap();
        assert_eq!((blocked.resource.namespace.as_str(), blocked.resource.name.as_str()), ("", "system:evil"));
        assert_eq!(old("Pod dev/web: [check-team] fail; they said (blocked)"), None);
        assert_eq!(old("(blocked)"), None);
    }

    #[test]
    fn what_is_no_refusal() {
        assert_eq!(with(|event| drop(event.insert("action".into(), json!("Resource Passed")))), None);
        assert_eq!(with(|event| drop(event.insert("reason".into(), json!("PolicyApplied")))), None);
        assert_eq!(with(|event| drop(event.remove("involvedObject"))), None);
        let about_the_resource = json!({"apiVersion": "v1", "kind": "Pod", "namespace": "dev", "name": "web"});
        assert_eq!(with(|event| drop(event.insert("involvedObject".into(), about_the_resource))), None);
        let long = json!({"apiVersion": "v1", "kind": "Pod", "namespace": "dev", "name": "w".repeat(LONGEST_NAME + 1)});
        assert_eq!(with(|event| drop(event.insert("related".into(), long))), None, "no resource has such a name");
        let somebody_elses = json!({"apiVersion": "networking.example/v1", "kind": "Policy", "namespace": "dev", "name": "web"});
        assert_eq!(with(|event| drop(event.insert("involvedObject".into(), somebody_elses))), None);
        assert_eq!(read_event(&json!("nonsense")), None);
    }

    #[test]
    fn policies_of_every_kind() {
        let about = |api_version: &str, kind: &str, namespace: &str| {
            let policy = json!({"apiVersion": api_version, "kind": kind, "namespace": namespace, "name": "p"});
            let place = if namespace.is_empty() { "default" } else { namespace };
            with(|event| {
                event.insert("involvedObject".into(), policy);
                event["metadata"]["namespace"] = place.into();
            })
            .unwrap()
        };
        assert_eq!(about("kyverno.io/v1", "Policy", "team-a").policy.report_name(), "team-a/p");
        assert_eq!(about("", "ClusterPolicy", "").policy.group, "kyverno.io");
        // For cluster policies the event lives in `default`; that is not the policy's namespace.
        assert_eq!(about("kyverno.io/v1", "ClusterPolicy", "default").policy.namespace, None);
        let cel = about("policies.kyverno.io/v1beta1", "NamespacedValidatingPolicy", "team-a");
        assert_eq!((cel.policy.report_name().as_str(), cel.doubtful), ("team-a/p", true));
        assert!(about("policies.kyverno.io/v1", "ImageValidatingPolicy", "").doubtful);
    }

    #[test]
    fn only_where_kyverno_writes_it() {
        let written_in = |namespace: &str| with(|event| event["metadata"]["namespace"] = namespace.into());
        assert!(written_in("default").is_some());
        assert_eq!((written_in("team-a"), written_in("")), (None, None), "a tenant's own event about a policy of the cluster");
        let own = |policy: &str, event_in: &str| {
            with(|event| {
                event.insert(
                    "involvedObject".into(),
                    json!({"apiVersion": "kyverno.io/v1", "kind": "Policy", "namespace": policy, "name": "p"}),
                );
                event["metadata"]["namespace"] = event_in.into();
            })
        };
        assert!(own("team-a", "team-a").is_some());
        assert_eq!((own("team-b", "team-a"), own("team-b", "default")), (None, None));
    }

    #[test]
    fn only_what_kyvernos_program_wrote_in_its_own_name_is_verified() {
        let source = |component: Option<&str>, managers: &[&str]| {
            with(|event| {
                event.remove("reportingComponent");
                event.extend(component.map(|component| ("reportingComponent".to_owned(), json!(component))));
                event["metadata"]["managedFields"] =
                    managers.iter().map(|manager| json!({"manager": manager, "operation": "Update"})).collect();
            })
            .unwrap()
            .source
        };
        let kyverno = Some("kyverno-admission");
        for (component, managers, verified, by) in [
            (kyverno, &["kyverno"][..], true, Some("kyverno")),
            (kyverno, &["kyverno", "kyverno"], true, Some("kyverno")),
            (kyverno, &["kyverno", "kubectl-edit"], false, Some("kubectl-edit, kyverno")),
            (kyverno, &["kubectl-create"], false, Some("kubectl-create")),
            (kyverno, &["reports-controller"], false, Some("reports-controller")),
            (kyverno, &[""], false, Some("an unnamed field manager")),
            (kyverno, &[], false, None),
            (Some("kyverno-scan"), &["kyverno"], false, Some("kyverno")),
            (None, &["kyverno"], false, Some("kyverno")),
        ] {
            let source = source(component, managers);
            assert_eq!((source.verified, source.by.as_deref()), (verified, by), "{component:?} {managers:?}");
            assert_eq!(source.content.is_empty(), verified, "{component:?} {managers:?}");
            assert_eq!(source.object.to_string(), "event/default/require-team.18c2d3e4f5");
        }
    }

    #[test]
    fn the_content_of_an_event_is_what_it_says_and_not_which_object_says_it() {
        let content = |changes: fn(&mut serde_json::Map<String, Value>)| with(changes).unwrap().source.content;
        let usual = content(|_| ());
        assert_eq!(content(|event| event["metadata"]["uid"] = "e2".into()), usual);
        assert_eq!(content(|event| event["metadata"]["resourceVersion"] = "7".into()), usual);
        assert_ne!(content(|event| drop(event.insert("count".into(), json!(2)))), usual);
        assert_ne!(content(|event| event["related"]["name"] = "other".into()), usual);
    }

    #[test]
    fn an_event_weighs_no_more_than_it_can() {
        let counted = |first: &str, last: &str, count: u64| {
            with(|event| {
                event.extend([
                    ("firstTimestamp".into(), json!(first)),
                    ("lastTimestamp".into(), json!(last)),
                    ("count".into(), json!(count)),
                ]);
            })
            .map(|event| event.count)
        };
        assert_eq!(counted("2026-08-21T10:00:00Z", "2026-08-21T10:00:00Z", 4_000_000_000), Some(25));
        assert_eq!(counted("2026-08-21T10:00:00Z", "2026-08-21T11:00:00Z", 900), Some(900));
        assert_eq!(counted("2026-08-21T10:00:00Z", "2026-08-21T11:00:00Z", 1_000_000), Some(3625));
        assert_eq!(counted("nonsense", "nonsense", 7), Some(7));
    }

    #[test]
    fn a_time_that_does_not_fit_is_when_the_event_was_created() {
        let at = |time: &str| with(|event| drop(event.insert("eventTime".into(), json!(time)))).and_then(|event| event.at);
        for fits in ["2026-08-21T09:58:00Z", "2026-08-21T10:00:30Z", "2026-01-01T00:00:00Z"] {
            assert_eq!(at(fits), fits.parse().ok(), "{fits}");
        }
        for strange in ["2026-08-21T10:02:00Z", "2031-01-01T00:00:00Z"] {
            assert_eq!(at(strange), "2026-08-21T10:00:00Z".parse().ok(), "{strange}");
        }
        // One that is counted up may go on for hours.
        let last = |time: &str| with(|event| drop(event.insert("lastTimestamp".into(), json!(time)))).and_then(|event| event.at);
        assert_eq!(last("2026-08-21T15:00:00Z"), "2026-08-21T15:00:00Z".parse().ok());
    }
}
