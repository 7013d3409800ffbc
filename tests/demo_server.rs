//! The demo's API servers as clients meet them: protocol through raw HTTP and kube's client, contents, and the real
//! kubectl where there is one.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests fail by panicking"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use policydeck::demo::{Demo, DemoOptions, Pace, Scenario};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);
const CPOL: &str = "/apis/kyverno.io/v1/clusterpolicies";

fn start() -> Demo {
    let pace = Pace {
        reports: Duration::from_millis(50),
        ready: Duration::from_millis(50),
        ..Pace::default()
    };
    Demo::start(DemoOptions {
        scenario: Scenario::none(),
        pace,
        ..DemoOptions::default()
    })
    .unwrap()
}

/// One demo for all tests that only read.
fn shared() -> &'static Demo {
    static DEMO: OnceLock<Demo> = OnceLock::new();
    DEMO.get_or_init(start)
}

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An answer that may still be coming.
struct Answer {
    code: u16,
    headers: String,
    body: BufReader<TcpStream>,
}

impl Answer {
    fn bytes(mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.headers.contains("transfer-encoding: chunked") {
            while let Some(chunk) = self.chunk() {
                out.extend(chunk);
            }
        } else {
            self.body.read_to_end(&mut out).unwrap();
        }
        out
    }

    fn json(self) -> Value {
        serde_json::from_slice(&self.bytes()).unwrap()
    }

    fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut size = String::new();
        self.body
            .read_line(&mut size)
            .ok()
            .filter(|read| *read > 0)?;
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.body.read_exact(&mut chunk).ok()?;
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }

    /// All events until the stream ends or `enough` says so.
    fn events(mut self, enough: impl Fn(&Value) -> bool) -> Vec<Value> {
        let (mut events, mut rest) = (Vec::new(), Vec::new());
        while let Some(chunk) = self.chunk() {
            rest.extend(chunk);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let event: Value = serde_json::from_slice(&line).unwrap();
                let last = enough(&event);
                events.push(event);
                if last {
                    return events;
                }
            }
        }
        events
    }
}

struct Ask<'a> {
    demo: &'a Demo,
    environment: &'a str,
}

fn ask<'a>(demo: &'a Demo, environment: &'a str) -> Ask<'a> {
    Ask { demo, environment }
}

impl Ask<'_> {
    fn connect(&self) -> std::io::Result<TcpStream> {
        let url = self.demo.url(self.environment).unwrap();
        let stream = TcpStream::connect(url.trim_start_matches("http://"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = self.connect().unwrap();
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            for part in [name, ": ", value, "\r\n"] {
                request.push_str(part);
            }
        }
        stream
            .write_all(format!("{request}\r\n{body}").as_bytes())
            .unwrap();
        let mut reader = BufReader::new(stream);
        let mut headers = String::new();
        while !headers.ends_with("\r\n\r\n") {
            assert!(
                reader.read_line(&mut headers).unwrap() > 0,
                "connection closed in the headers"
            );
        }
        let code = headers.split_whitespace().nth(1).unwrap().parse().unwrap();
        Answer {
            code,
            headers: headers.to_lowercase(),
            body: reader,
        }
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.send("GET", path, &[], "");
        assert_eq!(answer.code, 200, "{path}");
        answer.json()
    }

    fn write(&self, method: &str, path: &str, content: &str, body: &Value) -> (u16, Value) {
        let answer = self.send(
            method,
            path,
            &[("Content-Type", content), ("User-Agent", "tester/1")],
            &body.to_string(),
        );
        (answer.code, answer.json())
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.write("POST", path, "application/json", body)
    }

    fn merge(&self, path: &str, body: &Value) -> (u16, Value) {
        self.write("PATCH", path, "application/merge-patch+json", body)
    }

    fn items(&self, path: &str) -> Vec<Value> {
        self.get(path)["items"].as_array().unwrap().clone()
    }
}

fn names(list: &Value) -> Vec<String> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

fn policy(name: &str) -> Value {
    json!({
        "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name},
        "spec": {"validationFailureAction": "Audit", "rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
            "validate": {"message": "Must have an owner", "pattern": {"metadata": {"labels": {"owner": "?*"}}}},
        }]},
    })
}

fn pod(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [{
            "name": "a", "image": "registry.hellebore.io/a:1", "resources": {"limits": {"memory": "1Gi"}},
            "securityContext": {"allowPrivilegeEscalation": false},
        }]},
    })
}

