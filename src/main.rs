//! The binary: diagnostics on, everything else in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A second hook in the same process is the only way this fails, and then there is one.
    let _ = color_eyre::install();
    let arguments: Vec<_> = std::env::args_os().collect();
    policydeck::app::run(&arguments)
}
