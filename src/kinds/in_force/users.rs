//! Whether a match condition keeps nothing out but what some users send.
//!
//! Only a form that surely does no more is believed: terms of which each takes out whom it names (`!(… in request.userInfo.groups)`,
//! `request.userInfo.username != "…"`), over values of `request.userInfo` alone. Whatever else a condition looks at may shut resources out, and one that
//! asks for a user shuts out all others.

/// What may be named besides `request.userInfo`: words and functions that bring in no value of their own.
const WORDS: [&str; 5] = ["in", "true", "false", "has", "size"];
/// Macros that give a name to each member of a list.
const MACROS: [&str; 4] = ["exists", "exists_one", "all", "filter"];
/// What a webhook's conditions can look at (Kubernetes `matchConditions`), and a policy's besides; no name that a macro gives.
const VARIABLES: [&str; 7] = ["request", "object", "oldObject", "namespaceObject", "authorizer", "params", "variables"];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Name(String),
    Literal,
    Sign(&'static str),
}

const SIGNS: [&str; 17] = ["&&", "||", "==", "!=", "<=", ">=", "!", "<", ">", "(", ")", "[", "]", ",", ".", "+", "-"];

/// Whether the expression (CEL) only exempts users.
pub(super) fn exempts_users(expression: &str) -> bool {
    tokens(expression).is_some_and(|tokens| is_about_users(&tokens) && exempts(&tokens))
}

/// The expression in parts; `None` where it holds something that is not understood.
fn tokens(expression: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if matches!(first, '"' | '\'') {
            tokens.push(Token::Literal);
            literal(rest, first)?
        } else if first.is_ascii_digit() {
            tokens.push(Token::Literal);
            rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            // Raw strings and bytes.
            if rest[end..].starts_with(['"', '\'']) {
                return None;
            }
            tokens.push(Token::Name(rest[..end].to_owned()));
            end
        } else {
            let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign))?;
            tokens.push(Token::Sign(sign));
            sign.len()
        };
        rest = rest[length..].trim_start();
    }
    Some(tokens)
}

