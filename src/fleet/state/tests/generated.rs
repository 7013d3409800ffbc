//! After any history, what is kept up to date equals what the same objects give when they are listed once, in order, and a count of those objects.

mod acts;
pub(crate) mod count;
mod model;
mod neighbours;
pub(crate) mod recount;
mod tenant;
mod world;

use crate::domain::{Link, ResourceRef, Sync, Tier};
use crate::fleet::delta::{Change, Delta, StreamEvent};
use crate::fleet::query::{BlockedRow, FindingQuery, FindingRow};
use crate::fleet::state::{Changes, EnvironmentState, Identity};
use crate::fleet::view::{EnvironmentView, KindView, PolicyCell};
use crate::testing::{Dice, many_cases};
use acts::{Act, bytes, history, kyverno, now, streams};
use count::{Count, count};
use model::Model;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A complete environment with whatever objects, and every finding of it, counted from them.
fn complete(name: &str, dice: &mut Dice) -> (EnvironmentState, Vec<count::Counted>) {
    let (mut state, mut model) = (named(name), Model::default());
    let mut tell = |delta: Delta| {
        model.apply(&delta);
        state.apply(delta, now());
    };
    tell(kyverno(6));
    tell(Delta::Link(Link::Live));
    for id in streams(true) {
        let namespaces: &[&str] = if id.kind.kind().namespaced { &["a", "b"] } else { &[""] };
        let objects = dice.some(4, |dice| world::object(id.kind, dice.pick(namespaces), dice));
        let objects = objects.into_iter().flatten().map(|object| bytes(&object)).collect();
        for event in [StreamEvent::ListStarted, StreamEvent::Listed { objects, total: None }, StreamEvent::ListEnded] {
            tell(Delta::Stream(id.clone(), event));
        }
    }
    state.settle();
    let rows = count::rows(&model, &mut Count::default());
    (state, rows)
}

/// Acts of one history, at most.
const LENGTH: usize = 60;

#[test]
fn any_history_adds_up() {
    many_cases("any_history_adds_up", 30_000, LENGTH as u64 / 2, |dice| {
        let length = dice.below(LENGTH) + 1;
        let (everywhere, acts) = history(length, dice);
        if let Err(why) = run(everywhere, &acts) {
            let (acts, why) = smallest(everywhere, acts, why);
            let steps: Vec<String> = acts.iter().map(|act| format!("{act:?}")).collect();
            panic!("{why}\nafter, of {}:\n{}", if everywhere { "everything" } else { "two namespaces" }, steps.join("\n"));
        }
    });
}

/// Leaves out of a history what is not needed to fail.
fn smallest(everywhere: bool, mut acts: Vec<Act>, mut why: String) -> (Vec<Act>, String) {
    let mut size = acts.len() / 2;
    while size > 0 {
        let mut start = 0;
        while start < acts.len() {
            let mut fewer = acts.clone();
            fewer.drain(start..(start + size).min(acts.len()));
            match run(everywhere, &fewer) {
                Err(again) => (acts, why) = (fewer, again),
                Ok(()) => start += size,
            }
        }
        size /= 2;
    }
    (acts, why)
}

fn run(everywhere: bool, acts: &[Act]) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| follow(everywhere, acts))).unwrap_or_else(|_| Err("it panics".to_owned()))
}

fn state() -> EnvironmentState {
    named("dev")
}

fn named(name: &str) -> EnvironmentState {
    let mut state = EnvironmentState::new(Identity {
        name: name.into(),
        tier: Tier::Normal,
        context: "kind-dev".into(),
        namespaces: Vec::new().into(),
    });
    state.apply(Delta::Alive, now());
    state.apply(kyverno(6), now());
    state
}

