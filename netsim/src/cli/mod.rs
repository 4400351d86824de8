//! The subcommands of the program.

pub(crate) mod compare;
pub(crate) mod demo;
pub(crate) mod fault;
pub(crate) mod folder;
pub(crate) mod proxy;
pub(crate) mod run;
pub(crate) mod swarm;
pub(crate) mod target;
