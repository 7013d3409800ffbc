//! A real Prometheus beside the real Kyverno tells what was refused while no recorder ran.
//!
//! A gate asks for it only where a step is older than the hour for which a cluster keeps its events. So the policies are made two hours old, and
//! Prometheus gets the two hours before the test as `promtool` imports them: what Kyverno serves at its beginning, again and again. What matters
//! (refusals, a restart, scrapes) happens then for real.

use crate::support::age::made_at;
use crate::support::cluster::{Cluster, Fleet, Options};
use crate::support::eventually;
use crate::support::product::{Desk, end};
use jiff::Timestamp;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(180);

/// Two policies of each family; one of each is to refuse something.
fn policies() -> String {
    let classic = |name: &str, tag: &str| {
        format!(
            "{{apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {{name: {name}}}, spec: {{validationFailureAction: \
             Enforce, rules: [{{name: tag, match: {{any: [{{resources: {{kinds: [Pod], namespaces: [shop]}}}}]}}, validate: {{message: refused, pattern: \
             {{spec: {{containers: [{{image: '!*:{tag}'}}]}}}}}}}}]}}}}"
        )
    };
    let cel = |name: &str, tag: &str| {
        format!(
            "{{apiVersion: policies.kyverno.io/v1, kind: ValidatingPolicy, metadata: {{name: {name}}}, spec: \
             {{validationActions: [Deny], matchConstraints: {{resourceRules: [{{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}}]}}, \
             validations: [{{message: refused, expression: \"object.spec.containers.all(c, !c.image.endsWith(':{tag}'))\"}}]}}}}"
        )
    };
    [classic("classic", "bad"), classic("quiet", "never"), cel("cel", "worse"), cel("cel-quiet", "never")].join("\n---\n")
}

/// Tries to make a Pod; whether it was refused.
fn refused(cluster: &Cluster, name: &str, tag: &str) -> bool {
    let pod = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: shop}}, spec: {{containers: [{{name: c, image: 'nginx:{tag}'}}]}}}}"
    );
    !cluster.try_kubectl(&["create", "-f", "-"], &pod).status.success()
}

/// The policies, as if they had been made two hours ago.
fn begin(fleet: &Fleet) -> Timestamp {
    let dev = fleet.cluster("dev");
    dev.namespace("shop");
    let since = Timestamp::from_second(Timestamp::now().as_second() - 7_200).unwrap();
    dev.apply(&policies());
    dev.kubectl(&["wait", "--for=condition=Ready", "clusterpolicy", "--all", "--timeout=60s"]);
    for (kind, name) in
        [("clusterpolicies", "classic"), ("clusterpolicies", "quiet"), ("validatingpolicies", "cel"), ("validatingpolicies", "cel-quiet")]
    {
        let group = if kind == "clusterpolicies" { "kyverno.io" } else { "policies.kyverno.io" };
        made_at(fleet, "dev", (group, kind, name), since);
    }
    // What is refused now is before everything that is asked about.
    for tag in ["bad", "worse"] {
        let mut tried = 0;
        eventually("it refuses", SOON, || {
            tried += 1;
            if refused(dev, &format!("{tag}-{tried}"), tag) { Ok(()) } else { Err(tried) }
        });
    }
    eventually("a Pod passes by all policies", SOON, || if refused(dev, "good", "good") { Err("refused") } else { Ok(()) });
    forget(dev);
    since
}

/// What tells of refusals in the cluster itself goes.
fn forget(dev: &Cluster) {
    // They are written a moment after what they tell of.
    let told = |event: &Value| event["reason"] == "PolicyViolation";
    eventually("the refusal is told", SOON, || {
        if dev.api.list("/api/v1/namespaces/default/events").unwrap().iter().filter(|event| told(event)).count() >= 2 {
            Ok(())
        } else {
            Err("not yet")
        }
    });
    eventually("the events are gone", SOON, || {
        dev.kubectl(&["delete", "events", "--all", "-n", "default"]);
        let left = dev.api.list("/api/v1/namespaces/default/events").unwrap();
        if left.iter().any(told) { Err(format!("{left:?}")) } else { Ok(()) }
    });
}

