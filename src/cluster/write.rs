//! Writing one object: what was asked for, what the API server said, and whether it is certain that it happened.
//!
//! What lives here: create, patch, replace and delete, as dry runs or in earnest, and reading the object back. What does not: what is written and
//! why (`ops`), in which order, and what is noted about it (`engine`).
//!
//! Every write says `fieldValidation=Strict`: a field that this server does not know is refused instead of dropped (Kubernetes 1.25 and later; Kyverno
//! has no conversion between its versions, so a dropped field may be the mode).

use super::address::{Address, Path};
use super::refusal::{Refusal, deepest};
use super::requests::{AGENT, JSON, Requests, collect};
use super::station::{KUBE_SYSTEM, Named};
use crate::domain::secret::mask;
use crate::kinds::FIELD_MANAGER;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT, WARNING};
use http::{HeaderMap, Method, Request, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};
use std::error::Error;
use std::fmt;
use std::time::Duration;
use tokio::time::timeout;

/// A write that meets webhooks may take as long as these may (Kyverno's `webhookTimeout` is 10 s; 30 s is the most that Kubernetes allows).
const LIMIT: Duration = Duration::from_secs(35);

/// What is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A new object.
    Create(Value),
    /// An RFC 6902 patch, whose `test` operations are the precondition.
    Patch(Value),
    /// The whole object; its `metadata.resourceVersion` is the precondition.
    Replace(Value),
    /// Nothing any more, where the object is still this one.
    Delete {
        /// `metadata.uid`.
        uid: String,
        /// `metadata.resourceVersion`.
        resource_version: String,
    },
}

/// What the API server made of a write.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The object as it is now; of a deletion, what the server said.
    pub object: Value,
    /// What the server and its webhooks warn of, as written: clean it before it reaches a terminal.
    pub warnings: Vec<String>,
}

/// Why a write did not, or may not have, happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteError {
    /// It was refused: nothing has changed.
    Refused(Refusal),
    /// The object is not what it was taken for, or exists already: nothing has changed.
    Moved(String),
    /// It was never sent: nothing has changed.
    NotSent(String),
    /// It was sent, and no answer tells what became of it: read the object.
    Unknown(String),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Moved(why) | Self::NotSent(why) | Self::Unknown(why) => f.write_str(why),
        }
    }
}

/// Writes, or with `dry_run` has the server and its webhooks check what they would do.
///
/// # Errors
/// See [`WriteError`]; also while the environment is not connected.
pub async fn write(signals: &super::Signals, address: &Address, write: &Write, dry_run: bool) -> Result<Written, WriteError> {
    let requests = signals.current.borrow().clone().ok_or_else(|| WriteError::NotSent("not connected".to_owned()))?;
    send(&requests, address, write, dry_run).await
}

