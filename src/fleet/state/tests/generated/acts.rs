//! What may happen to an environment, and what that means in news. Each act stands for itself, so that any of them can be left out of a history.

use super::model::Model;
use super::world::object;
use crate::domain::{Link, Sync, Tally};
use crate::fleet::delta::{Change, Delta, KyvernoFacts, StreamEvent, StreamId};
use crate::kinds::mode::Kyverno;
use crate::kinds::{Family, KindId, Release};
use crate::testing::Dice;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::fmt;

/// One step of a history.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// Every kind is listed, and empty.
    AllLive,
    Stream(StreamId, News),
    Link(Link),
    Kyverno(u16),
    /// Namespaced streams of a kind are given up, since it is not served any more.
    Vanishes(KindId, bool),
    /// The batch ends.
    Settle,
    Tidy,
}

/// An object, which is shown as JSON where a history is printed.
#[derive(Clone)]
pub(super) struct Object(Value);

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// News of a stream.
#[derive(Debug, Clone)]
pub(super) enum News {
    State(Sync),
    ListStarted,
    ListEnded,
    Listed(Vec<Object>),
    /// A whole new list: of what is held only what the mask marks, with what is new, and whether it comes to its end.
    Relist(u64, Vec<Object>, bool),
    Put(Vec<Object>),
    /// What is held comes again as it is.
    Again(usize),
    /// What is held comes again with other times of evaluation, all or only the first; forwards or backwards.
    Retimed(usize, i64, bool),
    Deleted(usize),
    DeletedUnknown(Object),
    Junk,
    Skipped,
    Summaries,
    NotInstalled,
    Unread,
    Dropped,
}

/// The streams of an environment: of everything, or of two namespaces.
pub(super) fn streams(everywhere: bool) -> Vec<StreamId> {
    let scopes = |kind: KindId| match (everywhere || !kind.kind().namespaced, kind.kind().family) {
        (true, _) => vec![""],
        (false, Family::Event) => vec!["a", "b", "default"],
        (false, _) => vec!["a", "b"],
    };
    KindId::all().flat_map(|kind| scopes(kind).into_iter().map(move |namespace| StreamId { kind, namespace: namespace.into() })).collect()
}

/// A history of about `length` acts.
pub(super) fn history(length: usize, dice: &mut Dice) -> (bool, Vec<Act>) {
    let everywhere = !dice.one_in(3);
    let streams = streams(everywhere);
    let mut acts = Vec::with_capacity(length + 1);
    if !dice.one_in(4) {
        acts.push(Act::AllLive);
    }
    acts.extend((0..length).map(|_| act(&streams, everywhere, dice)));
    (everywhere, acts)
}

fn act(streams: &[StreamId], everywhere: bool, dice: &mut Dice) -> Act {
    match dice.below(40) {
        0..4 => Act::Settle,
        4..6 => Act::Tidy,
        6 => Act::Link(link(dice)),
        7 => Act::Kyverno(dice.below(7) as u16),
        8 if !everywhere => Act::Vanishes(dice.of(streams).kind, dice.one_in(2)),
        _ => {
            let stream = stream(streams, dice);
            let news = news(&stream, dice);
            Act::Stream(stream, news)
        }
    }
}

/// Reports and owners come more often than the rest.
fn stream(streams: &[StreamId], dice: &mut Dice) -> StreamId {
    let wanted = dice.below(10);
    let fits = |stream: &&StreamId| match wanted {
        0..4 => stream.kind.kind().family == Family::Report,
        4..7 => stream.kind.kind().family == Family::Owner,
        7 => matches!(
            stream.kind.kind().kind,
            "ClusterPolicy" | "Policy" | "ValidatingPolicy" | "NamespacedValidatingPolicy" | "NamespacedImageValidatingPolicy"
        ),
        8 => stream.kind.kind().family == Family::Event,
        _ => true,
    };
    let fitting: Vec<&StreamId> = streams.iter().filter(fits).collect();
    (*dice.of(&fitting)).clone()
}

fn news(stream: &StreamId, dice: &mut Dice) -> News {
    let objects = |most: usize, dice: &mut Dice| {
        let namespaces: &[&str] = match (&*stream.namespace, stream.kind.kind().namespaced) {
            ("", true) => &["a", "b"],
            (one, _) => &[one],
        };
        dice.some(most, |dice| object(stream.kind, dice.pick(namespaces), dice)).into_iter().flatten().map(Object).collect::<Vec<_>>()
    };
    match dice.below(60) {
        0..22 => News::Put(objects(2, dice)),
        22..27 => News::Again(dice.below(64)),
        27..33 => News::Retimed(dice.below(64), *dice.of(&[-1, 0, 1, 2, 3]), dice.one_in(3)),
        33..39 => News::Deleted(dice.below(64)),
        39..46 => News::Relist(dice.number() | dice.number(), objects(2, dice), !dice.one_in(4)),
        46 => News::ListStarted,
        47 => News::ListEnded,
        48 => News::Listed(objects(3, dice)),
        49 => News::DeletedUnknown(Object(json!({"metadata": {"name": "nobody", "namespace": "a", "uid": "nobody"}}))),
        50 => News::Junk,
        51 => News::Skipped,
        52 => News::Summaries,
        53 => News::NotInstalled,
        54 => News::Dropped,
        55 => News::Unread,
        _ => News::State(sync(dice)),
    }
}

