//! Plans that become commits.

use super::*;
use crate::domain::PolicyId;
use crate::ops::commit::{self, RepoFile, Tree};
use crate::ops::plan::{CommitPlan, Direction, Manner};

const MANIFEST: &str = "# kept\napiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata:\n  name: p\n  annotations: {team: a}\nspec:\n  validationFailureAction: Audit # watch\n  rules:\n  - name: a\n    validate: {message: \"no\", deny: {}}\n";

/// Files, the word of their refusal, and a part of its words.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);

fn tree(files: &[(&str, &str)]) -> Tree {
    let files: Vec<RepoFile> = files.iter().map(|(path, text)| RepoFile { path: (*path).to_owned(), text: (*text).to_owned() }).collect();
    Tree { head: "0123456789abcdef".to_owned(), paths: files.iter().map(|file| file.path.clone()).collect(), files }
}

fn fed() -> World {
    let mut world = World::new("staging", 19);
    world.settings.git = Some(Git {
        repo: "https://jane:secret@example.com/p.git".to_owned(),
        path: "prod".to_owned(),
        branch: "main".to_owned(),
        push: Push::Branch,
    });
    world
}

fn policy() -> PolicyId {
    PolicyId { group: "kyverno.io".to_owned(), kind: "ClusterPolicy".to_owned(), namespace: None, name: "p".to_owned() }
}

