//! A repository that a GitOps tool reads staging from, and the tool.

use crate::objects::{Place, text};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who commits is told by variables: nobody has configured anything.
pub(crate) const WHO: [(&str, &str); 6] = [
    ("GIT_AUTHOR_NAME", "Somebody"),
    ("GIT_AUTHOR_EMAIL", "somebody@example.com"),
    ("GIT_COMMITTER_NAME", "Somebody"),
    ("GIT_COMMITTER_EMAIL", "somebody@example.com"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
];

pub(crate) struct Repository {
    folder: PathBuf,
    first: String,
}

/// What somebody pushed.
#[derive(Debug, Clone)]
pub(crate) struct Pushed {
    pub(crate) plan: String,
    pub(crate) message: String,
    /// Each changed file before and afterwards.
    pub(crate) files: Vec<(Option<Value>, Option<Value>)>,
}

fn read(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

impl Repository {
    /// Of those policies.
    pub(crate) fn new(home: &Path, policies: &[Value]) -> Self {
        let folder = home.join("policies.git");
        std::fs::create_dir_all(&folder).unwrap();
        let mut new = Self { folder, first: String::new() };
        let (work, made) = (home.join("work"), home.join("work/staging"));
        std::fs::create_dir_all(&made).unwrap();
        new.git(&["init", "--quiet", "--bare", "--initial-branch=main"]);
        for policy in policies {
            let name = format!("{}-{}.yaml", text(policy, "/kind").to_lowercase(), text(policy, "/metadata/name"));
            std::fs::write(made.join(name), serde_saphyr::to_string(policy).unwrap()).unwrap();
        }
        let work = format!("--work-tree={}", work.display());
        new.git(&[&work, "add", "--all"]);
        new.git(&[&work, "commit", "--quiet", "--message", "first"]);
        new.git(&["rev-parse", "main"]).trim().clone_into(&mut new.first);
        new
    }

    fn git(&self, args: &[&str]) -> String {
        let mut command = Command::new("git");
        command.arg("--git-dir").arg(&self.folder).args(args).current_dir(self.folder.parent().unwrap().join("work")).envs(WHO);
        let output = command.output().unwrap_or_else(|error| panic!("git: {error}"));
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Back to the first commit.
    pub(crate) fn reset(&self) {
        self.git(&["update-ref", "refs/heads/main", &self.first]);
    }

    /// Whether there is something beyond the first commit.
    pub(crate) fn is_ahead(&self) -> bool {
        self.git(&["rev-parse", "main"]).trim() != self.first
    }

    /// What was pushed, oldest first.
    pub(crate) fn pushed(&self) -> Vec<Pushed> {
        let range = format!("{}..main", self.first);
        let commits = self.git(&["rev-list", "--reverse", &range]);
        let pushed = commits.lines().map(|commit| {
            let message = self.git(&["show", "--no-patch", "--format=%B", commit]);
            let plan = message.lines().find_map(|line| line.strip_prefix("Policydeck-Plan: ")).unwrap_or_default().to_owned();
            let changed = self.git(&["diff-tree", "-r", "--no-commit-id", "--name-status", commit]);
            let files = changed.lines().map(|line| {
                let (status, path) = line.split_once('\t').unwrap();
                let at = |commit: &str| read(&self.git(&["show", &format!("{commit}:{path}")]));
                ((status != "A").then(|| at(&format!("{commit}^"))), (status != "D").then(|| at(commit)))
            });
            Pushed { plan, files: files.collect(), message: message.clone() }
        });
        pushed.collect()
    }

    /// What the branch says of staging now.
    pub(crate) fn says(&self) -> Vec<(Place, Value)> {
        let paths = self.git(&["ls-tree", "-r", "--name-only", "main", "staging/"]);
        let says = paths.lines().map(|path| {
            let object = read(&self.git(&["show", &format!("main:{path}")]));
            (Place::of("staging", &crate::objects::plural(text(&object, "/kind")), &object), object)
        });
        says.collect()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}
