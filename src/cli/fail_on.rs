//! The expressions of `status --fail-on`: `fail>0`, `error>0 or not (stale = 0 and complete)`.
//!
//! What is not known is neither true nor false, and counts of an incomplete environment can only grow.

use crate::cli::items::StatusItem;
use crate::domain::Tally;
use crate::domain::near::nearest;
use std::fmt;

/// An expression over one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailOn(Node);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Or(Vec<Node>),
    And(Vec<Node>),
    Not(Box<Node>),
    Compare(Count, Sign, u64),
    Flag(Flag),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Ge,
    Le,
    Ne,
    Eq,
    Gt,
    Lt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flag {
    Complete,
    Incomplete,
}

/// Which number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    Findings(Slot),
    Owners(Slot),
    Blocked,
    Stale,
    Malformed,
    Policies,
    Exceptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Fail,
    Error,
    Warn,
    Skip,
    Pass,
}

const COUNTS: [(&str, Count); 15] = [
    ("fail", Count::Findings(Slot::Fail)),
    ("error", Count::Findings(Slot::Error)),
    ("warn", Count::Findings(Slot::Warn)),
    ("skip", Count::Findings(Slot::Skip)),
    ("pass", Count::Findings(Slot::Pass)),
    ("owners.fail", Count::Owners(Slot::Fail)),
    ("owners.error", Count::Owners(Slot::Error)),
    ("owners.warn", Count::Owners(Slot::Warn)),
    ("owners.skip", Count::Owners(Slot::Skip)),
    ("owners.pass", Count::Owners(Slot::Pass)),
    ("blocked", Count::Blocked),
    ("stale", Count::Stale),
    ("malformed", Count::Malformed),
    ("policies", Count::Policies),
    ("exceptions", Count::Exceptions),
];

const FLAGS: [(&str, Flag); 2] = [("complete", Flag::Complete), ("incomplete", Flag::Incomplete)];

const SIGNS: [(&str, Sign); 7] =
    [(">=", Sign::Ge), ("<=", Sign::Le), ("!=", Sign::Ne), ("==", Sign::Eq), ("=", Sign::Eq), (">", Sign::Gt), ("<", Sign::Lt)];

/// Deep enough for any expression that a person writes, and far from the stack's end.
const DEPTH: usize = 50;

/// What cannot be read, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailOnError {
    /// What is wrong and what to write.
    pub message: String,
    /// Column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for FailOnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)
    }
}

impl std::error::Error for FailOnError {}

impl FailOn {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, FailOnError> {
        let mut reader = Reader { text, at: 0, depth: 0 };
        let node = reader.or()?;
        match reader.next_word() {
            "" => Ok(Self(node)),
            rest => Err(reader.error(format!("`{rest}` is not expected here; join conditions with `and` and `or`"))),
        }
    }

    /// The counts that can be compared.
    pub fn counts() -> impl Iterator<Item = &'static str> {
        COUNTS.iter().map(|(name, _)| *name)
    }

    /// Whether it holds in an environment; `None` where that depends on what is not known.
    pub fn holds(&self, item: &StatusItem) -> Option<bool> {
        self.0.holds(item)
    }
}

impl Node {
    fn holds(&self, item: &StatusItem) -> Option<bool> {
        match self {
            Self::Or(nodes) => decided(nodes, item, true),
            Self::And(nodes) => decided(nodes, item, false),
            Self::Not(node) => node.holds(item).map(|holds| !holds),
            Self::Flag(Flag::Complete) => Some(item.complete),
            Self::Flag(Flag::Incomplete) => Some(!item.complete),
            Self::Compare(count, sign, limit) => sign.holds(count.of(item)?, *limit, item.complete),
        }
    }
}

/// One part that is `decisive` decides; without one, all parts have to be known.
fn decided(nodes: &[Node], item: &StatusItem, decisive: bool) -> Option<bool> {
    let mut all_known = true;
    for node in nodes {
        match node.holds(item) {
            Some(holds) if holds == decisive => return Some(decisive),
            Some(_) => {}
            None => all_known = false,
        }
    }
    all_known.then_some(!decisive)
}