fn planned(
    world: &World,
    tree: &Tree,
    live: Option<&Value>,
    make: impl Fn(Place<'_>, Option<&Value>) -> Result<Plan, Refusal>,
) -> Result<Plan, Refusal> {
    let git = world.settings.git.as_ref().unwrap();
    let policy = policy();
    let input = commit::Input { kind: cluster_policy(), policy: &policy, place: world.place(), git, tree, live };
    commit::plan(&input, make)
}

fn promoted(world: &World, tree: &Tree, live: Option<&Value>, source: Option<(&World, &Value)>) -> Result<Plan, Refusal> {
    let source = source.map(|(world, object)| (world.place(), object));
    let gate = json!({"verdict": "open", "conditions": [{"name": "soak", "state": "met", "reason": "7d of 7d"}]});
    planned(world, tree, live, |target, existing| {
        promote::plan(&promote::Input {
            kind: cluster_policy(),
            source: source.map(|(place, object)| promote::Source { place, object }),
            target,
            existing,
            mode: if source.is_some() { StepMode::Audit } else { StepMode::Enforce },
            facts: Facts { gate: &gate, ..facts() },
        })
    })
}

#[test]
fn whether_a_commit_is_pending_is_only_told_where_the_files_tell_it() {
    let patch = "resources: [../base]\npatches:\n- patch: |-\n    kind: ClusterPolicy\n    metadata: {name: p}\n    spec: {validationFailureAction: Enforce}\n";
    let other = patch.replace("name: p}", "name: pp}");
    let says = |files: &[(&str, &str)]| match commit::manifest(&tree(files), "prod", cluster_policy(), &policy()) {
        Ok(found) => Ok(found.map(|(path, _)| path)),
        Err(why) => Err(why.split(':').next().unwrap_or_default().to_owned()),
    };
    assert_eq!(says(&[("prod/a.yaml", MANIFEST)]), Ok(Some("prod/a.yaml".to_owned())));
    assert_eq!(says(&[("base/a.yaml", MANIFEST)]), Ok(None));
    assert_eq!(says(&[("base/a.yaml", MANIFEST), ("prod/kustomization.yaml", &other)]), Ok(None));
    let elsewhere = "prod/kustomization.yaml changes the policy by its `patches`, and its manifest is elsewhere";
    assert_eq!(says(&[("base/a.yaml", MANIFEST), ("prod/kustomization.yaml", patch)]), Err(elsewhere.to_owned()));
    assert!(says(&[("prod/a.yaml", MANIFEST), ("prod/b.yaml", MANIFEST)]).unwrap_err().starts_with("The policy is in prod/a.yaml and in"));
}

fn commit_of(plan: &Plan) -> &CommitPlan {
    match &plan.steps[0].verb {
        Verb::Commit { commit } => commit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_mode_is_one_line_of_a_commit() {
    let world = fed();
    let live = kept_by_flux("Audit");
    let plan = promoted(&world, &tree(&[("prod/a.yaml", MANIFEST), ("dev/a.yaml", MANIFEST)]), Some(&live), None).unwrap();
    hold_to_the_rules(&plan, &world);
    let commit = commit_of(&plan);
    assert_eq!(
        (commit.repo.as_str(), commit.to.as_str(), commit.base.as_str()),
        ("https://…@example.com/p.git", "main", "0123456789abcdef")
    );
    let [file] = commit.files.as_slice() else { panic!("{commit:?}") };
    assert_eq!((file.path.as_str(), file.manner), ("prod/a.yaml", Manner::Edited));
    assert_eq!(file.text, MANIFEST.replace("Audit # watch", "Enforce # watch"), "no stamp either: soaking begins when it is applied");
    assert!(file.diff.contains("-  validationFailureAction: Audit # watch\n+  validationFailureAction: Enforce # watch"), "{}", file.diff);
    let expected = format!(
        "promote ClusterPolicy/p in staging (enforce)\n\nGate: open\n- soak: met, 7d of 7d\n\nTicket: CHG-1\nPolicydeck-By: jane@example.com\nPolicydeck-Plan: {}\n",
        plan.id
    );
    assert_eq!(commit.message, expected);
    assert_eq!(lines(&plan), ["spec.validationFailureAction: Audit → Enforce"]);
    assert_eq!(plan.direction, Direction::Up);
    assert!(!plan.undo.words().contains("secret") && !serde_json::to_string(&plan).unwrap().contains("secret"));
    // Undoing it is a matter of git.
    let undone = undo(&plan, &[world.place()], &[Some(&kept_by_flux("Enforce"))], &facts()).unwrap_err();
    assert_eq!(undone.word, "gitops");
}

#[test]
fn production_takes_proposals() {
    let mut world = fed();
    world.settings.git.as_mut().unwrap().push = Push::Proposal;
    let plan = promoted(&world, &tree(&[("prod/a.yaml", MANIFEST)]), Some(&kept_by_flux("Audit")), None).unwrap();
    assert_eq!(commit_of(&plan).to, format!("policydeck/{}", plan.id));
    assert!(commit_of(&plan).is_proposal());
}

#[test]
fn what_is_new_gets_a_file_and_is_listed() {
    let (dev, world) = (World::new("dev", 19), fed());
    let source =
        marked(live("Audit"), &json!({"app.kubernetes.io/instance": "argo", "team": "a"}), &json!({"meta.helm.sh/release-name": "x"}));
    let kustomization = "resources:\n  - other.yaml # first\nnamespace: x\n";
    let plan = promoted(&world, &tree(&[("prod/kustomization.yaml", kustomization)]), None, Some((&dev, &source))).unwrap();
    hold_to_the_rules(&plan, &world);
    let [file, list] = commit_of(&plan).files.as_slice() else { panic!("{plan:?}") };
    assert_eq!((file.path.as_str(), file.manner, file.was.as_ref()), ("prod/clusterpolicy-p.yaml", Manner::New, None));
    assert_eq!(
        file.text,
        "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata:\n  labels:\n    team: a\n  name: p\nspec:\n  rules:\n  - name: a\n    validate:\n      deny: {}\n      message: \"no\"\n  validationFailureAction: Audit\n",
        "no marks, no defaults, no stamps"
    );
    assert_eq!(list.text, "resources:\n  - other.yaml # first\n  - clusterpolicy-p.yaml\nnamespace: x\n");
    let alone = promoted(&world, &tree(&[]), None, Some((&dev, &source))).unwrap();
    assert_eq!(commit_of(&alone).files.len(), 1);
}

#[test]
fn another_text_of_a_policy_keeps_the_files_own_words() {
    let (dev, world) = (World::new("dev", 19), fed());
    let mut source = live("Audit");
    source["spec"]["rules"][0]["validate"]["message"] = json!("never");
    source["spec"]["admission"] = json!(true);
    let file = MANIFEST.replace("  rules:", "  background: true # said\n  rules:");
    let plan = promoted(&world, &tree(&[("prod/a.yaml", &file)]), Some(&kept_by_flux("Audit")), Some((&dev, &source))).unwrap();
    let text = &commit_of(&plan).files[0].text;
    assert_eq!(*text, file.replace("message: \"no\"", "message: \"never\""), "defaults that stand there stay, others do not come");
}

#[test]
fn down_and_held_through_git() {
    let world = fed();
    let enforced = MANIFEST.replace("Audit #", "Enforce #");
    let live = kept_by_flux("Enforce");
    let down = |place: Place<'_>, existing: Option<&Value>| {
        demote::plan(&demote::Input { kind: cluster_policy(), place, existing: existing.unwrap(), facts: facts() })
    };
    let plan = planned(&world, &tree(&[("prod/a.yaml", &enforced)]), Some(&live), down).unwrap();
    assert_eq!((commit_of(&plan).files[0].text.as_str(), plan.direction), (MANIFEST, Direction::Down));
    // A bad rollout is stopped although the repository says something else by now.
    let ahead = enforced.replace("\"no\"", "\"new\"");
    let plan = planned(&world, &tree(&[("prod/a.yaml", &ahead)]), Some(&live), down).unwrap();
    assert!(plan.warnings.iter().any(|warning| warning.contains("is not what staging shows: revision")), "{:?}", plan.warnings);
    let done = planned(&world, &tree(&[("prod/a.yaml", MANIFEST)]), Some(&live), down).unwrap_err();
    assert_eq!(done.word, "not-applied", "{done}");
    // What is pushed and not applied yet is stopped although the cluster is at audit.
    let audit = kept_by_flux("Audit");
    let plan = planned(&world, &tree(&[("prod/a.yaml", &enforced)]), Some(&audit), down).unwrap();
    hold_to_the_rules(&plan, &world);
    assert_eq!((commit_of(&plan).files[0].text.as_str(), plan.direction), (MANIFEST, Direction::Down));
    assert_eq!(
        (plan.basis[0].clone(), plan.steps[0].before.as_ref().unwrap()["spec"].clone()),
        (crate::ops::plan::Basis::of(&world.place(), plan.basis[0].object.clone(), Some(&audit)), audit["spec"].clone()),
        "what is compared and archived is the cluster's"
    );
    assert!(plan.warnings.iter().any(|warning| warning.contains("enforce here, audit there")), "{:?}", plan.warnings);
    let nothing = planned(&world, &tree(&[("prod/a.yaml", MANIFEST)]), Some(&audit), down).unwrap_err();
    assert_eq!(nothing.word, "unchanged", "{nothing}");
    // So is another revision: it goes back to what the cluster shows.
    let back = |place: Place<'_>, existing: Option<&Value>| {
        rollback::plan(&rollback::Input { kind: cluster_policy(), place, existing, former: &audit, facts: facts() })
    };
    let plan = planned(&world, &tree(&[("prod/a.yaml", &MANIFEST.replace("\"no\"", "\"new\""))]), Some(&audit), back).unwrap();
    // The repository remembers the rollback, as the cluster would.
    let text = &commit_of(&plan).files[0].text;
    assert!(text.contains("policydeck.dev/rolled-back: ") && text.contains("validate: {message: \"no\", deny: {}}"), "{text}");

    let hold = |place: Place<'_>, existing: Option<&Value>| {
        hold::hold(&hold::Input { kind: cluster_policy(), place, existing: existing.unwrap(), reason: "INC-1", facts: facts() })
    };
    let plan = planned(&world, &tree(&[("prod/a.yaml", &enforced)]), Some(&live), hold).unwrap();
    let text = &commit_of(&plan).files[0].text;
    assert!(text.contains("policydeck.dev/hold: INC-1") && text.contains("# kept") && !text.contains("policydeck.dev/plan"), "{text}");
}

