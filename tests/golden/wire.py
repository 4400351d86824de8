"""iSCSI framing (RFC 7143 section 11) as far as the capture needs it: where one PDU ends, and its name."""

OPCODES = {
    0x00: "NOP-Out", 0x01: "SCSI Command", 0x02: "Task Management Request", 0x03: "Login Request",
    0x04: "Text Request", 0x05: "Data-Out", 0x06: "Logout Request", 0x10: "SNACK Request",
    0x20: "NOP-In", 0x21: "SCSI Response", 0x22: "Task Management Response", 0x23: "Login Response",
    0x24: "Text Response", 0x25: "Data-In", 0x26: "Logout Response", 0x31: "R2T", 0x32: "Async Message",
    0x3F: "Reject",
}
LOGIN_OPCODES = (0x03, 0x23)


def _crc_table():
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


_CRC_TABLE = _crc_table()


def crc32c(data):
    """The digest of RFC 7143 13.1 in wire order (least significant byte first)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return (crc ^ 0xFFFFFFFF).to_bytes(4, "little")


def pad(data):
    """The data with the zero bytes up to the next multiple of four."""
    return data + bytes(-len(data) % 4)


def frame(bhs, data, header_digest, data_digest):
    """The wire form of one PDU without additional header segments."""
    bhs = bhs[:4] + bytes([0]) + len(data).to_bytes(3, "big") + bhs[8:]
    out = bhs + (crc32c(bhs) if header_digest else b"")
    if data:
        out += pad(data) + (crc32c(pad(data)) if data_digest else b"")
    return out


def pdu_length(stream, header_digest, data_digest):
    """Bytes of the PDU that the stream begins with, or None if its header is not complete yet."""
    if len(stream) < 48:
        return None
    if stream[0] & 0x3F in LOGIN_OPCODES:  # Digests begin with the full feature phase.
        header_digest = data_digest = False
    additional, data = stream[4] * 4, int.from_bytes(stream[5:8], "big")
    length = 48 + additional + (4 if header_digest else 0)
    if data:
        length += data + -data % 4 + (4 if data_digest else 0)
    return length


def data_segment(pdu, header_digest):
    """The data segment of one complete PDU."""
    start = 48 + pdu[4] * 4 + (4 if header_digest else 0)
    return pdu[start:start + int.from_bytes(pdu[5:8], "big")]


def name(pdu):
    """The PDU's name for a comment."""
    opcode = pdu[0] & 0x3F
    text = OPCODES.get(opcode, f"opcode {opcode:#04x}")
    if opcode == 0x01:
        text += f" cdb {pdu[32]:#04x}"
    if opcode in LOGIN_OPCODES:
        flags = pdu[1]
        text += f" stage {flags >> 2 & 3}" + (f" to {flags & 3}" if flags & 0x80 else "")
    if opcode == 0x23:
        text += f" status {pdu[36]:02x}{pdu[37]:02x}"
    if opcode in (0x21, 0x22, 0x26, 0x3F):
        text += f" response {pdu[2]:#04x}"
    return text
