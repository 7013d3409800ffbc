//! The journal under everything that happens to files: interruptions, several writers, clocks, full disks, other people's hands.

mod generated;

use super::*;
use crate::domain::journal::{FlawKind, Mark, News, Page, Who};
use crate::files::atomic::make_folder;
use std::collections::BTreeSet;
use std::time::Duration;
use tempfile::TempDir;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn record(time: &str, plan: &str) -> Record {
    let mut record = Record::intent(at(time), Who { user: "ana".into(), kubeconfig_user: None, host: "lap".into() }, Verb::Promote);
    record.plan = Some(plan.to_owned());
    record.environment = Some("production".into());
    record
}

fn fresh() -> (TempDir, Journal) {
    let root = tempfile::tempdir().unwrap();
    let journal = Journal::open(&root.path().join("journal"));
    (root, journal)
}

/// Five entries in November.
fn five() -> (TempDir, Journal) {
    let (root, mut journal) = fresh();
    for day in 1..=5 {
        journal.append(record(&format!("2026-11-0{day}T12:00:00Z"), &format!("p{day}"))).unwrap();
    }
    (root, journal)
}

fn text(journal: &Journal, file: &str) -> String {
    fs::read_to_string(journal.folder().join(file)).unwrap()
}

fn plans(journal: &Journal) -> Vec<String> {
    let entries = journal.read(..).unwrap().map(Result::unwrap);
    entries.map(|entry| entry.record.plan.unwrap_or_else(|| entry.record.verb.to_string())).collect()
}

fn flaws(journal: &Journal) -> Vec<String> {
    let flaws = journal.verify().unwrap().flaws;
    flaws.iter().map(|flaw| format!("{}:{} {}", flaw.file, flaw.line.unwrap_or_default(), flaw.kind)).collect()
}

const NOVEMBER: &str = "2026-11.jsonl";

#[test]
fn a_month_that_is_gone_is_missed() {
    let (_root, mut journal) = fresh();
    for month in ["09", "10", "11"] {
        journal.append(record(&format!("2026-{month}-01T12:00:00Z"), month)).unwrap();
    }
    assert_eq!(journal.missing().unwrap(), Vec::<String>::new());
    fs::remove_file(journal.folder().join("2026-10.jsonl")).unwrap();
    assert_eq!(journal.missing().unwrap(), ["2026-10.jsonl is gone"]);
    fs::remove_file(journal.folder().join("head.json")).unwrap();
    assert_eq!(journal.missing().unwrap(), ["head.json is gone"]);
}

#[test]
fn nothing_is_made_before_somebody_appends() {
    let (root, journal) = fresh();
    assert_eq!(journal.read(..).unwrap().count(), 0);
    assert_eq!(journal.verify().unwrap(), crate::domain::journal::Checked::default());
    assert!(journal.open_intents().unwrap().is_empty());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn entries_are_numbered_chained_and_private() {
    let (_root, mut journal) = fresh();
    let one = journal.append(record("2026-11-25T23:00:00Z", "p1")).unwrap();
    let two = journal.append(one.outcome(at("2026-11-25T23:00:01Z"), StepResult::Done, None)).unwrap();
    assert_eq!((one.seq, two.seq, &two.prev), (1, 2, &one.hash));
    assert_eq!(journal.read(..).unwrap().map(Result::unwrap).collect::<Vec<_>>(), [one, two]);
    assert_eq!(flaws(&journal), Vec::<String>::new());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(journal.folder()), 0o700);
        for file in [NOVEMBER, HEAD_FILE, "lock"] {
            assert_eq!(mode(&journal.folder().join(file)), 0o600, "{file}");
        }
    }
}

