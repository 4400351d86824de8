use std::collections::BTreeMap;
use std::io;
use std::path::Path as FilePath;
use std::time::Duration;

use super::*;
use policies::{Failback, PolicyKind, Tiers};

/// The usual case of the documentation.
pub(super) const USUAL: &str = r#"
[daemon]
initiator_name = "iqn.2026-11.com.example:db1"

[[volume]]
name   = "db"
target = "iqn.2003-01.com.example:array1"
lun    = 1
export = { nbd = "unix:/run/iiblockdaemon/db.sock" }
paths  = [
  { portal = "10.0.1.10", nic = "eth1" },
  { portal = "10.0.2.10", nic = "eth2" },
]
"#;

/// Every key of the first version, none with its default.
pub(super) const EVERY_KEY: &str = r#"
[daemon]
initiator_name = "iqn.2026-11.com.example:db1"
state_dir = "/srv/state"
control = { socket = "/srv/control.sock", group = "storage" }

[[volume]]
name = "archive"
wwid = "naa.6001405F2D3C4B5A69788796A5B4C3D2"
shared = true
policy = { selector = "round-robin", by = "bytes", failback = "2m" }
no_path = { queue = "forever" }
fence = ["reinstate", "quiesce"]
quiesce = "50s"
stop_timeout = "20s"
alua = "explicit"
resize = "never"
same_unit = "blocks"
sessions = 2
detect = { network = "800ms", target = "6s", command = "40s" }
iscsi.header_digest = "crc32c"
iscsi.data_digest = "prefer-crc32c"
iscsi.max_recv_data_segment_length = "128KiB"
iscsi.first_burst_length = "64KiB"
iscsi.max_burst_length = "512KiB"
iscsi.immediate_data = false
iscsi.initial_r2t = true
iscsi.max_outstanding_r2t = 2
iscsi.queue_depth = 64
export = { nbd = ["unix:/run/a.sock", "tcp:[::1]:10809"], read_only = true }
target = "iqn.2003-01.com.example:array2"
lun = 0x4001000000000000
paths = [
  { portal = "[fe80::5%eth3]:3261", nic = "eth3", weight = 3, tier = 2 },
  { portal = "10.0.2.11", source = "10.0.2.1", target = "iqn.2003-01.com.example:array2b", lun = 7 },
]
"#;

/// Every level has its say.
pub(super) const LAYERED: &str = r#"
[daemon]
initiator_name = "iqn.2026-11.com.example:db1"

[defaults]
quiesce = "50s"
detect = { network = "800ms", command = "40s" }

[profile.slow]
detect.network = "900ms"
stop_timeout = "30s"
policy = "round-robin"

[profile.unused]
shared = true
[[volume]]
name = "db"
target = "iqn.2003-01.com.example:array1"
lun = 1
profile = "slow"
export = { nbd = ["unix:/run/db.sock"] }
stop_timeout = "20s"
detect.target = "6s"
paths = [{ portal = "10.0.1.10", weight = 1 }]
"#;

/// No file that a configuration could name.
pub(super) fn no_secrets() -> impl Files {
    Disk::default()
}

/// One secret.
pub(super) fn secret(name: &str, content: &str) -> impl Files {
    Disk::default().with(name, 0o600, 1000, content.as_bytes())
}

/// Files in memory; we are user 1000.
#[derive(Default)]
struct Disk(BTreeMap<PathBuf, FileContent>);

impl Disk {
    fn with(mut self, name: &str, mode: u32, owner: u32, bytes: &[u8]) -> Self {
        let content = FileContent {
            regular: true,
            mode,
            owner,
            bytes: bytes.to_owned(),
        };
        self.0
            .insert(FilePath::new("/etc/iiblockdaemon").join(name), content);
        self
    }
}

impl Files for Disk {
    fn read(&self, file: &FilePath, limit: usize) -> Result<FileContent, io::ErrorKind> {
        let mut content = self.0.get(file).ok_or(io::ErrorKind::NotFound)?.clone();
        content.bytes.truncate(limit);
        Ok(content)
    }

    fn user(&self) -> u32 {
        1000
    }
}

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, FilePath::new("multipath.toml"), &Disk::default())
}

fn parse_on(disk: &Disk, text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(
        text,
        FilePath::new("/etc/iiblockdaemon/multipath.toml"),
        disk,
    )
}

fn messages(text: &str) -> Vec<String> {
    let errors = parse(text).expect_err("this text has mistakes");
    errors.to_string().lines().map(str::to_owned).collect()
}

