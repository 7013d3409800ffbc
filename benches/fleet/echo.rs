//! What a key costs that does nothing: a program that only gives it back, in a terminal of its own, on the same machine at the same time.

use crate::process;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{Read as _, Write};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// A running echo.
pub(crate) struct Echo {
    writer: Box<dyn Write + Send>,
    arrived: Receiver<Instant>,
    child: Box<dyn Child + Send + Sync>,
    _master: Box<dyn MasterPty + Send>,
}

impl Echo {
    /// Starts it, and waits until it answers.
    pub(crate) fn start() -> Self {
        let pair = native_pty_system().openpty(PtySize::default()).expect("a pseudo-terminal");
        let mut builder = CommandBuilder::new("sh");
        builder.args(["-c", "stty raw -echo; printf .; exec cat"]);
        let child = pair.slave.spawn_command(builder).expect("a shell starts");
        drop(pair.slave);
        let mut input = pair.master.try_clone_reader().expect("a reader");
        let (sender, arrived) = sync_channel(16);
        std::thread::spawn(move || {
            process::run_first();
            let mut buffer = [0; 64];
            while let Ok(1..) = input.read(&mut buffer)
                && sender.send(Instant::now()).is_ok()
            {}
        });
        let echo = Self { writer: pair.master.take_writer().expect("a writer"), arrived, child, _master: pair.master };
        echo.arrival();
        echo
    }

    fn arrival(&self) -> Instant {
        self.arrived.recv_timeout(Duration::from_secs(10)).expect("an echo within ten seconds")
    }

    /// Presses a key; milliseconds until it is back.
    pub(crate) fn press(&mut self) -> f64 {
        self.writer.write_all(b"j").and_then(|()| self.writer.flush()).expect("the terminal takes keys");
        let pressed = Instant::now();
        self.arrival().saturating_duration_since(pressed).as_secs_f64() * 1000.0
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
