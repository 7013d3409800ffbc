//! Finding a policy's manifest among the files of a repository.

use super::yaml;
use crate::domain::PolicyId;
use crate::kinds::Kind;
use serde_json::Value;

/// A file that may hold manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoFile {
    /// Its path from the repository's top.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// A repository at one commit, as far as a folder of it matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// The commit.
    pub head: String,
    /// The YAML files of the folder.
    pub files: Vec<RepoFile>,
    /// The paths of everything in the repository.
    pub paths: Vec<String>,
}

impl Tree {
    /// The text of a file that was read.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }

    /// Whether something is at that path.
    pub fn has(&self, path: &str) -> bool {
        self.paths.iter().any(|other| other == path) || self.text(path).is_some()
    }

    /// The chart among whose templates a path lies (Helm: `templates/` and `charts/` beside `Chart.yaml`).
    pub(super) fn chart_of(&self, path: &str) -> Option<&str> {
        let chart = self.paths.iter().find(|chart| {
            let folder = chart.strip_suffix("Chart.yaml").filter(|folder| folder.is_empty() || folder.ends_with('/'));
            let inside = folder.and_then(|folder| path.strip_prefix(folder));
            inside.is_some_and(|inside| inside.starts_with("templates/") || inside.starts_with("charts/"))
        });
        chart.map(String::as_str)
    }
}

/// Where a policy's manifest is.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) path: &'a str,
    pub(super) text: &'a str,
    /// Which of the file's documents that say something.
    pub(super) document: usize,
    pub(super) value: Value,
}

/// Whether a path lies in a folder; the empty one is the whole repository.
pub(super) fn is_in(path: &str, folder: &str) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// The one manifest of a policy; `None` where there is none. The error is a word for machines and a sentence.
pub(super) fn find<'a>(tree: &'a Tree, folder: &str, kind: &Kind, policy: &PolicyId) -> Result<Option<Found<'a>>, (&'static str, String)> {
    let mut found: Option<Found<'a>> = None;
    let files = tree.files.iter().filter(|file| is_in(&file.path, folder) && is_yaml(&file.path));
    // A file that does not have the name in it says nothing of the policy.
    for file in files.filter(|file| file.text.contains(&policy.name)) {
        let template = tree.chart_of(&file.path).is_some() || has_templates(&file.text);
        let documents = match yaml::read(&file.text) {
            Ok(documents) => documents,
            Err(_) if !file.text.contains(kind.kind) => continue,
            Err(_) if template => return Err(("template", of_template(&file.path))),
            Err(why) => {
                return Err((
                    "unreadable",
                    format!("{} may hold the policy, but cannot be read: {why}. Commit the manifest by hand.", file.path),
                ));
            }
        };
        for (at, document) in documents.into_iter().enumerate() {
            if is_list_with(&document.value, kind, policy) {
                return Err(("list", format!("{} has the policy in a List: give it a document of its own, or commit by hand.", file.path)));
            }
            match is_it(&document.value, kind, policy) {
                Is::Another => continue,
                Is::WithoutNamespace => {
                    return Err((
                        "kustomize",
                        format!(
                            "{} has the policy without a namespace, which something else fills in: commit the manifest by hand.",
                            file.path
                        ),
                    ));
                }
                Is::It if template => return Err(("template", of_template(&file.path))),
                Is::It => {}
            }
            if let Some(first) = &found {
                return Err((
                    "several",
                    format!(
                        "The policy is in {} and in {}, so one of them changes the other, or belongs to another cluster: name a narrower `path`, or commit by hand.",
                        first.path, file.path
                    ),
                ));
            }
            found = Some(Found { path: &file.path, text: &file.text, document: at, value: document.value });
        }
    }
    Ok(found)
}

fn of_template(path: &str) -> String {
    format!(
        "{path} is a template of a Helm chart, not a manifest: change the chart or its values, or commit the manifest by hand elsewhere."
    )
}

pub(super) fn is_yaml(path: &str) -> bool {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    matches!(extension.as_deref(), Some("yaml" | "yml"))
}

enum Is {
    It,
    Another,
    /// Of that name and kind, but in no namespace although it needs one.
    WithoutNamespace,
}

fn is_it(object: &Value, kind: &Kind, policy: &PolicyId) -> Is {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str);
    let group = text("/apiVersion").and_then(|version| version.split_once('/')).map(|(group, _)| group);
    if group != Some(kind.group) || text("/kind") != Some(kind.kind) || text("/metadata/name") != Some(&policy.name) {
        return Is::Another;
    }
    match (&policy.namespace, text("/metadata/namespace")) {
        (None, _) => Is::It,
        (Some(_), None) => Is::WithoutNamespace,
        (Some(namespace), Some(there)) if namespace == there => Is::It,
        (Some(_), Some(_)) => Is::Another,
    }
}

/// Whether an object is the policy, by group, kind, namespace and name.
pub(super) fn is_policy(object: &Value, kind: &Kind, policy: &PolicyId) -> bool {
    matches!(is_it(object, kind, policy), Is::It)
}

fn is_list_with(object: &Value, kind: &Kind, policy: &PolicyId) -> bool {
    let is_list = object.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    let items = object.get("items").and_then(Value::as_array).filter(|_| is_list);
    items.into_iter().flatten().any(|item| matches!(is_it(item, kind, policy), Is::It | Is::WithoutNamespace))
}

/// Words that begin an action of a Helm template (Go `text/template` and sprig, as charts use them). Kyverno's own variables, `{{ request.object }}`, look
/// alike and are no templates; charts that ship policies escape them as ``{{`{{`}}``.
const ACTIONS: [&str; 20] = [
    ".Values",
    ".Release",
    ".Chart",
    ".Capabilities",
    ".Files",
    ".Template",
    "include ",
    "template ",
    "define ",
    "block ",
    "if ",
    "else",
    "end",
    "range ",
    "with ",
    "toYaml ",
    "tpl ",
    "/*",
    "`",
    "$",
];

/// Whether a text is to be rendered by Helm before it is YAML.
pub(super) fn has_templates(text: &str) -> bool {
    text.match_indices("{{").any(|(at, _)| {
        let rest = text.get(at + 2..).unwrap_or_default();
        let trimmed = rest.strip_prefix('-').unwrap_or(rest).trim_start();
        ACTIONS.iter().any(|action| {
            trimmed.strip_prefix(action).is_some_and(|after| {
                let whole = !action.ends_with(|c: char| c.is_ascii_alphanumeric());
                whole || !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            })
        })
    })
}