/// The usual case with `line` added to its volume.
fn volume_with(line: &str) -> String {
    format!("{USUAL}{line}\n")
}

/// The only volume of the usual case with `line` added.
fn only(line: &str) -> Volume {
    let mut config = parse(&volume_with(line)).unwrap_or_else(|errors| panic!("{errors}"));
    config.volumes.remove(0)
}

/// The one message that `line` in the volume gives, without file and line.
fn mistake(line: &str) -> String {
    let messages = messages(&volume_with(line));
    let [message] = messages.as_slice() else {
        panic!("not one message: {messages:#?}");
    };
    let (place, rest) = message.split_once(": ").unwrap();
    assert!(place.starts_with("multipath.toml:"), "{message}");
    rest.to_owned()
}

/// The usual case with CHAP.
fn with_auth(disk: &Disk, lines: &str) -> Result<Config, ConfigErrors> {
    let auth = "auth = \"array1\"\n[auth.array1]\nusername = \"db1\"\n";
    parse_on(disk, &format!("{USUAL}{auth}{lines}\n"))
}

#[test]
fn the_usual_case_needs_no_more_than_its_few_lines() {
    let config = parse(USUAL).unwrap();
    assert_eq!(config.daemon.initiator_name, "iqn.2026-11.com.example:db1");
    assert_eq!(
        config.daemon.state_dir,
        FilePath::new("/var/lib/iiblockdaemon")
    );
    assert_eq!(
        config.daemon.control.socket,
        FilePath::new("/run/iiblockdaemon/control.sock")
    );
    let volume = config.volume("db").unwrap();
    assert_eq!(
        volume.export.nbd,
        [Listen::Unix("/run/iiblockdaemon/db.sock".into())]
    );
    assert!(!volume.export.read_only && !volume.shared && volume.auth.is_none());
    assert_eq!(volume.no_path, NoPath::Queue(Duration::from_secs(300)));
    assert_eq!(volume.fence.quiesce, Some(Duration::from_secs(45)));
    assert!(volume.fence.reinstate);
    assert_eq!(volume.policy, defaults::POLICY);
    assert_eq!(volume.detect, defaults::DETECT);
    assert_eq!(volume.iscsi, defaults::ISCSI);
    let [first, second] = volume.paths.as_slice() else {
        panic!("{:?}", volume.paths);
    };
    assert_eq!(first.to_string(), "10.0.1.10:3260 via eth1");
    assert_eq!(second.to_string(), "10.0.2.10:3260 via eth2");
    assert_eq!(first.lun.number(), Some(1));
    assert_eq!(first.isid, isid(&config.daemon.initiator_name, "db", first));
    assert_ne!(first.isid, second.isid);
}

#[test]
fn every_key_of_the_first_version_is_understood() {
    let config = parse(EVERY_KEY).unwrap();
    let volume = &config.volumes[0];
    assert_eq!(config.daemon.control.group.as_deref(), Some("storage"));
    assert_eq!(
        volume.wwid.as_deref(),
        Some("naa.6001405f2d3c4b5a69788796a5b4c3d2")
    );
    assert_eq!(
        volume.policy.to_string(),
        "round-robin by bytes, failback after 120s, hedge 1%"
    );
    assert_eq!(volume.no_path, NoPath::QueueForever);
    assert_eq!(volume.fence.quiesce, Some(Duration::from_secs(50)));
    assert!(volume.shared && volume.export.read_only);
    assert_eq!(volume.stop_timeout, Duration::from_secs(20));
    assert_eq!(volume.detect.network, Duration::from_millis(800));
    assert_eq!(
        volume.iscsi,
        Iscsi {
            header_digest: DigestChoice::Crc32c,
            data_digest: DigestChoice::PreferCrc32c,
            max_recv_data_segment_length: 128 << 10,
            first_burst_length: 64 << 10,
            max_burst_length: 512 << 10,
            immediate_data: false,
            initial_r2t: true,
            max_outstanding_r2t: 2,
            queue_depth: 64,
        }
    );
    assert_eq!(volume.alua, Alua::Explicit);
    let listens: Vec<String> = volume.export.nbd.iter().map(ToString::to_string).collect();
    assert_eq!(listens, ["unix:/run/a.sock", "tcp:[::1]:10809"]);
    assert_eq!(volume.resize, Resize::Never);
    assert_eq!(volume.same_unit, SameUnit::Blocks);
    let [first, _, second, last] = volume.paths.as_slice() else {
        panic!("{:?}", volume.paths);
    };
    assert_eq!(last.to_string(), format!("{second} #2"));
    assert_eq!(first.to_string(), "[fe80::5%eth3]:3261 via eth3");
    assert_eq!(
        (first.weight, first.tier, first.lun.to_wire()),
        (3, 2, [0x40, 1, 0, 0, 0, 0, 0, 0])
    );
    assert_eq!(second.to_string(), "10.0.2.11:3260 from 10.0.2.1");
    assert_eq!(second.target, "iqn.2003-01.com.example:array2b");
    assert_eq!(second.lun.number(), Some(7));
}

