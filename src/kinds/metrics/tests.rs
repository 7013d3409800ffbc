use super::*;
use crate::domain::history::{Fill, Interval, fills};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_760_000_000 + second).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect()
}

/// A series that is scraped every ten seconds from `from` to `to`.
fn series(pairs: &[(&str, &str)], (from, to): (i64, i64), value: impl Fn(i64) -> Option<f64>) -> Scraped {
    let samples = (from..=to).step_by(10).filter_map(|second| Some((at(second), value(second)?))).collect();
    Scraped { labels: labels(pairs), samples }
}

fn policy(kind: &str, namespace: Option<&str>, name: &str) -> PolicyId {
    let group = if kind.ends_with("ingPolicy") { "policies.kyverno.io" } else { "kyverno.io" };
    PolicyId { group: group.into(), kind: kind.into(), namespace: namespace.map(str::to_owned), name: name.into() }
}

const CLASSIC: &str = "kyverno_policy_results_total";
const CEL: &str = "kyverno_validating_policy_results_total";

/// Two replicas and another controller, from 0 to 200, that began long ago.
fn scrapes(metric: &'static str) -> Scrapes {
    let target = |job: &'static str, instance: &'static str| [("job", job), ("instance", instance)];
    let targets =
        [target("kyverno-svc-metrics", "a"), target("kyverno-svc-metrics", "b"), target("kyverno-reports-controller-metrics", "c")];
    let all = |name: &str, more: &[(&'static str, &'static str)], value: f64| -> Vec<Scraped> {
        let one = |target: &[(&str, &str); 2]| series(&[&target[..], more, &[("__name__", name)]].concat(), (0, 200), |_| Some(value));
        targets.iter().map(one).collect()
    };
    let exists = |target: &[(&str, &str); 2]| series(&[&target[..], &[("otel_scope_name", "kyverno")]].concat(), (0, 200), |_| Some(1.0));
    let named = series(&[("policy_name", "p"), ("policy_namespace", "-"), ("policy_type", "cluster")], (0, 200), |_| Some(1.0));
    let results = Results { exists: targets[..2].iter().map(exists).collect(), refusals: Vec::new() };
    Scrapes {
        counting: Counting::Kyverno,
        info: all(INFO, &[("version", "v1.19.1"), ("otel_scope_name", "kyverno")], 1.0),
        started: all(STARTED, &[], 1_759_990_000.25),
        up: all(UP, &[], 1.0),
        serving: vec![exists(&targets[0])],
        named: vec![named],
        results: BTreeMap::from([(metric, results)]),
    }
}

/// A counter of a replica that becomes `after` at 80.
fn refused(instance: &str, more: &[(&str, &str)], before: Option<f64>, after: f64) -> Scraped {
    let target = [("job", "kyverno-svc-metrics"), ("instance", instance), ("otel_scope_name", "kyverno")];
    series(&[&target[..], more].concat(), (0, 200), |second| if second < 80 { before } else { Some(after) })
}

/// What fills the gap from 50 to 120, in words.
fn told(scrapes: &Scrapes, policy: &PolicyId) -> Result<String, String> {
    let metric = results_of(policy, scrapes.counting == Counting::Servers).ok_or("no metric")?;
    let reading = scrapes.read(policy, metric)?;
    let gap = Interval { from: at(50), to: at(120) };
    let word = |fill: &Fill| {
        let second = |at: Timestamp| at.as_second() - 1_760_000_000;
        format!("{}-{}:{}{}", second(fill.interval.from), second(fill.interval.to), fill.count, if fill.whole { "" } else { "+" })
    };
    Ok(fills(gap, 1, &reading.processes, &reading.counters).iter().map(word).collect::<Vec<_>>().join(" "))
}

const P: [(&str, &str); 6] = [
    ("policy_name", "p"),
    ("policy_namespace", "-"),
    ("policy_type", "cluster"),
    ("policy_validation_mode", "enforce"),
    ("rule_execution_cause", "admission_request"),
    ("rule_result", "fail"),
];

fn but(label: &'static str, value: Option<&'static str>) -> Vec<(&'static str, &'static str)> {
    P.into_iter().filter(|(other, _)| *other != label).chain(value.map(|value| (label, value))).collect()
}

