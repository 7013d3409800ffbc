//! What a recount of a cluster gives, and where `status` or the screen says something else.

use crate::support::cluster::Cluster;
use crate::support::product::environment;
use crate::support::recount::{Count, recount};
use serde_json::Value;

/// The findings, and what the soak writes beside them.
pub(crate) struct Counted {
    pub(crate) count: Count,
    pub(crate) policies: usize,
    pub(crate) exceptions: usize,
    pub(crate) blocked: usize,
}

/// Places of failures and errors in a tally.
const FAIL: usize = 3;
const ERROR: usize = 4;

impl Counted {
    pub(crate) fn of(cluster: &Cluster) -> Self {
        let list = |path: &str| cluster.api.list(path).unwrap_or_default();
        let policies = list("/apis/kyverno.io/v1/clusterpolicies").len() + list("/apis/kyverno.io/v1/policies").len();
        let exceptions = list("/apis/kyverno.io/v2/policyexceptions").len();
        let blocked = list("/api/v1/events").iter().filter(|event| event["action"] == "Resource Blocked").count();
        Self { count: recount(&cluster.api), policies, exceptions, blocked }
    }

    /// Where `status` differs, in words.
    pub(crate) fn differences(&self, name: &str, status: &Value) -> Vec<String> {
        let item = environment(status, name);
        let stale = usize::try_from(self.count.stale).unwrap_or(usize::MAX);
        let others = [("policies", self.policies), ("exceptions", self.exceptions), ("blocked", self.blocked), ("stale", stale)];
        let mut wrong = self.count.status_differences(name, status);
        for (what, counted) in others {
            if item[what] != counted {
                wrong.push(format!("{name} {what}: counted {counted}, policydeck says {}", item[what]));
            }
        }
        wrong
    }
}

/// Failures and errors in the totals of the screen; `None` where there is no number.
pub(crate) struct OnScreen {
    fail: Option<u64>,
    error: u64,
    text: String,
}

/// Reads the cell of an environment in the line `all N policies`, which stands under the environment's name.
pub(crate) fn on_screen(text: &str, name: &str) -> OnScreen {
    let begins = |word: &'static str| text.lines().find(move |line| line.trim_start().starts_with(word)).unwrap_or_default();
    let (head, totals) = (begins("POLICY"), begins("all ").chars().collect::<Vec<_>>());
    let starts = head.split_whitespace().map(|word| head[..head.find(word).unwrap_or(0)].chars().count()).collect::<Vec<_>>();
    let words = head.split_whitespace().collect::<Vec<_>>();
    let place = words.iter().position(|word| word.eq_ignore_ascii_case(name));
    let Some(place) = place else { return OnScreen { fail: None, error: 0, text: head.to_owned() } };
    let end = starts.get(place + 1).copied().unwrap_or(totals.len()).min(totals.len());
    let cell = totals[starts[place].min(end)..end].iter().collect::<String>();
    // A blank groups the digits of a number; marks follow it.
    let (mut digits, mut error) = (String::new(), 0);
    for word in cell.split_whitespace() {
        if word.bytes().all(|b| b.is_ascii_digit()) {
            digits += word;
        } else if word == "·" {
            digits += "0";
        } else if let Some(rest) = word.strip_prefix('!') {
            let number = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
            error = number.parse().unwrap_or(0);
        }
    }
    OnScreen { fail: digits.parse().ok(), error, text: cell }
}

impl OnScreen {
    pub(crate) fn differs(&self, name: &str, counted: &Counted) -> Option<String> {
        let owners = Count::total(&counted.count.owners);
        let wrong = self.fail != Some(owners[FAIL]) || (self.error != owners[ERROR] && !self.text.contains('k'));
        wrong.then(|| format!("{name}: counted {} and {} errors, the screen says {:?}", owners[FAIL], owners[ERROR], self.text.trim()))
    }
}