#[test]
fn says_what_it_is() {
    let dev = ask(shared(), "dev");
    assert_eq!(dev.get("/version")["major"], "1");
    assert!(dev.send("GET", "/readyz", &[], "").bytes() == b"ok");
    let aggregated =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let answer = dev.send("GET", "/apis", &[("Accept", aggregated)], "");
    assert!(answer.headers.contains("as=apigroupdiscoverylist"));
    assert_eq!(answer.json()["kind"], "APIGroupDiscoveryList");
    let served = |environment: &str| -> Vec<String> {
        let groups = ask(shared(), environment).get("/apis");
        let groups = groups["groups"].as_array().unwrap();
        groups
            .iter()
            .flat_map(|group| group["versions"].as_array().unwrap().clone())
            .map(|v| v["groupVersion"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(served("dev").contains(&"policies.kyverno.io/v1".to_owned()));
    assert!(!served("production").contains(&"policies.kyverno.io/v1".to_owned()));
    assert!(served("staging").contains(&"openreports.io/v1alpha1".to_owned()));
    assert_eq!(
        ask(shared(), "production")
            .send(
                "GET",
                "/apis/policies.kyverno.io/v1beta1/namespacedmutatingpolicies",
                &[],
                ""
            )
            .code,
        404
    );
    let openapi = dev.get("/openapi/v3/apis/kyverno.io/v1");
    assert!(openapi["paths"]["/apis/kyverno.io/v1/clusterpolicies/{name}"]["patch"].is_object());
}

#[test]
fn lists_in_pages_of_one_snapshot() {
    let demo = start();
    let dev = ask(&demo, "dev");
    let whole = dev.get("/api/v1/pods");
    let (mut seen, mut next, mut version) = (Vec::new(), String::new(), Value::Null);
    loop {
        let page = dev.get(&format!("/api/v1/pods?limit=20&continue={next}"));
        assert!(version.is_null() || version == page["metadata"]["resourceVersion"]);
        version = page["metadata"]["resourceVersion"].clone();
        if seen.is_empty() {
            assert_eq!(
                page["metadata"]["remainingItemCount"],
                whole["items"].as_array().unwrap().len() - 20
            );
            // A pod that dies between two pages is still in the snapshot.
            let victim = names(&whole).last().unwrap().clone();
            let place = whole["items"].as_array().unwrap().last().unwrap()["metadata"]["namespace"]
                .as_str()
                .unwrap()
                .to_owned();
            assert_eq!(
                dev.send(
                    "DELETE",
                    &format!("/api/v1/namespaces/{place}/pods/{victim}"),
                    &[],
                    ""
                )
                .code,
                200
            );
        }
        seen.extend(names(&page));
        match page["metadata"]["continue"].as_str() {
            Some(token) => next = token.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, names(&whole));
    let page = dev.get("/api/v1/pods?limit=5");
    dev.post(
        "/api/v1/namespaces/default/configmaps",
        &json!({"metadata": {"name": "x"}}),
    );
    demo.compact("dev").unwrap();
    let expired = dev.send(
        "GET",
        &format!(
            "/api/v1/pods?limit=5&continue={}",
            page["metadata"]["continue"].as_str().unwrap()
        ),
        &[],
        "",
    );
    assert_eq!(expired.code, 410);
    assert_eq!(expired.json()["reason"], "Expired");
}

#[test]
fn selectors_and_versions() {
    let dev = ask(shared(), "dev");
    let pay = dev.items("/apis/apps/v1/deployments?fieldSelector=metadata.namespace%3Dpayments");
    assert!(!pay.is_empty() && pay.iter().all(|d| d["metadata"]["namespace"] == "payments"));
    assert_eq!(
        dev.items("/apis/apps/v1/namespaces/payments/deployments")
            .len(),
        pay.len()
    );
    let own = dev.items("/apis/wgpolicyk8s.io/v1alpha2/policyreports?labelSelector=app.kubernetes.io/managed-by%3Dkyverno");
    assert!(own.len() > 100, "{}", own.len());
    let blocked = dev.items("/api/v1/namespaces/default/events?fieldSelector=reportingComponent%3Dkyverno-admission,reason%3DPolicyViolation");
    assert!(!blocked.is_empty());
    assert_eq!(
        dev.send("GET", "/api/v1/pods?resourceVersion=99999999", &[], "")
            .code,
        504
    );
    assert_eq!(
        dev.send("GET", "/api/v1/pods?fieldSelector=spec.foo%3D1", &[], "")
            .code,
        400
    );
}

#[test]
fn tables_and_metadata() {
    let dev = ask(shared(), "dev");
    let path = "/apis/wgpolicyk8s.io/v1alpha2/policyreports";
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table = dev
        .send(
            "GET",
            &format!("{path}?includeObject=None"),
            &[("Accept", accept)],
            "",
        )
        .json();
    let columns: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        columns,
        [
            "Name", "Kind", "Name", "Pass", "Fail", "Warn", "Error", "Skip", "Age"
        ]
    );
    let reports = dev.items(path);
    let fails: u64 = reports
        .iter()
        .map(|r| r["summary"]["fail"].as_u64().unwrap())
        .sum();
    let shown: u64 = table["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["cells"][4].as_u64().unwrap())
        .sum();
    assert_eq!(fails, shown);
    assert!(fails > 50, "{fails}");
    assert!(table["rows"][0]["object"].is_null());
    let partial = dev
        .send(
            "GET",
            path,
            &[(
                "Accept",
                "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
            )],
            "",
        )
        .json();
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert!(partial["items"][0].get("results").is_none());
    let zipped = dev.send("GET", path, &[("Accept-Encoding", "gzip")], "");
    assert!(zipped.headers.contains("content-encoding: gzip"));
    assert!(
        !dev.send(
            "GET",
            "/api/v1/namespaces",
            &[("Accept-Encoding", "gzip")],
            ""
        )
        .headers
        .contains("gzip")
    );
}

#[test]
fn watches_replay_stream_and_expire() {
    let demo = start();
    let dev = ask(&demo, "dev");
    let from = dev.get(CPOL)["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    let stream = dev.send(
        "GET",
        &format!("{CPOL}?watch=true&resourceVersion={from}"),
        &[("Accept-Encoding", "gzip")],
        "",
    );
    assert!(!stream.headers.contains("gzip"));
    assert_eq!(dev.post(CPOL, &policy("one")).0, 201);
    assert_eq!(
        dev.merge(
            &format!("{CPOL}/one"),
            &json!({"metadata": {"labels": {"a": "b"}}})
        )
        .0,
        200
    );
    assert_eq!(
        dev.send("DELETE", &format!("{CPOL}/one"), &[], "").code,
        200
    );
    let events = stream.events(|event| event["type"] == "DELETED");
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds.first(), Some(&"ADDED"));
    let versions: Vec<u64> = events
        .iter()
        .map(|e| {
            e["object"]["metadata"]["resourceVersion"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    assert!(
        versions.is_sorted() && versions.first() > Some(&from.parse().unwrap()),
        "{versions:?}"
    );
    // The same watch again replays the same past.
    let again = dev
        .send(
            "GET",
            &format!("{CPOL}?watch=1&resourceVersion={from}"),
            &[],
            "",
        )
        .events(|event| event["type"] == "DELETED");
    assert_eq!(again, events);
    // Objects that leave the selection are deletions for it.
    let selected = dev.send(
        "GET",
        &format!("{CPOL}?watch=true&resourceVersion={from}&labelSelector=a%3Db"),
        &[],
        "",
    );
    let selected = selected.events(|event| event["type"] == "DELETED");
    assert_eq!(selected[0]["type"], "ADDED");
    demo.compact("dev").unwrap();
    let expired = dev.send(
        "GET",
        &format!("{CPOL}?watch=true&resourceVersion={from}"),
        &[],
        "",
    );
    assert_eq!(expired.code, 200);
    let expired = expired.events(|_| false);
    assert_eq!(
        (
            expired.len(),
            &expired[0]["type"],
            &expired[0]["object"]["code"]
        ),
        (1, &json!("ERROR"), &json!(410))
    );
}

#[test]
fn streaming_lists_end_in_a_bookmark() {
    let dev = ask(shared(), "dev");
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1";
    let events = dev
        .send("GET", &format!("{CPOL}?{query}"), &[], "")
        .events(|_| false);
    let initial = events
        .iter()
        .take_while(|event| event["type"] == "ADDED")
        .count();
    assert_eq!(initial, dev.items(CPOL).len());
    let end = &events[initial];
    assert_eq!(end["type"], "BOOKMARK");
    assert_eq!(end["object"]["kind"], "ClusterPolicy");
    assert_eq!(
        end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    let refused = dev.send(
        "GET",
        &format!("{CPOL}?watch=true&sendInitialEvents=true"),
        &[],
        "",
    );
    assert_eq!(refused.code, 422);
}

#[test]
fn writes_check_versions_fields_and_names() {
    let demo = start();
    let dev = ask(&demo, "dev");
    let (code, dry) = dev.post(&format!("{CPOL}?dryRun=All"), &policy("p"));
    assert_eq!(
        (code, dry["spec"]["background"].clone()),
        (201, json!(true))
    );
    assert_eq!(dev.send("GET", &format!("{CPOL}/p"), &[], "").code, 404);
    let (code, made) = dev.post(&format!("{CPOL}?fieldManager=me"), &policy("p"));
    assert_eq!(
        (code, made["metadata"]["generation"].clone()),
        (201, json!(1))
    );
    assert_eq!(made["metadata"]["managedFields"][0]["manager"], "me");
    let (code, again) = dev.post(CPOL, &policy("p"));
    assert_eq!(
        (code, again["reason"].clone()),
        (409, json!("AlreadyExists"))
    );
    let path = format!("{CPOL}/p");
    let ready = until("the policy is ready", || {
        let now = dev.get(&path);
        (now["status"]["conditions"][0]["status"] == "True").then_some(now)
    });
    assert_eq!(
        ready["metadata"]["generation"], 1,
        "a status write is no new generation"
    );
    let (code, refused) = dev.write("PUT", &path, "application/json", &made);
    assert_eq!((code, refused["reason"].clone()), (409, json!("Conflict")));
    let test = json!([{"op": "test", "path": "/spec/validationFailureAction", "value": "Audit"}, {"op": "replace", "path": "/spec/validationFailureAction", "value": "Enforce"}]);
    let (code, enforced) = dev.write("PATCH", &path, "application/json-patch+json", &test);
    assert_eq!(
        (code, enforced["metadata"]["generation"].clone()),
        (200, json!(2))
    );
    assert_eq!(
        dev.write("PATCH", &path, "application/json-patch+json", &test)
            .0,
        422
    );
    assert_eq!(
        dev.write(
            "PATCH",
            &path,
            "application/strategic-merge-patch+json",
            &json!({})
        )
        .0,
        415
    );
    let unchanged = dev
        .merge(
            &path,
            &json!({"spec": {"validationFailureAction": "Enforce"}}),
        )
        .1;
    assert_eq!(
        unchanged["metadata"]["resourceVersion"],
        enforced["metadata"]["resourceVersion"]
    );
    let unknown = json!({"spec": {"nonsense": 1}});
    assert_eq!(
        dev.merge(&format!("{path}?fieldValidation=Strict"), &unknown)
            .0,
        400
    );
    let warned = dev.send(
        "PATCH",
        &path,
        &[("Content-Type", "application/merge-patch+json")],
        &unknown.to_string(),
    );
    assert!(
        warned.headers.contains("unknown field"),
        "{}",
        warned.headers
    );
    assert_eq!(
        dev.merge(
            &path,
            &json!({"spec": {"validationFailureAction": "Maybe"}})
        )
        .0,
        422
    );
    assert_eq!(
        dev.post("/api/v1/namespaces/nowhere/pods", &pod("a", &json!({})))
            .0,
        404
    );
    assert_eq!(dev.post(CPOL, &policy("Not_A_Name")).0, 422);
    let stale = json!({"preconditions": {"resourceVersion": "1"}});
    assert_eq!(
        dev.write("DELETE", &path, "application/json", &stale).0,
        409
    );
}

#[test]
fn server_side_apply_knows_owners() {
    let demo = start();
    let dev = ask(&demo, "dev");
    let path = format!("{CPOL}/applied");
    let apply = |manager: &str, more: &str, body: &Value| {
        dev.write(
            "PATCH",
            &format!("{path}?fieldManager={manager}{more}"),
            "application/apply-patch+yaml",
            body,
        )
    };
    assert_eq!(apply("git", "", &policy("applied")).0, 201);
    let mut other = policy("applied");
    other["spec"]["validationFailureAction"] = json!("Enforce");
    let (code, conflict) = apply("hand", "", &other);
    assert_eq!(code, 409);
    let causes = conflict["details"]["causes"].as_array().unwrap();
    assert!(
        causes
            .iter()
            .any(|cause| cause["field"] == ".spec.validationFailureAction"),
        "{conflict}"
    );
    let (code, forced) = apply("hand", "&force=true", &other);
    assert_eq!(
        (code, forced["spec"]["validationFailureAction"].clone()),
        (200, json!("Enforce"))
    );
    let yaml = dev.send("PATCH", &format!("{path}?fieldManager=third&force=true"), &[("Content-Type", "application/apply-patch+yaml")], "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: applied}\nspec: {background: true}\n");
    assert_eq!(yaml.code, 200);
    assert_eq!(
        dev.write(
            "PATCH",
            &path,
            "application/apply-patch+yaml",
            &policy("applied")
        )
        .0,
        422,
        "a manager is required"
    );
}

#[test]
fn rights_are_enforced() {
    let dev = ask(shared(), "dev");
    let as_user = |user: &str, method: &str, path: &str| {
        dev.send(
            method,
            path,
            &[("Authorization", &format!("Bearer {user}-token"))],
            "",
        )
        .code
    };
    assert_eq!(as_user("viewer", "GET", CPOL), 200);
    assert_eq!(
        as_user("viewer", "GET", "/apis/kyverno.io/v2/policyexceptions"),
        403
    );
    assert_eq!(
        as_user("viewer", "DELETE", &format!("{CPOL}/require-limits")),
        403
    );
    assert_eq!(as_user("nobody", "GET", CPOL), 403);
    assert_eq!(as_user("stranger", "GET", CPOL), 401);
    assert_eq!(
        dev.send("GET", &format!("/user/nobody{CPOL}?watch=true"), &[], "")
            .code,
        403
    );
    let question = json!({"spec": {"resourceAttributes": {"verb": "patch", "group": "kyverno.io", "resource": "clusterpolicies"}}});
    let (code, review) = dev.post(
        "/user/viewer/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        &question,
    );
    assert_eq!(
        (code, review["status"]["allowed"].clone()),
        (201, json!(false))
    );
    let (_, review) = dev.post(
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        &question,
    );
    assert_eq!(review["status"]["allowed"], true);
}

#[test]
fn a_lost_environment_is_gone_and_comes_back() {
    let demo = start();
    let qac = ask(&demo, "qac");
    let from = qac.get(CPOL)["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    let watch = qac.send(
        "GET",
        &format!("{CPOL}?watch=true&resourceVersion={from}"),
        &[],
        "",
    );
    let address = demo.url("qac").unwrap();
    demo.lose("qac").unwrap();
    assert!(qac.connect().is_err(), "the port refuses");
    assert!(watch.events(|_| true).is_empty(), "open watches are cut");
    demo.find("qac").unwrap();
    assert_eq!(demo.url("qac").unwrap(), address);
    assert_eq!(qac.get(CPOL)["metadata"]["resourceVersion"], from);
    assert!(demo.lose("nowhere").is_err());
}

#[test]
fn the_company_is_there() {
    let mut workloads = 0;
    for environment in shared().environments() {
        let here = ask(shared(), environment);
        for path in [
            "/apis/apps/v1/deployments",
            "/apis/apps/v1/statefulsets",
            "/apis/apps/v1/daemonsets",
            "/apis/batch/v1/cronjobs",
            "/apis/batch/v1/jobs",
            "/api/v1/pods",
        ] {
            workloads += here.items(path).len();
        }
        assert_eq!(
            here.items("/apis/apps/v1/namespaces/kyverno/deployments")
                .len(),
            4
        );
        assert_eq!(
            here.items("/api/v1/namespaces/kyverno/secrets?labelSelector=owner%3Dhelm")
                .len(),
            6
        );
    }
    assert!(workloads > 300, "{workloads}");
    let production = ask(shared(), "production");
    assert_eq!(
        production
            .send("GET", &format!("{CPOL}/restrict-image-registries"), &[], "")
            .code,
        404
    );
    let stale = production.items("/apis/wgpolicyk8s.io/v1alpha2/namespaces/catalog/policyreports");
    assert!(
        stale
            .iter()
            .any(|report| report["metadata"]["name"] == "cpol-disallow-default-namespace")
    );
    let hostile = ask(shared(), "dev")
        .get("/apis/wgpolicyk8s.io/v1alpha2/namespaces/search/policyreports/falco-runtime");
    assert!(
        hostile["results"][0]["message"]
            .as_str()
            .unwrap()
            .contains('\u{1b}')
    );
    assert!(hostile["results"][1]["message"].as_str().unwrap().len() > 5_000);
    let unready = ask(shared(), "dev").get(&format!("{CPOL}/require-topic-owner"));
    assert_eq!(unready["status"]["conditions"][0]["status"], "False");
}

#[test]
fn reports_name_the_resource_the_rule_and_the_excuse() {
    let dev = ask(shared(), "dev");
    let report_of = |plural: &str, kind: &str| {
        let object = dev
            .items(&format!("/apis/apps/v1/namespaces/payments/{plural}"))
            .into_iter()
            .find(|o| {
                o["metadata"]["name"]
                    .as_str()
                    .unwrap()
                    .starts_with("legacy-billing")
            })
            .unwrap();
        let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
        let report = dev.get(&format!(
            "/apis/wgpolicyk8s.io/v1alpha2/namespaces/payments/policyreports/{uid}"
        ));
        assert_eq!(report["scope"]["kind"], kind);
        assert_eq!(
            report["metadata"]["ownerReferences"][0]["uid"],
            uid.as_str()
        );
        report
    };
    let report = report_of("deployments", "Deployment");
    report_of("replicasets", "ReplicaSet");
    let result = |policy: &str| {
        report["results"]
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["policy"] == policy)
            .unwrap()
            .clone()
    };
    let excused = result("require-run-as-nonroot");
    assert_eq!(
        (excused["rule"].clone(), excused["result"].clone()),
        (json!("autogen-run-as-non-root"), json!("skip"))
    );
    assert_eq!(excused["properties"]["exceptions"], "legacy-billing-root");
    assert_eq!(
        excused["message"],
        "rule is skipped due to policy exceptionspayments/legacy-billing-root"
    );
    assert!(result("no-privilege-escalation").get("rule").is_none());
    assert!(result("payments/payments-no-shell")["timestamp"]["seconds"].is_u64());
    let errors = dev.items("/apis/wgpolicyk8s.io/v1alpha2/namespaces/platform/policyreports");
    let errors = errors
        .iter()
        .flat_map(|r| r["results"].as_array().unwrap().clone())
        .filter(|r| r["result"] == "error");
    assert!(errors.into_iter().any(|r| {
        r["message"]
            .as_str()
            .unwrap()
            .contains("foreach is not interpreted")
    }));
    let open = ask(shared(), "staging").items("/apis/openreports.io/v1alpha1/reports");
    assert!(open.len() > 100);
    assert!(
        ask(shared(), "staging")
            .items("/apis/wgpolicyk8s.io/v1alpha2/policyreports")
            .is_empty()
    );
    let cronjob = dev
        .items("/apis/wgpolicyk8s.io/v1alpha2/namespaces/checkout/policyreports")
        .into_iter()
        .find(|r| r["scope"]["kind"] == "CronJob")
        .unwrap();
    assert!(
        cronjob["results"]
            .as_array()
            .unwrap()
            .iter()
            .any(|r| r["rule"] == "autogen-cronjob-check-team")
    );
}

#[test]
fn a_changed_policy_changes_reports_and_requests() {
    let demo = start();
    let dev = ask(&demo, "dev");
    let failing = || {
        let reports = dev.items("/apis/wgpolicyk8s.io/v1alpha2/policyreports");
        let results = reports
            .iter()
            .flat_map(|r| r["results"].as_array().unwrap().clone());
        results
            .filter(|r| r["policy"] == "owners" && r["result"] == "fail")
            .count()
    };
    assert_eq!(dev.post(CPOL, &policy("owners")).0, 201);
    until("the new policy fails workloads", || {
        (failing() > 100).then_some(())
    });
    // Everything has a name label, so this version finds nothing wrong.
    let better = json!([{"op": "replace", "path": "/spec/rules/0/validate/pattern", "value": {"metadata": {"labels": {"app.kubernetes.io/name": "?*"}}}}]);
    assert_eq!(
        dev.write(
            "PATCH",
            &format!("{CPOL}/owners"),
            "application/json-patch+json",
            &better
        )
        .0,
        200
    );
    until("its successor fails none", || {
        (failing() == 0).then_some(())
    });

    let pods = "/api/v1/namespaces/checkout/pods";
    let bad = pod("bad", &json!({}));
    let (code, refused) = dev.post(pods, &bad);
    assert_eq!(code, 400);
    let message = refused["message"].as_str().unwrap();
    assert!(message.starts_with("admission webhook \"validate.kyverno.svc-fail\" denied the request: \n\nresource Pod/checkout/bad was blocked"), "{message}");
    assert!(
        message.contains(
            "require-team-label:\n  check-team: 'validation error: Pods must name their team."
        ),
        "{message}"
    );
    let events = dev.items(
        "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Drequire-team-label",
    );
    let event = events
        .iter()
        .find(|e| e["related"]["name"] == "bad")
        .unwrap();
    assert_eq!(
        (&event["action"], &event["reason"]),
        (&json!("Resource Blocked"), &json!("PolicyViolation"))
    );
    assert!(
        event["message"]
            .as_str()
            .unwrap()
            .starts_with("Pod checkout/bad: [check-team] fail (blocked); ")
    );
    assert!(event.get("count").is_none() && event.get("series").is_none());

    let (code, _) = dev.post(
        pods,
        &pod(
            "good",
            &json!({"team": "cart", "app.kubernetes.io/name": "good"}),
        ),
    );
    assert_eq!(code, 201);
    let uid = dev.get(&format!("{pods}/good"))["metadata"]["uid"]
        .as_str()
        .unwrap()
        .to_owned();
    let report = format!("/apis/wgpolicyk8s.io/v1alpha2/namespaces/checkout/policyreports/{uid}");
    until("the pod has a report", || {
        (dev.send("GET", &report, &[], "").code == 200).then_some(())
    });
    assert_eq!(
        dev.send("DELETE", &format!("{pods}/good"), &[], "").code,
        200
    );
    until("its report goes with it", || {
        (dev.send("GET", &report, &[], "").code == 404).then_some(())
    });
}

#[test]
fn owners_take_dependants_and_namespaces_end() {
    let demo = start();
    let dev = ask(&demo, "dev");
    let path = "/apis/apps/v1/namespaces/search/deployments/suggest";
    let pods = || {
        dev.items("/api/v1/namespaces/search/pods")
            .iter()
            .filter(|p| p["metadata"]["labels"]["app.kubernetes.io/name"] == "suggest")
            .count()
    };
    assert_eq!(dev.merge(path, &json!({"spec": {"replicas": 3}})).0, 200);
    until("three pods run", || (pods() == 3).then_some(()));
    assert_eq!(dev.send("DELETE", path, &[], "").code, 200);
    until("all pods are gone", || (pods() == 0).then_some(()));
    assert_eq!(
        dev.send("DELETE", "/api/v1/namespaces/marketing", &[], "")
            .code,
        200
    );
    until("the namespace is gone", || {
        (dev.send("GET", "/api/v1/namespaces/marketing", &[], "")
            .code
            == 404)
            .then_some(())
    });
    assert!(
        dev.items("/apis/apps/v1/namespaces/marketing/deployments")
            .is_empty()
    );
}

#[test]
fn scans_move_timestamps_and_nothing_else() {
    let pace = Pace {
        scan: Duration::from_millis(1_100),
        ..Pace::default()
    };
    let demo = Demo::start(DemoOptions {
        scenario: Scenario::none(),
        pace,
        ..DemoOptions::default()
    })
    .unwrap();
    let dev = ask(&demo, "dev");
    let list = dev.get("/apis/wgpolicyk8s.io/v1alpha2/namespaces/payments/policyreports");
    let from = list["metadata"]["resourceVersion"].as_str().unwrap();
    let stream = dev.send("GET", &format!("/apis/wgpolicyk8s.io/v1alpha2/namespaces/payments/policyreports?watch=true&resourceVersion={from}"), &[], "");
    let event = stream.events(|_| true).remove(0);
    let before = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["metadata"]["name"] == event["object"]["metadata"]["name"])
        .unwrap()
        .clone();
    let plain = |report: &Value| {
        let mut report = report.clone();
        report["metadata"] = Value::Null;
        report["results"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .for_each(|r| r["timestamp"] = Value::Null);
        report
    };
    assert_eq!(event["type"], "MODIFIED");
    assert_eq!(plain(&before), plain(&event["object"]));
    assert_ne!(
        before["results"][0]["timestamp"],
        event["object"]["results"][0]["timestamp"]
    );
}

#[tokio::test]
async fn kube_clients_are_at_home() {
    use kube::api::{ApiResource, DynamicObject, ListParams, WatchParams};
    use kube::core::GroupVersionKind;
    let kubeconfig = kube::config::Kubeconfig::from_yaml(&shared().kubeconfig()).unwrap();
    let options = kube::config::KubeConfigOptions {
        context: Some("dev-viewer".into()),
        ..Default::default()
    };
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .unwrap();
    let client = kube::Client::try_from(config).unwrap();
    let kind = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("kyverno.io", "v1", "ClusterPolicy"),
        "clusterpolicies",
    );
    let policies: kube::Api<DynamicObject> = kube::Api::all_with(client.clone(), &kind);
    let list = policies
        .list(&ListParams::default().limit(4))
        .await
        .unwrap();
    assert_eq!(list.items.len(), 4);
    let mut events = Box::pin(
        policies
            .watch(&WatchParams::default().timeout(1), "0")
            .await
            .unwrap(),
    );
    assert!(futures::StreamExt::next(&mut events).await.unwrap().is_ok());
    let kind = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("kyverno.io", "v2", "PolicyException"),
        "policyexceptions",
    );
    let refused = kube::Api::<DynamicObject>::all_with(client, &kind)
        .list(&ListParams::default())
        .await
        .unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 403));
}

#[test]
fn files_are_as_clients_read_them() {
    let kubeconfig: Value = serde_saphyr::from_str(&shared().kubeconfig()).unwrap();
    assert_eq!(kubeconfig["current-context"], "dev");
    assert_eq!(kubeconfig["contexts"].as_array().unwrap().len(), 12);
    let config: toml::Table = toml::from_str(&shared().config_toml()).unwrap();
    let environments = config["environments"].as_array().unwrap();
    let order: Vec<&str> = environments
        .iter()
        .map(|e| e["name"].as_str().unwrap())
        .collect();
    assert_eq!(order, ["dev", "qac", "staging", "production"]);
    assert_eq!(environments[3]["tier"].as_str(), Some("production"));
    assert!(shared().banner().contains("DEMO"));
}

/// The real kubectl, where the developer's cache has one.
struct Kubectl {
    program: PathBuf,
    home: tempfile::TempDir,
}

impl Kubectl {
    fn find(demo: &Demo) -> Option<Self> {
        let program =
            PathBuf::from(std::env::var_os("HOME")?).join(".cache/policydeck/envtest/bin/kubectl");
        if !program.exists() {
            eprintln!("skipped: no kubectl at {}", program.display());
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("config"), demo.kubeconfig()).unwrap();
        Some(Self { program, home })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("KUBECONFIG", self.home.path().join("config"))
            .env("HOME", self.home.path());
        command
    }

    /// Status, standard output, standard error.
    fn run(&self, arguments: &[&str]) -> (bool, String, String) {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.success(),
            text(&output.stdout),
            text(&output.stderr),
        )
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let (success, out, err) = self.run(arguments);
        assert!(success, "kubectl {arguments:?}: {out}{err}");
        out
    }

    fn file(&self, name: &str, manifest: &Value) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, manifest.to_string()).unwrap();
        path.display().to_string()
    }
}

