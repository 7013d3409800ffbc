//! Reading and printing filters. Printing gives the shortest text that reads back as the same filter.

use super::{Field, Filter, Op, OwnTerm, Term, Test, Value, lower};
use crate::domain::near::nearest;
use crate::domain::time::parse_duration;
use crate::domain::{FindingResult, Mode, Severity, Tier};
use std::fmt;
use std::str::FromStr as _;

/// What cannot be read, where, and what was probably meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    /// What is wrong.
    pub message: String,
    /// Column in characters, from 1.
    pub column: usize,
    /// What to write instead.
    pub hint: String,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, ". {}", self.hint) }
    }
}

impl std::error::Error for FilterError {}

/// Every field with the names it goes by; the first is printed.
const FIELDS: [(Field, &[&str]); 19] = [
    (Field::Env, &["env", "environment"]),
    (Field::Tier, &["tier"]),
    (Field::Ns, &["ns", "namespace"]),
    (Field::Kind, &["kind"]),
    (Field::Name, &["name", "resource"]),
    (Field::Policy, &["policy"]),
    (Field::Rule, &["rule"]),
    (Field::Sev, &["sev", "severity"]),
    (Field::Result, &["result"]),
    (Field::Source, &["source"]),
    (Field::Mode, &["mode"]),
    (Field::Owner, &["owner"]),
    (Field::Exception, &["exception"]),
    (Field::Category, &["category"]),
    (Field::Message, &["message", "msg"]),
    (Field::Age, &["age"]),
    (Field::Stale, &["stale"]),
    (Field::Foreign, &["foreign"]),
    (Field::Unverified, &["unverified"]),
];

/// Longer ones first, so that `>=` is not read as `>`.
const OPERATORS: [(Op, &str); 7] =
    [(Op::Ne, "!="), (Op::Ge, ">="), (Op::Le, "<="), (Op::Eq, "="), (Op::Gt, ">"), (Op::Lt, "<"), (Op::Has, "~")];

const MODES: [Mode; 8] = [Mode::Audit, Mode::Enforce, Mode::Mixed, Mode::Warn, Mode::Off, Mode::NotReady, Mode::Absent, Mode::Unknown];

impl Field {
    /// All fields in the order of the documentation.
    pub fn all() -> impl Iterator<Item = Self> {
        FIELDS.iter().map(|(field, _)| *field)
    }

    /// The name it is printed with.
    pub fn as_str(self) -> &'static str {
        FIELDS.iter().find(|(field, _)| *field == self).map_or("", |(_, names)| names[0])
    }

    /// What its values may be, for completion and hints; empty for free text.
    pub fn words(self) -> Vec<&'static str> {
        match self {
            Self::Sev => Severity::ALL.iter().rev().map(|s| s.as_str()).collect(),
            Self::Result => FindingResult::ALL.iter().rev().map(|r| r.as_str()).collect(),
            Self::Mode => MODES.iter().map(|m| m.as_str()).collect(),
            Self::Tier => vec!["normal", "production"],
            Self::Stale | Self::Foreign | Self::Unverified => vec!["yes", "no"],
            _ => Vec::new(),
        }
    }

    fn takes(self, op: Op) -> bool {
        match self {
            Self::Sev | Self::Result => op != Op::Has,
            Self::Age => matches!(op, Op::Lt | Op::Le | Op::Gt | Op::Ge),
            Self::Mode | Self::Tier | Self::Stale | Self::Foreign | Self::Unverified => matches!(op, Op::Eq | Op::Ne),
            _ => matches!(op, Op::Eq | Op::Ne | Op::Has),
        }
    }

    fn value(self, raw: &Raw) -> Option<Value> {
        let word = raw.text.to_lowercase();
        match self {
            Self::Sev => Severity::from_str(&word).ok().map(Value::Severity),
            Self::Result => FindingResult::from_str(&word).ok().map(Value::Result),
            Self::Mode => MODES.into_iter().find(|mode| mode.as_str() == word).map(Value::Mode),
            Self::Tier => match word.as_str() {
                "normal" => Some(Value::Tier(Tier::Normal)),
                "production" => Some(Value::Tier(Tier::Production)),
                _ => None,
            },
            Self::Stale | Self::Foreign | Self::Unverified => match word.as_str() {
                "yes" | "true" => Some(Value::Flag(true)),
                "no" | "false" => Some(Value::Flag(false)),
                _ => None,
            },
            Self::Age => parse_duration(&raw.text).ok().map(Value::Age),
            _ => Some(text_value(raw)),
        }
    }
}

