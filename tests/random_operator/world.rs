//! Clusters, and who does things behind everybody's back.

use crate::client::ask;
use crate::dice::Dice;
use crate::eyes::Eyes;
use crate::objects::{Place, text, written};
use crate::repository::Repository;
use policydeck::demo::{Demo, DemoOptions, Pace, Scenario, Witness};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const ENVIRONMENTS: [&str; 4] = ["dev", "qac", "staging", "production"];

/// The road: gates that numbers leave open, so that what is tried is what comes after them.
const ROAD: &str = r#"
[gates]
max_violations = 100000
max_blocked = 100000

[[environments]]
name = "dev"
context = "dev"
steps = [{ mode = "audit" }, { mode = "enforce" }]

[[environments]]
name = "qac"
context = "qac"
steps = [{ mode = "audit" }, { mode = "enforce" }]

[[environments]]
name = "staging"
context = "staging"
steps = [{ mode = "audit" }, { mode = "enforce" }]
GIT
[[environments]]
name = "production"
context = "production"
tier = "production"
steps = [{ mode = "audit" }, { mode = "enforce" }]
"#;

/// Kinds that operations can be about, by group and plural.
const KINDS: [(&str, &str); 12] = [
    ("kyverno.io", "clusterpolicies"),
    ("kyverno.io", "policies"),
    ("kyverno.io", "cleanuppolicies"),
    ("kyverno.io", "clustercleanuppolicies"),
    ("policies.kyverno.io", "validatingpolicies"),
    ("policies.kyverno.io", "namespacedvalidatingpolicies"),
    ("policies.kyverno.io", "imagevalidatingpolicies"),
    ("policies.kyverno.io", "mutatingpolicies"),
    ("policies.kyverno.io", "generatingpolicies"),
    ("policies.kyverno.io", "deletingpolicies"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
];

/// Four clusters, as they were at first.
pub(crate) struct World {
    pub(crate) demo: Demo,
    pub(crate) eyes: Arc<Eyes>,
    pub(crate) home: tempfile::TempDir,
    /// What staging is fed from, in some worlds.
    pub(crate) repository: Option<Repository>,
    first: BTreeMap<Place, Value>,
    /// By environment, group and plural: the path of the collection.
    paths: BTreeMap<(String, String), String>,
    pub(crate) people: Vec<crate::person::Person>,
    pub(crate) runs: u64,
}

impl World {
    /// With a road that goes through git in staging, or without.
    pub(crate) fn new(through_git: bool) -> Self {
        // Nothing but what people do happens while they do it.
        let hour = Duration::from_secs(3600);
        let pace = Pace { reports: hour, ready: Duration::from_millis(5), scan: hour };
        let demo = Demo::start(DemoOptions { scenario: Scenario::none(), pace, ..DemoOptions::default() }).unwrap();
        let eyes = Arc::new(Eyes::default());
        let witness: Arc<dyn Witness> = Arc::<Eyes>::clone(&eyes);
        assert!(demo.witnessed_by(&witness));
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("kubeconfig"), demo.kubeconfig()).unwrap();
        let mut world =
            Self { demo, eyes, home, repository: None, first: BTreeMap::new(), paths: BTreeMap::new(), people: Vec::new(), runs: 0 };
        world.look_around();
        let in_staging = world.first.iter().filter(|(place, _)| place.environment == "staging" && place.plural.ends_with("policies"));
        let in_staging: Vec<Value> = in_staging.map(|(_, object)| object.clone()).collect();
        world.repository = through_git.then(|| Repository::new(world.home.path(), &in_staging));
        let git = world.repository.as_ref().map(|repository| {
            format!("git = {{ repo = \"{}\", path = \"staging\", branch = \"main\", push = \"branch\" }}\n", repository.folder().display())
        });
        std::fs::write(world.home.path().join("config.toml"), ROAD.replace("GIT\n", &git.unwrap_or_default())).unwrap();
        for name in ["ana", "ben"] {
            world.people.push(crate::person::Person::new(name, &world));
        }
        world
    }

    pub(crate) fn config(&self) -> String {
        std::fs::read_to_string(self.home.path().join("config.toml")).unwrap()
    }

    fn look_around(&mut self) {
        for environment in ENVIRONMENTS {
            for (group, plural) in KINDS {
                let found = ask(&self.demo, environment).send("GET", &format!("/apis/{group}"), &[], "");
                if found.code != 200 {
                    continue;
                }
                let served = found.json();
                for version in served["versions"].as_array().unwrap() {
                    let path = format!("/apis/{group}/{}/{plural}", version["version"].as_str().unwrap());
                    let listed = ask(&self.demo, environment).send("GET", &path, &[], "");
                    if listed.code != 200 {
                        continue;
                    }
                    for item in listed.json()["items"].as_array().unwrap() {
                        let mut item = item.clone();
                        item["kind"] = Value::from(kind_of(&listed_kind(plural)));
                        item["apiVersion"] = Value::from(path.trim_start_matches("/apis/").trim_end_matches(plural).trim_end_matches('/'));
                        self.first.insert(Place::of(environment, plural, &item), written(&item));
                    }
                    self.paths.insert((environment.to_owned(), plural.to_owned()), path);
                    break;
                }
            }
        }
        assert!(self.first.len() > 40, "{} policies", self.first.len());
    }

    fn collection(&self, place: &Place) -> String {
        let path = &self.paths[&(place.environment.clone(), place.plural.clone())];
        if place.namespace.is_empty() {
            return path.clone();
        }
        let (version, plural) = path.rsplit_once('/').unwrap();
        format!("{version}/namespaces/{}/{plural}", place.namespace)
    }

    pub(crate) fn read(&self, place: &Place) -> Option<Value> {
        self.paths.get(&(place.environment.clone(), place.plural.clone()))?;
        let answer = ask(&self.demo, &place.environment).send("GET", &format!("{}/{}", self.collection(place), place.name), &[], "");
        (answer.code == 200).then(|| answer.json())
    }

    /// Writes as somebody else would, whatever is there; whether it was taken.
    fn put(&self, place: &Place, object: Option<&Value>) -> bool {
        let (live, one) = (self.read(place), format!("{}/{}", self.collection(place), place.name));
        let server = ask(&self.demo, &place.environment);
        let (code, _) = match (object, live) {
            (None, None) => return true,
            (None, Some(_)) => server.write("DELETE", &one, "application/json", &json!({})),
            (Some(object), None) => server.post(&self.collection(place), object),
            (Some(object), Some(live)) => {
                let mut object = object.clone();
                object["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
                object["apiVersion"] = live["apiVersion"].clone();
                server.write("PUT", &one, "application/json", &object)
            }
        };
        code < 300
    }

    /// Everything that was changed since is put back.
    pub(crate) fn reset(&self, start: usize) {
        let mut touched: Vec<Place> = Vec::new();
        for change in self.eyes.since(start) {
            let object = change.after.as_ref().or(change.before.as_ref()).unwrap();
            let place = Place::of(&change.environment, &change.plural, object);
            if self.paths.contains_key(&(place.environment.clone(), place.plural.clone())) && !touched.contains(&place) {
                touched.push(place);
            }
        }
        if let Some(repository) = &self.repository {
            repository.reset();
        }
        for place in touched {
            // Controllers write to it as well.
            assert!((0..10).any(|_| self.put(&place, self.first.get(&place))), "{place} cannot be put back");
        }
    }

    /// The GitOps tool applies what was pushed. What it did.
    pub(crate) fn sync(&self) -> String {
        let Some(repository) = self.repository.as_ref().filter(|repository| repository.is_ahead()) else {
            return "there is nothing to sync".to_owned();
        };
        let mut applied = Vec::new();
        for (place, object) in repository.says() {
            let live = self.read(&place);
            if live.is_none_or(|live| !crate::objects::holds(&written(&live)["spec"], &object["spec"])) {
                applied.push(format!("{place}: {}", self.put(&place, Some(&object))));
            }
        }
        format!("the tool applies {applied:?}")
    }

    /// Any policy, or one that the text names.
    pub(crate) fn some_policy(&self, about: Option<&str>, dice: &mut Dice) -> Place {
        let named: Vec<&Place> = self
            .first
            .keys()
            .filter(|place| about.is_none_or(|about| about.contains(&place.name)) && place.plural.ends_with("policies"))
            .collect();
        let all: Vec<&Place> = self.first.keys().filter(|place| place.plural.ends_with("policies")).collect();
        let mut place = (*dice.of(if named.is_empty() { &all } else { &named })).clone();
        if dice.one_in(6) {
            (*dice.of(&ENVIRONMENTS)).clone_into(&mut place.environment);
        }
        place
    }

    /// Somebody else changes a policy, takes it away, or makes it anew. What they did.
    pub(crate) fn behind_the_back(&self, about: Option<&str>, dice: &mut Dice) -> String {
        let place = self.some_policy(about, dice);
        if !self.paths.contains_key(&(place.environment.clone(), place.plural.clone())) {
            return format!("nothing happens to {place}");
        }
        let what = dice.below(7);
        let Some(live) = self.read(&place) else {
            let from = self.first.iter().find(|(other, _)| other.name == place.name && other.plural == place.plural);
            let taken = from.is_some_and(|(_, object)| self.put(&place, Some(object)));
            return format!("somebody creates {place}: {taken}");
        };
        let mut next = written(&live);
        let done = match what {
            0 => return format!("somebody deletes {place}: {}", self.put(&place, None)),
            1 => {
                let taken = self.put(&place, None) && self.put(&place, Some(&next));
                return format!("somebody deletes {place} and creates it again: {taken}");
            }
            2 | 3 => {
                let to = if text(&next, "/spec/validationFailureAction") == "Enforce" { "Audit" } else { "Enforce" };
                if next["spec"].get("validationActions").is_some() {
                    next["spec"]["validationActions"] =
                        json!(if next["spec"]["validationActions"] == json!(["Deny"]) { ["Audit"] } else { ["Deny"] });
                } else {
                    next["spec"]["validationFailureAction"] = json!(to);
                }
                "another action"
            }
            4 => {
                let message = format!("changed {}", dice.below(1000));
                if next.pointer("/spec/rules/0/validate/message").is_some() {
                    next["spec"]["rules"][0]["validate"]["message"] = json!(message);
                }
                "another message"
            }
            5 => {
                next["metadata"]["annotations"]["example.com/note"] = json!(dice.below(1000).to_string());
                "an annotation"
            }
            _ => {
                next["spec"]["background"] = json!(next["spec"]["background"] == json!(false));
                "another background"
            }
        };
        format!("somebody gives {place} {done}: {}", self.put(&place, Some(&next)))
    }
}

fn listed_kind(plural: &str) -> String {
    plural.strip_suffix("ies").map_or_else(|| plural.trim_end_matches('s').to_owned(), |stem| format!("{stem}y"))
}

fn kind_of(singular: &str) -> &'static str {
    match singular {
        "clusterpolicy" => "ClusterPolicy",
        "policy" => "Policy",
        "cleanuppolicy" => "CleanupPolicy",
        "clustercleanuppolicy" => "ClusterCleanupPolicy",
        "validatingpolicy" => "ValidatingPolicy",
        "namespacedvalidatingpolicy" => "NamespacedValidatingPolicy",
        "imagevalidatingpolicy" => "ImageValidatingPolicy",
        "mutatingpolicy" => "MutatingPolicy",
        "generatingpolicy" => "GeneratingPolicy",
        "deletingpolicy" => "DeletingPolicy",
        "validatingwebhookconfiguration" => "ValidatingWebhookConfiguration",
        _ => "MutatingWebhookConfiguration",
    }
}