#[test]
fn a_file_with_three_mistakes_gives_exactly_three_messages() {
    let text = r#"
[daemon]
initiator_name = "iqn.2026-11.com.example:db1"

[[volume]]
name   = "db"
target = "iqn.2003-01.com.example:array1"
lun    = 1
polcy  = "failover"
no_path = { queue = "5 fortnights" }
export = { nbd = "unix:/run/iiblockdaemon/db.sock" }
paths  = [
  { portal = "10.0.1.10", nic = "eth1" },
  { portal = "10.0.2.256", nic = "eth2" },
]
"#;
    let messages = messages(text);
    let expected = [
        "multipath.toml:9: volume.db.polcy: unknown key; did you mean \"policy\"?; known here: ",
        "multipath.toml:10: volume.db.no_path.queue: \"5 fortnights\" is no duration; write a whole ",
        "multipath.toml:14: volume.db.paths[1].portal: \"10.0.2.256\" is no portal: the IPv4 address ",
    ];
    assert_eq!(messages.len(), expected.len(), "{messages:#?}");
    for (message, expected) in messages.iter().zip(expected) {
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn a_misspelt_key_is_not_missing_as_well() {
    for (right, wrong) in [
        ("[daemon]", "[deamon]"),
        ("initiator_name", "initator_name"),
        ("[[volume]]", "[[volumes]]"),
        ("export", "exports"),
        ("target", "taget"),
        ("portal = \"10.0.1.10\"", "portl = \"10.0.1.10\""),
    ] {
        let messages = messages(&USUAL.replacen(right, wrong, 1));
        assert_eq!(messages.len(), 1, "{messages:#?}");
        assert!(
            messages[0].contains("unknown key; did you mean"),
            "{messages:#?}"
        );
    }
}

#[test]
fn syntax_errors_come_with_line_and_column() {
    let messages = messages("[daemon]\ninitiator_name = \"iqn\nx = = 1\n");
    assert!(
        messages[0].starts_with("multipath.toml:2: not valid TOML at column "),
        "{messages:#?}"
    );
    assert!(
        messages
            .iter()
            .any(|message| message.starts_with("multipath.toml:3: ")),
        "{messages:#?}"
    );
}

#[test]
fn a_key_that_stands_there_twice_is_named() {
    let messages = messages(&volume_with("quiesce = \"1s\"\nquiesce = \"2s\""));
    let [message] = messages.as_slice() else {
        panic!("not one message: {messages:#?}");
    };
    let expected = ": not valid TOML at column 1: duplicate key \"quiesce\"; remove one of the two";
    assert!(message.ends_with(expected), "{message}");
}

#[test]
fn a_single_bracket_around_volume_is_told() {
    let messages = messages(&USUAL.replace("[[volume]]", "[volume]"));
    let [message] = messages.as_slice() else {
        panic!("not one message: {messages:#?}");
    };
    assert!(message.contains(": volume: expected a list, found a single table; write [[volume]]"));
}

#[test]
fn an_empty_file_says_what_every_file_needs() {
    let messages = messages("");
    assert_eq!(
        messages,
        [
            "multipath.toml: daemon.initiator_name: missing; add a line like: \
             initiator_name = \"iqn.2026-11.com.example:host1\"",
            "multipath.toml: volume: missing; add a line like: [[volume]]",
        ]
    );
}

#[test]
fn what_a_volume_needs_is_named_with_an_example_line() {
    let messages =
        messages("[daemon]\ninitiator_name = \"iqn.2026-11.com.example:db1\"\n[[volume]]\n");
    let missing: Vec<&str> = messages
        .iter()
        .map(|message| {
            let rest = message
                .strip_prefix("multipath.toml:3: volume[0].")
                .unwrap();
            rest.split_once(": missing; add a line like: ").unwrap().0
        })
        .collect();
    assert_eq!(missing, ["export", "name", "paths"]);
}

#[test]
fn target_and_lun_are_needed_unless_every_path_has_its_own() {
    let text = |path: &str| {
        format!(
            "[daemon]\ninitiator_name = \"iqn.2026-11.com.example:db1\"\n[[volume]]\nname = \"db\"\n\
             export = {{ nbd = \"unix:/run/db.sock\" }}\npaths = [{path}]\n"
        )
    };
    let own = "{ portal = \"10.0.1.10\", target = \"iqn.2003-01.com.example:a\", lun = 3 }";
    assert_eq!(
        parse(&text(own)).unwrap().volumes[0].paths[0].lun.number(),
        Some(3)
    );
    let messages = messages(&text(&format!("{own}, {{ portal = \"10.0.2.10\" }}")));
    assert_eq!(messages.len(), 2, "{messages:#?}");
    assert!(
        messages[0].contains("volume.db.lun: missing"),
        "{messages:#?}"
    );
    assert!(
        messages[1].contains("volume.db.target: missing"),
        "{messages:#?}"
    );
}

#[test]
fn a_volume_is_over_its_profile_is_over_defaults_is_over_built_in() {
    let text = r#"
profile = "slow"
detect = { target = "7s" }

[defaults]
detect = { network = "900ms", target = "8s", command = "41s" }
stop_timeout = "11s"

[profile.slow]
detect = { target = "9s", command = "42s" }
iscsi = { queue_depth = 7 }
"#;
    let volume = only(text);
    assert_eq!(volume.detect.network, Duration::from_millis(900));
    assert_eq!(volume.detect.target, Duration::from_secs(7));
    assert_eq!(volume.detect.command, Duration::from_secs(42));
    assert_eq!(volume.stop_timeout, Duration::from_secs(11));
    assert_eq!(volume.iscsi.queue_depth, 7);
    assert_eq!(
        volume.iscsi.max_burst_length,
        defaults::ISCSI.max_burst_length
    );
}

#[test]
fn a_mistake_in_defaults_is_told_once_however_many_volumes_have_it() {
    let second = USUAL.split_once("[[volume]]").unwrap().1;
    let second = second
        .replace("\"db\"", "\"db2\"")
        .replace("db.sock", "db2.sock");
    let second = second.replace("lun    = 1", "lun = 2");
    let text = format!("{USUAL}[[volume]]{second}[defaults]\ndetect = {{ target = \"31s\" }}\n");
    let messages = messages(&text);
    assert_eq!(messages.len(), 1, "{messages:#?}");
    assert!(
        messages[0].ends_with(
            "defaults.detect.target: 31s is above detect.command = 30s; lower this or raise that"
        ),
        "{messages:#?}"
    );
}

#[test]
fn policies_are_presets_or_parts() {
    assert_eq!(
        only("policy = \"round-robin\"").policy.selector,
        PolicyKind::RoundRobin
    );
    let parts = only("policy = { failback = \"manual\" }").policy;
    assert_eq!(
        (parts.selector, parts.failback),
        (PolicyKind::LatencyAware, Failback::Manual)
    );
    for tiers in Tiers::ALL {
        let written = format!("policy = {{ tiers = \"{}\" }}", tiers.name());
        assert_eq!(only(&written).policy.tiers, tiers);
    }
    for kind in PolicyKind::ALL {
        let written = format!("policy = \"{kind}\"");
        assert_eq!(only(&written).policy.selector, kind);
    }
    let parts = only("policy = { selector = \"failover\", failback = \"immediate\" }").policy;
    assert_eq!(parts.failback, Failback::Immediate);
    assert_eq!(
        mistake("policy = \"roundrobin\""),
        "volume.db.policy: \"roundrobin\" is not possible; did you mean \"round-robin\"?; there are: \
         \"failover\", \"round-robin\", \"queue-length\", \"service-time\", \"historical-service-time\", \
         \"latency-aware\""
    );
    assert!(mistake("policy = { by = \"bytes\" }").contains("with \"round-robin\" only"));
    assert!(
        mistake("policy = { failback = \"imediate\" }").contains("did you mean \"immediate\"?")
    );
    assert!(mistake("policy = 3").contains("expected a table, found a number"));
}

#[test]
fn contradictions_are_found_where_they_were_written() {
    for (line, expected) in [
        (
            "iscsi = { first_burst_length = \"2MiB\" }",
            "volume.db.iscsi.first_burst_length: 2MiB is above iscsi.max_burst_length = 1MiB; \
             lower this or raise that",
        ),
        (
            "detect = { command = \"2s\" }",
            "volume.db.detect.command: 2s is below detect.target = 5s; raise this or lower that",
        ),
        (
            "no_path = { queue = \"5s\" }",
            "volume.db.no_path.queue: I/O would fail after 5s, before a silent path is even given up \
             (detect.network + detect.target = 5700ms); raise it, or write \"fail\"",
        ),
        (
            "fence = [\"reinstate\"]\nquiesce = \"60s\"",
            "volume.db.quiesce: quiesce has no effect without \"quiesce\" in fence; \
             add it there, or remove this",
        ),
        (
            "fence = [\"lun-reset\", \"quiesce\"]",
            "volume.db.fence: \"lun-reset\" is no fence without \"reinstate\": what a lost connection still \
             delivers comes after the reset; add \"reinstate\", or remove this",
        ),
        (
            "profile = \"x\"",
            "volume.db.profile: \"x\" is not defined; add a section [profile.x]",
        ),
        (
            "auth = \"aray\"\n[auth.array]\nusername = 5",
            "volume.db.auth: \"aray\" is not defined; did you mean \"array\"?; add a section [auth.aray]",
        ),
    ] {
        let messages = messages(&volume_with(line));
        assert!(
            messages.iter().any(|message| message.ends_with(expected)),
            "{line} gave {messages:#?}"
        );
    }
    let lower = only("iscsi = { max_burst_length = \"64KiB\" }").iscsi;
    assert_eq!(
        lower.first_burst_length,
        64 << 10,
        "the default follows what was lowered"
    );
    assert_eq!(only("fence = [\"reinstate\"]").fence.quiesce, None);
    assert!(!only("").fence.lun_reset, "it hits other hosts");
    assert!(
        only("fence = [\"reinstate\", \"lun-reset\"]")
            .fence
            .lun_reset
    );
}

#[test]
fn values_out_of_range_name_the_range() {
    for (line, expected) in [
        (
            "quiesce = \"0s\"",
            "quiesce: 0s is out of range; it may be 1s to 1h",
        ),
        (
            "iscsi = { queue_depth = 0 }",
            "queue_depth: 0 is out of range; it may be 1 to 1024",
        ),
        (
            "iscsi = { queue_depth = -1 }",
            "queue_depth: -1 is out of range; it may be 0 to 18446744073709551615",
        ),
        (
            "iscsi = { max_burst_length = \"16MiB\" }",
            "max_burst_length: 16MiB is out of range; it may be 512B to 16777215B",
        ),
        (
            "detect = { network = \"100ms\" }",
            "network: 100ms is out of range; it may be 200ms to 1m",
        ),
        (
            "no_path = { queue = 5 }",
            "queue: expected a string in quotes, found a number",
        ),
        (
            "no_path = \"queue\"",
            "no_path: \"queue\" is not possible; there are: \"fail\"",
        ),
        (
            "no_path = {}",
            "no_path.queue: missing; add a line like: queue = \"5m\"",
        ),
        (
            "fence = []",
            "fence: the list is empty; name one at least, or remove the key",
        ),
        (
            "fence = [\"quiesce\", \"quiesce\"]",
            "fence[1]: \"quiesce\" stands there twice; remove one",
        ),
        (
            "shared = \"yes\"",
            "shared: expected true or false, found a string",
        ),
        (
            "wwid = \"6001405\"",
            "wwid: \"6001405\" is no identity; write \"naa.\" and 16 or 32 hexadecimal digits, \
             \"eui.\" and 16, 24 or 32, or \"t10.\" and its text (see: iibadm discover)",
        ),
    ] {
        let message = mistake(line);
        assert!(message.ends_with(expected), "{line} gave {message}");
    }
}

#[test]
fn keys_of_later_versions_are_unknown_for_now() {
    for key in ["portals = [\"10.0.1.1\"]", "nics = [\"eth1\"]"] {
        assert!(mistake(key).contains("unknown key"), "{key}");
    }
}

#[test]
fn each_session_of_a_path_is_a_path_with_a_name_and_an_isid_of_its_own() {
    let config = parse(&format!("{USUAL}sessions = 3\n")).unwrap();
    let names: Vec<String> = config.volumes[0]
        .paths
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        names,
        [
            "10.0.1.10:3260 via eth1",
            "10.0.1.10:3260 via eth1 #2",
            "10.0.1.10:3260 via eth1 #3",
            "10.0.2.10:3260 via eth2",
            "10.0.2.10:3260 via eth2 #2",
            "10.0.2.10:3260 via eth2 #3",
        ]
    );
    let one = parse(USUAL).unwrap();
    assert_eq!(
        config.volumes[0].paths[3], one.volumes[0].paths[1],
        "the first one is the same whatever there is besides"
    );
    let isids = config.volumes[0].paths.iter().map(|path| path.isid);
    assert_eq!(isids.collect::<std::collections::BTreeSet<_>>().len(), 6);
    let many = format!("{}sessions = 8\n", USUAL.replace("paths  = [", MORE_PATHS));
    assert!(
        messages(&many)[0].contains("40 paths; at most 32"),
        "{:?}",
        messages(&many)
    );
}

/// Three more of them.
const MORE_PATHS: &str = r#"paths  = [
  { portal = "10.0.3.10" }, { portal = "10.0.4.10" }, { portal = "10.0.5.10" },"#;

#[test]
fn volumes_must_not_share_names_sockets_or_logical_units() {
    let second = USUAL.split_once("[[volume]]").unwrap().1;
    let messages_of = |second: &str| messages(&format!("{USUAL}[[volume]]{second}"));
    let all = messages_of(second);
    assert_eq!(all.len(), 3, "{all:#?}");
    assert!(
        all[0].contains("volume.db is the same logical unit; one volume per LUN"),
        "{all:#?}"
    );
    assert!(
        all[2].contains("unix:/run/iiblockdaemon/db.sock is used by volume.db already"),
        "{all:#?}"
    );
    assert!(all[1].contains("two volumes are named \"db\""), "{all:#?}");
    let other = second
        .replace("\"db\"", "\"db2\"")
        .replace("db.sock", "control.sock");
    let other = other.replace("lun    = 1", "lun = 2");
    let all = messages_of(&other);
    assert_eq!(all.len(), 1, "{all:#?}");
    assert!(
        all[0].contains("is used by daemon.control already"),
        "{all:#?}"
    );
    let shared = second
        .replace("\"db\"", "\"db2\"")
        .replace("db.sock", "db2.sock");
    let text = format!("{USUAL}[[volume]]{shared}[defaults]\nshared = true\n");
    let config = parse(&text).unwrap();
    assert_ne!(
        config.volumes[0].paths[0].isid,
        config.volumes[1].paths[0].isid
    );
}

fn paths(list: &str) -> String {
    let (head, _) = USUAL.split_once("paths").unwrap();
    format!("{head}paths = [{list}]\n")
}

#[test]
fn paths_must_differ_and_make_sense() {
    for (list, expected) in [
        (
            "{ portal = \"10.0.1.10\" }, { portal = \"10.0.1.10:3260\", weight = 2 }",
            "volume.db.paths[1]: this is the same path as volume.db.paths[0]; ",
        ),
        ("{ nic = \"eth1\" }", "volume.db.paths[0].portal: missing; "),
        (
            "{ portal = \"10.0.1.10\", nic = \"eth 1\" }",
            "paths[0].nic: \"eth 1\" is no name of a network interface",
        ),
        (
            "{ portal = \"10.0.1.10\", weight = 256 }",
            "paths[0].weight: 256 is out of range; it may be 1 to 255",
        ),
        (
            "{ portal = \"10.0.1.10\", source = \"fe80::1\" }",
            "paths[0].source: source fe80::1 and portal 10.0.1.10:3260 are not of",
        ),
        (
            "{ portal = \"10.0.1.10\", source = \"eth1\" }",
            "paths[0].source: \"eth1\" is no IP address",
        ),
        (
            "{ portal = \"fe80::1\" }",
            "paths[0].portal: a link-local portal needs its interface",
        ),
        (
            "{ portal = \"fe80::1%eth1\", nic = \"eth2\" }",
            "paths[0].nic: the portal's scope is eth1, the nic is eth2",
        ),
        (
            "{ portal = \"10.0.1.10\", lun = 99999 }",
            "paths[0].lun: 99999 is no LUN",
        ),
        (
            "{ portal = \"10.0.1.10\", lun = 20000 }",
            "paths[0].lun: 20000 is no LUN",
        ),
        (
            "{ portal = \"10.0.1.10\", niic = \"eth1\" }",
            "paths[0].niic: unknown key; did you mean \"nic\"?",
        ),
        (
            "",
            "volume.db.paths: the list is empty; name one path at least",
        ),
        ("5", "volume.db.paths[0]: expected a table, found a number"),
    ] {
        let messages = messages(&paths(list));
        assert_eq!(messages.len(), 1, "{list} gave {messages:#?}");
        assert!(messages[0].contains(expected), "{list} gave {messages:#?}");
    }
    let many: String = (0..33)
        .map(|n| format!("{{ portal = \"10.0.1.{n}\" }},"))
        .collect();
    let messages = messages(&paths(&many));
    assert!(
        messages[0].contains("33 paths; at most 32 are possible"),
        "{messages:#?}"
    );
    parse(&paths("{ portal = \"fe80::1\", nic = \"eth2\" }")).unwrap();
}

#[test]
fn secrets_come_from_private_files_without_their_newline() {
    let disk = Disk::default()
        .with("ours", 0o600, 1000, b"correct horse battery\n")
        .with("theirs", 0o400, 0, b"staple staple\r\n")
        .with("bytes", 0o600, 1000, b"\nrandom\x01bytes\xff ");
    let lines = "secret_file = \"ours\"\ntarget_username = \"array1\"\ntarget_secret_file = \"theirs\"\n\
                 algorithms = [\"sha256\", \"md5\"]\nallow_none = true";
    let config = with_auth(&disk, lines).unwrap();
    let auth = config.volumes[0].auth.as_ref().unwrap();
    assert_eq!(
        (auth.name.as_str(), auth.username.as_str()),
        ("array1", "db1")
    );
    assert_eq!(auth.secret.expose(), b"correct horse battery");
    let target = auth.target.as_ref().unwrap();
    assert_eq!(target.secret.expose(), b"staple staple");
    assert_eq!(auth.algorithms, [ChapAlgorithm::Sha256, ChapAlgorithm::Md5]);
    assert!(auth.allow_none);
    let config = with_auth(&disk, "secret_file = \"bytes\"").unwrap();
    let auth = config.volumes[0].auth.as_ref().unwrap();
    assert_eq!(auth.secret.expose(), b"\nrandom\x01bytes\xff ");
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("horse") && !shown.contains("staple"),
        "{shown}"
    );
}

