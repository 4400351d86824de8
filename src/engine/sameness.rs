//! Carries questions between a path whose unit is compared and the one that it is compared with.

use std::time::Instant;

use crate::path::Matter;

use super::{Engine, path_id};

impl Engine {
    /// Carries what paths ask each other, and tells those that are being compared how the others are; whether
    /// there was anything.
    pub(super) fn carry_testimony(&mut self, now: Instant) -> bool {
        let mut news = false;
        for index in 0..self.paths.len() {
            if self.paths[index].is_comparing() {
                self.tell_surroundings(path_id(index));
                self.paths[index].go_on_comparing(now);
                news |= !self.paths[index].is_comparing();
            }
            while let Some((reference, question)) = self.paths[index].poll_question() {
                news = true;
                if let Matter::Blocks {
                    range,
                    watched: true,
                    ..
                } = question.matter
                {
                    self.volume.watch(path_id(index), range);
                }
                self.path_mut(reference)
                    .testify(now, path_id(index), question);
            }
            while let Some((asker, testimony)) = self.paths[index].poll_testimony() {
                news = true;
                let undisturbed = self.volume.is_undisturbed(asker);
                self.path_mut(asker)
                    .on_testimony(now, testimony, undisturbed);
                if !self.path(asker).is_comparing() {
                    self.volume.watch_no_more(asker);
                }
            }
        }
        let distrusted = self.paths.iter().filter(|path| path.is_distrusted());
        let distrusted = distrusted.count();
        if distrusted != std::mem::replace(&mut self.distrusted, distrusted) {
            self.actions.push_back(super::Action::PathsUsed);
        }
        news
    }

    /// Paths that led to another unit, with the volume's identifiers, when they were last compared.
    #[must_use]
    pub fn distrusted_paths(&self) -> Vec<crate::ids::PathId> {
        let distrusted = self.ids().filter(|id| self.path(*id).is_distrusted());
        distrusted.collect()
    }

    /// What an earlier run found out about these paths counts; unless it leaves none.
    pub(super) fn distrust(&mut self, paths: &[crate::ids::PathId]) {
        let all = self.order.iter().all(|path| paths.contains(path));
        if all && !paths.is_empty() {
            tracing::warn!(
                "an earlier run found all of these paths to lead to another logical unit than the volume's, and no \
                 path is left to compare them with: the first that comes up counts"
            );
            return;
        }
        for path in paths {
            self.path_mut(*path).distrust();
        }
    }
}
