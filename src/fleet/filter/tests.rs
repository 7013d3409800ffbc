//! Tables of filters against one finding and one cell, and properties of the grammar.

mod generated;

use super::*;
use crate::domain::{PolicyKey, Readiness, ResourceRef};
use proptest::prelude::*;
use std::sync::Arc;

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn key() -> PolicyKey {
    let id = PolicyId { group: "kyverno.io".into(), kind: "ClusterPolicy".into(), namespace: None, name: "disallow-latest-tag".into() };
    PolicyKey { source: "kyverno".into(), id: Arc::new(id) }
}

fn row() -> FindingRow {
    let reference =
        |kind: &str, name: &str| ResourceRef { kind: kind.into(), namespace: "checkout".into(), name: name.into(), ..Default::default() };
    FindingRow {
        key: key(),
        rule: "validate-image-tag".into(),
        own_rule: "validate-image-tag".into(),
        result: FindingResult::Fail,
        severity: Some(Severity::High),
        category: "Best Practices".into(),
        message: "Using a mutable image tag e.g. 'latest' is not allowed. Größe".into(),
        resource: Arc::new(reference("Pod", "web-5d8")),
        owner: Some(Arc::new(reference("Deployment", "web"))),
        owner_guessed: false,
        evaluated_at: Some("2026-11-23T11:00:00Z".parse().unwrap()),
        exception: "".into(),
        stale: false,
        foreign: false,
        written_by: None,
        idle: None,
        properties: Arc::new([]),
        resources: 1,
        report: None,
    }
}

#[test]
fn a_namespace_is_in_itself() {
    let of = |kind: &str, api_version: &str| {
        let resource = ResourceRef { kind: kind.into(), api_version: api_version.into(), name: "team-x".into(), ..ResourceRef::default() };
        FindingRow { resource: Arc::new(resource), ..row() }
    };
    let table = [
        ("ns=team-x", of("Namespace", "v1"), true),
        ("ns=team-x", of("ClusterRole", "rbac.authorization.k8s.io/v1"), false),
        ("ns=team-x", of("Namespace", "example.com/v1"), false),
        ("ns!=team-x", of("Namespace", "v1"), false),
        ("ns=team-*", of("Namespace", "v1"), true),
        ("ns=other", of("Namespace", "v1"), false),
    ];
    for (filter, row, expected) in table {
        assert_eq!(Filter::parse(filter).unwrap().matches_finding("dev", Tier::Normal, &row, now()), expected, "{filter} {}", row.resource);
    }
}

fn cell() -> PolicyCell {
    PolicyCell {
        key: key(),
        mode: Mode::Enforce,
        ready: Readiness::Ready,
        severity: Some(Severity::High),
        category: Some("Best Practices".into()),
        findings: Tally { fail: 3, pass: 9, ..Tally::default() },
        blocked: Some(0),
        evaluated_at: Some("2026-11-23T11:00:00Z".parse().unwrap()),
        complete: true,
        ..PolicyCell::default()
    }
}

#[test]
fn findings_pass_as_the_words_say() {
    let row = row();
    for (text, passes) in [
        ("", true),
        ("env=production", true),
        ("env=prod", false),
        ("env=prod*", true),
        ("env=dev,production", true),
        ("!env=dev", true),
        ("env!=production", false),
        ("tier=production", true),
        ("ns=checkout kind=pod", true),
        ("!ns=kube-system", true),
        ("ns=check?ut", true),
        ("ns=check", false),
        ("ns~check", true),
        ("name=web-*", true),
        ("policy=disallow-latest-tag", true),
        ("policy=ClusterPolicy/disallow-latest-tag", true),
        ("policy=clusterpolicy/*", true),
        ("policy!=disallow-*", false),
        ("policy!=other", true),
        ("rule~image", true),
        ("sev>=high", true),
        ("sev>high", false),
        ("sev=med", false),
        ("severity<=critical", true),
        ("result=fail", true),
        ("result=pass,fail", true),
        ("result>=fail", true),
        ("result=error", false),
        ("source=kyverno", true),
        ("owner=web", true),
        ("owner=Deployment/web", true),
        ("owner=deployment/*", true),
        ("exception=*", false),
        ("exception=\"\"", true),
        ("age<2h", true),
        ("age<30m", false),
        ("age>=1h", true),
        ("!age<30m", true),
        ("stale=no", true),
        ("stale=yes", false),
        ("foreign=no", true),
        ("foreign=yes", false),
        ("unverified=yes", false),
        ("unverified=no", true),
        ("mode=audit", true),
        ("LATEST", true),
        ("größe", true),
        ("GRÖSSE", false),
        ("\"mutable image\"", true),
        ("\"mutable  image\"", false),
        ("!mutable", false),
        ("checkout web-5d8 validate", true),
        ("checkout nothing", false),
        ("message~\"not allowed\" sev=high", true),
        ("category=\"best practices\"", true),
        ("nginx:latest", false),
    ] {
        let filter = Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(filter.matches_finding("production", Tier::Production, &row, now()), passes, "{text}");
    }
}

