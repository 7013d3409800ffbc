//! The flags of a container's program, as Go's `flag` package reads them.
//!
//! A value that Kubernetes fills in (`$(VAR)`) is not known here, and neither is what a shell or another wrapper makes of its words.

use serde_json::Value;

/// Flags that take the next word where no `=` follows, whatever that word looks like.
const WITH_TEXT: [&str; 4] = ["omitEvents", "maxQueuedEvents", "backgroundScanInterval", "event-ttl"];
/// Where a reference to a variable begins.
const VARIABLE: &str = "$(";

/// Flags in order, each with its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flags<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Flags<'a> {
    /// The flags of a container that runs `program`; `None` where they are not known.
    pub(super) fn of(container: &'a Value, program: &str) -> Option<Self> {
        let command = words(container, "command")?;
        let own = match command.split_first() {
            // The image's entry point.
            None => &[][..],
            Some((path, own)) if path.rsplit('/').next() == Some(program) => own,
            Some(_) => return None,
        };
        Self::read(own.iter().copied().chain(words(container, "args")?))
    }

    /// The last one counts. `None` where its value is not known.
    pub(super) fn text(&self, name: &str, default: &'a str) -> Option<&'a str> {
        let value = self.0.iter().rfind(|(of, _)| *of == name).map_or(default, |(_, value)| value);
        (!value.contains(VARIABLE)).then_some(value)
    }

    /// A flag that is on or off; `None` where its value is not known.
    pub(super) fn switch(&self, name: &str, default: bool) -> Option<bool> {
        truth(self.text(name, if default { "true" } else { "false" })?)
    }

    fn read(words: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut words = words.peekable();
        let mut flags = Vec::new();
        while let Some(word) = words.next() {
            if word.split('=').next().is_some_and(|name| name.contains(VARIABLE)) {
                return None;
            }
            // Go stops at the first word that is no flag.
            let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|flag| !flag.is_empty()) else { break };
            flags.push(match flag.split_once('=') {
                Some(flag) => flag,
                // A switch never takes the next word, not even `false`.
                None => match words.next_if(|next| WITH_TEXT.contains(&flag) || !(next.starts_with('-') || truth(next).is_some())) {
                    Some(value) => (flag, value),
                    None => (flag, "true"),
                },
            });
        }
        Some(Self(flags))
    }
}

/// The words of a list; none where there is no list, `None` where it holds something else.
fn words<'a>(container: &'a Value, field: &str) -> Option<Vec<&'a str>> {
    match container.get(field) {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(list) => list.as_array()?.iter().map(Value::as_str).collect(),
    }
}

/// As Go's `strconv.ParseBool` reads it; numbers are values of other flags more often than not.
fn truth(value: &str) -> Option<bool> {
    match value {
        "true" | "TRUE" | "True" | "t" | "T" => Some(true),
        "false" | "FALSE" | "False" | "f" | "F" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Flags;
    use serde_json::json;

    #[test]
    fn flags_are_read_as_go_reads_them() {
        for (args, expected) in [
            (json!([]), Some("")),
            (json!(["--omitEvents=A"]), Some("A")),
            (json!(["-omitEvents=A"]), Some("A")),
            (json!(["--omitEvents", "A"]), Some("A")),
            (json!(["-omitEvents", "-A"]), Some("-A")),
            (json!(["--omitEvents=A", "--omitEvents=B"]), Some("B")),
            (json!(["--v", "4", "--omitEvents=A"]), Some("A")),
            (json!(["--enableTracing", "--omitEvents=A"]), Some("A")),
            (json!(["--enableTracing", "false", "--omitEvents=A"]), Some("")),
            (json!(["--", "--omitEvents=A"]), Some("")),
            (json!(["--other=--omitEvents=A"]), Some("")),
            (json!(["--omitEvents=$(OMIT)"]), None),
            (json!(["$(MORE)"]), None),
            (json!(["--$(NAME)=A"]), None),
            (json!(["--v=$(LEVEL)", "--omitEvents=A"]), Some("A")),
            (json!([7]), None),
        ] {
            let container = json!({"args": args});
            let flags = Flags::of(&container, "kyverno");
            assert_eq!(flags.as_ref().and_then(|flags| flags.text("omitEvents", "")), expected, "{container}");
        }
    }

    #[test]
    fn the_command_has_flags_too_unless_it_is_another_program() {
        let of = |container| Flags::of(&container, "kyverno").and_then(|flags| flags.text("omitEvents", "").map(str::to_owned));
        assert_eq!(of(json!({"command": ["/ko-app/kyverno", "--omitEvents=A"]})).as_deref(), Some("A"));
        assert_eq!(of(json!({"command": ["kyverno", "--omitEvents"], "args": ["A"]})).as_deref(), Some("A"));
        assert_eq!(of(json!({"command": ["sh", "-c", "kyverno --omitEvents=A"]})), None);
    }

    #[test]
    fn switches() {
        let of = |arg: &str| Flags::of(&json!({"args": [arg]}), "kyverno").and_then(|flags| flags.switch("backgroundScan", true));
        assert_eq!(of("--v=2"), Some(true));
        assert_eq!(of("--backgroundScan"), Some(true));
        assert_eq!(of("-backgroundScan=F"), Some(false));
        assert_eq!(of("--backgroundScan=perhaps"), None);
    }
}
