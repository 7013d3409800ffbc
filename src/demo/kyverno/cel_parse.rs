//! Reading CEL: from text to a tree.
//!
//! The subset: literals, lists, maps, field and optional field access, indexing, calls, `! -`, arithmetic,
//! comparison, `in`, `&& ||`, `?:`. Not here: what it means (`super::cel`).

use serde_json::{Value, json};

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expr {
    Literal(Value),
    Name(String),
    /// `a.b`, or `a.?b` when optional.
    Field(Box<Expr>, String, bool),
    /// `a[b]`, or `a[?b]` when optional.
    Index(Box<Expr>, Box<Expr>, bool),
    /// Receiver, function, arguments.
    Call(Option<Box<Expr>>, String, Vec<Expr>),
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    Unary(&'static str, Box<Expr>),
    Binary(&'static str, Box<Expr>, Box<Expr>),
    Choice(Box<Expr>, Box<Expr>, Box<Expr>),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Literal(Value),
    Name(String),
    Mark(&'static str),
}

/// Longer marks first.
const MARKS: [&str; 26] = [
    "&&", "||", "==", "!=", "<=", ">=", ".?", "[?", "(", ")", "[", "]", "{", "}", ",", ":", "?", ".", "!", "-", "+", "*", "/", "%", "<",
    ">",
];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '"' || first == '\'' {
            let (value, after) = quoted(rest, first)?;
            out.push(Token::Literal(Value::from(value)));
            rest = after;
        } else if first.is_ascii_digit() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, after) = rest.split_at_checked(end).ok_or("bad number")?;
            let literal = number.parse::<i64>().map(|n| json!(n)).or_else(|_| number.parse::<f64>().map(|n| json!(n)));
            out.push(Token::Literal(literal.map_err(|_| format!("bad number {number}"))?));
            rest = after.strip_prefix('u').unwrap_or(after);
        } else if first.is_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (name, after) = rest.split_at_checked(end).ok_or("bad name")?;
            out.push(match name {
                "true" => Token::Literal(json!(true)),
                "false" => Token::Literal(json!(false)),
                "null" => Token::Literal(Value::Null),
                other => Token::Name(other.to_owned()),
            });
            rest = after;
        } else {
            let mark = MARKS.iter().find(|mark| rest.starts_with(**mark));
            let mark = mark.ok_or_else(|| format!("unexpected character {first:?} in {text:?}"))?;
            out.push(Token::Mark(mark));
            rest = rest.get(mark.len()..).unwrap_or_default();
        }
        rest = rest.trim_start();
    }
    Ok(out)
}

fn quoted(text: &str, mark: char) -> Result<(String, &str), String> {
    let mut out = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        if letter == mark {
            return Ok((out, text.get(at + 1..).unwrap_or_default()));
        }
        if letter == '\\' {
            match letters.next().map(|(_, escaped)| escaped) {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => break,
            }
        } else {
            out.push(letter);
        }
    }
    Err(format!("unterminated string in {text:?}"))
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

/// Reads one whole expression.
pub(crate) fn parse(text: &str) -> Result<Expr, String> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0 };
    let expression = parser.choice()?;
    match parser.tokens.get(parser.at) {
        None => Ok(expression),
        Some(left) => Err(format!("unexpected {left:?} in {text:?}")),
    }
}

/// Binary operators by rising strength.
const LEVELS: [&[&str]; 5] = [&["||"], &["&&"], &["==", "!=", "<=", ">=", "<", ">", "in"], &["+", "-"], &["*", "/", "%"]];

impl Parser {
    fn eat(&mut self, mark: &str) -> bool {
        let found = match self.tokens.get(self.at) {
            Some(Token::Mark(own)) => *own == mark,
            Some(Token::Name(own)) => mark == "in" && own == "in",
            _ => false,
        };
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, mark: &str) -> Result<(), String> {
        if self.eat(mark) { Ok(()) } else { Err(format!("expected {mark} but found {:?}", self.tokens.get(self.at))) }
    }

    fn choice(&mut self) -> Result<Expr, String> {
        let condition = self.binary(0)?;
        if !self.eat("?") {
            return Ok(condition);
        }
        let yes = self.choice()?;
        self.expect(":")?;
        let no = self.choice()?;
        Ok(Expr::Choice(Box::new(condition), Box::new(yes), Box::new(no)))
    }

    fn binary(&mut self, level: usize) -> Result<Expr, String> {
        let Some(operators) = LEVELS.get(level) else {
            return self.unary();
        };
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = operators.iter().find(|operator| self.eat(operator)) {
            let right = self.binary(level + 1)?;
            left = Expr::Binary(operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr, String> {
        for operator in ["!", "-"] {
            if self.eat(operator) {
                return Ok(Expr::Unary(operator, Box::new(self.unary()?)));
            }
        }
        self.postfix()
    }

    fn postfix(&mut self) -> Result<Expr, String> {
        let mut expression = self.primary()?;
        loop {
            if self.eat(".?") {
                expression = Expr::Field(Box::new(expression), self.name()?, true);
            } else if self.eat(".") {
                let name = self.name()?;
                expression = if self.eat("(") {
                    Expr::Call(Some(Box::new(expression)), name, self.list(")")?)
                } else {
                    Expr::Field(Box::new(expression), name, false)
                };
            } else if self.eat("[?") {
                let index = self.choice()?;
                self.expect("]")?;
                expression = Expr::Index(Box::new(expression), Box::new(index), true);
            } else if self.eat("[") {
                let index = self.choice()?;
                self.expect("]")?;
                expression = Expr::Index(Box::new(expression), Box::new(index), false);
            } else {
                return Ok(expression);
            }
        }
    }

    fn name(&mut self) -> Result<String, String> {
        match self.tokens.get(self.at) {
            Some(Token::Name(name)) => {
                self.at += 1;
                Ok(name.clone())
            }
            other => Err(format!("expected a name but found {other:?}")),
        }
    }

    fn primary(&mut self) -> Result<Expr, String> {
        if self.eat("(") {
            let inner = self.choice()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.eat("[") {
            return Ok(Expr::List(self.list("]")?));
        }
        if self.eat("{") {
            return self.map();
        }
        if let Some(Token::Literal(value)) = self.tokens.get(self.at) {
            self.at += 1;
            return Ok(Expr::Literal(value.clone()));
        }
        let name = self.name()?;
        Ok(if self.eat("(") { Expr::Call(None, name, self.list(")")?) } else { Expr::Name(name) })
    }

    fn list(&mut self, end: &str) -> Result<Vec<Expr>, String> {
        let mut items = Vec::new();
        while !self.eat(end) {
            items.push(self.choice()?);
            if !self.eat(",") {
                self.expect(end)?;
                break;
            }
        }
        Ok(items)
    }

    fn map(&mut self) -> Result<Expr, String> {
        let mut entries = Vec::new();
        while !self.eat("}") {
            let key = self.choice()?;
            self.expect(":")?;
            entries.push((key, self.choice()?));
            if !self.eat(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(Expr::Map(entries))
    }
}
