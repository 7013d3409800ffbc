//! The filter grammar of screens and commands: `env=production sev>=high age<2h !ns=kube-system text`.
//!
//! Words are ANDed. A word is `field operator value[,value…]` or plain text; `!` before it turns it round. Plain text is looked for
//! in the policy, rule, message, namespace and name, whatever its capitals. Values take `*` and `?`; quotes make them literal.
//!
//! What lives here: the meaning of a filter on findings and on cells. Reading and printing one is in `grammar`.

mod grammar;
mod own;

pub use grammar::FilterError;
pub use own::OwnTerm;

use super::query::FindingRow;
use super::view::PolicyCell;
use crate::domain::{FindingResult, Mode, PolicyId, Severity, Tally, Tier};
use jiff::{SignedDuration, Timestamp};
use std::fmt;
use std::str::FromStr;

/// A filter; the empty one lets everything through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    terms: Vec<Term>,
}

/// Whether something passes a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every row of it does.
    Yes,
    /// No row of it does.
    No,
    /// That depends on its rows: ask for them.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    negated: bool,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    /// Text anywhere, in lower case.
    Word(String),
    Field(Field, Op, Vec<Value>),
}

/// What a filter can ask about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// Environment.
    Env,
    /// Tier of the environment.
    Tier,
    /// Namespace of the resource.
    Ns,
    /// Kind of the resource.
    Kind,
    /// Name of the resource.
    Name,
    /// Policy: `name`, `namespace/name` or `Kind/[namespace/]name`.
    Policy,
    /// Rule.
    Rule,
    /// Severity.
    Sev,
    /// Result.
    Result,
    /// Source of the report.
    Source,
    /// Mode of the policy.
    Mode,
    /// Top owner: `name` or `Kind/name`.
    Owner,
    /// Exceptions that excused it.
    Exception,
    /// Category.
    Category,
    /// Message.
    Message,
    /// Time since it was evaluated.
    Age,
    /// Whether the policy or rule no longer exists.
    Stale,
    /// Whether a report of one namespace speaks for another.
    Foreign,
    /// A client other than Kyverno wrote the result.
    Unverified,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Eq,
    Ne,
    Ge,
    Le,
    Gt,
    Lt,
    Has,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    /// Compared letter by letter, without capitals.
    Literal(String),
    /// With `*` and `?`.
    Glob(String),
    Severity(Severity),
    Result(FindingResult),
    Mode(Mode),
    Tier(Tier),
    Age(SignedDuration),
    Flag(bool),
}

impl Filter {
    /// Reads a filter. No text makes it panic.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        grammar::parse(text)
    }

    /// The same where the list has fields of its own, which are text: they come back beside the filter, and hide the grammar's of the same names.
    pub fn parse_with(text: &str, own: &[&'static str]) -> Result<(Self, Vec<OwnTerm>), FilterError> {
        grammar::parse_with(text, own)
    }

    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The fields it asks about; `None` stands for plain text.
    pub fn fields(&self) -> impl Iterator<Item = Option<Field>> {
        self.terms.iter().map(|term| match &term.test {
            Test::Word(_) => None,
            Test::Field(field, ..) => Some(*field),
        })
    }

    /// Whether it asks about stale results, which are otherwise left out.
    pub fn wants_stale(&self) -> bool {
        self.fields().any(|field| field == Some(Field::Stale))
    }

    /// Whether it asks about results that speak for another namespace, which are otherwise left out.
    pub fn wants_foreign(&self) -> bool {
        self.fields().any(|field| field == Some(Field::Foreign))
    }

    /// The results that can pass; all of them where it does not ask.
    pub fn results(&self) -> Vec<FindingResult> {
        let of_results = |term: &&Term| matches!(term.test, Test::Field(Field::Result, ..));
        let terms: Vec<&Term> = self.terms.iter().filter(of_results).collect();
        FindingResult::ALL.into_iter().filter(|result| terms.iter().all(|term| term.allows_result(*result))).collect()
    }

    /// Whether an environment can have anything that passes; only `env` and `tier` are looked at.
    pub fn matches_environment(&self, environment: &str, tier: Tier) -> bool {
        self.terms.iter().all(|term| match &term.test {
            Test::Field(Field::Env, op, values) => text_matches(*op, values, &[environment]) != term.negated,
            Test::Field(Field::Tier, op, values) => ordered(*op, values, Some(Value::Tier(tier))) != term.negated,
            _ => true,
        })
    }

    /// Whether a finding passes. A row does not know the mode of its policy: ask [`Filter::matches_cell`] first, here `mode` counts as met.
    pub fn matches_finding(&self, environment: &str, tier: Tier, row: &FindingRow, now: Timestamp) -> bool {
        self.matches_environment(environment, tier) && self.terms.iter().all(|term| term.matches_row(row, now))
    }

    /// What can be told of a cell without asking for its rows.
    pub fn matches_cell(&self, environment: &str, tier: Tier, cell: &PolicyCell, now: Timestamp) -> Verdict {
        if !self.matches_environment(environment, tier) {
            return Verdict::No;
        }
        self.terms.iter().map(|term| term.on_cell(cell, now)).fold(Verdict::Yes, Verdict::and)
    }
}