#[test]
fn what_stands_in_the_way_is_said_with_the_manifest() {
    let world = fed();
    let kept = kept_by_flux("Audit");
    let patched = "resources: [a.yaml]\npatches:\n- patch: '[]'\n  target: {kind: ClusterPolicy}\n";
    let elsewhere = "resources: [a.yaml]\npatches:\n- patch: '[]'\n  target: {kind: Deployment}\n";
    let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: kyverno.io/v1, kind: ClusterPolicy, metadata: {name: p}}\n";
    let template = MANIFEST.replace("Audit # watch", "\"{{ .Values.action }}\"");
    let (ahead, enforced) = (MANIFEST.replace("\"no\"", "\"new\""), MANIFEST.replace("Audit #", "Enforce #"));
    let table: [Case<'_>; 12] = [
        (&[("dev/a.yaml", MANIFEST)], "not-in-repository", "Flux keeps ClusterPolicy/p in staging, but no manifest of it is in `prod`"),
        (&[("production/a.yaml", MANIFEST)], "not-in-repository", "no manifest"),
        (&[("prod/a.yaml", MANIFEST), ("prod/b.yml", MANIFEST)], "several", "prod/a.yaml and in prod/b.yml"),
        (&[("prod/a.yaml", list)], "list", "in a List"),
        (&[("prod/a.yaml", template.as_str())], "template", "prod/a.yaml is a template"),
        (&[("prod/templates/a.yaml", MANIFEST), ("prod/Chart.yaml", "name: x\n")], "template", "is a template"),
        (&[("prod/a.yaml", "kind: ClusterPolicy\nname: p\n  x: [\n")], "unreadable", "cannot be read"),
        (&[("prod/a.yaml", MANIFEST), ("prod/kustomization.yaml", patched)], "kustomize", "by its `patches`"),
        (&[("prod/a.yaml", MANIFEST), ("prod/kustomization.yaml", "namePrefix: x-\n")], "kustomize", "by its `namePrefix`"),
        (&[("prod/a.yaml", ahead.as_str())], "not-applied", "revision"),
        (&[("prod/a.yaml", enforced.as_str())], "not-applied", "enforce here, audit there"),
        (&[("prod/clusterpolicy-p.yaml", "kind: Other\n")], "not-in-repository", "no manifest"),
    ];
    for (files, word, text) in table {
        let refusal = promoted(&world, &tree(files), Some(&kept), None).unwrap_err();
        assert_eq!(refusal.word, word, "{refusal}");
        assert!(refusal.text.contains(text), "{text}: {refusal}");
        assert!(!refusal.text.contains("secret"), "{refusal}");
        assert_eq!(refusal.commit.is_some(), word != "not-applied", "{refusal}");
        for absent in ["fluxcd", "policydeck.dev"] {
            assert!(refusal.commit.as_ref().is_none_or(|commit| !commit.manifest.contains(absent)), "{refusal:?}");
        }
    }
    let fine = tree(&[("prod/a.yaml", MANIFEST), ("prod/kustomization.yaml", elsewhere)]);
    assert!(promoted(&world, &fine, Some(&kept), None).is_ok(), "patches of something else");
    let variables = MANIFEST.replace("\"no\"", "\"{{ request.object.metadata.name }}\"");
    let mut saying = kept.clone();
    saying["spec"]["rules"][0]["validate"]["message"] = json!("{{ request.object.metadata.name }}");
    assert!(promoted(&world, &tree(&[("prod/a.yaml", &variables)]), Some(&saying), None).is_ok(), "Kyverno's variables are no templates");
    // Nobody's file is overwritten.
    let taken = tree(&[("prod/clusterpolicy-p.yaml", "kind: Other\n")]);
    let refusal = promoted(&world, &taken, None, Some((&World::new("dev", 19), &live("Audit")))).unwrap_err();
    assert_eq!(refusal.word, "in-the-way");
    // What the repository has, and the cluster has not, nobody has watched.
    let ahead = promoted(&world, &tree(&[("prod/a.yaml", MANIFEST)]), None, Some((&World::new("dev", 19), &live("Audit")))).unwrap_err();
    assert_eq!(ahead.word, "not-applied", "{ahead}");
    let mut read_only = fed();
    read_only.settings.read_only = true;
    assert_eq!(promoted(&read_only, &tree(&[("prod/a.yaml", MANIFEST)]), Some(&kept), None).unwrap_err().word, "read-only");
}

