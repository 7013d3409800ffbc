//! Sizes, as people write and read them.

const UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// A number of bytes such as `500MB` or `1GiB`.
///
/// # Errors
/// What is wrong with it, in words that follow no name.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let unreadable = || format!("`{text}` is not a size such as `500MB` or `1GiB`");
    let text_of = text.trim();
    let (number, bytes) = UNITS.iter().find_map(|(unit, bytes)| Some((text_of.strip_suffix(unit)?, *bytes))).ok_or_else(unreadable)?;
    let number: u64 = number.trim_end().parse().map_err(|_| unreadable())?;
    number.checked_mul(bytes).ok_or_else(|| format!("`{text}` is more than can be counted"))
}

/// A size in the largest unit that it is a whole number of, else in whole MiB.
pub fn in_words(bytes: u64) -> String {
    let mut whole: Vec<_> = UNITS.iter().filter(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit)).collect();
    whole.sort_by_key(|(_, unit)| *unit);
    whole.last().map_or_else(|| format!("{} MiB", bytes >> 20), |(name, unit)| format!("{} {name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        for (text, bytes) in [("1GiB", 1 << 30), ("500MB", 500_000_000), (" 16 MiB ", 16 << 20), ("2TB", 2_000_000_000_000)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "1", "GiB", "-1GiB", "1.5GiB", "1 gigabyte", "99999999999TiB", "1gib"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_read_as_they_are_written() {
        for (bytes, words) in [(1 << 30, "1 GiB"), (500_000_000, "500 MB"), (24 << 20, "24 MiB"), ((3 << 20) + 1, "3 MiB")] {
            assert_eq!(in_words(bytes), words);
        }
    }
}
