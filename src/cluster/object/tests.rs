use super::*;
use crate::cluster::client::Clients;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// An API server with a few resources; a path that is not here is not found. The second value is what it was asked for.
async fn serve(answers: Vec<(&'static str, Value)>) -> (Requests, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 16_384];
            let read = stream.read(&mut request).await.unwrap_or(0);
            let path = String::from_utf8_lossy(&request[..read]).split(' ').nth(1).unwrap_or_default().to_owned();
            let found = answers.iter().find(|(at, _)| *at == path);
            let (status, body) =
                found.map_or(("404 Not Found", json!({"kind": "Status", "message": "no"})), |(_, body)| ("200 OK", body.clone()));
            noted.lock().unwrap().push(path);
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    let clients = Clients::new(&kube::Config::new(url.parse().unwrap()), &Arc::from("e")).unwrap();
    (Requests::new(clients, Duration::from_secs(20)), asked)
}

fn discovery() -> Vec<(&'static str, Value)> {
    let resource = |name: &str, kind: &str, namespaced: bool| json!({"name": name, "kind": kind, "namespaced": namespaced});
    vec![
        ("/apis", json!({"kind": "APIGroupList", "groups": [{"name": "apps", "versions": [{"version": "v1"}]}]})),
        (
            "/apis/apps/v1",
            json!({"resources": [resource("deployments/scale", "Scale", true), resource("deployments", "Deployment", true), resource("../../api/v1/secrets", "Odd", true)]}),
        ),
        ("/api/v1", json!({"resources": [resource("nodes", "Node", false), resource("pods", "Pod", true)]})),
    ]
}

fn object(api_version: &str, kind: &str, namespace: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"namespace": namespace, "name": name, "uid": "u1", "managedFields": []}})
}

fn reference(api_version: &str, kind: &str, namespace: &str, name: &str) -> ResourceRef {
    let text = str::to_owned;
    ResourceRef { api_version: text(api_version), kind: text(kind), namespace: text(namespace), name: text(name), uid: String::new() }
}

#[tokio::test]
async fn an_object_is_found_through_discovery_alone() {
    let mut answers = discovery();
    answers.push(("/apis/apps/v1/namespaces/a/deployments/web", object("apps/v1", "Deployment", "a", "web")));
    answers.push(("/api/v1/nodes/n%3A1", json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n:1"}})));
    let (requests, _) = serve(answers).await;
    let found = fetch(&requests, &reference("apps/v1", "Deployment", "a", "web")).await.unwrap();
    assert_eq!(found["metadata"], json!({"namespace": "a", "name": "web", "uid": "u1"}));
    let same = ResourceRef { uid: "u1".to_owned(), ..reference("apps/v1", "Deployment", "a", "web") };
    fetch(&requests, &same).await.unwrap();
    // A report in a namespace may name a cluster-scoped object.
    assert_eq!(fetch(&requests, &reference("", "Node", "a", "n:1")).await.unwrap()["metadata"]["name"], "n:1");
}

#[tokio::test]
async fn a_report_does_not_choose_the_path() {
    for (api_version, kind, said) in [
        ("v1/namespaces/kube-system/secrets", "Secret", "the cluster does not serve Secret in v1/namespaces/kube-system/secrets"),
        ("../../api/v1", "Pod", "the cluster does not serve Pod in ../../api/v1"),
        ("apps/v1/../../../api/v1", "Pod", "the cluster does not serve Pod in apps/v1/../../../api/v1"),
        ("apps/v1?x=", "Deployment", "the cluster does not serve Deployment in apps/v1?x="),
        ("apps%2fv1", "Deployment", "the cluster does not serve Deployment in apps%2fv1"),
        ("/v1", "Pod", "the cluster does not serve Pod in /v1"),
        ("apps/v2", "Deployment", "the cluster does not serve Deployment in apps/v2"),
        ("v2", "Pod", "the cluster does not serve Pod in v2"),
    ] {
        let (requests, asked) = serve(discovery()).await;
        let why = fetch(&requests, &reference(api_version, kind, "a", "web")).await.unwrap_err();
        assert_eq!(why, Refusal::Invalid(said.to_owned()));
        assert_eq!(*asked.lock().unwrap(), ["/apis"], "{api_version}");
    }
    for (found, said) in [
        (reference("apps/v1", "Secret", "a", "web"), "the cluster does not serve Secret in apps/v1"),
        (reference("apps/v1", "Scale", "a", "web"), "the cluster does not serve Scale in apps/v1"),
        (reference("apps/v1", "deployments", "a", "web"), "the cluster does not serve deployments in apps/v1"),
        (reference("apps/v1", "Odd", "a", "web"), "the cluster does not serve Odd in apps/v1"),
        (reference("apps/v1", "Deployment", "", "web"), "Deployment is namespaced, and no namespace is named"),
        (reference("apps/v1", "Deployment", "../kube-system", "web"), "\"../kube-system\" is not a valid namespace"),
        (reference("apps/v1", "Deployment", "a", "../x"), "\"../x\" is not a valid name"),
        (reference("apps/v1", "Deployment", "a", "web%2fstatus"), "\"web%2fstatus\" is not a valid name"),
    ] {
        let (requests, asked) = serve(discovery()).await;
        assert_eq!(fetch(&requests, &found).await.unwrap_err(), Refusal::Invalid(said.to_owned()));
        assert_eq!(*asked.lock().unwrap(), ["/apis", "/apis/apps/v1"], "{said}");
    }
}

#[tokio::test]
async fn another_object_than_the_requested_one_is_not_shown() {
    for (object, said) in [
        (object("v1", "Secret", "a", "web"), "kind \"Secret\" instead of \"Deployment\""),
        (object("apps/v1", "Deployment", "b", "web"), "namespace \"b\" instead of \"a\""),
        (object("apps/v1", "Deployment", "a", "other"), "name \"other\" instead of \"web\""),
        (json!([]), "kind \"\" instead of \"Deployment\""),
    ] {
        let mut answers = discovery();
        answers.push(("/apis/apps/v1/namespaces/a/deployments/web", object));
        let (requests, _) = serve(answers).await;
        let why = fetch(&requests, &reference("apps/v1", "Deployment", "a", "web")).await.unwrap_err();
        assert!(matches!(&why, Refusal::Server(why) if why.ends_with(said)), "{why}");
    }
    let mut answers = discovery();
    answers.push(("/apis/apps/v1/namespaces/a/deployments/web", object("apps/v1", "Deployment", "a", "web")));
    let (requests, _) = serve(answers).await;
    let again = ResourceRef { uid: "u0".to_owned(), ..reference("apps/v1", "Deployment", "a", "web") };
    let why = fetch(&requests, &again).await.unwrap_err();
    assert_eq!(why, Refusal::Server("this is another object of that name: uid u1 instead of u0".to_owned()));
}