#[test]
fn cells_tell_what_they_know_and_ask_for_the_rest() {
    use Verdict::{No, Unknown, Yes};
    let quiet = PolicyCell { findings: Tally::default(), evaluated_at: None, ..cell() };
    let partial = PolicyCell { complete: false, ..quiet.clone() };
    for (text, on_cell, on_quiet, on_partial) in [
        ("", Yes, Yes, Yes),
        ("env=production", Yes, Yes, Yes),
        ("env=dev", No, No, No),
        ("tier=normal", No, No, No),
        ("mode=enforce", Yes, Yes, Yes),
        ("mode=audit", No, No, No),
        ("!mode=audit", Yes, Yes, Yes),
        ("sev>=high", Yes, Yes, Yes),
        ("policy=disallow-*", Yes, Yes, Yes),
        ("latest", Yes, Yes, Yes),
        ("!latest", No, No, No),
        ("checkout", Unknown, No, Unknown),
        ("ns=checkout", Unknown, No, Unknown),
        ("!ns=checkout", Unknown, Yes, Unknown),
        ("ns!=checkout", Unknown, Yes, Unknown),
        ("!checkout", Unknown, Yes, Unknown),
        ("result=fail", Unknown, No, Unknown),
        ("result=error", No, No, Unknown),
        ("result=pass,fail", Yes, No, Unknown),
        ("!result=error", Yes, No, Unknown),
        ("age<2h", Unknown, No, Unknown),
        ("age<30m", No, No, Unknown),
        ("age>30m", Yes, No, Unknown),
        ("age>2h", Unknown, No, Unknown),
        ("stale=no", Yes, Yes, Yes),
        ("stale=yes", No, No, Unknown),
        ("foreign=no", Yes, Yes, Yes),
        ("foreign=yes", No, No, Unknown),
        ("unverified=no", Yes, Yes, Unknown),
        ("unverified=yes", No, No, Unknown),
        ("ns=checkout mode=audit", No, No, No),
    ] {
        let filter = Filter::parse(text).unwrap();
        let on = |cell: &PolicyCell| filter.matches_cell("production", Tier::Production, cell, now());
        assert_eq!((on(&cell()), on(&quiet), on(&partial)), (on_cell, on_quiet, on_partial), "{text}");
    }
}

/// Foreign results are in no tally. What only they can pass is not decided before they are looked at.
#[test]
fn a_policy_with_foreign_results_alone_is_looked_at() {
    let foreign = PolicyCell { findings: Tally::default(), owners: Tally::default(), foreign: 2, complete: true, ..cell() };
    for text in ["ns=a", "result=fail", "name=web", "word", "age<30m", "age>2h"] {
        let filter = Filter::parse(&format!("{text} foreign=yes")).unwrap();
        assert_eq!(filter.matches_cell("production", Tier::Production, &foreign, now()), Verdict::Unknown, "{text}");
    }
}

#[test]
fn what_is_missing_is_neither_above_nor_below() {
    let row = FindingRow { severity: None, evaluated_at: None, owner: None, ..row() };
    for (text, passes) in [
        ("sev>=info", false),
        ("sev<=critical", false),
        ("sev!=high", true),
        ("age<99w", false),
        ("age>0s", false),
        ("owner=*", false),
        ("owner!=web", true),
    ] {
        assert_eq!(Filter::parse(text).unwrap().matches_finding("e", Tier::Normal, &row, now()), passes, "{text}");
    }
}

#[test]
fn errors_name_the_column_and_what_was_meant() {
    for (text, column, message, hint) in [
        ("envv=dev", 1, "no field `envv`", "`env`"),
        ("größe polcy=x", 7, "no field `polcy`", "`policy`"),
        ("zzzzzz=1", 1, "no field `zzzzzz`", "Fields: env"),
        ("sev>=hihg", 6, "`hihg` is no value of `sev`", "`high`"),
        ("result=failed", 8, "`failed` is no value", "`fail`"),
        ("mode=enfroce", 6, "is no value of `mode`", "`enforce`"),
        ("age<soon", 5, "is no value of `age`", "2h"),
        ("age=2h", 1, "cannot be compared with `=`", "`<`"),
        ("ns>5", 1, "cannot be compared", "`~`"),
        ("ns=", 4, "needs a value", "\"\""),
        ("ns=a,", 6, "needs a value", "\"\""),
        ("!", 1, "nothing to look for", "!ns"),
        ("a \"open", 3, "not closed", "`\"`"),
        ("\"a\"b", 4, "right after the closing quotes", "blank"),
        ("stale=maybe", 7, "is no value of `stale`", "yes, no"),
    ] {
        let error = Filter::parse(text).unwrap_err();
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.message.contains(message) && error.hint.contains(hint), "{text}: {error}");
    }
}