#[test]
fn the_chain_goes_on_over_months_and_years() {
    let (_root, mut journal) = fresh();
    for (time, plan) in [
        ("2026-11-30T23:59:59.999Z", "a"),
        ("2026-12-01T00:00:00Z", "b"),
        ("2027-02-01T00:00:00+02:00", "still January"),
        ("2027-02-01T00:00:00Z", "d"),
    ] {
        journal.append(record(time, plan)).unwrap();
    }
    assert_eq!(files(journal.folder()).unwrap(), [NOVEMBER, "2026-12.jsonl", "2027-01.jsonl", "2027-02.jsonl"]);
    assert_eq!(plans(&journal), ["a", "b", "still January", "d"]);
    assert_eq!(flaws(&journal), Vec::<String>::new());
    let since = journal.read(at("2026-12-01T00:00:00Z")..at("2027-02-01T00:00:00Z")).unwrap();
    assert_eq!(since.map(|entry| entry.unwrap().seq).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn a_clock_that_goes_back_changes_no_order() {
    let (_root, mut journal) = fresh();
    for (time, plan) in
        [("2026-11-30T23:59:00Z", "a"), ("2026-12-01T00:01:00Z", "b"), ("2026-11-30T23:58:00Z", "c"), ("1970-01-01T00:00:00Z", "d")]
    {
        journal.append(record(time, plan)).unwrap();
    }
    assert_eq!(plans(&journal), ["a", "b", "c", "d"]);
    assert_eq!(files(journal.folder()).unwrap(), [NOVEMBER, "2026-12.jsonl"]);
    assert_eq!(flaws(&journal), Vec::<String>::new());
    let november = journal.read(at("2026-11-30T00:00:00Z")..at("2026-12-01T00:00:00Z")).unwrap();
    assert_eq!(november.map(|entry| entry.unwrap().seq).collect::<Vec<_>>(), [1, 3]);
}

/// Whatever byte a write was interrupted at: what was whole is there, what was not is kept and noted, and the chain holds.
#[test]
fn an_interruption_at_any_byte_is_recovered() {
    let (_root, journal) = five();
    let whole = text(&journal, NOVEMBER);
    let (four, head) = {
        let (_root, mut journal) = fresh();
        for day in 1..=4 {
            journal.append(record(&format!("2026-11-0{day}T12:00:00Z"), &format!("p{day}"))).unwrap();
        }
        (text(&journal, NOVEMBER), text(&journal, HEAD_FILE))
    };
    assert!(whole.starts_with(&four));
    for length in four.len()..=whole.len() {
        let (_root, mut journal) = fresh();
        make_folder(journal.folder()).unwrap();
        fs::write(journal.folder().join(NOVEMBER), &whole[..length]).unwrap();
        // The head is written after the line, so it still says four.
        fs::write(journal.folder().join(HEAD_FILE), &head).unwrap();
        let torn = length > four.len() && length < whole.len();
        assert_eq!(flaws(&journal).len(), usize::from(torn), "{length}");
        assert_eq!(journal.read(..).unwrap().filter(Result::is_err).count(), usize::from(torn), "{length}");

        journal.append(record("2026-11-06T12:00:00Z", "p6")).unwrap();
        let expected: &[&str] = match length {
            _ if length == whole.len() => &["p1", "p2", "p3", "p4", "p5", "p6"],
            _ if torn => &["p1", "p2", "p3", "p4", "recover", "p6"],
            _ => &["p1", "p2", "p3", "p4", "p6"],
        };
        assert_eq!(plans(&journal), expected, "{length}");
        assert_eq!(flaws(&journal), Vec::<String>::new(), "{length}");
        let kept: Vec<_> =
            fs::read_dir(journal.folder().join("recovered")).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(kept.len(), usize::from(torn), "{length}");
        if let [path] = kept.as_slice() {
            assert_eq!(fs::read_to_string(path).unwrap(), &whole[four.len()..length]);
            let entry = journal.read(..).unwrap().map(Result::unwrap).nth(4).unwrap();
            assert!(entry.record.reason.unwrap().ends_with(path.file_name().unwrap().to_str().unwrap()));
        }
    }
}

/// The same for the very first line, and for a file of a new month.
#[test]
fn an_interrupted_first_line_is_recovered() {
    let (_root, mut journal) = fresh();
    journal.append(record("2026-11-01T12:00:00Z", "p1")).unwrap();
    fs::write(journal.folder().join("2026-12.jsonl"), "{\"seq\":2,").unwrap();
    journal.append(record("2026-12-01T12:00:00Z", "p2")).unwrap();
    assert_eq!(plans(&journal), ["p1", "recover", "p2"]);
    assert_eq!(flaws(&journal), Vec::<String>::new());

    let (_root, mut journal) = fresh();
    make_folder(journal.folder()).unwrap();
    write_head(journal.folder(), &Head::default()).unwrap();
    fs::write(journal.folder().join(NOVEMBER), "\0\0\0").unwrap();
    journal.append(record("2026-11-01T12:00:00Z", "p1")).unwrap();
    assert_eq!(plans(&journal), ["recover", "p1"]);
    assert_eq!(flaws(&journal), Vec::<String>::new());
}

/// Between the copy and the cut, and between the cut and the note.
#[test]
fn an_interrupted_recovery_is_done_again() {
    let (_root, mut journal) = five();
    let path = journal.folder().join(NOVEMBER);
    let torn = text(&journal, NOVEMBER) + "{\"seq\":6";
    fs::write(&path, &torn).unwrap();
    let recovered = journal.folder().join("recovered");
    make_folder(&recovered).unwrap();
    fs::write(recovered.join("2026-11-at-1.part"), "{\"seq\":6").unwrap();
    journal.append(record("2026-11-06T12:00:00Z", "p6")).unwrap();
    assert_eq!(plans(&journal)[5..], ["recover", "recover", "p6"]);
    assert!(fs::read_dir(recovered).unwrap().all(|entry| entry.unwrap().path().extension().unwrap() == "line"));
    journal.append(record("2026-11-06T12:00:00Z", "p7")).unwrap();
    assert_eq!(plans(&journal).len(), 9, "noted once");
}

#[test]
fn long_lines_are_found_from_the_end() {
    let (_root, mut journal) = fresh();
    for length in [10, 16_000, 16_384, 40_000, 10] {
        let mut long = record("2026-11-01T12:00:00Z", "p");
        long.reason = Some("x".repeat(length));
        journal.append(long).unwrap();
    }
    assert_eq!(flaws(&journal), Vec::<String>::new());
    assert_eq!(journal.read(..).unwrap().count(), 5);
}

#[test]
fn several_writers_make_one_chain() {
    let (root, _) = fresh();
    let folder = root.path().join("journal");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let folder = &folder;
            scope.spawn(move || {
                let mut journal = Journal::open(folder);
                for index in 0..10 {
                    journal.append(record("2026-11-01T12:00:00Z", &format!("{writer}-{index}"))).unwrap();
                }
            });
        }
    });
    let journal = Journal::open(&folder);
    assert_eq!((journal.verify().unwrap().entries, flaws(&journal)), (40, Vec::new()));
    assert_eq!(plans(&journal).into_iter().collect::<BTreeSet<_>>().len(), 40);
}

