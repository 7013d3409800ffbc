//! What of a connection others could read or answer.

use serde::Serialize;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Insecure {
    /// `insecure-skip-tls-verify`.
    Tls,
    /// Credentials are sent to an `http://` address on another machine.
    PlainHttp,
}

impl Insecure {
    /// A sentence, without a full stop.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Tls => {
                "the API server's certificate is not verified (insecure-skip-tls-verify): another server could answer and receive the credentials"
            }
            Self::PlainHttp => "credentials are sent over plain HTTP: anyone on the network path can read them",
        }
    }
}
