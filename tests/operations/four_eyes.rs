//! Four eyes: a plan is signed by its maker and applied by someone else. Two accounts and two users of a real cluster are in `real_cluster/four_eyes.rs`.

use super::{KNOWN, Ran, World, as_if_made_by};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// One environment that wants four eyes, with a policy that may be promoted, and the keys of some people.
struct Desk {
    world: World,
}

fn has_openssh() -> bool {
    Command::new("ssh-keygen").arg("-?").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

impl Desk {
    fn new() -> Self {
        let desk = Self { world: World::new("") };
        desk.rules("four_eyes = true\nallowed_signers = \"signers\"");
        desk.world.make("dev", "a");
        for name in ["ana", "eve"] {
            desk.keygen(&["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name]);
        }
        desk.signers(&[("ana@example.com", "ana")]);
        desk
    }

    fn at(&self, name: &str) -> PathBuf {
        self.world.home.path().join(name)
    }

    fn rules(&self, rules: &str) {
        let steps = "steps = [{ mode = \"audit\" }, { mode = \"enforce\" }]";
        let text = format!("[[environments]]\nname = \"dev\"\ncontext = \"dev\"\n{steps}\n[environments.rules]\n{rules}\n");
        std::fs::write(self.at("config.toml"), text).unwrap();
    }

    fn keygen(&self, args: &[&str]) {
        let home = self.world.home.path();
        assert!(Command::new("ssh-keygen").args(args).current_dir(home).stderr(Stdio::null()).status().unwrap().success(), "{args:?}");
    }

    fn signers(&self, lines: &[(&str, &str)]) {
        let public = |name: &str| std::fs::read_to_string(self.at(&format!("{name}.pub"))).unwrap();
        let text = lines.iter().map(|(before, name)| format!("{before} {}", public(name))).collect::<Vec<_>>().concat();
        std::fs::write(self.at("signers"), text).unwrap();
    }

    /// A plan of someone else's, without a signature.
    fn plan(&self) -> String {
        let file = self.at("plan.json").to_str().unwrap().to_owned();
        let _ = std::fs::remove_file(format!("{file}.sig"));
        self.world.promote(0, &["a", "--plan-out", &file]);
        as_if_made_by("ana", "ana", &file);
        file
    }

    fn sign(&self, file: &str, key: &str) {
        let signed = self.world.ends(0, &["plan", "sign", file, "--key", self.at(key).to_str().unwrap()]);
        assert!(signed.err.contains("promote ClusterPolicy/a in dev") && signed.err.contains(&format!("{file}.sig")), "{signed:?}");
    }

    fn apply(&self, status: i32, file: &str) -> Ran {
        self.world.ends(status, &["promote", "--plan", file, "--yes"])
    }
}

#[test]
fn what_nothing_proves_is_not_applied() {
    if !has_openssh() {
        println!("SKIPPED: there is no ssh-keygen");
        return;
    }
    let desk = Desk::new();
    let file = desk.plan();
    let rejected = |says: &str| {
        let ran = desk.apply(1, &file);
        assert!(ran.err.contains("dev wants four eyes (`rules.four_eyes`") && ran.err.contains(says), "{says}: {ran:?}");
        ran
    };
    let unsigned = rejected(&format!("{file} is not signed (there is no {file}.sig)"));
    assert!(unsigned.err.contains(&format!("Its maker signs it: `policydeck plan sign {file} --key KEY`")), "{unsigned:?}");
    desk.sign(&file, "eve");
    let forged = rejected("its key is not in the file");
    assert!(forged.err.contains(&format!("{file}.sig")) && forged.err.contains("/signers:"), "{forged:?}");
    // Signed, and then made to say another name.
    desk.sign(&file, "ana");
    as_if_made_by("bob", "bob", &file);
    rejected("the file was changed after it was signed");
    desk.sign(&file, "ana");
    desk.signers(&[("ana@example.com valid-before=\"20200101Z\"", "ana")]);
    rejected("key has expired");
    desk.signers(&[("*", "ana")]);
    rejected("which is a pattern");
    desk.signers(&[("ana@example.com", "ana")]);
    std::fs::remove_file(format!("{file}.sig")).unwrap();
    desk.keygen(&["-q", "-Y", "sign", "-n", "git", "-f", "ana", &file]);
    rejected("was made for something else");
    std::fs::write(format!("{file}.sig"), "junk").unwrap();
    rejected("cannot be read");

    // Whoever signed it does not apply it, whatever name the file has.
    let me = Command::new("id").arg("-un").output().unwrap();
    let me = String::from_utf8(me.stdout).unwrap().trim().to_owned();
    desk.sign(&file, "ana");
    desk.signers(&[(&format!("{me}@example.com"), "ana")]);
    rejected("signed this plan, and you are");
    desk.signers(&[("ana@example.com", "ana")]);
    std::fs::create_dir(desk.at(".ssh")).unwrap();
    std::fs::copy(desk.at("ana.pub"), desk.at(".ssh/mine.pub")).unwrap();
    rejected("and you hold that key");
    std::fs::remove_file(desk.at(".ssh/mine.pub")).unwrap();

    // Without anybody whose signature counts, and with a file that anybody may write to.
    desk.rules("four_eyes = true");
    let open = rejected("Add `allowed_signers = \"FILE\"`");
    assert!(open.err.contains("is set without `allowed_signers`"), "the configuration says so, too: {open:?}");
    desk.rules("four_eyes = true\nallowed_signers = \"signers\"");
    std::fs::set_permissions(desk.at("signers"), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    rejected("other users may write to the file");
    assert_eq!(desk.world.action("dev", "a"), "Audit");
    assert_eq!(desk.world.ends(0, &["audit", "show", "-o", "json"]).items().len(), 0, "nothing was begun");
}

#[test]
fn what_its_maker_signed_is_applied_by_someone_else() {
    if !has_openssh() {
        println!("SKIPPED: there is no ssh-keygen");
        return;
    }
    let desk = Desk::new();
    let file = desk.plan();
    // By OpenSSH itself: it is the same as `plan sign`.
    desk.keygen(&["-q", "-Y", "sign", "-n", "policydeck-plan", "-f", "ana", &file]);
    let rehearsed = desk.world.ends(0, &["promote", "--plan", &file, "--dry-run"]);
    assert!(
        rehearsed.err.contains("signed  by ana@example.com (SHA256:") && rehearsed.err.contains("made by ana on desk"),
        "{rehearsed:?}"
    );
    desk.apply(0, &file);
    assert_eq!(desk.world.action("dev", "a"), "Enforce");
    let entries = desk.world.ends(0, &["audit", "show", "-o", "json"]).items();
    for entry in &entries {
        assert_eq!(entry["signer"]["principal"], "ana@example.com", "{entry:#}");
        assert!(entry["signer"]["key"].as_str().unwrap().starts_with("SHA256:"), "{entry:#}");
    }
    assert_eq!(entries.len(), 2);
    desk.world.ends(0, &["audit", "verify"]);

    // Down needs no second person: a signature that does not count is only said.
    let down = desk.at("down.json").to_str().unwrap().to_owned();
    desk.world.ends(0, &["demote", "a", "-e", "dev", "--plan-out", &down, "--sign-key", desk.at("eve").to_str().unwrap()]);
    let done = desk.world.ends(0, &["demote", "--plan", &down, "--yes"]);
    assert!(done.err.contains("warning") && done.err.contains("its key is not in the file"), "{done:?}");
    assert_eq!(desk.world.action("dev", "a"), "Audit");

    // Made and signed at once; what was made here is not applied here.
    let hint = desk.world.promote(0, &["a", "--plan-out", &file]);
    assert!(hint.err.contains("signed  no") && hint.err.contains(&format!("policydeck plan sign {file} --key KEY")), "{hint:?}");
    let ana = desk.at("ana").to_str().unwrap().to_owned();
    desk.world.promote(0, &["a", "--plan-out", &file, "--sign-key", &ana]);
    assert!(desk.apply(1, &file).err.contains("made this plan, and you are"));
    assert!(desk.world.ends(2, &[&["promote", "a", "--sign-key", &ana], &KNOWN[..]].concat()).err.contains("--plan-out"));
    let missing = desk.world.ends(1, &["plan", "sign", &file, "--key", "/nonexistent/key"]);
    assert!(missing.err.contains("ssh-keygen cannot sign with /nonexistent/key"), "{missing:?}");
}

#[test]
fn a_passphrase_is_asked_for_on_the_terminal() {
    if !has_openssh() {
        println!("SKIPPED: there is no ssh-keygen");
        return;
    }
    let desk = Desk::new();
    let file = desk.plan();
    desk.keygen(&["-q", "-t", "ed25519", "-N", "correct horse", "-C", "kim", "-f", "kim"]);
    desk.signers(&[("kim@example.com", "kim")]);
    let key = desk.at("kim");
    let without = desk.world.ends(1, &["plan", "sign", &file, "--key", key.to_str().unwrap()]);
    assert!(without.err.contains("ssh-keygen cannot sign with") && without.err.contains("incorrect passphrase"), "{without:?}");

    let pair = portable_pty::native_pty_system().openpty(portable_pty::PtySize::default()).unwrap();
    let mut command = portable_pty::CommandBuilder::new(env!("CARGO_BIN_EXE_policydeck"));
    command.args(["plan", "sign", &file, "--key"]);
    command.arg(&key);
    command.env("HOME", desk.world.home.path());
    let mut child = pair.slave.spawn_command(command).unwrap();
    drop(pair.slave);
    let (mut reader, mut writer) = (pair.master.try_clone_reader().unwrap(), pair.master.take_writer().unwrap());
    let (sender, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut part = [0; 1024];
        // A terminal whose last program has ended gives an error instead of an end.
        while let Ok(count @ 1..) = reader.read(&mut part) {
            if sender.send(String::from_utf8_lossy(&part[..count]).into_owned()).is_err() {
                return;
            }
        }
    });
    let (mut screen, mut typed) = (String::new(), false);
    while let Ok(part) = said.recv_timeout(Duration::from_secs(60)) {
        screen.push_str(&part);
        if !typed && screen.contains("Enter passphrase") {
            writer.write_all(b"correct horse\n").unwrap();
            typed = true;
        }
    }
    assert!(typed && child.wait().unwrap().success(), "{screen}");
    assert!(!screen.contains("horse"), "{screen}");
    desk.apply(0, &file);
}
