//! Reports of every shape under the CRDs of many releases, written and churned while policydeck follows: its numbers are those of a recount.

use crate::support::beside;
use crate::support::cluster::{Cluster, Fleet, Options, User, crds};
use crate::support::product::Desk;
use crate::support::seed::{Seeded, Shape};
use std::path::PathBuf;
use std::time::Duration;

const SHAPES: [Shape; 4] = [Shape::Policy, Shape::Resource, Shape::OpenReports, Shape::Foreign];

/// Two cores, four servers, some hundred reports: seconds, with room.
const QUIET: Duration = Duration::from_secs(60);

#[test]
fn all_shapes_count_right_under_the_crds_of_many_releases() {
    let built = [("k113", crds("kyverno-1.13.4")), ("k118", crds("kyverno-1.18.2"))];
    let others = [("k112", "crds/kyverno-1.12.7"), ("k115", "crds/kyverno-1.15.3")];
    let others = others.into_iter().filter_map(|(name, folder)| Some((name, beside(folder)?)));
    let releases: Vec<(&str, PathBuf)> = built.into_iter().chain(others).collect();
    let names: Vec<&str> = releases.iter().map(|(name, _)| *name).collect();
    let Some(fleet) = Fleet::start(&names, Options::default()) else { return };
    let desk = Desk::new(&fleet, User::Admin, "");
    // Started before anything is there: kinds appear, then policies, then reports.
    let mut watch = desk.watch(&["status", "--watch"]);
    let clusters: Vec<&Cluster> = fleet.clusters().iter().collect();

    let mut seeds = Vec::new();
    for ((name, folder), seed) in releases.iter().zip(1..) {
        let cluster = fleet.cluster(name);
        cluster.install_crds(folder);
        cluster.install_crds(&crds("openreports"));
        let mut seeded = Seeded::new(cluster, 3, 3, seed);
        for shape in SHAPES {
            seeded.reports(shape);
        }
        seeded.oddities();
        seeds.push(seeded);
    }
    watch.until_true("what was followed from nothing is true", QUIET, &clusters);
    for seeded in &mut seeds {
        seeded.churn(120);
    }
    watch.until_true("what was followed through churn is true", QUIET, &clusters);
    desk.assert_true(&fleet);

    // A whole namespace goes, as the namespace controller would do it: objects first, one by one, reports among them.
    for cluster in &clusters {
        cluster.kubectl(&["delete", "policyreports.wgpolicyk8s.io,reports.openreports.io,policies.kyverno.io", "--all", "-n", "team-01"]);
        cluster.kubectl(&["delete", "clusterpolicy", "require-labels"]);
    }
    watch.until_true("what was deleted is not counted, and results of a deleted policy are stale", QUIET, &clusters);
    desk.assert_true(&fleet);
}