/// The object as it is now, whole; `None` if there is none.
///
/// # Errors
/// A [`Refusal`], also while the environment is not connected.
pub async fn read(signals: &super::Signals, address: &Address) -> Result<Option<Value>, Refusal> {
    let requests = connected(signals)?;
    match requests.json::<Value>(&address.object()?, JSON).await {
        Ok(object) => match address.mismatch(&object) {
            None => Ok(Some(object)),
            Some(why) => Err(Refusal::Server(why)),
        },
        Err(Refusal::NotFound(_)) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// The UID of the namespace `kube-system`: which cluster this is, asked now.
///
/// # Errors
/// A [`Refusal`], also while the environment is not connected.
pub async fn cluster_uid(signals: &super::Signals) -> Result<String, Refusal> {
    let named: Named = connected(signals)?.json(&Path::fixed(KUBE_SYSTEM), JSON).await?;
    Ok(named.metadata.uid)
}

/// The user whom the API server takes us for (SelfSubjectReview, Kubernetes 1.28 and later); `None` where it does not say.
pub async fn whoami(signals: &super::Signals) -> Option<String> {
    let requests = connected(signals).ok()?;
    let address = Address {
        group: "authentication.k8s.io".to_owned(),
        version: "v1".to_owned(),
        plural: "selfsubjectreviews".to_owned(),
        namespace: String::new(),
        name: String::new(),
    };
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let written = send(&requests, &address, &Write::Create(review), false).await.ok()?;
    written.object.pointer("/status/userInfo/username").and_then(Value::as_str).map(str::to_owned)
}

/// The OpenAPI v3 document of a group and version, for telling which fields this server knows.
///
/// # Errors
/// A [`Refusal`], also while the environment is not connected.
pub async fn schema(signals: &super::Signals, group: &str, version: &str) -> Result<Value, Refusal> {
    connected(signals)?.json(&Path::schema(group, version)?, JSON).await
}

fn connected(signals: &super::Signals) -> Result<Requests, Refusal> {
    signals.current.borrow().clone().ok_or_else(|| Refusal::Unreachable("not connected".to_owned()))
}

async fn send(requests: &Requests, address: &Address, write: &Write, dry_run: bool) -> Result<Written, WriteError> {
    let request = request(address, write, dry_run).map_err(|error| WriteError::NotSent(error.to_string()))?;
    let answer = timeout(LIMIT, async {
        let response = requests.client().send(request).await.map_err(|error| unanswered(&error))?;
        let (head, body) = response.into_parts();
        let body = collect(body).await.map_err(|refusal| WriteError::Unknown(format!("the answer broke off: {refusal}")))?;
        Ok((head, body))
    });
    let (head, body) = answer.await.map_err(|_| WriteError::Unknown(format!("no answer within {} s", LIMIT.as_secs())))??;
    if !head.status.is_success() {
        return Err(refused(head.status, &body));
    }
    let object = serde_json::from_slice(&body).map_err(|error| WriteError::Unknown(format!("the answer cannot be read: {error}")))?;
    // A deletion is answered with the object or with a Status, a review with no name.
    let is_named = !matches!(write, Write::Delete { .. }) && !address.name.is_empty();
    if let Some(why) = is_named.then(|| address.mismatch(&object)).flatten() {
        return Err(WriteError::Unknown(why));
    }
    Ok(Written { object, warnings: warnings(&head.headers) })
}

fn request(address: &Address, write: &Write, dry_run: bool) -> Result<Request<Body>, Box<dyn Error + Send + Sync>> {
    let (method, path, kind, body) = match write {
        Write::Create(object) => (Method::POST, address.collection()?, JSON, object.clone()),
        Write::Patch(patch) => (Method::PATCH, address.object()?, "application/json-patch+json", patch.clone()),
        Write::Replace(object) => (Method::PUT, address.object()?, JSON, object.clone()),
        Write::Delete { uid, resource_version } => {
            // Where a deletion has a body, API servers read its options from there alone (kubernetes/apiserver pkg/endpoints/handlers/delete.go):
            // `dryRun` in the query would be overlooked, and the object deleted.
            let dry_run: &[&str] = if dry_run { &["All"] } else { &[] };
            let preconditions = json!({"uid": uid, "resourceVersion": resource_version});
            let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions, "dryRun": dry_run});
            (Method::DELETE, address.object()?, JSON, options)
        }
    };
    let path = match (&method, dry_run) {
        (&Method::DELETE, _) => path,
        (_, false) => path.with("fieldManager", FIELD_MANAGER).with("fieldValidation", "Strict"),
        (_, true) => path.with("fieldManager", FIELD_MANAGER).with("fieldValidation", "Strict").with("dryRun", "All"),
    };
    let request = Request::builder().method(method).uri(path.uri()?);
    let request = request.header(ACCEPT, JSON).header(CONTENT_TYPE, kind).header(USER_AGENT, AGENT);
    Ok(request.body(Body::from(serde_json::to_vec(&body)?))?)
}

/// A request without an answer was not sent only if no connection could be made.
fn unanswered(error: &kube::Error) -> WriteError {
    let mut at: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = at {
        if let Some(http) = cause.downcast_ref::<hyper_util::client::legacy::Error>() {
            return if http.is_connect() { WriteError::NotSent(deepest(error)) } else { WriteError::Unknown(deepest(error)) };
        }
        at = cause.source();
    }
    match Refusal::from_kube(error) {
        refusal @ Refusal::Unauthorized(_) => WriteError::Refused(refusal),
        other => WriteError::Unknown(other.to_string()),
    }
}

