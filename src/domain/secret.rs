//! Masking secrets in text that other programs, servers and files have a part in.
//!
//! What lives here: the table of forms in which secrets stand in text, and the loop over it. What does not: where texts come from.
//!
//! [`mask`] knows a secret by what stands around it. A secret that is known itself, such as the value of an environment variable, goes through
//! [`mask_values`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use std::ops::Range;

/// What stands in the place of a secret.
pub const MASK: &str = "…";

/// Words that a name ends with whose value is a secret, without `-`, `_` and capitals: `GITHUB_TOKEN`, `client-secret`, `aws_secret_access_key`.
const NAMES: [&str; 14] = [
    "token",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "clientkeydata",
    "xamzsignature",
    "xamzcredential",
    "sharedkey",
];

/// What tokens of well-known services begin with, and how many characters follow at least.
const PREFIXES: [(&str, usize); 13] = [
    ("AKIA", 16),
    ("ASIA", 16),
    ("ghp_", 16),
    ("gho_", 16),
    ("ghu_", 16),
    ("ghs_", 16),
    ("ghr_", 16),
    ("github_pat_", 16),
    ("glpat-", 16),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("sk_live_", 16),
    // A JSON Web Token: the base64 of `{"`.
    ("eyJ", 8),
];

/// Where the first secret of a form is in `text`, at or after a byte offset. It is never empty.
type Find = fn(&str, usize) -> Option<Range<usize>>;

/// One form in which secrets stand in text.
struct Form {
    /// An example, in which `SECRET` is the secret; tests are made from it.
    #[cfg(test)]
    example: &'static str,
    find: Find,
}

macro_rules! forms {
    ($($example:literal => $find:expr,)*) => {
        const FORMS: &[Form] = &[$(Form { #[cfg(test)] example: $example, find: $find }),*];
    };
}

forms! {
    "-----BEGIN RSA PRIVATE KEY-----\nSECRET\n-----END RSA PRIVATE KEY-----" => private_key,
    "https://jane:SECRET@host/path" => userinfo,
    "Authorization: Bearer SECRET" => bearer,
    "Authorization: Basic U0VDUkVUOlNFQ1JFVA==" => basic,
    "password=SECRET" => named,
    "login --token SECRET" => flag,
    "glpat-SECRET" => prefixed,
}

/// `text` with every secret replaced whose form is known; other text is unchanged.
pub fn mask(text: &str) -> Cow<'_, str> {
    let mut out = Cow::Borrowed(text);
    for form in FORMS {
        if let Some(masked) = masked(&out, form.find) {
            out = Cow::Owned(masked);
        }
    }
    out
}

/// `text` without these values, in whatever form they stand in it. Values of fewer than four bytes stay: they are words of any text.
pub fn mask_values<'a>(text: &'a str, values: &[&str]) -> Cow<'a, str> {
    let mut values: Vec<&str> = values.iter().map(|value| value.trim()).filter(|value| value.len() >= 4).collect();
    // The longer first, so that nothing is left of one that holds another.
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    let mut out = Cow::Borrowed(text);
    for value in values {
        if out.contains(value) {
            out = Cow::Owned(out.replace(value, MASK));
        }
    }
    out
}

/// A URL, or a path, as it may be shown: without userinfo. A user alone is no secret where keys are what opens (`ssh://git@host`).
pub fn address(url: &str) -> String {
    mask(url).into_owned()
}

fn masked(text: &str, find: Find) -> Option<String> {
    let mut out: Option<String> = None;
    let (mut done, mut from) = (0, 0);
    while let Some(found) = find(text, from) {
        if text.get(found.clone()) != Some(MASK) {
            let out = out.get_or_insert_default();
            out.push_str(text.get(done..found.start)?);
            out.push_str(MASK);
            done = found.end;
        }
        from = found.end;
    }
    let mut out = out?;
    out.push_str(text.get(done..)?);
    Some(out)
}

fn from(text: &str, at: usize) -> &str {
    text.get(at..).unwrap_or_default()
}

/// Where `word` is at or after `at`, whatever its capitals.
fn find_word(text: &str, at: usize, word: &str) -> Option<usize> {
    let rest = from(text, at).as_bytes();
    rest.windows(word.len()).position(|window| window.eq_ignore_ascii_case(word.as_bytes())).map(|found| at + found)
}

/// How many bytes a value without quotes has at most.
fn value_length(text: &str) -> usize {
    text.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '&' | ',' | ';' | '<' | '>' | '}' | ')' | ']' | '`'))
        .unwrap_or(text.len())
}

/// What lies between `BEGIN … PRIVATE KEY` and `END`, or the rest of the text where the end was cut off.
fn private_key(text: &str, at: usize) -> Option<Range<usize>> {
    const BEGIN: &str = "PRIVATE KEY-----";
    let found = from(text, at).find(BEGIN)? + at;
    let start = found + BEGIN.len();
    if !text.get(..found)?.rsplit("-----").next()?.starts_with("BEGIN") {
        return private_key(text, start);
    }
    let end = from(text, start).find("-----END").map_or(text.len(), |end| start + end);
    if start == end { None } else { Some(start..end) }
}

