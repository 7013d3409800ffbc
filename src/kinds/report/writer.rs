//! Who wrote what a report says, as far as the API server tells.
//!
//! What lives here: the field manager that owns `results`. A field manager is what a client calls itself: it tells honest writers apart, and proves nothing.

use super::Text;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// How Kyverno's programs call themselves when they write: the name of the program (kyverno/kyverno `cmd/`; client-go takes it for the user agent, and
/// the API server for the field manager). Up to 1.8 one program did everything.
const KYVERNO: [&str; 5] = ["reports-controller", "background-controller", "admission-controller", "cleanup-controller", "kyverno"];

/// Who wrote the results of a report last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Writer<'a> {
    /// The object does not tell.
    #[default]
    Unknown,
    /// One of Kyverno's programs, by its own words.
    Kyverno,
    /// Another client: its field manager.
    Other(Cow<'a, str>),
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    manager: Text<'a>,
    #[serde(default, rename = "fieldsV1")]
    fields: OwnsResults,
}

/// Whether `results` is among the fields. It is one field (an atomic list), owned as a whole.
#[derive(Default)]
struct OwnsResults(bool);

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = OwnsResults;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fields")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(OwnsResults(false))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut owns = false;
        while let Some((Text(field), IgnoredAny)) = map.next_entry::<Text<'de>, IgnoredAny>()? {
            owns |= field == "f:results";
        }
        Ok(OwnsResults(owns))
    }
}

impl<'de> Deserialize<'de> for OwnsResults {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Fields)
    }
}

/// Reads `metadata.managedFields`.
///
/// # Errors
/// It is no list of objects, which API servers do not write.
pub(super) fn read<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Writer<'a>, D::Error> {
    let entries = Option::<Vec<Entry<'a>>>::deserialize(deserializer)?.unwrap_or_default();
    let mut writer = Writer::Unknown;
    for Entry { manager: Text(manager), .. } in entries.into_iter().filter(|entry| entry.fields.0) {
        // Managers share a field only with the same value.
        if is_kyverno(&manager) {
            return Ok(Writer::Kyverno);
        }
        writer = Writer::Other(manager);
    }
    Ok(writer)
}

/// Whether a field manager is one of Kyverno's programs, by its name; an installation may put its own name before.
fn is_kyverno(manager: &str) -> bool {
    KYVERNO.iter().any(|known| manager.strip_suffix(known).is_some_and(|before| before.is_empty() || before.ends_with('-')))
}

#[cfg(test)]
mod tests {
    use super::super::read_metadata;
    use super::*;
    use serde_json::{Value, json};

    fn writer(managed: &Value) -> Writer<'static> {
        let json = json!({"metadata": {"name": "n", "managedFields": managed}}).to_string();
        match read_metadata(json.as_bytes()).unwrap().writer {
            Writer::Other(name) => Writer::Other(Cow::Owned(name.into_owned())),
            Writer::Kyverno => Writer::Kyverno,
            Writer::Unknown => Writer::Unknown,
        }
    }

    #[test]
    fn results_belong_to_whoever_changed_them_last() {
        let owns = |manager: &str, fields: Value| json!({"manager": manager, "operation": "Update", "fieldsV1": fields});
        let results = || json!({"f:metadata": {"f:labels": {}}, "f:results": {}, "f:summary": {"f:fail": {}}});
        let other = |name: &'static str| Writer::Other(Cow::Borrowed(name));
        let table = [
            (json!([owns("reports-controller", results())]), Writer::Kyverno),
            (json!([owns("kyverno", results())]), Writer::Kyverno),
            (json!([owns("acme-reports-controller", results())]), Writer::Kyverno),
            (json!([owns("notkyverno", results())]), other("notkyverno")),
            (json!([owns("kubectl-edit", results()), owns("reports-controller", json!({"f:scope": {}}))]), other("kubectl-edit")),
            (json!([owns("reports-controller", results()), owns("kubectl-label", json!({"f:metadata": {}}))]), Writer::Kyverno),
            (json!([owns("argocd", results()), owns("reports-controller", results())]), Writer::Kyverno),
            (json!([owns("", results())]), other("")),
            (json!([{"manager": "x"}, {"manager": "y", "fieldsV1": null}, {}]), Writer::Unknown),
            (json!([]), Writer::Unknown),
            (Value::Null, Writer::Unknown),
        ];
        for (managed, expected) in table {
            assert_eq!(writer(&managed), expected, "{managed}");
        }
    }
}
