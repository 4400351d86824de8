//! Descriptor blocks are written out by hand here, after SPC-5 and SBC-4: nothing comes from the
//! initiator's builders.

use super::*;

mod control;
mod data;
mod reservations;

const A: NexusId = NexusId(1);
const B: NexusId = NexusId(2);

/// A 512-byte disk of 2048 blocks without power-on attentions.
fn quiet() -> LunConfig {
    LunConfig {
        power_on_attention: false,
        ..LunConfig::disk(1, 512, 2048)
    }
}

fn ram(config: LunConfig) -> Lun {
    Lun::new(config, Backing::ram())
}

fn cdb(bytes: &[u8]) -> [u8; 16] {
    let mut cdb = [0; 16];
    cdb[..bytes.len()].copy_from_slice(bytes);
    cdb
}

fn ask(lun: &mut Lun, bytes: &[u8]) -> Response {
    lun.execute(A, &cdb(bytes), &Payload::new())
}

fn send(lun: &mut Lun, nexus: NexusId, bytes: &[u8], data: &[u8]) -> Response {
    lun.execute(nexus, &cdb(bytes), &Bytes::copy_from_slice(data).into())
}

/// (sense key, code, qualifier) of a CHECK CONDITION.
fn codes(response: &Response) -> (u8, u8, u8) {
    assert_eq!(response.status, 0x02, "{response:?}");
    assert_eq!((response.sense.len(), response.sense[0] & 0x7f), (18, 0x70));
    (response.sense[2], response.sense[12], response.sense[13])
}

const READ_BLOCK_5: [u8; 10] = [0x28, 0, 0, 0, 0, 5, 0, 0, 1, 0];
const WRITE_BLOCK_5: [u8; 10] = [0x2a, 0, 0, 0, 0, 5, 0, 0, 1, 0];
const TEST_UNIT_READY: [u8; 6] = [0; 6];
