//! Our NBD server against foreign clients: libnbd's tools and library, qemu's tools, fio.
//!
//! Each test has a server of its own over a RAM disk, built from the parts that the daemon is built of.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

#[path = "support/ram_server.rs"]
mod ram_server;

use iiblockdaemon::limits::NBD_REQUESTS_MAX;
use ram_server::{BAD_BLOCK, Offer, RamServer};

/// What a test waits for comes within this, or never.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new("timeout")
        .args(["--kill-after=5", "120", program])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("coreutils' timeout");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {} (are libnbd-bin, python3-libnbd, qemu-utils, fio installed?)\n{}{}",
        output.status,
        stdout,
        stderr
    );
    stdout.into_owned()
}

/// A program for libnbd's Python binding; `h` is connected if there is a `uri`.
fn libnbd(uri: Option<&str>, program: &str) -> String {
    let connect = uri.map_or_else(String::new, |uri| format!("h.connect_uri({uri:?})\n"));
    let prelude = "import errno, hashlib, nbd, os, random, signal\n\
        h = nbd.NBD()\n\
        h.set_strict_mode(0)\n\
        def fails(number, action):\n\
        \x20   try:\n\
        \x20       action()\n\
        \x20   except nbd.Error as error:\n\
        \x20       assert error.errnum == number, error\n\
        \x20   else:\n\
        \x20       raise AssertionError('it was not refused')\n";
    run(
        "/usr/bin/python3",
        &["-c", &format!("{prelude}{connect}{program}")],
    )
}

#[expect(
    clippy::disallowed_methods,
    reason = "foreign processes live in real time"
)]
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::yield_now();
    }
}

fn noise(path: &Path, len: usize) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut data = Vec::with_capacity(len);
    while data.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.extend_from_slice(&state.to_le_bytes());
    }
    data.truncate(len);
    fs::write(path, data).expect("written");
}

#[test]
fn nbdinfo_sees_what_is_offered() {
    let server = RamServer::start(Offer {
        block_size: 4096,
        ..Offer::default()
    });
    let answer = run("nbdinfo", &["--json", &server.uri()]);
    for expected in [
        "\"protocol\": \"newstyle-fixed\"",
        "\"structured\": true",
        "\"export-name\": \"ram\"",
        "\"description\": \"a RAM disk of the tests\"",
        "\"export-size\": 67108864",
        "\"is_read_only\": false",
        "\"can_df\": true",
        "\"can_fast_zero\": true",
        "\"can_flush\": true",
        "\"can_fua\": true",
        "\"can_multi_conn\": true",
        "\"can_trim\": true",
        "\"can_zero\": true",
        "\"can_cache\": false",
        "\"block_size_minimum\": 4096",
        "\"block_size_preferred\": 4096",
        "\"block_size_maximum\": 33554432",
    ] {
        assert!(answer.contains(expected), "{expected} is not in {answer}");
    }
    let list = run("nbdinfo", &["--list", &server.uri()]);
    assert!(list.contains("export=\"ram\""), "{list}");
    assert!(run("qemu-img", &["info", &server.uri()]).contains("64 MiB"));
    assert!(
        run(
            "qemu-nbd",
            &["-L", "-k", &server.socket().to_string_lossy()]
        )
        .contains("ram")
    );
}

#[test]
fn nbdcopy_brings_back_what_it_took_there_over_several_connections() {
    for tcp in [false, true] {
        let server = RamServer::start(Offer {
            tcp,
            ..Offer::default()
        });
        let directory = tempfile::tempdir().expect("a directory");
        let (there, back) = (
            directory.path().join("there"),
            directory.path().join("back"),
        );
        noise(&there, 64 << 20);
        let (there, back) = (there.to_string_lossy(), back.to_string_lossy());
        let uri = server.uri();
        let many = ["--threads=4", "--connections=4", "--requests=64", "--flush"];
        run("nbdcopy", &[&many[..], &[&there, &uri]].concat());
        run("nbdcopy", &[&many[..], &[&uri, &back]].concat());
        run("cmp", &[&there, &back]);
        run(
            "nbdcopy",
            &["--request-size=33554432", "--synchronous", &there, &uri],
        );
        run(
            "nbdcopy",
            &["--request-size=33554432", "--synchronous", &uri, &back],
        );
        run("cmp", &[&there, &back]);
        let counters = &server.counters;
        assert!(counters.clients_ever.load(Ordering::Relaxed) >= 10);
        assert!(counters.most_in_flight.load(Ordering::Relaxed) >= 8);
        assert_eq!(counters.largest_write.load(Ordering::Relaxed), 32 << 20);
        assert!(counters.flushes.load(Ordering::Relaxed) >= 1);
    }
}