#[test]
fn labels_tell_whose_a_refusal_was() {
    const ALL: &str = "50-120:0";
    const TWO: &str = "50-70:0 70-80:2 80-120:0";
    // May be one of it: that time is not known.
    const HOLE: &str = "50-65:0 85-120:0";
    let cases = [
        ("its own", but("", None), TWO),
        ("a dry run is an event, too", [&P[..], &[("dry_run", "true")]].concat(), TWO),
        ("another's", but("policy_name", Some("q")), ALL),
        ("a namespaced one of the same name", but("policy_namespace", Some("shop")), ALL),
        ("the same where namespaces are left out", [&but("policy_namespace", None)[..], &[("policy_type", "namespaced")]].concat(), ALL),
        ("its own where namespaces are left out", but("policy_namespace", None), TWO),
        ("an error may have refused", but("rule_result", Some("error")), HOLE),
        ("without a result", but("rule_result", None), HOLE),
        ("without a mode", but("policy_validation_mode", None), HOLE),
        ("without a cause", but("rule_execution_cause", None), HOLE),
        ("without a policy", but("policy_name", None), HOLE),
        ("too many series for one process", vec![("otel_metric_overflow", "true")], HOLE),
    ];
    for (what, pairs, expected) in cases {
        let mut scrapes = scrapes(CLASSIC);
        // The label that comes last wins.
        scrapes.results.get_mut(CLASSIC).unwrap().refusals = vec![refused("a", &pairs, Some(3.0), 5.0)];
        assert_eq!(told(&scrapes, &policy("ClusterPolicy", None, "p")).as_deref(), Ok(expected), "{what}");
    }
}

#[test]
fn replicas_add_up_and_each_kind_has_its_own() {
    let mut classic = scrapes(CLASSIC);
    classic.results.get_mut(CLASSIC).unwrap().refusals = vec![refused("a", &P, Some(3.0), 5.0), refused("b", &P, None, 1.0)];
    assert_eq!(told(&classic, &policy("ClusterPolicy", None, "p")).as_deref(), Ok("50-70:0 70-80:3 80-120:0"));

    let cel = |pairs: &[(&str, &str)]| {
        let more = [("policy_validation_mode", "Deny"), ("execution_cause", "admission_request"), ("result", "fail"), ("policy_name", "p")];
        let mut cel = scrapes(CEL);
        cel.results.get_mut(CEL).unwrap().refusals = vec![refused("a", &[&more[..], pairs].concat(), None, 2.0)];
        cel
    };
    let (cluster, namespaced) = (policy("ValidatingPolicy", None, "p"), policy("NamespacedValidatingPolicy", Some("shop"), "p"));
    let bare = cel(&[]);
    assert_eq!(told(&bare, &cluster).as_deref(), Ok("50-70:0 70-80:2 80-120:0"), "an empty namespace is no label");
    assert_eq!(told(&bare, &namespaced).as_deref(), Ok("50-65:0 85-120:0"), "or it is left out");
    let shop = cel(&[("policy_namespace", "shop")]);
    assert_eq!(told(&shop, &cluster).as_deref(), Ok("50-120:0"));
    assert_eq!(told(&shop, &namespaced).as_deref(), Ok("50-70:0 70-80:2 80-120:0"));
}

#[test]
fn api_servers_count_what_their_own_policies_refuse() {
    let told_by = |pairs: &[(&str, &str)]| {
        let target = |name: &str| series(&[("__name__", name), ("job", "apiserver"), ("instance", "a")], (0, 200), |_| Some(1.0));
        let check = series(&[&[("job", "apiserver"), ("instance", "a")], pairs].concat(), (0, 200), |second| (second >= 80).then_some(2.0));
        let scrapes = Scrapes {
            counting: Counting::Servers,
            info: vec![target(AUDITED)],
            started: vec![Scraped {
                samples: target("").samples.iter().map(|(at, _)| (*at, 1_759_990_000.25)).collect(),
                ..target(STARTED)
            }],
            up: vec![target(UP)],
            serving: vec![target("")],
            named: Vec::new(),
            results: BTreeMap::from([(CHECKS, Results { exists: vec![target("")], refusals: vec![check] })]),
        };
        told(&scrapes, &policy("ValidatingPolicy", None, "p"))
    };
    for (what, pairs, expected) in [
        ("its own", &[("policy", "vpol-p"), ("enforcement_action", "deny")][..], "50-70:0 70-80:2 80-120:0"),
        ("another's", &[("policy", "vpol-q"), ("enforcement_action", "deny")], "50-120:0"),
        ("one that a person made", &[("policy", "p"), ("enforcement_action", "deny")], "50-120:0"),
        ("a warning", &[("policy", "vpol-p"), ("enforcement_action", "warn")], "50-120:0"),
        ("without an action", &[("policy", "vpol-p")], "50-65:0 85-120:0"),
        ("without a policy", &[("enforcement_action", "deny")], "50-65:0 85-120:0"),
    ] {
        assert_eq!(told_by(pairs).as_deref(), Ok(expected), "{what}");
    }
}

