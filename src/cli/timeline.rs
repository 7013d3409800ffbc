//! `timeline POLICY`: what a policy did in each environment over time.
//!
//! Pure: a timeline of the history becomes items; tables draw each environment as a bar, its violations under it, and what happened below.

use super::document::Item;
use super::findings::{self, NotOne};
use super::rows::maybe;
use super::table::{Cell, Column, Role};
use super::{Exit, Problem};
use crate::domain::history::{Fill, Interval, Mark, MarkKind, Range, Road, Series, Span, SpanMode, columns, level};
use crate::domain::time::brief;
use crate::domain::{Mode, PolicyKey, clean};
use jiff::Timestamp;
use serde::Serialize;
use std::io::{self, Write};

/// An environment of a timeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TimelineItem {
    /// Name.
    pub name: String,
    /// UID of the cluster: an environment that was built anew is another item of the same name.
    pub cluster_uid: String,
    /// What the policy did, without holes.
    pub spans: Vec<Span>,
    /// What happened.
    pub marks: Vec<Mark>,
    /// Violations and refused admissions in equal parts of the window; `null` where nobody watched.
    pub series: Series,
    /// What of the refused admissions Prometheus told, because nobody watched; part of the series.
    pub filled: Vec<Fill>,
}

impl From<Road> for TimelineItem {
    fn from(road: Road) -> Self {
        let Road { environment, spans, marks, series, filled } = road;
        Self { name: environment.name, cluster_uid: environment.cluster_uid, spans, marks, series, filled }
    }
}

/// The items of the wanted environments in their order; without any wanted, of all.
pub fn items(roads: Vec<Road>, wanted: &[String]) -> Vec<TimelineItem> {
    let mut items: Vec<TimelineItem> = roads.into_iter().map(TimelineItem::from).collect();
    if !wanted.is_empty() {
        items.retain(|item| wanted.contains(&item.name));
        items.sort_by_key(|item| wanted.iter().position(|name| *name == item.name));
    }
    items
}

/// The policy on record that the argument means.
pub fn choose(argument: &str, known: &[PolicyKey]) -> Result<PolicyKey, Problem> {
    let found = findings::find(argument, known.iter().map(|key| &*key.id));
    let id = found.map_err(|why| match why {
        NotOne::Several(candidates) => Problem::usage(format!(
            "several policies are called `{argument}`; name one by kind/name or kind/namespace/name:\n  {}",
            candidates.join("\n  ")
        )),
        NotOne::None(near) => {
            let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            Problem { exit: Exit::Failed, message: format!("there is no record of a policy `{argument}`{hint}") }
        }
    })?;
    let key = known.iter().find(|key| *key.id == *id).cloned();
    key.ok_or_else(|| Problem::failed(format!("there is no record of a policy `{argument}`")))
}

/// The shape of what is known of a time.
fn shape(mode: SpanMode, ascii: bool) -> char {
    let (shape, plain) = match mode {
        SpanMode::Of(Mode::Audit) => ('▒', '-'),
        SpanMode::Of(Mode::Enforce) => ('█', '#'),
        SpanMode::Of(Mode::Mixed) => ('▚', '%'),
        SpanMode::Of(Mode::Warn) => ('░', 'w'),
        SpanMode::Of(Mode::Off) => ('□', '0'),
        SpanMode::Of(Mode::NotReady) => ('○', 'o'),
        SpanMode::Of(Mode::Absent) => ('·', '.'),
        SpanMode::Of(Mode::Unknown) => ('?', '?'),
        SpanMode::Unwatched => ('╱', '/'),
    };
    if ascii { plain } else { shape }
}

/// The spans as `width` shapes: each the one that holds longest in its part of the window.
fn bar(spans: &[Span], width: usize, ascii: bool) -> String {
    let (Some(first), Some(last)) = (spans.first(), spans.last()) else { return String::new() };
    let window = Interval { from: first.from, to: last.to };
    columns(spans, window, width, window.to).into_iter().map(|span| span.map_or(' ', |span| shape(span.mode, ascii))).collect()
}

