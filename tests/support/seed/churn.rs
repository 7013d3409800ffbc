//! A cluster that lives: what scans, deployments and people change all the time, at the same size, through everything that happens to its server.
//!
//! Unlike [`Seeded::churn`] this takes no answer for granted. The server may be dead, starting, or without a kind; what became of a request that
//! failed shows at the next one about the same object.

use super::{POLICIES, Seeded, Shape, Written, now, own_rules, policy, summary, with};
use crate::support::api::{Api, Reply};
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// Requests under way at a time.
const AT_ONCE: usize = 16;

/// What comes and goes beside reports.
#[derive(Default)]
pub(super) struct Passing {
    pub(super) shapes: Vec<Shape>,
    round: u64,
    /// Findings that earlier rounds wrote too few (or too many: a report is written whole).
    owed: i64,
    /// Policies, exceptions and events by their paths, the oldest first.
    objects: [VecDeque<String>; 3],
    /// Namespaces whose own policy is gone for a while.
    without_rules: VecDeque<String>,
}

/// Indices of [`Passing::objects`] with how many of each there are, and in which rounds one more comes.
const PASSING: [(usize, u64); 3] = [(4, 16), (6, 12), (40, 3)];

/// What happens to a report.
enum Job {
    Create(Written),
    Rewrite(Written),
    Delete(Written),
}

impl Job {
    /// The status of the answer; 0 where there was none.
    async fn send(&self, api: &Api) -> u16 {
        let reply = match self {
            Self::Create(w) => {
                let whole = with(with(w.frame.clone(), "summary", summary(&w.results)), "results", w.results.clone().into());
                api.send("POST", w.path.rsplit_once('/').expect("a path").0, "application/json", Some(&whole)).await
            }
            Self::Rewrite(w) => {
                let patch = json!({"results": w.results, "summary": summary(&w.results)});
                api.send("PATCH", &w.path, "application/merge-patch+json", Some(&patch)).await
            }
            Self::Delete(w) => api.send("DELETE", &w.path, "application/json", None).await,
        };
        reply.map_or(0, |reply| status(&reply))
    }
}

/// The status; 0 where it says nothing of the object, as of a server that is starting and does not know the kind yet.
fn status(reply: &Reply) -> u16 {
    if reply.status == 404 && reply.body["reason"] != "NotFound" { 0 } else { reply.status }
}

