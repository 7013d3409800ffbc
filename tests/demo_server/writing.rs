//! Writes, server-side apply, rights, and losing an environment.

use serde_json::{Value, json};

use super::client::*;

#[test]
fn writes_check_versions_fields_and_names() {
    let demo = start();
    let dev = ask(&demo, "dev");
    let (code, dry) = dev.post(&format!("{CPOL}?dryRun=All"), &policy("p"));
    assert_eq!((code, dry["spec"]["background"].clone()), (201, json!(true)));
    assert_eq!(dev.send("GET", &format!("{CPOL}/p"), &[], "").code, 404);
    let (code, made) = dev.post(&format!("{CPOL}?fieldManager=me"), &policy("p"));
    assert_eq!((code, made["metadata"]["generation"].clone()), (201, json!(1)));
    assert_eq!(made["metadata"]["managedFields"][0]["manager"], "me");
    let (code, again) = dev.post(CPOL, &policy("p"));
    assert_eq!((code, again["reason"].clone()), (409, json!("AlreadyExists")));
    let path = format!("{CPOL}/p");
    let ready = until("the policy is ready", || {
        let now = dev.get(&path);
        (now["status"]["conditions"][0]["status"] == "True").then_some(now)
    });
    assert_eq!(ready["metadata"]["generation"], 1, "a status write is no new generation");
    let (code, refused) = dev.write("PUT", &path, "application/json", &made);
    assert_eq!((code, refused["reason"].clone()), (409, json!("Conflict")));
    let test = json!([{"op": "test", "path": "/spec/validationFailureAction", "value": "Audit"}, {"op": "replace", "path": "/spec/validationFailureAction", "value": "Enforce"}]);
    let (code, enforced) = dev.write("PATCH", &path, "application/json-patch+json", &test);
    assert_eq!((code, enforced["metadata"]["generation"].clone()), (200, json!(2)));
    assert_eq!(dev.write("PATCH", &path, "application/json-patch+json", &test).0, 422);
    assert_eq!(dev.write("PATCH", &path, "application/strategic-merge-patch+json", &json!({})).0, 415);
    let unchanged = dev.merge(&path, &json!({"spec": {"validationFailureAction": "Enforce"}})).1;
    assert_eq!(unchanged["metadata"]["resourceVersion"], enforced["metadata"]["resourceVersion"]);
    let unknown = json!({"spec": {"nonsense": 1}});
    assert_eq!(dev.merge(&format!("{path}?fieldValidation=Strict"), &unknown).0, 400);
    let warned = dev.send("PATCH", &path, &[("Content-Type", "application/merge-patch+json")], &unknown.to_string());
    assert!(warned.headers.contains("unknown field"), "{}", warned.headers);
    assert_eq!(dev.merge(&path, &json!({"spec": {"validationFailureAction": "Maybe"}})).0, 422);
    assert_eq!(dev.post("/api/v1/namespaces/nowhere/pods", &pod("a", &json!({}))).0, 404);
    assert_eq!(dev.post(CPOL, &policy("Not_A_Name")).0, 422);
    let stale = json!({"preconditions": {"resourceVersion": "1"}});
    assert_eq!(dev.write("DELETE", &path, "application/json", &stale).0, 409);
}

#[test]
fn server_side_apply_knows_owners() {
    let demo = start();
    let dev = ask(&demo, "dev");
    let path = format!("{CPOL}/applied");
    let apply = |manager: &str, more: &str, body: &Value| {
        dev.write("PATCH", &format!("{path}?fieldManager={manager}{more}"), "application/apply-patch+yaml", body)
    };
    assert_eq!(apply("git", "", &policy("applied")).0, 201);
    let mut other = policy("applied");
    other["spec"]["validationFailureAction"] = json!("Enforce");
    let (code, conflict) = apply("hand", "", &other);
    assert_eq!(code, 409);
    let causes = conflict["details"]["causes"].as_array().unwrap();
    assert!(causes.iter().any(|cause| cause["field"] == ".spec.validationFailureAction"), "{conflict}");
    let (code, forced) = apply("hand", "&force=true", &other);
    assert_eq!((code, forced["spec"]["validationFailureAction"].clone()), (200, json!("Enforce")));
    let yaml = dev.send(
        "PATCH",
        &format!("{path}?fieldManager=third&force=true"),
        &[("Content-Type", "application/apply-patch+yaml")],
        "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: applied}\nspec: {background: true}\n",
    );
    assert_eq!(yaml.code, 200);
    assert_eq!(dev.write("PATCH", &path, "application/apply-patch+yaml", &policy("applied")).0, 422, "a manager is required");
}

#[test]
fn rights_are_enforced() {
    let dev = ask(shared(), "dev");
    let as_user = |user: &str, method: &str, path: &str| {
        dev.send(method, path, &[("Authorization", &format!("Bearer {}", shared().token(user)))], "").code
    };
    assert_eq!(as_user("viewer", "GET", CPOL), 200);
    assert_eq!(as_user("viewer", "GET", "/apis/kyverno.io/v2/policyexceptions"), 403);
    assert_eq!(as_user("viewer", "DELETE", &format!("{CPOL}/require-limits")), 403);
    assert_eq!(as_user("nobody", "GET", CPOL), 403);
    assert_eq!(as_user("stranger", "GET", CPOL), 401);
    // Another user of the machine, or a page in a browser, has no kubeconfig of it.
    for header in
        [("Authorization", ""), ("Authorization", "Bearer admin-token"), ("Host", "rebound.example"), ("Host", "127.0.0.1.example:80")]
    {
        let refused = dev.send("GET", CPOL, &[header], "").code;
        assert!(matches!(refused, 401 | 403), "{header:?} {refused}");
    }
    assert_eq!(dev.send("GET", &format!("/user/nobody{CPOL}?watch=true"), &[], "").code, 403);
    let question = json!({"spec": {"resourceAttributes": {"verb": "patch", "group": "kyverno.io", "resource": "clusterpolicies"}}});
    let (code, review) = dev.post("/user/viewer/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &question);
    assert_eq!((code, review["status"]["allowed"].clone()), (201, json!(false)));
    let (_, review) = dev.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &question);
    assert_eq!(review["status"]["allowed"], true);
}

#[test]
fn a_lost_environment_is_gone_and_comes_back() {
    let demo = start();
    let qac = ask(&demo, "qac");
    let from = qac.get(CPOL)["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let watch = qac.send("GET", &format!("{CPOL}?watch=true&resourceVersion={from}"), &[], "");
    let address = demo.url("qac").unwrap();
    demo.lose("qac").unwrap();
    assert!(qac.connect().is_err(), "the port refuses");
    assert!(watch.events(|_| true).is_empty(), "open watches are cut");
    demo.find("qac").unwrap();
    assert_eq!(demo.url("qac").unwrap(), address);
    assert_eq!(qac.get(CPOL)["metadata"]["resourceVersion"], from);
    assert!(demo.lose("nowhere").is_err());
}