/// The most violations of each part, as heights; blank where nobody watched, a dot for none.
fn spark(violations: &[Option<Range>], ascii: bool) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = violations.iter().flatten().map(|range| range.high).max().unwrap_or_default();
    let height = |range: Option<&Range>| match range {
        None => ' ',
        Some(range) if range.high == 0 => '.',
        Some(_) if ascii => '^',
        Some(range) => HEIGHTS[level(range.high, most, HEIGHTS.len()).saturating_sub(1)],
    };
    violations.iter().map(Option::as_ref).map(height).collect()
}

/// What holds at the end, in words.
fn now(item: &TimelineItem) -> String {
    let Some(last) = item.spans.last() else { return "nothing is known".to_owned() };
    let inferred = item.spans.iter().rev().take_while(|span| span.mode == last.mode);
    let from = inferred.last().map_or(last.from, |span| span.from);
    let whole = item.spans.first().is_some_and(|first| first.from == from);
    let since = if whole { "for all of this time".to_owned() } else { format!("for {}", brief(last.to.duration_since(from))) };
    format!("{} {since}", last.mode.as_str())
}

fn sign(kind: MarkKind, ascii: bool) -> char {
    let (shape, plain) = match kind {
        MarkKind::Promote => ('▲', '^'),
        MarkKind::Demote => ('▼', 'v'),
        MarkKind::Exception => ('◆', '*'),
        MarkKind::Violations => ('✖', 'x'),
        MarkKind::Clean => ('✔', 'k'),
        MarkKind::Created | MarkKind::Deleted | MarkKind::Mode | MarkKind::Revision | MarkKind::Ready | MarkKind::Operation => ('•', 'o'),
    };
    if ascii { plain } else { shape }
}

/// Draws the timeline for people: a bar per environment, its violations, and what happened. Times are UTC.
pub fn draw(out: &mut dyn Write, items: &[TimelineItem], window: Interval, ascii: bool) -> io::Result<()> {
    let name_width = items.iter().map(|item| clean(&item.name).chars().count()).max().unwrap_or_default();
    let width = items.iter().map(|item| item.series.violations.len()).max().unwrap_or_default();
    let minute = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M").to_string();
    let (from, to) = (minute(window.from), minute(window.to));
    writeln!(out, "{:name_width$}  {from}{:>rest$}", "", to, rest = width.saturating_sub(from.len()).max(to.len() + 1))?;
    for item in items {
        writeln!(out, "{:name_width$}  {}  {}", clean(&item.name), bar(&item.spans, width, ascii), now(item))?;
        let most = item.series.violations.iter().flatten().map(|range| range.high).max();
        let blocked = item.series.blocked.iter().flatten().fold(0u64, |sum, count| sum.saturating_add(*count));
        let told = item.filled.iter().fold(0u64, |sum, fill| sum.saturating_add(fill.count)).min(blocked);
        let is_known = item.series.blocked.iter().any(Option::is_some);
        let refused = match (blocked, told) {
            (0, _) if !is_known => ", refused unknown".to_owned(),
            (0, _) => String::new(),
            (blocked, 0) => format!(", {blocked} refused"),
            (blocked, told) => format!(", {blocked} refused ({told} as Prometheus tells, while nobody watched)"),
        };
        if let Some(most) = most {
            writeln!(out, "{:name_width$}  {}  at most {most} violations{refused}", "", spark(&item.series.violations, ascii))?;
        }
        for mark in &item.marks {
            let actor = mark.actor.as_deref().map_or_else(String::new, |actor| format!("  {}", clean(actor)));
            writeln!(out, "{:name_width$}  {} {}  {}{actor}", "", sign(mark.kind, ascii), minute(mark.at), clean(&mark.text))?;
        }
    }
    let legend = [
        (SpanMode::Of(Mode::Audit), "audit"),
        (SpanMode::Of(Mode::Enforce), "enforce"),
        (SpanMode::Of(Mode::Mixed), "mixed"),
        (SpanMode::Of(Mode::Warn), "warn"),
        (SpanMode::Of(Mode::Absent), "absent"),
        (SpanMode::Unwatched, "not watched"),
    ];
    let legend: Vec<String> = legend.iter().map(|(mode, word)| format!("{} {word}", shape(*mode, ascii))).collect();
    writeln!(out, "{:name_width$}  {}", "", legend.join("  "))
}

