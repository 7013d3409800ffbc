//! What stands between requests and policies: webhook configurations, native policies, and whether Kyverno answers.

use super::kept::Kept;
use super::streams::Streams;
use crate::domain::{InForce, Sync};
use crate::fleet::delta::StreamId;
use crate::kinds::in_force::{AdmissionPath, Seen};
use crate::kinds::native::Native;
use crate::kinds::served::ServedResources;
use crate::kinds::webhook::{MUTATING, VALIDATING, WebhookConfiguration};
use crate::kinds::{Family, KindId};
use serde_json::Value;
use std::sync::Arc;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Admission {
    webhooks: Kept<WebhookConfiguration>,
    natives: Kept<Native>,
    answers: InForce,
    served: Arc<ServedResources>,
}

impl Admission {
    pub(super) fn is_about(kind: KindId) -> bool {
        matches!(kind.kind().family, Family::Webhooks | Family::Native | Family::Binding)
    }

    /// Returns whether that is news.
    pub(super) fn set_answers(&mut self, answers: InForce) -> bool {
        let news = self.answers != answers;
        self.answers = answers;
        news
    }

    pub(super) fn answers(&self) -> &InForce {
        &self.answers
    }

    /// Returns whether that is news.
    pub(super) fn set_served(&mut self, served: Arc<ServedResources>) -> bool {
        let news = self.served != served;
        self.served = served;
        news
    }

    pub(super) fn start_list(&mut self, id: &StreamId) {
        match id.kind.kind().family {
            Family::Webhooks => self.webhooks.start_list(id),
            _ => self.natives.start_list(id),
        }
    }

    /// Returns whether anything went.
    pub(super) fn end_list(&mut self, id: &StreamId) -> bool {
        match id.kind.kind().family {
            Family::Webhooks => self.webhooks.end_list(id),
            _ => self.natives.end_list(id),
        }
    }

    /// Returns whether that is news; `None` where the object cannot be read.
    pub(super) fn put(&mut self, kind: KindId, object: &Value) -> Option<bool> {
        if kind.kind().family == Family::Webhooks {
            let read = WebhookConfiguration::read(object).ok()?;
            return Some(self.webhooks.put(kind, String::new(), read.name.clone(), read));
        }
        let read = Native::read(object).ok()?;
        Some(self.natives.put(kind, String::new(), read.name.clone(), read))
    }

    /// Returns whether it was there.
    pub(super) fn remove(&mut self, kind: KindId, name: &str) -> bool {
        match kind.kind().family {
            Family::Webhooks => self.webhooks.remove(kind, "", name),
            _ => self.natives.remove(kind, "", name),
        }
    }

    #[cfg(test)]
    pub(super) fn holds(&self, kind: KindId, name: &str) -> bool {
        self.webhooks.get(kind, "", name).is_some() || self.natives.get(kind, "", name).is_some()
    }

    pub(super) fn count(&self, kind: KindId) -> u64 {
        self.webhooks.count(kind) + self.natives.count(kind)
    }

    /// Native policies that say what they were generated from, each with whether that is a policy of this kind and of their own name.
    pub(super) fn namesakes(&self, kind: &str) -> impl Iterator<Item = (String, bool)> {
        let natives = KindId::of_family(Family::Native).flat_map(|id| self.natives.of_kind(id));
        natives.filter_map(move |native| {
            let owner = native.owner.as_ref()?;
            Some((native.name.clone(), owner.kind == kind && owner.name == native.name))
        })
    }

    /// Everything that policies are judged by.
    pub(super) fn path(&self, streams: &Streams) -> AdmissionPath<'_> {
        let webhooks = |name: &str| {
            let kind = KindId::of_family(Family::Webhooks).find(|kind| kind.kind().selector.is_some_and(|(_, value)| value.contains(name)));
            let Some(kind) = kind else { return Seen::Missing };
            seen(streams, kind, || self.webhooks.get(kind, "", name))
        };
        let natives = |family| {
            let Some(kind) = KindId::of_family(family).next() else { return Seen::Missing };
            seen(streams, kind, || Some(self.natives.of_kind(kind).collect()))
        };
        AdmissionPath {
            validating: webhooks(VALIDATING),
            mutating: webhooks(MUTATING),
            natives: natives(Family::Native),
            bindings: natives(Family::Binding),
            answers: self.answers.clone(),
            served: Some(&self.served),
        }
    }
}

/// What is held counts once it was listed whole.
fn seen<T>(streams: &Streams, kind: KindId, held: impl FnOnce() -> Option<T>) -> Seen<T> {
    match streams.sync(kind) {
        Sync::Denied { why } | Sync::Unread { why } => Seen::Denied(why),
        _ if !streams.was_complete(kind) => Seen::NotYet,
        _ => held().map_or(Seen::Missing, Seen::There),
    }
}
