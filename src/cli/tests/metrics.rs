//! What Prometheus is told.

use super::{Fixture, denied, environment};
use crate::cli::metrics;
use crate::cli::source::Source;
use crate::domain::history::Watched;
use crate::engine::recorder::RecorderStatus;
use jiff::Timestamp;
use std::time::Duration;

#[test]
fn what_is_known_is_told_and_nothing_else() {
    let fleet = Fixture::of(vec![environment("pro\"duction"), denied("dev")]).fleet().borrow().clone();
    let status = RecorderStatus {
        last_write: Timestamp::from_second(1_700_000_000).ok(),
        notes: 7,
        watched: vec![("dev".into(), Watched::Reports, Duration::from_millis(12_900))],
        ..RecorderStatus::default()
    };
    let text = metrics::text(&fleet, &status);
    for line in [
        "policydeck_environment_up{environment=\"pro\\\"duction\"} 1",
        "policydeck_environment_complete{environment=\"dev\"} 0",
        "policydeck_link_state{environment=\"dev\",state=\"denied\"} 1",
        "policydeck_coverage_seconds_total{environment=\"dev\",family=\"reports\"} 12",
        "policydeck_history_notes_total 7",
        "policydeck_history_writable 1",
        "policydeck_history_last_write_timestamp_seconds 1700000000",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
    assert!(text.contains("policy=\"disallow-latest-tag\",result=\"fail\"}"), "{text}");
    assert!(!text.contains("policydeck_findings{environment=\"dev\""), "unknown is never zero\n{text}");
    // Each family of metrics has its head, once, and every line is a comment or `name{labels} number`.
    let types: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
    assert!(types.windows(2).all(|pair| pair[0] != pair[1]) && types.len() > 8, "{types:?}");
    assert!(text.lines().all(|line| line.starts_with('#') || line.rsplit(' ').next().is_some_and(|value| value.parse::<f64>().is_ok())));
}
