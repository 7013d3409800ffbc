use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command as Std, Stdio};

/// Keys and files of signers in a folder of their own.
struct Keys(tempfile::TempDir);

impl Keys {
    /// Keys of these names; `None` where the machine has no OpenSSH.
    fn of(names: &[(&str, &str)]) -> Option<Self> {
        if child::find(OsStr::new(PROGRAM)).is_err() {
            println!("SKIPPED: there is no ssh-keygen");
            return None;
        }
        let keys = Self(tempfile::tempdir().unwrap());
        for (name, kind) in names {
            keys.keygen(&["-q", "-t", kind, "-N", "", "-C", name, "-f", keys.at(name).to_str().unwrap()], b"");
        }
        Some(keys)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn keygen(&self, args: &[&str], input: &[u8]) -> (bool, Vec<u8>) {
        use std::io::Write as _;
        let mut command = Std::new(PROGRAM);
        command.args(args).current_dir(self.0.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.success(), output.stdout)
    }

    fn public(&self, name: &str) -> String {
        fs::read_to_string(self.at(&format!("{name}.pub"))).unwrap().split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// A file of signers with these lines: what stands before a key, and whose key it is.
    fn signers(&self, lines: &[(&str, &str)]) -> PathBuf {
        let text = lines.iter().map(|(before, name)| format!("{before} {}\n", self.public(name))).collect::<Vec<_>>().concat();
        let file = self.at("allowed_signers");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        file
    }

    /// What plain `ssh-keygen -Y sign` makes of it.
    fn plain(&self, key: &str, namespace: &str, content: &[u8]) -> Vec<u8> {
        let (done, signature) = self.keygen(&["-q", "-Y", "sign", "-n", namespace, "-f", key], content);
        assert!(done);
        signature
    }
}

#[tokio::test]
async fn ssh_keygen_and_policydeck_agree() {
    let kinds = [("ana", "ed25519"), ("eva", "ecdsa"), ("rob", "rsa"), ("eve", "ed25519")];
    let Some(keys) = Keys::of(&kinds) else { return };
    let content = b"{\"kind\": \"Plan\"}\n";
    for (name, _) in &kinds[..3] {
        let signers = keys.signers(&[("eve@example.com", "eve"), (&format!("{name}@example.com namespaces=\"git,{NAMESPACE}\""), name)]);
        let theirs = keys.plain(name, NAMESPACE, content);
        let signer = verify(content, &theirs, &signers).await.unwrap();
        assert_eq!(signer.principal, format!("{name}@example.com"));
        let (_, listed) = keys.keygen(&["-l", "-f", &format!("{name}.pub")], b"");
        assert!(String::from_utf8(listed).unwrap().contains(&format!(" {} ", signer.key)), "{signer}");
        assert_eq!(fingerprint(&keys.public(name)), Some(signer.key), "the key is recognized among those that a user holds");

        let ours = sign(content, &keys.at(name)).await.unwrap();
        fs::write(keys.at("ours.sig"), &ours).unwrap();
        let check = ["-Y", "verify", "-n", NAMESPACE, "-I", &format!("{name}@example.com"), "-f", "allowed_signers", "-s", "ours.sig"];
        assert!(keys.keygen(&check, content).0, "{name}");
        assert!(!keys.keygen(&check, b"something else").0);
        assert!(verify(content, &ours, &signers).await.is_ok());
    }
}

#[tokio::test]
async fn what_is_no_signature_of_a_known_person_does_not_count() {
    let Some(keys) = Keys::of(&[("ana", "ed25519"), ("eve", "ed25519")]) else { return };
    let content = b"a plan";
    let good = keys.plain("ana", NAMESPACE, content);
    let damaged = String::from_utf8(good.clone()).unwrap().replace("\nU1NIU0lH", "\nV1NIU0lH").into_bytes();
    let forged = keys.plain("eve", NAMESPACE, content);
    let other = keys.plain("ana", "git", content);
    let ana: &[(&str, &str)] = &[("ana@example.com", "ana")];
    for (what, signature, signers, content, says) in [
        ("changed", &good, ana, &b"another plan"[..], "the file was changed after it was signed"),
        ("forged", &forged, ana, content, "its key is not in the file"),
        ("another namespace", &other, ana, content, "made for something else"),
        ("no signature", &b"junk".to_vec(), ana, content, "cannot be read"),
        ("empty", &Vec::new(), ana, content, "cannot be read"),
        ("damaged", &damaged, ana, content, "cannot be read"),
        ("expired", &good, &[("ana valid-before=\"20200101Z\"", "ana")], content, "key has expired"),
        ("not yet valid", &good, &[("ana valid-after=\"21000101Z\"", "ana")], content, "key is not yet valid"),
        ("a key for git only", &good, &[("ana namespaces=\"git\"", "ana")], content, "not permitted"),
        ("a pattern", &good, &[("*@example.com", "ana")], content, "`*@example.com`, which is a pattern"),
        ("no one", &good, &[], content, "its key is not in the file"),
    ] {
        let why = verify(content, signature, &keys.signers(signers)).await.unwrap_err().to_string();
        assert!(why.contains(says), "{what}: {why}");
    }
    let both = keys.signers(&[("ana@example.com,ana namespaces=\"policydeck-plan\",valid-before=\"21000101Z\"", "ana"), ("bob", "eve")]);
    assert_eq!(verify(content, &good, &both).await.unwrap().principal, "ana@example.com,ana");
}

#[tokio::test]
async fn signers_that_others_can_change_are_rejected() {
    let Some(keys) = Keys::of(&[("ana", "ed25519")]) else { return };
    let good = keys.plain("ana", NAMESPACE, b"a plan");
    let signers = keys.signers(&[("ana", "ana")]);
    for (mode, says) in [(0o664, "other users may write"), (0o646, "chmod go-w"), (0o600, "")] {
        fs::set_permissions(&signers, fs::Permissions::from_mode(mode)).unwrap();
        let verified = verify(b"a plan", &good, &signers).await;
        assert!(
            if says.is_empty() { verified.is_ok() } else { verified.as_ref().is_err_and(|why| why.to_string().contains(says)) },
            "{verified:?}"
        );
    }
    fs::remove_file(&signers).unwrap();
    assert!(verify(b"a plan", &good, &signers).await.unwrap_err().to_string().contains("allowed_signers"));
    assert!(Std::new("mkfifo").arg(&signers).status().unwrap().success());
    assert!(verify(b"a plan", &good, &signers).await.unwrap_err().to_string().contains("not a regular file"));
}

#[tokio::test]
async fn an_agent_signs_for_a_public_key() {
    let Some(keys) = Keys::of(&[("ana", "ed25519")]) else { return };
    let signers = keys.signers(&[("ana", "ana")]);
    // In a group of its own that ends with the test, with the private key nowhere but in its memory.
    let socket = keys.at("agent");
    let mut agent = Std::new("ssh-agent").args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let add = || {
        Std::new("ssh-add").arg("-q").arg(keys.at("ana")).env("SSH_AUTH_SOCK", &socket).stderr(Stdio::null()).status().unwrap().success()
    };
    while !add() {
        assert!(std::time::Instant::now() < deadline, "the agent takes no key");
        std::thread::yield_now();
    }
    fs::remove_file(keys.at("ana")).unwrap();
    let public = keys.at("ana.pub");
    let variables = [(OsString::from("SSH_AUTH_SOCK"), socket.clone().into_os_string())];
    let signed = sign_with(b"a plan", &public, &variables).await.unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert_eq!(verify(b"a plan", &signed, &signers).await.unwrap().principal, "ana");
}

#[test]
fn answers_of_ssh_keygen_are_read() {
    assert_eq!(principals(b"ana@x,ana\nbob\nana\n\n"), ["ana@x", "ana", "bob"]);
    assert_eq!(principals(b""), Vec::<String>::new());
    let good = b"Good \"policydeck-plan\" signature for ana with ED25519 key SHA256:abc\n";
    assert_eq!(fingerprint_in(good).as_deref(), Some("SHA256:abc"));
    for other in [&b"Good \"git\" signature for ana with ED25519 key SHA256:abc"[..], b"Could not verify signature.", b""] {
        assert_eq!(fingerprint_in(other), None);
    }
    assert_eq!(beside(Path::new("a/plan.json")), PathBuf::from("a/plan.json.sig"));
    for line in ["", "ssh-ed25519", "ssh-ed25519 !!!"] {
        assert_eq!(fingerprint(line), None, "{line}");
    }
}
