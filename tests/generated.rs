//! What is generated from code is what is in the repository. `UPDATE=1 cargo test --test generated` writes it anew.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test helpers")]

use policydeck::settings::{Context, Contexts, first_config, json_schema, parse, reference_table};
use policydeck::tui::keys_markdown;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn at(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn updating() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| value == "1")
}

/// A whole file is as generated.
fn same(name: &str, generated: &str) {
    if updating() {
        std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        std::fs::write(at(name), generated).unwrap();
    }
    let there = std::fs::read_to_string(at(name)).unwrap_or_default();
    assert!(there == generated, "{name} is not as generated: UPDATE=1 cargo test --test generated\n{}", difference(&there, generated));
}

/// The first line that differs.
fn difference(there: &str, generated: &str) -> String {
    let (mut a, mut b) = (there.lines(), generated.lines());
    for number in 1.. {
        match (a.next(), b.next()) {
            (None, None) => break,
            (there, generated) if there != generated => {
                return format!("line {number}\n  there:     {there:?}\n  generated: {generated:?}");
            }
            _ => {}
        }
    }
    String::new()
}

/// A part of README.md between `<!-- generated:NAME -->` and `<!-- /generated:NAME -->` is as generated.
fn same_in_readme(part: &str, generated: &str) {
    let path = at("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (open, close) = (format!("<!-- generated:{part} -->\n"), format!("<!-- /generated:{part} -->"));
    let start = readme.find(&open).unwrap_or_else(|| panic!("README.md lacks {open}")) + open.len();
    let end = readme.find(&close).unwrap_or_else(|| panic!("README.md lacks {close}"));
    let expected = format!("\n{}\n\n", generated.trim());
    if updating() {
        std::fs::write(&path, format!("{}{expected}{}", &readme[..start], &readme[end..])).unwrap();
        return;
    }
    let there = &readme[start..end];
    assert!(there == expected, "README.md, {part}: UPDATE=1 cargo test --test generated\n{}", difference(there, &expected));
}

fn help(args: &[&str]) -> String {
    let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_policydeck")).env_clear().args(args).arg("-h").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_json_schema() {
    same("assets/config.schema.json", &format!("{:#}\n", json_schema()));
}

/// What `config init` writes for the four environments of the documentation.
#[test]
fn the_example_configuration() {
    let context = |name: &str| Context { name: name.into(), server: Some(format!("https://{name}.example.com:6443")), namespace: None };
    let contexts = Contexts { all: ["kind-dev", "qac", "staging", "production"].map(context).into(), current: None };
    let text = first_config(&contexts);
    parse("config.example.toml", &text, &[]).unwrap();
    same("assets/config.example.toml", &text);
}

/// One test for all parts: they share the file that `UPDATE=1` writes.
#[test]
fn the_readmes_references() {
    same_in_readme("keys", &keys_markdown());
    same_in_readme("config", &reference_table());
    same_in_readme("keys", &policydeck::tui::keys_markdown());
    same_in_readme("cli", &command_reference());
}

fn command_reference() -> String {
    let mut text = format!("```text\n{}```\n", help(&[]));
    for command in ["status", "findings", "demo", "config"] {
        // The flags of every command stand above, once.
        let own = help(&[command]);
        let own = own.split("\nOptions of every command:").next().unwrap_or_default().trim_end();
        let _ = write!(text, "\n```text\n$ policydeck {command} -h\n{own}\n```\n");
    }
    text
}