#[test]
fn kubectl_works_with_it() {
    let demo = start();
    let Some(kubectl) = Kubectl::find(&demo) else {
        return;
    };
    assert!(kubectl.ok(&["get", "cpol"]).contains("require-team-label"));
    assert!(
        kubectl
            .ok(&["get", "polr", "-n", "payments"])
            .starts_with("NAME")
    );
    assert!(
        kubectl
            .ok(&["--context", "staging", "get", "reps", "-A"])
            .contains("checkout")
    );
    let file = kubectl.file("p.json", &policy("mine"));
    assert!(
        kubectl
            .ok(&["apply", "--dry-run=server", "-f", &file])
            .contains("created (server dry run)")
    );
    assert!(kubectl.ok(&["apply", "-f", &file]).contains("created"));
    let version = || {
        kubectl.ok(&[
            "get",
            "cpol",
            "mine",
            "-o",
            "jsonpath={.metadata.generation}",
        ])
    };
    let before = version();
    kubectl.ok(&["apply", "-f", &file]);
    assert_eq!(
        version(),
        before,
        "the same manifest again is no new generation"
    );
    kubectl.ok(&[
        "wait",
        "cpol/mine",
        "--for=condition=Ready",
        "--timeout=10s",
    ]);
    assert!(
        kubectl
            .ok(&[
                "patch",
                "cpol",
                "mine",
                "--type=merge",
                "-p",
                "{\"spec\":{\"validationFailureAction\":\"Enforce\"}}"
            ])
            .contains("patched")
    );
    assert!(
        kubectl
            .ok(&["label", "cpol", "mine", "a=b"])
            .contains("labeled")
    );
    kubectl.ok(&["apply", "--server-side", "--force-conflicts", "-f", &file]);
    assert!(kubectl.ok(&["delete", "cpol", "mine"]).contains("deleted"));
    let (success, _, err) = kubectl.run(&[
        "apply",
        "-n",
        "checkout",
        "-f",
        &kubectl.file("bad.json", &pod("bad", &json!({}))),
    ]);
    assert!(!success && err.contains("denied the request"), "{err}");
    let wrong = json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "w"}, "spec": {"rulez": [], "rules": []}});
    let (success, _, err) = kubectl.run(&["apply", "-f", &kubectl.file("wrong.json", &wrong)]);
    assert!(
        !success && err.contains("unknown field \"spec.rulez\""),
        "{err}"
    );
    assert!(
        kubectl
            .ok(&["auth", "can-i", "patch", "pods"])
            .contains("yes")
    );
    let (success, out, _) =
        kubectl.run(&["--context", "dev-viewer", "auth", "can-i", "patch", "pods"]);
    assert!(!success && out.contains("no"));
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}});
    kubectl.ok(&["create", "-f", &kubectl.file("c.json", &config)]);
    kubectl.ok(&["scale", "deploy/query-api", "-n", "search", "--replicas=2"]);
}

#[test]
fn kubectl_watches() {
    let demo = start();
    let Some(kubectl) = Kubectl::find(&demo) else {
        return;
    };
    let mut child = kubectl
        .command(&["get", "cpol", "-w", "--no-headers"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    ask(&demo, "dev").post(CPOL, &policy("watched"));
    let seen = std::iter::once(first)
        .chain(lines.map_while(Result::ok))
        .any(|line| line.starts_with("watched"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(seen);
}
