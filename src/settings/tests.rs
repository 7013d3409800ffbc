//! Texts of configurations and kubeconfigs that are wrong in any way.

mod generated;
