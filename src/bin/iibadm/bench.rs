//! `iibadm bench`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use iiblockdaemon::config::{self, Config, Listen, defaults, show_size};
use iiblockdaemon::iscsi::isid::Isid;
use iiblockdaemon::shell::bench::{self, BenchError, Report, Route, Tally, Workload};
use iiblockdaemon::shell::config_file;
use iiblockdaemon::shell::daemon::session_config;
use iiblockdaemon::shell::dial::Source;
use indicatif::{ProgressBar, ProgressStyle};

/// Requests in flight that a measurement may ask for.
const DEPTH_MAX: i64 = 256;

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(crate) struct Arguments {
    /// A volume of the configuration, or an NBD export: unix:/path or tcp:address:port.
    #[arg(value_name = "VOLUME|EXPORT")]
    what: String,
    /// Bytes per request.
    #[arg(long, value_name = "SIZE", default_value = "4KiB", value_parser = block_size)]
    block_size: u32,
    /// Requests in flight.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=DEPTH_MAX))]
    depth: u16,
    /// One place after the other instead of random ones.
    #[arg(long)]
    sequential: bool,
    /// How long to measure; Ctrl-C ends it early.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    time: Duration,
    /// Then each path of the volume alone.
    #[arg(long)]
    each_path: bool,
    /// Only paths with this in their name, a portal for instance, and not the export.
    #[arg(long, value_name = "TEXT")]
    path: Option<String>,
    /// Write random bytes: DESTROYS what is on the volume.
    #[arg(long, requires = "overwrite", conflicts_with_all = ["each_path", "path"])]
    write: bool,
    /// Confirms --write: the volume or export once more.
    #[arg(long, value_name = "VOLUME|EXPORT", requires = "write")]
    overwrite: Option<String>,
    /// Name of the export, if an address is given; without, the default export.
    #[arg(long, value_name = "NAME")]
    export_name: Option<String>,
    /// Print the measurements as JSON.
    #[arg(long)]
    json: bool,
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = defaults::CONFIG_FILE)]
    config: PathBuf,
}

const NOTES: &str = "\
It only reads, unless --write is given. A path alone is read in a session of its own beside the daemon's, \
with another ISID; the daemon's sessions stay. All of it is load: on a volume in use, others wait longer.";

fn block_size(text: &str) -> Result<u32> {
    let size = config::size(text)?;
    let size = u32::try_from(size).ok();
    size.filter(|size| (512..=32 << 20).contains(size))
        .context("from 512B to 32MiB")
}

fn time(text: &str) -> Result<Duration> {
    let time = config::duration(text)?;
    let day = Duration::from_secs(24 * 3600);
    ensure!(!time.is_zero() && time <= day, "more than 0s, at most 1d");
    Ok(time)
}