fn text_value(raw: &Raw) -> Value {
    if !raw.quoted && raw.text.contains(['*', '?']) { Value::Glob(fold(&raw.text)) } else { Value::Literal(fold(&raw.text)) }
}

/// Lower case, as comparing does it.
fn fold(text: &str) -> String {
    text.chars().map(lower).collect()
}

struct Raw {
    text: String,
    quoted: bool,
    column: usize,
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    fn skip_blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn column(&self) -> usize {
        self.text[..self.at].chars().count() + 1
    }

    /// `name` followed by an operator; nothing is taken where there is no operator.
    fn field_and_operator(&mut self) -> Option<(String, Op)> {
        let name: String = self.rest().chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
        let after = &self.rest()[name.len()..];
        let (op, sign) = OPERATORS.iter().find(|(_, sign)| after.starts_with(sign))?;
        if name.is_empty() {
            return None;
        }
        self.at += name.len() + sign.len();
        Some((name, *op))
    }

    /// A quoted text, or everything up to a blank (and, within lists, a comma).
    fn value(&mut self, in_list: bool) -> Result<Raw, FilterError> {
        let column = self.column();
        if !self.eat("\"") {
            let end = self.rest().find(|c: char| c.is_whitespace() || (in_list && c == ',')).unwrap_or(self.rest().len());
            let text = self.rest()[..end].to_owned();
            self.at += end;
            return Ok(Raw { text, quoted: false, column });
        }
        let mut text = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((offset, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += offset + 1;
                    return Ok(Raw { text, quoted: true, column });
                }
                '\\' => text.extend(chars.next().map(|(_, escaped)| escaped)),
                c => text.push(c),
            }
        }
        Err(FilterError { message: "the quotes are not closed".into(), column, hint: "Write `\"` at the end.".into() })
    }
}

pub(super) fn parse(text: &str) -> Result<Filter, FilterError> {
    Ok(parse_with(text, &[])?.0)
}

/// The same with fields of a list's own.
pub(super) fn parse_with(text: &str, own: &[&'static str]) -> Result<(Filter, Vec<OwnTerm>), FilterError> {
    let mut reader = Reader { text, at: 0 };
    let (mut terms, mut others) = (Vec::new(), Vec::new());
    loop {
        reader.skip_blanks();
        if reader.peek().is_none() {
            return Ok((Filter { terms }, others));
        }
        match term(&mut reader, own)? {
            Read::Term(term) => terms.push(term),
            Read::Own(term) => others.push(term),
        }
    }
}

enum Read {
    Term(Term),
    Own(OwnTerm),
}

fn term(reader: &mut Reader<'_>, own: &[&'static str]) -> Result<Read, FilterError> {
    let start = reader.column();
    let negated = reader.eat("!");
    let name_column = reader.column();
    if let Some((name, op)) = reader.field_and_operator() {
        if let Some(name) = own.iter().find(|own| own.eq_ignore_ascii_case(&name)) {
            let takes = |op: Op| matches!(op, Op::Eq | Op::Ne | Op::Has);
            let values = values(reader, name, &takes, &|raw| Ok(text_value(raw)), op, name_column)?;
            return Ok(Read::Own(OwnTerm { name, negated, op, values }));
        }
        let field = field(&name, name_column, own)?;
        let value = |raw: &Raw| field.value(raw).ok_or_else(|| bad_value(field, raw));
        let values = values(reader, field.as_str(), &|op| field.takes(op), &value, op, name_column)?;
        return Ok(Read::Term(Term { negated, test: Test::Field(field, op, values) }));
    }
    let word = reader.value(false)?;
    if word.text.is_empty() {
        let hint = "Write a word or `field=value`, for example `!ns=kube-system`.";
        return Err(FilterError { message: "there is nothing to look for".into(), column: start, hint: hint.into() });
    }
    ends_here(reader)?;
    Ok(Read::Term(Term { negated, test: Test::Word(fold(&word.text)) }))
}

