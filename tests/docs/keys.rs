//! docs/configuration.md has every key that the reader accepts, and no other; its defaults are those of
//! `config::defaults`, its bounds and choices those that the check names when it refuses a value.
//!
//! The page has a table per section: `| key | values | default | meaning |`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::path::Path;
use std::time::Duration;

use iiblockdaemon::config::{
    Alua, ChapAlgorithm, Config, ConfigError, DigestChoice, FileContent, Files, NoPath, Problem,
    Resize, SameUnit, defaults,
};
use policies::{Balance, Failback};

const PAGE: &str = "docs/configuration.md";

/// Heading of the page, what stands before a key of that section in a file, and whether the keys of
/// `[defaults]` may stand there too.
const SECTIONS: [(&str, &str, bool); 12] = [
    ("The file", "", false),
    ("`[daemon]`", "[daemon]\n", false),
    ("`control`", "[daemon.control]\n", false),
    ("`[auth.NAME]`", "[auth.a]\n", false),
    ("`[[volume]]`", "[[volume]]\n", true),
    ("`export`", "[[volume]]\n[volume.export]\n", false),
    ("`paths`", "[[volume]]\n[[volume.paths]]\n", false),
    ("`[defaults]` and `[profile.NAME]`", "[defaults]\n", false),
    ("`policy`", "[defaults.policy]\n", false),
    ("`no_path`", "[defaults.no_path]\n", false),
    ("`detect`", "[defaults.detect]\n", false),
    ("`iscsi`", "[defaults.iscsi]\n", false),
];

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _file: &Path, _limit: usize) -> Result<FileContent, io::ErrorKind> {
        Err(io::ErrorKind::NotFound)
    }

    fn user(&self) -> u32 {
        0
    }
}

fn mistakes(text: &str) -> Vec<ConfigError> {
    let errors = Config::parse(text, Path::new("multipath.toml"), &NoFiles).unwrap_err();
    errors.errors().to_vec()
}

/// The keys that the reader knows in a section.
fn known(prefix: &str) -> Vec<&'static str> {
    let unknown = mistakes(&format!("{prefix}no-such-key = 1\n"));
    let keys = unknown.into_iter().find_map(|error| {
        if let Problem::UnknownKey { known, .. } = error.problem {
            Some(known)
        } else {
            None
        }
    });
    keys.expect("the reader refuses an unknown key")
}

/// What the check says is possible for a key, when offered nonsense: its least and largest value, its words.
fn possible(prefix: &str, key: &str) -> Vec<String> {
    let mut possible = Vec::new();
    for nonsense in [
        "\"999999d\"",
        "\"9GiB\"",
        "0",
        "9999999",
        "\"nonsense\"",
        "[\"nonsense\"]",
    ] {
        for error in mistakes(&format!("{prefix}{key} = {nonsense}\n")) {
            let about_it = error.place.key == key
                || error.place.key.ends_with(&format!(".{key}"))
                || error.place.key.ends_with(&format!(".{key}[0]"));
            if let Problem::OutOfRange { min, max, .. } = &error.problem
                && about_it
            {
                possible.extend([min.clone(), max.clone()]);
            }
            if let Problem::UnknownChoice { choices, .. } = &error.problem
                && about_it
            {
                possible.extend(choices.iter().map(|choice| format!("\"{choice}\"")));
            }
        }
    }
    possible
}

#[derive(Debug)]
struct Row {
    values: String,
    default: String,
}

/// The page's rows by section and key.
fn documented() -> BTreeMap<(String, String), Row> {
    let mut rows = BTreeMap::new();
    let mut section = String::new();
    for line in super::text(PAGE).lines() {
        if let Some(heading) = line.trim_start_matches('#').strip_prefix(' ')
            && line.starts_with('#')
        {
            heading.clone_into(&mut section);
        }
        let cells: Vec<&str> = line.split(" | ").collect();
        if let [key, values, default, _meaning] = cells.as_slice()
            && let Some(key) = key
                .strip_prefix("| `")
                .and_then(|key| key.strip_suffix('`'))
        {
            let row = Row {
                values: (*values).to_owned(),
                default: (*default).to_owned(),
            };
            let twice = rows.insert((section.clone(), key.to_owned()), row);
            assert!(twice.is_none(), "{section}: {key} stands there twice");
        }
    }
    rows
}