fn follow(everywhere: bool, acts: &[Act]) -> Result<(), String> {
    let streams = streams(everywhere);
    let (mut state, mut model) = (state(), Model::default());
    model.apply(&kyverno(6));
    state.settle();
    state.take_changes();
    let mut seen = Seen::of(&mut state);
    for act in acts {
        for delta in act.deltas(&model, &streams) {
            model.apply(&delta);
            state.apply(delta, now());
        }
        match act {
            Act::Settle => state.settle(),
            Act::Tidy => state.tidy(),
            _ => continue,
        }
        seen = seen.then(&mut state)?;
    }
    state.settle();
    seen = seen.then(&mut state)?;
    state.tidy();
    seen.then(&mut state)?;
    let told = everything(&mut state);
    same("a count of the objects", &counted(&told), &count(&model))?;
    let mut fresh = listed_once(&model, &state);
    let fresh = everything(&mut fresh);
    same("a list of the objects", &told.0, &fresh.0)?;
    same("the findings of a list of the objects", &told.1, &fresh.1)?;
    same("the owners of a list of the objects", &told.2, &fresh.2)?;
    same("refused admissions of a list of the objects", &told.3, &fresh.3)
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, should_be: &T) -> Result<(), String> {
    if is == should_be {
        return Ok(());
    }
    let (is, should_be) = (format!("{is:#?}"), format!("{should_be:#?}"));
    let (is, should_be): (Vec<&str>, Vec<&str>) = (is.lines().collect(), should_be.lines().collect());
    let first = is.iter().zip(&should_be).position(|(a, b)| a != b).unwrap_or_default();
    let around = |lines: &[&str]| lines[first.saturating_sub(20)..(first + 8).min(lines.len())].join("\n");
    Err(format!("it is not as {what}, which gives\n{}\n--- but it is\n{}", around(&should_be), around(&is)))
}

/// What the same objects give when they are listed once, in order.
fn listed_once(model: &Model, state: &EnvironmentState) -> EnvironmentState {
    let mut fresh = self::state();
    // Which owners are needed is not forgotten when the last that needs them goes, so that streams do not come and go.
    fresh.needed_owners.clone_from(&state.needed_owners);
    fresh.apply(model.kyverno.clone().unwrap_or_else(|| kyverno(6)), now());
    for (id, stream) in &model.streams {
        let mut tell = |event: StreamEvent| fresh.apply(Delta::Stream(id.clone(), event), now());
        let objects = model.held_by(id).iter().map(bytes).collect::<Vec<_>>();
        if stream.complete {
            tell(StreamEvent::ListStarted);
            tell(StreamEvent::Listed { objects: objects.clone(), total: None });
            tell(StreamEvent::ListEnded);
        }
        if stream.sync.is_complete() {
            tell(StreamEvent::State(stream.sync.clone()));
        }
        (0..stream.skipped).for_each(|_| tell(StreamEvent::Skipped));
        if let Some(skipped) = stream.skipped_in_list {
            tell(StreamEvent::ListStarted);
            (0..skipped).for_each(|_| tell(StreamEvent::Skipped));
        }
        if !stream.complete {
            tell(StreamEvent::Changed(objects.into_iter().map(|object| (Change::Put, object)).collect()));
        }
        if !stream.sync.is_complete() {
            tell(StreamEvent::State(stream.sync.clone()));
        }
    }
    if let Some(link) = &model.link {
        fresh.apply(Delta::Link(link.clone()), now());
    }
    fresh.settle();
    fresh.tidy();
    fresh
}

/// A view without what counts changes and progress.
type Essence = (Vec<PolicyCell>, Vec<KindView>, (bool, String), [u64; 4], Option<u64>, Vec<Arc<str>>);

fn essence(view: &EnvironmentView) -> Essence {
    let kind = |kind: &KindView| match &kind.sync {
        Sync::Listing { .. } => KindView { sync: Sync::Listing { seen: 0, total: None }, ..kind.clone() },
        _ => kind.clone(),
    };
    let numbers = [view.malformed, view.stale, view.policies, view.exceptions];
    let (cells, kinds) = (view.cells.to_vec(), view.kinds.iter().map(kind).collect());
    (cells, kinds, (view.complete, format!("{:?}", view.link)), numbers, view.blocked, view.notes.clone())
}

type Everything = (Essence, Vec<FindingRow>, Vec<FindingRow>, Vec<BlockedRow>, BTreeMap<String, u64>);

