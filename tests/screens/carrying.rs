//! What is carried out is not ended by anything that the loop does.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use super::deck::event;
use super::fixture::{self, gates, plans};
use crossterm::event::Event;
use futures::SinkExt;
use futures::channel::mpsc;
use jiff::tz::TimeZone;
use policydeck::domain::journal::StepResult;
use policydeck::fleet::view::FleetView;
use policydeck::ops::plan::Plan;
use policydeck::tui::{Answer, App, Ask, Carried, Host, Msg, Operations, Progress, Source, Taken, TuiOptions, run_loop};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

/// An engine whose writes take until they are let go.
#[derive(Clone)]
struct Slow {
    fleet: watch::Receiver<Arc<FleetView>>,
    begun: Arc<AtomicBool>,
    go: Arc<Notify>,
    finished: Arc<AtomicBool>,
}

impl Source for Slow {
    fn fleet(&self) -> watch::Receiver<Arc<FleetView>> {
        self.fleet.clone()
    }

    async fn answer(&self, ask: Ask) -> Answer {
        let fleet = self.fleet.borrow().clone();
        fixture::answer(&fleet, &ask)
    }

    fn reconnect(&self, _environment: &str) {}

    async fn carry_out(&self, all: Arc<[Plan]>, _told: watch::Sender<Progress>) -> Carried {
        self.begun.store(true, Ordering::SeqCst);
        self.go.notified().await;
        self.finished.store(true, Ordering::SeqCst);
        all.iter().map(|plan| Ok(plans::outcome(plan, StepResult::Done, "audit now", false))).collect()
    }
}

struct Quiet(watch::Sender<Taken>);

impl Host for Quiet {
    async fn signal(&mut self) -> Msg {
        std::future::pending().await
    }

    fn suspend(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn resume(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn copy(&mut self, _text: &str) -> io::Result<()> {
        Ok(())
    }

    fn taken(&self) -> watch::Receiver<Taken> {
        self.0.subscribe()
    }

    fn panicked(&self) -> Option<String> {
        None
    }
}

/// Whether a write had come to its end when the loop had, after it was begun, these keys were pressed, and, perhaps, the terminal went away.
async fn finished_before_the_end(keys: &str, goes_away: bool) -> bool {
    let (sender, fleet) = watch::channel(fixture::fleet(gates::rollout()));
    let source = Slow { fleet, begun: Arc::default(), go: Arc::default(), finished: Arc::default() };
    let (begun, go, finished) = (Arc::clone(&source.begun), Arc::clone(&source.go), Arc::clone(&source.finished));
    let options = TuiOptions {
        operations: Operations::Possible { acknowledge: true },
        road: gates::road(),
        time_zone: TimeZone::UTC,
        ..TuiOptions::default()
    };
    let mut terminal = Terminal::new(TestBackend::new(120, 40)).unwrap();
    let mut app = App::new(options, fixture::now());
    let mut host = Quiet(watch::Sender::new(Taken::All));
    let (mut pressed, input) = mpsc::channel::<io::Result<Event>>(64);
    let shown = async {
        run_loop(&mut terminal, input, source, &mut app, &mut host, fixture::now).await.unwrap();
        finished.load(Ordering::SeqCst)
    };
    let person = async {
        let press = |key: &str| Ok(Event::Key(event(key)));
        for key in "tab tab a".split(' ') {
            pressed.send(press(key)).await.unwrap();
            sleep(Duration::from_millis(60)).await;
        }
        // What is pressed before it can be seen does not count.
        while !begun.load(Ordering::SeqCst) {
            pressed.send(press("y")).await.unwrap();
            sleep(Duration::from_millis(20)).await;
        }
        for key in keys.split_whitespace() {
            pressed.send(press(key)).await.unwrap();
        }
        if goes_away {
            drop(pressed);
            sleep(Duration::from_millis(100)).await;
            go.notify_one();
            return;
        }
        sleep(Duration::from_millis(100)).await;
        go.notify_one();
        // What is not read any more has nobody to read it.
        while pressed.send(press("esc")).await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let (finished, ()) = timeout(Duration::from_secs(20), async { tokio::join!(shown, person) }).await.unwrap();
    drop(sender);
    finished
}

#[tokio::test]
async fn a_write_is_waited_for_when_the_terminal_goes_away() {
    assert!(finished_before_the_end("", true).await);
}

#[tokio::test]
async fn a_write_is_ended_neither_by_another_question_nor_by_the_end() {
    assert!(finished_before_the_end("esc tab right left enter ctrl-c", false).await);
}