fn refused(status: StatusCode, body: &[u8]) -> WriteError {
    let refusal = Refusal::from_response(status, None, body);
    let said = serde_json::from_slice::<Value>(body).ok().filter(|said| said.get("kind").and_then(Value::as_str) == Some("Status"));
    let words = said.as_ref().and_then(|said| said.get("message")?.as_str());
    match status {
        // Somebody between us and the API server, or the API server of itself, gave up waiting: it may go on nevertheless.
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => WriteError::Unknown(refusal.to_string()),
        // Webhooks are asked before anything is stored. Any other failure may be that of a storage that has it nevertheless ("etcdserver: request timed out").
        StatusCode::INTERNAL_SERVER_ERROR if !words.is_some_and(|words| words.contains("webhook")) => {
            WriteError::Unknown(refusal.to_string())
        }
        // An API server says so before it begins; what stands before it may say so after it lost the connection.
        StatusCode::SERVICE_UNAVAILABLE if said.is_none() => WriteError::Unknown(refusal.to_string()),
        StatusCode::CONFLICT => WriteError::Moved(mask(words.unwrap_or("somebody else has changed it")).into_owned()),
        _ => WriteError::Refused(refusal),
    }
}

/// The texts of `Warning: 299 - "text"` headers (RFC 7234 §5.5, as Kubernetes sends them: KEP-1693).
fn warnings(headers: &HeaderMap) -> Vec<String> {
    let texts = headers.get_all(WARNING).iter().filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
    texts.flat_map(quoted).map(|text| mask(&text).into_owned()).collect()
}

/// The quoted strings of a header, without their escapes.
fn quoted(header: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut letters = header.chars();
    while letters.any(|letter| letter == '"') {
        let mut text = String::new();
        while let Some(letter) = letters.next() {
            match letter {
                '"' => break,
                '\\' => text.extend(letters.next()),
                letter => text.push(letter),
            }
        }
        out.push(text);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        let text = str::to_owned;
        Address { group: text("kyverno.io"), version: text("v1"), plural: text("policies"), namespace: text("team-a"), name: text("p:q") }
    }

    #[test]
    fn requests_are_strict_named_and_guarded() {
        let of = |write, dry_run| {
            let request = request(&address(), &write, dry_run).unwrap();
            format!("{} {}", request.method(), request.uri())
        };
        let names = "fieldManager=policydeck&fieldValidation=Strict";
        let root = "/apis/kyverno.io/v1/namespaces/team-a/policies";
        assert_eq!(of(Write::Create(json!({})), true), format!("POST {root}?{names}&dryRun=All"));
        assert_eq!(of(Write::Patch(json!([])), false), format!("PATCH {root}/p%3Aq?{names}"));
        assert_eq!(of(Write::Replace(json!({})), false), format!("PUT {root}/p%3Aq?{names}"));
        let delete = Write::Delete { uid: "u".to_owned(), resource_version: "7".to_owned() };
        assert_eq!(of(delete, true), format!("DELETE {root}/p%3Aq"));
    }

    #[test]
    fn only_an_answer_says_that_nothing_happened() {
        let answer = |code: u16, body: &str| refused(StatusCode::from_u16(code).unwrap(), body.as_bytes());
        let status = |code: u16| answer(code, r#"{"kind":"Status","message":"why"}"#);
        assert_eq!(status(409), WriteError::Moved("why".to_owned()));
        for code in [500, 502, 504] {
            assert!(matches!(status(code), WriteError::Unknown(_)), "{code}");
        }
        for code in [400, 401, 403, 404, 422, 429, 503] {
            assert!(matches!(status(code), WriteError::Refused(_)), "{code}");
        }
        let webhook =
            r#"{"kind":"Status","message":"Internal error occurred: failed calling webhook \"v.kyverno.svc\": connection refused"}"#;
        assert!(matches!(answer(500, webhook), WriteError::Refused(_)), "nothing is stored before webhooks agree");
        let proxy = "upstream connect error or disconnect/reset before headers";
        assert!(matches!(answer(503, proxy), WriteError::Unknown(_)), "a proxy does not know what became of it");
    }

    #[test]
    fn warnings_are_read_whole() {
        let mut headers = HeaderMap::new();
        headers.append(WARNING, r#"299 - "a \"quoted\" word""#.parse().unwrap());
        headers.append(WARNING, r#"299 - "one", 299 - "two""#.parse().unwrap());
        headers.append(WARNING, "299 -".parse().unwrap());
        assert_eq!(warnings(&headers), ["a \"quoted\" word", "one", "two"]);
    }
}
