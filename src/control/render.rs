//! A [`StatusReport`] as text for a terminal.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::human::{bytes, count, duration, millis};
use super::report::{
    AccessReport, Duty, PathReport, PathState, StatusReport, VolumeReport, VolumeState,
};

/// The whole report, ending with a newline.
#[must_use]
pub fn text(report: &StatusReport) -> String {
    let daemon = &report.daemon;
    let mut out = format!(
        "iiblockdaemon {}, process {}, up {}, {}\n",
        printable(&daemon.version),
        daemon.pid,
        millis(daemon.uptime_ms),
        printable(&daemon.initiator_name),
    );
    for volume in &report.volumes {
        out.push('\n');
        out.push_str(&volume_text(volume));
    }
    out
}

/// The report as indented JSON, ending with a newline.
#[must_use]
pub fn json(report: &impl Serialize) -> String {
    let mut out = serde_json::to_string_pretty(report).expect("a report is always representable");
    out.push('\n');
    out
}

fn volume_text(volume: &VolumeReport) -> String {
    let ready = volume
        .paths
        .iter()
        .filter(|path| path.state == PathState::Ready)
        .count();
    let mut out = format!(
        "{}: {}, {ready} of {} ready\n",
        printable(&volume.name),
        state(volume),
        count(number(volume.paths.len()), "path"),
    );
    let mut line = |name: &str, value: &str| {
        let _infallible = writeln!(out, "  {name:<9} {value}");
    };
    line("size", &size(volume));
    line(
        "identity",
        &volume.wwid.as_deref().map_or_else(
            || "not known yet".to_owned(),
            |wwid| format!("{}{}", printable(wwid), compared(volume)),
        ),
    );
    line("export", &export(volume));
    line("policy", &printable(&volume.policy));
    let reset = match volume.lun_reset {
        true => "; LUN reset where a hanging command holds it up",
        false => "",
    };
    line("fence", &format!("{}{reset}", volume.fence.describe()));
    if let Some(key) = &volume.reservation {
        line("reserved", &key.text());
    }
    line("now", &now(volume));
    line("so far", &totals(volume));
    out.push_str(&table(&volume.paths));
    out
}

/// What shows that the paths lead to one LUN; nothing where none was compared.
fn compared(volume: &VolumeReport) -> String {
    let by = |name: &str| {
        let same = volume.paths.iter().filter_map(|path| path.same.as_ref());
        same.filter(|same| same.by == name).count()
    };
    let words = [
        ("reservation", "by reservation key"),
        ("blocks", "by blocks"),
        ("identifiers", "by identifiers alone"),
    ];
    let mut out = String::new();
    for (name, words) in words {
        let paths = number(by(name));
        if paths > 0 {
            let _infallible = write!(out, "; {} the same {words}", count(paths, "path"));
        }
    }
    out
}

fn state(volume: &VolumeReport) -> String {
    let since = volume.no_path_ms.map(millis);
    match (volume.state, since) {
        (VolumeState::NoPath, Some(since)) => format!("NO PATH for {since}, I/O waits"),
        (VolumeState::Failing, Some(since)) => format!("NO PATH for {since}, I/O FAILS"),
        (state, _) => match volume.slow_ms.map(millis) {
            Some(since) => format!("{state}, all paths slow for {since}"),
            None => state.to_string(),
        },
    }
}

fn size(volume: &VolumeReport) -> String {
    match (volume.size_bytes, volume.block_size) {
        (Some(size), Some(block)) => {
            let shown = bytes(size);
            format!("{shown} ({size} bytes, blocks of {block})")
        }
        _ => "not known yet".to_owned(),
    }
}

fn export(volume: &VolumeReport) -> String {
    let exports: Vec<String> = volume
        .exports
        .iter()
        .map(|export| printable(export))
        .collect();
    let read_only = if volume.read_only { ", read-only" } else { "" };
    // Whoever tries to connect would find nobody there.
    let clients = match volume.size_bytes {
        Some(_) => count(volume.clients, "client"),
        None => "opens when the LUN is identified".to_owned(),
    };
    let behind = match volume.clients_behind {
        0 => String::new(),
        behind => format!(" ({behind} to connect again for the new size)"),
    };
    format!("{}{read_only}, {clients}{behind}", exports.join(", "))
}

fn now(volume: &VolumeReport) -> String {
    format!(
        "{} in progress; {} queued; {} held; {}",
        count(volume.ios_in_progress, "request"),
        count(volume.commands_queued, "command"),
        count(volume.writes_held, "write"),
        count(volume.ghosts, "ghost"),
    )
}