/// How long the literal is that the text begins with.
fn literal(text: &str, quote: char) -> Option<usize> {
    if text.starts_with(&quote.to_string().repeat(3)) {
        return None;
    }
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Whether every value comes from `request.userInfo`, and one does.
fn is_about_users(tokens: &[Token]) -> bool {
    let sign = |at: Option<usize>, wanted: &str| {
        at.and_then(|at| tokens.get(at)).is_some_and(|token| matches!(token, Token::Sign(sign) if *sign == wanted))
    };
    let name = |at: Option<usize>| {
        at.and_then(|at| tokens.get(at)).and_then(|token| if let Token::Name(name) = token { Some(name.as_str()) } else { None })
    };
    // What a macro calls its members: the name after `.exists(`.
    let is_bound = |wanted: &str| {
        let is_free = !VARIABLES.contains(&wanted);
        (2..tokens.len()).any(|at| {
            is_free
                && name(Some(at)) == Some(wanted)
                && sign(at.checked_sub(1), "(")
                && name(at.checked_sub(2)).is_some_and(|word| MACROS.contains(&word))
                && sign(at.checked_sub(3), ".")
        })
    };
    let mut asks = false;
    for at in 0..tokens.len() {
        let Some(word) = name(Some(at)).filter(|_| !sign(at.checked_sub(1), ".")) else { continue };
        if word == "request" && sign(Some(at + 1), ".") && name(Some(at + 2)) == Some("userInfo") {
            asks = true;
        } else if word == "request" || !(WORDS.contains(&word) || is_bound(word)) {
            return false;
        }
    }
    asks
}

/// What stands between `&&` and `||`: where each keeps out only whom it names, so do they together.
fn terms(tokens: &[Token]) -> Vec<&[Token]> {
    let ends = at_top(tokens).filter(|(_, token)| matches!(token, Token::Sign("&&" | "||"))).map(|(at, _)| at);
    let mut terms = Vec::new();
    let mut start = 0;
    for end in ends.chain([tokens.len()]) {
        terms.push(&tokens[start..end]);
        start = end + 1;
    }
    terms
}

/// Whether each term denies one thing about the user: with `!` before all of it, or by one `!=`.
fn exempts(tokens: &[Token]) -> bool {
    let terms = terms(tokens);
    if terms.len() > 1 {
        return terms.into_iter().all(exempts);
    }
    if let [Token::Sign("("), inner @ .., Token::Sign(")")] = tokens
        && is_balanced(inner)
    {
        return exempts(inner);
    }
    let denies = tokens.iter().filter(|token| matches!(token, Token::Sign("!" | "!="))).count();
    let top: Vec<&Token> = at_top(tokens).map(|(_, token)| token).collect();
    let compares =
        top.iter().any(|token| matches!(token, Token::Sign("==" | "<" | ">" | "<=" | ">=")) || **token == Token::Name("in".to_owned()));
    denies == 1 && !compares && (tokens.first() == Some(&Token::Sign("!")) || top.contains(&&Token::Sign("!=")))
}

/// What stands outside of all brackets.
fn at_top(tokens: &[Token]) -> impl Iterator<Item = (usize, &Token)> {
    let mut depth = 0_usize;
    tokens.iter().enumerate().filter(move |(_, token)| {
        match token {
            Token::Sign("(" | "[") => depth += 1,
            Token::Sign(")" | "]") => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    })
}

/// Whether no bracket is closed that was opened before.
fn is_balanced(tokens: &[Token]) -> bool {
    let mut depth = 0_usize;
    tokens.iter().all(|token| match token {
        Token::Sign("(") => {
            depth += 1;
            true
        }
        Token::Sign(")") => {
            let is_open = depth > 0;
            depth = depth.saturating_sub(1);
            is_open
        }
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_surely_about_users_exempts_them() {
        for fine in [
            "!('system:nodes' in request.userInfo.groups)",
            r#"!("system:nodes" in request.userInfo.groups)"#,
            "request.userInfo.username != 'system:serviceaccount:argocd:argocd'",
            "!request.userInfo.username.startsWith('system:serviceaccount:kube-')",
            "!(request.userInfo.username in ['object', 'namespaceObject.metadata'])",
            "!request.userInfo.groups.exists(g, g == 'system:masters')",
            "!(has(request.userInfo.extra) && 'x' in request.userInfo.extra)",
            "!('a' in request.userInfo.groups) && request.userInfo.username != 'it\\'s'",
            "!('a' in request.userInfo.groups || 'b' in request.userInfo.groups)",
            "(request.userInfo.username != 'a') && (!('b' in request.userInfo.groups))",
        ] {
            assert!(exempts_users(fine), "{fine}");
        }
        for doubtful in [
            "",
            "true",
            "request.namespace != 'x'",
            "!(request.userInfo.username == 'a' && oldObject.metadata.name == 'b')",
            "!('a' in request.userInfo.groups) && namespaceObject.metadata.labels['on'] == 'yes'",
            "!('a' in request.userInfo.groups) || request.subResource == ''",
            "request.userInfo.username != 'a' && request.requestKind.kind != 'Pod'",
            "request.userInfo.username != 'a' && request.requestResource.resource != 'pods'",
            "request.userInfo.username != 'a' && request.dryRun != true",
            "request.userInfo.username != object.metadata.name",
            "request.userInfo.username != 'a' && params.x != 'y'",
            "!authorizer.group('').resource('pods').check('x').allowed() && request.userInfo.username != 'a'",
            "request.userInfo.username != variables.name",
            "request['object'].kind != request.userInfo.username",
            "!request.userInfo.groups.exists(object, object == 'a') && object != request.userInfo.username",
            "size(request.userInfo.groups) != size(request.options)",
            // These require a user instead of exempting one: requests of all other users are not sent.
            "request.userInfo.username == 'jane'",
            "'system:masters' in request.userInfo.groups",
            "!(request.userInfo.username != 'jane')",
            "!!('a' in request.userInfo.groups)",
            "request.userInfo.groups.exists(g, g != 'a')",
            "!request.userInfo.username.contains('a') == true",
            "request.userInfo.username == 'a' ? true : false",
            // What is not understood.
            "request.userInfo.username != '''a' + object.kind + 'b'''",
            "request.userInfo.username != r'\\' && object.kind != ''",
            "request.userInfo.username != 'a' // object",
            "request.userInfo.username != 'a",
        ] {
            assert!(!exempts_users(doubtful), "{doubtful}");
        }
    }
}