#[test]
fn every_key_is_documented_and_nothing_else() {
    let documented = documented();
    let tuning = known("[defaults]\n");
    for (section, prefix, has_tuning) in SECTIONS {
        let mut expected = known(prefix);
        if has_tuning {
            expected.retain(|key| !tuning.contains(key));
        }
        expected.sort_unstable();
        let keys = documented.keys().filter(|(of, _)| of == section);
        let keys: Vec<&str> = keys.map(|(_, key)| key.as_str()).collect();
        assert_eq!(keys, expected, "{PAGE}, section {section}");
    }
    let stray = documented
        .keys()
        .find(|(section, _)| !SECTIONS.iter().any(|(name, ..)| name == section));
    assert_eq!(stray, None, "keys of a section that the test does not know");
}

#[test]
fn bounds_and_choices_are_those_that_the_check_enforces() {
    let rows = documented();
    let mut seen = 0;
    for (section, prefix, has_tuning) in SECTIONS {
        let tuning = known("[defaults]\n");
        for key in known(prefix) {
            if has_tuning && tuning.contains(&key) {
                continue;
            }
            let row = &rows[&(section.to_owned(), key.to_owned())];
            for value in possible(prefix, key) {
                seen += 1;
                // The bound of every integer of the file is no bound of the key.
                let documented = value == u64::MAX.to_string() || row.values.contains(&value);
                assert!(
                    documented,
                    "{section}: {key}: {value} is not in {:?}",
                    row.values
                );
            }
        }
    }
    assert!(seen > 40, "the check names few bounds and choices: {seen}");
}

fn quoted(value: impl Display) -> String {
    format!("`\"{value}\"`")
}

fn bare(value: impl Display) -> String {
    format!("`{value}`")
}

fn time(duration: Duration) -> String {
    let millis = duration.as_millis();
    quoted(match millis {
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1000) => format!("{}s", millis / 1000),
        _ => format!("{millis}ms"),
    })
}

fn size(bytes: u32) -> String {
    quoted(if bytes.is_multiple_of(1 << 20) {
        format!("{}MiB", bytes >> 20)
    } else {
        format!("{}KiB", bytes >> 10)
    })
}

fn digest(choice: DigestChoice) -> String {
    quoted(match choice {
        DigestChoice::None => "none",
        DigestChoice::Crc32c => "crc32c",
        DigestChoice::PreferCrc32c => "prefer-crc32c",
        DigestChoice::PreferNone => "prefer-none",
    })
}

fn algorithms() -> String {
    let names = defaults::ALGORITHMS.map(|algorithm| match algorithm {
        ChapAlgorithm::Sha3_256 => "\"sha3-256\"",
        ChapAlgorithm::Sha256 => "\"sha256\"",
        ChapAlgorithm::Sha1 => "\"sha1\"",
        ChapAlgorithm::Md5 => "\"md5\"",
    });
    bare(format!("[{}]", names.join(", ")))
}

fn fences() -> String {
    let names = [
        (defaults::FENCE_REINSTATE, "\"reinstate\""),
        (defaults::FENCE_PREEMPT_ABORT, "\"preempt-abort\""),
        (defaults::FENCE_QUIESCE, "\"quiesce\""),
    ];
    let names: Vec<&str> = names
        .iter()
        .filter(|(on, _)| *on)
        .map(|(_, name)| *name)
        .collect();
    bare(format!("[{}]", names.join(", ")))
}

fn alua() -> String {
    quoted(match defaults::ALUA {
        Alua::Follow => "follow",
        Alua::Explicit => "explicit",
        Alua::Ignore => "ignore",
    })
}