#[test]
fn a_branch_may_move_on_but_not_the_file() {
    let plan = promoted(&fed(), &tree(&[("prod/a.yaml", MANIFEST)]), Some(&kept_by_flux("Audit")), None).unwrap();
    let moved = |files: &[(&str, &str)]| commit::moved(commit_of(&plan), &tree(files), "prod", cluster_policy(), &policy());
    assert_eq!(moved(&[("prod/a.yaml", MANIFEST), ("prod/b.yaml", "a: 1\n"), ("x/y.yaml", MANIFEST)]), None);
    let table: [(&[(&str, &str)], &str); 3] = [
        (&[("prod/a.yaml", "a: 1\n")], "prod/a.yaml was changed in the repository since"),
        (&[("prod/b.yaml", MANIFEST)], "prod/a.yaml was removed from the repository since"),
        (&[("prod/a.yaml", MANIFEST), ("prod/b.yaml", MANIFEST)], "The policy is in prod/a.yaml and in prod/b.yaml"),
    ];
    for (files, why) in table {
        let said = moved(files).unwrap();
        assert!(said.contains(why), "{said}");
    }
    assert!(commit::moved(commit_of(&plan), &tree(&[("prod/a.yaml", MANIFEST)]), "dev", cluster_policy(), &policy()).is_some());
}

