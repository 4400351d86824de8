//! The comparison by reservation key: what is registered over one path is seen over the other.
//!
//! A random key is registered over the path (REGISTER, own key 0). READ KEYS over the reference shows it: one
//! unit. It does not, and READ KEYS over the path shows it still: the two see different registrations at the
//! same time, so there are two units. The key is removed before anything is concluded.
//!
//! A nexus that is registered already refuses that (RESERVATION CONFLICT). If the key is one of ours that a
//! killed process or a lost session left, it is replaced. Else somebody uses reservations: then the lists of
//! keys with their generation are compared, path, reference, path. Two lists that differ between two that do
//! not are two units; equal lists are not enough (cluster software registers the same keys on all disks of a
//! host), and blocks are compared as well.

use crate::scsi::reservation::{RegisteredKeys, ReservationKey};
use crate::scsi::sense::{Sense, SenseKey};
use crate::scsi::verdict::status;
use crate::task::Completion;

use super::keys::{Keys, NONE, Registered};
use super::{Ask, Basis, Finding, Matter, Step};

/// Bytes of READ KEYS data that are asked for first: 511 keys.
const ALLOCATION: u16 = 4096;

/// Registrations that change while they are compared are compared again so often.
const TRIES_MAX: u32 = 4;

#[derive(Debug)]
enum Stage {
    /// REGISTER is under way.
    Register,
    /// The nexus has a key: whose?
    Whose,
    /// Is the key seen over the reference?
    Seen,
    /// It is not. Is it still registered?
    Still,
    /// Somebody else's registrations: those that the path saw, and those that the reference did.
    Theirs(RegisteredKeys, Option<RegisteredKeys>),
    /// The key is being removed.
    Remove(Finding),
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct ByKey {
    stage: Stage,
    key: ReservationKey,
    allocation: u16,
    tries: u32,
    /// What REGISTER said that is registered.
    own: ReservationKey,
    /// Leftovers were looked for.
    looked: bool,
}

impl ByKey {
    pub(super) fn begin(keys: &mut Keys) -> (Self, Step) {
        let mut new = Self {
            stage: Stage::Register,
            key: keys.fresh(),
            allocation: ALLOCATION,
            tries: 0,
            own: NONE,
            looked: false,
        };
        let step = new.register(keys);
        (new, step)
    }

    fn register(&mut self, keys: &Keys) -> Step {
        self.stage = Stage::Register;
        self.own = keys.own();
        Step::Own(Ask::Register {
            own: self.own,
            new: self.key,
        })
    }

    fn read(&self) -> Ask {
        Ask::Keys {
            allocation: self.allocation,
        }
    }

    fn ask_reference(&self) -> Step {
        Step::Reference(Matter::Keys {
            allocation: self.allocation,
        })
    }

    /// Removes the key, if there is one, and concludes that.
    fn finish(&mut self, keys: &Keys, finding: Finding) -> Step {
        if !keys.any() {
            return Step::Done(finding);
        }
        self.stage = Stage::Remove(finding);
        Step::Own(Ask::Register {
            own: keys.own(),
            new: NONE,
        })
    }

    /// Nobody is left to compare with.
    pub(super) fn give_up(&mut self, keys: &Keys, why: String) -> Step {
        self.finish(keys, Finding::open(why))
    }

    /// Registrations that come and go while they are looked at.
    fn again(&mut self, keys: &mut Keys) -> Step {
        self.tries += 1;
        if self.tries >= TRIES_MAX {
            let why = "registrations of other initiators change all the time".to_owned();
            return self.finish(keys, Finding::open(why));
        }
        self.key = keys.fresh();
        self.register(keys)
    }

    /// The target answered a command of the path; REGISTER is accounted for in `keys` already.
    pub(super) fn on_own(
        &mut self,
        keys: &mut Keys,
        said: Registered,
        answer: &Completion,
    ) -> Step {
        match std::mem::replace(&mut self.stage, Stage::Register) {
            Stage::Register => match said {
                Registered::Good => {
                    self.stage = Stage::Seen;
                    self.ask_reference()
                }
                Registered::Conflict if self.own != NONE => self.register(keys),
                Registered::Conflict => {
                    self.stage = Stage::Whose;
                    Step::Own(self.read())
                }
                Registered::Refused => Step::Done(Finding::never(no_reservations(answer))),
            },
            Stage::Whose => self.on_whose(keys, answer),
            Stage::Seen => {
                self.stage = Stage::Seen;
                self.ask_reference()
            }
            Stage::Still => match list(answer) {
                Ok(list) if self.is_cut(&list) => {
                    self.stage = Stage::Still;
                    Step::Own(self.read())
                }
                Ok(list) if list.keys.contains(&self.key) => {
                    let why =
                        "a reservation key that was registered over this path is not seen over";
                    self.finish(keys, Finding::Different(why.to_owned()))
                }
                // Somebody removed it, so nothing was shown.
                Ok(_) => self.again(keys),
                Err(why) => self.finish(keys, Finding::never(why)),
            },
            Stage::Theirs(mine, theirs) => self.on_theirs(keys, &mine, theirs, answer),
            Stage::Remove(finding) => Step::Done(finding),
        }
    }

