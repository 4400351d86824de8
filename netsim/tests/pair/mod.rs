//! One session of the daemon's and one target, joined by a link, in virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use iiblockdaemon::ids::{Disposition, Lun as LunAddress, TaskId};
use iiblockdaemon::iscsi::error::SessionError;
use iiblockdaemon::iscsi::isid::Isid;
use iiblockdaemon::iscsi::name::IscsiName;
use iiblockdaemon::iscsi::session::config::{
    AuthConfig, Entropy, Offer, SessionConfig, SessionKind,
};
use iiblockdaemon::iscsi::session::{Event, FullFeature, Session};
use iiblockdaemon::task::{Cdb, Completion, DataTransfer, Task, TaskAttribute};
use netsim::link::{Conditions, Delivery, End, Held, Link};
use netsim::rng::Rng;
use netsim::target::lun::{Backing, Lun, LunConfig};
use netsim::target::{ConnectionId, PortalConfig, Target, TargetConfig};

const NAME: &str = "iqn.2026-11.com.example:netsim";
/// Steps of virtual time after which something surely hangs.
const STEPS_MAX: usize = 1_000_000;

/// What differs between the tests.
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) kind: SessionKind,
    pub(crate) auth: AuthConfig,
    pub(crate) offer: Offer,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            seed: 0,
            kind: SessionKind::Normal {
                target: IscsiName::new(NAME).expect("a value that fits"),
            },
            auth: AuthConfig::None,
            offer: Offer::default(),
        }
    }
}

pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) target: Target,
    session: Session,
    id: ConnectionId,
    link: Link,
    to_session: BytesMut,
    to_target: BytesMut,
    events: Vec<Event>,
    completions: BTreeMap<TaskId, Completion>,
    next_task: u64,
}

fn session(now: Instant, isid: u8, setup: Setup) -> Session {
    let config = SessionConfig {
        initiator_name: IscsiName::new("iqn.2026-11.com.example:db1").expect("a value that fits"),
        kind: setup.kind,
        isid: Isid::from_wire([0x80, 0, 0, 0, 0, isid]),
        auth: setup.auth,
        offer: setup.offer,
        login_timeout: Duration::from_secs(120),
        logout_timeout: Duration::from_secs(5),
    };
    Session::new(now, Arc::new(config), Entropy::new([7; 32]))
}

impl Pair {
    /// A target with two portals in one group and a disk of 4 MiB; the session is not logged in yet.
    pub(crate) fn new(setup: Setup, change: impl FnOnce(&mut TargetConfig)) -> Self {
        let now = netsim::clock::now();
        let mut config = TargetConfig::new(NAME.parse().expect("a value that fits"));
        config.seed = setup.seed;
        for address in ["10.0.0.1:3260", "10.0.0.2:3260"] {
            let address = address.to_owned();
            config.portals.push(PortalConfig { address, group: 1 });
        }
        change(&mut config);
        let disk = Lun::new(LunConfig::disk(1, 512, 8192), Backing::ram());
        let target = Target::new(config, [(0, disk)]);
        Self::over(now, target, 0, 1, setup)
    }

    fn over(now: Instant, mut target: Target, portal: usize, isid: u8, setup: Setup) -> Self {
        Self {
            now,
            id: target.connect(now, portal),
            target,
            link: Link::new(&Rng::new(setup.seed), 1 << 20),
            session: session(now, isid, setup),
            to_session: BytesMut::new(),
            to_target: BytesMut::new(),
            events: Vec::new(),
            completions: BTreeMap::new(),
            next_task: 0,
        }
    }

    /// Another session with the same target, which moves over; logged in.
    pub(crate) fn another_session(&mut self, portal: usize, isid: u8) -> Self {
        let config = TargetConfig::new(NAME.parse().expect("a value that fits"));
        let target = std::mem::replace(&mut self.target, Target::new(config, []));
        let mut other = Self::over(self.now, target, portal, isid, Setup::default());
        other.log_in();
        other
    }

