//! Which release of Kyverno a cluster runs, as far as that can be told.
//!
//! What lives here: a range of minor releases, from an image or from what the API server serves. What does not: what each release does
//! (`mode`).

use std::fmt;

/// The minor releases 1.N that a cluster's Kyverno can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Release {
    lowest: u16,
    highest: Option<u16>,
}

impl Release {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { lowest: 0, highest: None };

    /// Exactly 1.`minor`.
    pub fn exactly(minor: u16) -> Self {
        Self { lowest: minor, highest: Some(minor) }
    }

    /// 1.`minor` or later.
    pub fn at_least(minor: u16) -> Self {
        Self { lowest: minor, highest: None }
    }

    /// 1.`lowest` to 1.`highest`.
    pub fn between(lowest: u16, highest: u16) -> Self {
        Self { lowest, highest: Some(highest.max(lowest)) }
    }

    /// From a version (`v1.19.1`, `1.12`, `v1.13.0-rc.2`) or an image with a tag (`ghcr.io/kyverno/kyverno:v1.13.4@sha256:…`). A digest, or a
    /// tag of somebody's own (`latest`, `stable-2024`), tells nothing.
    pub fn from_text(text: &str) -> Option<Self> {
        let without_digest = text.split('@').next().unwrap_or_default();
        // A colon before the last slash belongs to a port.
        let last = without_digest.rsplit('/').next().unwrap_or_default();
        let tag = match last.rsplit_once(':') {
            Some((_, tag)) => tag,
            None if without_digest.contains('/') => return None,
            None => last,
        };
        let mut parts = tag.strip_prefix('v').unwrap_or(tag).split(['.', '-', '+']);
        let (major, minor) = (parts.next()?, parts.next()?);
        (major == "1").then_some(())?;
        minor.parse().ok().map(Self::exactly)
    }

    /// From the groups and versions that an API server serves, as (`group`, `version`), and from whether the schema of `kyverno.io/v1`
    /// knows `spec.rules[].validate.failureAction` (`None` where nobody looked).
    ///
    /// Which release serves what: Kyverno `config/crds` at each tag. A group that is not served proves nothing (charts can leave CRDs
    /// out); a served group without its newer versions does.
    pub fn from_served(served: &[(&str, &str)], knows_failure_action: Option<bool>) -> Self {
        let has = |group: &str, version: &str| served.contains(&(group, version));
        let mut lowest = 0;
        let mut at_least = |condition: bool, minor: u16| {
            if condition {
                lowest = lowest.max(minor);
            }
        };
        at_least(has("kyverno.io", "v2beta1"), 10);
        at_least(has("kyverno.io", "v2"), 12);
        at_least(has("reports.kyverno.io", "v1"), 12);
        at_least(knows_failure_action == Some(true), 13);
        at_least(has("policies.kyverno.io", "v1alpha1"), 14);
        at_least(has("policies.kyverno.io", "v1beta1"), 16);
        at_least(has("policies.kyverno.io", "v1"), 17);
        let cel = served.iter().any(|(group, _)| *group == "policies.kyverno.io");
        let highest = if knows_failure_action == Some(false) {
            Some(12)
        } else if cel && !has("policies.kyverno.io", "v1beta1") && !has("policies.kyverno.io", "v1") {
            Some(15)
        } else if cel && !has("policies.kyverno.io", "v1") {
            Some(16)
        } else {
            None
        };
        Self { lowest, highest: highest.map(|highest| highest.max(lowest)) }
    }

    /// The range that both can be; where they contradict each other (during an upgrade), the older one, whose rules are the laxer.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let lowest = self.lowest.max(other.lowest);
        let highest = match (self.highest, other.highest) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        match highest {
            Some(highest) if highest < lowest => Self::exactly(highest),
            highest => Self { lowest, highest },
        }
    }

    /// Whether a release 1.`minor` is among them.
    pub fn can_be(self, minor: u16) -> bool {
        self.lowest <= minor && self.highest.is_none_or(|highest| minor <= highest)
    }

    /// Whether one of 1.`from` to 1.`to` (`None`: without end) is among them.
    pub(super) fn overlaps(self, from: u16, to: Option<u16>) -> bool {
        self.highest.is_none_or(|highest| from <= highest) && to.is_none_or(|to| self.lowest <= to)
    }

    /// The minor release, where it is known exactly.
    pub fn minor(self) -> Option<u16> {
        self.highest.filter(|highest| *highest == self.lowest)
    }
}

impl fmt::Display for Release {
    /// `1.19`, `1.14–1.15`, `≥1.17`, `≤1.12` or `unknown`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.lowest, self.highest) {
            (0, None) => f.write_str("unknown"),
            (0, Some(highest)) => write!(f, "≤1.{highest}"),
            (lowest, None) => write!(f, "≥1.{lowest}"),
            (lowest, Some(highest)) if lowest == highest => write!(f, "1.{lowest}"),
            (lowest, Some(highest)) => write!(f, "1.{lowest}–1.{highest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Release;

    #[test]
    fn versions_and_images() {
        for (text, expected) in [
            ("v1.19.1", Some(19)),
            ("1.12", Some(12)),
            ("v1.13.0-rc.2", Some(13)),
            ("ghcr.io/kyverno/kyverno:v1.13.4", Some(13)),
            ("reg.kyverno.io/kyverno/kyverno:v1.19.1@sha256:00ff", Some(19)),
            ("registry.example:5000/mirror/kyverno:v1.10.7", Some(10)),
            ("registry.example:5000/mirror/kyverno", None),
            ("reg.kyverno.io/kyverno/kyverno@sha256:00ff", None),
            ("kyverno:latest", None),
            ("kyverno:2024.1", None),
            ("", None),
        ] {
            assert_eq!(Release::from_text(text), expected.map(Release::exactly), "{text}");
        }
    }

    #[test]
    fn served_groups() {
        let old = [("kyverno.io", "v1"), ("kyverno.io", "v2beta1"), ("kyverno.io", "v2"), ("reports.kyverno.io", "v1")];
        assert_eq!(Release::from_served(&[], None), Release::UNKNOWN);
        assert_eq!(Release::from_served(&old, None), Release::at_least(12));
        assert_eq!(Release::from_served(&old, Some(false)), Release::exactly(12));
        assert_eq!(Release::from_served(&old, Some(true)), Release::at_least(13));
        let with = |versions: &[&'static str]| {
            let cel: Vec<_> = old.iter().copied().chain(versions.iter().map(|version| ("policies.kyverno.io", *version))).collect();
            Release::from_served(&cel, Some(true))
        };
        assert_eq!(with(&["v1alpha1"]), Release::between(14, 15));
        assert_eq!(with(&["v1alpha1", "v1beta1"]), Release::exactly(16));
        assert_eq!(with(&["v1", "v1alpha1", "v1beta1"]), Release::at_least(17));
    }

    #[test]
    fn ranges_meet() {
        assert_eq!(Release::at_least(17).and(Release::exactly(19)), Release::exactly(19));
        assert_eq!(Release::UNKNOWN.and(Release::between(14, 15)), Release::between(14, 15));
        assert_eq!(Release::exactly(18).and(Release::exactly(19)), Release::exactly(18));
        assert!(Release::at_least(17).can_be(19) && !Release::at_least(17).can_be(16));
    }

    #[test]
    fn words() {
        let words = [Release::UNKNOWN, Release::exactly(19), Release::at_least(17), Release::between(14, 15), Release::between(0, 12)];
        assert_eq!(words.map(|release| release.to_string()), ["unknown", "1.19", "≥1.17", "1.14–1.15", "≤1.12"]);
    }
}
