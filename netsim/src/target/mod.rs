//! The simulated target: logical units, and (around them) the iSCSI session that answers for them.

pub mod lun;
