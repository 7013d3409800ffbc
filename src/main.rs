//! The binary: diagnostics on, everything else in the library.

use color_eyre::config::{HookBuilder, Theme};
use std::io::IsTerminal;
use std::process::ExitCode;

fn main() -> ExitCode {
    let hooks = HookBuilder::default();
    let colors = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    let hooks = if colors { hooks } else { hooks.theme(Theme::new()) };
    // A second hook in the same process is the only way this fails, and then there is one.
    let _ = hooks.install();
    let arguments: Vec<_> = std::env::args_os().collect();
    policydeck::app::run(&arguments)
}