#[test]
fn qemu_converts_compares_and_pads_to_the_block_size() {
    let server = RamServer::start(Offer {
        block_size: 4096,
        ..Offer::default()
    });
    let directory = tempfile::tempdir().expect("a directory");
    let image = directory.path().join("image");
    noise(&image, 64 << 20);
    let (image, uri) = (image.to_string_lossy().into_owned(), server.uri());
    let convert = [
        "convert", "-n", "-f", "raw", "-O", "raw", "-W", "-m", "16", &image, &uri,
    ];
    run("qemu-img", &convert);
    run(
        "qemu-img",
        &["compare", "-f", "raw", "-F", "raw", &image, &uri],
    );
    // 700 bytes at 1000 lie in the middle of a block: qemu reads, changes and writes it whole.
    let script = [
        "write -P 0xab 1000 700",
        "read -P 0xab 1000 700",
        "write -f -P 0xcd 1M 4M",
        "read -P 0xcd 1M 4M",
        "write -z 2M 1M",
        "write -z -u 3M 1M",
        "discard 4M 1M",
        "read -P 0 2M 3M",
        "read -P 0xcd 1M 1M",
        "flush",
    ];
    let mut arguments = vec!["-f", "raw", &uri];
    arguments.extend(script.iter().flat_map(|step| ["-c", step]));
    let output = run("qemu-io", &arguments);
    assert!(!output.contains("Pattern verification failed"), "{output}");
    let counters = &server.counters;
    assert!(counters.fua.load(Ordering::Relaxed) >= 1, "-f is FUA");
    assert!(
        counters.zeroes.load(Ordering::Relaxed) >= 2,
        "-z is WRITE_ZEROES"
    );
    assert!(
        counters.trims.load(Ordering::Relaxed) >= 1,
        "discard is TRIM"
    );
}

#[test]
fn fio_verifies_what_it_writes() {
    let server = RamServer::start(Offer::default());
    let uri = format!("--uri={}", server.uri());
    for (size, depth) in [("--bs=4k", "--iodepth=32"), ("--bs=1m", "--iodepth=8")] {
        let arguments = [
            "--name=interop",
            "--ioengine=nbd",
            "--rw=randwrite",
            "--size=64m",
            "--verify=crc32c",
            "--verify_fatal=1",
            "--verify_state_save=0",
            "--fsync=256",
            size,
            depth,
            &uri,
        ];
        let output = run("fio", &arguments);
        assert!(output.contains("err= 0"), "{output}");
    }
}

/// Refusals, features and their errors, told apart by libnbd with its own checks switched off.
const CONFORMANCE: &str = r#"
size = h.get_size()
h.pwrite(b'\x5a' * 512, 0)
h.pwrite(b'\xa5' * 4096, 512, nbd.CMD_FLAG_FUA)
assert h.pread(512, 0) == b'\x5a' * 512
assert h.pread(4096, 512) == b'\xa5' * 4096
h.flush()
h.zero(512, 0)
assert h.pread(512, 0) == bytes(512)
h.zero(512, 512, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA)
h.zero(512, 512, nbd.CMD_FLAG_FAST_ZERO)
h.trim(512, 0, nbd.CMD_FLAG_FUA)