/// What the admission controller of a cluster serves now, as samples every five seconds from `since` until Prometheus will scrape by itself.
fn past(fleet: &Fleet, cluster: &str, since: Timestamp) -> PathBuf {
    let clusters = std::fs::read_to_string(fleet.run.join("clusters")).unwrap();
    let port: u16 = clusters.lines().find_map(|line| line.strip_prefix(&format!("{cluster} "))).unwrap().trim().parse().unwrap();
    let target = format!("127.0.0.1:{}", port + 3);
    let served = Command::new("curl").args(["-sf", &format!("http://{target}/metrics")]).output().unwrap();
    let served = String::from_utf8(served.stdout).unwrap();
    let mut out = String::new();
    let mut series: Vec<(String, &str)> = Vec::new();
    for line in served
        .lines()
        .filter(|line| !line.starts_with('#') && (line.starts_with("kyverno_") || line.starts_with("process_start_time_seconds")))
    {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let own = format!("cluster=\"{cluster}\",instance=\"{target}\",job=\"kyverno-svc-metrics\"");
        let name = match name.split_once('{') {
            Some((metric, labels)) => format!("{metric}{{{own},{}", labels.trim_start_matches(',')),
            None => format!("{name}{{{own}}}"),
        };
        if [
            "kyverno_info",
            "process_start",
            "kyverno_admission_requests_total",
            "kyverno_policy_results",
            "kyverno_validating_policy_results",
            "kyverno_policy_rule",
        ]
        .iter()
        .any(|wanted| name.starts_with(wanted))
        {
            series.push((name, value));
        }
    }
    assert!(series.iter().any(|(name, _)| name.starts_with("kyverno_policy_results_total")), "{served}");
    // OpenMetrics has the samples of a metric together, and ends with a word.
    for (name, value) in &series {
        for second in (since.as_second() - 60..Timestamp::now().as_second() + 10).step_by(5) {
            writeln!(out, "{name} {value} {second}").unwrap();
        }
    }
    out.push_str("# EOF\n");
    let file = fleet.run.join("past.txt");
    std::fs::write(&file, out).unwrap();
    file
}

const STEPS: &str = "steps = [{ mode = \"audit\" }, { mode = \"enforce\" }]\n";

/// Promotions go from `dev` to a second environment, which is the same cluster: nothing is written.
fn desk(fleet: &Fleet, url: &str) -> Desk {
    let prometheus =
        if url.is_empty() { String::new() } else { format!("prometheus = {{ url = \"{url}\", matchers = 'cluster=\"dev\"' }}\n") };
    let config = format!(
        "[[environments]]\nname = \"dev\"\ncontext = \"dev\"\n{STEPS}{prometheus}[[environments]]\nname = \"next\"\ncontext = \"other\"\n{STEPS}"
    );
    Desk::with_config(fleet, &config)
}

/// The gate's condition `blocked`.
fn blocked(desk: &Desk, policy: &str) -> Value {
    let (gates, _) = desk.json(&["gate", policy]);
    let conditions = gates["items"][0]["conditions"].as_array().unwrap_or_else(|| panic!("{gates:#}"));
    conditions.iter().find(|condition| condition["name"] == "blocked").unwrap().clone()
}

fn until(desk: &Desk, what: &str, policy: &str, fits: impl Fn(&Value) -> bool) -> Value {
    eventually(what, SOON, || {
        let blocked = blocked(desk, policy);
        if fits(&blocked) { Ok(blocked) } else { Err(format!("{policy}: {blocked:#}")) }
    })
}

/// Waits until Prometheus has scraped a number.
fn scraped(url: &str, query: &str, value: &str) {
    eventually("it is scraped", SOON, || {
        let answer = Command::new("curl")
            .args(["-sf", "-G", &format!("{url}/api/v1/query"), "--data-urlencode", &format!("query={query}")])
            .output()
            .unwrap();
        let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
        if answer.contains(&format!(",\"{value}\"]")) { Ok(()) } else { Err(answer) }
    });
}

