//! Every format of every document, as it is printed.

use super::{Fixture, Format, Ran, Request, Show, denied, environment, filtered, finding, partial, request, run, status};
use crate::cli::document::{self, Head, Style};
use crate::cli::findings;
use crate::cli::items::FindingItem;
use crate::domain::FindingResult;
use serde_json::Value;

async fn in_format(command: &Show, format: Format) -> Ran {
    let fixture = Fixture::of(vec![environment("dev"), denied("production")]);
    run(command, &fixture, &Request { wait: std::time::Duration::ZERO, ..request(format) }).await
}

#[tokio::test(start_paused = true)]
async fn status_as_a_table() {
    let ran = in_format(&status(None), Format::Table).await;
    let expected = "\
ENVIRONMENT   STATE    KUBERNETES   KYVERNO   POLICIES   EXCEPTIONS   FAIL   ERROR   WARN   SKIP   PASS   BLOCKED   STALE
dev           live     v1.36.3      v1.19.1          1            0      0       0      0      0      0         0       0
PRODUCTION    denied   v1.36.3      v1.19.1          ?            ?      ?       ?      ?      ?      ?         ?       ?
";
    assert_eq!(ran.out, expected);
}

#[tokio::test(start_paused = true)]
async fn violations_as_a_table() {
    let ran = run(&Show::Violations, &Fixture::two(), &request(Format::Table)).await;
    let expected = "\
POLICY                 SEV   DEV         FAULTS   BLOCKED   PRODUCTION   FAULTS   BLOCKED
disallow-latest-tag    med   █ enforce        ?         0   ▚ mixed           3        37
team-a/require-owner   med   ╱ absent                       ▒ audit           ?         0
";
    assert_eq!(ran.out, expected);
}

#[tokio::test(start_paused = true)]
async fn violations_of_an_incomplete_environment_say_so() {
    let fixture = Fixture::of(vec![environment("dev"), partial("production")]);
    let style = Style { ascii: true, ..request(Format::Table).style };
    let ran = run(&Show::Violations, &fixture, &Request { wait: std::time::Duration::ZERO, style, ..request(Format::Table) }).await;
    let expected = "\
POLICY                 SEV   DEV         FAULTS   BLOCKED   PRODUCTION   FAULTS   BLOCKED
disallow-latest-tag    med   # enforce        ?         0   % mixed          ~3       ~37
team-a/require-owner   med   / absent                       - audit           ?        ~0
";
    assert_eq!(ran.out, expected);
}

#[tokio::test(start_paused = true)]
async fn policies_as_a_table_and_as_csv() {
    let ran = run(&Show::Policies, &Fixture::two(), &request(Format::Table)).await;
    let expected = "\
ENVIRONMENT   KIND            POLICY                MODE      IN FORCE   RULES   BACKGROUND   REVISION       MANAGED BY
dev           ClusterPolicy   disallow-latest-tag   ▚ mixed   yes            1   yes          91c2e0aa11bb
production    ClusterPolicy   disallow-latest-tag   ▚ mixed   yes            1   yes          91c2e0aa11bb
";
    assert_eq!(ran.out, expected);
    let ran = run(&Show::Policies, &Fixture::two(), &request(Format::Csv)).await;
    let second = "dev,kyverno.io,ClusterPolicy,,disallow-latest-tag,mixed,true,true,true,91c2e0aa11bb,medium,,validate-image-tag=mixed,,,ValidatingPolicy,yes,,false";
    assert_eq!(ran.out.lines().nth(1), Some(second));
}

#[tokio::test(start_paused = true)]
async fn findings_as_csv_and_names() {
    let errors = |format| Request { scope: filtered("result=error").scope, ..request(format) };
    let command = Show::Findings { policy: None };
    let ran = run(&command, &Fixture::two(), &errors(Format::Csv)).await;
    let row = "production,kyverno,kyverno.io,ClusterPolicy,,disallow-latest-tag,validate-image-tag,error,medium,,Using a mutable image tag \
               e.g. 'latest' is not allowed.,v1,Pod,search,index-1,u4,,,,,,2026-11-23T11:00:00Z,,false,false,";
    assert_eq!(ran.out.lines().skip(1).collect::<Vec<_>>(), [row]);
    let ran = run(&command, &Fixture::two(), &errors(Format::Name)).await;
    assert_eq!(ran.out, "production/ClusterPolicy/disallow-latest-tag/validate-image-tag/Pod/search/index-1\n");
}

#[tokio::test(start_paused = true)]
async fn names_can_be_typed_again() {
    let ran = run(&Show::Violations, &Fixture::two(), &request(Format::Name)).await;
    assert_eq!(ran.out, "ClusterPolicy/disallow-latest-tag\nPolicy/team-a/require-owner\n");
}

#[tokio::test(start_paused = true)]
async fn yaml_says_the_same_as_json() {
    for command in [status(None), Show::Violations, Show::Findings { policy: None }, Show::Policies] {
        let json = run(&command, &Fixture::two(), &request(Format::Json)).await.json();
        let yaml = run(&command, &Fixture::two(), &request(Format::Yaml)).await.out;
        let mut read: Value = serde_saphyr::from_str(&yaml).unwrap_or_else(|error| panic!("{error}: {yaml}"));
        read["generatedAt"] = json["generatedAt"].clone();
        assert_eq!(read, json, "{yaml}");
    }
}

fn findings_document(format: Format, items: &[FindingItem]) -> String {
    let mut out = Vec::new();
    let style = Style { format, color: false, ascii: false, compact: false };
    document::write(&mut out, style, Head::new("Findings", "2026-11-23T12:00:00Z".parse().unwrap(), true), (), items).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn empty_documents_are_whole() {
    for format in [Format::Json, Format::Yaml] {
        let document: Value = serde_saphyr::from_str(&findings_document(format, &[])).unwrap();
        assert_eq!(document["items"], Value::Array(Vec::new()));
    }
    assert_eq!(findings_document(Format::Name, &[]), "");
    assert!(findings_document(Format::Csv, &[]).starts_with("environment,source,"));
    assert!(findings_document(Format::Table, &[]).starts_with("ENVIRONMENT "));
}

/// What a cluster says cannot drive the terminal, and JSON and YAML still say exactly what it said.
#[test]
fn nothing_drives_the_terminal() {
    let nasty = "a\u{1b}]0;owned\u{7} \u{9b}2J \u{202e}txt\n\tyes: no\u{7f}";
    let mut row = finding(FindingResult::Fail, "checkout", nasty, "u");
    row.message = nasty.into();
    let item = findings::item(&"dev".into(), row);
    for format in [Format::Table, Format::Csv, Format::Json, Format::Yaml, Format::Name] {
        let text = findings_document(format, std::slice::from_ref(&item));
        for c in text.chars() {
            assert!(c == '\n' || !(c.is_control() || c == '\u{202e}'), "{format:?} lets {c:?} through: {text}");
        }
        if matches!(format, Format::Json | Format::Yaml) {
            let document: Value = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(document["items"][0]["message"], nasty, "{format:?}");
        }
    }
}
