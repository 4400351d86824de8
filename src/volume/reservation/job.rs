//! What an administrator asks for, over all paths, one thing at a time.
//!
//! - A key is registered over every path that is up, or over none: where one refuses, those that did not
//!   are undone. Paths that are down register it when they come back.
//! - RESERVE goes over one path, which is then the holder. Only the holder's nexus can RELEASE, and the
//!   path may be gone, or be another nexus since (tgt). So a release goes over all paths; if the unit is
//!   reserved by us after that, the reservation is *taken over*: a path preempts the holder's key, which
//!   makes it the holder, and releases. Where all paths have one key, they take another one before, so that
//!   no path in use loses its registration, and take the first again after.
//! - While a job runs, no path joins; it begins when none is about to.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::ids::PathId;
use crate::path::message::Standing;
use crate::scsi::reservation::{
    HeldReservation, RegisteredKeys, ReservationKey, ReservationType, parameter_list,
};
use crate::task::{Completion, TaskAttribute};

use super::plan::{Deed, ReservationAsk, Step};
use super::said::Said;
use super::{Bearer, PATH_BITS, RememberedKey};
use crate::volume::Volume;

/// All of it may take so long, and undoing it so long again.
const LIMIT: Duration = Duration::from_secs(8);

/// Before a command is sent again that was answered with "not now".
const PAUSE: Duration = Duration::from_millis(200);

/// Unit attentions in a row that one command meets.
const ATTENTIONS_MAX: u32 = 32;

/// An answer to who asked under that number: the state, or why it was not done.
pub(in crate::volume) type Answered = (u64, Result<ReservationStatus, String>);

/// Whether a path is registered with the volume's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It is.
    Yes,
    /// It is up and is not.
    No,
    /// It has no session in use: it registers before it has.
    Down,
}

/// A path's registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRegistration {
    /// The path.
    pub path: PathId,
    /// The key that is meant for it, if the volume has one.
    pub key: Option<ReservationKey>,
    /// Whether it has it.
    pub registered: Registered,
    /// Why not; empty if there is nothing to say.
    pub why: String,
}

/// What is known of the unit's reservations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservationStatus {
    /// The volume's key.
    pub key: Option<RememberedKey>,
    /// The keys that the target told, one for each registered nexus; `None` if it told none.
    pub keys: Option<Vec<ReservationKey>>,
    /// The holder's key and the code of the reservation's type; `None`: nothing is reserved, or unknown.
    pub held: Option<(ReservationKey, u8)>,
    /// The paths.
    pub paths: Vec<PathRegistration>,
    /// What else there is to say.
    pub notes: Vec<String>,
}

/// See the module.
#[derive(Debug)]
pub(in crate::volume) struct Job {
    pub(super) id: u64,
    pub(super) ask: ReservationAsk,
    pub(super) deadline: Instant,
    pub(super) started: bool,
    pub(super) undoing: bool,
    pub(super) committed: bool,
    pub(super) plan: VecDeque<Step>,
    pub(super) doing: Option<(PathId, Deed)>,
    pub(super) attentions: u32,
    pub(super) again_at: Option<Instant>,
    /// What PRGENERATION was at least when the command was sent.
    pub(super) floor: u32,
    /// Keys that paths were given in its course.
    pub(super) rekeyed: BTreeMap<PathId, ReservationKey>,
    pub(super) keys: Option<Vec<ReservationKey>>,
    pub(super) held: Option<(ReservationKey, u8)>,
    /// Of the reservation that was made or taken over.
    pub(super) kind: Option<ReservationType>,
    pub(super) notes: Vec<String>,
    pub(super) failure: Option<String>,
}

impl Job {
    fn new(now: Instant, id: u64, ask: ReservationAsk) -> Self {
        Self {
            id,
            ask,
            deadline: now + LIMIT,
            started: false,
            undoing: false,
            committed: false,
            plan: VecDeque::new(),
            doing: None,
            attentions: 0,
            again_at: None,
            floor: 0,
            rekeyed: BTreeMap::new(),
            keys: None,
            held: None,
            kind: None,
            notes: Vec::new(),
            failure: None,
        }
    }

    /// When it has to be looked after.
    pub(super) fn next_at(&self) -> Instant {
        self.again_at
            .map_or(self.deadline, |at| at.min(self.deadline))
    }

    pub(super) fn then(&mut self, steps: impl IntoIterator<Item = Step>) {
        self.plan.extend(steps);
    }
}

impl Volume {
    /// An administrator asks for something; [`Volume::poll_reservation`] answers with the number.
    pub fn ask_reservation(&mut self, now: Instant, id: u64, ask: ReservationAsk) {
        match self.refuse_ask(&ask) {
            Some(why) => self.reservation.answers.push_back((id, Err(why))),
            None => {
                self.reservation.job = Some(Job::new(now, id, ask));
                self.check_job(now);
            }
        }
    }

