//! Sync states of an environment's streams, and what a kind's streams mean together.

use crate::domain::{Sync, Tally};
use crate::fleet::delta::StreamId;
use crate::kinds::{Family, KindId};
use std::collections::BTreeMap;

/// One stream as the state sees it.
#[derive(Debug)]
struct Stream {
    sync: Sync,
    /// It was complete once, so what is held is a whole picture, if perhaps an old one.
    was_complete: bool,
    /// Objects that could not be read or were too big: in the list that is held, and in one that is under way.
    skipped: u64,
    skipped_in_list: Option<u64>,
    summaries: Option<Tally>,
}

impl Default for Stream {
    fn default() -> Self {
        Self { sync: Sync::Connecting, was_complete: false, skipped: 0, skipped_in_list: None, summaries: None }
    }
}

impl Stream {
    /// Objects that are left out of what is held.
    fn left_out(&self) -> u64 {
        self.skipped_in_list.unwrap_or(0).max(self.skipped)
    }
}

/// All streams of an environment.
#[derive(Debug, Default)]
pub(super) struct Streams {
    streams: BTreeMap<StreamId, Stream>,
}

impl Streams {
    fn of(&mut self, id: &StreamId) -> &mut Stream {
        self.streams.entry(id.clone()).or_default()
    }

    fn kind(&self, kind: KindId) -> impl Iterator<Item = &Stream> {
        self.streams.iter().filter(move |(id, _)| id.kind == kind).map(|(_, stream)| stream)
    }

    /// Notes a stream; returns whether it was not known before.
    pub(super) fn is_new(&mut self, id: &StreamId) -> bool {
        let before = self.streams.len();
        self.of(id);
        before != self.streams.len()
    }

    /// Takes a new state over; returns whether it is another than before.
    pub(super) fn set(&mut self, id: &StreamId, sync: Sync) -> bool {
        let stream = self.of(id);
        if matches!(sync, Sync::Connecting | Sync::Listing { .. }) {
            // A kind that was not served and comes (back) is not known until it has been listed.
            stream.was_complete &= stream.sync != Sync::NotInstalled;
            // A relist behind complete data is no step back: what is shown stays whole.
            if stream.was_complete {
                return false;
            }
        }
        let before = (stream.left_out(), stream.sync.clone());
        if sync.is_complete() {
            stream.was_complete = true;
            stream.summaries = None;
            if let Some(skipped) = stream.skipped_in_list.take() {
                stream.skipped = skipped;
            }
        }
        if matches!(sync, Sync::NotInstalled) {
            stream.skipped = 0;
        }
        stream.sync = sync;
        (stream.left_out(), &stream.sync) != (before.0, &before.1)
    }

    /// The kind is served in versions only that cannot be read: what was known of it counts no longer. Returns whether that makes another state.
    pub(super) fn unread(&mut self, id: &StreamId, why: String) -> bool {
        let stream = self.of(id);
        let before = stream.left_out();
        (stream.was_complete, stream.skipped, stream.skipped_in_list, stream.summaries) = (false, 0, None, None);
        self.set(id, Sync::Unread { why }) || before > 0
    }

    /// A list starts; returns whether that makes another state.
    pub(super) fn list_started(&mut self, id: &StreamId) -> bool {
        self.of(id).skipped_in_list = Some(0);
        self.set(id, Sync::Listing { seen: 0, total: None })
    }

    pub(super) fn listed(&mut self, id: &StreamId, objects: u64, told: Option<u64>) {
        if let Sync::Listing { seen, total } = &mut self.of(id).sync {
            *seen += objects;
            *total = told.or(*total);
        }
    }

    pub(super) fn skipped(&mut self, id: &StreamId) {
        let stream = self.of(id);
        match &mut stream.skipped_in_list {
            Some(skipped) => *skipped += 1,
            None => stream.skipped += 1,
        }
    }

    pub(super) fn summaries(&mut self, id: &StreamId, tally: Tally) {
        let stream = self.of(id);
        if !stream.was_complete {
            stream.summaries = Some(tally);
        }
    }

    /// The streams that are followed now.
    pub(super) fn live(&self) -> Vec<StreamId> {
        self.streams.iter().filter(|(_, stream)| stream.sync == Sync::Live).map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn remove(&mut self, id: &StreamId) {
        self.streams.remove(id);
    }

    /// What the kind's streams mean together: the furthest from live.
    pub(super) fn sync(&self, kind: KindId) -> Sync {
        let rank = |sync: &Sync| match sync {
            Sync::Denied { .. } => 7,
            Sync::Unread { .. } => 6,
            Sync::Connecting => 5,
            Sync::Retrying { .. } => 4,
            Sync::Listing { .. } => 3,
            Sync::Stale { .. } => 2,
            Sync::NotInstalled => 1,
            Sync::Live => 0,
        };
        let mut seen_of_all = (0, Some(0));
        let mut worst: Option<&Sync> = None;
        for stream in self.kind(kind) {
            if let Sync::Listing { seen, total } = &stream.sync {
                seen_of_all = (seen_of_all.0 + seen, seen_of_all.1.zip(*total).map(|(a, b)| a + b));
            }
            if worst.is_none_or(|worst| rank(worst) < rank(&stream.sync)) {
                worst = Some(&stream.sync);
            }
        }
        match worst {
            None => Sync::Connecting,
            Some(Sync::Listing { .. }) => Sync::Listing { seen: seen_of_all.0, total: seen_of_all.1 },
            Some(sync) => sync.clone(),
        }
    }

    /// Whether reports are being listed for the first time.
    pub(super) fn is_filling(&self) -> bool {
        let mut reports = self.streams.iter().filter(|(id, _)| id.kind.kind().family == Family::Report);
        reports.any(|(_, stream)| matches!(stream.sync, Sync::Listing { .. }))
    }

    pub(super) fn is_denied(&self, kind: KindId) -> bool {
        self.kind(kind).any(|stream| matches!(stream.sync, Sync::Denied { .. }))
    }

    /// Whether everything of the kind was known once, and nothing is left out since.
    pub(super) fn was_complete(&self, kind: KindId) -> bool {
        let mut any = false;
        let all = self.kind(kind).all(|stream| {
            any = true;
            stream.was_complete && stream.left_out() == 0 && !matches!(stream.sync, Sync::Denied { .. })
        });
        any && all
    }

    /// Objects that were left out, of all kinds.
    pub(super) fn skipped_of_all(&self) -> u64 {
        self.streams.values().map(Stream::left_out).sum()
    }

    /// Objects of a kind that were left out.
    pub(super) fn left_out(&self, kind: KindId) -> u64 {
        self.kind(kind).map(Stream::left_out).sum()
    }

    /// Objects that were left out, by kind, where there are any.
    pub(super) fn skipped_by_kind(&self) -> Vec<(KindId, u64)> {
        let mut all: BTreeMap<KindId, u64> = BTreeMap::new();
        for (id, stream) in &self.streams {
            *all.entry(id.kind).or_default() += stream.left_out();
        }
        all.into_iter().filter(|(_, skipped)| *skipped > 0).collect()
    }

    /// What the summaries add up to, while any stream still has only those.
    pub(super) fn summaries_of_all(&self) -> Option<Tally> {
        let mut known = self.streams.values().filter_map(|stream| stream.summaries).peekable();
        known.peek()?;
        let mut total = Tally::default();
        known.for_each(|tally| total += tally);
        Some(total)
    }
}