fails(errno.EINVAL, lambda: h.pread(512, 1))
fails(errno.EINVAL, lambda: h.pread(100, 0))
fails(errno.EINVAL, lambda: h.pwrite(b'x' * 100, 0))
fails(errno.EINVAL, lambda: h.pwrite(b'x' * 512, 256))
fails(errno.EINVAL, lambda: h.trim(100, 0))
fails(errno.EINVAL, lambda: h.zero(512, 8))
fails(errno.EINVAL, lambda: h.pread(512, size))
fails(errno.EINVAL, lambda: h.pread(1024, size - 512))
fails(errno.EINVAL, lambda: h.trim(1024, size - 512))
fails(errno.ENOSPC, lambda: h.pwrite(bytes(512), size))
fails(errno.ENOSPC, lambda: h.zero(512, size))
fails(errno.ENOTSUP, lambda: h.zero(2 << 20, 0, nbd.CMD_FLAG_FAST_ZERO))
fails(errno.EINVAL, lambda: h.pread(33 << 20, 0))
fails(errno.EINVAL, lambda: h.pwrite(bytes(33 << 20), 0))
fails(errno.EINVAL, lambda: h.cache(512, 0))
fails(errno.EINVAL, lambda: h.trim(512, 0, nbd.CMD_FLAG_DF))

h.pwrite(b'\x11' * (32 << 20), 0)
assert h.pread(32 << 20, 0) == b'\x11' * (32 << 20)
h.pwrite(b'\x22' * 512, size - 512)
assert h.pread(512, size - 512) == b'\x22' * 512
h.shutdown()
"#;

