//! The merged LUN: splitting, ordering, failover and fences.
