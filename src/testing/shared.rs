//! Published manifests and CRDs, where they lie beside the repository.

use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A folder of the folder `shared`, which lies beside the repository where the project is developed, or where `POLICYDECK_SHARED` says. Where it
/// is not there, the test says that it does without.
pub(crate) fn shared(folder: &str) -> Option<PathBuf> {
    let chosen = std::env::var_os("POLICYDECK_SHARED").map(|path| PathBuf::from(path).join(folder));
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|above| above.join("shared").join(folder));
    let found = chosen.into_iter().chain(beside).find(|path| path.is_dir());
    if found.is_none() {
        let _ = writeln!(std::io::stderr().lock(), "left out: what shared/{folder} would add (it is not there)");
    }
    found
}

/// All documents of all YAML files of a folder of `shared`, with the files' names without extension; those of CRDs are big.
pub(crate) fn documents(folder: &str) -> Vec<(String, Value)> {
    let Some(folder) = shared(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files.iter().flat_map(|path| of_file(path)).collect()
}

fn of_file(path: &Path) -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(path).unwrap();
    let options = serde_saphyr::options! { budget: None };
    let values: Vec<Value> =
        serde_saphyr::from_multiple_with_options(&text, options).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    values.into_iter().map(|value| (name.clone(), value)).collect()
}
