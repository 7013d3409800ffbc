use super::*;
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// What a server does with whoever asks.
#[derive(Clone)]
enum Answers {
    /// Says this, and closes.
    With(String),
    /// Goes on for ever.
    Endless,
    /// Says nothing.
    Silence,
}

/// A server on loopback; what it was asked last.
async fn serve(answers: Answers) -> (String, std::sync::Arc<std::sync::Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/prom", listener.local_addr().unwrap());
    let asked = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let last = std::sync::Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 16_384];
            let read = stream.read(&mut request).await.unwrap_or(0);
            *last.lock().unwrap() = String::from_utf8_lossy(&request[..read]).into_owned();
            match &answers {
                Answers::With(text) => drop(stream.write_all(text.as_bytes()).await),
                Answers::Endless => {
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"status\":\"success\",\"data\":\"";
                    let _ = stream.write_all(head.as_bytes()).await;
                    let noise = vec![b'x'; 1 << 20];
                    while stream.write_all(&noise).await.is_ok() {}
                }
                Answers::Silence => std::future::pending().await,
            }
        }
    });
    (url, asked)
}

fn answer(status: &str, body: &str) -> Answers {
    Answers::With(format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    ))
}

fn settings(url: &str) -> Prometheus {
    Prometheus { url: url.to_owned(), matchers: String::new(), token: None, ca_file: None, tenant: Some("team".to_owned()) }
}

async fn ask(answers: Answers) -> Result<Vec<Scraped>, String> {
    let (url, _) = serve(answers).await;
    let mut client = PrometheusClient::connect(&settings(&url)).await.unwrap();
    client.patience = Duration::from_millis(1_500);
    client.samples("up{}", Timestamp::UNIX_EPOCH, SignedDuration::from_secs(60)).await.map_err(|error| error.0)
}

#[tokio::test]
async fn answers_are_read() {
    let body = r#"{"status":"success","data":{"resultType":"matrix","result":[
        {"metric":{"__name__":"up","job":"k"},"values":[[1700000000.123,"1"],[1700000015.1,"1e+06"]]},{"metric":{},"values":[]}]},"warnings":["w"]}"#;
    let series = ask(answer("200 OK", body)).await.unwrap();
    assert_eq!(series.len(), 2);
    assert_eq!(series[0].labels["job"], "k");
    assert_eq!(series[0].samples[0], (Timestamp::from_millisecond(1_700_000_000_123).unwrap(), 1.0));
    assert_eq!(series[0].samples[1].1.to_string(), "1000000");
}

#[tokio::test]
async fn what_is_no_answer_says_why_and_what_to_do() {
    let endless = Instant::now();
    for (answers, expected) in [
        (answer("401 Unauthorized", "no"), "refuses the credentials (401): see token_file and token_env"),
        (answer("403 Forbidden", "no"), "does not let these credentials ask (403)"),
        (answer("404 Not Found", "no"), "is not at this URL (404): it is the one before /api/v1"),
        (answer("500 Internal Server Error", "no"), "answered 500"),
        (answer("503 Service Unavailable", r#"{"status":"error","error":"starting \u001b[2J"}"#), "answered 503: starting \u{fffd}[2J"),
        (
            answer("422 Unprocessable Entity", r#"{"status":"error","errorType":"execution","error":"too many samples"}"#),
            "did not take the question (422): too many samples",
        ),
        (answer("200 OK", "<html>log in</html>"), "did not answer as Prometheus does: is something else at this URL?"),
        (
            answer("200 OK", r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#),
            "did not answer as Prometheus does: is something else at this URL?",
        ),
        (
            answer("200 OK", r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"x"]]}]}}"#),
            "did not answer as Prometheus does: is something else at this URL?",
        ),
        (
            answer("200 OK", r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1e300,"1"]]}]}}"#),
            "did not answer as Prometheus does: is something else at this URL?",
        ),
        (Answers::Silence, "does not answer: nothing came within 1 s"),
    ] {
        assert_eq!(ask(answers).await.unwrap_err(), expected);
    }
    let much = ask(Answers::Endless).await.unwrap_err();
    assert!(much == "answers more than 32 MiB: narrow the matchers" || much.starts_with("does not answer: nothing came"), "{much}");
    assert!(endless.elapsed() < Duration::from_secs(20), "nothing waits for ever");
    let cut = ask(Answers::With("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_owned())).await.unwrap_err();
    assert!(cut.starts_with("does not answer whole: "), "{cut}");
    let client = PrometheusClient::connect(&settings("http://127.0.0.1:9")).await.unwrap();
    let nobody = client.over_time("up", Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH, SignedDuration::from_secs(1)).await.unwrap_err();
    assert_eq!(nobody.0, "does not answer: connection refused");
}

#[tokio::test]
async fn a_token_is_sent_and_never_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let (url, asked) = serve(answer("200 OK", r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#)).await;
    let with = |token| Prometheus { token, ..settings(&url) };
    let settings = with(Some(TokenSource::File(file.clone())));
    let missing = PrometheusClient::connect(&settings).await.unwrap_err().0;
    assert!(missing.starts_with("cannot be asked: token_file: cannot read "), "{missing}");
    std::fs::write(&file, " \n").unwrap();
    assert!(PrometheusClient::connect(&settings).await.unwrap_err().0.contains("there is no token in "));
    std::fs::write(&file, "s3cr\u{7}et\n").unwrap();
    let odd = PrometheusClient::connect(&settings).await.unwrap_err().0;
    assert_eq!(odd, "cannot be asked: its token is none: it holds odd characters");
    std::fs::write(&file, "s3cret\n").unwrap();
    let client = PrometheusClient::connect(&settings).await.unwrap();
    let (selector, minute) = (r#"a{b="c d&e"}"#, SignedDuration::from_mins(1));
    client.samples(selector, Timestamp::from_millisecond(1_500).unwrap(), minute).await.unwrap();
    let heard = asked.lock().unwrap().clone();
    assert!(heard.starts_with("GET /prom/api/v1/query?query=a%7Bb%3D%22c%20d%26e%22%7D%5B60s%5D&time=1.500 HTTP/1.1\r\n"), "{heard}");
    let heard = heard.to_lowercase();
    assert!(heard.contains("\r\nauthorization: bearer s3cret\r\n") && heard.contains("\r\nx-scope-orgid: team\r\n"), "{heard}");
    assert!(!format!("{client:?} {settings:?}").contains("s3cret"));
    let variable = with(Some(TokenSource::Variable("POLICYDECK_NO_SUCH_VARIABLE".to_owned())));
    let unset = PrometheusClient::connect(&variable).await.unwrap_err().0;
    assert_eq!(unset, "cannot be asked: the variable POLICYDECK_NO_SUCH_VARIABLE (token_env) is not set");
}