    /// The nexus has a key: one of ours is replaced.
    fn on_whose(&mut self, keys: &mut Keys, answer: &Completion) -> Step {
        match list(answer) {
            Ok(list) if self.is_cut(&list) => {
                self.stage = Stage::Whose;
                Step::Own(self.read())
            }
            Ok(list) => {
                let first = !std::mem::replace(&mut self.looked, true);
                keys.recognise(&list);
                if first && keys.any() {
                    return self.register(keys);
                }
                self.stage = Stage::Theirs(list, None);
                self.ask_reference()
            }
            Err(why) => Step::Done(Finding::never(why)),
        }
    }

    /// The path has read the list again.
    fn on_theirs(
        &mut self,
        keys: &mut Keys,
        mine: &RegisteredKeys,
        theirs: Option<RegisteredKeys>,
        answer: &Completion,
    ) -> Step {
        let (Ok(now), Some(theirs)) = (list(answer), theirs) else {
            let why = "the target stopped telling registered keys".to_owned();
            return Step::Done(Finding::never(why));
        };
        if !same_list(&now, mine) {
            return self.again(keys);
        }
        if same_list(&theirs, mine) {
            let why = "reservations are in use over this path, and its registrations are those of";
            return Step::Done(Finding::never(why.to_owned()));
        }
        let why = "the registered reservation keys over this path are not those over";
        Step::Done(Finding::Different(why.to_owned()))
    }

    /// The target answered over the reference.
    pub(super) fn on_reference(&mut self, keys: &Keys, answer: &Completion) -> Step {
        let list = match list(answer) {
            Ok(list) if self.is_cut(&list) => return self.ask_reference(),
            Ok(list) => list,
            Err(why) => return self.finish(keys, Finding::never(why)),
        };
        match std::mem::replace(&mut self.stage, Stage::Register) {
            Stage::Seen if list.keys.contains(&self.key) => {
                self.finish(keys, Finding::Same(Basis::Reservation))
            }
            Stage::Theirs(mine, _) => {
                self.stage = Stage::Theirs(mine, Some(list));
                Step::Own(self.read())
            }
            Stage::Register | Stage::Whose | Stage::Seen | Stage::Still | Stage::Remove(_) => {
                self.stage = Stage::Still;
                Step::Own(self.read())
            }
        }
    }

    /// Whether the list is longer than was asked for: then it is asked for as a whole.
    fn is_cut(&mut self, list: &RegisteredKeys) -> bool {
        let needed = u16::try_from(list.needed).unwrap_or(u16::MAX);
        let cut = needed > self.allocation;
        self.allocation = self.allocation.max(needed);
        cut
    }
}

fn same_list(a: &RegisteredKeys, b: &RegisteredKeys) -> bool {
    let sorted = |list: &RegisteredKeys| {
        let mut keys = list.keys.clone();
        keys.sort_unstable();
        keys
    };
    a.generation == b.generation && sorted(a) == sorted(b)
}

pub(super) fn list(answer: &Completion) -> Result<RegisteredKeys, String> {
    if answer.status != status::GOOD {
        return Err(no_reservations(answer));
    }
    RegisteredKeys::parse(&answer.data.to_bytes()).map_err(|error| error.to_string())
}

/// The target does not know the command, rather than not carry it out now.
pub(super) fn is_for_good(answer: &Completion) -> bool {
    let sense = Sense::parse(&answer.sense);
    answer.status == status::GOOD
        || sense.is_some_and(|sense| sense.key == SenseKey::IllegalRequest)
}

fn no_reservations(answer: &Completion) -> String {
    let said = crate::path::probe::describe(answer);
    format!("the target takes no persistent reservations here: {said}")
}
