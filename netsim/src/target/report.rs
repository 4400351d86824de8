//! What the target answers for units that are not there: REPORT LUNS (SPC-5 6.33), the INQUIRY of
//! an empty place (6.6.2); and SendTargets (RFC 7143 appendix C).

use iiblockdaemon::ids::Lun as LunAddress;
use iiblockdaemon::iscsi::keys::Text;

use super::Target;
use super::lun::{Refusal, Response, sense};

pub(super) const REPORT_LUNS: u8 = 0xa0;
const INQUIRY: u8 = 0x12;
const REQUEST_SENSE: u8 = 0x03;
/// Peripheral qualifier 011b, device type 1Fh: no device is possible here.
const NO_DEVICE: u8 = 0x7f;
/// Shortest legal allocation length of REPORT LUNS.
const REPORT_LUNS_MIN: u32 = 16;

pub(super) fn report_luns(luns: impl Iterator<Item = LunAddress>, cdb: &[u8; 16]) -> Response {
    let allocation = u32::from_be_bytes([cdb[6], cdb[7], cdb[8], cdb[9]]);
    let select = cdb[2];
    if allocation < REPORT_LUNS_MIN || select > 2 {
        return Refusal::sense(sense::ILLEGAL_REQUEST, 0x24, 0x00).into();
    }
    // 1: well-known units only, of which there are none.
    let list: Vec<u8> = match select {
        1 => Vec::new(),
        _ => luns.flat_map(LunAddress::to_wire).collect(),
    };
    let length = u32::try_from(list.len()).unwrap_or(u32::MAX);
    let mut data = [&length.to_be_bytes()[..], &[0; 4], &list].concat();
    data.truncate(allocation as usize);
    Response {
        data_in: data.into(),
        ..Response::default()
    }
}

pub(super) fn no_such_unit(cdb: &[u8; 16]) -> Response {
    let not_supported = Refusal::sense(sense::ILLEGAL_REQUEST, 0x25, 0x00);
    match cdb[0] {
        INQUIRY if cdb[1] & 1 == 0 => {
            let mut data = vec![NO_DEVICE, 0, 6, 2, 31];
            data.resize(36, b' ');
            data[5..8].fill(0);
            data.truncate(usize::from(u16::from_be_bytes([cdb[3], cdb[4]])));
            Response {
                data_in: data.into(),
                ..Response::default()
            }
        }
        REQUEST_SENSE => {
            let refusal: Response = not_supported.into();
            Response {
                data_in: refusal.sense.into(),
                ..Response::default()
            }
        }
        _ => not_supported.into(),
    }
}

impl Target {
    /// The text that answers SendTargets: all portals of this target, if it is meant.
    pub(super) fn send_targets(&self, wanted: &str) -> Vec<u8> {
        let name = &self.config.name;
        let mut text = Text::new();
        if wanted.is_empty() || wanted == "All" || wanted.eq_ignore_ascii_case(name.normalised()) {
            text.push("TargetName", name);
            for portal in &self.config.portals {
                let address = format!("{},{}", portal.address, portal.group);
                text.push("TargetAddress", address);
            }
        }
        text.encode()
    }
}