/// What stands before `@` in the authority of a URL (RFC 3986, 3.2.1).
fn userinfo(text: &str, at: usize) -> Option<Range<usize>> {
    let mut from_here = at;
    loop {
        let mark = from(text, from_here).find("://")? + from_here;
        let start = mark + 3;
        let rest = from(text, start);
        let word = rest.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`')).unwrap_or(rest.len());
        let word = rest.get(..word).unwrap_or_default();
        let authority = word.find(['/', '?', '#']).map_or(word, |end| word.get(..end).unwrap_or_default());
        // A password that should have been encoded: what follows the colon is no port, so the authority goes on to the `@`.
        let odd = authority.rsplit_once(':').is_some_and(|(_, port)| !port.bytes().all(|byte| byte.is_ascii_digit()));
        let end = authority.rfind('@').or_else(|| if odd && !authority.contains(['[', ']']) { word.rfind('@') } else { None });
        let scheme = text.get(..mark).unwrap_or_default();
        let by_key = ["ssh", "git+ssh", "ssh+git"].iter().any(|known| {
            scheme.strip_suffix(known).is_some_and(|before| !before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '+'))
        });
        match end {
            Some(end) if end > 0 && (!by_key || word.get(..end).unwrap_or_default().contains(':')) => return Some(start..start + end),
            _ => from_here = start,
        }
    }
}

/// The token of the scheme `Bearer` (RFC 6750). "bearer token" is prose.
fn bearer(text: &str, at: usize) -> Option<Range<usize>> {
    let mut from_here = at;
    loop {
        let found = find_word(text, from_here, "bearer ")?;
        let start = found + "bearer ".len();
        let start = start + (from(text, start).len() - from(text, start).trim_start().len());
        let length = value_length(from(text, start));
        let word = text.get(start..start + length).unwrap_or_default();
        let is_prose = ["token", "tokens", "auth", "authentication", "credentials"].contains(&word.trim_end_matches(['.', ':']));
        if length > 0 && !is_prose {
            return Some(start..start + length);
        }
        from_here = start;
    }
}

/// The credentials of the scheme `Basic` (RFC 7617): base64 of what holds a colon.
fn basic(text: &str, at: usize) -> Option<Range<usize>> {
    let mut from_here = at;
    loop {
        let start = find_word(text, from_here, "basic ")? + "basic ".len();
        let length = value_length(from(text, start));
        let decoded = text.get(start..start + length).and_then(|word| STANDARD.decode(word).ok());
        if decoded.is_some_and(|bytes| bytes.contains(&b':')) {
            return Some(start..start + length);
        }
        from_here = start;
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// Whether the value of such a name is a secret.
fn is_secret_name(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    NAMES.iter().any(|secret| plain.ends_with(secret))
}

/// `name=value`, `name: value`, `"name": "value"`, `\"name\":\"value\"`.
fn named(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut sign = at;
    loop {
        sign += from(text, sign).find(['=', ':'])?;
        let before = text.get(..sign).unwrap_or_default().trim_end_matches(['"', '\'', '\\', ' ']);
        let start = before.bytes().rposition(|byte| !is_name(byte)).map_or(0, |place| place + 1);
        let mut value = sign + 1;
        if is_secret_name(before.get(start..).unwrap_or_default()) {
            while bytes.get(value).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'=')) {
                value += 1;
            }
            if let Some(found) = quoted_or_word(text, value) {
                return Some(found);
            }
        }
        sign += 1;
    }
}

/// The value at a place: to the closing quote, or to the end of the word.
fn quoted_or_word(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = from(text, at);
    let quote = rest.trim_start_matches('\\');
    let slashes = rest.len() - quote.len();
    let (start, length) = match quote.chars().next() {
        Some(mark @ ('"' | '\'')) => {
            let start = at + slashes + 1;
            let close = format!("{}{mark}", "\\".repeat(slashes));
            let inner = from(text, start);
            let mut end = inner.find(&close).unwrap_or(inner.len());
            // Within plain quotes a backslash takes the next quote's meaning away.
            while slashes == 0 && end < inner.len() && inner.get(..end).is_some_and(|before| before.ends_with('\\')) {
                let more = end + 1;
                end = inner.get(more..).and_then(|tail| tail.find(&close)).map_or(inner.len(), |next| more + next);
            }
            (start, end)
        }
        _ => (at, value_length(rest)),
    };
    (length > 0).then(|| start..start + length)
}

/// `--token value`, also as the list of arguments that a program prints (`["--token", "value"]`).
fn flag(text: &str, at: usize) -> Option<Range<usize>> {
    let mut from_here = at;
    loop {
        let start = from(text, from_here).find("--")? + from_here + 2;
        let rest = from(text, start);
        let length = rest.bytes().position(|byte| !is_name(byte)).unwrap_or(rest.len());
        let after = from(text, start + length);
        let gap = after.len() - after.trim_start_matches(['"', '\'', ',', ' ', '\t']).len();
        let has_blank = after.get(..gap).is_some_and(|gap| gap.contains([' ', '\t', ',']));
        let value = start + length + gap;
        let word = value_length(from(text, value));
        let is_flag = from(text, value).starts_with("--");
        if is_secret_name(rest.get(..length).unwrap_or_default()) && has_blank && !is_flag && word > 0 {
            return Some(value..value + word);
        }
        from_here = start;
    }
}

/// A token that its beginning betrays.
fn prefixed(text: &str, at: usize) -> Option<Range<usize>> {
    let in_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let one = |(prefix, least): &(&str, usize)| {
        let mut from_here = at;
        loop {
            let start = from(text, from_here).find(prefix)? + from_here;
            let tail = from(text, start + prefix.len());
            let length = tail.as_bytes().iter().position(|byte| !in_word(byte)).unwrap_or(tail.len());
            let inside = text.as_bytes().get(start.wrapping_sub(1)).is_some_and(u8::is_ascii_alphanumeric);
            if !inside && length >= *least {
                return Some(start..start + prefix.len() + length);
            }
            from_here = start + prefix.len();
        }
    };
    PREFIXES.iter().filter_map(one).min_by_key(|found| found.start)
}

#[cfg(test)]
mod tests;
