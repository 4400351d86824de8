//! Taking over a changed configuration file while the volumes work.
//!
//! The file is read and checked as a whole, and what can be refused is tried first: addresses are bound,
//! state is read, settings are assembled. Until then nothing has changed, and any mistake leaves
//! everything as it was. Then volumes that are gone are stopped, volumes that stay take their differences
//! over, and new ones are started.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use crate::config::diff::{self, Diff};
use crate::config::show::Effective;
use crate::config::{self, Listen};
use crate::control::Refusal;
use crate::control::reload::{ReloadChange, ReloadEffect, ReloadReport};
use crate::shell::config_file;
use crate::shell::nbd_bind::BoundListener;

use super::assemble::{self, Assembled};
use super::volume::{self, Prepared, Running};
use super::{Board, StartError};

/// All that could be refused, done.
#[derive(Default)]
struct Ready {
    /// Volumes that are to be stopped.
    removed: Vec<Arc<Running>>,
    changed: Vec<Changed>,
    added: Vec<Prepared>,
    /// Addresses that another volume still has: bound when it has let go of them.
    later: Vec<(String, Listen)>,
}

struct Changed {
    running: Arc<Running>,
    config: config::Volume,
    assembled: Assembled,
    opened: Vec<(Listen, BoundListener)>,
    closed: Vec<Listen>,
    why: String,
}

/// Takes the changed file over to the end, whoever goes on waiting for it.
pub(super) async fn reload(board: &Arc<Board>, dry_run: bool) -> Result<ReloadReport, Refusal> {
    let board = Arc::clone(board);
    let task = tokio::spawn(async move {
        let done = board.take_over(dry_run).await;
        if !dry_run {
            board.log(&done);
        }
        done
    });
    task.await.unwrap_or(Err(Refusal::Busy))
}

impl Board {
    /// Reads the configuration's file again and takes it over; with `dry_run` it is only told what would
    /// change.
    ///
    /// # Errors
    /// The file has mistakes, or something in it is not possible: nothing was changed.
    async fn take_over(&self, dry_run: bool) -> Result<ReloadReport, Refusal> {
        let Some(file) = self.file.clone() else {
            let why = "the daemon was started without a configuration file".to_owned();
            return Err(Refusal::NotPossible { why });
        };
        let mut current = self.current.lock().await;
        if self.stop.is_cancelled() {
            return Err(Refusal::Busy);
        }
        let name = file.display().to_string();
        let wanted = tokio::task::spawn_blocking(move || config_file::explain(&file)).await;
        let wanted = wanted.map_err(|_| Refusal::Busy)?;
        let wanted = wanted.map_err(|errors| {
            let mistakes = errors.to_string();
            Refusal::Mistakes {
                mistakes: mistakes.lines().map(str::to_owned).collect(),
            }
        })?;
        let diff = diff::diff(&current, wanted);
        let mut report = ReloadReport {
            file: name,
            dry_run,
            changes: diff.changes.iter().map(told).collect(),
            problems: Vec::new(),
        };
        if dry_run {
            return Ok(report);
        }
        let ready = self.prepare(&diff, &current).map_err(|error| {
            let why = error.to_string();
            Refusal::NotPossible { why }
        })?;
        let mut effective = diff.effective;
        report.problems = self.carry_out(ready, &current, &mut effective).await;
        *current = effective;
        Ok(report)
    }

    fn running(&self, name: &str) -> Option<Arc<Running>> {
        let volumes = self.volumes();
        volumes.into_iter().find(|volume| volume.name() == name)
    }

    fn prepare(&self, diff: &Diff, current: &Effective) -> Result<Ready, StartError> {
        let (old, new) = (&current.config, &diff.effective.config);
        let ours: BTreeSet<&Listen> = listens(old).collect();
        let mut ready = Ready::default();
        for volume in &old.volumes {
            if new.volume(&volume.name).is_none() {
                ready.removed.extend(self.running(&volume.name));
            }
        }
        for volume in &new.volumes {
            let before = old.volume(&volume.name);
            let had = before.map_or(&[][..], |before| &before.export.nbd);
            let fresh = |listen: &&Listen| !had.contains(listen);
            let later = volume.export.nbd.iter().filter(fresh);
            let later = later.filter(|listen| ours.contains(listen));
            ready
                .later
                .extend(later.map(|listen| (volume.name.clone(), listen.clone())));
            match (before, self.running(&volume.name)) {
                (Some(before), Some(running)) if before != volume => {
                    let mut changed = self.prepare_change(running, before, volume, &ours)?;
                    changed.why = diff.of(&volume.name);
                    ready.changed.push(changed);
                }
                (Some(_), Some(_)) => {}
                (None, _) | (_, None) => {
                    let free = |listen: &Listen| !ours.contains(listen);
                    let prepared = volume::prepare(&new.daemon, volume, &self.dir, free)?;
                    ready.added.push(prepared);
                }
            }
        }
        Ok(ready)
    }