fn on_record(desk: &Desk, policy: &str) {
    eventually("it is on record", SOON, || {
        let answer = desk.run(&["timeline", policy, "--no-look", "--last", "3h", "-o", "json"]);
        if answer.stdout.contains("\"enforce\"") { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}

/// The stretches of which Prometheus told everything.
fn fills(desk: &Desk, policy: &str) -> Vec<(Timestamp, Timestamp)> {
    let timeline = desk.json(&["timeline", policy, "--last", "3h", "--no-look"]).0;
    let filled = timeline["items"][0]["filled"].as_array().cloned().unwrap_or_default();
    let time = |fill: &Value, name: &str| fill[name].as_str().unwrap().parse().unwrap();
    filled.iter().filter(|fill| fill["whole"] == true).map(|fill| (time(fill, "from"), time(fill, "to"))).collect()
}

#[test]
fn prometheus_tells_what_nobody_watched() {
    let Some(fleet) = Fleet::start(&["dev", "other"], Options::default()) else { return };
    fleet.start_kyverno(&["dev"], false);
    let dev = fleet.cluster("dev");
    let since = begin(&fleet);
    let url = fleet.start_prometheus(&["dev"], Some(&past(&fleet, "dev", since)));

    // A recorder for a moment; then nobody watches, and two are refused, and what tells of it in the cluster goes.
    let desk = desk(&fleet, &url);
    let first = desk.start(&["observe", "-e", "dev"]);
    for policy in ["classic", "quiet", "cel", "cel-quiet"] {
        on_record(&desk, policy);
    }
    end(first);
    let before = blocked(&desk, "classic");
    assert_eq!(before["state"], "unknown", "{before:#}");
    // On the edge clocks may differ.
    let scrapes = |more: u64| {
        let answer = Command::new("curl")
            .args(["-sf", "-G", &format!("{url}/api/v1/query"), "--data-urlencode", "query=kyverno_info{job=\"kyverno-svc-metrics\"}[1h]"])
            .output()
            .unwrap();
        let answer: Value = serde_json::from_slice(&answer.stdout).unwrap_or_default();
        answer["data"]["result"][0]["values"].as_array().map_or(0, |values| values.len() as u64).saturating_sub(more)
    };
    let so_far = scrapes(0);
    eventually("it is scraped so often that it is beyond the edge", SOON, || if scrapes(so_far) >= 8 { Ok(()) } else { Err("not yet") });
    assert!(refused(dev, "bad", "bad") && refused(dev, "worse", "worse"));
    forget(dev);
    let so_far = scrapes(0);
    eventually("and is again", SOON, || if scrapes(so_far) >= 8 { Ok(()) } else { Err("not yet") });
    scraped(&url, "sum(kyverno_policy_results_total{policy_name=\"classic\",rule_result=\"fail\"})", "2");
    scraped(&url, "sum(kyverno_validating_policy_results_total{policy_name=\"cel\",result=\"fail\"})", "2");

    let second = desk.start(&["observe", "-e", "dev"]);
    for (policy, value) in [("classic", 1), ("cel", 1)] {
        let closed = until(&desk, "Prometheus tells of the refusal", policy, |blocked| blocked["state"] == "unmet");
        assert_eq!((&closed["value"], &closed["source"]), (&value.into(), &"Prometheus".into()), "{policy}: {closed:#}");
    }
    for policy in ["quiet", "cel-quiet"] {
        let met = until(&desk, "nothing was refused, as Prometheus tells", policy, |blocked| blocked["state"] == "met");
        assert_eq!((&met["value"], &met["source"]), (&0.into(), &"events, Prometheus".into()), "{policy}: {met:#}");
        assert!(met["reason"].as_str().unwrap().contains("filled from Prometheus"), "{met:#}");
    }
    let timeline = desk.json(&["timeline", "classic", "--last", "1h", "--no-look"]).0;
    let filled = timeline["items"][0]["filled"].as_array().unwrap();
    assert_eq!(filled.iter().filter_map(|fill| fill["count"].as_u64()).sum::<u64>(), 1, "{timeline:#}");
    end(second);

    // Kyverno is killed while nobody watches: what it did in its last second nobody can tell.
    let killed = Timestamp::now();
    dev.signal("kyverno-admission", "KILL");
    fleet.start_kyverno(&["dev"], false);
    eventually("a Pod passes again", SOON, || if refused(dev, "fine", "good") { Err("refused") } else { Ok(()) });
    let so_far = scrapes(0);
    eventually("the new process is scraped", SOON, || if scrapes(so_far) >= 8 { Ok(()) } else { Err("not yet") });
    let third = desk.start(&["observe", "-e", "dev"]);
    let told = eventually("Prometheus tells of the time after the restart", SOON, || {
        let told = fills(&desk, "quiet");
        if told.iter().any(|(from, _)| *from > killed) { Ok(told) } else { Err(format!("{told:?}")) }
    });
    assert!(!told.iter().any(|(from, to)| *from <= killed && killed < *to), "the restart stays a gap: {killed}, {told:?}");
    native(dev, &desk);
    end(third);
}

/// Where the API server judges by itself there are no events: its own counters tell, while the recorder runs, too.
fn native(dev: &Cluster, desk: &Desk) {
    let policy = |name: &str, bad: &str| {
        format!(
            "{{apiVersion: policies.kyverno.io/v1, kind: ValidatingPolicy, metadata: {{name: {name}}}, spec: {{validationActions: [Deny], autogen: \
             {{validatingAdmissionPolicy: {{enabled: true}}}}, matchConstraints: {{resourceRules: [{{apiGroups: [''], apiVersions: [v1], operations: [CREATE], \
             resources: [configmaps]}}]}}, validations: [{{message: refused, expression: \"object.metadata.name != '{bad}'\"}}]}}}}"
        )
    };
    dev.apply(&[policy("native", "bad"), policy("native-quiet", "never")].join("\n---\n"));
    // The API servers of the tests do not list themselves (`--endpoint-reconciler-type=none`).
    let words = "the EndpointSlices of Service default/kubernetes list no address";
    let uncounted = until(desk, words, "native", |blocked| blocked["reason"].as_str().is_some_and(|reason| reason.ends_with(words)));
    assert_eq!((&uncounted["state"], &uncounted["value"]), (&"unknown".into(), &Value::Null), "{uncounted:#}");
    api_servers(dev, 1);
    for name in ["native", "native-quiet"] {
        until(desk, "Prometheus tells of no refusal so far", name, |blocked| blocked["state"] == "met" && blocked["value"] == 0);
    }
    let refused = dev.try_kubectl(&["create", "configmap", "bad", "-n", "shop"], "");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("ValidatingAdmissionPolicy"), "{refused:?}");
    let closed = until(desk, "Prometheus tells of it", "native", |blocked| blocked["state"] == "unmet");
    assert_eq!((&closed["value"], &closed["source"]), (&1.into(), &"Prometheus".into()), "{closed:#}");
    assert!(closed["reason"].as_str().unwrap().contains("by the API server's own count"), "{closed:#}");
    let quiet = blocked(desk, "native-quiet");
    assert_eq!((&quiet["state"], &quiet["value"], &quiet["source"]), (&"met".into(), &0.into(), &"Prometheus".into()), "{quiet:#}");

    // A second API server of which Prometheus knows nothing: what it blocks is not counted.
    api_servers(dev, 2);
    dev.apply(&policy("native-late", "never"));
    let words = "; Prometheus has metrics of 1 of 2 API servers";
    let late = until(desk, words, "native-late", |blocked| blocked["reason"].as_str().is_some_and(|reason| reason.ends_with(words)));
    assert_eq!((&late["state"], &late["value"]), (&"unknown".into(), &Value::Null), "{late:#}");
    assert_eq!(blocked(desk, "native")["state"], "unmet", "what one of them counted still counts");
}

/// So many addresses in what lists the API servers.
fn api_servers(dev: &Cluster, count: usize) {
    let endpoints: Vec<String> = (1..=count).map(|number| format!("{{addresses: [192.0.2.{number}]}}")).collect();
    dev.apply(&format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: kubernetes, namespace: default, labels: \
         {{kubernetes.io/service-name: kubernetes}}}}, addressType: IPv4, endpoints: [{}], ports: [{{name: https, port: 6443}}]}}",
        endpoints.join(", ")
    ));
}

#[test]
fn a_prometheus_that_does_not_answer_is_named() {
    let Some(fleet) = Fleet::start(&["dev", "other"], Options::default()) else { return };
    fleet.start_kyverno(&["dev"], false);
    begin(&fleet);
    for (url, words) in [("", "; Prometheus is not configured"), ("http://127.0.0.1:9", "; Prometheus does not answer: connection refused")]
    {
        let desk = desk(&fleet, url);
        let recorder = desk.start(&["observe", "-e", "dev"]);
        on_record(&desk, "quiet");
        let dark = until(&desk, words, "quiet", |blocked| blocked["reason"].as_str().is_some_and(|reason| reason.ends_with(words)));
        assert_eq!((&dark["state"], &dark["value"]), (&"unknown".into(), &Value::Null), "{dark:#}");
        let said = end(recorder).stderr;
        assert_eq!(said.contains("dev: Prometheus does not answer"), !url.is_empty(), "{said}");
    }
}