#[test]
fn a_secret_that_is_not_safe_is_refused_and_never_shown() {
    let mut disk = Disk::default()
        .with("open", 0o640, 1000, b"correct horse battery")
        .with("foreign", 0o600, 1001, b"correct horse battery")
        .with("short", 0o600, 1000, b"hunter2\n")
        .with("long", 0o600, 1000, &[b'x'; 300])
        .with("good", 0o600, 1000, b"correct horse battery")
        .with("same", 0o600, 1000, b"correct horse battery\n")
        .with("dir", 0o700, 1000, b"");
    disk.0
        .get_mut(FilePath::new("/etc/iiblockdaemon/dir"))
        .unwrap()
        .regular = false;
    for (lines, expected) in [
        (
            "secret_file = \"foreign\"",
            "the file belongs to user 1001; it must belong to root or to user 1000",
        ),
        (
            "secret_file = \"open\"",
            "others than its owner may use the file (mode 0640); run: chmod 600",
        ),
        (
            "secret_file = \"short\"",
            "the secret has 7 bytes; at least 12 are needed",
        ),
        (
            "secret_file = \"long\"",
            "the secret has more than 256 bytes",
        ),
        ("secret_file = \"dir\"", "it does not name a regular file"),
        (
            "secret_file = \"hunter2hunter2\"",
            "the file that it names cannot be read: no such file",
        ),
        ("", "auth.array1.secret_file: missing; "),
        (
            "secret = \"hunter2hunter2\"\nsecret_file = \"good\"",
            "auth.array1.secret: unknown key; ",
        ),
        (
            "secret_file = \"good\"\ntarget_username = \"a\"",
            "target_secret_file: target_username is given without this",
        ),
        (
            "secret_file = \"good\"\ntarget_username = \"a\"\ntarget_secret_file = \"same\"",
            "the same in both directions",
        ),
        (
            "secret_file = \"good\"\nalgorithms = [\"crc\"]",
            "algorithms[0]: \"crc\" is not possible",
        ),
    ] {
        let errors = with_auth(&disk, lines).unwrap_err();
        assert_eq!(errors.errors().len(), 1, "{lines} gave {errors}");
        let text = format!("{errors} {errors:?}");
        assert!(text.contains(expected), "{lines} gave {text}");
        assert!(
            !text.contains("hunter2") && !text.contains("horse"),
            "{text}"
        );
    }
}