    fn prepare_change(
        &self,
        running: Arc<Running>,
        before: &config::Volume,
        volume: &config::Volume,
        ours: &BTreeSet<&Listen>,
    ) -> Result<Changed, StartError> {
        let (had, has) = (&before.export.nbd, &volume.export.nbd);
        let state = running.memory.state();
        let daemon = &self.daemon;
        let assembled = assemble::assemble(daemon, volume, &state, false, false);
        let assembled = assembled.map_err(|error| StartError::Assemble {
            volume: volume.name.clone(),
            error,
        })?;
        let new = has.iter().filter(|listen| !ours.contains(listen));
        let opened = new
            .map(|listen| Ok((listen.clone(), volume::bind(&volume.name, listen)?)))
            .collect::<Result<_, StartError>>()?;
        let gone = had.iter().filter(|listen| !has.contains(listen));
        Ok(Changed {
            running,
            config: volume.clone(),
            assembled,
            opened,
            closed: gone.cloned().collect(),
            why: String::new(),
        })
    }

    /// What could not be done is told, and the rest is done. What did not change in the end has its old
    /// configuration in `effective`.
    async fn carry_out(
        &self,
        ready: Ready,
        old: &Effective,
        effective: &mut Effective,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        for change in ready.changed {
            let Changed {
                running,
                config,
                assembled,
                opened,
                closed,
                why,
            } = change;
            if let Err(error) = running.change(&config, assembled, why).await {
                problems.push(error.to_string());
                effective.put_back(old, &config.name);
                continue;
            }
            for listen in closed {
                running.close(&listen).await;
            }
            for (listen, bound) in opened {
                running.open(listen, bound);
            }
        }
        self.forget(&ready.removed);
        let stopped = ready.removed.iter().map(|volume| volume.stop());
        for (volume, clean) in ready
            .removed
            .iter()
            .zip(futures::future::join_all(stopped).await)
        {
            if !clean {
                let name = volume.name();
                problems.push(format!(
                    "volume {name}: it did not stop cleanly (see the log)"
                ));
            }
        }
        for prepared in ready.added {
            if let Err(error) = self.launch(prepared) {
                problems.push(error.to_string());
            }
        }
        for (volume, listen) in ready.later {
            let bound = volume::bind(&volume, &listen);
            match (bound, self.running(&volume)) {
                (Ok(bound), Some(running)) => running.open(listen, bound),
                (Ok(_), None) => {}
                (Err(error), _) => problems.push(error.to_string()),
            }
        }
        problems
    }

    fn forget(&self, removed: &[Arc<Running>]) {
        let gone = |volume: &Arc<Running>| removed.iter().any(|gone| Arc::ptr_eq(gone, volume));
        let mut volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        volumes.retain(|volume| !gone(volume));
    }

    /// Says in the log what came of it.
    fn log(&self, done: &Result<ReloadReport, Refusal>) {
        let file = self.file.as_ref().map(|file| file.display().to_string());
        let file = file.unwrap_or_default();
        match done {
            Ok(report) => {
                if report.changes.is_empty() {
                    tracing::info!(file, "configuration read again: nothing has changed");
                }
                for change in &report.changes {
                    tracing::info!(file, change = %change, "configuration changed");
                }
                for problem in &report.problems {
                    tracing::warn!(file, problem, "configuration not wholly taken over");
                }
            }
            Err(Refusal::Mistakes { mistakes }) => {
                for mistake in mistakes {
                    tracing::warn!(mistake, "configuration not taken over: nothing has changed");
                }
            }
            Err(refusal) => {
                tracing::warn!(file, %refusal, "configuration not taken over: nothing has changed");
            }
        }
    }
}

fn listens(config: &config::Config) -> impl Iterator<Item = &Listen> {
    config.volumes.iter().flat_map(|volume| &volume.export.nbd)
}

/// As the control protocol has it.
fn told(change: &diff::Change) -> ReloadChange {
    ReloadChange {
        volume: change.volume.clone(),
        what: change.what.to_string(),
        effect: match change.effect {
            diff::Effect::Now => ReloadEffect::Now,
            diff::Effect::NextLogin => ReloadEffect::NextLogin,
            diff::Effect::NewClients => ReloadEffect::NewClients,
            diff::Effect::Restart => ReloadEffect::Restart,
        },
    }
}