fn totals(volume: &VolumeReport) -> String {
    let totals = &volume.totals;
    let hedges = match totals.hedges {
        0 => String::new(),
        hedges => format!(
            "; {}, {} won",
            count(hedges, "hedged read"),
            totals.hedges_won
        ),
    };
    let aborts = match (totals.aborts, totals.lun_resets) {
        (0, 0) => String::new(),
        (aborts, 0) => format!("; {}", count(aborts, "abort")),
        (aborts, resets) => {
            let (aborts, resets) = (count(aborts, "abort"), count(resets, "LUN reset"));
            format!("; {aborts}, {resets}")
        }
    };
    format!(
        "{} ({}), {} ({}), {}, {}; {}; {}; slowest {}{hedges}{aborts}",
        count(totals.reads, "read"),
        bytes(totals.read_bytes),
        count(totals.writes, "write"),
        bytes(totals.written_bytes),
        if totals.flushes == 1 {
            "1 flush".to_owned()
        } else {
            format!("{} flushes", totals.flushes)
        },
        count(totals.trims, "trim"),
        count(totals.errors, "error"),
        if totals.retries == 1 {
            "1 retry".to_owned()
        } else {
            format!("{} retries", totals.retries)
        },
        millis(totals.slowest_ms),
    )
}

/// ACCESS and TIER are left out where they say nothing.
const HEAD: [&str; 12] = [
    "PATH",
    "STATE",
    "ACCESS",
    "TIER",
    "FOR",
    "SESSION",
    "IN FLIGHT",
    "COMMANDS",
    "BYTES",
    "RETRIES",
    "RTT",
    "WHY",
];

/// Columns that hold numbers stand to the right.
const RIGHT: [bool; 12] = [
    false, false, false, true, true, true, true, true, true, true, true, false,
];

