//! What somebody probably meant to write.

/// The candidate that `word` was most probably meant to be: at most a third of its letters differ, or one is the beginning of the other.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let lower = candidate.to_lowercase();
        let longer = word.chars().count().max(lower.chars().count());
        let prefix = word.len() >= 2 && lower.len() >= 2 && (lower.starts_with(&word) || word.starts_with(&lower));
        let distance = if prefix { 1 } else { strsim::damerau_levenshtein(&word, &lower) };
        let close = distance <= (longer / 3).max(1);
        if close && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_is_a_typo_or_a_beginning_not_another_word() {
        let keys = ["context", "kubeconfig", "read_only", "steps"];
        assert_eq!(nearest("contxt", keys), Some("context"));
        assert_eq!(nearest("Context", keys), Some("context"));
        assert_eq!(nearest("readonly", keys), Some("read_only"));
        assert_eq!(nearest("kube", keys), Some("kubeconfig"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("x", keys), None);
    }
}