impl Filter {
    /// Whether the failures and errors that a cell counts pass; unknown where only its rows can tell which of them do.
    pub fn matches_faults(&self, environment: &str, tier: Tier, cell: &PolicyCell, now: Timestamp) -> Verdict {
        let tally = cell.findings;
        let of_result = |term: &Term| match (term.allows_result(FindingResult::Fail), term.allows_result(FindingResult::Error)) {
            (fails, errors) if fails == errors => Verdict::of(fails),
            (fails, errors) if tally.fail == 0 || tally.error == 0 => Verdict::of(if tally.fail > 0 { fails } else { errors }),
            _ => Verdict::Unknown,
        };
        if !self.matches_environment(environment, tier) {
            return Verdict::No;
        }
        let on_faults = |term: &Term| match term.test {
            Test::Field(Field::Result, ..) => of_result(term),
            _ => term.on_cell(cell, now),
        };
        self.terms.iter().map(on_faults).fold(Verdict::Yes, Verdict::and)
    }
}

impl FromStr for Filter {
    type Err = FilterError;
    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        grammar::print(self, f)
    }
}

impl Verdict {
    fn of(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Unknown,
        }
    }
}

impl Term {
    fn matches_row(&self, row: &FindingRow, now: Timestamp) -> bool {
        let met = match &self.test {
            Test::Word(word) => {
                let texts = [&row.key.id.name, &*row.rule, &row.message, &row.resource.namespace, &row.resource.name];
                texts.iter().any(|text| contains(text, word)) || row.key.id.namespace.as_deref().is_some_and(|ns| contains(ns, word))
            }
            Test::Field(field, op, values) => {
                let text = |texts: &[&str]| text_matches(*op, values, texts);
                match field {
                    // Decided before: by the environment and by the cell.
                    Field::Env | Field::Tier | Field::Mode => return true,
                    Field::Ns => text(&[row.resource.own_namespace()]),
                    Field::Kind => text(&[&row.resource.kind]),
                    Field::Name => text(&[&row.resource.name]),
                    Field::Policy => policy_matches(*op, values, &row.key.id),
                    Field::Rule => text(&[&row.rule]),
                    Field::Source => text(&[&row.key.source]),
                    Field::Category => text(&[&row.category]),
                    Field::Message => text(&[&row.message]),
                    Field::Exception => text(&[&row.exception]),
                    Field::Owner => match &row.owner {
                        Some(owner) => text(&[&owner.name, &owner.to_string()]),
                        None => text(&[""]),
                    },
                    Field::Sev => ordered(*op, values, row.severity.map(Value::Severity)),
                    Field::Result => ordered(*op, values, Some(Value::Result(row.result))),
                    Field::Age => ordered(*op, values, row.evaluated_at.map(|at| Value::Age(now.duration_since(at)))),
                    Field::Stale => ordered(*op, values, Some(Value::Flag(row.stale))),
                    Field::Foreign => ordered(*op, values, Some(Value::Flag(row.foreign))),
                    Field::Unverified => ordered(*op, values, Some(Value::Flag(row.written_by.is_some()))),
                }
            }
        };
        met != self.negated
    }

