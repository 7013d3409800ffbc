//! Kyverno's webhook configurations for resources, as the API server goes by them.
//!
//! What lives here: reading them. What does not: which policies they carry (`in_force`). The names of the two configurations are the same in
//! all releases (Kyverno `pkg/config/config.go`).

use super::matches::conditions;
use super::{Unreadable, json, selector};
use crate::domain::LabelSelector;
use http::Uri;
use jiff::Timestamp;
use serde_json::Value;

/// The configuration that checks resources.
pub const VALIDATING: &str = "kyverno-resource-validating-webhook-cfg";
/// The configuration that changes resources and verifies images.
pub const MUTATING: &str = "kyverno-resource-mutating-webhook-cfg";

/// A webhook configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookConfiguration {
    /// Its name: [`VALIDATING`] or [`MUTATING`].
    pub name: String,
    /// Its webhooks.
    pub webhooks: Vec<Webhook>,
    /// When it was created: before, no request reached Kyverno through it.
    pub created: Option<Timestamp>,
}

/// One webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its name; tells which kind of policies it serves.
    pub name: String,
    /// The path that is called; names policies, or the failure policy.
    pub path: String,
    /// Requests that are sent.
    pub rules: Vec<WebhookRule>,
    /// Labels of namespaces whose requests are sent.
    pub namespace_selector: LabelSelector,
    /// Labels of objects that are sent.
    pub object_selector: LabelSelector,
    /// Match conditions, as (name, expression).
    pub conditions: Vec<(String, String)>,
    /// `failurePolicy` is `Ignore`.
    pub ignores_failures: bool,
}

/// One entry of `rules`; each part may hold `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookRule {
    /// API groups.
    pub groups: Vec<String>,
    /// Plurals, `plural/subresource`.
    pub resources: Vec<String>,
    /// Operations.
    pub operations: Vec<String>,
}

impl WebhookConfiguration {
    /// Reads a configuration of either kind.
    pub fn read(object: &Value) -> Result<Self, Unreadable> {
        let name = json::text_or_empty(object, &["metadata", "name"]);
        if name.is_empty() {
            return Err(Unreadable { object: "WebhookConfiguration/?".to_owned(), why: "it has no metadata.name".to_owned() });
        }
        let webhooks = json::list(object, &["webhooks"]).iter().map(webhook).collect();
        Ok(Self { name, webhooks, created: json::time(object, &["metadata", "creationTimestamp"]) })
    }
}

fn webhook(value: &Value) -> Webhook {
    let url = json::text(value, &["clientConfig", "url"]).map(|url| url.parse().map_or(String::new(), |url: Uri| url.path().to_owned()));
    let selector = |field: &str| json::get(value, &[field]).map(selector::read).unwrap_or_default();
    Webhook {
        name: json::text_or_empty(value, &["name"]),
        path: url.unwrap_or_else(|| json::text_or_empty(value, &["clientConfig", "service", "path"])),
        rules: json::list(value, &["rules"]).iter().map(rule).collect(),
        namespace_selector: selector("namespaceSelector"),
        object_selector: selector("objectSelector"),
        conditions: conditions(value, &["matchConditions"]),
        ignores_failures: json::text(value, &["failurePolicy"]) == Some("Ignore"),
    }
}

fn rule(value: &Value) -> WebhookRule {
    WebhookRule {
        groups: json::texts(value, &["apiGroups"]),
        resources: json::texts(value, &["resources"]),
        operations: json::texts(value, &["operations"]),
    }
}
