//! Several plans as one: one preview, one confirmation, one archive.

use super::{ConfirmLevel, Direction, Plan, Undo};
use crate::kinds::revision::digest;
use crate::ops::Refusal;
use serde_json::Value;

/// The plan that does what all of these do, in their order. The annotations that it writes name it, and no longer the single plans.
///
/// # Errors
/// They do different things, or in different environments: an archive is of one environment, and its name is typed once.
pub fn join(plans: Vec<Plan>) -> Result<Plan, Refusal> {
    let mut plans = plans.into_iter();
    let Some(first) = plans.next() else { return Err(Refusal::new("absent", "There is nothing to plan.")) };
    let rest: Vec<Plan> = plans.collect();
    if rest.is_empty() {
        return Ok(first);
    }
    for other in &rest {
        let (here, there) = (target(&first), target(other));
        if here != there {
            let what = |plan: &Plan| plan.steps.first().map(|step| step.object.to_string()).unwrap_or_default();
            return Err(Refusal::new(
                "several",
                format!(
                    "One plan goes to one environment: {} goes to {here}, {} to {there}. Name one with --to, or promote them one after the other.",
                    what(&first),
                    what(other)
                ),
            ));
        }
        if first.operation != other.operation {
            return Err(Refusal::new("several", format!("One plan does one thing: {} and {} are two.", first.operation, other.operation)));
        }
    }
    let whole: Vec<Plan> = std::iter::once(first).chain(rest).collect();
    let id = digest(&Value::from(whole.iter().map(|plan| Value::from(plan.id.as_str())).collect::<Vec<_>>()));
    let mut joined = whole.into_iter().map(|plan| renamed(plan, &id));
    let Some(mut all) = joined.next() else { return Err(Refusal::new("absent", "There is nothing to plan.")) };
    let mut undo = vec![all.undo.words().to_owned()];
    let mut gates = vec![std::mem::take(&mut all.gate)];
    for plan in joined {
        undo.push(plan.undo.words().to_owned());
        gates.push(plan.gate);
        if plan.direction == Direction::Up {
            all.direction = Direction::Up;
        }
        if matches!(plan.confirm, ConfirmLevel::TypeName(_)) {
            all.confirm = plan.confirm;
        }
        all.basis.extend(plan.basis);
        all.steps.extend(plan.steps);
        for (into, from) in [(&mut all.warnings, plan.warnings), (&mut all.impact, plan.impact), (&mut all.notes, plan.notes)] {
            for line in from {
                if !into.contains(&line) {
                    into.push(line);
                }
            }
        }
    }
    all.gate = if gates.iter().all(Value::is_null) { Value::Null } else { Value::from(gates) };
    all.undo = Undo::Plan(undo.join("; "));
    Ok(all)
}

/// Where a plan writes.
fn target(plan: &Plan) -> &str {
    plan.steps.first().map_or("", |step| step.environment.as_str())
}

/// The plan under another id, which its annotations (and the lines that show them) say, too.
fn renamed(plan: Plan, id: &str) -> Plan {
    let was = plan.id.clone();
    let mut renamed = plan.clone();
    id.clone_into(&mut renamed.id);
    for step in &mut renamed.steps {
        let Ok(mut value) = serde_json::to_value(&*step) else { return plan };
        replace(&mut value, &was, id);
        match serde_json::from_value(value) {
            Ok(read) => *step = read,
            Err(_) => return plan,
        }
    }
    renamed
}

/// Puts `is` in place of `was` in every text, the messages of commits among them: an id is a hash of what it names, and stands nowhere by chance.
fn replace(value: &mut Value, was: &str, is: &str) {
    match value {
        Value::String(text) if text.contains(was) => *text = text.replace(was, is),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, was, is)),
        Value::Object(members) => members.values_mut().for_each(|member| replace(member, was, is)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_commit_of_several_plans_names_the_plan_that_is_in_the_journal() {
        let mut step =
            json!({"commit": {"message": "demote p\n\nPolicydeck-Plan: 0123456789ab\n"}, "patch": [{"value": "0123456789ab"}], "n": 1});
        replace(&mut step, "0123456789ab", "ba9876543210");
        let expected =
            json!({"commit": {"message": "demote p\n\nPolicydeck-Plan: ba9876543210\n"}, "patch": [{"value": "ba9876543210"}], "n": 1});
        assert_eq!(step, expected);
    }
}
