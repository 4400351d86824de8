//! `netsim demo`: the embedded default. Target, proxies and daemon in one process, and a workload that
//! verifies.

use std::fs;
use std::io::stdout;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use iiblockdaemon::shell::config_file;
use iiblockdaemon::shell::daemon::Daemon;
use netsim::demo::{self, DemoConfig, Site, Timeline, Watch};
use netsim::quantity::{parse_duration, parse_size};
use netsim::recording::Recording;
use netsim::report;

use super::folder::Folder;
use super::{asked_to_end, say};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Seed of the workload.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long each phase lasts.
    #[arg(long, default_value = "8s", value_parser = parse_duration)]
    phase: Duration,
    /// Size of the disk.
    #[arg(long, default_value = "64MiB", value_parser = parse_size)]
    size: u64,
    /// Logical block size in bytes.
    #[arg(long, default_value_t = 512)]
    block_size: u32,
    /// Requests outstanding.
    #[arg(long, default_value_t = 16)]
    workers: u32,
    /// Which path carries what: failover or round-robin.
    #[arg(long, default_value = "round-robin")]
    policy: String,
    /// Leave everything running at the end and say how to connect.
    #[arg(long)]
    keep: bool,
    /// Write a report with pictures, one web page, to this file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the report's figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The file that an administrator would write for this site.
fn multipath_toml(site: &Site, policy: &str) -> String {
    let folder = site.folder.display();
    let paths: String = site
        .portals
        .iter()
        .map(|portal| format!("  {{ portal = \"{portal}\" }},\n"))
        .collect();
    format!(
        "[daemon]\n\
         initiator_name = \"iqn.2026-11.com.example:netsim-demo\"\n\
         state_dir = \"{folder}/state\"\n\
         control = {{ socket = \"{}\" }}\n\n\
         [[volume]]\n\
         name   = \"demo\"\n\
         target = \"{}\"\n\
         lun    = {}\n\
         policy = \"{policy}\"\n\
         export = {{ nbd = \"unix:{}\" }}\n\
         paths  = [\n{paths}]\n",
        control_socket(site).display(),
        site.target,
        site.lun,
        site.nbd_socket.display(),
    )
}

fn control_socket(site: &Site) -> PathBuf {
    site.folder.join("control.sock")
}

fn start(site: &Site, policy: &str) -> anyhow::Result<Daemon> {
    let file = site.folder.join("multipath.toml");
    fs::write(&file, multipath_toml(site, policy))
        .with_context(|| format!("cannot write {}", file.display()))?;
    let config = config_file::explain(&file)?;
    say(format_args!("daemon configured by {}\n", file.display()))?;
    Ok(Daemon::start(config, Some(file))?)
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let folder = Folder::create("demo")?;
    let config = DemoConfig {
        seed: arguments.seed,
        size: arguments.size,
        block_size: arguments.block_size,
        workers: arguments.workers,
        timeline: Timeline::standard(arguments.phase),
        record: arguments.html.is_some() || arguments.json.is_some(),
        ..DemoConfig::default()
    };
    let policy = &arguments.policy;
    let mut watch = None;
    let daemon = async |site: &Site| {
        let daemon = start(site, policy)?;
        watch = config.record.then(|| Watch::start(control_socket(site)));
        Ok(daemon)
    };
    let mut out = stdout();
    let demo = tokio::select! { biased;
        asked = asked_to_end() => {
            asked?;
            bail!("the demonstration was ended early");
        }
        demo = demo::run(&config, folder.path(), daemon, &mut out) => demo?,
    };
    if config.record {
        write_reports(&demo.recording(&config, watch.as_ref()), &arguments)?;
    }
    drop(watch);
    if arguments.keep {
        let control = control_socket(&demo.site);
        say(format_args!(
            "\n{}\nstatus:  iibadm status --socket {}",
            demo::connect_hints(&demo.site.nbd_socket),
            control.display()
        ))?;
        asked_to_end().await?;
    }
    let (errors, mismatches) = (demo.report.error_count(), demo.report.mismatches);
    if !demo.daemon.stop().await {
        bail!("the daemon did not stop cleanly");
    }
    if errors > 0 || mismatches > 0 {
        bail!("{errors} errors and {mismatches} mismatches");
    }
    Ok(())
}

fn write_reports(recording: &Recording, arguments: &Arguments) -> anyhow::Result<()> {
    type Form = fn(&Recording) -> String;
    let forms: [(&Option<PathBuf>, Form); 2] = [
        (&arguments.html, report::html),
        (&arguments.json, report::json),
    ];
    for (file, form) in forms {
        if let Some(file) = file {
            fs::write(file, form(recording))
                .with_context(|| format!("cannot write {}", file.display()))?;
            say(format_args!("report: {}", file.display()))?;
        }
    }
    Ok(())
}
