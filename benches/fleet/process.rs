//! What the kernel says of a process.

use std::time::Duration;

/// Ticks a second of the times in `/proc/PID/stat`: `USER_HZ` is 100 on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// Seconds of CPU that a process (a number, or `self`) has used, in user and kernel mode.
pub(crate) fn cpu(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything; the fields after it are counted from there: utime and stime are the 12th and 13th.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |n: usize| fields.get(n).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS
}

/// Resident memory now, and the most there ever was, in MiB.
pub(crate) fn memory(pid: &str) -> (f64, f64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// Seconds of CPU in `window`, as a share of one core.
pub(crate) fn load(pid: &str, window: Duration) -> f64 {
    let before = cpu(pid);
    std::thread::sleep(window);
    (cpu(pid) - before) / window.as_secs_f64()
}

/// Lets this thread run before others, where that is allowed (to root): what measures must not be what is waited for. Whether it is.
pub(crate) fn run_first() -> bool {
    rustix::process::setpriority_process(None, -15).is_ok()
}

/// What machine this is, in one line.
pub(crate) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let after = |text: String, name: &str| {
        text.lines().find(|l| l.starts_with(name)).and_then(|l| l.split(':').nth(1)).unwrap_or("?").trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = after(read("/proc/meminfo"), "MemTotal").split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) >> 20;
    format!(
        "{} cores of {}, {memory} GiB, Linux {}",
        cores,
        after(read("/proc/cpuinfo"), "model name"),
        read("/proc/sys/kernel/osrelease").trim()
    )
}
