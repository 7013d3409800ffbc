//! Which policies exist, with their rules: what a result's names mean, and whether it is stale.

use crate::kinds::report::{Twin, cel_rule, cel_sources, generated_from, is_cel, own_rule};
use hashbrown::{HashMap, HashSet};

/// What is known of one source's policies. They live in two kinds: one for the cluster, one for namespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Cluster-wide policies are completely known (listed, or their kind is not served).
    pub(crate) cluster_wide: bool,
    /// Namespaced policies are completely known.
    pub(crate) namespaced: bool,
    /// Policies by the name reports use, with their rules; `None` where rules have no names (CEL kinds).
    pub(crate) policies: HashMap<String, Option<HashSet<String>>>,
    /// Native policies that are called as one of these: whether they were generated from it, as Kyverno did up to 1.13, where that is known.
    pub(crate) namesakes: HashMap<String, bool>,
}

/// Which policies and rules exist, by the `source` that reports on them. Sources that are not listed are other tools': never stale.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Existing(pub(crate) HashMap<&'static str, Known>);

/// The source of results about policies that the API server applies itself.
const NATIVE: &str = "ValidatingAdmissionPolicy";

/// What a result's names mean.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meaning<'a> {
    pub(super) source: &'a str,
    pub(super) policy: &'a str,
    /// The rule as it is shown: with `autogen-`, if it is written so.
    pub(super) rule: &'a str,
    /// The rule as its policy calls it.
    pub(super) own: &'a str,
    /// The policy or the rule does not exist.
    pub(super) stale: bool,
}

impl Existing {
    fn has(&self, source: &str, policy: &str) -> bool {
        self.0.get(source).is_some_and(|known| known.policies.contains_key(policy))
    }

    /// What a result about a resource of this kind is about.
    pub(super) fn meaning<'a>(&'a self, source: &'a str, policy: &'a str, rule: &'a str, twin: Twin) -> Meaning<'a> {
        let (written_by, written) = (source, policy);
        let (source, policy) = self.policy(source, policy);
        let known = self.0.get(source);
        let policies = known.and_then(|known| known.policies.get(policy));
        let rule = if source != written_by && rule == written {
            // The API server calls the only rule as the native policy that was generated from it.
            policies
                .and_then(Option::as_ref)
                .filter(|rules| rules.len() == 1)
                .and_then(|rules| rules.iter().next())
                .map_or("", String::as_str)
        } else {
            rule
        };
        let rule = if is_cel(source) { cel_rule(policy, rule) } else { rule };
        let has = |name: &str, cut: bool| {
            let rules = policies.and_then(Option::as_ref);
            rules.is_some_and(|rules| rules.contains(name) || (cut && rules.iter().any(|rule| rule.starts_with(name))))
        };
        let (own, exists) = own_rule(rule, twin, has);
        let stale = match (known, policies) {
            (None, _) | (_, Some(None)) => false,
            (_, Some(Some(_))) => !(rule.is_empty() || exists),
            (Some(known), None) if policy.contains('/') => known.namespaced,
            (Some(known), None) => known.cluster_wide,
        };
        Meaning { source, policy, rule, own, stale }
    }

