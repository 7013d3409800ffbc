//! Objects that are wrong in any way, among good ones: they cost only themselves.

use super::acts::now;
use crate::domain::Tier;
use crate::fleet::delta::{Change, Delta, StreamEvent, StreamId};
use crate::fleet::query::FindingQuery;
use crate::fleet::state::{EnvironmentState, Identity};
use crate::kinds::{Family, KindId};
use crate::testing::{Dice, Document, broken, cases, deep, monster};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// An object that counts as one of its kind, under a name.
fn object(kind: KindId, name: &str) -> Value {
    match kind.kind().family {
        Family::Report => json!({"metadata": {"name": name, "namespace": "a"},
            "results": [{"message": "m", "policy": "p", "result": "fail", "rule": "r", "source": "kyverno", "timestamp": {"nanos": 0, "seconds": 1_700_000_000}}],
            "scope": {"apiVersion": "v1", "kind": "Service", "name": name, "namespace": "a", "uid": name}}),
        Family::Event => {
            json!({"metadata": {"name": name, "namespace": "a", "uid": name}, "reason": "PolicyViolation", "action": "Resource Blocked",
            "involvedObject": {"apiVersion": "kyverno.io/v1", "kind": "Policy", "namespace": "a", "name": name},
            "related": {"kind": "Pod", "namespace": "a", "name": "x", "uid": "never"}, "message": "no"})
        }
        Family::Owner => json!({"metadata": {"name": name, "namespace": "a", "uid": name,
            "ownerReferences": [{"apiVersion": "v1", "kind": "App", "name": "o", "uid": format!("owner-{name}"), "controller": true}]}}),
        _ => {
            json!({"metadata": {"name": name, "labels": {"a": "b"}}, "spec": {"rules": [{"name": "r", "match": {}, "validate": {"message": "no"}}]}})
        }
    }
}

fn bad(kind: KindId, dice: &mut Dice) -> Bytes {
    let mut document = Document(object(kind, "bad"));
    match dice.below(12) {
        0 => broken(&[document.text()], dice).into(),
        1 => monster(dice).to_string().into(),
        2 if dice.one_in(50) => deep(dice).into(),
        _ => {
            (0..=dice.below(2)).for_each(|_| document.twist(dice));
            document.text().into()
        }
    }
}

/// The names under which something of this kind can be seen.
fn seen(state: &mut EnvironmentState, kind: KindId) -> BTreeSet<String> {
    match kind.kind().family {
        Family::Report => state.findings(&FindingQuery::default()).iter().map(|row| row.resource.name.clone()).collect(),
        Family::Policy => state.policy_rows(None).iter().map(|row| row.key.id.name.clone()).collect(),
        Family::Exception => state.exception_uses().rows.iter().map(|row| row.exception.name.clone()).collect(),
        Family::Event => state.blocked_rows(None).iter().map(|row| row.key.id.name.clone()).collect(),
        // These are not shown by themselves.
        Family::Owner | Family::Namespace | Family::Webhooks | Family::Native | Family::Binding => {
            ["good-0", "good-1", "good-2"].into_iter().filter(|name| state.holds(kind, name)).map(str::to_owned).collect()
        }
    }
}

impl EnvironmentState {
    fn holds(&self, kind: KindId, name: &str) -> bool {
        match kind.kind().family {
            Family::Namespace => self.namespaces.get(kind, "", name).is_some(),
            Family::Webhooks | Family::Native | Family::Binding => self.admission.holds(kind, name),
            _ => self.ledger.knows_uid("a", name) && self.ledger.knows_uid("a", &format!("owner-{name}")),
        }
    }
}

#[test]
fn a_bad_object_costs_only_itself() {
    let kinds: Vec<KindId> = KindId::all().collect();
    cases("a_bad_object_costs", 10_000, |dice| {
        let kind = *dice.of(&kinds);
        let id = StreamId { kind, namespace: "".into() };
        let good = ["good-0", "good-1", "good-2"];
        let mut objects: Vec<Bytes> = good.map(|name| object(kind, name).to_string().into()).to_vec();
        for _ in 0..dice.below(4) {
            objects.insert(dice.below(objects.len() + 1), bad(kind, dice));
        }
        let mut state = EnvironmentState::new(Identity {
            name: "dev".into(),
            tier: Tier::Normal,
            context: "dev".into(),
            namespaces: Vec::new().into(),
        });
        let news = if dice.one_in(2) {
            vec![StreamEvent::ListStarted, StreamEvent::Listed { objects, total: None }, StreamEvent::ListEnded]
        } else {
            let mut changes: Vec<(Change, Bytes)> = objects.into_iter().map(|object| (Change::Put, object)).collect();
            changes.insert(dice.below(changes.len()), (Change::Deleted, bad(kind, dice)));
            vec![StreamEvent::Changed(changes)]
        };
        for event in news {
            state.apply(Delta::Stream(id.clone(), event), now());
        }
        state.settle();
        drop(state.view());
        let seen = seen(&mut state, kind);
        assert!(good.iter().all(|name| seen.contains(*name)), "{}: {seen:?}", kind.kind().kind);
    });
}
