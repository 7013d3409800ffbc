//! What a process holds, read from `/proc` while it runs.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A process at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    /// Resident memory now and at most so far, in MB.
    pub(crate) memory: f64,
    pub(crate) peak: f64,
    pub(crate) threads: f64,
    pub(crate) files: f64,
    /// Seconds of processor time so far.
    pub(crate) cpu: f64,
}

/// Ticks of `/proc/PID/stat` in a second: `USER_HZ`, which Linux keeps at 100 for programs.
const TICKS: f64 = 100.0;

impl Held {
    /// `None` once the process is gone.
    pub(crate) fn by(pid: u32) -> Option<Self> {
        let place = PathBuf::from(format!("/proc/{pid}"));
        let status = std::fs::read_to_string(place.join("status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse::<f64>().ok()
        };
        let stat = std::fs::read_to_string(place.join("stat")).ok()?;
        // The name in parentheses may hold blanks; utime and stime are the 12th and 13th field after it.
        let mut times = stat.rsplit_once(')')?.1.split_whitespace().skip(11).map_while(|n| n.parse::<f64>().ok());
        let files = std::fs::read_dir(place.join("fd")).ok()?.count();
        Some(Self {
            memory: field("VmRSS:")? / 1024.0,
            peak: field("VmHWM:")? / 1024.0,
            threads: field("Threads:")?,
            files: files as f64,
            cpu: (times.next()? + times.next()?) / TICKS,
        })
    }
}

/// Both processes at one moment: the screen, the status.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Duration,
    pub(crate) held: [Held; 2],
}

/// Reads both processes again and again until it is dropped.
pub(crate) struct Sampler {
    samples: Arc<Mutex<Vec<Sample>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    pub(crate) fn start(pids: [u32; 2], every: Duration) -> Self {
        let (samples, end, start) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)), Instant::now());
        let (taken, ended) = (Arc::clone(&samples), Arc::clone(&end));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let [Some(screen), Some(status)] = pids.map(Held::by) else { return };
                taken.lock().unwrap_or_else(PoisonError::into_inner).push(Sample { at: start.elapsed(), held: [screen, status] });
                std::thread::park_timeout(every);
            }
        });
        Self { samples, end, thread: Some(thread) }
    }

    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// The median of the second and of the last quarter.
pub(crate) fn quarters(values: &[f64]) -> (f64, f64) {
    let quarter = values.len() / 4;
    (median(&values[quarter..2 * quarter]), median(&values[3 * quarter..]))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
