//! `observe`: the engine and a recorder without a screen, with a page for those who watch the watcher.

use super::port::{self, Limits};
use super::wiring;
use super::{failure, interrupted};
use crate::cli::args::{Globals, ObserveArgs};
use crate::cli::{Exit, Problem, metrics};
use crate::domain::clean;
use crate::engine::EngineHandle;
use crate::engine::recorder::RecorderStatus;
use crate::fleet::view::FleetView;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Records until TERM or ctrl-c, either of which is how it is meant to end.
pub(super) async fn observe(args: &ObserveArgs, globals: &Globals) -> Result<Exit, Problem> {
    let loaded = if args.in_cluster {
        super::load::in_cluster(globals, args.name.as_deref())?
    } else {
        let loaded = super::load::load(globals, wiring::actions())?;
        super::load::check_namespace(&loaded, "observe", globals)?;
        loaded
    };
    let mut err = io::stderr();
    for warning in &loaded.warnings {
        writeln!(err, "{warning}")?;
    }
    let listener = match args.listen {
        Some(address) => {
            let bound = TcpListener::bind(address).await;
            Some(bound.map_err(|error| Problem::failed(format!("cannot listen on {address}: {error}")))?)
        }
        None => None,
    };
    let interrupted = interrupted();
    let engine = wiring::start_engine(&loaded, false);
    let file = wiring::history_file()?;
    let recorder = wiring::start_recorder(&engine, &loaded, &file, "observe")?;
    let mut status = recorder.status();
    writeln!(err, "recording {} environments to {}", loaded.options.environments.len(), file.display())?;
    if let Some(listener) = &listener {
        writeln!(err, "http://{}/metrics", listener.local_addr()?)?;
    }
    let page = Page { fleet: engine.fleet(), status: recorder.status(), engine: engine.clone() };
    let result = tokio::select! {
        () = interrupted => Ok(Exit::Done),
        why = failure(&engine) => Err(Problem::failed(format!("a part of the program failed, so nothing is recorded any more: {why}"))),
        () = serve(listener, page) => Ok(Exit::Failed),
        () = tell_trouble(&mut status) => Ok(Exit::Failed),
        () = tell_clocks(engine.fleet()) => Ok(Exit::Failed),
    };
    recorder.finish().await;
    result
}

