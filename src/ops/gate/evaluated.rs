//! How many workloads results speak for, and where they cannot speak: the same for a gate and for the impact of a plan.

use crate::domain::PolicyId;
use crate::fleet::view::PolicyCell;
use crate::kinds::matches_wildcard;
use crate::settings::EnvironmentSettings;

/// How many workloads were evaluated, or why nothing shows what the policy would block: `tolerated` of the skipped results are violations, and `apart` of all
/// are where it blocks nothing, and do not count.
///
/// # Errors
/// The reason in words. Nothing evaluated is not nothing wrong.
pub fn evaluated(cell: &PolicyCell, tolerated: u64, apart: u64) -> Result<u64, String> {
    let all = cell.owners;
    if cell.is_silent() {
        return Err(silent(all.total()));
    }
    let evaluated = all.total().saturating_sub(all.skip).saturating_add(tolerated);
    if evaluated == 0 {
        return Err(match all.total() {
            0 => "no workload was evaluated: there are no results".to_owned(),
            all => format!("0 of {all} workloads were evaluated: all results are skipped"),
        });
    }
    if evaluated <= apart {
        return Err("nothing that it would block was evaluated".to_owned());
    }
    Ok(evaluated - apart)
}

/// Why the results of a policy that the API server judges by show nothing of now, if it has any.
pub fn silent(results: u64) -> String {
    match results {
        0 => "the API server judges by a native policy, and Kyverno reports nothing for it".to_owned(),
        1 => "the API server judges by a native policy, and Kyverno no longer evaluates it: its 1 result may be out of date".to_owned(),
        count => {
            format!("the API server judges by a native policy, and Kyverno no longer evaluates it: its {count} results may be out of date")
        }
    }
}

/// The namespaces that an environment is limited to; none where the policy lives in one of them, and reaches no other.
pub fn limits<'a>(environment: &'a EnvironmentSettings, policy: &PolicyId) -> &'a [String] {
    let limits = &environment.namespaces[..];
    let is_inside = policy.namespace.as_ref().is_some_and(|own| limits.iter().any(|pattern| matches_wildcard(pattern, own)));
    if is_inside { &[] } else { limits }
}

/// Whether everything that the policy reaches is looked at, with these [`limits`].
///
/// # Errors
/// The namespaces that are, in words.
pub fn in_scope(limits: &[String]) -> Result<(), String> {
    match limits {
        [] => Ok(()),
        some => Err(format!("only the namespaces {} are looked at, and the policy may reach others", some.join(", "))),
    }
}
