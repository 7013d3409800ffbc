//! The filter of the journal: the grammar of all screens, and fields that only the journal has.
//!
//! What lives here: which steps pass. What does not: the grammar itself (`fleet::filter`).

use crate::domain::Tier;
use crate::domain::journal::{Step, StepResult};
use crate::fleet::filter::{Filter, OwnTerm};
use crate::fleet::view::FleetView;
use crate::ops::road::Road;
use crate::tui::filter::{of_environment, why_not};

/// What only the journal has.
const OWN: &[&str] = &["who", "host", "verb", "result", "plan", "ticket"];
const RESULTS: [StepResult; 6] =
    [StepResult::Done, StepResult::Unchanged, StepResult::Failed, StepResult::Refused, StepResult::Unknown, StepResult::Skipped];

/// A filter that was understood.
#[derive(Debug, Clone, Default)]
pub(super) struct Sieve {
    source: String,
    filter: Filter,
    own: Vec<OwnTerm>,
}

impl Sieve {
    /// Understands `text`, or says why not.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (filter, own) = Filter::parse_with(text, OWN).map_err(|error| why_not(&error))?;
        if let Some(field) = filter.fields().flatten().find(|field| !Filter::OF_DEEDS.contains(field)) {
            return Err(format!("the journal has no {}; it has env, policy, ns, kind, {}", field.as_str(), OWN.join(", ")));
        }
        if let Some(term) = own.iter().find(|term| term.name() == "result" && !RESULTS.iter().any(|result| term.names(result.as_str()))) {
            return Err(format!("no {} is like that; there are {}", term.name(), RESULTS.map(StepResult::as_str).join(", ")));
        }
        Ok(Self { source: text.trim().to_owned(), filter, own })
    }

    /// The same with another environment, or with none.
    pub(super) fn with_environment(&self, name: Option<&str>) -> Result<Self, String> {
        Self::parse(&of_environment(&self.source, name))
    }

    /// As typed.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Whether it lets everything through.
    pub(super) fn is_empty(&self) -> bool {
        self.source.is_empty()
    }

    /// Whether a step passes.
    pub(super) fn passes(&self, step: &Step, fleet: &FleetView, road: &Road) -> bool {
        self.is_empty() || (self.own.iter().all(|term| has(term, step)) && self.words(step, fleet, road))
    }

    fn words(&self, step: &Step, fleet: &FleetView, road: &Road) -> bool {
        let environment = step.environment.as_deref().unwrap_or_default();
        let seen = fleet.environment(environment).map(|view| view.tier);
        let configured = || road.environments().iter().find(|one| one.name == environment).map(|one| one.tier);
        let tier = seen.or_else(configured).unwrap_or(Tier::Normal);
        let policy = step.object.as_deref();
        let mut texts = vec![environment, &*step.user, &*step.host, step.verb.as_str(), step.result().as_str()];
        texts.extend([&step.seen_as, &step.plan, &step.ticket, &step.reason].into_iter().flatten().map(|text| &**text));
        texts.extend(policy.into_iter().flat_map(|id| [id.name.as_str(), id.namespace.as_deref().unwrap_or_default(), id.kind.as_str()]));
        self.filter.matches_deed(environment, tier, policy, &texts)
    }
}

fn has(term: &OwnTerm, step: &Step) -> bool {
    let text = |text: &Option<Box<str>>| term.matches(&[text.as_deref().unwrap_or_default()]);
    match term.name() {
        "who" => match &step.seen_as {
            Some(seen_as) => term.matches(&[&step.user, seen_as]),
            None => term.matches(&[&step.user]),
        },
        "host" => term.matches(&[&step.host]),
        "verb" => term.matches(&[step.verb.as_str()]),
        "result" => term.matches(&[step.result().as_str()]),
        "plan" => text(&step.plan),
        "ticket" => text(&step.ticket),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::journal::{Found, GENESIS, Record, Spot, Steps, Verb, Who, seal};
    use crate::domain::{Mode, PolicyId};
    use jiff::Timestamp;

    fn step() -> Steps {
        let who = Who { user: "ana".into(), kubeconfig_user: Some("oidc:ana@example.com".into()), host: "lap".into() };
        let mut record = Record::intent(Timestamp::UNIX_EPOCH, who, Verb::Promote);
        record.environment = Some("staging".into());
        record.object = Some(PolicyId {
            group: "kyverno.io".into(),
            kind: "ClusterPolicy".into(),
            namespace: None,
            name: "disallow-latest-tag".into(),
        });
        record.ticket = Some("CHG-1042".into());
        record.after = Some(crate::domain::journal::Standing { revision: None, mode: Mode::Enforce });
        let (entry, _) = seal(record, 1, GENESIS).unwrap();
        let mut steps = Steps::default();
        steps.take(&Found { spot: Spot { file: "2026-11.jsonl".into(), offset: 0 }, entry, intact: true });
        steps
    }

    #[test]
    fn environment_policy_text_and_what_only_the_journal_has() {
        let steps = step();
        for (text, passes) in [
            ("", true),
            ("latest CHG", true),
            ("env=staging who=ana", true),
            ("who~example", true),
            ("who=bob", false),
            ("!who=bob host=lap verb=promote,demote", true),
            ("result=unknown ticket=chg-*", true),
            ("result=done", false),
            ("result!=done,failed", true),
            ("policy=disallow-latest-tag kind=ClusterPolicy !ns=team", true),
            ("env=dev", false),
            ("plan=\"\"", true),
            ("nothing", false),
        ] {
            let passed = Sieve::parse(text).unwrap().passes(steps.get(1).unwrap(), &FleetView::default(), &Road::default());
            assert_eq!(passed, passes, "{text}");
        }
    }

    #[test]
    fn what_the_journal_does_not_have_is_said() {
        for (text, says) in
            [("sev>=high", "the journal has no sev"), ("wo=ana", "no field `wo`"), ("result=open", "no result is like that")]
        {
            let why = Sieve::parse(text).unwrap_err();
            assert!(why.contains(says), "{text}: {why}");
        }
        assert_eq!(Sieve::parse("who=ana env=qac").unwrap().with_environment(Some("dev")).unwrap().source(), "who=ana env=dev");
    }
}
