//! Discovery, lists, tables, watches.

use serde_json::{Value, json};

use super::client::*;

#[test]
fn says_what_it_is() {
    let dev = ask(shared(), "dev");
    assert_eq!(dev.get("/version")["major"], "1");
    assert!(dev.send("GET", "/readyz", &[], "").bytes() == b"ok");
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
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
    assert_eq!(ask(shared(), "production").send("GET", "/apis/policies.kyverno.io/v1beta1/namespacedmutatingpolicies", &[], "").code, 404);
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
            assert_eq!(page["metadata"]["remainingItemCount"], whole["items"].as_array().unwrap().len() - 20);
            // A pod that dies between two pages is still in the snapshot.
            let victim = names(&whole).last().unwrap().clone();
            let place = whole["items"].as_array().unwrap().last().unwrap()["metadata"]["namespace"].as_str().unwrap().to_owned();
            assert_eq!(dev.send("DELETE", &format!("/api/v1/namespaces/{place}/pods/{victim}"), &[], "").code, 200);
        }
        seen.extend(names(&page));
        match page["metadata"]["continue"].as_str() {
            Some(token) => next = token.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, names(&whole));
    let page = dev.get("/api/v1/pods?limit=5");
    dev.post("/api/v1/namespaces/default/configmaps", &json!({"metadata": {"name": "x"}}));
    demo.compact("dev").unwrap();
    let expired = dev.send("GET", &format!("/api/v1/pods?limit=5&continue={}", page["metadata"]["continue"].as_str().unwrap()), &[], "");
    assert_eq!(expired.code, 410);
    assert_eq!(expired.json()["reason"], "Expired");
}

#[test]
fn selectors_and_versions() {
    let dev = ask(shared(), "dev");
    let pay = dev.items("/apis/apps/v1/deployments?fieldSelector=metadata.namespace%3Dpayments");
    assert!(!pay.is_empty() && pay.iter().all(|d| d["metadata"]["namespace"] == "payments"));
    assert_eq!(dev.items("/apis/apps/v1/namespaces/payments/deployments").len(), pay.len());
    let own = dev.items("/apis/wgpolicyk8s.io/v1alpha2/policyreports?labelSelector=app.kubernetes.io/managed-by%3Dkyverno");
    assert!(own.len() > 100, "{}", own.len());
    let blocked =
        dev.items("/api/v1/namespaces/default/events?fieldSelector=reportingComponent%3Dkyverno-admission,reason%3DPolicyViolation");
    assert!(!blocked.is_empty());
    assert_eq!(dev.send("GET", "/api/v1/pods?resourceVersion=99999999", &[], "").code, 504);
    assert_eq!(dev.send("GET", "/api/v1/pods?fieldSelector=spec.foo%3D1", &[], "").code, 400);
}

#[test]
fn tables_and_metadata() {
    let dev = ask(shared(), "dev");
    let path = "/apis/wgpolicyk8s.io/v1alpha2/policyreports";
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table = dev.send("GET", &format!("{path}?includeObject=None"), &[("Accept", accept)], "").json();
    let columns: Vec<&str> = table["columnDefinitions"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(columns, ["Name", "Kind", "Name", "Pass", "Fail", "Warn", "Error", "Skip", "Age"]);
    let reports = dev.items(path);
    let fails: u64 = reports.iter().map(|r| r["summary"]["fail"].as_u64().unwrap()).sum();
    let shown: u64 = table["rows"].as_array().unwrap().iter().map(|r| r["cells"][4].as_u64().unwrap()).sum();
    assert_eq!(fails, shown);
    assert!(fails > 50, "{fails}");
    assert!(table["rows"][0]["object"].is_null());
    let partial = dev.send("GET", path, &[("Accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")], "").json();
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert!(partial["items"][0].get("results").is_none());
    let zipped = dev.send("GET", path, &[("Accept-Encoding", "gzip")], "");
    assert!(zipped.headers.contains("content-encoding: gzip"));
    assert!(!dev.send("GET", "/api/v1/namespaces", &[("Accept-Encoding", "gzip")], "").headers.contains("gzip"));
}

#[test]
fn watches_replay_stream_and_expire() {
    let demo = start();
    let dev = ask(&demo, "dev");
    let from = dev.get(CPOL)["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let stream = dev.send("GET", &format!("{CPOL}?watch=true&resourceVersion={from}"), &[("Accept-Encoding", "gzip")], "");
    assert!(!stream.headers.contains("gzip"));
    assert_eq!(dev.post(CPOL, &policy("one")).0, 201);
    assert_eq!(dev.merge(&format!("{CPOL}/one"), &json!({"metadata": {"labels": {"a": "b"}}})).0, 200);
    assert_eq!(dev.send("DELETE", &format!("{CPOL}/one"), &[], "").code, 200);
    let events = stream.events(|event| event["type"] == "DELETED");
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds.first(), Some(&"ADDED"));
    let versions: Vec<u64> = events.iter().map(|e| e["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()).collect();
    assert!(versions.is_sorted() && versions.first() > Some(&from.parse().unwrap()), "{versions:?}");
    // The same watch again replays the same past.
    let again = dev.send("GET", &format!("{CPOL}?watch=1&resourceVersion={from}"), &[], "").events(|event| event["type"] == "DELETED");
    assert_eq!(again, events);
    // Objects that leave the selection are deletions for it.
    let selected = dev.send("GET", &format!("{CPOL}?watch=true&resourceVersion={from}&labelSelector=a%3Db"), &[], "");
    let selected = selected.events(|event| event["type"] == "DELETED");
    assert_eq!(selected[0]["type"], "ADDED");
    demo.compact("dev").unwrap();
    let expired = dev.send("GET", &format!("{CPOL}?watch=true&resourceVersion={from}"), &[], "");
    assert_eq!(expired.code, 200);
    let expired = expired.events(|_| false);
    assert_eq!((expired.len(), &expired[0]["type"], &expired[0]["object"]["code"]), (1, &json!("ERROR"), &json!(410)));
}

#[test]
fn streaming_lists_end_in_a_bookmark() {
    let dev = ask(shared(), "dev");
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1";
    let events = dev.send("GET", &format!("{CPOL}?{query}"), &[], "").events(|_| false);
    let initial = events.iter().take_while(|event| event["type"] == "ADDED").count();
    assert_eq!(initial, dev.items(CPOL).len());
    let end = &events[initial];
    assert_eq!(end["type"], "BOOKMARK");
    assert_eq!(end["object"]["kind"], "ClusterPolicy");
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let refused = dev.send("GET", &format!("{CPOL}?watch=true&sendInitialEvents=true"), &[], "");
    assert_eq!(refused.code, 422);
}
