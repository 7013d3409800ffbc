use super::*;
use crate::testing::{Dice, cases};

/// Text with a secret, and what is left of it.
const TABLE: [(&str, &str); 40] = [
    ("Authorization: Bearer abc.def-1 sent", "Authorization: Bearer … sent"),
    ("authorization: basic amFuZTpodW50ZXIy sent", "authorization: basic … sent"),
    ("GET /x?token=abc&x=1 password: p", "GET /x?token=…&x=1 password: …"),
    ("{\"token\":\"hunter2\"}", "{\"token\":\"…\"}"),
    (r#"body="{\"token\":\"hunter2\"}" took=3"#, r#"body="{\"token\":\"…\"}" took=3"#),
    ("{\"password\": \"hun\\\"ter 2\", \"a\": 1}", "{\"password\": \"…\", \"a\": 1}"),
    ("password: 'with blanks in it' # no", "password: '…' # no"),
    ("GITHUB_TOKEN=abc make", "GITHUB_TOKEN=… make"),
    ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "aws_secret_access_key = …"),
    ("client-key-data: LS0tLS1CRUdJTg== next", "client-key-data: … next"),
    ("clientSecret: hunter2", "clientSecret: …"),
    ("url?X-Amz-Signature=fe5f80&a=1", "url?X-Amz-Signature=…&a=1"),
    ("login --token hunter2 -v", "login --token … -v"),
    ("login --token=hunter2 -v", "login --token=… -v"),
    (r#"["get", "--client-secret", "hunter2", "x"]"#, r#"["get", "--client-secret", "…", "x"]"#),
    ("got eyJhbGciOi.x.y back", "got … back"),
    ("key AKIAIOSFODNN7EXAMPLE!", "key …!"),
    ("ghp_0123456789abcdef0123 pushed", "… pushed"),
    ("https://jane:secret@example.com/p.git", "https://…@example.com/p.git"),
    ("https://ghp_secret@example.com/p.git", "https://…@example.com/p.git"),
    ("http://:p@h:8080", "http://…@h:8080"),
    ("https://u:p/w@h/x", "https://…@h/x"),
    ("https://u:p@w@h/x", "https://…@h/x"),
    ("proxy http://u:p@a and http://u:p@b,", "proxy http://…@a and http://…@b,"),
    ("ssh://git:pw@h/p", "ssh://…@h/p"),
    ("socks5://u:p@h", "socks5://…@h"),
    ("fatal: unable to access 'https://u:p@h/': no", "fatal: unable to access 'https://…@h/': no"),
    (
        "a -----BEGIN EC PRIVATE KEY----- MHc -----END EC PRIVATE KEY----- b",
        "a -----BEGIN EC PRIVATE KEY-----…-----END EC PRIVATE KEY----- b",
    ),
    ("-----BEGIN PRIVATE KEY-----\nMHc", "-----BEGIN PRIVATE KEY-----…"),
    // What is no secret stays.
    ("-----BEGIN CERTIFICATE-----\nMHc\n-----END CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\nMHc\n-----END CERTIFICATE-----"),
    ("ssh://git@example.com/p.git", "ssh://git@example.com/p.git"),
    ("git@example.com:p.git", "git@example.com:p.git"),
    ("https://example.com/a@b:c", "https://example.com/a@b:c"),
    ("https://[::1]:6443/@x", "https://[::1]:6443/@x"),
    ("the bearer token is missing; use basic authentication", "the bearer token is missing; use basic authentication"),
    ("secrets \"web\" is forbidden: User \"jane\" cannot get", "secrets \"web\" is forbidden: User \"jane\" cannot get"),
    ("token_file: cannot read /t", "token_file: cannot read /t"),
    ("disallow-secrets: 3 violations", "disallow-secrets: 3 violations"),
    ("token= , password:", "token= , password:"),
    ("Deployment/web: größer ▒", "Deployment/web: größer ▒"),
];

#[test]
fn forms_of_secrets_are_masked_and_other_text_is_unchanged() {
    for (text, expected) in TABLE {
        assert_eq!(mask(text), expected, "{text}");
        assert_eq!(mask(expected), expected, "what is masked is masked once");
    }
    assert!(matches!(mask("nothing here"), Cow::Borrowed(_)));
}

#[test]
fn values_that_are_known_are_masked_whatever_stands_around_them() {
    let values = ["hunter2", " hunter2longer\n", "abc", ""];
    assert_eq!(mask_values("hunter2longer,hunter2 abc", &values), "…,… abc");
    assert!(matches!(mask_values("nothing", &values), Cow::Borrowed(_)));
}

/// A word that no form knows.
fn word(dice: &mut Dice) -> String {
    let length = 1 + dice.below(9);
    (0..length).map(|_| char::from(*dice.of(b"abcdfghijlmnoqruvxz01789"))).collect()
}

/// Words with signs between them that say nothing about a secret.
fn prose(dice: &mut Dice) -> String {
    let mut text = String::new();
    for _ in 0..dice.below(8) {
        text.push_str(&word(dice));
        text.push_str(dice.pick(&[" ", ": ", "=", ", ", "/", "://", "\n", " -- ", "\"", "' ", "ä ", "@", "-----"]));
    }
    text
}

#[test]
fn no_canary_survives_in_any_form_and_text_without_forms_is_unchanged() {
    cases("no_canary_survives", 2_000, |dice| {
        let canary = format!("cAnArY{}x{}", dice.number(), dice.number());
        let (before, after) = (prose(dice), prose(dice));
        for form in FORMS {
            let coded = STANDARD.encode(format!("jane:{canary}"));
            let secret = form.example.replace("U0VDUkVUOlNFQ1JFVA==", &coded).replace("SECRET", &canary);
            let text = format!("{before} {secret} {after}");
            let masked = mask(&text);
            assert!(!masked.contains(&canary) && !masked.contains(&coded), "{text:?} became {masked:?}");
            assert_eq!(mask(&masked), masked, "{text:?}");
        }
    });
}

#[test]
fn any_text_can_be_masked() {
    let parts = [
        "://",
        "@",
        ":",
        "=",
        "--token ",
        "\\\"",
        "\"",
        "'",
        "password",
        "bearer ",
        "basic ",
        "eyJ",
        "PRIVATE KEY-----",
        "ä",
        "…",
        " ",
        "-----END",
        "BEGIN",
        "-----",
        "[",
        "/",
    ];
    cases("any_text_can_be_masked", 3_000, |dice| {
        let text: String = dice.some(12, |dice| (*dice.of(&parts)).to_owned()).concat();
        let masked = mask(&text);
        assert_eq!(mask(&masked), masked, "{text:?}");
    });
}

#[test]
fn prose_is_unchanged() {
    cases("prose_is_unchanged", 3_000, |dice| {
        // A sign before `@` would make a URL with a user.
        let text = prose(dice).replace('@', "");
        assert_eq!(mask(&text), text);
    });
}
