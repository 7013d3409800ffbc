//! What `config.toml` may say: defaults, and every kind of error with its place, key and nearest valid key.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use policydeck::domain::Tier;
use policydeck::settings::{self, Deniable, Evidence, GitOps, Level, Problem, Push, StepMode};
use proptest::prelude::*;
use std::path::Path;

const DESIGN: &str = r#"
[[environments]]
name = "dev"
context = "kind-dev"

[[environments]]
name = "qac"
context = "qac"

[[environments]]
name = "staging"
context = "staging"

[[environments]]
name = "production"
context = "prod-eu"
tier = "production"
"#;

fn problems(text: &str) -> Vec<Problem> {
    settings::parse("config.toml", text, &["promote", "demote", "quit"]).unwrap_err().0
}

/// One environment with `line` as its fourth line.
fn with(line: &str) -> String {
    format!("[[environments]]\nname = \"dev\"\ncontext = \"c\"\n{line}\n")
}

#[test]
fn the_roads_default_steps_are_those_of_the_design() {
    use StepMode::{Audit, Enforce};
    let loaded = settings::parse("f", DESIGN, &[]).unwrap();
    let steps: Vec<Vec<(StepMode, i64)>> =
        loaded.settings.environments.iter().map(|e| e.steps.iter().map(|s| (s.mode, s.soak.as_hours() / 24)).collect()).collect();
    assert_eq!(steps, [vec![(Audit, 0)], vec![(Audit, 7)], vec![(Audit, 0), (Enforce, 7)], vec![(Audit, 7), (Enforce, 0)]]);
    assert_eq!(loaded.settings.environments[3].tier, Tier::Production);
    assert!(loaded.warnings.0.is_empty());
}

#[test]
fn everything_said_is_kept() {
    let text = r#"
[[environments]]
name = "prod"
context = "prod-eu"
kubeconfig = "~/.kube/prod"
namespaces = ["team-*"]
tier = "production"
read_only = true
freeze = [{ from = 2026-12-20, until = "2026-12-31", reason = "year end" }, { from = "2026-11-01T10:00:00+01:00", until = 2026-11-01T12:00:00Z, reason = "move" }]
gitops = "warn"
git = { repo = "git@example.com:p.git", path = "prod" }
prometheus = { url = "https://prometheus.example.com/prom/", matchers = 'cluster = "prod"', token_file = "~/.prom", ca_file = "ca.pem", tenant = "ops" }
steps = [{ mode = "audit", soak = "1w", max_violations = 3, evidence = "observed" }, { mode = "enforce" }]

[environments.rules]
deny = ["unblock", "rollback"]
typed_name = true
bulk = 5
four_eyes = true
allowed_signers = "signers"

[gates]
max_violations = 1
max_blocked = 2
acknowledge_unknown = false

[keys]
promote = "ctrl-p"

[ui]
ascii = true

[exceptions]
ticket = "example.com/ticket"
"#;
    let settings = settings::parse("f", text, &["promote"]).unwrap().settings;
    let prod = &settings.environments[0];
    assert_eq!((prod.kubeconfig.as_deref(), prod.read_only, prod.gitops), (Some(Path::new("~/.kube/prod")), true, GitOps::Warn));
    let windows: Vec<_> = prod.freeze.iter().map(|f| (f.from.to_string(), f.until.to_string())).collect();
    assert_eq!(windows[0], ("2026-12-20T00:00:00Z".into(), "2027-01-01T00:00:00Z".into()), "the last day is included");
    assert_eq!(windows[1], ("2026-11-01T09:00:00Z".into(), "2026-11-01T12:00:00Z".into()));
    let git = prod.git.as_ref().unwrap();
    assert_eq!((git.branch.as_str(), git.push), ("main", Push::Proposal), "production takes proposals unless it says otherwise");
    let prometheus = settings::Prometheus {
        url: "https://prometheus.example.com/prom".into(),
        matchers: "cluster=\"prod\"".into(),
        token: Some(settings::TokenSource::File("~/.prom".into())),
        ca_file: Some("ca.pem".into()),
        tenant: Some("ops".into()),
    };
    assert_eq!(prod.prometheus.as_ref(), Some(&prometheus));
    let [audit, enforce] = &prod.steps[..] else { panic!("two steps") };
    assert_eq!((audit.max_violations, audit.max_blocked, audit.evidence), (3, 2, Evidence::Observed));
    assert_eq!((enforce.max_violations, enforce.max_blocked, enforce.evidence), (1, 2, Evidence::Clock));
    assert_eq!((settings.acknowledge_unknown, settings.ui.ascii), (false, true));
    assert_eq!((settings.exceptions.ticket.as_str(), settings.exceptions.owner.as_str()), ("example.com/ticket", "policydeck.dev/owner"));
    assert_eq!(settings.keys["promote"], "ctrl-p");
    let rules = settings::Rules {
        deny: vec![Deniable::Unblock, Deniable::Rollback],
        typed_name: true,
        bulk: Some(5),
        four_eyes: true,
        allowed_signers: Some("signers".into()),
    };
    assert_eq!(prod.rules, rules);
    assert_eq!(settings::parse("f", DESIGN, &[]).unwrap().settings.environments[3].rules, settings::Rules::default());
}