fn sync(dice: &mut Dice) -> Sync {
    match dice.below(6) {
        0 => Sync::Connecting,
        1 => Sync::Listing { seen: 0, total: None },
        2 => Sync::Stale { since: now() },
        3 => Sync::Retrying { why: "no".into() },
        4 => Sync::Denied { why: "no".into() },
        _ => Sync::Live,
    }
}

fn link(dice: &mut Dice) -> Link {
    match dice.below(5) {
        0 => Link::Live,
        1 => Link::Retrying { since: None, next: now(), why: "no".into() },
        2 => Link::LoginNeeded { why: "no".into() },
        3 => Link::Unreachable { why: "no".into() },
        _ => Link::Listing,
    }
}

pub(super) fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

pub(super) fn bytes(object: &Value) -> Bytes {
    Bytes::from(object.to_string())
}

pub(super) fn kyverno(minor: u16) -> Delta {
    let facts = KyvernoFacts {
        installed: true,
        version: None,
        kyverno: Kyverno::new(Release::exactly(13 + minor)),
        scan_interval: None,
        makes_events: Some(true),
        notes: Vec::new(),
    };
    Delta::Kyverno(facts)
}

impl Act {
    /// The news that it makes, as things stand.
    pub(super) fn deltas(&self, model: &Model, streams: &[StreamId]) -> Vec<Delta> {
        match self {
            Self::Settle | Self::Tidy => Vec::new(),
            Self::Link(Link::Unreachable { why }) => vec![Delta::Ended { why: why.clone() }],
            Self::Link(link) => vec![Delta::Link(link.clone())],
            Self::Kyverno(minor) => vec![kyverno(*minor)],
            Self::AllLive => {
                let each = streams.iter().flat_map(|id| [StreamEvent::ListStarted, StreamEvent::ListEnded].map(|event| (id, event)));
                each.map(|(id, event)| Delta::Stream(id.clone(), event)).collect()
            }
            Self::Vanishes(kind, back) => {
                let everywhere = StreamId { kind: *kind, namespace: "".into() };
                let mut all: Vec<Delta> = Vec::new();
                if *back {
                    all.push(Delta::Stream(everywhere, StreamEvent::Dropped));
                } else if kind.kind().namespaced {
                    let mine = streams.iter().filter(|id| id.kind == *kind);
                    all.extend(mine.map(|id| Delta::Stream(id.clone(), StreamEvent::Dropped)));
                    all.push(Delta::Stream(everywhere, StreamEvent::NotInstalled));
                }
                all
            }
            Self::Stream(id, news) => news.events(id, model).into_iter().map(|event| Delta::Stream(id.clone(), event)).collect(),
        }
    }
}

impl News {
    fn events(&self, id: &StreamId, model: &Model) -> Vec<StreamEvent> {
        let held = model.held_by(id);
        let nth = |n: usize| (!held.is_empty()).then(|| held[n % held.len()].clone());
        let put =
            |object: Option<Value>| object.map(|object| StreamEvent::Changed(vec![(Change::Put, bytes(&object))])).into_iter().collect();
        match self {
            Self::State(sync) => vec![StreamEvent::State(sync.clone())],
            Self::ListStarted => vec![StreamEvent::ListStarted],
            Self::ListEnded => vec![StreamEvent::ListEnded],
            Self::Listed(objects) => {
                vec![StreamEvent::Listed { objects: objects.iter().map(|object| bytes(&object.0)).collect(), total: None }]
            }
            Self::Relist(mask, new, ends) => {
                let kept = held.iter().enumerate().filter(|(place, _)| mask >> (place % 64) & 1 == 1).map(|(_, object)| object);
                let objects: Vec<Bytes> = kept.chain(new.iter().map(|new| &new.0)).map(bytes).collect();
                let mut events = vec![StreamEvent::ListStarted, StreamEvent::Listed { objects, total: None }];
                events.extend(ends.then_some(StreamEvent::ListEnded));
                events
            }
            Self::Put(objects) => vec![StreamEvent::Changed(objects.iter().map(|object| (Change::Put, bytes(&object.0))).collect())],
            Self::Again(n) => put(nth(*n)),
            Self::Retimed(n, by, first) => put(nth(*n).map(|object| retimed(object, *by, *first))),
            Self::Deleted(n) => nth(*n).map(|object| StreamEvent::Changed(vec![(Change::Deleted, bytes(&object))])).into_iter().collect(),
            Self::DeletedUnknown(object) => vec![StreamEvent::Changed(vec![(Change::Deleted, bytes(&object.0))])],
            Self::Junk => {
                vec![StreamEvent::Changed(vec![(Change::Put, Bytes::from("{\"metadata\":")), (Change::Deleted, Bytes::from("]"))])]
            }
            Self::Skipped => vec![StreamEvent::Skipped],
            Self::Summaries => vec![StreamEvent::Summaries(Tally { fail: 1, ..Tally::default() })],
            Self::NotInstalled => vec![StreamEvent::NotInstalled],
            Self::Unread => vec![StreamEvent::Unread { why: "of another version".into() }],
            Self::Dropped => vec![StreamEvent::Dropped],
        }
    }
}

fn retimed(mut object: Value, by: i64, only_first: bool) -> Value {
    let results = object.get_mut("results").and_then(Value::as_array_mut).into_iter().flatten();
    let times = results.filter_map(|result| result.get_mut("timestamp")?.get_mut("seconds"));
    for time in times.take(if only_first { 1 } else { usize::MAX }) {
        *time = json!((time.as_i64().unwrap_or_default() + by).max(0));
    }
    object
}