/// What is to be measured, one after the other.
enum Way {
    Export(Listen, String),
    Path(Box<Route>),
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.write && arguments.overwrite.as_ref() != Some(&arguments.what) {
        bail!(
            "--write destroys what is on {}; to confirm: --overwrite {}",
            arguments.what,
            arguments.what
        );
    }
    let workload = Workload {
        block: arguments.block_size,
        depth: usize::from(arguments.depth),
        sequential: arguments.sequential,
        write: arguments.write,
        time: arguments.time,
    };
    let ways = ways(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut reports = Vec::new();
    for way in &ways {
        let (report, interrupted) = runtime.block_on(measure(&arguments.what, way, workload));
        if !arguments.json {
            super::print(&bench::text(&report))?;
        }
        reports.push(report);
        if interrupted {
            break;
        }
    }
    if arguments.json {
        super::print(&bench::json(&reports))?;
    }
    let complete = reports.iter().all(|report| report.error.is_none());
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn ways(arguments: &Arguments) -> Result<Vec<Way>> {
    let name = arguments.export_name.clone().unwrap_or_default();
    if ["unix:", "tcp:"]
        .iter()
        .any(|kind| arguments.what.starts_with(kind))
    {
        let of_paths = arguments.each_path || arguments.path.is_some();
        ensure!(
            !of_paths,
            "--each-path and --path need a volume: an export does not tell its paths"
        );
        return Ok(vec![Way::Export(config::listen(&arguments.what)?, name)]);
    }
    ensure!(
        arguments.export_name.is_none(),
        "--export-name goes with unix:/path or tcp:address:port; a volume's export has its name"
    );
    let config = config_file::load(&arguments.config)?;
    let volume = config.volume(&arguments.what).with_context(|| {
        let known: Vec<&str> = config.volumes.iter().map(|v| v.name.as_str()).collect();
        let known = known.join(", ");
        format!("no volume \"{}\"; there are: {known}", arguments.what)
    })?;
    let mut ways = Vec::new();
    if arguments.path.is_none() {
        let listen = volume.export.nbd.first().context("no export")?;
        ways.push(Way::Export(listen.clone(), volume.name.clone()));
    }
    if arguments.each_path || arguments.path.is_some() {
        ways.extend(routes(&config, volume, arguments.path.as_deref())?);
    }
    Ok(ways)
}

fn routes(config: &Config, volume: &config::Volume, only: Option<&str>) -> Result<Vec<Way>> {
    let wanted = |path: &&config::Path| only.is_none_or(|only| path.to_string().contains(only));
    let routes = volume.paths.iter().filter(wanted).map(|path| {
        let mut session = session_config(&config.daemon, volume, path)?;
        session.isid = own_isid(config);
        Ok(Way::Path(Box::new(Route {
            name: path.to_string(),
            portal: path.portal.to_string().parse()?,
            source: Source {
                nic: path.nic.clone(),
                address: path.source,
                patience: Some(volume.detect.command),
            },
            session,
            lun: path.lun,
            wwid: volume.wwid.clone(),
        })))
    });
    let routes = routes.collect::<Result<Vec<Way>>>()?;
    if routes.is_empty() {
        let known: Vec<String> = volume.paths.iter().map(ToString::to_string).collect();
        let only = only.unwrap_or_default();
        bail!("no path \"{only}\"; there are: {}", known.join(", "));
    }
    Ok(routes)
}

/// A session name that no path of the daemon has: a login with one of those would end the daemon's session.
fn own_isid(config: &Config) -> Isid {
    let process = std::process::id().to_string();
    let paths = || config.volumes.iter().flat_map(|volume| &volume.paths);
    let isids = (0_u32..).map(|salt| Isid::derive(&["bench", &process, &salt.to_string()]));
    let mut free = isids.filter(|isid| paths().all(|path| path.isid != isid.to_wire()));
    free.next().expect("there are more names than paths")
}

/// One measurement, with a line on the terminal meanwhile; whether Ctrl-C ended it.
async fn measure(what: &str, way: &Way, workload: Workload) -> (Report, bool) {
    let over = match way {
        Way::Export(listen, _) => format!("{what} over {listen}"),
        Way::Path(route) => format!("{what} over path {} alone", route.name),
    };
    let over = over.replace(&format!("{what} over {what}"), what);
    let bar = ProgressBar::new(workload.time.as_secs().max(1));
    let style = ProgressStyle::with_template("{msg}  [{bar:20}] {pos}/{len} s");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut line = Line {
        bar,
        ios: 0,
        at: Duration::ZERO,
    };
    let mut tally = Tally::new(workload);
    let progress = |tally: &Tally| line.tell(&over, tally);
    let done = async {
        match way {
            Way::Export(listen, name) => {
                bench::over_export(listen, name, &mut tally, progress).await
            }
            Way::Path(route) => bench::over_path(route, &mut tally, progress).await,
        }
    };
    let ended: Option<Result<(), BenchError>> = tokio::select! { biased;
        done = done => Some(done),
        _ = tokio::signal::ctrl_c() => None,
    };
    line.bar.finish_and_clear();
    let error = match &ended {
        Some(Ok(())) => None,
        Some(Err(error)) => Some(error.to_string()),
        None => Some("interrupted".to_owned()),
    };
    (tally.report(over, error), ended.is_none())
}

/// The line on the terminal.
struct Line {
    bar: ProgressBar,
    /// What was there when it was last told.
    ios: u64,
    at: Duration,
}

impl Line {
    fn tell(&mut self, over: &str, tally: &Tally) {
        let (ios, at) = (tally.ios(), tally.elapsed());
        let seconds = (at - self.at).as_secs_f64();
        if seconds > 0.0 {
            let rate = (ios - self.ios) as f64 / seconds;
            let bytes = rate * f64::from(tally.workload().block) / 1e6;
            let block = show_size(tally.workload().block);
            let message = format!("{over}: {block}  {rate:>8.0} I/Os per s  {bytes:>8.1} MB/s");
            self.bar.set_message(message);
        }
        self.bar.set_position(at.as_secs());
        (self.ios, self.at) = (ios, at);
    }
}