#[test]
fn a_commit_is_undone_by_one_that_touches_only_its_document() {
    let world = fed();
    let other = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x} # theirs\n";
    let before = format!("{MANIFEST}{other}");
    let audit = kept_by_flux("Audit");
    let done = promoted(&world, &tree(&[("prod/a.yaml", &before)]), Some(&audit), None).unwrap();
    let after = commit_of(&done).files[0].text.clone();
    let git = world.settings.git.as_ref().unwrap();
    let (kind, policy) = (cluster_policy(), policy());
    let reverted = |files: &[(&str, &str)], live: &Value, done: &Plan| {
        let tree = tree(files);
        let input = commit::Input { kind, policy: &policy, place: world.place(), git, tree: &tree, live: Some(live) };
        commit::revert(&input, done, Direction::Down, &facts())
    };
    // Applied or not, and whatever somebody else did to the rest of the file.
    let theirs = after.replace("# theirs", "# changed");
    for live in [&audit, &kept_by_flux("Enforce")] {
        let plan = reverted(&[("prod/a.yaml", &theirs)], live, &done).unwrap();
        hold_to_the_rules(&plan, &world);
        assert_eq!(commit_of(&plan).files[0].text, before.replace("# theirs", "# changed"));
        assert_eq!((plan.undoes.as_deref(), plan.operation.as_str()), (Some(done.id.as_str()), "undo"));
        // And back again.
        let again = reverted(&[("prod/a.yaml", &before)], live, &plan).unwrap();
        assert_eq!(commit_of(&again).files[0].text, after);
    }
    let refused = |text: &str| reverted(&[("prod/a.yaml", text)], &audit, &done).unwrap_err().word;
    assert_eq!(refused(&before), "unchanged");
    assert_eq!(refused(&after.replace("\"no\"", "\"new\"")), "changed");
    assert_eq!(refused(other), "changed", "it was removed meanwhile");
    // A plan of an earlier release has no document: what the cluster had goes back.
    let mut old = done.clone();
    if let Verb::Commit { commit } = &mut old.steps[0].verb {
        commit.document = None;
    }
    let plan = reverted(&[("prod/a.yaml", &after)], &audit, &old).unwrap();
    assert_eq!(commit_of(&plan).files[0].text, before);
}