    /// The next answer, with the number of its question.
    pub fn poll_reservation(&mut self) -> Option<(u64, Result<ReservationStatus, String>)> {
        self.reservation.answers.pop_front()
    }

    /// Why something cannot be done, whatever the target says.
    fn refuse_ask(&self, ask: &ReservationAsk) -> Option<String> {
        let reservation = &self.reservation;
        if reservation.job.is_some() {
            return Some(
                "another change of reservations is under way: try again when it is done".into(),
            );
        }
        if !self
            .roster
            .iter()
            .any(|(_, route)| route.standing.is_usable())
        {
            return Some("no path is up".into());
        }
        let no_key = match reservation.key {
            None => Some("no key is registered: `register` one first".to_owned()),
            Some(key) if key.preempted => Some(format!(
                "our registration of {} was removed by somebody else: `register` a key again first",
                key.key
            )),
            Some(_) => None,
        };
        match *ask {
            ReservationAsk::Show => None,
            ReservationAsk::Unregister if reservation.key.is_some() => None,
            ReservationAsk::Register { key } => self.refuse_key(key),
            ReservationAsk::Reserve { kind } => no_key.or_else(|| self.refuse_kind(kind)),
            ReservationAsk::Preempt { key, .. } => {
                no_key.or_else(|| refuse_victim(reservation, key))
            }
            ReservationAsk::Unregister | ReservationAsk::Release | ReservationAsk::Clear => no_key,
        }
    }

    fn refuse_key(&self, key: ReservationKey) -> Option<String> {
        let reservation = &self.reservation;
        let configured = reservation.key.filter(|_| reservation.configured);
        match configured {
            _ if key.0 == 0 => Some("0 is no key".into()),
            Some(known) if known.key != key => Some(format!(
                "the configuration has reservation_key = \"{}\": no other key may be registered",
                known.key
            )),
            _ if reservation.preempt_abort && key.0 & PATH_BITS != 0 => Some(format!(
                "with the fence preempt-abort the low 16 bits of the key carry the path's number and must be 0: {} would do",
                ReservationKey(key.0 & !PATH_BITS)
            )),
            _ => None,
        }
    }

    fn refuse_kind(&self, kind: ReservationType) -> Option<String> {
        let paths = self.roster.iter().filter(|(_, route)| !route.retiring);
        let paths = paths.count();
        (kind.is_for_one_nexus() && paths > 1).then(|| {
            format!(
                "a reservation of type {kind} has one nexus as its only user, and each of the volume's {paths} paths is \
                 a nexus of its own: the others could not carry I/O; use {kind}-registrants-only or {kind}-all-registrants"
            )
        })
    }

    /// Begins a job that waits, and looks after one that runs.
    pub(super) fn check_job(&mut self, now: Instant) {
        let idle = self.reservation.sequences.is_empty() && self.reservation.fences.is_empty();
        let Some(job) = &mut self.reservation.job else {
            return;
        };
        if job.deadline <= now {
            let (started, doing) = (job.started, job.doing);
            self.forget_errand(Bearer::Job);
            let why = match doing {
                Some((path, deed)) => {
                    format!("{}: no answer to {}", self.names.of(path), deed.name())
                }
                None if started => "it took too long".to_owned(),
                None => "a path is about to be registered, or fenced: try again".to_owned(),
            };
            return self.fail_job(now, why);
        }
        if !job.started {
            if idle {
                job.started = true;
                match self.plan_job() {
                    true => self.run_job(now),
                    false => self.fail_job(now, "no path is up".to_owned()),
                }
            }
        } else if job.again_at.is_some_and(|at| at <= now) {
            self.send_deed();
        }
    }

    /// Paths that commands go over, the best one first: of a volume with a key only those that have it.
    pub(super) fn usable(&self) -> Vec<PathId> {
        let known = self.reservation.in_force().is_some();
        let usable = self
            .roster
            .iter()
            .filter(|(_, route)| route.standing.is_usable());
        let usable = usable.filter(|(path, _)| !known || self.reservation.is_enrolled(*path));
        let mut usable: Vec<(bool, PathId)> = usable
            .map(|(path, route)| (route.rank() != Standing::Ready, path))
            .collect();
        usable.sort_unstable();
        usable.into_iter().map(|(_, path)| path).collect()
    }

    /// Every path that is up, whatever is registered.
    pub(super) fn up(&self) -> Vec<PathId> {
        let up = self.roster.iter();
        up.filter(|(_, route)| route.standing.is_usable())
            .map(|(path, _)| path)
            .collect()
    }

