//! Arrows point downwards only: what each layer may name of the others and of other crates.
//!
//! With a single crate the compiler cannot hold the layers apart, so this test reads the sources.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Each layer with those it may use. A folder or file of `src` that is not here fails.
const LAYERS: [(&str, &[&str]); 11] = [
    ("domain", &[]),
    ("kinds", &["domain"]),
    ("settings", &["domain"]),
    ("fleet", &["domain", "kinds"]),
    ("ops", &["domain", "kinds", "settings", "fleet"]),
    ("files", &["domain", "settings"]),
    ("cluster", &["domain", "kinds", "fleet", "settings", "files"]),
    ("engine", &["domain", "kinds", "fleet", "settings", "ops", "cluster", "files"]),
    ("tui", &["domain", "kinds", "fleet", "settings", "ops", "engine"]),
    ("cli", &["domain", "kinds", "fleet", "settings", "ops", "engine"]),
    ("demo", &["domain"]),
];

/// Where everything is brought together; and what only tests use, which no layer may name.
const ROOTS: [&str; 4] = ["lib", "main", "app", "testing"];

/// Crates and modules that live in one place only.
const CONFINED: [(&str, &[&str]); 13] = [
    ("ratatui", &["tui"]),
    ("crossterm", &["tui"]),
    ("tui_input", &["tui"]),
    ("kube", &["cluster", "demo"]),
    ("std::fs", &["files", "testing"]),
    ("tokio::fs", &["files"]),
    ("tempfile", &["files"]),
    ("rusqlite", &["files"]),
    ("directories", &["files"]),
    ("tracing_appender", &["files"]),
    ("tracing_subscriber", &["files"]),
    ("color_eyre", &["main"]),
    ("clap", &["cli", "app"]),
];

/// `src/x/…` and `src/x.rs` are layer `x`.
fn layer(path: &Path) -> String {
    let first = path.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// The lines of a file without comments, up to its inline tests, with their numbers. A file of tests has none.
fn lines(path: &Path, text: &str) -> Vec<(usize, String)> {
    if path.components().any(|part| part.as_os_str() == "tests") || path.file_name().is_some_and(|name| name == "tests.rs") {
        return Vec::new();
    }
    let mut out = Vec::new();
    let mut ends = false;
    for (index, line) in text.lines().enumerate() {
        // `#[cfg(test)]` before a module ends what is looked at: tests come last in a file.
        if ends && line.starts_with("mod ") && line.ends_with('{') {
            break;
        }
        ends = line.trim() == "#[cfg(test)]" || (ends && line.starts_with("#["));
        let code = line.split("//").next().unwrap_or_default();
        out.push((index + 1, code.to_owned()));
    }
    out
}

/// The names that follow `crate::`, those in braces (`use crate::{a, b::C}`) included, with their lines.
fn crate_paths(lines: &[(usize, String)]) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    let whole: String = lines.iter().flat_map(|(_, code)| [code, "\n"]).collect();
    let line_at = |offset: usize| lines[whole[..offset].matches('\n').count()].0;
    for (start, found) in whole.match_indices("crate::").chain(whole.match_indices("policydeck::")) {
        let before = whole[..start].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &whole[start + found.len()..];
        match rest.strip_prefix('{') {
            None => out.push((line_at(start), word(rest))),
            Some(inner) => {
                let mut depth = 0;
                let mut at_start = true;
                for (offset, c) in inner.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => at_start = true,
                        c if at_start && c.is_alphanumeric() => {
                            out.push((line_at(start), word(&inner[offset..])));
                            at_start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    out
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Whether `code` names a crate or module: as a path, and not as a part of a longer name.
fn names(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(start, _)| {
        let before = code[..start].chars().next_back();
        let after = &code[start + path.len()..];
        let begins = before.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '_' | ':' | '"' | '.' | '-')));
        let continues = after.starts_with("::") || (code.trim_start().starts_with("use ") && after.trim_start().starts_with(';'));
        begins && continues
    })
}

fn complaints(file: &Path, text: &str) -> Vec<String> {
    let layer = layer(file);
    let lines = lines(file, text);
    let mut out = Vec::new();
    let mut complain = |line: usize, what: String| out.push(format!("src/{}:{line}: {what}", file.display()));
    if !ROOTS.contains(&layer.as_str()) {
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
            complain(1, format!("`{layer}` is no layer: add it to tests/layers.rs with what it may use"));
            return out;
        };
        for (line, used) in crate_paths(&lines) {
            let is_layer = LAYERS.iter().any(|(name, _)| *name == used) || ROOTS.contains(&used.as_str());
            if is_layer && used != layer && !allowed.contains(&used.as_str()) {
                complain(line, format!("`{layer}` may not use `crate::{used}`"));
            }
        }
    }
    for (line, code) in &lines {
        for (path, homes) in CONFINED {
            if names(code, path) && !homes.contains(&layer.as_str()) {
                complain(*line, format!("`{path}` belongs into {}", homes.join(" and ")));
            }
        }
    }
    out
}

#[test]
fn arrows_point_downwards() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let complaints: Vec<String> =
        files.iter().flat_map(|file| complaints(file.strip_prefix(&root).unwrap(), &std::fs::read_to_string(file).unwrap())).collect();
    assert!(files.len() > 20, "the sources are read");
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn layers_do_not_go_round() {
    let mut below: BTreeSet<&str> = BTreeSet::new();
    for (name, allowed) in LAYERS {
        for used in allowed {
            assert!(below.contains(used), "{name} uses {used}, which stands above it");
        }
        below.insert(name);
    }
}

#[test]
fn an_arrow_that_points_up_is_found() {
    for (file, text, found) in [
        ("domain/x.rs", "//! use crate::tui;\nuse crate::fleet::view;\n", "src/domain/x.rs:2: `domain` may not use `crate::fleet`"),
        ("cli/x.rs", "fn f() {\n    crate::files::read();\n}\n", "src/cli/x.rs:2: `cli` may not use `crate::files`"),
        ("cli/x.rs", "use crate::{\n    domain::{self, tui},\n    tui::App,\n};\n", "`cli` may not use `crate::tui`"),
        ("engine/x.rs", "use ratatui::Frame;\n", "`ratatui` belongs into tui"),
        ("fleet/x.rs", "let t = std::fs::read(p);\n", "`std::fs` belongs into files"),
        ("app/x.rs", "use kube;\n", "`kube` belongs into cluster and demo"),
        ("widgets/x.rs", "", "`widgets` is no layer"),
    ] {
        let complaints = complaints(Path::new(file), text).join("\n");
        assert!(complaints.contains(found), "{file}: {complaints}");
        assert_eq!(complaints.lines().count(), 1, "{complaints}");
    }
    for (file, text) in [
        ("tui/x.rs", "use crate::engine::Handle;\nuse ratatui::Frame;\n"),
        ("domain/x.rs", "#[cfg(test)]\nmod tests {\n    use crate::fleet;\n}\n"),
        ("cli/tests.rs", "use crate::tui;\n"),
        ("demo/x.rs", "let kube = my_kube::x; // kube::Client\n"),
        ("fleet/x.rs", "let s = \"kube::x\";\n"),
    ] {
        assert_eq!(complaints(Path::new(file), text), Vec::<String>::new(), "{file}");
    }
}
