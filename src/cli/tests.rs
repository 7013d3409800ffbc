//! Commands on a fleet of fixtures: documents, waiting, exit statuses.

mod agree;
mod fixture;
mod formats;
mod generated;
mod metrics;

use super::args::{Format, Show, StatusArgs};
use super::document::Style;
use super::fail_on::FailOn;
use super::scope::Scope;
use super::show::{Request, Streams, show};
use super::source::Source;
use super::{Exit, Problem};
use crate::domain::{FindingResult, Link, Mode, Sync, Tally};
use crate::fleet::filter::Filter;
use crate::ops::road::Road;
use fixture::{Fixture, cell, denied, environment, finding, key, partial};
use serde_json::{Value, json};
use std::time::Duration;

fn request(format: Format) -> Request {
    Request {
        decides: Some("ana@host".into()),
        scope: Scope::default(),
        style: Style { format, color: false, ascii: false, compact: false },
        wait: Duration::from_secs(60),
        environments: 2,
        road: Road::default(),
        history: None,
        git: None,
        journal: None,
        terminal: false,
        into: Vec::new(),
    }
}

/// What a command wrote and how it ended.
struct Ran {
    out: String,
    err: String,
    exit: Result<Exit, Problem>,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

async fn run(command: &Show, source: &impl Source, request: &Request) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = show(command, source, request, &mut Streams { out: &mut out, err: &mut err }).await;
    Ran { out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap(), exit }
}

fn filtered(text: &str) -> Request {
    let scope = Scope { filter: Filter::parse(text).unwrap(), namespace: None };
    Request { scope, ..request(Format::Json) }
}

fn status(fail_on: Option<&str>) -> Show {
    Show::Status(StatusArgs { watch: false, fail_on: fail_on.map(|text| FailOn::parse(text).unwrap()) })
}

