//! From an HTTP request to its answer.
//!
//! Not here: connections (`super::server`).

use std::convert::Infallible;
use std::fmt;
use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use serde_json::{Value, json};

use super::access::{self, Caller, Secret};
use super::call::{Call, agent, options, parse, unsupported, wishes};
use super::catalog::Resource;
use super::cluster::Cluster;
use super::discovery;
use super::failure::Failure;
use super::patch::PatchKind;
use super::request::{Query, Shape, Target, decode};
use super::select::Selector;
use super::store::Key;
use super::witness::{self, Asked};
use super::write::{self, Written};
use super::{delete, read, scale, shape, watching};

/// The API server's limit for request bodies (3 MiB).
const LARGEST_BODY: usize = 3 << 20;
/// Answers smaller than this are never compressed (apiserver `responsewriters`, `defaultGzipThresholdBytes`).
const GZIP_FROM: usize = 128 * 1024;

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What a handler answers; errors become `Status` objects.
struct Answer {
    code: u16,
    content_type: &'static str,
    body: Bytes,
    warnings: Vec<String>,
    retry_after: Option<u64>,
}

impl Answer {
    fn json(body: Bytes) -> Self {
        Self { code: 200, content_type: "application/json", body, warnings: Vec::new(), retry_after: None }
    }

    fn value(value: &Value) -> Self {
        Self::json(Bytes::from(value.to_string()))
    }

    fn created(mut self, created: bool) -> Self {
        if created {
            self.code = 201;
        }
        self
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        let mut answer = Self::value(&failure.status());
        answer.code = failure.code;
        answer.retry_after = failure.retry_after;
        answer
    }
}

/// There will be no answer: the connection ends.
#[derive(Debug)]
pub(crate) struct Unanswered;

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection ends without an answer")
    }
}

impl std::error::Error for Unanswered {}

/// Answers one request.
pub(crate) async fn answer(cluster: Arc<Cluster>, secret: &Secret, request: Request<Incoming>) -> Result<Response<Body>, Unanswered> {
    let (parts, body) = request.into_parts();
    let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
    if !access::is_here(header(HOST)) {
        let failure = Failure::forbidden("this server is reached as 127.0.0.1 or localhost only".to_owned());
        return Ok(respond(Answer::from(failure), false));
    }
    let path = decode(parts.uri.path());
    let token = header(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    let (caller, path) = match Caller::of(secret, &path, token) {
        Ok((caller, path)) => (caller, path.to_owned()),
        Err(failure) => return Ok(respond(Answer::from(failure), false)),
    };
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let call = Call { method: parts.method, path, query, headers: parts.headers, caller };
    let gzip = call.method == Method::GET && call.header(&ACCEPT_ENCODING).contains("gzip");
    let body = match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            let failure = Failure::new(413, "RequestEntityTooLarge", format!("cannot read the request body: {error}"));
            return Ok(respond(Answer::from(failure), false));
        }
    };
    if let Some(watch) = watch(&cluster, &call) {
        return Ok(watch.unwrap_or_else(|failure| respond(Answer::from(failure), false)));
    }
    if witness::changes(&call.method)
        && let Some(witness) = cluster.witness.get()
        && let Some(asked) = asked(&cluster, &call, &body)
    {
        let fate = witness.asked(&asked);
        // On its own: what was sent is carried out whether its client is still there or not.
        let carried_out = tokio::spawn(async move {
            let (carried_out, answered) = witness::waited(fate).await;
            let answer = carried_out.then(|| dispatch(&cluster, &call, &body).unwrap_or_else(Answer::from));
            answer.filter(|_| answered)
        });
        let answer = carried_out.await.ok().flatten();
        return answer.map(|answer| respond(answer, gzip)).ok_or(Unanswered);
    }
    let answer = dispatch(&cluster, &call, &body).unwrap_or_else(Answer::from);
    Ok(respond(answer, gzip))
}

/// The request as a witness sees it; `None` where it is about no object.
fn asked(cluster: &Cluster, call: &Call, body: &[u8]) -> Option<Asked> {
    let segments: Vec<&str> = call.path.split('/').filter(|part| !part.is_empty()).collect();
    let target = Target::parse(&segments).filter(|target| !target.group.ends_with(".k8s.io") || target.name.is_some())?;
    Some(Asked {
        environment: cluster.profile.name.clone(),
        method: call.method.to_string(),
        manager: call.query.get("fieldManager").unwrap_or(agent(call)).to_owned(),
        // A deletion says it in its body.
        dry_run: wishes(call, body).map_or_else(|_| call.query.get("dryRun").is_some(), |(_, dry_run)| dry_run),
        group: target.group,
        plural: target.plural,
        namespace: target.namespace,
        name: target.name.unwrap_or_default(),
    })
}

