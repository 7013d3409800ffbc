//! Asking a Prometheus: samples as they were scraped, and what a query says over time.
//!
//! What lives here: the two requests of its HTTP API (<https://prometheus.io/docs/prometheus/latest/querying/api/>), with limits, and what their
//! failures mean. What does not: what is asked for and what it means (`kinds::metrics`), when (`engine`). A token is read for each round of questions
//! and never part of what is said.

use super::address::Path;
use super::client::Clients;
use super::contained::{InternalError, contain};
use super::refusal::{deepest, outline};
use crate::domain::clean;
use crate::domain::secret::mask;
use crate::files;
use crate::kinds::metrics::{Labels, Scraped};
use crate::settings::{Prometheus, TokenSource};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderName, HeaderValue, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use jiff::{SignedDuration, Timestamp};
use kube::Config;
use kube::client::Body;
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The most that an answer may hold.
const MOST: usize = 32 << 20;
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// What of an error's words is repeated.
const WORDS: usize = 200;

/// Why Prometheus gave no answer to work with, in words that follow its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered(pub String);

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A Prometheus that can be asked.
#[derive(Clone)]
pub struct PrometheusClient {
    client: kube::Client,
    headers: Vec<(HeaderName, HeaderValue)>,
    patience: Duration,
}

impl fmt::Debug for PrometheusClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrometheusClient").finish_non_exhaustive()
    }
}

impl PrometheusClient {
    /// A client with the credentials of this moment. Reads files, so it is built on a thread that may wait.
    ///
    /// # Errors
    /// The token or the certificates cannot be read.
    pub async fn connect(settings: &Prometheus) -> Result<Self, Unanswered> {
        let settings = settings.clone();
        let built = tokio::task::spawn_blocking(move || contain(|| Self::build(&settings)));
        let stopped = |_| Unanswered("is not asked any more: the program ends".to_owned());
        let late = |_| Unanswered("cannot be asked: the files of token or certificates cannot be read in time".to_owned());
        let broken = |error: InternalError| Unanswered(format!("cannot be asked: {error}"));
        timeout(PATIENCE, built).await.map_err(late)?.map_err(stopped)?.map_err(broken)?
    }

    fn build(settings: &Prometheus) -> Result<Self, Unanswered> {
        let invalid = |what: &str| Unanswered(format!("cannot be asked: {what}"));
        let url: Uri = settings.url.parse().map_err(|_| invalid("its URL cannot be read"))?;
        let mut config = Config::new(url);
        config.connect_timeout = Some(CONNECT);
        if let Some(file) = &settings.ca_file {
            files::readable(file).map_err(|error| invalid(&format!("ca_file: cannot read {}: {}", file.display(), deepest(&error))))?;
        }
        config.root_cert_file.clone_from(&settings.ca_file);
        let mut headers = Vec::new();
        if let Some(token) = settings.token.as_ref().map(token).transpose()? {
            let mut value =
                HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| invalid("its token is none: it holds odd characters"))?;
            value.set_sensitive(true);
            headers.push((AUTHORIZATION, value));
        }
        if let Some(tenant) = &settings.tenant {
            let value = HeaderValue::from_str(tenant).map_err(|_| invalid("its tenant cannot be sent as a header"))?;
            headers.push((HeaderName::from_static("x-scope-orgid"), value));
        }
        let clients = Clients::new(&config, &Arc::from("prometheus")).map_err(|error| invalid(&outline(&error)))?;
        Ok(Self { client: clients.bulk, headers, patience: PATIENCE })
    }

    /// The samples of a selector as they were scraped, in the `span` up to `until`.
    ///
    /// # Errors
    /// There is no answer to work with.
    pub async fn samples(&self, selector: &str, until: Timestamp, span: SignedDuration) -> Result<Vec<Scraped>, Unanswered> {
        let query = format!("{selector}[{}s]", span.as_secs().max(1));
        self.ask(&Path::fixed("/api/v1/query").with("query", &query).with("time", &seconds(until))).await
    }

    /// What a query says between two times, every `step`.
    ///
    /// # Errors
    /// There is no answer to work with.
    pub async fn over_time(&self, query: &str, from: Timestamp, to: Timestamp, step: SignedDuration) -> Result<Vec<Scraped>, Unanswered> {
        let step = step.as_secs().max(1).to_string();
        let path = Path::fixed("/api/v1/query_range").with("query", query).with("start", &seconds(from)).with("end", &seconds(to));
        self.ask(&path.with("step", &step)).await
    }

    async fn ask(&self, path: &Path) -> Result<Vec<Scraped>, Unanswered> {
        let asked = timeout(self.patience, self.fetch(path)).await;
        let (status, body) =
            asked.map_err(|_| Unanswered(format!("does not answer: nothing came within {} s", self.patience.as_secs())))??;
        read(status, &body)
    }

    async fn fetch(&self, path: &Path) -> Result<(StatusCode, Bytes), Unanswered> {
        let uri = path.uri().map_err(|error| Unanswered(format!("cannot be asked: {error}")))?;
        let mut request = Request::get(uri).header(ACCEPT, "application/json").header(USER_AGENT, super::requests::AGENT);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Body::empty()).map_err(|error| Unanswered(format!("cannot be asked: {error}")))?;
        let response = self.client.send(request).await.map_err(|error| Unanswered(format!("does not answer: {}", deepest(&error))))?;
        let status = response.status();
        let collected = Limited::new(response.into_body(), MOST).collect().await;
        let body = collected.map_err(|error| {
            let too_much = error.is::<http_body_util::LengthLimitError>();
            let why = if too_much {
                format!("answers more than {} MiB: narrow the matchers", MOST >> 20)
            } else {
                format!("does not answer whole: {}", deepest(&*error))
            };
            Unanswered(why)
        })?;
        Ok((status, body.to_bytes()))
    }
}