    fn on_cell(&self, cell: &PolicyCell, now: Timestamp) -> Verdict {
        // Where there are no rows, what only shuts rows out has nothing to shut out.
        let shuts_out = self.negated != matches!(self.test, Test::Field(_, Op::Ne, _));
        let has_rows = cell.findings.total() > 0 || cell.stale > 0 || cell.foreign > 0 || !cell.complete;
        let rows = || if has_rows { Verdict::Unknown } else { Verdict::of(shuts_out) };
        let decided = |met: bool| Verdict::of(met != self.negated);
        match &self.test {
            Test::Word(word) => {
                let named = contains(&cell.key.id.name, word) || cell.key.id.namespace.as_deref().is_some_and(|ns| contains(ns, word));
                if named { decided(true) } else { rows() }
            }
            Test::Field(field, op, values) => match field {
                Field::Env | Field::Tier => Verdict::Yes,
                Field::Policy => decided(policy_matches(*op, values, &cell.key.id)),
                Field::Source => decided(text_matches(*op, values, &[&cell.key.source])),
                Field::Mode => decided(ordered(*op, values, Some(Value::Mode(cell.mode)))),
                Field::Sev => decided(ordered(*op, values, cell.severity.map(Value::Severity))),
                Field::Category => decided(text_matches(*op, values, &[cell.category.as_deref().unwrap_or_default()])),
                // Stale and foreign results are in no tally, but have a result all the same.
                Field::Result => self.on_tally(&cell.findings, cell.complete && cell.stale == 0 && cell.foreign == 0),
                // Nor is the age of foreign ones that of the newest.
                Field::Age => cell
                    .evaluated_at
                    .filter(|_| cell.foreign == 0)
                    .map_or_else(rows, |newest| self.on_newest(*op, values, now.duration_since(newest))),
                Field::Foreign => match (ordered(*op, values, Some(Value::Flag(true))) != self.negated, cell.foreign) {
                    (true, 0) if cell.complete => Verdict::No,
                    (true, _) => Verdict::Unknown,
                    (false, _) => Verdict::Yes,
                },
                Field::Unverified => match (ordered(*op, values, Some(Value::Flag(true))) != self.negated, cell.unverified) {
                    (true, 0) if cell.complete => Verdict::No,
                    (false, 0) if cell.complete => Verdict::Yes,
                    _ => Verdict::Unknown,
                },
                Field::Stale => match (ordered(*op, values, Some(Value::Flag(true))) != self.negated, cell.stale) {
                    (true, 0) if cell.complete => Verdict::No,
                    (true, _) => Verdict::Unknown,
                    // Counts leave stale results out, so they stand as they are.
                    (false, _) => Verdict::Yes,
                },
                Field::Ns | Field::Kind | Field::Name | Field::Rule | Field::Owner | Field::Exception | Field::Message => rows(),
            },
        }
    }

    fn allows_result(&self, result: FindingResult) -> bool {
        match &self.test {
            Test::Field(Field::Result, op, values) => ordered(*op, values, Some(Value::Result(result))) != self.negated,
            _ => true,
        }
    }

    fn on_tally(&self, tally: &Tally, complete: bool) -> Verdict {
        let passing: u64 = FindingResult::ALL.into_iter().filter(|result| self.allows_result(*result)).map(|result| tally.of(result)).sum();
        match passing {
            0 if complete => Verdict::No,
            _ if passing == tally.total() && complete => Verdict::Yes,
            _ => Verdict::Unknown,
        }
    }

    /// All rows are at least as old as the newest.
    fn on_newest(&self, op: Op, values: &[Value], newest: SignedDuration) -> Verdict {
        let newest_passes = ordered(op, values, Some(Value::Age(newest))) != self.negated;
        let wants_old = matches!(op, Op::Gt | Op::Ge) != self.negated;
        match (newest_passes, wants_old) {
            (true, true) => Verdict::Yes,
            (false, false) => Verdict::No,
            _ => Verdict::Unknown,
        }
    }
}

