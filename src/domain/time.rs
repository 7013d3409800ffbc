//! Lengths of time as people write and read them. No clock is read here.

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

/// A time as annotations and `managedFields` have it: RFC 3339, whole seconds, UTC.
pub fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Reads `7d`, `1w`, `36h`, `1d 12h`, `90s`: a length of time that is not negative. A day has 24 hours and a week seven days.
///
/// The error is the rest of a sentence that names the value, without a full stop.
pub fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    let unreadable = || "is not a length of time such as `30s`, `36h`, `7d` or `1w`".to_owned();
    let span: Span = text.trim().parse().map_err(|_| unreadable())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| unreadable())?;
    if duration.is_negative() {
        return Err("is a negative length of time".to_owned());
    }
    Ok(duration)
}

/// A length of time in its largest whole unit: `12s`, `4m`, `7h`, `3d`; negative ones count as zero.
pub fn brief(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_24_hours_and_weeks_seven_days() {
        for (text, hours) in [("7d", 168), ("1w", 168), ("36h", 36), ("1d 12h", 36), ("1d12h", 36)] {
            assert_eq!(parse_duration(text), Ok(SignedDuration::from_hours(hours)), "{text}");
        }
    }

    #[test]
    fn months_bare_numbers_and_negative_times_are_refused() {
        for text in ["", "7", "1mo", "1y", "-7d", "7d ago", "soon"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_largest_unit_is_shown() {
        for (seconds, text) in [(-5, "0s"), (59, "59s"), (240, "4m"), (7_300, "2h"), (200_000, "2d")] {
            assert_eq!(brief(SignedDuration::from_secs(seconds)), text);
        }
    }
}