/// The token, read anew.
fn token(source: &TokenSource) -> Result<String, Unanswered> {
    let (text, place) = match source {
        TokenSource::File(path) => {
            let text = files::read_text(path).map_err(|error| Unanswered(format!("cannot be asked: token_file: {}", error.what)))?;
            (text, path.display().to_string())
        }
        TokenSource::Variable(name) => {
            let text =
                std::env::var(name).map_err(|_| Unanswered(format!("cannot be asked: the variable {name} (token_env) is not set")))?;
            (text, name.clone())
        }
    };
    let token = text.trim();
    if token.is_empty() { Err(Unanswered(format!("cannot be asked: there is no token in {place}"))) } else { Ok(token.to_owned()) }
}

/// A time as the API takes it, in seconds with milliseconds.
fn seconds(at: Timestamp) -> String {
    let millis = at.as_millisecond();
    format!("{}.{:03}", millis.div_euclid(1_000), millis.rem_euclid(1_000))
}

/// The envelope of every answer.
#[derive(Deserialize)]
struct Envelope {
    status: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: Labels,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

/// An answer as series, or what it means.
fn read(status: StatusCode, body: &[u8]) -> Result<Vec<Scraped>, Unanswered> {
    let envelope = serde_json::from_slice::<Envelope>(body).ok();
    let said = envelope.as_ref().map(|envelope| short(&envelope.error)).filter(|words| !words.is_empty());
    match (status.as_u16(), said) {
        (200, _) => {}
        (401, _) => return Err(Unanswered("refuses the credentials (401): see token_file and token_env".to_owned())),
        (403, _) => return Err(Unanswered("does not let these credentials ask (403)".to_owned())),
        (404, _) => return Err(Unanswered("is not at this URL (404): it is the one before /api/v1".to_owned())),
        (code @ (400 | 422), Some(said)) => return Err(Unanswered(format!("did not take the question ({code}): {said}"))),
        (code, said) => return Err(Unanswered(format!("answered {code}{}", said.map_or_else(String::new, |said| format!(": {said}"))))),
    }
    let garbled = || Unanswered("did not answer as Prometheus does: is something else at this URL?".to_owned());
    let data = envelope.filter(|envelope| envelope.status == "success").and_then(|envelope| envelope.data).ok_or_else(garbled)?;
    if data.result_type != "matrix" {
        return Err(garbled());
    }
    let series = |series: Series| {
        let samples: Option<Vec<(Timestamp, f64)>> =
            series.values.iter().map(|(at, value)| Some((time(*at)?, value.parse().ok()?))).collect();
        let mut samples = samples.ok_or_else(garbled)?;
        samples.sort_by_key(|(at, _)| *at);
        Ok(Scraped { labels: series.metric, samples })
    };
    data.result.into_iter().map(series).collect()
}

/// A time of the API, to the millisecond.
fn time(seconds: f64) -> Option<Timestamp> {
    Timestamp::from_millisecond((seconds * 1_000.0).round() as i64).ok()
}

fn short(text: &str) -> String {
    mask(&clean(text)).chars().take(WORDS).collect()
}

#[cfg(test)]
mod tests;