#[test]
fn a_lock_of_somebody_who_ended_does_not_stay() {
    let (_root, mut journal) = five();
    let held = lock::exclusive(journal.folder()).unwrap();
    let release = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        drop(held);
    });
    journal.append(record("2026-11-06T12:00:00Z", "p6")).unwrap();
    release.join().unwrap();
}

#[test]
fn a_full_disk_leaves_the_file_as_it_was() {
    let (_root, mut journal) = five();
    let before = text(&journal, NOVEMBER);
    for writer in [(|_: &mut File, _: &[u8]| Err(io::ErrorKind::StorageFull.into())) as Writer, |file: &mut File, bytes: &[u8]| {
        // A part of it, then nothing more.
        if bytes.starts_with(b"{") { file.write(&bytes[..20]) } else { Err(io::ErrorKind::StorageFull.into()) }
    }] {
        journal.writer = writer;
        let error = journal.append(record("2026-11-06T12:00:00Z", "p6")).unwrap_err();
        assert_eq!(error.kind, io::ErrorKind::StorageFull);
        assert!(error.what.contains(NOVEMBER) && error.what.contains("cannot write the journal"), "{error}");
        assert_eq!(text(&journal, NOVEMBER), before);
    }
    let mut journal = Journal::open(journal.folder());
    assert_eq!(journal.append(record("2026-11-06T12:00:00Z", "p6")).unwrap().seq, 6);
    assert_eq!(flaws(&journal), Vec::<String>::new());
}