    /// `false`: there is no path to do it over.
    fn plan_job(&mut self) -> bool {
        let (usable, up) = (self.usable(), self.up());
        let first = usable.first().or_else(|| up.first()).copied();
        let preempt_abort = self.reservation.preempt_abort;
        let (Some(first), Some(job)) = (first, &mut self.reservation.job) else {
            return false;
        };
        let look = Step::Do(first, Deed::ReadReservation);
        match job.ask {
            ReservationAsk::Show => job.then([Step::Commit]),
            ReservationAsk::Register { key } => {
                let key = RememberedKey::new(key, preempt_abort);
                job.then([Step::Do(first, Deed::Capabilities)]);
                job.then(up.iter().map(|p| Step::Do(*p, Deed::Register(key.of(*p)))));
                job.then([Step::Commit]);
            }
            ReservationAsk::Unregister => {
                let none = Deed::Register(ReservationKey(0));
                job.then(usable.iter().map(|path| Step::Do(*path, none)));
                job.then([Step::Commit]);
            }
            ReservationAsk::Reserve { kind } => {
                job.kind = Some(kind);
                job.then([Step::Do(first, Deed::Reserve(kind)), Step::Commit]);
            }
            ReservationAsk::Release => job.then([look, Step::JudgeRelease]),
            ReservationAsk::Preempt { key, abort } => {
                let victim = key;
                job.then([look, Step::JudgePreempt { victim, abort }]);
            }
            ReservationAsk::Clear => job.then([Step::Do(first, Deed::Clear), Step::Commit]),
        }
        true
    }

    fn run_job(&mut self, now: Instant) {
        while let Some(job) = &mut self.reservation.job {
            let Some(step) = job.plan.pop_front() else {
                return self.finish_job();
            };
            let decided = match step {
                Step::Do(path, deed) => {
                    job.doing = Some((path, deed));
                    job.attentions = 0;
                    return self.send_deed();
                }
                Step::JudgeConflict(kind) => self.judge_conflict(kind),
                Step::JudgeRelease => self.judge_release(),
                Step::JudgeReleased(kind) => self.judge_released(kind),
                Step::TakeOver(kind, holder) => self.take_over(kind, holder),
                Step::JudgePreempt { victim, abort } => self.judge_preempt(victim, abort),
                Step::Commit => self.commit(now),
            };
            if let Err(why) = decided {
                self.fail_job(now, why);
            }
        }
    }

    /// The key that a path is registered with now.
    pub(super) fn own_key(&self, path: PathId) -> ReservationKey {
        let job = self.reservation.job.as_ref();
        let given = job.and_then(|job| job.rekeyed.get(&path)).copied();
        let enrolled = self.reservation.is_enrolled(path);
        let known = self.reservation.key.filter(|_| enrolled);
        given
            .or_else(|| known.map(|key| key.of(path)))
            .unwrap_or(ReservationKey(0))
    }

    fn send_deed(&mut self) {
        let floor = self.reservation.generation;
        let Some(job) = &mut self.reservation.job else {
            return;
        };
        (job.again_at, job.floor) = (None, floor);
        let Some((path, deed)) = job.doing else {
            return;
        };
        let (command, key) = deed.command();
        let list = match deed {
            Deed::Register(_) | Deed::Restore(_) => self.registration(ReservationKey(0), key),
            Deed::Capabilities
            | Deed::Reserve(_)
            | Deed::Release(_)
            | Deed::Preempt { .. }
            | Deed::Clear
            | Deed::ReadKeys
            | Deed::ReadReservation => parameter_list(self.own_key(path), key),
        };
        self.send_errand(
            Bearer::Job,
            path,
            command,
            TaskAttribute::Simple,
            Some(list),
        );
    }

    pub(super) fn on_job_answer(&mut self, now: Instant, answer: Option<&Completion>) {
        let said = Said::of(answer);
        let Some(job) = &mut self.reservation.job else {
            return;
        };
        match said {
            Said::Attention if job.attentions < ATTENTIONS_MAX => {
                job.attentions += 1;
                return self.send_deed();
            }
            Said::NotNow(_) => {
                job.again_at = Some(now + PAUSE);
                return;
            }
            Said::Good(_) | Said::Conflict | Said::Attention | Said::Refused(_) | Said::Nothing => {
            }
        }
        let Some((path, deed)) = job.doing.take() else {
            return;
        };
        match self.on_deed(path, deed, said) {
            Ok(()) => self.run_job(now),
            Err(why) => {
                let why = format!("{}: {}: {why}", self.names.of(path), deed.name());
                self.fail_job(now, why);
            }
        }
    }