fn table(paths: &[PathReport]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(paths.iter().map(row));
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let asymmetric = paths.iter().any(|path| path.access.is_some());
    let tiered = asymmetric
        || paths
            .iter()
            .any(|path| path.tier.is_some_and(|tier| tier > 0));
    let shown = |column: usize| match HEAD[column] {
        "ACCESS" => asymmetric,
        "TIER" => tiered,
        _ => true,
    };
    let mut out = String::new();
    for row in &rows {
        let mut line = String::from("  ");
        let cells = row.iter().zip(&widths).zip(RIGHT).enumerate();
        for (_, ((cell, width), right)) in cells.filter(|(column, _)| shown(*column)) {
            let padding = " ".repeat(width - cell.chars().count());
            let (before, after) = if right {
                (padding.as_str(), "")
            } else {
                ("", padding.as_str())
            };
            let _infallible = write!(line, "{before}{cell}{after}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn row(path: &PathReport) -> [String; 12] {
    let rtt = path.last_rtt_us.map(Duration::from_micros);
    let fencing = if path.fencing { " (fencing)" } else { "" };
    let duty = match (path.duty, path.out_ms.map(millis)) {
        _ if path.state != PathState::Ready => String::new(),
        (Duty::InUse, _) => String::new(),
        (duty, Some(left)) => format!(" ({}, {left} left)", duty.describe()),
        (duty, None) => format!(" ({})", duty.describe()),
    };
    let removing = if path.removing { " (removed)" } else { "" };
    [
        printable(&path.name),
        format!("{}{removing}{fencing}{duty}", path.state),
        path.access.as_ref().map_or_else(|| "-".to_owned(), access),
        path.tier
            .map_or_else(|| "-".to_owned(), |tier| tier.to_string()),
        millis(path.since_ms),
        path.incarnation.to_string(),
        path.in_flight.to_string(),
        path.commands.to_string(),
        bytes(path.bytes),
        path.retries.to_string(),
        rtt.map_or_else(|| "-".to_owned(), duration),
        printable(&path.why),
    ]
}

/// `active/optimized, group 1, preferred`
fn access(access: &AccessReport) -> String {
    let preferred = if access.preferred { ", preferred" } else { "" };
    format!(
        "{}, group {}{preferred}",
        printable(&access.state),
        access.port_group
    )
}

fn number(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Text that a target or a file chose must not steer the terminal.
pub(super) fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::super::report::SameReport;
    use super::super::report::samples::report;
    use super::*;

    #[test]
    fn a_report_reads_like_this() {
        let expected = "\
iiblockdaemon 0.1.0, process 4711, up 2h10m, iqn.2026-11.com.example:db1

db: degraded, 1 of 2 paths ready
  size      10.0GiB (10737418240 bytes, blocks of 512)
  identity  naa.6001405f2d3c4b5a69788796a5b4c3d2
  export    unix:/run/iiblockdaemon/db.sock, 1 client
  policy    failover, failback after 30s
  fence     reinstatement over another path
  now       3 requests in progress; 0 commands queued; 1 write held; 2 ghosts
  so far    1000 reads (3.9MiB), 1 write (4.0KiB), 1 flush, 0 trims; 0 errors; 4 retries; slowest 812ms
  PATH                     STATE             FOR  SESSION  IN FLIGHT  COMMANDS   BYTES  RETRIES    RTT  WHY
  10.0.1.10:3260 via eth1  ready           2h10m        1          3      1001  3.9MiB        0  180us
  10.0.2.10:3260 via eth2  down (fencing)   4.0s        7          0       250  1.0MiB        4      -  connection refused
";
        assert_eq!(text(&report()), expected);
    }

    #[test]
    fn a_volume_without_a_path_says_what_becomes_of_io() {
        let mut report = report();
        let volume = &mut report.volumes[0];
        volume.no_path_ms = Some(20_000);
        volume.state = VolumeState::NoPath;
        assert!(text(&report).contains("\ndb: NO PATH for 20s, I/O waits, 1 of 2 paths ready\n"));
        report.volumes[0].state = VolumeState::Failing;
        assert!(text(&report).contains("\ndb: NO PATH for 20s, I/O FAILS, "));
        assert_eq!(report.worst(), Some(VolumeState::Failing));
    }

    #[test]
    fn an_export_that_nobody_can_connect_to_yet_says_so() {
        let mut report = report();
        let volume = &mut report.volumes[0];
        (volume.size_bytes, volume.block_size) = (None, None);
        volume.clients = 0;
        let expected =
            "  export    unix:/run/iiblockdaemon/db.sock, opens when the LUN is identified\n";
        assert!(text(&report).contains(expected), "{}", text(&report));
    }

    #[test]
    fn access_states_and_tiers_are_shown_where_there_are_any() {
        let mut report = report();
        assert!(!text(&report).contains("ACCESS") && !text(&report).contains("TIER"));
        let path = &mut report.volumes[0].paths[0];
        path.access = Some(AccessReport {
            port_group: 2,
            state: "active/non-optimized".to_owned(),
            preferred: true,
        });
        path.tier = Some(1);
        let shown = text(&report);
        assert!(
            shown.contains("STATE           ACCESS                                    TIER  "),
            "{shown}"
        );
        assert!(
            shown.contains("ready           active/non-optimized, group 2, preferred     1  "),
            "{shown}"
        );
        report.volumes[0].paths[0].access = None;
        assert!(text(&report).contains("STATE           TIER  "));
    }

    #[test]
    fn what_shows_that_the_paths_lead_to_one_lun_is_told() {
        let mut report = report();
        let same = |by: &str| {
            let (by, why) = (by.to_owned(), String::new());
            Some(SameReport { by, why })
        };
        report.volumes[0].paths[0].same = same("first");
        assert!(text(&report).contains("c3d2\n"), "{}", text(&report));
        report.volumes[0].paths[1].same = same("reservation");
        let shown = text(&report);
        assert!(
            shown.contains("c3d2; 1 path the same by reservation key\n"),
            "{shown}"
        );
        report.volumes[0].paths[0].same = same("identifiers");
        assert!(text(&report).contains("key; 1 path the same by identifiers alone\n"));
    }

    #[test]
    fn aborts_and_resets_are_counted_and_that_a_unit_may_be_reset_is_said() {
        let mut report = report();
        assert!(!text(&report).contains("abort"));
        let volume = &mut report.volumes[0];
        (volume.totals.aborts, volume.totals.lun_resets) = (3, 1);
        volume.lun_reset = true;
        let shown = text(&report);
        assert!(shown.contains("; 3 aborts, 1 LUN reset\n"), "{shown}");
        let fence = "over another path; LUN reset where a hanging command holds it up\n";
        assert!(shown.contains(fence), "{shown}");
    }

    #[test]
    fn a_path_that_is_ready_and_not_in_use_says_so() {
        let mut report = report();
        let volume = &mut report.volumes[0];
        let path = &mut volume.paths[0];
        (path.duty, path.out_ms) = (Duty::Ejected, Some(4_000));
        (volume.totals.hedges, volume.totals.hedges_won) = (7, 5);
        volume.slow_ms = Some(90_000);
        let shown = text(&report);
        assert!(shown.contains("ready (ejected, 4.0s left)"), "{shown}");
        assert!(shown.contains("slowest 812ms; 7 hedged reads, 5 won\n"));
        assert!(shown.contains("\ndb: degraded, all paths slow for 1m30s, 1 of 2"));
        report.volumes[0].paths[0].state = PathState::Down;
        assert!(!text(&report).contains("ejected"));
    }

    #[test]
    fn what_a_target_says_cannot_steer_the_terminal() {
        let mut report = report();
        report.volumes[0].paths[0].why = "\x1b[2Jgone\nforged: line".to_owned();
        let shown = text(&report);
        assert!(!shown.contains('\x1b'), "{shown}");
        assert!(
            shown.contains("\u{fffd}[2Jgone\u{fffd}forged: line"),
            "{shown}"
        );
    }

    #[test]
    fn the_json_is_the_report() {
        let parsed: StatusReport = serde_json::from_str(&json(&report())).unwrap();
        assert_eq!(parsed, report());
        assert!(json(&report()).contains("\"state\": \"degraded\""));
    }
}