#[test]
fn a_commit_that_added_a_policy_is_undone_by_one_that_removes_it() {
    let (dev, world) = (World::new("dev", 19), fed());
    let kustomization = "resources:\n  - other.yaml # first\n";
    let done = promoted(&world, &tree(&[("prod/kustomization.yaml", kustomization)]), None, Some((&dev, &live("Audit")))).unwrap();
    let [file, list] = commit_of(&done).files.as_slice() else { panic!("{done:?}") };
    let git = world.settings.git.as_ref().unwrap();
    let (kind, policy) = (cluster_policy(), policy());
    let reverted = |files: &[(&str, &str)], live: Option<&Value>| {
        let tree = tree(files);
        let input = commit::Input { kind, policy: &policy, place: world.place(), git, tree: &tree, live };
        commit::revert(&input, &done, Direction::Down, &facts())
    };
    let there = [(file.path.as_str(), file.text.as_str()), (list.path.as_str(), list.text.as_str())];
    for live in [None, Some(live("Audit"))] {
        let plan = reverted(&there, live.as_ref()).unwrap();
        let [gone, unlisted] = commit_of(&plan).files.as_slice() else { panic!("{plan:?}") };
        assert_eq!((gone.path.as_str(), gone.content(), gone.manner), (file.path.as_str(), None, Manner::Removed));
        assert_eq!(unlisted.content(), Some(kustomization));
        assert!(plan.steps[0].after.is_none() && plan.direction == Direction::Down, "{plan:?}");
        assert_eq!(plan.warnings.iter().any(|warning| warning.contains("prunes")), live.is_some(), "{:?}", plan.warnings);
    }
    let more = list.text.replace("- other.yaml", "- another.yaml");
    assert_eq!(reverted(&[there[0], (list.path.as_str(), more.as_str())], None).unwrap_err().word, "changed");
    assert_eq!(reverted(&[], None).unwrap_err().word, "unchanged");
}

/// What was changed of a commit, how, and a part of the words.
type Change<'a> = (&'a str, Box<dyn Fn(&mut CommitPlan)>, &'a str);

#[test]
fn a_commit_changes_nothing_but_the_policy() {
    let world = fed();
    let other = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n";
    let before = format!("{MANIFEST}{other}");
    let kustomization = "resources:\n- a.yaml\n";
    let files = [("prod/a.yaml", before.as_str()), ("prod/kustomization.yaml", kustomization)];
    let (kind, policy) = (cluster_policy(), policy());
    let plan = promoted(&world, &tree(&files), Some(&kept_by_flux("Audit")), None).unwrap();
    let beyond = |change: &dyn Fn(&mut CommitPlan)| {
        let mut commit = commit_of(&plan).clone();
        change(&mut commit);
        commit::beyond(&commit, &tree(&files), "prod", kind, &policy)
    };
    let also = |path: &str, text: &str| {
        let (path, text) = (path.to_owned(), text.to_owned());
        move |commit: &mut CommitPlan| {
            let mut file = commit.files[0].clone();
            (file.path, file.text) = (path.clone(), text.clone());
            commit.files.push(file);
        }
    };
    assert_eq!(beyond(&|_| ()), None);
    let table: [Change<'_>; 9] = [
        (
            "another document",
            Box::new(|commit| commit.files[0].text = commit.files[0].text.replace("name: x", "name: other")),
            "a change of ConfigMap/other",
        ),
        ("one document less", Box::new(|commit| commit.files[0].text = MANIFEST.to_owned()), "a change of ConfigMap/x"),
        ("one more", Box::new(|commit| commit.files[0].text.push_str("---\nkind: Secret\nmetadata: {name: s}\n")), "a change of Secret/s"),
        (
            "another policy in its place",
            Box::new(|commit| commit.files[0].text = commit.files[0].text.replace("name: p", "name: q")),
            "a change of ClusterPolicy/q",
        ),
        ("twice", Box::new(|commit| commit.files[0].text = format!("{MANIFEST}---\n{}", commit.files[0].text)), "the policy 2 times"),
        ("removed with what else is there", Box::new(|commit| commit.files[0].manner = Manner::Removed), "a change of ConfigMap/x"),
        ("another file", Box::new(also("prod/b.yaml", MANIFEST)), "changes 2 manifests"),
        ("elsewhere", Box::new(|commit| commit.files[0].path = "dev/a.yaml".to_owned()), "not in the folder `prod`"),
        (
            "a kustomization",
            Box::new(also("prod/kustomization.yaml", "resources:\n- a.yaml\n- https://example.com/evil\n")),
            "only its line `a.yaml` may change",
        ),
    ];
    for (what, change, says) in table {
        let why = beyond(&change).unwrap_or_else(|| panic!("{what} passes"));
        assert!(why.contains(says), "{what}: {why}");
    }
    assert_eq!(beyond(&also("prod/kustomization.yaml", "resources: []\n")), None, "its own line");
}

