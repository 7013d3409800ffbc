//! The entries of a kubeconfig, one by one: one that is not valid stops only the contexts that use it.
//!
//! What lives here: reading a file that cannot be read whole. What does not: which files, and how they are merged ([`super::kubeconfig`]).

use super::address::shown;
use crate::files::read_text;
use crate::settings::loose_documents;
use kube::config::{Kubeconfig, KubeconfigError};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// A kubeconfig without the entries that are not valid, and why these are not, by section and name.
pub(super) struct Entries {
    pub(super) config: Kubeconfig,
    pub(super) invalid: BTreeMap<(&'static str, String), String>,
}

impl Entries {
    /// Both as one; the first that says something wins.
    pub(super) fn merge(self, next: Self) -> Result<Self, KubeconfigError> {
        let mut invalid = next.invalid;
        invalid.extend(self.invalid);
        Ok(Self { config: self.config.merge(next.config)?, invalid })
    }
}

/// Fields that name a file relative to the kubeconfig, by section.
const FILES: [(&str, &[&str]); 2] =
    [("clusters", &["certificate-authority"]), ("users", &["client-certificate", "client-key", "tokenFile"])];

/// Reads a file entry by entry; `None` where it is no kubeconfig at all.
pub(super) fn one_by_one(path: &Path) -> Option<Entries> {
    let mut reader = Reader { path, invalid: BTreeMap::new() };
    let mut config = Kubeconfig::default();
    for document in loose_documents(&read_text(path).ok()?)?.into_iter().filter(|document| !document.is_null()) {
        let document = document.as_object()?;
        let next = Kubeconfig {
            clusters: reader.section(document, "clusters", "cluster")?,
            auth_infos: reader.section(document, "users", "user")?,
            contexts: reader.section(document, "contexts", "context")?,
            current_context: document.get("current-context").and_then(Value::as_str).map(str::to_owned),
            ..Kubeconfig::default()
        };
        config = config.merge(next).ok()?;
    }
    Some(Entries { config, invalid: reader.invalid })
}

struct Reader<'a> {
    path: &'a Path,
    invalid: BTreeMap<(&'static str, String), String>,
}

impl Reader<'_> {
    /// The valid entries of a section, whose own fields are under `body`. An entry without a name cannot be used.
    fn section<T: DeserializeOwned>(&mut self, document: &Map<String, Value>, section: &'static str, body: &str) -> Option<Vec<T>> {
        let mut valid = Vec::new();
        let entries = match document.get(section) {
            None | Some(Value::Null) => &Vec::new(),
            Some(entries) => entries.as_array()?,
        };
        for entry in entries {
            let Some(name) = entry.get("name").and_then(Value::as_str) else { continue };
            if let Ok(read) = serde_json::from_value(self.absolute(entry, section, body)) {
                valid.push(read);
            } else {
                let field = invalid_field::<T>(entry, body).map(|field| format!(" ({})", shown(&field))).unwrap_or_default();
                let why = format!("{}: the entry \"{}\" of {section} is not valid{field}", self.path.display(), shown(name));
                self.invalid.entry((section, name.to_owned())).or_insert(why);
            }
        }
        Some(valid)
    }

    /// The entry with whole paths, as kube makes them (config/file_config.rs, `read_from`).
    fn absolute(&self, entry: &Value, section: &str, body: &str) -> Value {
        let mut entry = entry.clone();
        let Some(folder) = self.path.parent() else { return entry };
        let Some(fields) = entry.get_mut(body) else { return entry };
        let make = |value: Option<&mut Value>| {
            if let Some(Value::String(file)) = value
                && let Some(whole) = folder.join(&*file).to_str()
            {
                whole.clone_into(file);
            }
        };
        for name in FILES.iter().filter(|(of, _)| *of == section).flat_map(|(_, names)| *names) {
            make(fields.get_mut(*name));
        }
        make(fields.pointer_mut("/exec/command").filter(|command| command.as_str().is_some_and(|command| command.contains('/'))));
        entry
    }
}

/// The field because of which an entry is not valid, where one alone is the reason.
fn invalid_field<T: DeserializeOwned>(entry: &Value, body: &str) -> Option<String> {
    let fields = entry.get(body)?.as_object()?;
    let alone = |name: &str, value: &Value| {
        // A context needs a cluster.
        let mut fields = json!({"cluster": ""});
        fields[name] = value.clone();
        json!({"name": "", body: fields})
    };
    fields.iter().find(|(name, value)| serde_json::from_value::<T>(alone(name, value)).is_err()).map(|(name, _)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_is_not_valid_is_named_and_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let text = "clusters:\n- {name: c, cluster: {server: 'https://x', certificate-authority: ca.crt}}\n- {name: d, cluster: {server: [s3cret]}}\n\
                    users:\n- {name: u, user: {exec: {command: ./login, args: [a]}, tokenFile: /t}}\n- {name: v, user: {token: {s3cret: 1}}}\n- 7\n- {user: {}}\n\
                    contexts:\n- {name: a, context: {cluster: c, user: u}}\n- {name: b, context: {user: u}}\n- {name: 5, context: {cluster: 6}}\n\
                    current-context: a\n---\ncontexts:\n- {name: z, context: {cluster: c}}\n";
        std::fs::write(&path, text).unwrap();
        let read = one_by_one(&path).unwrap();
        let whole = |name: &str| Some(folder.path().join(name).display().to_string());
        assert_eq!(read.config.clusters.len(), 1);
        assert_eq!(read.config.clusters[0].cluster.as_ref().unwrap().certificate_authority, whole("ca.crt"));
        let user = read.config.auth_infos[0].auth_info.clone().unwrap();
        assert_eq!((user.exec.unwrap().command, user.token_file.as_deref()), (whole("./login"), Some("/t")));
        assert_eq!(read.config.contexts.iter().map(|context| context.name.as_str()).collect::<Vec<_>>(), ["a", "5", "z"]);
        assert_eq!(read.config.current_context.as_deref(), Some("a"));
        let said: Vec<&str> = read.invalid.values().map(|why| why.split(": ").nth(1).unwrap()).collect();
        assert_eq!(
            said,
            [
                "the entry \"d\" of clusters is not valid (server)",
                "the entry \"b\" of contexts is not valid",
                "the entry \"v\" of users is not valid (token)"
            ]
        );
        for text in ["users: 7", "- a", "contexts: [", "7"] {
            std::fs::write(&path, text).unwrap();
            assert!(one_by_one(&path).is_none(), "{text}");
        }
    }
}