    pub(crate) fn full(&mut self) -> &mut FullFeature {
        self.session.full_feature().expect("logged in")
    }

    pub(crate) fn set_conditions(&mut self, conditions: &Conditions, held: Held) {
        let now = self.now;
        let link = &mut self.link;
        link.to_target()
            .set_conditions(now, conditions.clone(), held);
        link.to_initiator()
            .set_conditions(now, conditions.clone(), held);
    }

    /// Bytes that a hole holds.
    pub(crate) fn held(&mut self) -> usize {
        self.link.to_target().queued()
    }

    pub(crate) fn try_log_in(&mut self) -> Result<(), SessionError> {
        for _ in 0..STEPS_MAX {
            let logged_in = |event: &Event| matches!(event, Event::LoggedIn(_));
            if self.events.iter().any(logged_in) {
                self.events.clear();
                return Ok(());
            }
            self.step()?;
        }
        panic!("the login hangs");
    }

    /// Logs in, and takes the unit's attentions as the daemon's probe would.
    pub(crate) fn log_in(&mut self) {
        self.try_log_in().expect("a login");
        if self.full().free_slots() == 0 {
            return;
        }
        for _ in 0..4 {
            if self.is_discovery() {
                return;
            }
            let ready = self.submit(Cdb::from_6([0; 6]), DataTransfer::None);
            self.run_until_resolved(&[ready]);
            if self.completions[&ready].status == 0 {
                return;
            }
        }
        panic!("the unit does not become ready");
    }

    fn is_discovery(&self) -> bool {
        self.target.sessions().count() == 0
    }

    pub(crate) fn write(&mut self, lba: usize, data: Vec<u8>) -> TaskId {
        let cdb = transfer(0x8a, lba, data.len() / 512);
        self.submit(cdb, DataTransfer::Out(Bytes::from(data).into()))
    }

    pub(crate) fn read(&mut self, lba: usize, blocks: usize) -> TaskId {
        let length = u32::try_from(blocks * 512).expect("a value that fits");
        self.submit(transfer(0x88, lba, blocks), DataTransfer::In(length))
    }

    fn submit(&mut self, cdb: Cdb, data: DataTransfer) -> TaskId {
        let id = TaskId(self.next_task);
        self.next_task += 1;
        let task = Task {
            id,
            lun: LunAddress::from_number(0).expect("a value that fits"),
            cdb,
            attribute: TaskAttribute::Simple,
            data,
        };
        let now = self.now;
        self.full().submit(now, task);
        id
    }

    /// Runs until these tasks completed with GOOD, or with CHECK CONDITION if they moved no data.
    pub(crate) fn run_until_resolved(&mut self, ids: &[TaskId]) {
        for _ in 0..STEPS_MAX {
            if ids.iter().all(|id| self.completions.contains_key(id)) {
                return;
            }
            self.step().expect("the session goes on");
        }
        panic!("tasks hang");
    }

    /// The data of a read that completed.
    pub(crate) fn data(&self, id: TaskId) -> Bytes {
        let completion = &self.completions[&id];
        assert_eq!(completion.status, 0);
        completion.data.to_bytes()
    }

