//! Words about fields that findings do not have: a list of something else asks of them in the same grammar.
//!
//! What lives here: what they mean. What does not: reading them (`grammar`).

use super::{Field, Filter, Op, Test, Value, contains, ordered, policy_matches, text_matches};
use crate::domain::{PolicyId, Tier};

/// `who=ana,bob`: a field of the list's own, and what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTerm {
    pub(super) name: &'static str,
    pub(super) negated: bool,
    pub(super) op: Op,
    pub(super) values: Vec<Value>,
}

impl OwnTerm {
    /// The field's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether this is one of the values that it is about, wanted or not.
    pub fn names(&self, text: &str) -> bool {
        text_matches(if self.op == Op::Ne { Op::Eq } else { self.op }, &self.values, &[text])
    }

    /// Whether something passes that is called `texts`, any of which will do.
    pub fn matches(&self, texts: &[&str]) -> bool {
        text_matches(self.op, &self.values, texts) != self.negated
    }
}

impl Filter {
    /// The fields that [`Self::matches_deed`] looks at.
    pub const OF_DEEDS: [Field; 6] = [Field::Env, Field::Tier, Field::Policy, Field::Ns, Field::Kind, Field::Name];

    /// Whether something that was done to a policy in an environment passes: plain words are looked for in `texts`. Other fields count as met.
    pub fn matches_deed(&self, environment: &str, tier: Tier, policy: Option<&PolicyId>, texts: &[&str]) -> bool {
        let of = |text: fn(&PolicyId) -> &str| policy.map_or("", text);
        self.terms.iter().all(|term| {
            let met = match &term.test {
                Test::Word(word) => texts.iter().any(|text| contains(text, word)),
                Test::Field(field, op, values) => match field {
                    Field::Env => text_matches(*op, values, &[environment]),
                    Field::Tier => ordered(*op, values, Some(Value::Tier(tier))),
                    Field::Policy => policy.map_or(*op == Op::Ne, |policy| policy_matches(*op, values, policy)),
                    Field::Ns => text_matches(*op, values, &[of(|policy| policy.namespace.as_deref().unwrap_or_default())]),
                    Field::Kind => text_matches(*op, values, &[of(|policy| &policy.kind)]),
                    Field::Name => text_matches(*op, values, &[of(|policy| &policy.name)]),
                    _ => return true,
                },
            };
            met != term.negated
        })
    }
}
