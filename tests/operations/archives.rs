//! Archives and the journal: what an undo or a rollback uses is what was saved.

use super::{ROAD, World};
use serde_json::{Value, json};
use std::path::PathBuf;

#[test]
fn an_archive_that_is_not_the_one_in_the_journal_is_rejected() {
    let world = World::new(ROAD);
    world.make("dev", "p");
    let done = world.promote(0, &["p", "--yes", "-o", "json"]).document();
    let (plan, folder) = (done["plan"].as_str().unwrap(), PathBuf::from(done["undo"].as_str().unwrap()));
    let archive = folder.to_str().unwrap();
    let entries = world.ends(0, &["audit", "show", "-o", "json"]).items();
    assert!(entries.iter().all(|entry| entry["undoDigest"].as_str().is_some_and(|digest| digest.len() == 64)), "{entries:#?}");
    let undo = ["undo", plan, "-e", "dev", "--dry-run=client"];
    let back = ["rollback", "p", "-e", "dev", "--dry-run=client"];
    let from_archive = ["rollback", "p", "-e", "dev", "--dry-run=client", "--archive", archive];
    for args in [&undo[..], &back, &from_archive] {
        let ran = world.ends(0, args);
        assert!(!ran.err.contains("cannot be verified"), "{ran:?}");
    }

    // Somebody rewrites it. The manifest holds all other hashes, and nothing in the archive holds the manifest's.
    let manifest = folder.join("manifest.json");
    let good = std::fs::read(&manifest).unwrap();
    let mut changed: Value = serde_json::from_slice(&good).unwrap();
    changed["why"] = json!("demote");
    std::fs::write(&manifest, changed.to_string()).unwrap();
    for args in [&undo[..], &from_archive] {
        let ran = world.ends(1, args);
        assert!(ran.err.contains(&format!("cannot trust the archive {archive}: it was changed since it was saved")), "{ran:?}");
    }
    let listed = world.run(&["rollback", "p", "-e", "dev", "--list", "-o", "json"]);
    assert!(listed.status == 4 && listed.err.contains("it was changed since it was saved"), "the list is not complete: {listed:?}");
    assert!(listed.items().iter().all(|item| item["source"] != "archive"), "{listed:?}");
    std::fs::write(&manifest, good).unwrap();
    world.ends(0, &undo);

    // Another machine's archive: its journal is not here.
    std::fs::rename(world.home.path().join("data/policydeck/journal"), world.home.path().join("elsewhere")).unwrap();
    for args in [&back[..], &from_archive] {
        let ran = world.ends(0, args);
        assert!(ran.err.contains(&format!("warning The journal on this machine has no entry for the archive {archive}")), "{ran:?}");
    }
}
