"""A minimal iSCSI initiator, for what tgt answers but no packaged initiator asks: data digests, SHA1 and
mutual CHAP, task management, NOPs both ways, texts in a session, rejects."""

import hashlib
import socket
import struct

import wire

OPERATIONAL = {
    "HeaderDigest": "None", "DataDigest": "None", "InitialR2T": "No", "ImmediateData": "Yes",
    "FirstBurstLength": "8192", "MaxBurstLength": "16384", "MaxRecvDataSegmentLength": "4096",
    "MaxConnections": "1", "MaxOutstandingR2T": "1", "DefaultTime2Wait": "0", "DefaultTime2Retain": "0",
    "ErrorRecoveryLevel": "0", "DataPDUInOrder": "Yes", "DataSequenceInOrder": "Yes",
}
DISCOVERY = {"HeaderDigest", "DataDigest", "MaxRecvDataSegmentLength", "DefaultTime2Wait",
             "DefaultTime2Retain", "ErrorRecoveryLevel"}
HASHES = {"5": hashlib.md5, "7": hashlib.sha1}


class LoginRefused(Exception):
    """The target's login status was not success."""


class Probe:
    """One connection; each method sends a request and returns the answer that ends it."""

    def __init__(self, portal, target=None, isid=0x23, **keys):
        self.socket = socket.create_connection(portal, timeout=10)
        self.isid = bytes([0x80, 0, 0, 0, 0, isid])
        self.target, self.keys = target, {**OPERATIONAL, **keys}
        if not target:  # The others are irrelevant there.
            self.keys = {key: value for key, value in self.keys.items() if key in DISCOVERY}
        self.cmd_sn = self.exp_stat_sn = 1
        self.tag = 0x10
        self.header_digest = self.data_digest = False

    def send(self, bhs, data=b""):
        self.socket.sendall(wire.frame(bytes(bhs), data, self.header_digest, self.data_digest))

    def receive(self):
        stream = b""
        while True:
            length = wire.pdu_length(stream, self.header_digest, self.data_digest)
            if length is not None and len(stream) >= length:
                break
            more = self.socket.recv((length or 48) - len(stream))
            if not more:
                raise EOFError("the target closed the connection")
            stream += more
        self.exp_stat_sn = int.from_bytes(stream[24:28], "big") + 1
        return stream

    # Login

    def _login_step(self, stage, to, keys):
        bhs = bytearray(48)
        bhs[0], bhs[1] = 0x43, stage << 2 | (0 if to is None else 0x80 | to)
        bhs[8:14] = self.isid
        bhs[16:20] = (1).to_bytes(4, "big")
        bhs[24:32] = struct.pack(">II", self.cmd_sn, self.exp_stat_sn)
        self.send(bhs, b"".join(f"{key}={value}\0".encode() for key, value in keys.items()))
        answer = self.receive()
        if answer[36]:
            raise LoginRefused(answer[36:38].hex())
        text = wire.data_segment(answer, False).split(b"\0")
        return answer, dict(pair.decode().split("=", 1) for pair in text if pair)

    def login(self, chap=None, mutual=None, algorithm="5"):
        """chap and mutual are (name, secret)."""
        keys = {"InitiatorName": "iqn.2026-11.test:probe"}
        if self.target:
            keys["TargetName"] = self.target
        keys["SessionType"] = "Normal" if self.target else "Discovery"
        if not chap:
            self._login_step(0, 1, {**keys, "AuthMethod": "None"})
        else:
            self._login_step(0, None, {**keys, "AuthMethod": "CHAP"})
            _, asked = self._login_step(0, None, {"CHAP_A": algorithm})
            challenge = bytes.fromhex(asked["CHAP_C"][2:])
            digest = HASHES[algorithm](bytes([int(asked["CHAP_I"])]) + chap[1].encode() + challenge)
            answer = {"CHAP_N": chap[0], "CHAP_R": "0x" + digest.hexdigest()}
            if mutual:
                answer.update({"CHAP_I": "7", "CHAP_C": "0x" + "5a" * 16})
            _, proof = self._login_step(0, 1, answer)
            if mutual:
                expected = HASHES[algorithm](b"\x07" + mutual[1].encode() + b"\x5a" * 16).hexdigest()
                assert proof["CHAP_R"].lower() == "0x" + expected, proof
        _, agreed = self._login_step(1, 3, self.keys)
        self.header_digest = agreed.get("HeaderDigest") == "CRC32C"
        self.data_digest = agreed.get("DataDigest") == "CRC32C"
        return agreed

    # Full feature phase

    def _request(self, opcode, flags=0x80, immediate=False, lun=0):
        bhs = bytearray(48)
        bhs[0], bhs[1] = opcode | (0x40 if immediate else 0), flags
        bhs[9] = lun
        bhs[16:20] = self.tag.to_bytes(4, "big")
        bhs[24:32] = struct.pack(">II", self.cmd_sn, self.exp_stat_sn)
        self.tag += 1
        self.cmd_sn += 0 if immediate else 1
        return bhs

    def ping(self, data=b"ping"):
        bhs = self._request(0x00, immediate=True)
        bhs[20:24] = b"\xff" * 4
        self.send(bhs, data)
        return self.receive()

    def pong(self, nop_in):
        """Answers a NOP-In of the target."""
        bhs = self._request(0x00, immediate=True)
        bhs[8:16], bhs[16:20], bhs[20:24] = nop_in[8:16], b"\xff" * 4, nop_in[20:24]
        self.send(bhs)

    def text(self, **keys):
        """Returns the last text response, having asked for every continuation."""
        bhs = self._request(0x04)
        bhs[20:24] = b"\xff" * 4
        data = b"".join(f"{key}={value}\0".encode() for key, value in keys.items())
        while True:
            self.send(bhs, data)
            answer = self.receive()
            if answer[1] & 0x80:
                return answer
            tag = bhs[16:20]
            bhs, data = self._request(0x04), b""
            bhs[16:20], bhs[20:24] = tag, answer[20:24]

    def task_management(self, function, lun=0, referenced=0xFFFFFFFF):
        bhs = self._request(0x02, 0x80 | function, immediate=True, lun=lun)
        bhs[20:24] = referenced.to_bytes(4, "big")
        if function == 1:
            bhs[32:36] = self.cmd_sn.to_bytes(4, "big")
        self.send(bhs)
        return self.receive()

    def read(self, cdb, expected, lun=1):
        """Receives until the status comes."""
        bhs = self._request(0x01, 0xC1 if expected else 0x81, lun=lun)
        bhs[20:24], bhs[32:32 + len(cdb)] = expected.to_bytes(4, "big"), cdb
        self.send(bhs)
        while True:
            answer = self.receive()
            if answer[0] != 0x25 or answer[1] & 1:
                return answer

    def write(self, cdb, data, immediate=8192, first_burst=8192, lun=1):
        """Immediate data, one unsolicited burst, then what R2Ts ask for, 4096 bytes a PDU."""
        final = first_burst <= immediate or len(data) <= immediate
        bhs = self._request(0x01, (0x80 if final else 0) | 0x21, lun=lun)
        bhs[20:24], bhs[32:32 + len(cdb)] = len(data).to_bytes(4, "big"), cdb
        tag = bytes(bhs[16:20])
        self.send(bhs, data[:immediate])
        if not final:
            self._burst(tag, b"\xff" * 4, lun, data, immediate, min(first_burst, len(data)))
        while True:
            answer = self.receive()
            if answer[0] != 0x31:
                return answer
            offset, length = struct.unpack(">II", answer[40:48])
            self._burst(tag, answer[20:24], lun, data, offset, offset + length)

    def _burst(self, tag, transfer_tag, lun, data, offset, end):
        for number, start in enumerate(range(offset, end, 4096)):
            bhs = bytearray(48)
            bhs[0], bhs[9], bhs[16:20], bhs[20:24] = 0x05, lun, tag, transfer_tag
            bhs[1] = 0x80 if start + 4096 >= end else 0
            bhs[28:32] = self.exp_stat_sn.to_bytes(4, "big")
            bhs[36:40], bhs[40:44] = number.to_bytes(4, "big"), start.to_bytes(4, "big")
            self.send(bhs, data[start:min(start + 4096, end)])

    def logout(self):
        self.send(self._request(0x06, 0x80, immediate=True))
        answer = self.receive()
        self.socket.close()
        return answer
