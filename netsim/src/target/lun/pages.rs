//! What the unit says of itself: INQUIRY, MODE SENSE, READ CAPACITY, port groups, operation codes.

use super::Port;
use super::answer::{Answered, Refusal, Response, sense};
use super::config::{LunConfig, WriteCache};
use super::form::{Form, be16, be32};

/// Text in a field of fixed width, padded with blanks.
fn padded(text: &str, width: usize) -> Vec<u8> {
    let mut field = text.as_bytes().to_vec();
    field.resize(width, b' ');
    field
}

/// A 32-bit length as a number of bytes in memory.
fn length(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// One byte of a length that is known to fit it.
fn small(len: usize) -> u8 {
    u8::try_from(len).expect("a short field of a simulated unit")
}

pub(super) fn inquiry(config: &LunConfig, port: Port, cdb: &[u8; 16]) -> Answered {
    let allocation = be16(cdb, 3).into();
    let body = match (cdb[1] & 1, cdb[2]) {
        (0, 0) => return Ok(Response::data(standard_inquiry(config), allocation)),
        (0, _) => return Err(Refusal::cdb_byte(2)),
        (_, 0x00) => supported_pages(config),
        (_, 0x80) if !config.serial.is_empty() => config.serial.as_bytes().to_vec(),
        (_, 0x83) => device_identification(config, port),
        (_, 0xb0) => block_limits(config),
        (_, 0xb1) => block_characteristics(config),
        (_, 0xb2) => provisioning(config),
        _ => return Err(Refusal::cdb_byte(2)),
    };
    let len = u16::try_from(body.len())
        .expect("short pages")
        .to_be_bytes();
    let page = [&[0, cdb[2], len[0], len[1]][..], &body].concat();
    Ok(Response::data(page, allocation))
}

/// SPC-5 6.6.2: a disk, SPC-4, response data format 2, CMDQUE, implicit ALUA if there are port groups, explicit where configured.
fn standard_inquiry(config: &LunConfig) -> Vec<u8> {
    let tpgs = match (config.groups.is_empty(), config.explicit) {
        (true, _) => 0x00,
        (false, false) => 0x10,
        (false, true) => 0x30,
    };
    let mut data = vec![0x00, 0x00, 0x06, 0x02, 91, tpgs, 0x00, 0x02];
    data.extend(padded(&config.vendor, 8));
    data.extend(padded(&config.product, 16));
    data.extend(padded("1", 4));
    data.resize(96, 0);
    data
}

fn supported_pages(config: &LunConfig) -> Vec<u8> {
    let serial = (!config.serial.is_empty()).then_some(0x80);
    [0x00]
        .into_iter()
        .chain(serial)
        .chain([0x83, 0xb0, 0xb1, 0xb2])
        .collect()
}

/// SPC-5 7.7.6: names of the unit, then number and group of the port that was asked (protocol iSCSI, PIV).
fn device_identification(config: &LunConfig, port: Port) -> Vec<u8> {
    let mut page = Vec::new();
    if let Some(naa) = config.naa {
        page.extend([0x01, 0x03, 0, 16]);
        page.extend(naa.to_be_bytes());
    }
    if let Some(t10) = &config.t10 {
        page.extend([0x02, 0x01, 0, small(t10.len())]);
        page.extend(t10.as_bytes());
    }
    page.extend([0x51, 0x94, 0, 4, 0, 0]);
    page.extend(port.relative.to_be_bytes());
    if !config.groups.is_empty() {
        page.extend([0x51, 0x95, 0, 4, 0, 0]);
        page.extend(port.group.to_be_bytes());
    }
    page
}

/// SBC-4 6.6.4.
fn block_limits(config: &LunConfig) -> Vec<u8> {
    let thin = |value: u32| if config.thin { value } else { 0 };
    let mut page = vec![0x01, 0, 0, 1];
    page.extend(config.max_transfer_blocks.to_be_bytes());
    page.extend(config.optimal_transfer_blocks.to_be_bytes());
    page.extend([0; 4]);
    page.extend(thin(config.max_unmap_blocks).to_be_bytes());
    page.extend(thin(config.max_unmap_descriptors).to_be_bytes());
    page.extend(thin(config.unmap_granularity).to_be_bytes());
    page.extend(thin(0x8000_0000).to_be_bytes());
    page.extend(config.max_write_same_blocks.to_be_bytes());
    page.resize(60, 0);
    page
}

/// SBC-4 6.6.2.
fn block_characteristics(config: &LunConfig) -> Vec<u8> {
    let mut page = config.rotation.to_be_bytes().to_vec();
    page.resize(60, 0);
    page
}

/// SBC-4 6.6.7: LBPU, LBPWS, LBPWS10, LBPRZ 001b; thin provisioned.
fn provisioning(config: &LunConfig) -> Vec<u8> {
    match config.thin {
        true => vec![0, 0xe4, 0x02, 0],
        false => vec![0; 4],
    }
}

pub(super) fn read_capacity_10(config: &LunConfig) -> Response {
    let last = u32::try_from(config.blocks - 1).unwrap_or(u32::MAX);
    let data = [last.to_be_bytes(), config.block_size.to_be_bytes()].concat();
    Response::data(data, 8)
}

pub(super) fn read_capacity_16(config: &LunConfig, cdb: &[u8; 16]) -> Response {
    let mut data = (config.blocks - 1).to_be_bytes().to_vec();
    data.extend(config.block_size.to_be_bytes());
    let thin = if config.thin { 0xc0 } else { 0 };
    data.extend([0, config.physical_exponent & 0x0f, thin, 0]);
    data.resize(32, 0);
    Response::data(data, length(be32(cdb, 10)))
}

pub(super) fn mode_sense(config: &LunConfig, cdb: &[u8; 16]) -> Answered {
    let (control, page, subpage) = (cdb[2] >> 6, cdb[2] & 0x3f, cdb[3]);
    if control == 3 {
        return Err(Refusal::sense(sense::ILLEGAL_REQUEST, 0x39, 0x00));
    }
    let changeable = control == 1;
    let pages = match (page, subpage) {
        (0x08, 0 | 0xff) => caching_page(config, changeable),
        (0x0a, 0 | 0xff) => control_page(),
        (0x3f, 0 | 0xff) => [caching_page(config, changeable), control_page()].concat(),
        _ => return Err(Refusal::cdb_byte(2)),
    };
    let specific = u8::from(config.write_protected) << 7 | u8::from(config.fua) << 4;
    if cdb[0] == super::op::MODE_SENSE_6 {
        let header = [small(pages.len() + 3), 0, specific, 0];
        return Ok(Response::data(
            [&header[..], &pages].concat(),
            cdb[4].into(),
        ));
    }
    let header = [0, small(pages.len() + 6), 0, specific, 0, 0, 0, 0];
    Ok(Response::data(
        [&header[..], &pages].concat(),
        be16(cdb, 7).into(),
    ))
}

/// SBC-4 6.5.6: WCE; nothing is changeable.
fn caching_page(config: &LunConfig, changeable: bool) -> Vec<u8> {
    let cached = config.cache != WriteCache::Off && !changeable;
    let mut page = vec![0x08, 0x12, u8::from(cached) << 2];
    page.resize(20, 0);
    page
}

/// SPC-5 7.5.9, all zero.
fn control_page() -> Vec<u8> {
    let mut page = vec![0x0a, 0x0a];
    page.resize(12, 0);
    page
}

/// SPC-5 6.37; a unit without port groups does not know the command.
pub(super) fn port_groups(config: &LunConfig, cdb: &[u8; 16]) -> Answered {
    if config.groups.is_empty() {
        return Err(Refusal::UNKNOWN);
    }
    let mut groups = Vec::new();
    for group in &config.groups {
        // All states but "logical block dependent" may occur.
        groups.extend([u8::from(group.preferred) << 7 | group.access as u8, 0xcf]);
        groups.extend(group.id.to_be_bytes());
        groups.extend([0, 0, 0, small(group.ports.len())]);
        for port in &group.ports {
            groups.extend([0, 0]);
            groups.extend(port.to_be_bytes());
        }
    }
    let len = u32::try_from(groups.len())
        .expect("few groups")
        .to_be_bytes();
    Ok(Response::data(
        [&len[..], &groups].concat(),
        length(be32(cdb, 6)),
    ))
}

/// SPC-5 6.35.3, for one command; the list of all commands is not there.
pub(super) fn supported_operation(cdb: &[u8; 16], refused: impl Fn(&Form) -> bool) -> Answered {
    let action = match cdb[2] & 7 {
        1 => 0,
        2 => u8::try_from(be16(cdb, 4)).map_err(|_| Refusal::cdb_byte(4))?,
        _ => return Err(Refusal::cdb_byte(2)),
    };
    let data = match Form::find(cdb[3], action).filter(|form| !refused(form)) {
        None => vec![0, 1, 0, 0],
        Some(form) => {
            let head = [0, 3, 0, small(form.usage.len() + 1), form.opcode];
            let mut data = [&head[..], form.usage].concat();
            if let Some(action) = form.action {
                data[5] = data[5] & !0x1f | action;
            }
            data
        }
    };
    Ok(Response::data(data, length(be32(cdb, 6))))
}