impl Seeded<'_> {
    /// Writes about so many findings: two thirds of the reports with nothing but new timestamps, the others with some new results too. One report in
    /// twenty is deleted, and comes back a round later. Now and then a workload, a policy, an exception or an event comes, and the oldest goes.
    /// How many findings the server took.
    pub(crate) fn live(&mut self, findings: usize) -> usize {
        self.passing.round += 1;
        let mut jobs = std::mem::take(&mut self.absent).into_iter().map(Job::Create).collect::<Vec<_>>();
        let mut owed = self.passing.owed + i64::try_from(findings).expect("a small number");
        while owed > 0 && !self.reports.is_empty() {
            let chosen = self.random.index(self.reports.len());
            let mut report = self.reports.swap_remove(chosen);
            owed -= i64::try_from(report.results.len()).expect("a small number");
            if self.random.below(20) == 0 {
                jobs.push(Job::Delete(report));
            } else {
                self.scan(&mut report.results);
                jobs.push(Job::Rewrite(report));
            }
        }
        self.passing.owed = owed;
        let taken = self.carry_out(jobs);
        self.others_come_and_go();
        taken
    }

    /// Everything that was written is there again, after its kind was deleted and made again.
    pub(crate) fn restore(&mut self) {
        self.absent.append(&mut self.reports);
        super::super::eventually("the reports are written again", std::time::Duration::from_secs(120), || {
            let jobs = std::mem::take(&mut self.absent).into_iter().map(Job::Create).collect();
            self.carry_out(jobs);
            if self.absent.is_empty() { Ok(()) } else { Err(format!("{} are missing", self.absent.len())) }
        });
    }

    /// What a scan changes in a report.
    fn scan(&mut self, results: &mut [Value]) {
        let news = self.random.below(3) == 0;
        for result in results {
            result["timestamp"] = json!({"seconds": now(), "nanos": 0});
            if news && self.random.below(5) == 0 {
                result["result"] = self.random.result().into();
            }
        }
    }

    fn carry_out(&mut self, jobs: Vec<Job>) -> usize {
        let api = &self.cluster.api;
        let sent = futures::stream::iter(jobs).map(|job| async {
            let status = job.send(api).await;
            (job, status)
        });
        let mut taken = 0;
        for (job, status) in api.wait(sent.buffer_unordered(AT_ONCE).collect::<Vec<_>>()) {
            let (Job::Create(report) | Job::Rewrite(report) | Job::Delete(report)) = &job;
            if matches!(status, 200 | 201) {
                taken += report.results.len();
            }
            match job {
                Job::Create(report) if matches!(status, 201 | 409) => self.reports.push(report),
                Job::Delete(report) if matches!(status, 200 | 404) => self.absent.push(report),
                Job::Rewrite(report) if status == 404 => self.absent.push(report),
                Job::Create(report) => self.absent.push(report),
                Job::Rewrite(report) | Job::Delete(report) => self.reports.push(report),
            }
        }
        taken
    }

    fn others_come_and_go(&mut self) {
        let round = self.passing.round;
        for (which, (most, rounds)) in PASSING.into_iter().enumerate() {
            if round.is_multiple_of(rounds) {
                self.one_comes(which, most);
            }
        }
        if round.is_multiple_of(8) {
            self.workload_moves();
        }
        if round.is_multiple_of(14) {
            self.rules_go_or_return();
        }
        if round.is_multiple_of(10) {
            let mode = if self.random.below(2) == 0 { "Audit" } else { "Enforce" };
            let path = format!("/apis/kyverno.io/v1/clusterpolicies/{}", self.random.pick(&POLICIES).0);
            let _ = self.cluster.api.merge_patch(&path, &json!({"spec": {"validationFailureAction": mode}}));
        }
    }

    /// A policy, an exception or an event; the oldest goes where there are enough.
    fn one_comes(&mut self, which: usize, most: usize) {
        let api = &self.cluster.api;
        let name = format!("passing-{}", self.passing.round);
        let body = match which {
            0 => with(policy(&POLICIES[1], false), "metadata", json!({"name": name})),
            1 => json!({"apiVersion": "kyverno.io/v2", "kind": "PolicyException", "metadata": {"name": name, "namespace": "team-00"},
                "spec": {"match": {"any": [{"resources": {"kinds": ["Pod"], "names": ["legacy-*"]}}]},
                    "exceptions": [{"policyName": "require-labels", "ruleNames": ["check-for-labels"]}]}}),
            _ => refused(&name, self.things.first().map(super::Thing::reference).as_ref()),
        };
        let collection = match which {
            0 => "/apis/kyverno.io/v1/clusterpolicies",
            1 => "/apis/kyverno.io/v2/namespaces/team-00/policyexceptions",
            _ => "/api/v1/namespaces/default/events",
        };
        let objects = &mut self.passing.objects[which];
        if api.post(collection, &body).is_ok_and(|made| matches!(made.status, 201 | 409)) {
            objects.push_back(format!("{collection}/{name}"));
        }
        if objects.len() > most
            && let Some(oldest) = objects.pop_front()
            && !gone(api, &oldest)
        {
            objects.push_front(oldest);
        }
    }

    /// A workload goes with its reports, another comes with its own.
    fn workload_moves(&mut self) {
        let api = &self.cluster.api;
        let chosen = self.random.index(self.things.len());
        let (app, namespace) = (self.things[chosen].app().to_owned(), self.things[chosen].namespace.clone());
        let (going, staying) = std::mem::take(&mut self.things).into_iter().partition::<Vec<_>, _>(|thing| thing.app() == app);
        self.things = staying;
        for thing in going {
            if !gone(api, &format!("{}/{}", thing.collection(), thing.name)) {
                self.things.push(thing);
                continue;
            }
            let foreign = format!("trivy-vuln-{}", thing.name);
            let about = |report: &Written| {
                let name = &report.frame["metadata"]["name"];
                *name == *thing.uid || *name == *foreign
            };
            let (theirs, others) = std::mem::take(&mut self.reports).into_iter().partition::<Vec<_>, _>(about);
            self.reports = others;
            self.absent.retain(|report| !about(report));
            for report in theirs {
                if !gone(api, &report.path) {
                    self.reports.push(report);
                }
            }
        }
        let known = self.things.len();
        self.workload(&namespace);
        let new = self.things[known..].to_vec();
        for shape in self.passing.shapes.clone() {
            if shape != Shape::Policy {
                let bodies = self.bodies(shape, &new);
                self.absent.extend(bodies.iter().map(super::written));
            }
        }
    }

    /// A namespace loses its own policy, whose results are stale then, or has it again.
    fn rules_go_or_return(&mut self) {
        let api = &self.cluster.api;
        let collection = |namespace: &str| format!("/apis/kyverno.io/v1/namespaces/{namespace}/policies");
        if let Some(namespace) = self.passing.without_rules.pop_front() {
            if !api.post(&collection(&namespace), &own_rules(&namespace)).is_ok_and(|made| matches!(made.status, 201 | 409)) {
                self.passing.without_rules.push_front(namespace);
            }
        } else {
            let namespace = self.random.pick(&self.things).namespace.clone();
            if gone(api, &format!("{}/own-rules", collection(&namespace))) {
                self.passing.without_rules.push_back(namespace);
            }
        }
    }
}

impl super::Thing {
    /// The workload that it belongs to: `payments-1f2e3d` of `payments-1f2e3d-5d9c-0`.
    fn app(&self) -> &str {
        self.name.match_indices('-').nth(1).map_or(&self.name, |(end, _)| &self.name[..end])
    }
}

/// Deletes; whether it is gone now.
fn gone(api: &Api, path: &str) -> bool {
    api.delete(path).is_ok_and(|reply| matches!(status(&reply), 200 | 404))
}

/// An event of a refused admission.
fn refused(name: &str, resource: Option<&Value>) -> Value {
    json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "default"}, "type": "Warning", "count": 1,
        "involvedObject": {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "name": "restrict-registries"}, "related": resource,
        "reason": "PolicyViolation", "action": "Resource Blocked", "message": "[validate-registries] fail (blocked); Unknown image registry.",
        "reportingComponent": "kyverno-admission", "reportingInstance": "kyverno-admission-1"})
}