fn field(name: &str, column: usize, own: &[&'static str]) -> Result<Field, FilterError> {
    let lower = name.to_lowercase();
    if let Some((field, _)) = FIELDS.iter().find(|(_, names)| names.contains(&lower.as_str())) {
        return Ok(*field);
    }
    let hint = match nearest(name, own.iter().copied().chain(FIELDS.iter().flat_map(|(_, names)| names.iter().copied()))) {
        Some(near) => format!("Did you mean `{near}`?"),
        None => format!("Fields: {}. Quotes make it plain text.", FIELDS.map(|(_, names)| names[0]).join(", ")),
    };
    Err(FilterError { message: format!("there is no field `{name}`"), column, hint })
}

/// The values after a field and its operator: `takes` says which operators fit, `value` what a text means.
fn values(
    reader: &mut Reader<'_>,
    field: &str,
    takes: &dyn Fn(Op) -> bool,
    value: &dyn Fn(&Raw) -> Result<Value, FilterError>,
    op: Op,
    column: usize,
) -> Result<Vec<Value>, FilterError> {
    if !takes(op) {
        let valid = OPERATORS.iter().filter(|(op, _)| takes(*op)).map(|(_, sign)| format!("`{sign}`")).collect::<Vec<_>>();
        let message = format!("`{field}` cannot be compared with `{}`", sign(op));
        return Err(FilterError { message, column, hint: format!("It takes {}.", valid.join(", ")) });
    }
    let mut values = Vec::new();
    loop {
        let raw = reader.value(true)?;
        if raw.text.is_empty() && !raw.quoted {
            let message = format!("`{field}{}` needs a value", sign(op));
            return Err(FilterError { message, column: raw.column, hint: "`\"\"` stands for none.".into() });
        }
        values.push(value(&raw)?);
        if !reader.eat(",") {
            ends_here(reader)?;
            return Ok(values);
        }
    }
}

fn bad_value(field: Field, raw: &Raw) -> FilterError {
    let words = field.words();
    let hint = match nearest(&raw.text, words.iter().copied()) {
        Some(near) => format!("Did you mean `{near}`?"),
        None if words.is_empty() => "Write for example `2h` or `7d`.".into(),
        None => format!("Write {}.", words.join(", ")),
    };
    FilterError { message: format!("`{}` is no value of `{}`", raw.text, field.as_str()), column: raw.column, hint }
}

/// After a closing quote there is a blank or nothing.
fn ends_here(reader: &Reader<'_>) -> Result<(), FilterError> {
    match reader.peek() {
        Some(c) if !c.is_whitespace() => {
            let message = format!("`{c}` comes right after the closing quotes");
            Err(FilterError { message, column: reader.column(), hint: "Put a blank between them.".into() })
        }
        _ => Ok(()),
    }
}

fn sign(op: Op) -> &'static str {
    OPERATORS.iter().find(|(known, _)| *known == op).map_or("=", |(_, sign)| sign)
}

pub(super) fn print(filter: &Filter, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, term) in filter.terms.iter().enumerate() {
        if index > 0 {
            f.write_str(" ")?;
        }
        if term.negated {
            f.write_str("!")?;
        }
        match &term.test {
            Test::Word(word) => print_text(word, is_plain_word(word), f)?,
            Test::Field(field, op, values) => {
                write!(f, "{}{}", field.as_str(), sign(*op))?;
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        f.write_str(",")?;
                    }
                    print_value(value, f)?;
                }
            }
        }
    }
    Ok(())
}

fn print_value(value: &Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value {
        Value::Literal(text) => print_text(text, is_plain_value(text) && !text.contains(['*', '?']), f),
        Value::Glob(text) => f.write_str(text),
        Value::Severity(severity) => f.write_str(severity.as_str()),
        Value::Result(result) => f.write_str(result.as_str()),
        Value::Mode(mode) => f.write_str(mode.as_str()),
        Value::Tier(Tier::Normal) => f.write_str("normal"),
        Value::Tier(Tier::Production) => f.write_str("production"),
        Value::Age(age) => {
            let seconds = age.as_secs();
            match [(86_400, "d"), (3_600, "h"), (60, "m")].into_iter().find(|(unit, _)| seconds > 0 && seconds % unit == 0) {
                Some((unit, letter)) if age.subsec_nanos() == 0 => write!(f, "{}{letter}", seconds / unit),
                // jiff's own notation keeps fractions; it holds no blanks.
                _ => write!(f, "{age}"),
            }
        }
        Value::Flag(flag) => f.write_str(if *flag { "yes" } else { "no" }),
    }
}

fn is_plain_value(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('"') && !text.contains(|c: char| c.is_whitespace() || c == ',')
}

/// A word that reads back as a word: no blanks, and nothing that looks like a field or a negation.
fn is_plain_word(text: &str) -> bool {
    let blank = text.contains(char::is_whitespace);
    !text.is_empty() && !blank && !text.starts_with(['"', '!']) && (Reader { text, at: 0 }).field_and_operator().is_none()
}

fn print_text(text: &str, plain: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if plain {
        return f.write_str(text);
    }
    f.write_str("\"")?;
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            f.write_str("\\")?;
        }
        write!(f, "{c}")?;
    }
    f.write_str("\"")
}
