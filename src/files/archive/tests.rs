//! Archives: what goes in comes back, and what was touched or interrupted is refused.

use super::*;
use tempfile::TempDir;

fn policy(name: &str) -> Value {
    json!({
        "apiVersion": "kyverno.io/v1",
        "kind": "ClusterPolicy",
        "metadata": {
            "name": name,
            "uid": "u-1", "resourceVersion": "17", "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z", "selfLink": "/x",
            "annotations": {"n": "no", "kubectl.kubernetes.io/last-applied-configuration": "{\"a\":1}\n"},
            "managedFields": [{"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:spec": {}}}],
        },
        "spec": {"validationFailureAction": "Audit", "rules": [{"name": "1e3", "validate": {"message": "0x10\n---\nlines: \"a\"\n", "pattern": {"?*": "größer"}}}]},
        "status": {"ready": true},
    })
}

fn undo(objects: Vec<Value>) -> UndoArchive {
    UndoArchive {
        created_at: "2026-11-25T23:26:49.5Z".parse().unwrap(),
        environment: "prod/eu".into(),
        server: "https://prod:6443".into(),
        cluster_uid: "c-1".into(),
        kyverno: Some("1.15.2".into()),
        who: Who { user: "ana".into(), kubeconfig_user: Some("admin".into()), host: "lap".into() },
        why: "promote".into(),
        plan: "k3v9".into(),
        objects,
    }
}

fn written(objects: Vec<Value>) -> (TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let path = write_undo(&root.path().join("archives"), &undo(objects), None).unwrap();
    (root, path)
}

#[test]
fn what_goes_in_comes_back_without_what_a_server_fills_in() {
    let (_root, path) = written(vec![policy("a"), policy("n")]);
    assert_eq!(path.file_name().unwrap(), "20261125T232649Z-prod_eu-k3v9");
    let archive = read_archive(&path).unwrap();
    assert_eq!(archive.objects, [archived(&policy("a")), archived(&policy("n"))]);
    assert_eq!(archive.manifest.counts["ClusterPolicy"], 2);
    let metadata = archive.objects[0]["metadata"].as_object().unwrap();
    assert_eq!(metadata.keys().collect::<Vec<_>>(), ["annotations", "name"]);
    assert_eq!(archive.objects[0]["spec"], policy("a")["spec"]);
    let managed: Value = serde_json::from_slice(&fs::read(path.join(MANAGED_FIELDS)).unwrap()).unwrap();
    assert_eq!((&managed[1]["managedFields"], &managed[1]["uid"]), (&policy("n")["metadata"]["managedFields"], &json!("u-1")));
    let manifest: Value = serde_json::from_slice(&fs::read(path.join(MANIFEST)).unwrap()).unwrap();
    for field in [
        "apiVersion",
        "kind",
        "formatVersion",
        "environment",
        "server",
        "clusterUid",
        "kyverno",
        "createdAt",
        "who",
        "why",
        "plan",
        "counts",
        "complete",
    ] {
        assert!(!manifest[field].is_null(), "{field}");
    }
}

#[test]
fn the_plan_stands_beside_what_was_there() {
    let root = tempfile::tempdir().unwrap();
    let path = write_undo(root.path(), &undo(vec![policy("a")]), Some("{}\n")).unwrap();
    assert_eq!(read_archive(&path).unwrap().plan.as_deref(), Some("{}\n"));
    fs::write(path.join(PLAN), "{} \n").unwrap();
    assert_eq!(read_archive(&path).unwrap_err().kind, io::ErrorKind::InvalidData);
    let (_root, path) = written(vec![policy("a")]);
    assert_eq!(read_archive(&path).unwrap().plan, None);
}

#[test]
fn nothing_to_keep_is_an_archive_too() {
    let (_root, path) = written(Vec::new());
    assert_eq!(read_archive(&path).unwrap().objects, Vec::<Value>::new());
}

#[cfg(unix)]
#[test]
fn only_the_owner_reads_it_and_nothing_else_stays() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_root, path) = written(vec![policy("a")]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o700, 0o700));
    for file in [POLICIES, MANAGED_FIELDS, MANIFEST] {
        assert_eq!(mode(&path.join(file)), 0o600, "{file}");
    }
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn the_same_name_twice_replaces_nothing() {
    let (_root, path) = written(vec![policy("a")]);
    let again = write_undo(path.parent().unwrap(), &undo(vec![policy("b")]), None).unwrap();
    assert!(again.to_str().unwrap().ends_with("-k3v9-2"), "{again:?}");
    assert_eq!(read_archive(&path).unwrap().objects[0]["metadata"]["name"], "a");
    assert_eq!(read_archive(&again).unwrap().objects[0]["metadata"]["name"], "b");
}

#[test]
fn any_byte_that_was_touched_is_found() {
    let (_root, path) = written(vec![policy("a")]);
    for file in [POLICIES, MANAGED_FIELDS] {
        let content = fs::read(path.join(file)).unwrap();
        for at in 0..content.len() {
            let mut touched = content.clone();
            touched[at] ^= 1;
            fs::write(path.join(file), &touched).unwrap();
            assert_eq!(read_archive(&path).unwrap_err().kind, io::ErrorKind::InvalidData, "{file} {at}");
        }
        fs::write(path.join(file), content).unwrap();
    }
    assert!(read_archive(&path).is_ok());
    let manifest = fs::read_to_string(path.join(MANIFEST)).unwrap();
    for (from, to, says) in [
        ("\"complete\": true", "\"complete\": false", "not complete"),
        ("\"formatVersion\": 1", "\"formatVersion\": 2", "form 2"),
        ("\"kind\": \"Archive\"", "\"kind\": \"Campaign\"", "Campaign"),
    ] {
        fs::write(path.join(MANIFEST), manifest.replacen(from, to, 1)).unwrap();
        let error = read_archive(&path).unwrap_err();
        assert!(error.what.contains(says) && error.what.contains(MANIFEST), "{error}");
    }
}

/// Files are written one after the other under a hidden name, the manifest last: whatever is missing, it is no archive.
#[test]
fn an_interrupted_archive_is_none() {
    for missing in [MANIFEST, POLICIES, MANAGED_FIELDS] {
        let (_root, path) = written(vec![policy("a")]);
        fs::remove_file(path.join(missing)).unwrap();
        assert_eq!(read_archive(&path).unwrap_err().kind, io::ErrorKind::NotFound, "{missing}");
    }
    let (_root, path) = written(vec![policy("a")]);
    let manifest = fs::read(path.join(MANIFEST)).unwrap();
    for length in 0..manifest.len() - 2 {
        fs::write(path.join(MANIFEST), &manifest[..length]).unwrap();
        assert!(read_archive(&path).is_err(), "{length}");
    }
}

#[test]
fn a_place_that_cannot_be_written_is_told_in_words() {
    let error = write_undo(Path::new("/dev/null/archives"), &undo(vec![policy("a")]), None).unwrap_err();
    assert!(error.what.contains("/dev/null/archives"), "{error}");
}
