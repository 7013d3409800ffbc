//! Whether a selector of a webhook lets through all that a policy selects.

use crate::domain::{Force, LabelSelector, Requirement};

/// Whether everything that fits `wanted` fits `sent`: all of it, a part of it, or nothing. What `is_setting` is no gap of one policy.
pub(super) fn lets_through(sent: &LabelSelector, wanted: Option<&LabelSelector>, is_setting: impl Fn(&Requirement) -> bool) -> Force {
    let wanted = wanted.map_or(&[] as &[Requirement], |selector| &selector.requirements);
    let one = |requirement: &Requirement| {
        if wanted.iter().any(|other| implies(other, requirement)) {
            Force::Yes
        } else if wanted.iter().any(|other| contradicts(other, requirement)) {
            Force::No
        } else if is_setting(requirement) {
            Force::Yes
        } else {
            Force::Partly
        }
    };
    sent.requirements.iter().map(one).fold(Force::Yes, Force::and)
}

fn implies(wanted: &Requirement, sent: &Requirement) -> bool {
    use Requirement::{DoesNotExist, Exists, In, NotIn};
    match (wanted, sent) {
        _ if wanted == sent => true,
        (In(a, few), In(b, many)) => a == b && few.iter().all(|value| many.contains(value)),
        (In(a, values), NotIn(b, others)) => a == b && values.iter().all(|value| !others.contains(value)),
        (NotIn(a, many), NotIn(b, few)) => a == b && few.iter().all(|value| many.contains(value)),
        (In(a, _), Exists(b)) | (DoesNotExist(a), NotIn(b, _)) => a == b,
        _ => false,
    }
}

fn contradicts(wanted: &Requirement, sent: &Requirement) -> bool {
    use Requirement::{DoesNotExist, Exists, In, NotIn};
    match (wanted, sent) {
        (In(a, one), In(b, other)) => a == b && one.iter().all(|value| !other.contains(value)),
        (In(a, values), NotIn(b, others)) | (NotIn(b, others), In(a, values)) => {
            a == b && values.iter().all(|value| others.contains(value))
        }
        (In(a, _) | Exists(a), DoesNotExist(b)) | (DoesNotExist(b), In(a, _) | Exists(a)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::NAMESPACE_NAME;
    use crate::kinds::selector::read;
    use serde_json::{Value, json};

    #[test]
    fn what_a_selector_sends_of_what_is_wanted() {
        let labels = |text: &str| -> Value {
            let (key, value) = text.split_once('=').unwrap();
            json!({"matchLabels": {key: value}})
        };
        let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        let table = [
            (json!({}), Some(labels("a=b")), Force::Yes),
            (labels("a=b"), Some(labels("a=b")), Force::Yes),
            (labels("case=audit"), Some(labels("case=deny")), Force::No),
            (labels("a=b"), None, Force::Partly),
            (labels("a=b"), Some(labels("c=d")), Force::Partly),
            (expression("a", "In", &["b", "c"]), Some(labels("a=b")), Force::Yes),
            (labels("a=b"), Some(expression("a", "In", &["b", "c"])), Force::Partly),
            (expression("a", "Exists", &[]), Some(labels("a=b")), Force::Yes),
            (expression("a", "DoesNotExist", &[]), Some(labels("a=b")), Force::No),
            (expression("a", "NotIn", &["b"]), Some(labels("a=b")), Force::No),
            (expression("a", "NotIn", &["x"]), Some(labels("a=b")), Force::Yes),
            (expression(NAMESPACE_NAME, "NotIn", &["kube-system"]), None, Force::Yes),
            (expression(NAMESPACE_NAME, "NotIn", &["kube-system"]), Some(expression(NAMESPACE_NAME, "In", &["kube-system"])), Force::No),
            (expression(NAMESPACE_NAME, "In", &["a"]), None, Force::Partly),
            (expression(NAMESPACE_NAME, "NotIn", &["shop"]), None, Force::Partly),
        ];
        for (sent, wanted, expected) in table {
            let is_setting = |one: &Requirement| *one == Requirement::NotIn(NAMESPACE_NAME.to_owned(), vec!["kube-system".to_owned()]);
            assert_eq!(lets_through(&read(&sent), wanted.as_ref().map(read).as_ref(), is_setting), expected, "{sent} {wanted:?}");
        }
    }
}
