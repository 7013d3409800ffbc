//! SSH signatures of files: made and verified by the user's own `ssh-keygen`, with keys in files, in an agent or on a security key.
//!
//! What lives here: calling `ssh-keygen` and reading its answer, the file `allowed_signers`, the public keys that this user holds. What does not: which
//! files have to be signed, and by whom.
//!
//! Formats: ssh-keygen(1), `-Y sign`, `-Y verify` and ALLOWED SIGNERS; OpenSSH `PROTOCOL.sshsig`.

use super::atomic::read_regular;
use super::child::{self, Lost, words};
use super::owned::be_owned;
use super::{FileError, TemporaryFolder};
use crate::domain::clean;
use crate::domain::journal::Signer;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use directories::BaseDirs;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, read_dir};
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

/// What the signature is for: a signature of the same key for anything else does not count.
pub const NAMESPACE: &str = "policydeck-plan";

const PROGRAM: &str = "ssh-keygen";
/// Maximum time of a verification.
const LIMIT: Duration = Duration::from_secs(20);
/// Maximum size of an answer, in bytes.
const ANSWER: usize = 64 << 10;
/// Maximum size of a signature and of a public key, in bytes. A signature by a certificate of RSA is below 10 KiB.
const LARGEST_SIGNATURE: u64 = 64 << 10;
/// Maximum size of `allowed_signers`, in bytes.
const LARGEST_SIGNERS: u64 = 4 << 20;
/// Maximum number of principals of one key that are tried.
const PRINCIPALS: usize = 16;
/// Maximum number of public keys that are read from the folder `.ssh`.
const KEYS: usize = 200;

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureError {
    /// There is no `ssh-keygen`.
    Missing,
    /// `allowed_signers` cannot be used, in words.
    Signers(String),
    /// Its key is not in `allowed_signers`, or not now; with the words of `ssh-keygen`.
    Unknown(String),
    /// The principal of its key is a pattern, which names more than one person.
    Pattern(String),
    /// The file was changed after it was signed.
    Changed,
    /// It was made for something else than a plan.
    Namespace,
    /// Anything else, in words.
    Said(String),
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no ssh-keygen: install OpenSSH 8.2 or later"),
            Self::Signers(why) | Self::Said(why) => f.write_str(why),
            Self::Unknown(words) if words.is_empty() => f.write_str("its key is not in the file"),
            Self::Unknown(words) => write!(f, "its key does not count ({words})"),
            Self::Pattern(principal) => write!(f, "its key belongs to `{principal}`, which is a pattern: name one person for each key"),
            Self::Changed => f.write_str("the file was changed after it was signed"),
            Self::Namespace => write!(f, "the signature was made for something else (the namespace is not {NAMESPACE})"),
        }
    }
}

impl std::error::Error for SignatureError {}

impl From<FileError> for SignatureError {
    fn from(error: FileError) -> Self {
        Self::Said(error.what)
    }
}

/// The file of a file's signature: `plan.json.sig`, as `ssh-keygen -Y sign` names it.
pub fn beside(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".sig");
    PathBuf::from(name)
}

