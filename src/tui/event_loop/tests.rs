//! The loop on a clock that stands still: what needs no time must not take any.

use super::*;
use crate::tui::TuiOptions;
use crate::tui::msg::Answer;
use crossterm::event::KeyCode;
use futures::stream;
use ratatui::backend::TestBackend;

/// No engine: nothing is ever new.
#[derive(Clone)]
struct Nobody(Arc<watch::Sender<Arc<crate::fleet::view::FleetView>>>);

impl Source for Nobody {
    fn fleet(&self) -> watch::Receiver<Arc<crate::fleet::view::FleetView>> {
        self.0.subscribe()
    }

    async fn answer(&self, _: Ask) -> Answer {
        std::future::pending().await
    }

    fn reconnect(&self, _: &str) {}
}

/// A terminal that takes everything, and that is closed at a given moment.
struct Closing(Instant);

impl Host for Closing {
    async fn signal(&mut self) -> Msg {
        sleep_until(self.0).await;
        Msg::Terminate
    }

    fn suspend(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn resume(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn copy(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn taken(&self) -> watch::Receiver<Taken> {
        watch::Sender::new(Taken::All).subscribe()
    }

    fn panicked(&self) -> Option<String> {
        None
    }
}

/// What stands on the screen when keys have come and no time has passed.
async fn shown_at_once(keys: &str) -> String {
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let mut app = App::new(TuiOptions::default(), Timestamp::UNIX_EPOCH);
    let pressed: Vec<_> = keys.chars().map(|key| Ok(Event::Key(KeyCode::Char(key).into()))).collect();
    let input = stream::iter(pressed).chain(stream::pending());
    let source = Nobody(Arc::new(watch::Sender::new(Arc::default())));
    // Timers go off at whole milliseconds: between two of them, the terminal closes at the next.
    tokio::time::advance(Duration::from_micros(300)).await;
    let mut host = Closing(Instant::now() + Duration::from_micros(300));
    run(&mut terminal, input, source, &mut app, &mut host, || Timestamp::UNIX_EPOCH).await.unwrap();
    terminal.backend().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_due_waits_for_no_timer() {
    assert!(shown_at_once("").await.contains("policydeck"), "the first frame");
    assert!(shown_at_once("?").await.contains("Keys"), "a key's frame");
}