fn policy_defaults() -> [(&'static str, &'static str, String); 7] {
    let policy = defaults::POLICY;
    let selector = quoted(policy.selector.name());
    let by = quoted(match policy.balance {
        Balance::Ios => "ios",
        Balance::Bytes => "bytes",
    });
    let failback = match policy.failback {
        Failback::Immediate => quoted("immediate"),
        Failback::Manual => quoted("manual"),
        Failback::After(wait) => time(wait),
    };
    [
        (
            "`[defaults]` and `[profile.NAME]`",
            "policy",
            selector.clone(),
        ),
        ("`policy`", "selector", selector),
        ("`policy`", "by", by),
        ("`policy`", "tiers", quoted(policy.tiers.name())),
        ("`policy`", "failback", failback),
        ("`policy`", "hedge", quoted(policy.hedge)),
        ("`policy`", "eject", bare(policy.eject)),
    ]
}

fn iscsi_defaults() -> [(&'static str, String); 9] {
    let iscsi = defaults::ISCSI;
    [
        ("header_digest", digest(iscsi.header_digest)),
        ("data_digest", digest(iscsi.data_digest)),
        (
            "max_recv_data_segment_length",
            size(iscsi.max_recv_data_segment_length),
        ),
        ("first_burst_length", size(iscsi.first_burst_length)),
        ("max_burst_length", size(iscsi.max_burst_length)),
        ("immediate_data", bare(iscsi.immediate_data)),
        ("initial_r2t", bare(iscsi.initial_r2t)),
        ("max_outstanding_r2t", bare(iscsi.max_outstanding_r2t)),
        ("queue_depth", bare(iscsi.queue_depth)),
    ]
}

#[test]
fn defaults_are_those_of_the_code() {
    let no_path = match defaults::NO_PATH {
        NoPath::Fail => quoted("fail"),
        NoPath::QueueForever => bare("{ queue = \"forever\" }"),
        NoPath::Queue(wait) => bare(format!("{{ queue = {} }}", time(wait).trim_matches('`'))),
    };
    let resize = quoted(match defaults::RESIZE {
        Resize::Grow => "grow",
        Resize::Never => "never",
    });
    let same_unit = quoted(match defaults::SAME_UNIT {
        SameUnit::Reservation => "reservation",
        SameUnit::Blocks => "blocks",
        SameUnit::Identifiers => "identifiers",
    });
    let tuning = "`[defaults]` and `[profile.NAME]`";
    let mut expected = vec![
        ("`[daemon]`", "state_dir", quoted(defaults::STATE_DIR)),
        ("`control`", "socket", quoted(defaults::CONTROL_SOCKET)),
        ("`[auth.NAME]`", "algorithms", algorithms()),
        ("`[auth.NAME]`", "allow_none", bare(defaults::ALLOW_NONE)),
        ("`export`", "read_only", bare(defaults::READ_ONLY)),
        ("`paths`", "weight", bare(defaults::WEIGHT)),
        ("`paths`", "tier", bare(defaults::TIER)),
        (tuning, "alua", alua()),
        (tuning, "shared", bare(defaults::SHARED)),
        (tuning, "no_path", no_path),
        (tuning, "fence", fences()),
        (tuning, "quiesce", time(defaults::QUIESCE)),
        (tuning, "stop_timeout", time(defaults::STOP_TIMEOUT)),
        (tuning, "resize", resize),
        (tuning, "same_unit", same_unit),
        (tuning, "sessions", bare(defaults::SESSIONS)),
        ("`detect`", "network", time(defaults::DETECT.network)),
        ("`detect`", "target", time(defaults::DETECT.target)),
        ("`detect`", "command", time(defaults::DETECT.command)),
    ];
    expected.extend(policy_defaults());
    expected.extend(iscsi_defaults().map(|(key, value)| ("`iscsi`", key, value)));
    let mut rows = documented();
    for (section, key, default) in expected {
        let row = rows.remove(&(section.to_owned(), key.to_owned()));
        assert_eq!(row.unwrap().default, default, "{section}: {key}");
    }
    for ((section, key), row) in rows {
        let words = ["required", "none", "see below"];
        assert!(
            words.contains(&row.default.as_str()),
            "{section}: {key}: {:?} is a default that the code does not have",
            row.default
        );
    }
}