    /// The source and name of the policy that a result can mean.
    fn policy<'a>(&self, source: &'a str, policy: &'a str) -> (&'a str, &'a str) {
        if let Some((source, policy)) = generated_from(source, policy)
            && self.has(source, policy)
        {
            return (source, policy);
        }
        if self.is_of_namesake(source, policy) && self.is_generated(policy) == Some(true) {
            return ("kyverno", policy);
        }
        if self.may_be_cel(source, policy) && !self.has(source, policy) {
            let mut others = cel_sources().filter(|other| self.has(other, policy));
            if let (Some(only), None) = (others.next(), others.next()) {
                return (only, policy);
            }
        }
        (source, policy)
    }

    /// Kyverno has reported results of namespaced CEL policies under the source of ClusterPolicies. Whether a Policy is meant can be told only
    /// where all Policies are known.
    fn may_be_cel(&self, source: &str, policy: &str) -> bool {
        source == "kyverno" && policy.contains('/') && self.0.get(source).is_some_and(|known| known.namespaced)
    }

    /// Whether a result is of a native policy that is called as a ClusterPolicy is.
    fn is_of_namesake(&self, source: &str, policy: &str) -> bool {
        source == NATIVE && !policy.contains('/') && self.has("kyverno", policy)
    }

    /// Whether the native policy that is called as a ClusterPolicy was generated from it, where that is known.
    fn is_generated(&self, policy: &str) -> Option<bool> {
        self.0.get("kyverno")?.namesakes.get(policy).copied()
    }

    /// The sources of the policies that a result may as well be about, where it does not say which. Rules of a Policy have names, so a result
    /// without one is not surely its.
    pub(super) fn doubted<'a>(&'a self, source: &str, policy: &'a str, rule: &str) -> impl Iterator<Item = &'static str> + use<'a> {
        let own = self.has(source, policy);
        let asks = self.may_be_cel(source, policy) && (!own || rule.is_empty());
        let others = move || cel_sources().filter(move |other| asks && self.has(other, policy));
        let several = others().count() + usize::from(own) > 1;
        let is_generated = generated_from(source, policy).is_some_and(|(source, policy)| self.has(source, policy));
        let may_be = self.is_of_namesake(source, policy) && !is_generated && self.is_generated(policy).is_none();
        let namesake = may_be.then_some("kyverno");
        others().chain((asks && own).then_some("kyverno")).filter(move |_| several).chain(namesake)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VPOL: &str = "KyvernoValidatingPolicy";
    const IVPOL: &str = "KyvernoImageValidatingPolicy";

    fn existing(policies: &[(&'static str, &str, Option<&[&str]>)]) -> Existing {
        let mut existing = Existing::default();
        for source in ["kyverno", VPOL, IVPOL, "KyvernoMutatingPolicy"] {
            existing.0.insert(source, Known { cluster_wide: true, namespaced: true, ..Known::default() });
        }
        for (source, name, rules) in policies {
            let rules = rules.map(|rules| rules.iter().map(|rule| (*rule).to_owned()).collect());
            existing.0.get_mut(source).unwrap().policies.insert((*name).to_owned(), rules);
        }
        existing
    }

    /// What is tried, what exists, source, policy and rule of a result; source and policy that it means, and whether it is stale.
    type Line<'a> = (&'a str, Existing, (&'a str, &'a str, &'a str), (&'a str, &'a str, bool));

    #[test]
    fn a_result_belongs_to_the_one_policy_it_can_mean() {
        let check = (VPOL, "a/check", None);
        let rules: Option<&[&str]> = Some(&["r"]);
        let native = |known: &[(&str, bool)]| {
            let mut existing = existing(&[("kyverno", "p", rules)]);
            existing.0.get_mut("kyverno").unwrap().namesakes = known.iter().map(|(name, of)| ((*name).to_owned(), *of)).collect();
            existing
        };
        let by_bare_name = |rule| (NATIVE, "p", rule);
        let table: [Line<'_>; 16] = [
            ("only the CEL policy", existing(&[check]), ("kyverno", "a/check", ""), (VPOL, "a/check", false)),
            ("the Policy", existing(&[check, ("kyverno", "a/check", rules)]), ("kyverno", "a/check", "r"), ("kyverno", "a/check", false)),
            ("two CEL policies", existing(&[check, (IVPOL, "a/check", None)]), ("kyverno", "a/check", ""), ("kyverno", "a/check", true)),
            ("another namespace", existing(&[check]), ("kyverno", "b/check", ""), ("kyverno", "b/check", true)),
            ("no namespace", existing(&[(VPOL, "check", None)]), ("kyverno", "check", ""), ("kyverno", "check", true)),
            ("its own source", existing(&[check]), (VPOL, "a/check", ""), (VPOL, "a/check", false)),
            ("generated", existing(&[(VPOL, "p", None)]), ("ValidatingAdmissionPolicy", "vpol-p", ""), (VPOL, "p", false)),
            (
                "generated, rule of one",
                existing(&[("kyverno", "p", rules)]),
                ("ValidatingAdmissionPolicy", "cpol-p", "cpol-p"),
                ("kyverno", "p", false),
            ),
            ("made by hand", existing(&[]), ("ValidatingAdmissionPolicy", "vpol-p", ""), ("ValidatingAdmissionPolicy", "vpol-p", false)),
            (
                "generated, rule and all",
                existing(&[("kyverno", "p", rules)]),
                ("ValidatingAdmissionPolicy", "cpol-p", ""),
                ("kyverno", "p", false),
            ),
            (
                "of the other native kind",
                existing(&[(VPOL, "p", None)]),
                ("MutatingAdmissionPolicy", "vpol-p", ""),
                ("MutatingAdmissionPolicy", "vpol-p", false),
            ),
            ("generated up to 1.13", native(&[("p", true)]), by_bare_name("p"), ("kyverno", "p", false)),
            ("made by hand, beside it", native(&[("p", false)]), by_bare_name("p"), (NATIVE, "p", false)),
            ("perhaps generated", native(&[]), by_bare_name(""), (NATIVE, "p", false)),
            ("generated, of a namesake that was not", native(&[("cpol-p", false)]), (NATIVE, "cpol-p", ""), ("kyverno", "p", false)),
            ("another tool", existing(&[check]), ("trivy", "a/check", ""), ("trivy", "a/check", false)),
        ];
        for (what, existing, (source, policy, rule), expected) in table {
            let meaning = existing.meaning(source, policy, rule, Twin::None);
            assert_eq!((meaning.source, meaning.policy, meaning.stale), expected, "{what}");
        }
    }

    #[test]
    fn nothing_is_guessed_before_all_policies_are_known() {
        let mut existing = existing(&[(VPOL, "a/check", None)]);
        existing.0.get_mut("kyverno").unwrap().namespaced = false;
        let meaning = existing.meaning("kyverno", "a/check", "", Twin::None);
        assert_eq!((meaning.source, meaning.stale), ("kyverno", false));
        assert_eq!(existing.doubted("kyverno", "a/check", "").count(), 0);
    }

    #[test]
    fn what_may_be_of_several_policies_is_doubted_for_each() {
        let rules: Option<&[&str]> = Some(&["r"]);
        let (vpol, ivpol, policy) = ((VPOL, "a/x", None), (IVPOL, "a/x", None), ("kyverno", "a/x", rules));
        let table: [(Existing, &str, &[&str]); 5] = [
            (existing(&[vpol]), "", &[]),
            (existing(&[vpol, ivpol]), "", &[VPOL, IVPOL]),
            (existing(&[vpol, policy]), "r", &[]),
            (existing(&[vpol, policy]), "", &[VPOL, "kyverno"]),
            (existing(&[policy]), "", &[]),
        ];
        for (existing, rule, expected) in table {
            assert_eq!(existing.doubted("kyverno", "a/x", rule).collect::<Vec<_>>(), expected, "{existing:?} {rule}");
        }
    }

    #[test]
    fn a_native_policy_of_the_same_name_is_doubted_unless_its_owner_is_known() {
        let mut existing = existing(&[("kyverno", "p", Some(&["r"]))]);
        let doubted = |existing: &Existing, policy: &str| existing.doubted(NATIVE, policy, "").count();
        assert_eq!((doubted(&existing, "p"), doubted(&existing, "q"), doubted(&existing, "cpol-p")), (1, 0, 0));
        for is_of_it in [true, false] {
            existing.0.get_mut("kyverno").unwrap().namesakes.insert("p".to_owned(), is_of_it);
            assert_eq!(doubted(&existing, "p"), 0, "{is_of_it}");
        }
        assert_eq!(existing.meaning(NATIVE, "p", "p", Twin::None).source, NATIVE);
        existing.0.get_mut("kyverno").unwrap().namesakes.insert("p".to_owned(), true);
        assert_eq!(existing.meaning(NATIVE, "p", "p", Twin::None).rule, "r", "its only rule is called as the native policy");
    }

    #[test]
    fn what_an_exception_excuses_is_no_rule_of_a_cel_policy() {
        let existing = existing(&[(VPOL, "p", None), ("kyverno", "q", Some(&["exception"]))]);
        let own = |source, policy, rule| existing.meaning(source, policy, rule, Twin::None).rule.to_owned();
        assert_eq!((own(VPOL, "p", "exception"), own(VPOL, "p", "")), (String::new(), String::new()));
        assert_eq!((own("kyverno", "q", "exception"), own("trivy", "t", "exception")), ("exception".into(), "exception".into()));
    }
}