/// Text, line, column, key, nearest, a part of the message.
type Case = (&'static str, String, usize, usize, &'static str, Option<&'static str>, &'static str);

fn cases() -> Vec<Case> {
    let step = |text: &str| with(&format!("steps = [{text}]"));
    vec![
        ("syntax", "[[environments]\n".into(), 1, 16, "", None, ""),
        ("syntax, second line", "a = 1\nb = \n".into(), 2, 5, "", None, ""),
        ("unknown section", "[gate]\nmax_violations = 0\n".into(), 1, 2, "gate", Some("gates"), "unknown key"),
        ("unknown section, far", "[nonsense]\n".into(), 1, 2, "nonsense", None, "unknown key"),
        ("unknown key", with("contxt = \"x\""), 4, 1, "environments[0].contxt", Some("context"), "unknown key"),
        ("unknown key, far", with("zzz = 1"), 4, 1, "environments[0].zzz", None, "unknown key"),
        (
            "unknown step key",
            step("{ mode = \"audit\", soaking = \"7d\" }"),
            4,
            28,
            "environments[0].steps[0].soaking",
            Some("soak"),
            "unknown key",
        ),
        ("unknown gate", "[gates]\nmax_violation = 1\n".into(), 2, 1, "gates.max_violation", Some("max_violations"), "unknown key"),
        ("british", "[ui]\ncolour = \"auto\"\n".into(), 2, 1, "ui.colour", Some("color"), "unknown key"),
        ("missing name", "[[environments]]\ncontext = \"c\"\n".into(), 1, 1, "environments[0].name", None, "is missing"),
        ("missing context", "[[environments]]\nname = \"c\"\n".into(), 1, 1, "environments[0].context", None, "is missing"),
        ("single bracket", "[environments]\nname = \"c\"\n".into(), 1, 1, "environments", None, "has to be a list"),
        ("wrong type", with("read_only = \"yes\""), 4, 13, "environments[0].read_only", None, "has to be true or false"),
        ("number for text", with("kubeconfig = 5"), 4, 14, "environments[0].kubeconfig", None, "has to be a string"),
        ("text for list", with("namespaces = \"web\""), 4, 14, "environments[0].namespaces", None, "has to be a list"),
        ("negative limit", "[gates]\nmax_blocked = -1\n".into(), 2, 15, "gates.max_blocked", None, "from 0 up"),
        ("wrong word", with("tier = \"prod\""), 4, 8, "environments[0].tier", Some("production"), "is not valid"),
        ("wrong mode", step("{ mode = \"enforced\" }"), 4, 19, "environments[0].steps[0].mode", Some("enforce"), "is not valid"),
        ("wrong evidence", "[gates]\nevidence = \"watched\"\n".into(), 2, 12, "gates.evidence", None, "is not valid"),
        ("empty name", "[[environments]]\nname = \"\"\ncontext = \"c\"\n".into(), 2, 8, "environments[0].name", None, "not a usable name"),
        (
            "name with colon",
            "[[environments]]\nname = \"a:b\"\ncontext = \"c\"\n".into(),
            2,
            8,
            "environments[0].name",
            None,
            "not a usable name",
        ),
        (
            "name that is a path",
            "[[environments]]\nname = \"..\"\ncontext = \"c\"\n".into(),
            2,
            8,
            "environments[0].name",
            None,
            "not a usable name",
        ),
        ("reserved name", "[[environments]]\nname = \"All\"\ncontext = \"c\"\n".into(), 2, 8, "environments[0].name", None, "is reserved"),
        ("duplicate", format!("{}{}", with(""), with("").replace("dev", "DEV")), 6, 8, "environments[1].name", None, "has the same name"),
        ("empty context", "[[environments]]\nname = \"a\"\ncontext = \" \"\n".into(), 3, 11, "environments[0].context", None, "is empty"),
        ("no namespaces", with("namespaces = []"), 4, 14, "environments[0].namespaces", None, "nothing would be seen"),
        ("bad namespace", with("namespaces = [\"ok\", \"Team_A\"]"), 4, 21, "environments[0].namespaces[1]", None, "cannot be the name"),
        (
            "bad soak",
            step("{ mode = \"audit\", soak = \"7 moons\" }"),
            4,
            35,
            "environments[0].steps[0].soak",
            None,
            "not a length of time",
        ),
        ("negative soak", step("{ mode = \"audit\", soak = \"-7d\" }"), 4, 35, "environments[0].steps[0].soak", None, "negative"),
        ("soak without unit", step("{ mode = \"audit\", soak = 7 }"), 4, 35, "environments[0].steps[0].soak", None, "has to be a string"),
        ("small history", with("[history]\nmax_size = \"15MiB\""), 5, 12, "history.max_size", None, "less than 16MiB"),
        ("no size", with("[history]\nmax_size = \"1 moon\""), 5, 12, "history.max_size", None, "not a size"),
        ("no steps", with("steps = []"), 4, 9, "environments[0].steps", None, "is empty"),
        ("enforce first", step("{ mode = \"enforce\" }"), 4, 19, "environments[0].steps[0].mode", None, "no `audit` step before it"),
        ("step twice", step("{ mode = \"audit\" }, { mode = \"audit\" }"), 4, 39, "environments[0].steps[1].mode", None, "stands twice"),
        (
            "backwards",
            format!(
                "{}\n[[environments]]\nname = \"b\"\ncontext = \"b\"\nsteps = [{{ mode = \"enforce\" }}, {{ mode = \"audit\" }}]\n",
                with("")
            ),
            9,
            41,
            "environments[1].steps[1].mode",
            None,
            "comes after `enforce`",
        ),
        (
            "blocked in audit",
            step("{ mode = \"audit\", max_blocked = 3 }"),
            4,
            42,
            "environments[0].steps[0].max_blocked",
            None,
            "`enforce` step",
        ),
        (
            "freeze reversed",
            with("freeze = [{ from = 2026-12-31, until = 2026-12-20, reason = \"x\" }]"),
            4,
            40,
            "environments[0].freeze[0].until",
            None,
            "not after `from`",
        ),
        (
            "freeze without offset",
            with("freeze = [{ from = 2026-12-31T00:00:00, until = 2027-12-20, reason = \"x\" }]"),
            4,
            20,
            "environments[0].freeze[0].from",
            None,
            "not a day or a time with its offset",
        ),
        (
            "freeze without reason",
            with("freeze = [{ from = 2026-12-01, until = 2026-12-20, reason = \"\" }]"),
            4,
            61,
            "environments[0].freeze[0].reason",
            None,
            "is empty",
        ),
        ("git escapes", with("git = { repo = \"r\", path = \"../x\" }"), 4, 28, "environments[0].git.path", None, "leaves the repository"),
        (
            "Prometheus without a URL",
            with("prometheus = { matchers = 'a=\"b\"' }"),
            4,
            14,
            "environments[0].prometheus.url",
            None,
            "is missing",
        ),
        (
            "unknown key of Prometheus",
            with("prometheus = { url = \"https://p\", token_fil = \"t\" }"),
            4,
            35,
            "environments[0].prometheus.token_fil",
            Some("token_file"),
            "unknown key",
        ),
        ("no URL", with("prometheus = { url = \"p:9090\" }"), 4, 22, "environments[0].prometheus.url", None, "begins with neither"),
        (
            "a password",
            with("prometheus = { url = \"https://u:secret@p\" }"),
            4,
            22,
            "environments[0].prometheus.url",
            None,
            "holds a user or a password",
        ),
        (
            "odd matchers",
            with("prometheus = { url = \"https://p\", matchers = \"cluster=staging\" }"),
            4,
            46,
            "environments[0].prometheus.matchers",
            None,
            "not in quotes",
        ),
        (
            "a token itself",
            with("prometheus = { url = \"https://p\", token_env = \"$TOKEN\" }"),
            4,
            47,
            "environments[0].prometheus.token_env",
            None,
            "not the name of an environment variable",
        ),
        (
            "two tokens",
            with("prometheus = { url = \"https://p\", token_env = \"T\", token_file = \"t\" }"),
            4,
            47,
            "environments[0].prometheus.token_env",
            None,
            "stands beside",
        ),
        (
            "a tenant that is no header",
            with("prometheus = { url = \"https://p\", tenant = \"a b\" }"),
            4,
            44,
            "environments[0].prometheus.tenant",
            None,
            "cannot be sent as a header",
        ),
        (
            "no certificates",
            with("prometheus = { url = \"https://p\", ca_file = \"\" }"),
            4,
            45,
            "environments[0].prometheus.ca_file",
            None,
            "is empty",
        ),
        ("unknown rule", with("rules = { deni = [] }"), 4, 11, "environments[0].rules.deni", Some("deny"), "unknown key"),
        ("denied nonsense", with("rules = { deny = [\"demot\"] }"), 4, 19, "environments[0].rules.deny[0]", Some("demote"), "is not valid"),
        ("denied twice", with("rules = { deny = [\"hold\", \"hold\"] }"), 4, 27, "environments[0].rules.deny[1]", None, "stands twice"),
        ("no bulk", with("rules = { bulk = 0 }"), 4, 18, "environments[0].rules.bulk", None, "no plan could change anything"),
        ("negative bulk", with("rules = { bulk = -1 }"), 4, 18, "environments[0].rules.bulk", None, "from 0 up"),
        (
            "four eyes as text",
            with("rules = { four_eyes = \"yes\" }"),
            4,
            23,
            "environments[0].rules.four_eyes",
            None,
            "has to be true or false",
        ),
        (
            "no signers",
            with("rules = { four_eyes = true, allowed_signers = \" \" }"),
            4,
            47,
            "environments[0].rules.allowed_signers",
            None,
            "is empty",
        ),
        (
            "production without its name",
            with("tier = \"production\"\nrules = { typed_name = false }"),
            5,
            24,
            "environments[0].rules.typed_name",
            None,
            "always asks for its name",
        ),
        (
            "git branch",
            with("git = { repo = \"r\", branch = \"refs/heads/main\" }"),
            4,
            30,
            "environments[0].git.branch",
            None,
            "cannot be the name of a branch",
        ),
        ("no such action", "[keys]\npromot = \"p\"\n".into(), 2, 1, "keys.promot", Some("promote"), "no such action"),
        ("key twice", "[keys]\npromote = \"p\"\ndemote = \"p\"\n".into(), 3, 10, "keys.demote", None, "too"),
        ("empty key", "[keys]\nquit = \"\"\n".into(), 2, 8, "keys.quit", None, "names no key"),
        ("annotation", "[exceptions]\nticket = \"not a key\"\n".into(), 2, 10, "exceptions.ticket", None, "cannot be an annotation's key"),
    ]
}

