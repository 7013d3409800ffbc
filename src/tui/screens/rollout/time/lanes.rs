//! The rows of a timeline: one per environment of the road, with what is on record of it.
//!
//! What lives here: which record belongs to which environment, and why there is none. What does not: drawing.

use crate::domain::history::{ChangeSource, Mark, Road, Span, SpanMode, Standing};
use crate::domain::time::brief;
use crate::domain::{Mode, PolicyKey};
use crate::fleet::view::{EnvironmentView, FleetView};
use crate::tui::past::Told;
use crate::tui::screens::seen;
use jiff::Timestamp;
use std::sync::Arc;

/// What tells a row from all others, whatever comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LaneKey {
    pub(super) name: Arc<str>,
    /// The cluster that had this name before it was built anew; `None` for the one that has it now.
    pub(super) former: Option<String>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Lane<'a> {
    pub(super) key: LaneKey,
    pub(super) view: &'a EnvironmentView,
    /// What is on record; `None` where nothing is.
    pub(super) road: Option<&'a Road>,
    pub(super) standing: Option<&'a Standing>,
}

/// How long the present mode has held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lasting {
    /// Since a time that is known.
    For(String),
    /// At least since then.
    AtLeast(String),
    Unknown,
}

/// The environments in the order of the road; behind each the clusters that had its name before, if they are in sight.
pub(super) fn lanes<'a>(fleet: &'a FleetView, told: Option<&'a Told>) -> Vec<Lane<'a>> {
    let mut out = Vec::new();
    for view in &fleet.environments {
        let named = || {
            told.into_iter()
                .flat_map(|told| told.timeline.roads.iter().zip(&told.standings))
                .filter(|(road, _)| road.environment.name == *view.name)
        };
        let is_this = |road: &Road| view.cluster_uid.as_deref().is_none_or(|uid| uid == road.environment.cluster_uid);
        // Those watched last come first: while it is not known which cluster it is, that is the one.
        let present = named().find(|(road, _)| is_this(road));
        let key = |former| LaneKey { name: Arc::clone(&view.name), former };
        let standing = present.and_then(|(_, standing)| standing.as_ref());
        out.push(Lane { key: key(None), view, road: present.map(|(road, _)| road), standing });
        let others = named().filter(|(road, _)| present.is_none_or(|(this, _)| this.environment != road.environment));
        for (road, _) in others.filter(|(road, _)| tells(road)) {
            out.push(Lane { key: key(Some(road.environment.cluster_uid.clone())), view, road: Some(road), standing: None });
        }
    }
    out
}

/// Whether anything is known of the window.
fn tells(road: &Road) -> bool {
    !road.marks.is_empty() || road.spans.iter().any(|span| span.mode != SpanMode::Unwatched)
}

