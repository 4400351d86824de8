//! One route to the LUN: its session, probing, health and reconnects.