/// Says on stderr what keeps the history from being written and Prometheus from being asked, and when that is over. Never ends.
async fn tell_trouble(status: &mut watch::Receiver<RecorderStatus>) {
    let mut told = RecorderStatus::default();
    loop {
        let lines = {
            let now = status.borrow_and_update();
            let lines = news(&told, &now);
            // It changes with each batch that is written; most of that is nobody's news.
            if !lines.is_empty() {
                told = now.clone();
            }
            lines
        };
        for line in lines {
            // A closed stderr does not end the recorder.
            let _ = writeln!(io::stderr(), "policydeck: {}", clean(&line));
        }
        if status.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Says on stderr where the clock of this machine is wrong, once for each environment until it is right again. Never ends.
async fn tell_clocks(mut fleet: watch::Receiver<Arc<FleetView>>) {
    let mut told = BTreeSet::new();
    loop {
        let view = Arc::clone(&fleet.borrow_and_update());
        for line in clocks(&view, &mut told) {
            // A closed stderr does not end the recorder.
            let _ = writeln!(io::stderr(), "policydeck: {}", clean(&line));
        }
        if fleet.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// The environments whose clock has just become another than the one here.
fn clocks(fleet: &FleetView, told: &mut BTreeSet<Arc<str>>) -> Vec<String> {
    let mut lines = Vec::new();
    for view in &fleet.environments {
        match view.clock_note() {
            Some(note) if told.insert(Arc::clone(&view.name)) => lines.push(format!("{}: {note}", view.name)),
            Some(_) => {}
            None => drop(told.remove(&view.name)),
        }
    }
    lines
}

/// What has become worse, or better.
fn news(told: &RecorderStatus, now: &RecorderStatus) -> Vec<String> {
    let mut lines = Vec::new();
    if told.trouble != now.trouble {
        lines.push(now.trouble.as_deref().unwrap_or("the history is written again").to_owned());
    }
    for (environment, why) in now.ended.iter().filter(|(environment, why)| told.ended.get(*environment) != Some(why)) {
        lines.push(format!("{environment} is not recorded: {why}"));
    }
    for environment in told.ended.keys().filter(|environment| !now.ended.contains_key(*environment)) {
        lines.push(format!("{environment} is recorded again"));
    }
    for (environment, why) in now.unanswered.iter().filter(|(environment, why)| told.unanswered.get(*environment) != Some(why)) {
        lines.push(format!("{environment}: Prometheus {why}"));
    }
    for environment in told.unanswered.keys().filter(|environment| !now.unanswered.contains_key(*environment)) {
        lines.push(format!("{environment}: Prometheus answers again"));
    }
    lines
}

/// What the page shows.
#[derive(Clone)]
struct Page {
    fleet: watch::Receiver<Arc<FleetView>>,
    status: watch::Receiver<RecorderStatus>,
    engine: EngineHandle,
}

/// Serves the page; never ends.
async fn serve(listener: Option<TcpListener>, page: Page) {
    match listener {
        Some(listener) => port::serve(listener, Limits::default(), move |request: &Request<Incoming>| page.answer(request)).await,
        None => std::future::pending().await,
    }
}

impl Page {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        }
        match request.uri().path() {
            "/healthz" if self.engine.failed().borrow().is_some() => plain(StatusCode::INTERNAL_SERVER_ERROR, "a background task failed\n"),
            "/healthz" => plain(StatusCode::OK, "ok\n"),
            "/readyz" => {
                let status = self.status.borrow();
                let (ready, why) = ready(&status);
                plain(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &format!("{why}\n"))
            }
            "/metrics" => {
                let text = metrics::text(&self.fleet.borrow(), &self.status.borrow());
                let mut response = plain(StatusCode::OK, &text);
                response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(metrics::CONTENT_TYPE));
                response
            }
            _ => plain(StatusCode::NOT_FOUND, "/healthz, /readyz and /metrics are here\n"),
        }
    }
}

/// Whether something is recorded, and if not, why.
fn ready(status: &RecorderStatus) -> (bool, &str) {
    match (&status.trouble, status.last_write) {
        (Some(why), _) => (false, why),
        (None, None) => (false, "nothing has been recorded yet"),
        (None, Some(_)) => (true, "ok"),
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::view::EnvironmentView;
    use jiff::{SignedDuration, Timestamp};

    #[test]
    fn it_is_ready_when_it_records() {
        let written = RecorderStatus { last_write: Some(Timestamp::UNIX_EPOCH), ..RecorderStatus::default() };
        let full = RecorderStatus { trouble: Some("the disk is full".into()), ..written.clone() };
        assert_eq!(ready(&RecorderStatus::default()), (false, "nothing has been recorded yet"));
        assert_eq!(ready(&written), (true, "ok"));
        assert_eq!(ready(&full), (false, "the disk is full"));
    }

    #[test]
    fn a_wrong_clock_is_told_once_until_it_is_right_again() {
        let ahead = |minutes| {
            let view = EnvironmentView { name: "dev".into(), skew: Some(SignedDuration::from_mins(minutes)), ..EnvironmentView::default() };
            FleetView { environments: vec![Arc::new(view)] }
        };
        let mut told = BTreeSet::new();
        assert!(clocks(&ahead(7), &mut told)[0].starts_with("dev: the clock of this machine is 7m behind"));
        for (minutes, lines) in [(8, 0), (0, 0), (7, 1)] {
            assert_eq!(clocks(&ahead(minutes), &mut told).len(), lines, "{minutes}");
        }
    }

    #[test]
    fn trouble_is_told_once_and_so_is_its_end() {
        let well = RecorderStatus::default();
        let unanswered = [(Arc::from("staging"), Arc::from("does not answer: connection refused"))].into();
        let ill = RecorderStatus { trouble: Some(Arc::from("the disk is full")), unanswered, ..RecorderStatus::default() };
        assert_eq!(news(&well, &ill), ["the disk is full", "staging: Prometheus does not answer: connection refused"]);
        assert_eq!(news(&ill, &ill), Vec::<String>::new());
        assert_eq!(news(&ill, &well), ["the history is written again", "staging: Prometheus answers again"]);
    }
}
