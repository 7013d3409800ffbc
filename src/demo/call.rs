//! One request's parts, and what its headers, parameters and body ask of a write.
//!
//! Not here: paths and shapes (`super::request`).

use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, USER_AGENT};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::access::Caller;
use super::failure::Failure;
use super::patch::PatchKind;
use super::request::{Query, Target};
use super::write::{Options, Validation};

/// The request's parts that handlers look at.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) caller: Caller,
}

impl Call {
    /// A header's text, empty when it is missing.
    pub(crate) fn header(&self, name: &HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// The first word of the user agent, by which the API server calls who names no field manager.
pub(crate) fn agent(call: &Call) -> &str {
    call.header(&USER_AGENT).split('/').next().unwrap_or_default()
}

/// How the write is to be done.
pub(crate) fn options(call: &Call, target: &Target) -> Result<Options, Failure> {
    let validation = match call.query.get("fieldValidation") {
        Some("Strict") => Validation::Strict,
        Some("Ignore") => Validation::Ignore,
        _ => Validation::Warn,
    };
    let named = call.query.get("fieldManager").map(str::to_owned);
    let apply = PatchKind::of(call.header(&CONTENT_TYPE)) == Some(PatchKind::Apply);
    let manager = match named {
        Some(named) => named,
        None if apply => String::new(),
        None if agent(call).is_empty() => "unknown".to_owned(),
        None => agent(call).to_owned(),
    };
    Ok(Options {
        version: target.version.clone(),
        manager,
        dry_run: dry_run(&call.query)?,
        validation,
        force: call.query.is_true("force"),
        status: target.subresource.is_some(),
        admitted: false,
        now: Timestamp::now(),
    })
}

fn dry_run(query: &Query) -> Result<bool, Failure> {
    match query.get("dryRun") {
        None => Ok(false),
        Some("All") => Ok(true),
        Some(other) => Err(Failure::bad_request(format!("dryRun: Unsupported value: \"{other}\": supported values: \"All\""))),
    }
}

pub(crate) fn unsupported(content_type: &str) -> Failure {
    Failure::new(
        415,
        "UnsupportedMediaType",
        format!(
            "the body of the request was in an unknown format ({content_type}) - accepted media types include: application/json, application/yaml"
        ),
    )
}

/// JSON or YAML, by content type.
pub(crate) fn parse(call: &Call, body: &[u8]) -> Result<Value, Failure> {
    let content_type = call.header(&CONTENT_TYPE);
    if content_type.contains("protobuf") || content_type.contains("cbor") {
        return Err(unsupported(content_type));
    }
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok(value);
    }
    if !content_type.contains("yaml") {
        return Err(Failure::bad_request("couldn't get version/kind; json parse error"));
    }
    let text = std::str::from_utf8(body).map_err(|_| Failure::bad_request("the body is not UTF-8"))?;
    serde_saphyr::from_str(text).map_err(|error| Failure::bad_request(format!("error converting YAML to JSON: {error}")))
}

/// Delete options and whether it is only a rehearsal.
pub(crate) fn wishes(call: &Call, body: &[u8]) -> Result<(Value, bool), Failure> {
    let wishes: Value = if body.is_empty() { json!({}) } else { parse(call, body)? };
    let asked = wishes["dryRun"].as_array().is_some_and(|list| list.iter().any(|item| item == "All"));
    let mut wishes = wishes;
    if let Some(policy) = call.query.get("propagationPolicy") {
        wishes["propagationPolicy"] = Value::from(policy);
    }
    Ok((wishes, asked || dry_run(&call.query)?))
}