#[tokio::test(start_paused = true)]
async fn a_complete_fleet_answers_at_once_with_status_0() {
    let start = tokio::time::Instant::now();
    let ran = run(&status(None), &Fixture::two(), &request(Format::Json)).await;
    assert_eq!((ran.exit, ran.err.as_str(), start.elapsed()), (Ok(Exit::Done), "", Duration::ZERO));
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&document["apiVersion"], &document["kind"], &document["complete"]),
        (&json!("policydeck.dev/v1"), &json!("Status"), &json!(true))
    );
    let item = &document["items"][1];
    assert_eq!(item["tier"], "production");
    assert_eq!(item["findings"], json!({"pass": 7, "fail": 3, "warn": 0, "error": 1, "skip": 0}));
    assert_eq!(item["kinds"][0], json!({"group": "kyverno.io", "kind": "ClusterPolicy", "state": "live", "objects": 2}));
    assert_eq!(item["clusterUid"], "uid-production");
    let names = "name tier context server clusterUid kubernetes kyverno state complete lastSeen kinds findings owners blocked malformed policies exceptions";
    for name in names.split(' ') {
        assert!(item.get(name).is_some(), "{name} is missing");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_are_answered_after_a_short_grace_with_status_4_and_words() {
    let start = tokio::time::Instant::now();
    let fixture = Fixture::of(vec![environment("dev"), denied("production")]);
    let ran = run(&status(None), &fixture, &request(Format::Json)).await;
    assert_eq!(ran.exit, Ok(Exit::Unknown));
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    let expected = "production: you may not list policyreports (user jane, verb list). Ask for the ClusterRole policydeck-viewer: assets/rbac/viewer.yaml\n";
    assert_eq!(ran.err, expected);
    let document = ran.json();
    assert_eq!(document["complete"], false);
    let item = &document["items"][1];
    assert_eq!(
        (&item["state"], &item["findings"], &item["policies"], &item["malformed"]),
        (&json!("denied"), &json!(null), &json!(null), &json!(null))
    );
    assert_eq!(item["kinds"][0]["objects"], json!(null));
}

#[tokio::test(start_paused = true)]
async fn what_may_still_come_is_waited_for() {
    let start = tokio::time::Instant::now();
    let fixture = Fixture::of(vec![environment("dev"), partial("production")]);
    let ran = run(&status(None), &fixture, &request(Format::Json)).await;
    assert_eq!((ran.exit, start.elapsed()), (Ok(Exit::Unknown), Duration::from_secs(60)));
    assert_eq!(ran.err, "production: listing PolicyReport 8200 of 12500\n");

    let fixture = Fixture::of(vec![environment("dev"), partial("production")]);
    fixture.later(Duration::from_secs(5), vec![environment("dev"), environment("production")]);
    let start = tokio::time::Instant::now();
    let ran = run(&status(None), &fixture, &request(Format::Json)).await;
    assert_eq!((ran.exit, start.elapsed()), (Ok(Exit::Done), Duration::from_secs(5)));
}

#[tokio::test(start_paused = true)]
async fn the_first_view_may_lack_environments() {
    let fixture = Fixture::of(vec![environment("dev")]);
    fixture.later(Duration::from_secs(1), vec![environment("dev"), environment("production")]);
    let ran = run(&status(None), &fixture, &request(Format::Json)).await;
    assert_eq!(ran.json()["items"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(start_paused = true)]
async fn fail_on_exits_with_3_when_it_holds_and_4_when_that_is_unknown() {
    let complete = Fixture::two();
    let unknown = Fixture::of(vec![environment("dev"), denied("production")]);
    let growing = Fixture::of(vec![environment("dev"), partial("production")]);
    for (fixture, expression, exit) in [
        (&complete, "fail>0", Exit::Closed),
        (&complete, "fail>3", Exit::Done),
        (&complete, "fail>3 or error", Exit::Closed),
        (&complete, "error>0 and not fail=3", Exit::Done),
        (&complete, "not (fail>3 or error>1)", Exit::Closed),
        (&complete, "owners.fail>=2 AND OWNERS.FAIL<=2", Exit::Closed),
        (&complete, "incomplete", Exit::Done),
        (&complete, "stale", Exit::Done),
        (&unknown, "warn>0", Exit::Unknown),
        (&unknown, "incomplete", Exit::Closed),
        (&unknown, "fail>0", Exit::Unknown),
        (&growing, "policies<1", Exit::Unknown),
        (&growing, "fail<100", Exit::Closed),
        (&growing, "fail>100", Exit::Unknown),
    ] {
        let ran = run(&status(Some(expression)), fixture, &request(Format::Json)).await;
        assert_eq!(ran.exit, Ok(exit), "{expression}");
    }
}

#[test]
fn fail_on_errors_name_the_column() {
    for (text, column, message) in [
        ("", 1, "a condition is missing"),
        ("fial>0", 1, "did you mean `fail`"),
        ("fail>", 6, "not a whole number"),
        ("fail>-1", 6, "not a whole number"),
        ("fail>0 error>0", 8, "join conditions"),
        ("(fail>0", 8, "`)` is missing"),
        ("fail>0 or", 10, "a condition is missing"),
        ("nonsense", 1, "there are fail, error"),
        ("größe>0", 1, "no count `größe`"),
    ] {
        let error = FailOn::parse(text).unwrap_err();
        assert!(error.column == column && error.message.contains(message), "{text}: {error}");
    }
    assert!(FailOn::parse(&"(".repeat(10_000)).is_err());
    assert!(FailOn::parse(&"not ".repeat(10_000)).is_err());
}

#[tokio::test(start_paused = true)]
async fn violations_have_a_cell_for_every_environment() {
    let ran = run(&Show::Violations, &Fixture::two(), &request(Format::Json)).await;
    assert_eq!(ran.exit, Ok(Exit::Done));
    let document = ran.json();
    let names: Vec<&str> = document["items"].as_array().unwrap().iter().map(|item| item["policy"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["disallow-latest-tag", "require-owner"]);
    let [latest, owner] = &document["items"].as_array().unwrap()[..] else { panic!("two policies") };
    let expected = json!({"group": "kyverno.io", "kind": "ClusterPolicy", "name": "disallow-latest-tag"});
    assert_eq!((&latest["policy"], &latest["source"]), (&expected, &json!("kyverno")));
    assert_eq!(owner["policy"]["namespace"], "team-a");
    let zeros = json!({"pass": 0, "fail": 0, "warn": 0, "error": 0, "skip": 0});
    let absent = json!({"mode": "absent", "ready": null, "inForce": {"state": "no", "reason": "the policy does not exist"}, "native": false, "revision": null, "findings": zeros, "owners": zeros, "blocked": 0, "stale": 0, "foreign": 0, "unverified": 0, "disappeared": 0, "evaluatedAt": null, "complete": true});
    assert_eq!(owner["environments"]["dev"], absent);
    assert_eq!(latest["environments"]["production"]["owners"]["fail"], 2);
    assert_eq!(latest["environments"]["production"]["evaluatedAt"], "2026-11-23T11:00:00Z");
}

#[tokio::test(start_paused = true)]
async fn in_an_incomplete_environment_a_policy_that_is_not_seen_is_unknown() {
    let fixture = Fixture::of(vec![environment("dev"), denied("production")]);
    let ran = run(&Show::Violations, &fixture, &request(Format::Json)).await;
    assert_eq!(ran.exit, Ok(Exit::Unknown));
    let cell = &ran.json()["items"][0]["environments"]["production"];
    let unknown = json!({"mode": "unknown", "ready": null, "inForce": {"state": "unknown", "reason": "the policy was not seen"}, "native": false, "revision": null, "findings": null, "owners": null, "blocked": null, "stale": null, "foreign": null, "unverified": null, "disappeared": null, "evaluatedAt": null, "complete": false});
    assert_eq!(cell, &unknown);
}

#[tokio::test(start_paused = true)]
async fn filters_count_the_rows_that_pass() {
    let fixture = Fixture::two();
    let ran = run(&Show::Violations, &fixture, &filtered("env=production ns=checkout result=fail")).await;
    let document = ran.json();
    assert_eq!(document["items"].as_array().unwrap().len(), 1, "{document}");
    let cells = &document["items"][0]["environments"];
    assert!(cells.get("dev").is_none());
    assert_eq!(cells["production"]["findings"], json!({"pass": 0, "fail": 2, "warn": 0, "error": 0, "skip": 0}));
    assert_eq!(cells["production"]["owners"]["fail"], 1, "a Pod and its Deployment are one");
    assert_eq!(cells["production"]["blocked"], json!(null), "nobody knows how many of them");
}

#[tokio::test(start_paused = true)]
async fn what_the_filter_leaves_out_is_not_absent() {
    let ran = run(&Show::Violations, &Fixture::two(), &filtered("mode=mixed")).await;
    assert_eq!(ran.exit, Ok(Exit::Done));
    let document = ran.json();
    assert_eq!(document["items"].as_array().unwrap().len(), 1, "{document}");
    let dev = &document["items"][0]["environments"]["dev"];
    let reason = json!({"state": "unknown", "reason": "left out by namespace or filter"});
    assert_eq!(
        (&dev["mode"], &dev["inForce"], &dev["findings"], &dev["complete"]),
        (&json!("unknown"), &reason, &json!(null), &json!(false))
    );
    let table =
        run(&Show::Violations, &Fixture::two(), &Request { style: request(Format::Table).style, ..filtered("mode=mixed") }).await.out;
    assert!(table.contains("left out") && !table.contains("absent"), "{table}");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_has_its_own_modes_and_counts() {
    let scope = Scope { namespace: Some("checkout".into()), filter: Filter::default() };
    let ran = run(&Show::Violations, &Fixture::two(), &Request { scope, ..request(Format::Json) }).await;
    let document = ran.json();
    assert_eq!(document["items"].as_array().unwrap().len(), 1, "policies of other namespaces are left out: {document}");
    let production = &document["items"][0]["environments"]["production"];
    assert_eq!(
        (&production["mode"], &production["findings"]["fail"], &production["blocked"]),
        (&json!("enforce"), &json!(2), &json!(null))
    );
    assert_eq!(production["inForce"]["state"], "no", "it is what `policies` says of the namespace: {document}");
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_before_a_native_policy_took_over_is_unknown() {
    for (fail, expected) in [(0, json!(null)), (1, json!(1))] {
        let mut dev = environment("dev");
        let (mut cell, mut id) = (cell("p", Mode::Enforce), (*key("ValidatingPolicy", None, "p").id).clone());
        id.group = "policies.kyverno.io".to_owned();
        (cell.key.id, cell.native) = (id.into(), true);
        cell.findings = Tally { pass: 1, fail, ..Tally::default() };
        dev.cells = vec![cell].into();
        let document = run(&Show::Violations, &Fixture::of(vec![dev]), &Request { environments: 1, ..request(Format::Json) }).await.json();
        let cell = &document["items"][0]["environments"]["dev"];
        assert_eq!((&cell["findings"]["fail"], &cell["complete"]), (&expected, &json!(false)), "{document}");
    }
}

#[tokio::test(start_paused = true)]
async fn findings_are_those_that_the_numbers_count() {
    let fixture = Fixture::two();
    let ran = run(&Show::Findings { policy: None }, &fixture, &request(Format::Json)).await;
    let items = ran.json()["items"].as_array().unwrap().len();
    assert_eq!((ran.exit, items), (Ok(Exit::Done), 11), "as many as the tallies say");
    let ran =
        run(&Show::Findings { policy: Some("clusterpolicy/disallow-latest-tag".into()) }, &fixture, &filtered("result=fail ns=search"))
            .await;
    let document = ran.json();
    assert_eq!(document["items"].as_array().unwrap().len(), 1);
    let item = &document["items"][0];
    assert_eq!(
        (&item["environment"], &item["rule"], &item["category"]),
        (&json!("production"), &json!("validate-image-tag"), &json!(null))
    );
    assert_eq!(item["resource"], json!({"apiVersion": "v1", "kind": "Pod", "namespace": "search", "name": "index-0", "uid": "u3"}));
    assert_eq!(item["properties"], json!({"process": "background scan"}));
}

#[tokio::test(start_paused = true)]
async fn a_policys_name_has_to_mean_one() {
    let mut dev = environment("dev");
    let mut twin = cell("disallow-latest-tag", Mode::Audit);
    twin.key = key("Policy", Some("team-b"), "disallow-latest-tag");
    dev.cells = dev.cells.iter().cloned().chain([twin]).collect();
    let fixture = Fixture::of(vec![dev, environment("production")]);
    let named = |name: &str| Show::Findings { policy: Some(name.into()) };

    let several = run(&named("disallow-latest-tag"), &fixture, &request(Format::Json)).await.exit.unwrap_err();
    assert_eq!(several.exit, Exit::Usage);
    assert!(
        several.message.contains("\n  ClusterPolicy/disallow-latest-tag (kyverno.io)\n  Policy/team-b/disallow-latest-tag"),
        "{}",
        several.message
    );
    let none = run(&named("disallow-latest-tags"), &fixture, &request(Format::Json)).await.exit.unwrap_err();
    assert_eq!((none.exit, none.message.contains("did you mean `disallow-latest-tag`?")), (Exit::Failed, true));
    for name in ["ClusterPolicy/disallow-latest-tag", "policy/team-b/disallow-latest-tag", "team-b/disallow-latest-tag"] {
        assert_eq!(run(&named(name), &fixture, &request(Format::Json)).await.exit, Ok(Exit::Done), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn status_counts_what_passes_the_filter() {
    let table = [
        ("env=production", 3, true),
        ("env=production result=fail", 3, false),
        ("env=production ns=checkout", 2, false),
        ("env=production sev=low", 0, false),
    ];
    for (filter, fail, whole) in table {
        let ran = run(&status(None), &Fixture::two(), &filtered(filter)).await;
        assert_eq!(ran.exit, Ok(Exit::Done), "{filter}");
        let item = &ran.json()["items"][0];
        assert_eq!((&item["findings"]["fail"], item["exceptions"].is_null()), (&json!(fail), !whole), "{filter}: {item}");
        assert!(ran.err.contains("showing only what passes the filter"), "{filter}: {}", ran.err);
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_does_not_exist_is_not_shown_as_clean() {
    for command in [status(None), Show::Violations, Show::Policies, Show::Findings { policy: None }] {
        let err = async |namespace: &str| {
            let scope = Scope { namespace: Some(namespace.to_owned()), filter: Filter::default() };
            run(&command, &Fixture::two(), &Request { scope, ..request(Format::Json) }).await.err
        };
        assert!(err("chekout").await.contains("namespace chekout not found in dev, production\n"), "{command:?}");
        assert!(!err("checkout").await.contains("not found"), "{command:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_clock_is_told_by_every_command() {
    for command in [status(None), Show::Violations, Show::Policies, Show::Findings { policy: None }] {
        let mut view = environment("dev");
        view.skew = Some(jiff::SignedDuration::from_mins(7));
        let ran = run(&command, &Fixture::of(vec![view]), &request(Format::Json)).await;
        assert_eq!(ran.err.matches("dev: the clock of this machine is 7m behind").count(), 1, "{command:?}: {}", ran.err);
    }
}

#[tokio::test(start_paused = true)]
async fn questions_without_answer_make_the_answer_incomplete() {
    let mut fixture = Fixture::two();
    fixture.broken = true;
    let scope = Scope { namespace: Some("checkout".into()), filter: Filter::default() };
    let ran = run(&Show::Violations, &fixture, &Request { scope, ..request(Format::Json) }).await;
    assert_eq!(ran.exit, Ok(Exit::Unknown));
    assert!(ran.err.contains("dev: the connection was lost. Try again"), "{}", ran.err);
    assert_eq!(ran.json()["complete"], false);
}

#[tokio::test(start_paused = true)]
async fn watch_writes_a_line_per_change_and_none_for_a_heartbeat() {
    let fixture = Fixture::two();
    let mut heartbeat = environment("production");
    heartbeat.last_seen = Some("2026-11-23T12:00:05Z".parse().unwrap());
    fixture.later(Duration::from_secs(1), vec![environment("dev"), heartbeat]);
    let mut lost = environment("production");
    lost.link = Link::Stale { since: "2026-11-23T12:00:05Z".parse().unwrap() };
    lost.complete = false;
    fixture.later(Duration::from_secs(2), vec![environment("dev"), lost]);
    fixture.close(Duration::from_secs(3));
    let command = Show::Status(StatusArgs { watch: true, fail_on: None });
    let ran = run(&command, &fixture, &request(Format::Json)).await;
    assert_eq!(ran.exit, Ok(Exit::Unknown));
    let states: Vec<String> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["items"][1]["state"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(states, ["live", "stale"]);
}

#[tokio::test(start_paused = true)]
async fn watch_ends_with_3_when_the_expression_comes_to_hold() {
    let fixture = Fixture::two();
    let mut worse = environment("dev");
    worse.findings.add(FindingResult::Warn);
    fixture.later(Duration::from_secs(9), vec![worse, environment("production")]);
    let command = Show::Status(StatusArgs { watch: true, fail_on: Some(FailOn::parse("warn>0").unwrap()) });
    assert_eq!(run(&command, &fixture, &request(Format::Table)).await.exit, Ok(Exit::Closed));
}

#[test]
fn denied_kinds_are_one_sentence() {
    let mut view = denied("dev");
    view.link = Link::Live;
    view.kinds[1].sync = Sync::Denied { why: "no".into() };
    let expected = "you may not list clusterpolicies, nor PolicyReport.wgpolicyk8s.io, PolicyException.kyverno.io. \
                    Ask for the ClusterRole policydeck-viewer: assets/rbac/viewer.yaml";
    assert_eq!(super::reason::reasons(&view), [expected]);
    assert!(super::reason::is_final(&view));

    let with_remedy = "you may not list clusterpolicies. Ask for the ClusterRole policydeck-viewer: assets/rbac/viewer.yaml";
    view.kinds[0].sync = Sync::Denied { why: with_remedy.into() };
    assert_eq!(super::reason::reasons(&view), [expected], "the remedy is said once, at the end");
}
