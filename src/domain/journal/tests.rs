//! Entries, hashes, and every way in which a sequence of lines can be wrong.

use super::*;
use serde_json::json;

fn record(minute: i64) -> Record {
    let at = Timestamp::from_second(1_795_000_000 + minute * 60).unwrap();
    let who = Who { user: "ana".into(), kubeconfig_user: Some("oidc:ana".into()), host: "lap".into() };
    let mut record = Record::intent(at, who, Verb::Promote);
    record.environment = Some("production".into());
    record.object = Some(PolicyId { group: "kyverno.io".into(), kind: "ClusterPolicy".into(), namespace: None, name: "no-latest".into() });
    record.gate = Some(json!({"verdict": "open", "conditions": [{"name": "soak", "value": 1.1}]}));
    record.reason = Some("größer \u{1b}[2J \u{202e}\u{9b} \"x\"".into());
    record
}

/// Lines of a whole journal over three files, as names and texts.
fn journal() -> (Vec<(&'static str, Vec<String>)>, Head) {
    let mut head = Head::default();
    let mut files = vec![("2026-10.jsonl", 3), ("2026-11.jsonl", 4), ("2026-12.jsonl", 2)]
        .into_iter()
        .map(|(name, count)| (name, Vec::new(), count))
        .collect::<Vec<_>>();
    for (name, lines, count) in &mut files {
        for _ in 0..*count {
            let (entry, line) = seal(record(head.seq.cast_signed()), head.seq + 1, &head.hash).unwrap();
            lines.push(line);
            head.seq = entry.seq;
            head.hash = entry.hash;
            head.files.insert((*name).to_owned(), entry.seq);
        }
    }
    (files.into_iter().map(|(name, lines, _)| (name, lines)).collect(), head)
}

fn check(files: &[(&str, Vec<String>)], head: Option<&Head>) -> Checked {
    let mut check = Check::default();
    for (name, lines) in files {
        check.file(name);
        for (at, line) in lines.iter().enumerate() {
            check.line(at as u64 + 1, line.as_bytes(), true);
        }
    }
    check.finish(head)
}

/// What is wrong, short.
fn flaws(checked: &Checked) -> Vec<String> {
    checked.flaws.iter().map(|flaw| format!("{}:{} {}", flaw.file, flaw.line.unwrap_or_default(), flaw.kind)).collect()
}

#[test]
fn an_entry_comes_back_from_its_line_and_drives_no_terminal() {
    let (entry, line) = seal(record(0), 1, GENESIS).unwrap();
    assert!(line.is_ascii() || line.contains("größer"), "{line}");
    assert!(!line.chars().any(char::is_control) && !line.contains('\u{202e}'), "{line}");
    assert_eq!(serde_json::from_str::<Entry>(&line).unwrap(), entry);
    assert_eq!(unseal(line.as_bytes()).unwrap().hash, entry.hash);
    assert!(line.starts_with("{\"seq\":1,\"at\":\"2026-"), "{line}");
    assert!(line.ends_with(&format!("\"prev\":\"{GENESIS}\",\"hash\":\"{}\"}}", entry.hash)), "{line}");
}

/// What the module says of the hash, counted in another way.
#[test]
fn the_hash_is_what_the_documentation_says() {
    let (entry, line) = seal(record(0), 1, GENESIS).unwrap();
    let body = line.replace(&format!(",\"hash\":\"{}\"", entry.hash), "");
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{GENESIS}{body}").as_bytes());
    let hex = digest.as_ref().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    assert_eq!(entry.hash, hex);
}

#[test]
fn an_outcome_names_its_intent() {
    let (entry, _) = seal(record(0), 7, GENESIS).unwrap();
    let outcome = entry.outcome(entry.record.at, StepResult::Failed, Some("conflict".into()));
    assert_eq!((outcome.phase, outcome.intent, outcome.result), (Phase::Outcome, Some(7), Some(StepResult::Failed)));
    assert_eq!((outcome.object, outcome.reason.as_deref(), outcome.gate), (entry.record.object, Some("conflict"), None));
}

#[test]
fn words_and_fields_of_newer_releases_are_read() {
    let mut newer = record(0);
    newer.verb = Verb::Other("quarantine".into());
    let (entry, line) = seal(newer, 1, GENESIS).unwrap();
    assert!(line.contains("\"verb\":\"quarantine\""), "{line}");
    assert_eq!(serde_json::from_str::<Entry>(&line).unwrap(), entry);
    assert_eq!(serde_json::to_value(Verb::Promote).unwrap(), json!("promote"));
    let line = line.replacen("{\"seq\":1", "{\"seq\":1,\"new\":[1.10]", 1);
    assert!(matches!(unseal(line.as_bytes()), Err(Broken::Changed(_))), "the text counts, known or not");
    assert!(serde_json::from_str::<Entry>(&line).is_ok());
}

#[test]
fn a_whole_journal_has_no_flaws() {
    let (files, head) = journal();
    let checked = check(&files, Some(&head));
    assert_eq!((checked.entries, checked.last, checked.flaws), (9, Some((9, head.hash.clone())), vec![]));
    // A process that ended between the line and the head is no flaw.
    let (mut files, head) = journal();
    let (_, line) = seal(record(9), 10, &head.hash).unwrap();
    files[2].1.push(line);
    assert_eq!(check(&files, Some(&head)).flaws, vec![]);
    assert_eq!(check(&[], None), Checked::default());
}

#[test]
fn any_changed_byte_is_found_in_its_line() {
    let (files, head) = journal();
    let line = files[1].1[1].clone();
    for at in 0..line.len() {
        let mut bytes = line.clone().into_bytes();
        bytes[at] ^= 1;
        let mut check = Check::default();
        for (name, lines) in &files {
            check.file(name);
            for (index, one) in lines.iter().enumerate() {
                let text = if *one == line { &bytes } else { one.as_bytes() };
                check.line(index as u64 + 1, text, true);
            }
        }
        let found = flaws(&check.finish(Some(&head)));
        assert_eq!(found.first().map(String::as_str), Some("2026-11.jsonl:2 changed"), "{at}: {found:?}");
    }
}

#[test]
fn a_line_with_a_new_hash_is_found_by_the_next_one_or_the_head() {
    let (mut files, head) = journal();
    let before = link(files[1].1[0].as_bytes()).unwrap().hash;
    files[1].1[1] = seal(record(99), 5, &before).unwrap().1;
    assert_eq!(flaws(&check(&files, Some(&head))), ["2026-11.jsonl:2 changed"]);
    let (mut files, head) = journal();
    let before = link(files[2].1[0].as_bytes()).unwrap().hash;
    files[2].1[1] = seal(record(99), 9, &before).unwrap().1;
    assert_eq!(flaws(&check(&files, Some(&head))), ["2026-12.jsonl:2 changed"]);
}

#[test]
fn removed_lines_are_found_where_they_were() {
    for (file, from, to, found) in [
        (0, 0, 1, "2026-10.jsonl:1 removed"),
        (1, 1, 2, "2026-11.jsonl:2 removed"),
        (1, 1, 3, "2026-11.jsonl:2 removed"),
        (0, 2, 3, "2026-10.jsonl:0 truncated"),
        (2, 1, 2, "2026-12.jsonl:0 truncated"),
        (2, 0, 2, "2026-12.jsonl:0 truncated"),
    ] {
        let (mut files, head) = journal();
        files[file].1.drain(from..to);
        assert_eq!(flaws(&check(&files, Some(&head))), [found], "{file} {from}");
    }
    let (mut files, head) = journal();
    files[1].1.remove(1);
    let means = &check(&files, Some(&head)).flaws[0].means;
    assert_eq!(means, "entry 5 was removed before this line");
}

#[test]
fn missing_files_are_named() {
    for missing in 0..3 {
        let (mut files, head) = journal();
        let name = files.remove(missing).0;
        assert_eq!(flaws(&check(&files, Some(&head))), [format!("{name}:0 missing-file")]);
    }
    let (files, head) = journal();
    let found = flaws(&check(&[], Some(&head)));
    assert_eq!(found.len(), files.len(), "{found:?}");
    // Without the head, the place is all that can be told.
    let (mut files, _) = journal();
    files.remove(1);
    assert_eq!(flaws(&check(&files, None)), ["2026-12.jsonl:1 removed", "head.json:0 no-head"]);
}

#[test]
fn swapped_and_repeated_lines_are_found() {
    let (mut files, head) = journal();
    files[1].1.swap(1, 2);
    assert_eq!(flaws(&check(&files, Some(&head))), ["2026-11.jsonl:3 swapped"]);
    let (mut files, head) = journal();
    let line = files[1].1[0].clone();
    files[1].1.insert(2, line);
    assert_eq!(flaws(&check(&files, Some(&head))), ["2026-11.jsonl:3 swapped"]);
}

#[test]
fn a_line_that_is_not_whole_is_told_apart() {
    let (files, head) = journal();
    let mut check = Check::default();
    for (name, lines) in &files {
        check.file(name);
        for (at, line) in lines.iter().enumerate() {
            check.line(at as u64 + 1, line.as_bytes(), true);
        }
    }
    check.line(3, b"{\"seq\":10,", false);
    assert_eq!(flaws(&check.finish(Some(&head))), ["2026-12.jsonl:3 not-whole"]);
}

#[test]
fn who_is_one_string() {
    let who = |user: &str, seen: Option<&str>| Who { user: user.into(), kubeconfig_user: seen.map(Into::into), host: String::new() };
    assert_eq!(who("ana", Some("admin")).to_string(), "ana as admin");
    assert_eq!(who("ana", Some("ana")).to_string(), "ana");
    assert_eq!(who("", None).to_string(), "?");
}