#[test]
fn every_error_names_file_line_column_key_and_the_nearest_valid_key() {
    let mut wrong = Vec::new();
    for (what, text, line, column, key, nearest, message) in cases() {
        let found = problems(&text);
        let Some(hit) = found.iter().find(|p| p.key == key && p.message.contains(message)) else {
            wrong.push(format!("{what}: {key} is not among\n{}", settings::Problems(found)));
            continue;
        };
        let remedied = what.starts_with("syntax") || hit.nearest.is_some() || !hit.remedy.is_empty() || hit.message.contains("such as");
        let placed =
            (hit.line, hit.column) == (line, column) && hit.to_string().starts_with(&format!("config.toml:{line}:{column}: error: "));
        if !(remedied && placed && hit.nearest.as_deref() == nearest) {
            wrong.push(format!("{what}: expected {line}:{column}, nearest {nearest:?}, a remedy; got {hit}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_error_repeats_a_value() {
    const CANARY: &str = "cAnArY-7f3a";
    let line = |line: &str| format!("{}{line}\n", with(""));
    let texts = [
        "[[environments]]\nname = \"CANARY:\"\ncontext = \"c\"\n".to_owned(),
        "[[environments]]\nname = \"a\"\ncontext = CANARY\n".to_owned(),
        "[[environments]]\nname = \"a\"\ncontext = \"CANARY\n".to_owned(),
        "[[environments]]\nname = \"a\"\ncontext = \"CANARY\" CANARY\n".to_owned(),
        "[[environments]]\nname = \"a\"\ncontext = [\"CANARY\"]\n".to_owned(),
        "[[environments]]\nname = \"a\"\ncontext = \"CANARY\\q\"\n".to_owned(),
        line("read_only = \"CANARY\""),
        line("tier = \"CANARY\""),
        line("gitops = \"CANARY\""),
        line("namespaces = [\"CANARY_\"]"),
        line("freeze = [{ from = \"CANARY\", until = \"CANARY\", reason = \"x\" }]"),
        line("git = { repo = \"r\", path = \"/CANARY\" }"),
        line("git = { repo = \"r\", branch = \"CANARY^\" }"),
        line("git = { repo = \"r\", push = \"CANARY\" }"),
        line("prometheus = { url = \"CANARY\" }"),
        line("prometheus = { url = \"https://u:CANARY@p\" }"),
        line("prometheus = { url = \"https://p?token=CANARY\" }"),
        line("prometheus = { url = \"https://p\", matchers = \"CANARY\" }"),
        line("prometheus = { url = \"https://p\", matchers = \"{CANARY\" }"),
        line("prometheus = { url = \"https://p\", matchers = \"a='b' CANARY\" }"),
        line("prometheus = { url = \"https://p\", token_env = \"CANARY\" }"),
        line("prometheus = { url = \"https://p\", tenant = \"CANARY x\" }"),
        line("steps = [{ mode = \"CANARY\" }]"),
        line("steps = [{ mode = \"audit\", soak = \"CANARY\" }]"),
        line("rules = { deny = [\"CANARY\"] }"),
        "[history]\nkeep = \"CANARY\"\n".to_owned(),
        "[exceptions]\nticket = \"CANARY!\"\n".to_owned(),
        "[ui]\ncolor = \"CANARY\"\n".to_owned(),
        "[gates]\nevidence = \"CANARY\"\nmax_blocked = \"CANARY\"\n".to_owned(),
        "[keys]\nquit = \"CANARY\"\npromote = \"CANARY\"\n".to_owned(),
    ];
    for text in texts {
        let text = text.replace("CANARY", CANARY);
        let problems = problems(&text);
        for problem in &problems {
            assert!(!problem.to_string().contains(CANARY), "{text}\n{problem}");
        }
        assert!(!problems.is_empty(), "{text}");
    }
}

#[test]
fn a_repository_is_an_address_and_no_command() {
    let of = |repo: &str| {
        settings::parse("f", &with(&format!("git = {{ repo = \"{repo}\" }}")), &[]).map(drop).map_err(|problems| problems.to_string())
    };
    for good in ["git@example.com:p.git", "https://example.com/p.git", "../p", "/srv/p", "codecommit::eu-west-1://p"] {
        assert_eq!(of(good), Ok(()), "{good}");
    }
    for bad in ["--upload-pack=x", "-p", "ext::sh -c x", " ext::sh -c x", "fd::3", "a\\nb", "a\\u0000b"] {
        let said = of(bad).unwrap_err();
        assert!(said.contains("environments[0].git.repo") && said.contains("is not the address of a repository"), "{bad}: {said}");
    }
}

#[test]
fn several_errors_are_reported_at_once_in_the_order_of_the_file() {
    let found = problems(
        "[[environments]]\nname = \"all\"\ncontext = \"c\"\nspeed = 1\nsteps = [{ mode = \"enforce\", soak = \"x\" }]\n[keys]\nx = \"\"\n",
    );
    let keys: Vec<_> = found.iter().map(|p| p.key.as_str()).collect();
    let expected = [
        "environments[0].name",
        "environments[0].speed",
        "environments[0].steps[0].mode",
        "environments[0].steps[0].soak",
        "keys.x",
        "keys.x",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn a_production_without_tier_is_warned_about() {
    let loaded = settings::parse("f", "[[environments]]\nname = \"prod\"\ncontext = \"c\"\n", &[]).unwrap();
    assert_eq!(loaded.settings.environments[0].tier, Tier::Normal);
    assert_eq!(loaded.warnings.0.len(), 1);
    assert_eq!(loaded.warnings.0[0].level, Level::Warning);
    let said = settings::parse("f", "[[environments]]\nname = \"prod\"\ncontext = \"c\"\ntier = \"normal\"\n", &[]).unwrap();
    assert!(said.warnings.0.is_empty());
}

#[test]
fn four_eyes_and_their_signers_belong_together() {
    for (rules, key, says) in [
        ("four_eyes = true", "environments[0].rules.four_eyes", "is set without `allowed_signers`"),
        ("allowed_signers = \"s\"", "environments[0].rules.allowed_signers", "requires no signature"),
    ] {
        let warnings = settings::parse("f", &with(&format!("rules = {{ {rules} }}")), &[]).unwrap().warnings;
        assert_eq!(warnings.0.len(), 1, "a warning, not an error: a demotion needs no signature");
        let warning = &warnings.0[0];
        assert!(warning.level == Level::Warning && warning.key == key && warning.message.contains(says), "{warning}");
    }
    let both = settings::parse("f", &with("rules = { four_eyes = true, allowed_signers = \"s\" }"), &[]).unwrap();
    assert!(both.warnings.0.is_empty() && both.settings.environments[0].rules.allowed_signers == Some("s".into()));
}

#[test]
fn nothing_said_means_the_defaults() {
    let defaults = settings::defaults();
    assert!(defaults.environments.is_empty());
    assert!(defaults.acknowledge_unknown);
    assert_eq!(defaults.exceptions.expiry, "policydeck.dev/expires");
    assert!(settings::parse("f", "[ui]\nascii = true\n", &[]).unwrap().settings.environments.is_empty());
}

#[test]
fn the_schema_accepts_what_the_program_accepts() {
    let schema = settings::json_schema();
    assert_eq!(schema["additionalProperties"], false);
    let environment = &schema["properties"]["environments"]["items"];
    assert_eq!(environment["required"], serde_json::json!(["name", "context"]));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(\\[\\[environments\\]\\]\n)?([a-z_]{1,8} = [\"\\[{}0-9a-zü.:-]{0,12}\n){0,6}") {
        let _ = settings::parse("f", &text, &["quit"]);
    }

    #[test]
    fn no_soak_makes_it_panic(soak in "\\PC{0,16}") {
        let quoted = toml_string(&soak);
        let _ = settings::parse("f", &format!("[[environments]]\nname = \"a\"\ncontext = \"a\"\nsteps = [{{ mode = \"audit\", soak = {quoted} }}]\n"), &[]);
    }
}

fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