/// The signature of a file; `None` where there is none.
///
/// # Errors
/// It cannot be read, or is no regular file of at most 64 KiB.
pub fn read_signature(file: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match read_regular(&beside(file), LARGEST_SIGNATURE) {
        Ok(signature) => Ok(Some(signature)),
        Err(error) if error.kind == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Who signed this content, where the file `allowed` knows the key now.
///
/// # Errors
/// See [`SignatureError`]. Users who may write to `allowed` decide whose signatures count, so a file that other users may change is rejected.
pub async fn verify(content: &[u8], signature: &[u8], allowed: &Path) -> Result<Signer, SignatureError> {
    check_signers(allowed)?;
    let folder = TemporaryFolder::new()?;
    let signature = folder.write("signature", signature)?;
    let allowed = std::path::absolute(allowed).map_err(|error| SignatureError::Signers(error.to_string()))?;
    let with = |args: &[&str]| {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        [args, vec!["-f".into(), allowed.clone().into(), "-s".into(), signature.clone().into()]].concat()
    };
    let found = call(&with(&["-Y", "find-principals"]), b"").await?;
    let names = principals(&found.out);
    if !found.status.success() || names.is_empty() {
        return Err(reason(&words(&found.err)));
    }
    let (mut good, mut why) = (Vec::new(), None);
    for name in names {
        if name.contains(['*', '?', '!']) {
            why = Some(SignatureError::Pattern(clean(&name).into_owned()));
            continue;
        }
        let verified = call(&with(&["-Y", "verify", "-n", NAMESPACE, "-I", &name]), content).await?;
        match fingerprint_in(&verified.out).filter(|_| verified.status.success()) {
            Some(key) => good.push((name, key)),
            None => why = Some(reason(&words(&verified.err))),
        }
    }
    let Some((_, key)) = good.first().cloned() else { return Err(why.unwrap_or_else(|| SignatureError::Unknown(String::new()))) };
    let principal: Vec<String> = good.into_iter().map(|(name, _)| clean(&name).into_owned()).collect();
    Ok(Signer { principal: principal.join(","), key })
}

/// Signs content with a key: a private key, or a public one whose private key an agent has.
///
/// On a terminal, `ssh-keygen` asks there for a passphrase or for a touch of a security key.
///
/// # Errors
/// The words of `ssh-keygen`, or that there is none.
pub async fn sign(content: &[u8], key: &Path) -> Result<Vec<u8>, SignatureError> {
    sign_with(content, key, &[]).await
}

/// The same with these variables.
async fn sign_with(content: &[u8], key: &Path, variables: &[(OsString, OsString)]) -> Result<Vec<u8>, SignatureError> {
    let folder = TemporaryFolder::new()?;
    let file = folder.write("plan.json", content)?;
    let shown = key.display();
    let key = std::path::absolute(key).map_err(|error| SignatureError::Said(error.to_string()))?;
    let mut command = program()?;
    command.args(["-q", "-Y", "sign", "-n", NAMESPACE, "-f"]).arg(key).arg(&file).envs(variables.iter().cloned());
    let (done, said) = if io::stdin().is_terminal() {
        // What it asks needs the terminal, and a group in the background may not read from there.
        let status = command.kill_on_drop(true).status().await.map_err(|error| not_run(&error))?;
        (status.success(), String::new())
    } else {
        let said = run(command, b"").await?;
        (said.status.success(), format!(": {}", words(&said.err)))
    };
    if !done {
        return Err(SignatureError::Said(format!("ssh-keygen cannot sign with {shown}{said}")));
    }
    Ok(read_regular(&beside(&file), LARGEST_SIGNATURE)?)
}

/// The fingerprints of the keys that this user holds, as far as is known: those of the agent, and the public keys in the folder `.ssh`.
pub async fn held_keys() -> BTreeSet<String> {
    let mut texts = Vec::new();
    if std::env::var_os("SSH_AUTH_SOCK").is_some()
        && let Ok(agent) = child::find(OsStr::new("ssh-add"))
    {
        let mut command = Command::new(agent);
        command.arg("-L");
        texts.extend(child::run(command, b"", ANSWER, LIMIT).await.ok().map(|said| said.out));
    }
    let folder = BaseDirs::new().map(|base| base.home_dir().join(".ssh"));
    let entries = folder.and_then(|folder| read_dir(folder).ok()).into_iter().flatten().flatten().map(|entry| entry.path());
    let public = entries.filter(|path| path.extension().is_some_and(|extension| extension == "pub")).take(KEYS);
    texts.extend(public.filter_map(|path| read_regular(&path, LARGEST_SIGNATURE).ok()));
    texts.iter().flat_map(|text| String::from_utf8_lossy(text).lines().filter_map(fingerprint).collect::<Vec<_>>()).collect()
}

/// The fingerprint of a line with a public key: `ssh-ed25519 AAAA… comment`.
fn fingerprint(line: &str) -> Option<String> {
    let blob = STANDARD.decode(line.split_whitespace().nth(1)?).ok()?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &blob);
    Some(format!("SHA256:{}", STANDARD_NO_PAD.encode(digest)))
}

/// The principals that `find-principals` prints, one a line.
fn principals(out: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(out);
    let mut names: Vec<String> = Vec::new();
    for name in text.lines().flat_map(|line| line.split(',')).map(str::trim).filter(|name| !name.is_empty()) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names.truncate(PRINCIPALS);
    names
}

/// The key in `Good "policydeck-plan" signature for ana with ED25519 key SHA256:…`.
fn fingerprint_in(out: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(out);
    let line = text.lines().find(|line| line.starts_with(&format!("Good \"{NAMESPACE}\" signature")))?;
    line.rsplit(' ').next().filter(|key| key.starts_with("SHA256:")).map(str::to_owned)
}

/// What the complaints of `ssh-keygen` mean (OpenSSH `sshsig.c`).
fn reason(words: &str) -> SignatureError {
    let known = |part: &str| words.contains(part);
    if known("incorrect signature") {
        return SignatureError::Changed;
    }
    if known("namespace does not match") {
        return SignatureError::Namespace;
    }
    if known("parse signature") || known("incomplete message") || known("invalid format") {
        return SignatureError::Said("the signature cannot be read".to_owned());
    }
    let line =
        words.split("; ").find(|line| ["key has expired", "key is not yet valid", "not permitted"].iter().any(|why| line.contains(why)));
    SignatureError::Unknown(line.unwrap_or_default().to_owned())
}

/// Rejects a file of signers that is no regular file, or that others may change.
fn check_signers(allowed: &Path) -> Result<(), SignatureError> {
    let told = |error: &dyn fmt::Display| SignatureError::Signers(error.to_string());
    read_regular(allowed, LARGEST_SIGNERS).map_err(|error| told(&error))?;
    let file = File::open(allowed).map_err(|error| told(&FileError::new("read", allowed, &error)))?;
    be_owned(&file, allowed).map_err(|error| told(&error))
}

fn program() -> Result<Command, SignatureError> {
    child::find(OsStr::new(PROGRAM)).map(Command::new).map_err(|error| not_run(&error))
}

async fn call(args: &[OsString], input: &[u8]) -> Result<child::Said, SignatureError> {
    let mut command = program()?;
    command.args(args);
    run(command, input).await
}

async fn run(command: Command, input: &[u8]) -> Result<child::Said, SignatureError> {
    child::run(command, input, ANSWER, LIMIT).await.map_err(|lost| match lost {
        Lost::NotStarted(error) => not_run(&error),
        Lost::Late => SignatureError::Said(format!("{PROGRAM} gave no answer within {} s and was ended", LIMIT.as_secs())),
        Lost::Gone(error) => SignatureError::Said(format!("{PROGRAM} was lost: {error}")),
    })
}

fn not_run(error: &io::Error) -> SignatureError {
    match error.kind() {
        io::ErrorKind::NotFound => SignatureError::Missing,
        _ => SignatureError::Said(format!("{PROGRAM} cannot be run: {error}")),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