impl<'a> Lane<'a> {
    /// What happened, in order.
    pub(super) fn marks(&self) -> &'a [Mark] {
        self.road.map_or(&[], |road| &road.marks)
    }

    pub(super) fn spans(&self) -> &'a [Span] {
        self.road.map_or(&[], |road| &road.spans)
    }

    /// Whether anything is known of the window.
    pub(super) fn tells(&self) -> bool {
        self.road.is_some_and(tells)
    }

    /// Whether the numbers of refused requests are worth a line.
    pub(super) fn refused(&self) -> u64 {
        let counts = self.road.iter().flat_map(|road| road.series.blocked.iter().flatten());
        counts.fold(0, |sum: u64, count| sum.saturating_add(*count))
    }

    /// The most violations at one time; `None` where nobody counted.
    pub(super) fn most(&self) -> Option<u64> {
        self.road?.series.violations.iter().flatten().map(|range| range.high).max()
    }

    /// What the policy does now, as far as that is seen; of a former cluster nothing is.
    pub(super) fn mode(&self, policy: &PolicyKey) -> Option<Mode> {
        self.key.former.is_none().then(|| seen::mode(self.view, policy))
    }

    /// How long `mode` has held at `now`.
    pub(super) fn lasting(&self, mode: Mode, now: Timestamp) -> Lasting {
        if let Some(standing) = self.standing.filter(|standing| standing.state.mode == mode) {
            let held = brief(now.duration_since(standing.mode_since));
            // Whoever found it so cannot say that it was not so before.
            return if standing.mode_source == ChangeSource::Found { Lasting::AtLeast(held) } else { Lasting::For(held) };
        }
        let spans = self.spans();
        let of_mode = |span: &&Span| span.mode == SpanMode::Of(mode);
        let run: Vec<&Span> = spans.iter().rev().skip_while(|span| span.mode == SpanMode::Unwatched).take_while(of_mode).collect();
        let Some(first) = run.last() else { return Lasting::Unknown };
        let held = brief(now.duration_since(first.from));
        let before = spans.iter().rev().find(|span| span.to == first.from);
        match before {
            Some(before) if before.mode != SpanMode::Unwatched => Lasting::For(held),
            _ => Lasting::AtLeast(held),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PolicyId;
    use crate::domain::history::{EnvironmentKey, Interval, PolicyState, Series, Timeline};
    use jiff::SignedDuration;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_760_000_400 + hour * 3_600).unwrap()
    }

    fn span(from: i64, to: i64, mode: SpanMode) -> Span {
        Span { from: at(from), to: at(to), mode, inferred: false, revision: None }
    }

    fn road(name: &str, uid: &str, spans: Vec<Span>) -> Road {
        Road {
            environment: EnvironmentKey { name: name.into(), cluster_uid: uid.into() },
            spans,
            marks: Vec::new(),
            series: Series::default(),
            filled: Vec::new(),
        }
    }

    fn told(roads: Vec<Road>) -> Told {
        let id = PolicyId { group: String::new(), kind: String::new(), namespace: None, name: "p".into() };
        let policy = PolicyKey { source: "kyverno".into(), id: Arc::new(id) };
        let standings = roads.iter().map(|_| None).collect();
        Told { timeline: Timeline { policy, window: Interval { from: at(0), to: at(10) }, roads }, standings, at: at(10) }
    }

    fn fleet(environments: &[(&str, Option<&str>)]) -> FleetView {
        let view = |(name, uid): &(&str, Option<&str>)| {
            let mut view = crate::testing::fleet::environment(name, Vec::new());
            view.cluster_uid = uid.map(Arc::from);
            Arc::new(view)
        };
        FleetView { environments: environments.iter().map(view).collect() }
    }

    #[test]
    fn each_environment_has_a_row_and_clusters_that_were_built_anew_another() {
        let audit = || vec![span(0, 10, SpanMode::Of(Mode::Audit))];
        let nothing = || vec![span(0, 10, SpanMode::Unwatched)];
        let told = told(vec![
            road("qac", "new", audit()),
            road("qac", "old", audit()),
            road("qac", "older", nothing()),
            road("elsewhere", "x", audit()),
            road("dev", "d", audit()),
        ]);
        let names = |fleet: &FleetView| {
            let lanes = lanes(fleet, Some(&told));
            let word =
                |lane: &Lane<'_>| format!("{} {} {}", lane.key.name, lane.key.former.as_deref().unwrap_or("now"), lane.road.is_some());
            lanes.iter().map(word).collect::<Vec<_>>()
        };
        let known = fleet(&[("dev", Some("d")), ("qac", Some("new")), ("staging", None)]);
        assert_eq!(names(&known), ["dev now true", "qac now true", "qac old true", "staging now false"]);
        let other = fleet(&[("qac", Some("newest"))]);
        assert_eq!(names(&other), ["qac now false", "qac new true", "qac old true"]);
        let unknown = fleet(&[("qac", None)]);
        assert_eq!(names(&unknown), ["qac now true", "qac old true"]);
    }

    #[test]
    fn how_long_a_mode_has_held_is_not_told_as_more_than_is_known() {
        let (audit, absent) = (SpanMode::Of(Mode::Audit), SpanMode::Of(Mode::Absent));
        let fleet = fleet(&[("dev", None)]);
        let (atleast, exact) = (|text: &str| Lasting::AtLeast(text.to_owned()), |text: &str| Lasting::For(text.to_owned()));
        for (spans, mode, expected) in [
            (vec![span(0, 4, audit), span(4, 10, absent)], Mode::Absent, exact("6h")),
            (vec![span(0, 4, SpanMode::Unwatched), span(4, 10, absent)], Mode::Absent, atleast("6h")),
            (vec![span(0, 10, absent)], Mode::Absent, atleast("10h")),
            // Lost since: what was seen last holds, as far as anybody knows.
            (vec![span(0, 4, audit), span(4, 8, absent), span(8, 10, SpanMode::Unwatched)], Mode::Absent, exact("6h")),
            (vec![span(0, 10, absent)], Mode::Audit, Lasting::Unknown),
            (vec![], Mode::Audit, Lasting::Unknown),
        ] {
            let told = told(vec![road("dev", "d", spans.clone())]);
            assert_eq!(lanes(&fleet, Some(&told))[0].lasting(mode, at(10)), expected, "{spans:?}");
        }
        let mut standing = Standing {
            now: at(10),
            state: PolicyState { mode: Mode::Audit, ..PolicyState::ABSENT },
            since: at(9),
            source: ChangeSource::Seen,
            not_before: None,
            watched_until: None,
            mode_since: at(10).checked_sub(SignedDuration::from_hours(72)).unwrap(),
            mode_source: ChangeSource::Seen,
            actor: None,
            out_of_force: vec![],
            policy_gaps: vec![],
            report_gaps: vec![],
            event_gaps: vec![],
            unwatched: vec![],
            filled: vec![],
            fills: vec![],
            violations: None,
            seen: vec![],
            claims: vec![],
            blocked: 0,
            blocked_by_fills: 0,
            blocked_last: None,
            clean: vec![],
        };
        for (source, expected) in [(ChangeSource::Seen, exact("3d")), (ChangeSource::Found, atleast("3d"))] {
            standing.mode_source = source;
            let told = Told { standings: vec![Some(standing.clone())], ..told(vec![road("dev", "d", vec![span(0, 10, audit)])]) };
            assert_eq!(lanes(&fleet, Some(&told))[0].lasting(Mode::Audit, at(10)), expected, "it is on record beyond the window");
        }
    }
}
