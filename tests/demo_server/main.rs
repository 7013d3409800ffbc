//! The demo's API servers as clients meet them: protocol through raw HTTP and kube's client, contents, and the real
//! kubectl where there is one.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests fail by panicking")]

mod client;
mod clients;
mod contents;
mod guide;
mod reading;
mod writing;