fn respond(answer: Answer, gzip: bool) -> Response<Body> {
    let mut builder = Response::builder().status(answer.code).header(CONTENT_TYPE, answer.content_type);
    builder = builder.header("Cache-Control", "no-cache, private");
    for warning in &answer.warnings {
        let text = warning.replace(['"', '\\', '\n'], " ");
        builder = builder.header("Warning", format!("299 - \"{text}\""));
    }
    if let Some(seconds) = answer.retry_after {
        builder = builder.header("Retry-After", seconds.to_string());
    }
    let mut body = answer.body;
    if gzip
        && body.len() > GZIP_FROM
        && let Some(smaller) = compressed(&body)
    {
        body = smaller;
        builder = builder.header("Content-Encoding", "gzip").header("Vary", "Accept-Encoding");
    }
    builder.body(Full::new(body).boxed_unsync()).unwrap_or_else(|_| Response::new(Full::new(Bytes::new()).boxed_unsync()))
}

fn compressed(body: &[u8]) -> Option<Bytes> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// The answer to a watch, or `None` when the request is none.
fn watch(cluster: &Arc<Cluster>, call: &Call) -> Option<Result<Response<Body>, Failure>> {
    if call.method != Method::GET || !call.query.is_true("watch") {
        return None;
    }
    let segments: Vec<&str> = call.path.split('/').filter(|part| !part.is_empty()).collect();
    let target = Target::parse(&segments)?;
    let resource = cluster.catalog.find(&target.group, &target.version, &target.plural)?;
    let shape = Shape::negotiate(call.header(&ACCEPT), &call.query);
    let open = || {
        let name = target.name.as_deref().unwrap_or_default();
        call.caller.demand("watch", &target.group, &target.plural, &target.namespace, name)?;
        let body = watching::stream(cluster, resource, &target, &call.query, shape)?;
        Ok(Response::builder()
            .header(CONTENT_TYPE, "application/json;stream=watch")
            .header("Cache-Control", "no-cache, private")
            .body(body.boxed_unsync())
            .unwrap_or_else(|_| Response::new(Full::new(Bytes::new()).boxed_unsync())))
    };
    Some(open())
}

fn dispatch(cluster: &Arc<Cluster>, call: &Call, body: &Bytes) -> Result<Answer, Failure> {
    let segments: Vec<&str> = call.path.split('/').filter(|part| !part.is_empty()).collect();
    if call.method == Method::POST
        && let Some(review) = review(call, &segments, body)
    {
        return Ok(Answer::value(&review).created(true));
    }
    if call.method == Method::GET
        && let Some(answer) = about_itself(cluster, call, &segments)
    {
        return answer;
    }
    let target = Target::parse(&segments).ok_or_else(Failure::no_such_path)?;
    let resource = cluster.catalog.find(&target.group, &target.version, &target.plural);
    let resource = resource.ok_or_else(Failure::no_such_path)?;
    let scoped = resource.namespaced || target.namespace.is_empty();
    let known = match target.subresource.as_deref() {
        None => true,
        Some("status") => resource.status,
        Some("scale") => resource.scale,
        Some(_) => false,
    };
    if !scoped || !known {
        return Err(Failure::no_such_path());
    }
    on_resource(cluster, call, resource, &target, body)
}

/// Reviews store nothing and are answered from the caller's rules.
fn review(call: &Call, segments: &[&str], body: &[u8]) -> Option<Value> {
    match segments {
        ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"] => Some(call.caller.access_review(body)),
        ["apis", "authorization.k8s.io", "v1", "selfsubjectrulesreviews"] => Some(call.caller.rules_review()),
        ["apis", "authentication.k8s.io", "v1", "selfsubjectreviews"] => Some(call.caller.self_review()),
        _ => None,
    }
}

fn about_itself(cluster: &Cluster, call: &Call, segments: &[&str]) -> Option<Result<Answer, Failure>> {
    let found = |value: Option<Value>| value.map(|value| Answer::value(&value)).ok_or_else(Failure::no_such_path);
    let aggregated = call.header(&ACCEPT).contains("g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    Some(match segments {
        ["healthz" | "livez" | "readyz", ..] => {
            let mut answer = Answer::json(Bytes::from_static(b"ok"));
            answer.content_type = "text/plain; charset=utf-8";
            Ok(answer)
        }
        ["version"] => Ok(Answer::value(&discovery::version(cluster))),
        [root @ ("api" | "apis")] if aggregated => {
            let mut answer = Answer::value(&discovery::aggregated(cluster, *root == "api"));
            answer.content_type = discovery::AGGREGATED;
            Ok(answer)
        }
        ["api"] => Ok(Answer::value(&discovery::core_versions())),
        ["apis"] => Ok(Answer::value(&discovery::groups(cluster))),
        ["api", version] => found(discovery::resources(cluster, "", version)),
        ["apis", group] => found(discovery::group(cluster, group)),
        ["apis", group, version] => found(discovery::resources(cluster, group, version)),
        ["openapi", "v3"] => Ok(Answer::value(&discovery::openapi_index(cluster))),
        ["openapi", "v3", "api", version] => found(discovery::openapi(cluster, "", version)),
        ["openapi", "v3", "apis", group, version] => found(discovery::openapi(cluster, group, version)),
        _ => return None,
    })
}