#[test]
fn a_secret_that_people_can_type_stands_alone_in_its_file() {
    for content in ["correct horse\nbattery\n", "correct horse battery \n"] {
        let disk = Disk::default().with("file", 0o600, 1000, content.as_bytes());
        let errors = with_auth(&disk, "secret_file = \"file\"").unwrap_err();
        let text = format!("{errors} {errors:?}");
        let expected =
            "begins or ends with a blank, or goes on in a second line; the file must have nothing";
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("horse"), "{text}");
    }
}

#[test]
fn the_initiator_name_may_come_from_open_iscsis_file() {
    let file = b"## DO NOT EDIT\nInitiatorName=iqn.1993-08.org.debian:01:abc\n";
    let disk = Disk::default()
        .with("initiatorname.iscsi", 0o644, 0, file)
        .with("empty", 0o644, 0, b"# nothing\n");
    let own = "initiator_name = \"iqn.2026-11.com.example:db1\"";
    let with = |line: &str| parse_on(&disk, &USUAL.replace(own, line));
    let config = with("initiator_name_file = \"initiatorname.iscsi\"").unwrap();
    assert_eq!(
        config.daemon.initiator_name,
        "iqn.1993-08.org.debian:01:abc"
    );
    let error = with("initiator_name_file = \"empty\"")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("the file has no line \"InitiatorName=iqn"),
        "{error}"
    );
    let both =
        "initiator_name = \"iqn.1993-08.org.debian:01:abc\"\ninitiator_name_file = \"empty\"";
    let error = with(both).unwrap_err().to_string();
    assert!(
        error.contains("both this and initiator_name are given"),
        "{error}"
    );
}