impl Item for TimelineItem {
    type Context = ();

    fn columns((): &()) -> Vec<Column> {
        ["environment", "timeline", "now"].map(Column::text).into()
    }

    fn row(&self, (): &(), ascii: bool) -> Vec<Cell> {
        let bar = bar(&self.spans, self.series.violations.len(), ascii);
        vec![Cell::plain(&self.name), Cell::plain(&bar), Cell::new(&now(self), Role::Dim)]
    }

    fn csv_columns() -> Vec<&'static str> {
        vec!["environment", "clusterUid", "record", "from", "to", "mode", "inferred", "revision", "kind", "actor", "text"]
    }

    fn csv_rows(&self) -> Vec<Vec<String>> {
        let head = |record: &str| vec![self.name.clone(), self.cluster_uid.clone(), record.to_owned()];
        let span = |span: &Span| {
            let mut row = head("span");
            row.extend([span.from.to_string(), span.to.to_string(), span.mode.as_str().to_owned(), span.inferred.to_string()]);
            row.extend([maybe(span.revision.as_ref()), String::new(), String::new(), String::new()]);
            row
        };
        let mark = |mark: &Mark| {
            let mut row = head("mark");
            row.extend([mark.at.to_string(), String::new(), String::new(), String::new(), String::new()]);
            row.extend([mark.kind.as_str().to_owned(), maybe(mark.actor.as_ref()), mark.text.clone()]);
            row
        };
        self.spans.iter().map(span).chain(self.marks.iter().map(mark)).collect()
    }

    fn identifiers(&self) -> Vec<String> {
        vec![self.name.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;
    use crate::cli::document::{self, Head, Style};
    use crate::domain::history::EnvironmentKey;
    use crate::domain::{PolicyId, Revision};
    use std::sync::Arc;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_760_000_400 + hour * 3_600).unwrap()
    }

    fn item() -> TimelineItem {
        let span = |from, to, mode, inferred| {
            let revision = matches!(mode, SpanMode::Of(Mode::Audit | Mode::Enforce)).then(|| Revision("91c2e0aa11bb".into()));
            Span { from: at(from), to: at(to), mode, inferred, revision }
        };
        let range = |high| Some(Range { low: 0, high, last: high });
        let road = Road {
            environment: EnvironmentKey { name: "dev".into(), cluster_uid: "u1".into() },
            spans: vec![
                span(0, 4, SpanMode::Unwatched, false),
                span(4, 5, SpanMode::Of(Mode::Audit), true),
                span(5, 8, SpanMode::Of(Mode::Audit), false),
                span(8, 12, SpanMode::Of(Mode::Enforce), false),
            ],
            marks: vec![Mark { actor: Some("jane\x1b[2J".into()), ..Mark::new(at(8), MarkKind::Promote, "audit → enforce".into()) }],
            series: Series {
                violations: vec![None, None, range(8), range(1), range(0), range(0)],
                blocked: vec![None, None, None, None, Some(2), Some(1)],
            },
            filled: vec![Fill { interval: Interval { from: at(8), to: at(9) }, count: 2, whole: true }],
        };
        TimelineItem::from(road)
    }

    fn drawn(ascii: bool) -> String {
        let mut out = Vec::new();
        draw(&mut out, &[item()], Interval { from: at(0), to: at(12) }, ascii).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_bar_per_environment() {
        let expected = "     2025-10-09 09:00 2025-10-09 21:00
dev  ╱╱▒▒██  enforce for 4h
       █▁..  at most 8 violations, 3 refused (2 as Prometheus tells, while nobody watched)
     ▲ 2025-10-09 17:00  audit → enforce  jane\u{fffd}[2J
     ▒ audit  █ enforce  ▚ mixed  ░ warn  · absent  ╱ not watched
";
        assert_eq!(drawn(false), expected);
        let plain = drawn(true);
        assert!(plain.contains("dev  //--##  enforce") && plain.contains("  ^^..  at most"), "{plain}");
        assert!(plain.lines().next().unwrap().is_ascii());
    }

    #[test]
    fn refused_requests_that_nothing_shows_are_unknown() {
        let said = |blocked: [Option<u64>; 2]| {
            let mut item = item();
            (item.series.blocked, item.filled) = (blocked.to_vec(), Vec::new());
            let mut out = Vec::new();
            draw(&mut out, &[item], Interval { from: at(0), to: at(12) }, false).unwrap();
            String::from_utf8(out).unwrap().lines().nth(2).unwrap().split_once("violations").unwrap().1.to_owned()
        };
        assert_eq!([said([None, None]), said([None, Some(0)]), said([None, Some(2)])], [", refused unknown", "", ", 2 refused"]);
    }

    #[test]
    fn the_document_is_as_promised() {
        let mut out = Vec::new();
        let style = Style { format: Format::Json, color: false, ascii: false, compact: false };
        document::write(&mut out, style, Head::new("Timeline", at(12), true), (), &[item()]).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((json["kind"].as_str(), json["items"][0]["name"].as_str()), (Some("Timeline"), Some("dev")));
        let span = &json["items"][0]["spans"][1];
        assert_eq!(
            (span["mode"].as_str(), span["inferred"].as_bool(), span["revision"].as_str()),
            (Some("audit"), Some(true), Some("91c2e0aa11bb"))
        );
        assert_eq!(json["items"][0]["spans"][0]["mode"], "unwatched");
        assert_eq!(json["items"][0]["marks"][0]["kind"], "promote");
        assert_eq!(json["items"][0]["series"]["violations"][0], serde_json::Value::Null);
        assert!(item().csv_rows().iter().all(|row| row.len() == TimelineItem::csv_columns().len()));
    }

    #[test]
    fn policies_are_found_among_the_records() {
        let key = |kind: &str, name: &str| PolicyKey {
            source: "kyverno".into(),
            id: Arc::new(PolicyId { group: "kyverno.io".into(), kind: kind.into(), namespace: None, name: name.into() }),
        };
        let known = [key("ClusterPolicy", "require-team"), key("ClusterPolicy", "twin"), key("ValidatingPolicy", "twin")];
        assert_eq!(choose("require-team", &known).unwrap(), known[0]);
        assert_eq!(choose("validatingpolicy/twin", &known).unwrap(), known[2]);
        assert_eq!(choose("twin", &known).unwrap_err().exit, Exit::Usage);
        let error = choose("require-taem", &known).unwrap_err();
        assert_eq!(
            (error.exit, error.message.as_str()),
            (Exit::Failed, "there is no record of a policy `require-taem`; did you mean `require-team`?")
        );
    }

    #[test]
    fn environments_come_in_the_order_of_the_road() {
        let road = |name: &str| Road {
            environment: EnvironmentKey { name: name.into(), cluster_uid: "u".into() },
            spans: Vec::new(),
            marks: Vec::new(),
            series: Series::default(),
            filled: Vec::new(),
        };
        let roads = || vec![road("production"), road("old"), road("dev")];
        let names = |items: Vec<TimelineItem>| items.into_iter().map(|item| item.name).collect::<Vec<_>>();
        assert_eq!(names(items(roads(), &["dev".into(), "production".into()])), ["dev", "production"]);
        assert_eq!(names(items(roads(), &[])).len(), 3);
    }
}