/// What is different in a situation.
type Change<'c> = &'c dyn Fn(&mut Scrapes);

#[test]
fn what_is_not_in_the_metrics_is_not_zero() {
    let p = policy("ClusterPolicy", None, "p");
    let without = |change: &dyn Fn(&mut Scrapes)| {
        let mut scrapes = scrapes(CLASSIC);
        change(&mut scrapes);
        told(&scrapes, &p)
    };
    let changes: [(&str, Change<'_>); 6] = [
        ("has no kyverno_info of this time", &|s| s.info.clear()),
        ("has no kyverno_admission_requests_total of this time", &|s| s.serving.clear()),
        ("does not tell when the processes of Kyverno began", &|s| s.started.clear()),
        ("has no kyverno_policy_results_total of this time", &|s| s.results.clear()),
        ("has no series of this policy", &|s| s.named.clear()),
        ("scrapes several processes of Kyverno at one address", &|s| {
            s.started[0].samples.iter_mut().enumerate().for_each(|(index, sample)| sample.1 += (index % 2) as f64);
        }),
    ];
    for (what, change) in changes {
        let error = without(change).unwrap_err();
        assert!(error.starts_with(what), "{error}");
    }
    assert!(told(&scrapes(CLASSIC), &policy("ValidatingPolicy", None, "p")).unwrap_err().contains(CEL), "before Kyverno 1.19");
    assert_eq!(results_of(&policy("MutatingPolicy", None, "p"), false), None);
    assert_eq!(results_of(&policy("NamespacedValidatingPolicy", Some("shop"), "p"), true), None, "none of them is native");
    // One of two replicas has never counted results: whether it would is not known.
    assert_eq!(without(&|s| s.results.get_mut(CLASSIC).unwrap().exists.truncate(1)).as_deref(), Ok(""));
    // The other controllers refuse nothing, scraped or not.
    assert_eq!(without(&|s| s.info[2].samples.truncate(3)).as_deref(), Ok("50-120:0"));
    // A replica that is scraped no more, but still on the list; and one that is off it.
    let ends = |s: &mut Scrapes, listed: usize| {
        s.info[1].samples.truncate(8);
        s.up[1].samples.truncate(listed);
    };
    assert_eq!(without(&|s| ends(s, 21)).as_deref(), Ok("50-65:0"));
    assert_eq!(without(&|s| ends(s, 8)).as_deref(), Ok("50-65:0 100-120:0"));
    // Begun anew: what it did last and first is not known.
    let anew = |s: &mut Scrapes| s.started[0].samples[9..].iter_mut().for_each(|sample| sample.1 = 1_760_000_083.5);
    assert_eq!(without(&anew).as_deref(), Ok("50-75:0 95-120:0"));
}

#[test]
fn queries_are_those_of_the_environment() {
    assert_eq!(selector("m", "", ""), "m{}");
    assert_eq!(
        refusals(CLASSIC, r#"cluster="a""#),
        r#"kyverno_policy_results_total{cluster="a",rule_result!~"pass|skip|warn",rule_execution_cause!="background_scan",policy_validation_mode!="audit"}"#
    );
    assert_eq!(naming("m", r#"a="b""#), r#"group by (policy_name, policy_namespace, policy_type) (m{a="b"})"#);
    let info = [
        series(&[("job", "k"), ("instance", "10.0.0.1:8000")], (0, 0), |_| None),
        series(&[("job", "k"), ("instance", r#"x"\+"#)], (0, 0), |_| None),
    ];
    assert_eq!(targets(&info), r#"job=~"k",instance=~"10\\.0\\.0\\.1:8000|x\\\"\\\\\\+""#);
    assert_eq!(targets(&[]), "");
}