#[test]
fn results_that_cannot_pass_need_not_be_asked_for() {
    use FindingResult::{Error, Fail};
    assert_eq!(Filter::parse("result>=fail").unwrap().results(), [Fail, Error]);
    assert_eq!(Filter::parse("!result=pass,skip,warn result!=error").unwrap().results(), [Fail]);
    assert_eq!(Filter::parse("text").unwrap().results(), FindingResult::ALL);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,40}") {
        let _ = Filter::parse(&text);
    }

    #[test]
    fn what_is_printed_reads_back_the_same(text in "( ?!?(env|ns|policy|sev|age|stale|result|[a-zäA-Z*?.:/-]{0,4})(=|!=|<|>=|~)?(\"[ -~ü]{0,6}\"|[a-z0-9*?,.!\"\\\\]{0,8}|high|2h|90m|1s|yes|fail)){0,4}") {
        if let Ok(filter) = Filter::parse(&text) {
            let printed = filter.to_string();
            prop_assert_eq!(Filter::parse(&printed), Ok(filter), "{} printed as {}", text, printed);
        }
    }

    #[test]
    fn globs_agree_with_trying_every_way(pattern in "[ab*?]{0,6}", text in "[ab]{0,7}") {
        prop_assert_eq!(glob(&pattern, &text), slow_glob(pattern.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn a_cell_never_contradicts_its_rows(fields in "(ns=checkout|result=fail|age<2h|age>3h|latest|web|mode=enforce|sev>=high|!ns=checkout){1}( (result=error|!age>2h|stale=no|rule~image))?") {
        let filter = Filter::parse(&fields).unwrap();
        let one = PolicyCell { findings: Tally { fail: 1, ..Tally::default() }, ..cell() };
        let passes = filter.matches_finding("e", Tier::Normal, &row(), now());
        match filter.matches_cell("e", Tier::Normal, &one, now()) {
            Verdict::Yes => prop_assert!(passes),
            Verdict::No => prop_assert!(!passes),
            Verdict::Unknown => {}
        }
    }
}

fn slow_glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => slow_glob(rest, text) || text.split_first().is_some_and(|(_, tail)| slow_glob(pattern, tail)),
        (Some((wanted, rest)), Some((got, tail))) => (*wanted == b'?' || wanted == got) && slow_glob(rest, tail),
        _ => false,
    }
}

#[test]
fn fields_of_a_list_of_its_own_stand_beside_the_grammar() {
    let own = &["who", "result"];
    let parse = |text: &str| Filter::parse_with(text, own);
    let (filter, terms) = parse("who=an*,\"bob b\" env=dev !RESULT=done tag").unwrap();
    assert_eq!(filter, Filter::parse("env=dev tag").unwrap());
    assert_eq!(terms.iter().map(OwnTerm::name).collect::<Vec<_>>(), ["who", "result"]);
    for (texts, passes) in [(&["ana"][..], true), (&["x", "Bob B"], true), (&["susan"], false), (&[""], false)] {
        assert_eq!(terms[0].matches(texts), passes, "{texts:?}");
    }
    assert!(terms[1].matches(&["failed"]) && !terms[1].matches(&["done"]), "it hides the grammar's own");
    for (text, says) in [("who>=x", "cannot be compared"), ("who=", "needs a value"), ("woh=x", "Did you mean `who`?")] {
        assert!(parse(text).unwrap_err().to_string().contains(says), "{text}: {}", parse(text).unwrap_err());
    }
}

#[test]
fn what_was_done_is_looked_for_by_environment_policy_and_words() {
    let id = key().id;
    for (text, passes) in [
        ("", true),
        ("env=production latest", true),
        ("env=dev", false),
        ("tier=production !env=dev policy=disallow-*", true),
        ("policy=other", false),
        ("policy!=other kind=clusterpolicy name~latest", true),
        ("CHG-1", true),
        ("!CHG-1", false),
        ("nowhere", false),
        ("sev>=high", true),
    ] {
        let filter = Filter::parse(text).unwrap();
        assert_eq!(
            filter.matches_deed("production", Tier::Production, Some(&id), &["disallow-latest-tag", "ticket CHG-1"]),
            passes,
            "{text}"
        );
    }
    let of_none = |text: &str| Filter::parse(text).unwrap().matches_deed("", Tier::Normal, None, &[]);
    assert!(of_none("policy!=x") && !of_none("policy=x") && !of_none("env=dev"));
}
