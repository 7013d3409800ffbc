//! Places that lack what is usually there: a terminal that can show nothing, a user without a home.

use crate::support::cluster::{Fleet, Options, User, crds};
use crate::support::product::Desk;
use crate::support::recount::recount;
use crate::support::say;
use crate::support::screen::{PATIENCE, Session};
use crate::support::seed::{Seeded, Shape};
use crate::terminal_faults::{SIZE, SOON, until_true};
use std::process::{Command, Stdio};

#[test]
fn terminals_that_can_show_nothing_and_users_without_a_home() {
    let Some(fleet) = Fleet::start(&["dev"], Options::default()) else { return };
    let dev = fleet.cluster("dev");
    dev.install_crds(&crds("kyverno-1.18.2"));
    let mut seeded = Seeded::new(dev, 1, 3, 5);
    seeded.reports(Shape::Resource);
    let desk = Desk::new(&fleet, User::Admin, "");

    // Nothing is drawn there, and one sentence says what does work.
    let on = |term: Option<&str>, args: &[&str]| {
        let mut command = desk.in_terminal(args);
        match term {
            Some(term) => command.env("TERM", term),
            None => command.env_remove("TERM"),
        }
        Session::start(command, SIZE)
    };
    let mut session = on(Some("dumb"), &[]);
    let status = session.exit_within(PATIENCE);
    let escapes = session.escapes();
    let text = session.ended().screen;
    assert!(status == 2 && escapes == 0 && text.contains("TERM=dumb") && text.contains("policydeck status"), "{status} {escapes} {text}");
    // What it points to works there, without a single escape sequence, also where documents follow one another.
    let session = on(Some("dumb"), &["status", "--watch"]);
    session.until_text("v1.");
    seeded.churn(30);
    session.until("a second document", |screen| screen.contents().matches("ENVIRONMENT").count() > 1);
    assert_eq!(session.escapes(), 0, "{}", session.text());
    // A terminal that says nothing of itself is drawn on: most of them are more than they say.
    let mut session = on(None, &[]);
    until_true("a screen without TERM", SOON, &session, &fleet);
    session.keys(":q\r");
    assert_eq!(session.ended().status, 0);

    let bare = |command: &mut Command| {
        for (name, _) in desk.variables() {
            command.env_remove(name);
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let status = |mut command: Command| {
        command.args([env!("CARGO_BIN_EXE_policydeck"), "status", "-o", "json", "--config"]);
        let (status, out, err) = bare(command.arg(desk.config()).arg("--kubeconfig").arg(fleet.kubeconfig()));
        let wrong = recount(&dev.api).status_differences("dev", &serde_json::from_str(&out).unwrap_or_default());
        assert!(status == Some(0) && wrong.is_empty(), "{status:?} {err} {wrong:?}");
        err
    };
    // A user whom the system does not know, without a home: neither a variable nor an entry names one.
    let nobody = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-user=54321", "sh", "-c", "unset HOME; exec \"$@\"", "sh"]);
        command
    };
    if nobody().arg("true").status().is_ok_and(|status| status.success()) {
        assert_eq!(status(nobody()), "");
        let (status, out, err) = bare(nobody().args([env!("CARGO_BIN_EXE_policydeck"), "paths"]));
        assert!(status == Some(1) && out.is_empty() && err.contains("set HOME"), "{status:?} {out} {err}");
    } else {
        say("LEFT OUT: a user without a home; unshare may not map users here");
    }
    // A home that can hold nothing.
    let mut homeless = Command::new("env");
    homeless.arg("HOME=/dev/null");
    let said = status(homeless);
    assert!(said.contains("cannot open the history"), "{said}");
}
