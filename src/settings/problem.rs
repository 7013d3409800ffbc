//! What is wrong with a configuration, said so that it can be mended without reading the manual.

use std::fmt;
use std::ops::Range;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The program starts, but something is probably not meant so.
    Warning,
    /// The configuration cannot be used.
    Error,
}

/// One problem with its place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub level: Level,
    /// The file, as it was named.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The key, for example `environments[1].steps[0].soak`; empty where the text could not be read at all.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// The nearest valid key or value, where there is one.
    pub nearest: Option<String>,
    /// What to do; empty where `nearest` says it already.
    pub remedy: String,
}

impl fmt::Display for Problem {
    /// One line: `file:line:column: error: key: message; did you mean …? Remedy.`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        write!(f, "{}:{}:{}: {level}: ", self.file, self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if let Some(nearest) = &self.nearest {
            write!(f, "; did you mean `{nearest}`?")?;
        }
        if !self.remedy.is_empty() {
            let glue = if self.nearest.is_some() { " " } else { ". " };
            write!(f, "{glue}{}", self.remedy)?;
        }
        Ok(())
    }
}

/// Everything found wrong with one file, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Turns byte offsets of one text into lines and columns.
pub(super) struct Places<'t> {
    file: &'t str,
    text: &'t str,
}

impl<'t> Places<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text }
    }

    /// Line and column (in characters) of a byte offset, both from 1.
    fn locate(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
    }

    /// An error at `span`, to be completed by the caller.
    pub(super) fn error(&self, span: &Range<usize>, key: &str, message: impl Into<String>, remedy: impl Into<String>) -> Problem {
        let (line, column) = self.locate(span.start);
        Problem {
            level: Level::Error,
            file: self.file.to_owned(),
            line,
            column,
            key: key.to_owned(),
            message: message.into(),
            nearest: None,
            remedy: remedy.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let places = Places::new("f", "a\nüü = 1\n");
        assert_eq!(places.locate(0), (1, 1));
        assert_eq!(places.locate(6), (2, 3));
        assert_eq!(places.locate(99), (3, 1));
    }
}