fn everything(state: &mut EnvironmentState) -> Everything {
    let view = state.view();
    let rows = |by_owner: bool| state.findings(&FindingQuery { by_owner, with_stale: true, ..FindingQuery::default() });
    for by_owner in [false, true] {
        crate::fleet::ledger::tests::faults_are_found_without_a_walk(&state.ledger, by_owner);
    }
    let mut uses = BTreeMap::new();
    for excuse in state.ledger.excuses().into_iter().filter(|excuse| !excuse.names.is_empty()) {
        *uses.entry(excuse.names.to_owned()).or_default() += excuse.uses;
    }
    let mut essence = essence(&view);
    // What was there before shows in no object of now.
    essence.0.iter_mut().for_each(|cell| cell.disappeared = None);
    (essence, rows(false), rows(true), state.blocked_rows(None), uses)
}

/// What is told, in the words of the count.
fn counted((view, findings, owners, blocked, uses): &Everything) -> Count {
    let mut count = Count { malformed: view.3[0], blocked: view.4, ..Count::default() };
    for cell in &view.0 {
        let sum = count.policies.entry((cell.key.source.to_string(), cell.key.id.report_name())).or_default();
        (sum.findings, sum.owners, sum.stale, sum.excepted) = (cell.findings, cell.owners, cell.stale, cell.excepted);
        sum.foreign = cell.foreign;
        (sum.newest, sum.severity) = (cell.evaluated_at.map_or(0, jiff::Timestamp::as_second), cell.severity);
        (sum.category, sum.blocked) = (cell.category.as_deref().unwrap_or_default().to_owned(), cell.blocked);
    }
    let shown = |r: &ResourceRef| if r.uid.is_empty() { format!("{}/{}/{}", r.kind, r.namespace, r.name) } else { r.uid.clone() };
    let policy = |row: &FindingRow| (row.key.source.to_string(), row.key.id.report_name());
    for row in findings {
        let (policy, shown, owner) = (policy(row), shown(&row.resource), row.owner.as_deref().map(shown).unwrap_or_default());
        let time = row.evaluated_at.map_or(0, jiff::Timestamp::as_second);
        let FindingRow { rule, result, stale, owner_guessed, .. } = row;
        count
            .findings
            .push(format!("{policy:?} {rule} {shown} {result} {stale} {time} {} {owner} {owner_guessed}", row.exception.is_empty()));
    }
    for row in owners {
        let FindingRow { rule, result, stale, resources, .. } = row;
        count.owners.push(format!("{:?} {rule} {} {result} {stale} {resources}", policy(row), shown(&row.resource)));
    }
    for (names, uses) in uses {
        names.split(',').for_each(|name| *count.uses.entry(name.to_owned()).or_default() += uses);
    }
    let refused = blocked.iter().map(|row| row.count).sum();
    assert_eq!(view.4.unwrap_or(refused), refused, "rows behind a number add up to it");
    count.findings.sort();
    count.owners.sort();
    count
}

/// What was seen of a state at the end of a batch: whatever is another later must have been announced.
struct Seen {
    view: Essence,
    content: u64,
    rows: Vec<FindingRow>,
}

impl Seen {
    fn of(state: &mut EnvironmentState) -> Self {
        let view = state.view();
        let timeless = |row: FindingRow| FindingRow { evaluated_at: None, ..row };
        let rows = state.findings(&FindingQuery::default()).into_iter().map(timeless).collect();
        Self { view: essence(&view), content: view.content, rows }
    }

    fn then(self, state: &mut EnvironmentState) -> Result<Self, String> {
        let Changes { visible, filling, retimed } = state.take_changes();
        let changed = visible || filling;
        let now = Self::of(state);
        let timeless = |view: &Essence| {
            let mut view = view.clone();
            view.0.iter_mut().for_each(|cell| cell.evaluated_at = None);
            view
        };
        if !changed && timeless(&self.view) != timeless(&now.view) {
            return same("it was before, although no change was announced", &now.view, &self.view).map(|()| now);
        }
        if !changed && !retimed && self.view != now.view {
            return same("it was before, although no other times were announced", &now.view, &self.view).map(|()| now);
        }
        if self.content == now.content && self.rows != now.rows {
            return same("its rows were before, which are still said to be good", &now.rows, &self.rows).map(|()| now);
        }
        Ok(now)
    }
}