#[test]
fn what_an_archive_was_made_to_say_is_not_committed() {
    let (dev, world) = (World::new("dev", 19), fed());
    let git = world.settings.git.as_ref().unwrap();
    let (kind, policy) = (cluster_policy(), policy());
    let reverted = |files: &[(&str, &str)], done: &Plan| {
        let tree = tree(files);
        let live = live("Audit");
        let input = commit::Input { kind, policy: &policy, place: world.place(), git, tree: &tree, live: Some(&live) };
        commit::revert(&input, done, Direction::Down, &facts()).unwrap_err()
    };
    let forged = |done: &Plan, change: &dyn Fn(&mut CommitPlan)| {
        let mut done = done.clone();
        if let Verb::Commit { commit } = &mut done.steps[0].verb {
            change(commit);
        }
        done
    };
    let done = promoted(&world, &tree(&[("prod/a.yaml", MANIFEST)]), Some(&kept_by_flux("Audit")), None).unwrap();
    let after = commit_of(&done).files[0].text.clone();
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "p"}});
    let refusal = reverted(&[("prod/a.yaml", &after)], &forged(&done, &|commit| commit.document = Some(binding.clone())));
    assert!(refusal.word == "forged" && refusal.text.contains("a change of ClusterRoleBinding/p"), "{refusal}");

    let list = "resources:\n- other.yaml\n";
    let added = promoted(&world, &tree(&[("prod/kustomization.yaml", list)]), None, Some((&dev, &live("Audit")))).unwrap();
    let there: Vec<(&str, &str)> = commit_of(&added).files.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
    let refusal = reverted(&there, &forged(&added, &|commit| commit.files[1].before = Some("resources: []\n".to_owned())));
    assert!(refusal.word == "forged" && refusal.text.contains("only its line"), "{refusal}");
}

#[test]
fn a_commit_writes_values_of_secrets_and_shows_none() {
    let world = fed();
    let generate = json!({"apiVersion": "v1", "kind": "Secret", "name": "s", "data": {"stringData": {"password": "hunter2"}}});
    let policy = "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: p}\nspec:\n  rules:\n  - name: a\n    validate: {message: \"no\", deny: {}}\n  - name: b";
    let text = format!(
        "{policy}\n    generate: {generate}\n  validationFailureAction: Audit\n---\nstringData: {{key: hunter3}}\nkind: Secret\napiVersion: v1\nmetadata: {{name: s}}\n"
    );
    let mut live = kept_by_flux("Audit");
    live["spec"]["rules"].as_array_mut().unwrap().push(json!({"name": "b", "generate": generate}));
    let tree = tree(&[("prod/p.yaml", &text)]);
    let plan = promoted(&world, &tree, Some(&live), None).unwrap();
    let file = &commit_of(&plan).files[0];
    assert!(file.text.contains("hunter2") && file.text.contains("hunter3"), "{}", file.text);
    assert!(file.diff.contains("+  validationFailureAction: Enforce") && !file.diff.contains("hunter"), "{}", file.diff);
    assert_eq!(file.diff.matches("7 bytes").count(), 2, "{}", file.diff);
}
