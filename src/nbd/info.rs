//! Option replies, and the question and answer of `NBD_OPT_INFO` and `NBD_OPT_GO`.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::export::ExportInfo;
use super::wire::{OPTION_REPLY_MAGIC, info, option_reply};
use crate::limits::NBD_STRING_MAX;

/// The data of `NBD_OPT_INFO` and `NBD_OPT_GO`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InfoRequest {
    /// Which export; empty for the default one.
    pub(super) name: String,
    /// Its canonical name is wanted.
    pub(super) wants_name: bool,
    /// Its description is wanted.
    pub(super) wants_description: bool,
}

/// An option that cannot be granted: the type of the error reply and a text for people.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) kind: u32,
    pub(super) text: &'static str,
}

impl Refusal {
    pub(super) const fn invalid(text: &'static str) -> Self {
        let kind = option_reply::ERR_INVALID;
        Self { kind, text }
    }
}

/// An export name as a client sends it.
pub(super) fn export_name(bytes: &[u8]) -> Result<&str, Refusal> {
    if bytes.len() > NBD_STRING_MAX {
        let kind = option_reply::ERR_TOO_BIG;
        let text = "export name is longer than 4096 bytes";
        return Err(Refusal { kind, text });
    }
    std::str::from_utf8(bytes).map_err(|_| Refusal::invalid("export name is not UTF-8"))
}

impl InfoRequest {
    pub(super) fn parse(mut data: Bytes) -> Result<Self, Refusal> {
        const SHORT: Refusal = Refusal::invalid("option data ends too early");
        let name_len = data.try_get_u32().map_err(|_| SHORT)?;
        let name_len = usize::try_from(name_len).map_err(|_| SHORT)?;
        if name_len > data.len() {
            return Err(SHORT);
        }
        let name = export_name(&data.split_to(name_len))?.to_owned();
        let count = usize::from(data.try_get_u16().map_err(|_| SHORT)?);
        if data.len() != 2 * count {
            let text = "number of information requests and option length disagree";
            return Err(Refusal::invalid(text));
        }
        let (mut wants_name, mut wants_description) = (false, false);
        while let Ok(kind) = data.try_get_u16() {
            wants_name |= kind == info::NAME;
            wants_description |= kind == info::DESCRIPTION;
        }
        Ok(Self {
            name,
            wants_name,
            wants_description,
        })
    }
}

/// Writes replies to one option.
pub(super) struct OptionReplies<'a> {
    out: &'a mut BytesMut,
    option: u32,
}

impl<'a> OptionReplies<'a> {
    pub(super) fn new(out: &'a mut BytesMut, option: u32) -> Self {
        Self { out, option }
    }

    fn push(&mut self, kind: u32, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.out.put_u64(OPTION_REPLY_MAGIC);
        self.out.put_u32(self.option);
        self.out.put_u32(kind);
        self.out.put_u32(wire_len(length));
        parts.iter().for_each(|part| self.out.put_slice(part));
    }

    pub(super) fn ack(&mut self) {
        self.push(option_reply::ACK, &[]);
    }

    pub(super) fn refuse(&mut self, refusal: &Refusal) {
        self.push(refusal.kind, &[refusal.text.as_bytes()]);
    }

    /// One entry of the list of exports; the text after the name is for people.
    pub(super) fn server(&mut self, export: &ExportInfo) {
        let name = export.name.as_bytes();
        let name_len = wire_len(name.len()).to_be_bytes();
        let parts: [&[u8]; 3] = [&name_len, name, export.description.as_bytes()];
        self.push(option_reply::SERVER, &parts);
    }

    /// Everything that a client asked of an export. Its size and flags are mandatory; block sizes are sent
    /// unasked because the minimum is enforced, and proto.md allows it.
    pub(super) fn export(&mut self, export: &ExportInfo, request: &InfoRequest, flags: u16) {
        if request.wants_name {
            self.info(info::NAME, &[export.name.as_bytes()]);
        }
        if request.wants_description && !export.description.is_empty() {
            self.info(info::DESCRIPTION, &[export.description.as_bytes()]);
        }
        let sizes = export.block_sizes;
        let [minimum, preferred, maximum] =
            [sizes.minimum(), sizes.preferred(), sizes.maximum()].map(u32::to_be_bytes);
        self.info(info::BLOCK_SIZE, &[&minimum, &preferred, &maximum]);
        let (size, flags) = (export.size.to_be_bytes(), flags.to_be_bytes());
        self.info(info::EXPORT, &[&size, &flags]);
    }

    fn info(&mut self, kind: u16, parts: &[&[u8]]) {
        let kind = kind.to_be_bytes();
        let mut all: Vec<&[u8]> = vec![&kind];
        all.extend(parts);
        self.push(option_reply::INFO, &all);
    }
}

fn wire_len(length: usize) -> u32 {
    u32::try_from(length).expect("names and texts are bounded by NBD_STRING_MAX")
}
