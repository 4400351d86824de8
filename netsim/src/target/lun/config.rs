//! What a simulated unit is made of.

use std::collections::BTreeSet;

/// The write cache of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteCache {
    /// Writes are durable when they are answered (WCE=0).
    Off,
    /// WCE=1, but nothing is ever lost.
    Safe,
    /// WCE=1, and a power cycle loses what was not synchronised. Costs a copy of each block written.
    Volatile,
}

/// Access state of a target port group (SPC-5 table 65).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum Access {
    Optimized = 0x0,
    NonOptimized = 0x1,
    Standby = 0x2,
    Unavailable = 0x3,
    Offline = 0xe,
    Transitioning = 0xf,
}

/// A target port group.
#[derive(Clone, Debug)]
pub struct PortGroup {
    /// Its number.
    pub id: u16,
    /// Its access state.
    pub access: Access,
    /// The target prefers it.
    pub preferred: bool,
    /// Relative identifiers of its ports.
    pub ports: Vec<u16>,
}

/// What a unit says of itself, and what it can do.
#[derive(Clone, Debug)]
pub struct LunConfig {
    /// Logical block size in bytes.
    pub block_size: u32,
    /// Number of logical blocks.
    pub blocks: u64,
    /// Logical blocks per physical block, as a power of two.
    pub physical_exponent: u8,
    /// Vendor, up to 8 characters.
    pub vendor: String,
    /// Product, up to 16 characters.
    pub product: String,
    /// Serial number, page 80h; none without.
    pub serial: String,
    /// NAA designator of 16 bytes, page 83h.
    pub naa: Option<u128>,
    /// T10 designator, page 83h: vendor padded to 8 characters, and more.
    pub t10: Option<String>,
    /// UNMAP, and WRITE SAME with UNMAP; deallocated blocks read as zeroes.
    pub thin: bool,
    /// Write cache.
    pub cache: WriteCache,
    /// DPO and FUA are understood.
    pub fua: bool,
    /// Writes are refused.
    pub write_protected: bool,
    /// Longest READ or WRITE in blocks; 0 none is reported (64 MiB are refused above).
    pub max_transfer_blocks: u32,
    /// Optimal READ or WRITE in blocks; 0 not said.
    pub optimal_transfer_blocks: u32,
    /// Most blocks of one UNMAP.
    pub max_unmap_blocks: u32,
    /// Most descriptors of one UNMAP.
    pub max_unmap_descriptors: u32,
    /// Granularity of UNMAP in blocks, as it is reported; what is unmapped is unmapped exactly.
    pub unmap_granularity: u32,
    /// Longest WRITE SAME in blocks; 0 no limit.
    pub max_write_same_blocks: u64,
    /// Page B1h: 0 not said, 1 solid state, else revolutions per minute.
    pub rotation: u16,
    /// Target port groups; without any the unit has symmetric access.
    pub groups: Vec<PortGroup>,
    /// SET TARGET PORT GROUPS is known.
    pub explicit: bool,
    /// READ CAPACITY is answered in standby, as LIO does.
    pub standby_tells_size: bool,
    /// Operation codes that are answered as unknown (20/00).
    pub refuses: BTreeSet<u8>,
    /// Registrations of persistent reservations can outlive a loss of power.
    pub persistent: bool,
    /// The first command of each nexus is told of the power-on (29/00).
    pub power_on_attention: bool,
}

impl LunConfig {
    /// A thin disk with a safe write cache; `number` makes its serial number and NAA its own.
    #[must_use]
    pub fn disk(number: u32, block_size: u32, blocks: u64) -> Self {
        // NAA 6h, IANA's company identifier 00-00-5E, then a number of our own.
        let naa = 0x6000_05e0_0000_0000_0000_0000_0000_0000 | u128::from(number);
        Self {
            block_size,
            blocks,
            physical_exponent: 0,
            vendor: "NETSIM".into(),
            product: "DISK".into(),
            serial: format!("netsim-{number}"),
            naa: Some(naa),
            t10: None,
            thin: true,
            cache: WriteCache::Safe,
            fua: true,
            write_protected: false,
            max_transfer_blocks: 0,
            optimal_transfer_blocks: 0,
            max_unmap_blocks: 1 << 20,
            max_unmap_descriptors: 64,
            unmap_granularity: 1,
            max_write_same_blocks: 1 << 16,
            rotation: 1,
            groups: Vec::new(),
            explicit: false,
            standby_tells_size: false,
            refuses: BTreeSet::new(),
            persistent: true,
            power_on_attention: true,
        }
    }

    /// Size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.blocks * u64::from(self.block_size)
    }
}