#[test]
fn libnbd_finds_every_answer_as_the_protocol_has_it() {
    for (mode, structured) in [("True", 1), ("False", 0)] {
        let server = RamServer::start(Offer::default());
        let uri = server.uri();
        let connect = format!("h.set_request_structured_replies({mode})\nh.connect_uri({uri:?})\n");
        libnbd(None, &format!("{connect}{CONFORMANCE}"));
        let counters = &server.counters;
        assert_eq!(
            counters.structured_clients.load(Ordering::Relaxed),
            structured
        );
        eventually("the goodbye", || {
            counters.clients.load(Ordering::Relaxed) == 0
        });
        assert_eq!(counters.orphaned.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn a_bad_block_is_reported_with_its_place_and_spoils_nothing_else() {
    let server = RamServer::start(Offer {
        bad_block: true,
        ..Offer::default()
    });
    let program = format!(
        "bad = {BAD_BLOCK}\n\
         fails(errno.EIO, lambda: h.pread(65536, 0))\n\
         chunks = []\n\
         def chunk(data, offset, status, error):\n\
         \x20   chunks.append((offset, status, error.value))\n\
         fails(errno.EIO, lambda: h.pread_structured(65536, 0, chunk))\n\
         assert chunks == [(bad, nbd.READ_ERROR, errno.EIO)], chunks\n\
         chunks.clear()\n\
         h.pread_structured(8192, 0, chunk, nbd.CMD_FLAG_DF)\n\
         assert chunks == [(0, nbd.READ_DATA, 0)], chunks\n\
         h.shutdown()\n"
    );
    libnbd(Some(&server.uri()), &program);
}

#[test]
fn a_read_only_export_says_so_and_means_it() {
    let server = RamServer::start(Offer {
        read_only: true,
        ..Offer::default()
    });
    let program = "assert h.is_read_only()\n\
        fails(errno.EPERM, lambda: h.pwrite(bytes(512), 0))\n\
        fails(errno.EPERM, lambda: h.zero(512, 0))\n\
        fails(errno.EPERM, lambda: h.trim(512, 0))\n\
        assert h.pread(512, 0) == bytes(512)\n\
        h.flush()\n\
        h.shutdown()\n";
    libnbd(Some(&server.uri()), program);
}

#[test]
fn the_handshake_can_be_haggled_in_every_way_that_libnbd_knows() {
    let server = RamServer::start(Offer::default());
    let socket = server.socket();
    let program = format!(
        "socket = {socket:?}\n\
         h.set_opt_mode(True)\n\
         h.connect_unix(socket)\n\
         names = []\n\
         assert h.opt_list(lambda name, text: names.append((name, text))) == 1\n\
         assert names == [('ram', 'a RAM disk of the tests')], names\n\
         h.set_full_info(True)\n\
         h.set_export_name('none such')\n\
         fails(errno.ENOENT, h.opt_info)\n\
         fails(errno.ENOENT, h.opt_go)\n\
         h.set_export_name('')\n\
         h.opt_info()\n\
         assert h.get_canonical_export_name() == 'ram'\n\
         h.add_meta_context('base:allocation')\n\
         fails(errno.ENOTSUP, lambda: h.opt_list_meta_context(lambda name: None))\n\
         h.opt_go()\n\
         assert h.pread(512, 0) == bytes(512)\n\
         h.shutdown()\n\
         h = nbd.NBD()\n\
         h.set_opt_mode(True)\n\
         h.connect_unix(socket)\n\
         h.opt_abort()\n\
         # Without fixed newstyle, libnbd uses EXPORT_NAME; with and without the zeroes.\n\
         for flags in (0, nbd.HANDSHAKE_FLAG_NO_ZEROES, nbd.HANDSHAKE_FLAG_FIXED_NEWSTYLE):\n\
         \x20   h = nbd.NBD()\n\
         \x20   h.set_handshake_flags(flags)\n\
         \x20   h.set_export_name('ram')\n\
         \x20   h.connect_unix(socket)\n\
         \x20   assert h.get_size() == 64 << 20\n\
         \x20   assert h.pread(512, 0) == bytes(512)\n\
         \x20   h.shutdown()\n\
         # TLS wanted but not needed: our refusal of STARTTLS keeps the stream in step.\n\
         h = nbd.NBD()\n\
         if h.supports_tls():\n\
         \x20   h.set_tls(nbd.TLS_ALLOW)\n\
         \x20   h.connect_unix(socket)\n\
         \x20   assert not h.get_tls_negotiated()\n\
         \x20   assert h.pread(512, 0) == bytes(512)\n"
    );
    libnbd(None, &program);
}

/// 64 requests in flight on each of 4 connections, in the upper half, each checked against a model.
const PARALLEL: &str = r#"
handles = [h] + [nbd.NBD() for _ in range(3)]
for other in handles[1:]:
    other.connect_uri(uri)
assert h.can_multi_conn()
random.seed(7)
BLOCK = 16384
BASE = h.get_size() // 2
blocks = BASE // BLOCK
model, busy, done = {}, set(), 0
def finish(block, expected, buffer):
    def completed(error):
        global done
        assert error.value == 0, error.value
        if expected is not None:
            assert buffer.to_bytearray() == expected * BLOCK, block
        busy.discard(block)
        done += 1
        return 1
    return completed
started = 0
while done < 6000:
    for handle in handles:
        while started < 6000 and handle.aio_in_flight() < 64:
            block = random.randrange(blocks)
            if block in busy:
                continue
            busy.add(block)
            started += 1
            if random.random() < 0.5:
                fill = bytes([random.randrange(256)])
                model[block] = fill
                buffer = nbd.Buffer.from_bytearray(bytearray(fill * BLOCK))
                handle.aio_pwrite(buffer, BASE + block * BLOCK, finish(block, None, buffer))
            else:
                buffer = nbd.Buffer(BLOCK)
                expected = model.get(block, b'\0')
                handle.aio_pread(buffer, BASE + block * BLOCK, finish(block, expected, buffer))
        handle.poll(1)
for handle in handles:
    handle.shutdown()
"#;

#[test]
fn many_requests_in_flight_on_several_connections_find_their_answers() {
    for mode in ["True", "False"] {
        let server = RamServer::start(Offer::default());
        let uri = server.uri();
        let head = format!(
            "uri = {uri:?}\nh.set_request_structured_replies({mode})\nh.connect_uri(uri)\n"
        );
        libnbd(None, &format!("{head}{PARALLEL}"));
        assert!(server.counters.requests.load(Ordering::Relaxed) >= 6000);
        assert!(server.counters.most_in_flight.load(Ordering::Relaxed) >= 32);
    }
}

/// Fills the pipe in both directions, then dies without a word.
const DEATH: &str = r#"
buffers = []
for i in range(120):
    buffer = nbd.Buffer(256 * 1024)
    buffers.append(buffer)
    if i % 2:
        h.aio_pread(buffer, i * 4096)
    else:
        h.aio_pwrite(buffer, i * 4096)
h.poll(100)
os.kill(os.getpid(), signal.SIGKILL)
"#;

#[test]
fn clients_that_die_under_load_leave_the_server_and_the_others_alone() {
    let server = RamServer::start(Offer::default());
    let uri = server.uri();
    let survivor = std::thread::spawn({
        let uri = uri.clone();
        move || libnbd(Some(&uri), &format!("uri = {uri:?}\n{PARALLEL}"))
    });
    let program = format!("import nbd, os, signal\nh = nbd.NBD()\nh.connect_uri({uri:?})\n{DEATH}");
    for _ in 0..10 {
        let status = Command::new("/usr/bin/python3")
            .args(["-c", &program])
            .status()
            .expect("python3");
        assert!(!status.success(), "it was killed");
    }
    survivor.join().expect("the other client finds no error");
    let counters = &server.counters;
    eventually("the end of all clients", || {
        counters.clients.load(Ordering::Relaxed) == 0
    });
    assert!(
        counters.orphaned.load(Ordering::Relaxed) > 0,
        "nothing was in flight when the clients died"
    );
    libnbd(Some(&uri), "h.pwrite(bytes(512), 0)\nh.shutdown()\n");
}

/// A connection that libnbd would not make: past a minimal handshake, without any of a client's restraint.
fn raw(server: &RamServer) -> UnixStream {
    let mut client = UnixStream::connect(server.socket()).expect("connected");
    client
        .write_all(b"\0\0\0\x03IHAVEOPT\0\0\0\x01\0\0\0\0")
        .expect("export chosen");
    let mut answers = [0; 18 + 10];
    client.read_exact(&mut answers).expect("greeted");
    client.set_read_timeout(Some(PATIENCE)).expect("bounded");
    client
}

#[test]
fn more_requests_at_once_than_there_are_places_are_all_answered() {
    let server = RamServer::start(Offer::default());
    let mut client = raw(&server);
    let mut flush = b"\x25\x60\x95\x13\0\0\0\x03".to_vec();
    flush.extend([0; 20]);
    // The second lot fills every place exactly, and nothing is left over that would wake the server.
    for count in [2 * NBD_REQUESTS_MAX, NBD_REQUESTS_MAX, 1] {
        client.write_all(&flush.repeat(count)).expect("sent");
        let mut replies = vec![0; 16 * count];
        client.read_exact(&mut replies).expect("answered");
    }
    let most = server.counters.most_in_flight.load(Ordering::Relaxed);
    assert_eq!(most, NBD_REQUESTS_MAX, "the bound was reached");
}

#[test]
fn a_client_that_does_not_read_its_replies_holds_back_itself_only() {
    let server = RamServer::start(Offer::default());
    let mut glutton = raw(&server);
    let mut read = b"\x25\x60\x95\x13\0\0\0\0".to_vec();
    read.extend([0; 16]);
    read.extend(u32::to_be_bytes(1 << 20));
    glutton.set_nonblocking(true).expect("non-blocking");
    let mut sent = 0;
    while sent < 256 << 20 {
        match glutton.write(&read.repeat(1000)) {
            Ok(count) => sent += count,
            Err(_) => break,
        }
    }
    assert!(sent < 256 << 20, "the server goes on reading for ever");
    libnbd(
        Some(&server.uri()),
        "h.pwrite(bytes(512), 0)\nh.shutdown()\n",
    );
    // 64 MiB of replies, and nothing is started beyond them until the client reads.
    let started = server.counters.requests.load(Ordering::Relaxed);
    assert!(
        started < 200,
        "{started} requests for a client that reads nothing"
    );
    drop(glutton);
    let counters = &server.counters;
    eventually("the end of all clients", || {
        counters.clients.load(Ordering::Relaxed) == 0
    });
}