fn on_resource(cluster: &Cluster, call: &Call, resource: &Resource, target: &Target, body: &[u8]) -> Result<Answer, Failure> {
    let shape = Shape::negotiate(call.header(&ACCEPT), &call.query);
    let name = target.name.as_deref();
    let verb = match (&call.method, name) {
        (&Method::GET, Some(_)) => "get",
        (&Method::GET, None) => "list",
        (&Method::POST, None) => "create",
        (&Method::PUT, Some(_)) => "update",
        (&Method::PATCH, Some(_)) => "patch",
        (&Method::DELETE, Some(_)) => "delete",
        (&Method::DELETE, None) => "deletecollection",
        _ => {
            return Err(Failure::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource"));
        }
    };
    let plural = match &target.subresource {
        Some(sub) => format!("{}/{sub}", target.plural),
        None => target.plural.clone(),
    };
    call.caller.demand(verb, &target.group, &plural, &target.namespace, name.unwrap_or_default())?;
    let written = |written: Written| {
        let bytes = if call.query.get("dryRun").is_some() {
            shape::loose(resource, &target.version, shape, &written.object.value)
        } else {
            shape::object(resource, &target.version, shape, &written.object)
        };
        let mut answer = Answer::json(bytes).created(written.created);
        answer.warnings = written.warnings;
        answer
    };
    if target.subresource.as_deref() == Some("scale") {
        return scaled(cluster, call, resource, target, body);
    }
    match verb {
        "get" => Ok(Answer::json(read::get(cluster, resource, target, shape)?)),
        "list" => Ok(Answer::json(read::list(cluster, resource, target, &call.query, shape)?)),
        "create" => {
            let object = parse(call, body)?;
            let namespace = match target.namespace.as_str() {
                "" if resource.namespaced => super::store::text(&object, "/metadata/namespace").to_owned(),
                other => other.to_owned(),
            };
            write::create(cluster, resource, &namespace, object, &options(call, target)?).map(written)
        }
        "update" => write::update(cluster, resource, &target.key(), parse(call, body)?, &options(call, target)?).map(written),
        "patch" => {
            let content_type = call.header(&CONTENT_TYPE);
            let kind = PatchKind::of(content_type).ok_or_else(|| unsupported(content_type))?;
            write::patch(cluster, resource, &target.key(), kind, &parse(call, body)?, &options(call, target)?).map(written)
        }
        "delete" => delete_one(cluster, call, resource, target, body),
        _ => delete_all(cluster, call, resource, target, body),
    }
}

fn scaled(cluster: &Cluster, call: &Call, resource: &Resource, target: &Target, body: &[u8]) -> Result<Answer, Failure> {
    if call.method == Method::GET {
        return Ok(Answer::value(&scale::read(cluster, resource, &target.key())?));
    }
    let mut options = options(call, target)?;
    options.status = false;
    let kind = PatchKind::of(call.header(&CONTENT_TYPE));
    let body = parse(call, body)?;
    let written = scale::write(cluster, resource, &target.key(), kind, &body, &options)?;
    Ok(Answer::value(&written))
}

fn delete_one(cluster: &Cluster, call: &Call, resource: &Resource, target: &Target, body: &[u8]) -> Result<Answer, Failure> {
    let (wishes, dry_run) = wishes(call, body)?;
    let key = target.key();
    let (object, gone) = delete::delete(cluster, resource, &key, &wishes, dry_run, Some(agent(call)))?;
    if !gone {
        return Ok(Answer::json(shape::object(resource, &target.version, Shape::Whole, &object)));
    }
    Ok(Answer::value(&json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {"name": key.name, "group": resource.group, "kind": resource.plural, "uid": object.uid()},
    })))
}

fn delete_all(cluster: &Cluster, call: &Call, resource: &Resource, target: &Target, body: &[u8]) -> Result<Answer, Failure> {
    let (wishes, dry_run) = wishes(call, body)?;
    let selector = Selector::parse(&call.query, &resource.plural)?;
    let keys: Vec<Key> = {
        let store = cluster.store();
        let rows = store.rows(resource.index).filter(|(key, object)| {
            (target.namespace.is_empty() || key.namespace == target.namespace) && selector.matches(key, &object.value)
        });
        rows.map(|(key, _)| key.clone()).collect()
    };
    let mut gone = Vec::new();
    for key in keys {
        // Somebody else may have been faster; that is what was wanted anyway.
        if let Ok((object, _)) = delete::delete(cluster, resource, &key, &wishes, dry_run, Some(agent(call))) {
            gone.push(object);
        }
    }
    let meta = shape::ListMeta { version: cluster.store().version(), ..shape::ListMeta::default() };
    Ok(Answer::json(shape::list(resource, &target.version, Shape::Whole, &meta, &gone)))
}
