//! Who wrote the results of reports, by small numbers: there are few, and a report has one.

use crate::kinds::report::Writer;

/// A number of [`Writers`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct WriterId(u8);

/// No writer is known.
const UNKNOWN: WriterId = WriterId(0);
const KYVERNO: WriterId = WriterId(1);
/// The first of the others.
const OTHERS: u8 = 2;
/// Every writer beyond those that fit.
const SOMEBODY: WriterId = WriterId(u8::MAX);

/// All that are not Kyverno's.
#[derive(Debug, Default)]
pub(super) struct Writers(Vec<String>);

impl Writers {
    pub(super) fn intern(&mut self, writer: &Writer<'_>) -> WriterId {
        let name = match writer {
            Writer::Unknown => return UNKNOWN,
            Writer::Kyverno => return KYVERNO,
            Writer::Other(name) => name,
        };
        let place = self.0.iter().position(|known| known == name).unwrap_or_else(|| {
            if self.0.len() < usize::from(u8::MAX - OTHERS) {
                self.0.push(name.clone().into_owned());
                return self.0.len() - 1;
            }
            usize::MAX
        });
        u8::try_from(place).ok().and_then(|place| place.checked_add(OTHERS)).map_or(SOMEBODY, WriterId)
    }

    /// Whether Kyverno wrote every report, as far as known.
    pub(super) fn are_all_kyverno(&self) -> bool {
        self.0.is_empty()
    }

    /// The field manager, where it is not Kyverno's; empty where it has no name.
    pub(super) fn other(&self, id: WriterId) -> Option<&str> {
        let place = id.0.checked_sub(OTHERS)?;
        Some(self.0.get(usize::from(place)).map_or("", String::as_str))
    }
}

impl WriterId {
    pub(super) fn is_other(self) -> bool {
        self.0 >= OTHERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    #[test]
    fn a_thousand_writers_are_told_apart_as_far_as_numbers_go() {
        let mut writers = Writers::default();
        assert_eq!([&Writer::Unknown, &Writer::Kyverno].map(|known| writers.intern(known).is_other()), [false, false]);
        let name = |n: u32| format!("kubectl-{n}");
        let ids: Vec<WriterId> = (0..1_000).map(|n| writers.intern(&Writer::Other(Cow::Owned(name(n))))).collect();
        assert!(ids.iter().all(|id| id.is_other()));
        assert_eq!(
            (writers.other(ids[0]), writers.other(ids[252]), writers.other(ids[253])),
            (Some("kubectl-0"), Some("kubectl-252"), Some(""))
        );
        assert_eq!(writers.intern(&Writer::Other(Cow::Owned(name(7)))), ids[7]);
    }
}
