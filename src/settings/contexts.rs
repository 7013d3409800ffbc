//! The contexts of a kubeconfig: just enough to choose from. Logging in with them is `cluster`'s business.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// One context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Its name.
    pub name: String,
    /// URL of its API server, where the cluster it names exists.
    pub server: Option<String>,
    /// Its default namespace.
    pub namespace: Option<String>,
}

/// The contexts of one or more kubeconfigs, merged as kubectl merges them: the first file that says something wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contexts {
    /// All contexts in the order of the files.
    pub all: Vec<Context>,
    /// `current-context`.
    pub current: Option<String>,
}

impl Contexts {
    /// Reads the texts of kubeconfigs, each with its name for messages. The error is a sentence that names the file.
    pub fn parse<'t>(texts: impl IntoIterator<Item = (&'t str, &'t str)>) -> Result<Self, String> {
        let mut merged = Self::default();
        for (file, text) in texts {
            if text.trim().is_empty() {
                continue;
            }
            // The parser's own message may quote the text around the error, and that may be a token.
            let read: File = match serde_saphyr::from_str(text) {
                Ok(read) => read,
                Err(error) => one_by_one(text).ok_or_else(|| match error.location() {
                    Some(at) => {
                        format!("{file}:{}:{}: not a kubeconfig: no valid YAML, or a field of another type", at.line(), at.column())
                    }
                    None => format!("{file}: not a kubeconfig"),
                })?,
            };
            merged.add(&read);
        }
        Ok(merged)
    }

    fn add(&mut self, file: &File) {
        for entry in file.contexts.iter().flatten() {
            if self.all.iter().any(|known| known.name == entry.name) {
                continue;
            }
            let Some(context) = &entry.context else { continue };
            let mut clusters = file.clusters.iter().flatten();
            let cluster = clusters.find(|cluster| Some(&cluster.name) == context.cluster.as_ref());
            self.all.push(Context {
                name: entry.name.clone(),
                server: cluster.and_then(|cluster| cluster.cluster.as_ref()?.server.clone()),
                namespace: context.namespace.clone(),
            });
        }
        if self.current.is_none() {
            self.current = file.current.clone().filter(|name| !name.is_empty());
        }
    }
}

/// The documents of a kubeconfig with numbers as texts, for reading its entries one by one; `None` where it is no YAML.
pub fn loose_documents(text: &str) -> Option<Vec<Value>> {
    fn number_to_text(value: &mut Value) {
        match value {
            Value::Number(number) => *value = Value::String(number.to_string()),
            Value::Array(all) => all.iter_mut().for_each(number_to_text),
            Value::Object(all) => all.values_mut().for_each(number_to_text),
            _ => {}
        }
    }
    let mut documents: Vec<Value> = serde_saphyr::from_multiple(text).ok()?;
    documents.iter_mut().for_each(number_to_text);
    Some(documents)
}

/// What of a file can be read, entry by entry; `None` where it is no kubeconfig.
fn one_by_one(text: &str) -> Option<File> {
    fn entries<T: DeserializeOwned>(document: &Value, section: &str) -> Option<Vec<T>> {
        match document.get(section) {
            None | Some(Value::Null) => Some(Vec::new()),
            Some(all) => Some(all.as_array()?.iter().filter_map(|entry| serde_json::from_value(entry.clone()).ok()).collect()),
        }
    }
    let mut file = File { contexts: None, clusters: None, current: None };
    for document in loose_documents(text)?.into_iter().filter(|document| !document.is_null()) {
        document.as_object()?;
        file.contexts.get_or_insert_default().extend(entries(&document, "contexts")?);
        file.clusters.get_or_insert_default().extend(entries(&document, "clusters")?);
        file.current = file.current.or_else(|| document.get("current-context").and_then(Value::as_str).map(str::to_owned));
    }
    Some(file)
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    contexts: Option<Vec<ContextEntry>>,
    #[serde(default)]
    clusters: Option<Vec<ClusterEntry>>,
    #[serde(default, rename = "current-context")]
    current: Option<String>,
}

#[derive(Deserialize)]
struct ContextEntry {
    name: String,
    context: Option<ContextBody>,
}

#[derive(Deserialize)]
struct ContextBody {
    cluster: Option<String>,
    namespace: Option<String>,
}

#[derive(Deserialize)]
struct ClusterEntry {
    name: String,
    cluster: Option<ClusterBody>,
}

#[derive(Deserialize)]
struct ClusterBody {
    server: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "apiVersion: v1\nkind: Config\ncontexts:\n- {name: dev, context: {cluster: c, user: u, namespace: web}}\nclusters:\n- {name: c, cluster: {server: 'https://one:6443'}}\nusers: null\n";
    const TWO: &str =
        "contexts:\n- {name: dev, context: {cluster: other}}\n- {name: prod, context: {cluster: gone}}\ncurrent-context: prod\n";

    #[test]
    fn files_are_merged_and_the_first_wins() {
        let merged = Contexts::parse([("one", ONE), ("two", TWO)]).unwrap();
        assert_eq!(merged.current.as_deref(), Some("prod"));
        let names: Vec<_> = merged.all.iter().map(|c| (c.name.as_str(), c.server.as_deref())).collect();
        assert_eq!(names, vec![("dev", Some("https://one:6443")), ("prod", None)]);
    }

    #[test]
    fn odd_but_valid_kubeconfigs_are_read() {
        let text = "contexts:\n- {name: 123, context: {cluster: 7}}\n- {name: empty}\nclusters:\n- {name: 7, cluster: {server: s}}\n- {name: x}\ncurrent-context: \"\"\n";
        let odd = Contexts::parse([("odd", text), ("empty", "\n"), ("null", "contexts: null\n")]).unwrap();
        assert_eq!(odd.all, [Context { name: "123".into(), server: Some("s".into()), namespace: None }]);
        assert_eq!(odd.current, None);
        let json =
            r#"{"apiVersion":"v1","kind":"Config","contexts":[{"name":"a","context":{"cluster":"c","user":"u"}}],"current-context":"a"}"#;
        assert_eq!(Contexts::parse([("json", json)]).unwrap().current.as_deref(), Some("a"));
    }

    #[test]
    fn an_entry_that_cannot_be_read_costs_only_itself() {
        let text = "contexts:\n- {name: [1], context: {cluster: c}}\n- 7\n- {name: 5, context: {cluster: c, namespace: {}}}\n- {name: 12, context: {cluster: c}}\n\
                    clusters:\n- {name: c, cluster: {server: 's'}}\n- {cluster: 7}\ncurrent-context: a\n";
        let read = Contexts::parse([("k", text)]).unwrap();
        assert_eq!(read.all, [Context { name: "12".into(), server: Some("s".into()), namespace: None }]);
        assert_eq!(read.current.as_deref(), Some("a"));
        assert!(Contexts::parse([("k", "contexts: {a: b}")]).unwrap_err().starts_with("k:1:11: not a kubeconfig"));
    }

    #[test]
    fn what_is_no_kubeconfig_is_said_without_its_text() {
        let error = Contexts::parse([("/k", "contexts: hunter2\n")]).unwrap_err();
        assert_eq!(error, "/k:1:11: not a kubeconfig: no valid YAML, or a field of another type");
        assert!(!Contexts::parse([("/k", "users: [token: hunter2")]).unwrap_err().contains("hunter2"));
    }
}