impl Sign {
    /// `exact` is false where the count can still grow: then only what stays true or false is told.
    fn holds(self, count: u64, limit: u64, exact: bool) -> Option<bool> {
        let certain = |holds: bool, settled: bool| (exact || settled).then_some(holds);
        match self {
            Self::Gt => certain(count > limit, count > limit),
            Self::Ge => certain(count >= limit, count >= limit),
            Self::Lt => certain(count < limit, count >= limit),
            Self::Le => certain(count <= limit, count > limit),
            Self::Eq => certain(count == limit, count > limit),
            Self::Ne => certain(count != limit, count > limit),
        }
    }
}

impl Count {
    fn of(self, item: &StatusItem) -> Option<u64> {
        match self {
            Self::Findings(slot) => item.findings.as_ref().map(|tally| slot.of(tally)),
            Self::Owners(slot) => item.owners.as_ref().map(|tally| slot.of(tally)),
            Self::Blocked => item.blocked,
            Self::Stale => item.stale,
            Self::Malformed => item.malformed,
            Self::Policies => item.policies,
            Self::Exceptions => item.exceptions,
        }
    }
}

impl Slot {
    fn of(self, tally: &Tally) -> u64 {
        match self {
            Self::Fail => tally.fail,
            Self::Error => tally.error,
            Self::Warn => tally.warn,
            Self::Skip => tally.skip,
            Self::Pass => tally.pass,
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn error(&self, message: String) -> FailOnError {
        FailOnError { message, column: self.text[..self.at].chars().count() + 1 }
    }

    /// The next word, sign or parenthesis, without taking it.
    fn next_word(&mut self) -> &'t str {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        let rest = &self.text[self.at..];
        if let Some((sign, _)) = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign)) {
            return sign;
        }
        let word = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '_' | '-'))).unwrap_or(rest.len());
        let one = rest.chars().next().map_or(0, char::len_utf8);
        &rest[..word.max(one)]
    }

    fn take(&mut self, wanted: &str) -> bool {
        let word = self.next_word();
        let found = word.eq_ignore_ascii_case(wanted);
        if found {
            self.at += word.len();
        }
        found
    }

    fn or(&mut self) -> Result<Node, FailOnError> {
        self.chain("or", Self::and, Node::Or)
    }

    fn and(&mut self) -> Result<Node, FailOnError> {
        self.chain("and", Self::not, Node::And)
    }

    /// Parts with a word between them. A list and no tree: a chain may be as long as a command line, and the stack is not.
    fn chain(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Result<Node, FailOnError>,
        joined: fn(Vec<Node>) -> Node,
    ) -> Result<Node, FailOnError> {
        let first = part(self)?;
        if !self.take(word) {
            return Ok(first);
        }
        let mut parts = vec![first, part(self)?];
        while self.take(word) {
            parts.push(part(self)?);
        }
        Ok(joined(parts))
    }

    fn not(&mut self) -> Result<Node, FailOnError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.error("too deeply nested".into()));
        }
        let node = if self.take("not") {
            Node::Not(Box::new(self.not()?))
        } else if self.take("(") {
            let inner = self.or()?;
            if !self.take(")") {
                return Err(self.error("`)` is missing".into()));
            }
            inner
        } else {
            self.condition()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn condition(&mut self) -> Result<Node, FailOnError> {
        let word = self.next_word();
        if word.is_empty() {
            return Err(self.error("a condition is missing, for example `fail>0`".into()));
        }
        if let Some((_, flag)) = FLAGS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
            self.at += word.len();
            return Ok(Node::Flag(*flag));
        }
        let Some((_, count)) = COUNTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) else {
            let names = || COUNTS.iter().map(|(name, _)| *name).chain(FLAGS.iter().map(|(name, _)| *name));
            let hint = match nearest(word, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
            };
            return Err(self.error(format!("there is no count `{word}`; {hint}")));
        };
        self.at += word.len();
        self.comparison(*count)
    }

    fn comparison(&mut self, count: Count) -> Result<Node, FailOnError> {
        let word = self.next_word();
        let Some((sign, meaning)) = SIGNS.iter().find(|(sign, _)| *sign == word) else {
            // A count alone asks whether there is any.
            return Ok(Node::Compare(count, Sign::Gt, 0));
        };
        self.at += sign.len();
        let number = self.next_word();
        let limit = number.parse().map_err(|_| self.error(format!("`{number}` is not a whole number from 0 up")))?;
        self.at += number.len();
        Ok(Node::Compare(count, *meaning, limit))
    }
}
