//! Claims in reports and events: which object makes them, who wrote it, and whether anything verifies that.
//!
//! What lives here: the words for them. What does not: reading objects (`kinds`), which claims count (`fleet`), what a gate makes of them (`gate`, `ops::gate`).

use super::clean;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The kinds of objects that hold evidence, as kubectl has them; those in the namespaces of others are marked.
const KINDS: [(&str, bool); 5] =
    [("policyreport", true), ("clusterpolicyreport", false), ("report", true), ("clusterreport", false), ("event", true)];

/// A report or an event, as `--disregard` takes it: `policyreport/NAMESPACE/NAME`, `clusterpolicyreport/NAME`, `event/NAMESPACE/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct EvidenceRef {
    kind: String,
    /// Empty for an object of the cluster.
    namespace: String,
    name: String,
}

impl EvidenceRef {
    /// Of an object of a kind, as manifests write it.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self { kind: kind.to_lowercase(), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// As kubectl takes it: `policyreport NAME -n NAMESPACE`.
    pub fn for_kubectl(&self) -> String {
        let place = if self.namespace.is_empty() { String::new() } else { format!(" -n {}", self.namespace) };
        clean(&format!("{} {}{place}", self.kind, self.name)).into_owned()
    }
}

impl fmt::Display for EvidenceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{}/{}", self.kind, self.name),
            namespace => write!(f, "{}/{namespace}/{}", self.kind, self.name),
        }
    }
}

impl FromStr for EvidenceRef {
    type Err = String;

    /// Reads both forms in which gates name them: `event/default/NAME` and, in one argument, `event NAME -n default`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no report or event; use policyreport/NAMESPACE/NAME, clusterpolicyreport/NAME, report/NAMESPACE/NAME, \
                 clusterreport/NAME or event/NAMESPACE/NAME"
            )
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let (kind, namespace, name) = match words[..] {
            [one] => match one.split('/').collect::<Vec<_>>()[..] {
                [kind, namespace, name] => (kind, namespace, name),
                [kind, name] => (kind, "", name),
                _ => return Err(wrong()),
            },
            [kind, name, "-n", namespace] => (kind, namespace, name),
            [kind, name] => (kind, "", name),
            _ => return Err(wrong()),
        };
        let kind = kind.to_lowercase();
        let known = KINDS.into_iter().find(|(known, _)| *known == kind || kind.strip_suffix('s') == Some(known)).ok_or_else(wrong)?;
        let fits = !name.is_empty() && known.1 != namespace.is_empty() && !format!("{namespace}{name}").contains('/');
        if fits { Ok(Self::new(known.0, namespace, name)) } else { Err(wrong()) }
    }
}

impl Serialize for EvidenceRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EvidenceRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Who wrote an event, as the event itself shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventSource {
    /// The event.
    pub object: EvidenceRef,
    /// The component that it names as its reporter; empty if none. Any writer can name any component.
    pub component: String,
    /// The field managers of its `managedFields`, joined by commas; `None` where it has none.
    pub by: Option<String>,
    /// It names Kyverno's component, and all of its field managers are Kyverno's admission controller.
    pub verified: bool,
    /// The digest of what it says, apart from identity and versions; empty where it is verified.
    pub content: String,
}

/// Why nothing verifies a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unverified {
    /// A report speaks for something that is not in its namespace.
    Foreign,
    /// An event of a blocked request was not written by Kyverno's admission controller, as far as it shows.
    Event,
}

impl Unverified {
    /// The word used in JSON as the source of a proof.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Event => "event",
        }
    }

    /// What such a claim counts.
    pub fn counts(self, count: u64) -> &'static str {
        match (self, count) {
            (Self::Foreign, 1) => "result",
            (Self::Foreign, _) => "results",
            (Self::Event, 1) => "request",
            (Self::Event, _) => "requests",
        }
    }
}

/// What one object says of one policy and nothing verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The object.
    pub object: EvidenceRef,
    /// Why nothing verifies it.
    pub why: Unverified,
    /// The component that it names; empty if none.
    pub component: String,
    /// Its field managers, where they are known.
    pub by: Option<String>,
    /// When it is of, or evaluated last.
    pub at: Option<Timestamp>,
    /// Results or requests.
    pub count: u64,
    /// The digest of what it says.
    pub content: String,
}

/// A claim that an operator wants left out of a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disregard {
    /// The object that makes it.
    pub object: EvidenceRef,
    /// The content for which it was decided; `None` where it is being decided now, for whatever the object says.
    pub content: Option<String>,
    /// Who decides.
    pub by: String,
    /// Why.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_in_both_forms_in_which_they_are_shown() {
        for (text, expected) in [
            ("policyreport/shop/web", Some("policyreport/shop/web")),
            ("policyreport web -n shop", Some("policyreport/shop/web")),
            ("PolicyReports/shop/web", Some("policyreport/shop/web")),
            ("clusterpolicyreport/web", Some("clusterpolicyreport/web")),
            ("clusterreport web", Some("clusterreport/web")),
            ("event/default/p.18c2", Some("event/default/p.18c2")),
            ("event/p.18c2", None),
            ("clusterpolicyreport/shop/web", None),
            ("policyreport/shop/", None),
            ("policyreport/shop/web/more", None),
            ("pod/shop/web", None),
            ("policyreport web -n a/b", None),
            ("", None),
        ] {
            let read = text.parse::<EvidenceRef>().ok();
            assert_eq!(read.as_ref().map(ToString::to_string).as_deref(), expected, "{text}");
            let Some(read) = read else { continue };
            assert_eq!(read.for_kubectl().parse(), Ok(read.clone()), "{text}");
            assert_eq!(read.to_string().parse(), Ok(read), "{text}");
        }
    }
}