#[test]
fn sections_of_the_wrong_form_are_reported_once() {
    for text in [
        "daemon = 1",
        "auth = 1",
        "profile = 1",
        "defaults = 1",
        "volume = 1",
    ] {
        let name = text.split(' ').next().unwrap();
        let whole = if name == "daemon" || name == "volume" {
            let usual = USUAL.replace("[[volume]]", "[[other]]");
            let usual = if name == "daemon" {
                USUAL.replace("[daemon]", "[other]")
            } else {
                usual
            };
            format!("{text}\n{usual}")
        } else {
            format!("{text}\n{USUAL}")
        };
        let messages = messages(&whole);
        let about: Vec<_> = messages
            .iter()
            .filter(|message| message.contains(&format!(": {name}: ")))
            .collect();
        assert_eq!(about.len(), 1, "{text} gave {messages:#?}");
        assert!(about[0].contains("expected a "), "{messages:#?}");
    }
}

#[test]
fn no_cut_of_a_valid_file_makes_the_check_panic() {
    for end in 0..USUAL.len() {
        let _whatever = parse(&USUAL[..end]);
        let _whatever = parse(&format!(
            "{}{}",
            &USUAL[..end],
            &USUAL[(end + 7).min(USUAL.len())..]
        ));
    }
}

#[test]
fn preempt_abort_needs_a_key_with_room_for_the_paths_numbers() {
    let fence = "fence = [\"preempt-abort\", \"quiesce\"]\n";
    let why = mistake(fence.trim());
    assert!(
        why.contains("the volume has none; add reservation_key"),
        "{why}"
    );
    let key = |key: &str| format!("reservation_key = \"{key}\"");
    let both = |text: &str| format!("{fence}{}", key(text));
    let why = mistake(&both("0x1a2b3c4d5e6f7081"));
    let wanted = "write a key that ends with 0000, e.g. \"0x1a2b3c4d5e6f0000\"";
    assert!(why.contains(wanted), "{why}");
    let why = mistake(&both("0x1234"));
    assert!(why.ends_with("e.g. \"0x0000000012340000\""), "{why}");
    for bad in ["0", "0x0", "0x", "1a2b", "0x11112222333344445", "0xg"] {
        let why = mistake(&key(bad));
        assert!(why.contains("is no reservation key"), "{bad}: {why}");
    }
    let good = only(&both("0x1a2b3c4d5e6f0000"));
    assert_eq!(good.reservation_key, Some(0x1a2b_3c4d_5e6f_0000));
    assert!(good.fence.preempt_abort && !good.fence.reinstate);
    assert_eq!(only(&key("0x7")).reservation_key, Some(7));
}