#[test]
fn a_folder_that_cannot_be_written_is_told_in_words() {
    let error = Journal::open(Path::new("/dev/null/journal")).append(record("2026-11-06T12:00:00Z", "p")).unwrap_err();
    assert!(error.what.contains("/dev/null/journal"), "{error}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let (_root, mut journal) = five();
        fs::set_permissions(journal.folder(), fs::Permissions::from_mode(0o500)).unwrap();
        // Whoever may do everything is not stopped by modes.
        if File::create(journal.folder().join("probe")).is_err() {
            fs::remove_file(journal.folder().join("lock")).unwrap_err();
            assert!(journal.append(record("2026-12-06T12:00:00Z", "p")).is_err());
        }
        assert_eq!(journal.read(..).unwrap().count(), 5, "reading needs no right to write");
        fs::set_permissions(journal.folder(), fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn intents_without_an_outcome_are_open() {
    let (_root, mut journal) = fresh();
    let one = journal.append(record("2026-11-30T12:00:00Z", "p1")).unwrap();
    let two = journal.append(record("2026-11-30T12:00:00Z", "p2")).unwrap();
    journal.append(one.outcome(at("2026-12-01T12:00:00Z"), StepResult::Failed, None)).unwrap();
    assert_eq!(journal.open_intents().unwrap(), [two]);
}

#[test]
fn other_peoples_hands_are_found_and_stay_found() {
    // A cut end, however much is appended later.
    let (_root, mut journal) = five();
    let lines = text(&journal, NOVEMBER);
    let four: String = lines.lines().take(4).flat_map(|line| [line, "\n"]).collect();
    fs::write(journal.folder().join(NOVEMBER), &four).unwrap();
    assert_eq!(flaws(&journal), ["2026-11.jsonl:0 truncated"]);
    assert_eq!(journal.append(record("2026-11-06T12:00:00Z", "p6")).unwrap().seq, 7);
    assert_eq!(plans(&journal)[4..], ["recover", "p6"]);
    assert_eq!(flaws(&journal), ["2026-11.jsonl:5 removed"]);
    // A last line written anew.
    let (_root, mut journal) = five();
    let forged = seal(
        record("2026-11-05T12:00:00Z", "forged"),
        5,
        &crate::domain::journal::link(four.lines().last().unwrap().as_bytes()).unwrap().hash,
    );
    fs::write(journal.folder().join(NOVEMBER), four + &forged.unwrap().1 + "\n").unwrap();
    for _ in 0..2 {
        assert_eq!(flaws(&journal), ["2026-11.jsonl:5 changed"]);
        journal.append(record("2026-11-06T12:00:00Z", "p6")).unwrap();
    }
    // The head taken away.
    let (_root, mut journal) = five();
    fs::remove_file(journal.folder().join(HEAD_FILE)).unwrap();
    assert_eq!(flaws(&journal), ["head.json:0 no-head"]);
    journal.append(record("2026-11-06T12:00:00Z", "p6")).unwrap();
    assert_eq!(plans(&journal)[5..], ["recover", "p6"]);
    // Everything taken away but the head.
    let (_root, mut journal) = five();
    fs::remove_file(journal.folder().join(NOVEMBER)).unwrap();
    assert_eq!(journal.verify().unwrap().flaws[0].kind, FlawKind::MissingFile);
    assert_eq!(journal.append(record("2026-12-06T12:00:00Z", "p6")).unwrap().seq, 7);
    assert_eq!(journal.verify().unwrap().flaws[0].kind, FlawKind::MissingFile);
}

#[test]
fn a_changed_line_is_an_error_in_its_place() {
    let (_root, journal) = five();
    let changed = text(&journal, NOVEMBER).replace("p3", "p9");
    fs::write(journal.folder().join(NOVEMBER), changed).unwrap();
    let read: Vec<_> = journal.read(..).unwrap().collect();
    assert_eq!(read.iter().filter(|entry| entry.is_ok()).count(), 4);
    assert!(read[2].as_ref().unwrap_err().what.contains("2026-11.jsonl:3: "), "{:?}", read[2]);
    assert_eq!(flaws(&journal), ["2026-11.jsonl:3 changed"]);
}

#[test]
fn only_months_are_files_of_the_journal() {
    for (name, ours) in
        [("2026-11.jsonl", true), ("2026-11.json", false), ("2026-1.jsonl", false), ("copy-11.jsonl", false), ("head.json", false)]
    {
        assert_eq!(is_ours(name), ours, "{name}");
    }
}

/// Three months of them, of very different lengths.
fn months() -> (TempDir, Journal) {
    let (root, mut journal) = fresh();
    for n in 0..120_usize {
        let mut entry = record(&format!("2026-{:02}-0{}T12:00:00Z", 9 + n / 40, 1 + n % 9), &format!("p{n}"));
        entry.reason = Some("x".repeat([10, 3_000, 70_000][usize::from(n % 10 == 0) + usize::from(n % 50 == 0)]));
        journal.append(entry).unwrap();
    }
    (root, journal)
}

/// All pages, the newest first.
fn pages(journal: &Journal, bytes: u64) -> Vec<Page> {
    let mut pages = vec![journal.newest(bytes).unwrap()];
    while let Some(before) = pages.last().unwrap().before.clone() {
        pages.push(journal.older(&before, bytes).unwrap());
    }
    pages
}

#[test]
fn pages_are_the_same_entries_from_the_end() {
    let (_root, journal) = months();
    let forward: Vec<u64> = journal.read(..).unwrap().map(|entry| entry.unwrap().seq).collect();
    for bytes in [1, 5_000, 64 * 1024, 200_000, u64::MAX / 2] {
        let pages = pages(&journal, bytes);
        let mut backward: Vec<u64> = pages.iter().flat_map(|page| &page.found).map(|found| found.entry.seq).collect();
        backward.reverse();
        assert_eq!(backward, forward, "{bytes}");
        assert!(pages.iter().flat_map(|page| &page.found).all(|found| found.intact), "{bytes}");
        assert!(pages.iter().all(|page| page.unreadable == 0 && page.found.len() <= 120), "{bytes}");
        assert_eq!(pages.len() == 1, bytes > 1_000_000, "{bytes}");
    }
    let found = &pages(&journal, 1)[1].found[0];
    let whole = journal.whole(&found.spot).unwrap();
    let lines = text(&journal, &found.spot.file);
    assert_eq!((&whole.entry, whole.intact), (&found.entry, true));
    assert_eq!(lines.lines().nth(usize::try_from(whole.line).unwrap() - 1), Some(whole.text.as_str()));
    assert_eq!(fresh().1.newest(1).unwrap(), Page::default());
}

#[test]
fn what_other_hands_made_of_lines_is_told_in_pages_too() {
    let (_root, journal) = five();
    let all = text(&journal, NOVEMBER);
    let third = all.lines().nth(2).unwrap().to_owned();
    fs::write(journal.folder().join(NOVEMBER), all.replace("p2", "p9").replace(&third, "no entry") + "{\"seq\":6").unwrap();
    for bytes in [1, 1_000_000] {
        let pages = pages(&journal, bytes);
        let found: Vec<(u64, bool)> = pages.iter().flat_map(|page| &page.found).map(|found| (found.entry.seq, found.intact)).collect();
        assert_eq!(found, [(5, true), (4, true), (2, false), (1, true)]);
        assert_eq!(pages.iter().map(|page| page.unreadable).sum::<u64>(), 1, "the last line may still become one");
    }
    let spot = journal.newest(1).unwrap().found[0].spot.clone();
    fs::write(journal.folder().join(NOVEMBER), "short\n").unwrap();
    assert!(journal.whole(&spot).unwrap_err().what.contains(NOVEMBER));
}

#[test]
fn what_was_written_since_is_read_alone() {
    let (_root, mut journal) = fresh();
    let news = |journal: &Journal, mark: &Option<Mark>| journal.news(mark.as_ref(), 100_000).unwrap();
    assert_eq!(news(&journal, &None), News::Nothing);
    journal.append(record("2026-11-01T12:00:00Z", "p1")).unwrap();
    assert_eq!(news(&journal, &None), News::Other, "there is a journal now");
    let mut mark = journal.newest(1).unwrap().mark;
    assert_eq!(news(&journal, &mark), News::Nothing);
    // Two, of which one in a new month; and one that is being written.
    journal.append(record("2026-11-02T12:00:00Z", "p2")).unwrap();
    journal.append(record("2026-12-01T12:00:00Z", "p3")).unwrap();
    let whole = text(&journal, "2026-12.jsonl");
    fs::write(journal.folder().join("2026-12.jsonl"), format!("{whole}{{\"seq\":")).unwrap();
    let News::Grown(page) = news(&journal, &mark) else { panic!("{mark:?}") };
    assert_eq!(page.found.iter().map(|found| found.entry.seq).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(page.unreadable, 0);
    mark = page.mark;
    assert_eq!(news(&journal, &mark), News::Nothing);
    // Its writer is gone; the next one puts it in order.
    journal.append(record("2026-12-02T12:00:00Z", "p4")).unwrap();
    let News::Grown(page) = news(&journal, &mark) else { panic!("{mark:?}") };
    assert_eq!(page.found.iter().map(|found| found.entry.seq).collect::<Vec<_>>(), [5, 4]);
    mark = page.mark;
    assert_eq!(journal.news(Some(&Mark { length: 0, end: 0, ..mark.clone().unwrap() }), 10).unwrap(), News::Other, "too much");
    // Other people's hands.
    fs::write(journal.folder().join("2026-12.jsonl"), "").unwrap();
    assert_eq!(news(&journal, &mark), News::Other);
    fs::remove_file(journal.folder().join(NOVEMBER)).unwrap();
    assert_eq!(news(&journal, &mark), News::Other);
    fs::remove_file(journal.folder().join("2026-12.jsonl")).unwrap();
    assert_eq!(news(&journal, &mark), News::Other);
}

#[test]
fn a_check_tells_how_much_there_is_and_since_when() {
    let (_root, journal) = months();
    let verified = journal.verified().unwrap();
    assert!(verified.holds());
    assert_eq!((verified.checked.entries, verified.checked.files.len(), verified.oldest), (120, 3, Some(at("2026-09-01T12:00:00Z"))));
}