    pub(crate) fn run_until<T>(&mut self, wanted: impl Fn(Event) -> Option<T>) -> T {
        for _ in 0..STEPS_MAX {
            if let Some(found) = self.events.drain(..).find_map(&wanted) {
                return found;
            }
            self.step().expect("the session goes on");
        }
        panic!("the event does not come");
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            while self.move_bytes().expect("the session goes on") {}
            self.advance(Some(end));
        }
    }

    /// Gives the session up, as a lost path does. The connection's link stays as it is.
    pub(crate) fn give_up(&mut self) -> Vec<(TaskId, Disposition)> {
        let fresh = session(self.now, 0, Setup::default());
        std::mem::replace(&mut self.session, fresh).into_lost()
    }

    /// The first byte of the disk.
    pub(crate) fn first_byte(&mut self) -> u8 {
        self.target
            .unit(0)
            .expect("a value that fits")
            .peek(0, 1)
            .expect("a value that fits")[0]
    }

    /// The hole in the link of `old` ends: what it held reaches the target, if that still listens.
    pub(crate) fn heal_old_link(&mut self, old: &mut Self) {
        old.now = self.now;
        old.set_conditions(&Conditions::default(), Held::Release);
        let mut input = BytesMut::new();
        let mut delivered = 0;
        while let Some(Delivery::Data(data)) = old.link.to_target().poll_deliver(self.now) {
            delivered += data.len();
            input.extend_from_slice(&data);
        }
        assert!(delivered > 0, "there was something to release");
        if self.target.is_over(old.id).is_none() {
            self.target.handle_bytes(self.now, old.id, &mut input);
        }
    }

    fn step(&mut self) -> Result<(), SessionError> {
        if !self.move_bytes()? {
            self.advance(None);
            self.session.handle_timeout(self.now)?;
            self.target.handle_timeout(self.now);
        }
        Ok(())
    }

    /// Moves whatever can move now; returns whether anything did.
    fn move_bytes(&mut self) -> Result<bool, SessionError> {
        let now = self.now;
        let mut moved = false;
        while self.target.poll_woken().is_some() {}
        let sent = self.session.outgoing().take_all();
        if !sent.is_empty() {
            self.link.to_target().push(now, sent);
        }
        if let Some(queue) = self.target.outgoing(self.id) {
            let sent = queue.take_all();
            if !sent.is_empty() {
                self.link.to_initiator().push(now, sent);
            }
        }
        while let Some(Delivery::Data(data)) = self.link.to_target().poll_deliver(now) {
            moved = true;
            self.to_target.extend_from_slice(&data);
            self.target.handle_bytes(now, self.id, &mut self.to_target);
        }
        let mut closed = false;
        loop {
            match self.link.to_initiator().poll_deliver(now) {
                Some(Delivery::Data(data)) => {
                    moved = true;
                    self.to_session.extend_from_slice(&data);
                    self.session.handle_bytes(now, &mut self.to_session)?;
                }
                Some(Delivery::End(_)) => closed = true,
                None => break,
            }
        }
        let written = self
            .target
            .outgoing(self.id)
            .is_none_or(|queue| queue.is_empty());
        if written && self.target.is_over(self.id).is_some() {
            self.link.to_initiator().push_end(now, End::Fin);
        }
        while let Some(event) = self.session.poll_event() {
            moved = true;
            match event {
                Event::Completed(id, completion) => {
                    self.completions.insert(id, completion);
                }
                event => self.events.push(event),
            }
        }
        match closed.then(|| self.session.on_closed()).flatten() {
            Some(error) => Err(error),
            None => Ok(moved),
        }
    }

    /// Lets time pass until something is due, or `end`.
    fn advance(&mut self, end: Option<Instant>) {
        let session = self.session.poll_timeout().map(|deadline| deadline.at);
        let target = self.target.poll_timeout().map(|deadline| deadline.at);
        let due = [self.link.poll_timeout(), session, target, end];
        let due = due.into_iter().flatten().min();
        self.now = due.expect("something is due").max(self.now);
        if end.is_some() {
            self.session.handle_timeout(self.now).expect("a session");
            self.target.handle_timeout(self.now);
        }
    }
}

fn transfer(opcode: u8, lba: usize, blocks: usize) -> Cdb {
    let mut cdb = [0; 16];
    cdb[0] = opcode;
    cdb[6..10].copy_from_slice(&u32::try_from(lba).expect("a value that fits").to_be_bytes());
    cdb[10..14].copy_from_slice(
        &u32::try_from(blocks)
            .expect("a value that fits")
            .to_be_bytes(),
    );
    Cdb::from_16(cdb)
}