    fn on_deed(&mut self, path: PathId, deed: Deed, said: Said) -> Result<(), String> {
        if deed == Deed::Capabilities {
            self.learn_capabilities(&said);
            return Ok(());
        }
        let name = self.names.of(path);
        let lost = format!("{name} was lost meanwhile");
        let reservation = &mut self.reservation;
        let Some(job) = &mut reservation.job else {
            return Ok(());
        };
        match (deed, said) {
            (Deed::Register(key), Said::Good(_)) => {
                reservation.generation = reservation.generation.saturating_add(1);
                job.rekeyed.insert(path, key);
                Ok(())
            }
            (Deed::Restore(_), Said::Good(_)) => {
                job.rekeyed.remove(&path);
                Ok(())
            }
            // Somebody will notice what is wrong with it.
            (Deed::Restore(_), _) => {
                reservation.look_again = true;
                Ok(())
            }
            (Deed::ReadKeys, Said::Good(data)) => {
                let read = RegisteredKeys::parse(&data).map_err(|error| error.to_string())?;
                let floor = job.floor;
                job.keys = Some(read.keys);
                reservation.learn_generation(floor, read.generation);
                Ok(())
            }
            (Deed::ReadReservation, Said::Good(data)) => {
                let read = HeldReservation::parse(&data).map_err(|error| error.to_string())?;
                job.held = read.held;
                Ok(())
            }
            (_, Said::Good(_)) => Ok(()),
            // What was asked for is done.
            (Deed::ReadKeys | Deed::ReadReservation, _) if job.committed => Ok(()),
            (Deed::Register(_) | Deed::Release(_), Said::Nothing) => {
                job.notes.push(lost);
                Ok(())
            }
            (Deed::Register(ReservationKey(0)), said) => {
                job.notes
                    .push(format!("{name} keeps its registration: {}", words(said)));
                Ok(())
            }
            (Deed::Reserve(kind), Said::Conflict) => {
                job.plan.push_front(Step::JudgeConflict(kind));
                job.plan.push_front(Step::Do(path, Deed::ReadReservation));
                Ok(())
            }
            (Deed::Preempt { victim, .. }, Said::Conflict) => {
                Err(format!("nobody is registered with {victim}"))
            }
            (_, said) => Err(words(said)),
        }
    }

    /// It cannot be done: what was done of it is undone.
    fn fail_job(&mut self, now: Instant, why: String) {
        let known = self.reservation.in_force();
        let members = &self.reservation.members;
        let Some(job) = &mut self.reservation.job else {
            return;
        };
        job.failure.get_or_insert(why);
        (job.doing, job.again_at) = (None, None);
        job.plan.clear();
        if std::mem::replace(&mut job.undoing, true) || job.rekeyed.is_empty() {
            return self.finish_job();
        }
        job.deadline = now + LIMIT;
        let before = |path: &PathId| {
            let enrolled = members.get(path).is_some_and(|member| member.enrolled);
            let key = known.filter(|_| enrolled).map(|key| key.of(*path));
            Deed::Restore(key.unwrap_or(ReservationKey(0)))
        };
        let undo: Vec<Step> = job
            .rekeyed
            .keys()
            .map(|path| Step::Do(*path, before(path)))
            .collect();
        job.then(undo);
        self.run_job(now);
    }

    fn finish_job(&mut self) {
        let Some(job) = self.reservation.job.take() else {
            return;
        };
        let answer = match job.failure {
            Some(why) => Err(why),
            None => Ok(self.reservation_status(job.keys, job.held, job.notes)),
        };
        self.reservation.answers.push_back((job.id, answer));
        self.go_on_joining();
        if std::mem::take(&mut self.reservation.look_again) {
            let paths: Vec<PathId> = self.roster.iter().map(|(path, _)| path).collect();
            for path in paths {
                self.look_after(path);
            }
        }
    }

    /// A path's session is gone, with what a job has registered over it.
    pub(super) fn on_job_path_lost(&mut self, path: PathId) {
        if let Some(job) = &mut self.reservation.job {
            job.rekeyed.remove(&path);
        }
    }
}

fn refuse_victim(reservation: &super::Reservation, key: ReservationKey) -> Option<String> {
    let ours = reservation.key.is_some_and(|own| own.is_ours(key));
    match key {
        ReservationKey(0) => Some("0 is no key".into()),
        key if ours => Some(format!("{key} is our own key: use `unregister`")),
        _ => None,
    }
}

fn words(said: Said) -> String {
    match said {
        Said::Good(_) => "done".to_owned(),
        Said::Conflict => "RESERVATION CONFLICT".to_owned(),
        Said::Attention => "only unit attentions".to_owned(),
        Said::NotNow(why) | Said::Refused(why) => why,
        Said::Nothing => "no answer, for the path was lost".to_owned(),
    }
}