fn policy_matches(op: Op, values: &[Value], id: &PolicyId) -> bool {
    // Most filters name a policy by its name alone: the longer forms are only made where the short one fails.
    let positive = if op == Op::Ne { Op::Eq } else { op };
    let met = text_matches(positive, values, &[&id.name]) || text_matches(positive, values, &[&id.report_name(), &id.to_string()]);
    met != (op == Op::Ne)
}

/// `=`, `!=` and `~` on text that may be written in several ways.
fn text_matches(op: Op, values: &[Value], texts: &[&str]) -> bool {
    let any = |test: &dyn Fn(&str, &Value) -> bool| texts.iter().any(|text| values.iter().any(|value| test(text, value)));
    match op {
        Op::Has => any(&|text, value| match value {
            Value::Literal(needle) => contains(text, needle),
            Value::Glob(pattern) => glob(&format!("*{pattern}*"), text),
            _ => false,
        }),
        Op::Ne => !any(&is),
        _ => any(&is),
    }
}

fn is(text: &str, value: &Value) -> bool {
    match value {
        Value::Literal(wanted) => same(text, wanted),
        // `*` alone asks whether there is any.
        Value::Glob(pattern) => !text.is_empty() && glob(pattern, text),
        _ => false,
    }
}

/// Operators on values that are not text; nothing is equal to, above or below what is missing.
fn ordered(op: Op, values: &[Value], actual: Option<Value>) -> bool {
    let Some(actual) = actual else { return op == Op::Ne };
    let compare = |wanted: &Value| match (&actual, wanted) {
        (Value::Severity(a), Value::Severity(b)) => Some(a.cmp(b)),
        (Value::Result(a), Value::Result(b)) => Some(a.cmp(b)),
        (Value::Age(a), Value::Age(b)) => Some(a.cmp(b)),
        (a, b) => (a == b).then_some(std::cmp::Ordering::Equal),
    };
    let any = |test: fn(std::cmp::Ordering) -> bool| values.iter().any(|wanted| compare(wanted).is_some_and(test));
    match op {
        Op::Eq | Op::Has => any(std::cmp::Ordering::is_eq),
        Op::Ne => !any(std::cmp::Ordering::is_eq),
        Op::Ge => any(std::cmp::Ordering::is_ge),
        Op::Le => any(std::cmp::Ordering::is_le),
        Op::Gt => any(std::cmp::Ordering::is_gt),
        Op::Lt => any(std::cmp::Ordering::is_lt),
    }
}

fn lower(c: char) -> char {
    // One letter for one letter is enough to find things, and needs no allocation.
    if c.is_ascii() { c.to_ascii_lowercase() } else { c.to_lowercase().next().unwrap_or(c) }
}

fn same(a: &str, b: &str) -> bool {
    a.chars().map(lower).eq(b.chars().map(lower))
}

/// Whether `text` holds `needle`, which is in lower case.
fn contains(text: &str, needle: &str) -> bool {
    if needle.is_ascii() {
        let (text, needle) = (text.as_bytes(), needle.as_bytes());
        return needle.is_empty() || text.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle));
    }
    text.char_indices().any(|(start, _)| {
        let mut rest = text[start..].chars().map(lower);
        needle.chars().map(lower).all(|wanted| rest.next() == Some(wanted))
    })
}

/// Whether `pattern` with `*` and `?` matches the whole `text`. Linear but for the last star, which is all that has to be tried again.
fn glob(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    let mut again = None;
    loop {
        let mut rest = pattern.clone();
        match (rest.next(), text.clone().next()) {
            (Some('*'), _) => {
                again = Some((rest.clone(), text.clone()));
                pattern = rest;
                continue;
            }
            (Some('?'), Some(_)) => {
                text.next();
                pattern = rest;
                continue;
            }
            (Some(wanted), Some(got)) if lower(wanted) == lower(got) => {
                text.next();
                pattern = rest;
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        let Some((after_star, mut from)) = again.take() else { return false };
        if from.next().is_none() {
            return false;
        }
        again = Some((after_star.clone(), from.clone()));
        (pattern, text) = (after_star, from);
    }
}

#[cfg(test)]
mod tests;
