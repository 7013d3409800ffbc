//! What a failed request means, in the few ways that matter for what to do next.

use crate::domain::clean;
use crate::domain::secret::mask;
use http::StatusCode;
use jiff::Timestamp;
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Why a request got no answer to work with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// 401, or the credentials could not be had at all.
    Unauthorized(String),
    /// 403.
    Forbidden(String),
    /// 404: the kind or the object does not exist.
    NotFound(String),
    /// 410: the version or the continue token is too old.
    Gone,
    /// 400 or 422: this server does not understand the request.
    Invalid(String),
    /// 429, with the time the server asks for.
    TooMany(Option<Duration>),
    /// 5xx and everything else a server may say.
    Server(String),
    /// No answer: connection refused, cut or too slow.
    Unreachable(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unauthorized(why)
            | Self::Forbidden(why)
            | Self::NotFound(why)
            | Self::Invalid(why)
            | Self::Server(why)
            | Self::Unreachable(why) => f.write_str(why),
            Self::Gone => f.write_str("the resource version is too old"),
            Self::TooMany(_) => f.write_str("the API server asks for fewer requests (429)"),
        }
    }
}

impl From<super::contained::InternalError> for Refusal {
    fn from(error: super::contained::InternalError) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// The longest wait that is taken from a server; more is a mistake, and would look like a loss.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// The time that a `Retry-After` header asks for: seconds, or a date (RFC 9110 §10.2.3).
pub(super) fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let wait = if let Ok(seconds) = value.trim().parse() {
        Duration::from_secs(seconds)
    } else {
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value.trim()).ok()?;
        Duration::try_from(date.duration_since(now)).unwrap_or_default()
    };
    Some(wait.min(LONGEST_WAIT))
}

/// The body of a refusal, a `metav1.Status`.
#[derive(serde::Deserialize)]
struct Status {
    #[serde(default)]
    message: String,
    #[serde(default)]
    code: u16,
}

impl Refusal {
    /// From an answer that is no success.
    pub(super) fn from_response(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let said = serde_json::from_slice::<Status>(body).map(|status| mask(&status.message).into_owned()).unwrap_or_default();
        let words = |fallback: &str| if said.is_empty() { fallback.to_owned() } else { said.clone() };
        match status.as_u16() {
            401 => Self::Unauthorized("the API server refused the credentials (401 Unauthorized)".to_owned()),
            403 => Self::Forbidden(words("forbidden (403)")),
            404 => Self::NotFound(words("not found (404)")),
            410 => Self::Gone,
            400 | 406 | 415 | 422 => Self::Invalid(words("the API server did not understand the request")),
            429 => Self::TooMany(retry_after),
            code => Self::Server(format!("the API server answered {code}{}{said}", if said.is_empty() { "" } else { ": " })),
        }
    }

    /// From the `Status` in a watch's ERROR event.
    pub(super) fn from_event(object: &[u8]) -> Self {
        match serde_json::from_slice::<Status>(object) {
            Ok(status) => Self::from_response(StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), None, object),
            Err(_) => Self::Server("the watch ended with an error that cannot be read".to_owned()),
        }
    }

    /// From a request that did not come through.
    pub(super) fn from_kube(error: &kube::Error) -> Self {
        let words = deepest(error);
        if let Some((_, reason)) = words.split_once("invalid peer certificate: ") {
            return Self::Unreachable(format!(
                "the certificate is not one that the kubeconfig's authority vouches for ({reason}); if the cluster was made anew, get its new kubeconfig"
            ));
        }
        if is_auth(error) { Self::Unauthorized(format!("no credentials: {words}")) } else { Self::Unreachable(words) }
    }
}

/// Whether the failure lies in getting credentials (an exec plugin that fails, a token file that is gone).
fn is_auth(error: &kube::Error) -> bool {
    if matches!(error, kube::Error::Auth(_)) {
        return true;
    }
    let mut at: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = at {
        if error.is::<kube::client::AuthError>() {
            return true;
        }
        at = error.source();
    }
    false
}

/// What really went wrong: the innermost of an error's causes, without the operating system's number, on one line.
pub(super) fn deepest(error: &(dyn Error + 'static)) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    let text = at.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let line = mask(&clean(text)).chars().take(300).collect::<String>();
    let mut letters = line.chars();
    // "Connection refused" reads better in the middle of a sentence with a small letter; names in capitals stay.
    match (letters.next(), line.chars().nth(1)) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(letters).collect(),
        _ => line,
    }
}

/// What could not be used, as far as no text of it is repeated: parsers quote what they could not read, and that may be a key. An error of the operating
/// system is whole, it names a file at most.
pub(super) fn outline(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut at = Some(error);
    while let Some(error) = at {
        at = error.source();
        if error.is::<std::io::Error>() {
            return deepest(error);
        }
        // It names the symbol that it stumbled over.
        if error.is::<base64::DecodeError>() {
            break;
        }
        let text = error.to_string();
        let text = text.split([':', '(', '"', '\'']).next().unwrap_or_default();
        let text = mask(&clean(text.trim())).into_owned();
        if !parts.contains(&text) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_named_without_its_text() {
        #[derive(Debug)]
        struct Outer(Box<dyn Error + 'static>);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "cannot load the key: {}", self.0)
            }
        }
        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&*self.0)
            }
        }
        let decoded = base64::engine::Engine::decode(&base64::engine::general_purpose::STANDARD, "%hunter2").unwrap_err();
        assert_eq!(outline(&Outer(Box::new(decoded))), "cannot load the key");
        assert_eq!(outline(&Outer("an illegal line: hunter2".into())), "cannot load the key: an illegal line");
        assert_eq!(outline(&Outer(Box::new(std::io::Error::other("No such file")))), "no such file");
    }

    #[test]
    fn words_of_servers_and_libraries_are_masked() {
        let body = br#"{"message":"webhook https://u:hunter2@h failed: token=hunter2"}"#;
        let said = Refusal::from_response(StatusCode::INTERNAL_SERVER_ERROR, None, body).to_string();
        assert_eq!(said, "the API server answered 500: webhook https://…@h failed: token=…");
        assert_eq!(deepest(&std::io::Error::other("Bearer hunter22 was rejected")), "bearer … was rejected");
    }

    #[test]
    fn answers_mean_what_to_do_next() {
        let status = |code: u16, body: &str| Refusal::from_response(StatusCode::from_u16(code).unwrap(), None, body.as_bytes());
        assert!(matches!(status(401, ""), Refusal::Unauthorized(_)));
        assert_eq!(status(403, r#"{"message":"no"}"#), Refusal::Forbidden("no".to_owned()));
        assert_eq!(status(410, ""), Refusal::Gone);
        assert!(matches!(status(422, ""), Refusal::Invalid(_)));
        assert_eq!(status(503, "<html>"), Refusal::Server("the API server answered 503".to_owned()));
        assert_eq!(Refusal::from_event(br#"{"kind":"Status","code":410,"message":"too old"}"#), Refusal::Gone);
    }

    #[test]
    fn a_wait_may_be_told_in_two_ways() {
        let now: Timestamp = "2015-10-21T07:28:00Z".parse().unwrap();
        let table = [
            ("3", Some(3)),
            (" 0 ", Some(0)),
            ("99999999", Some(600)),
            ("Wed, 21 Oct 2015 07:28:07 GMT", Some(7)),
            ("Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ];
        for (value, expected) in table {
            assert_eq!(retry_after(value, now), expected.map(Duration::from_secs), "{value}");
        }
    }
}
