//! Every selector in the same trouble: what each of them is for.
//!
//! The same load over the same two paths, once for each policy and each [`COURSES`] entry, in virtual time.
//! The selectors are compared bare, without hedged reads and without ejection, which would hide how they
//! choose; the last row has everything, as it is configured by default. What a run is like does not depend
//! on the machine: the figures are those of the same code everywhere.

use std::fmt;
use std::panic::resume_unwind;
use std::path::Path;
use std::thread;
use std::time::Duration;

use policies::PolicyKind;
use serde::Serialize;

use crate::report::align;
use crate::scenario::measure::{self, Window};
use crate::scenario::{Mistakes, Scenario};
use crate::world::{self, Detail, Violation};

/// One kind of trouble.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// Its name.
    pub name: &'static str,
    /// What happens, in a sentence.
    pub about: &'static str,
    /// What its file has besides.
    changes: &'static str,
}

/// What every scenario has in common. The fault begins a second after the volume is online.
const BASE: &str = r#"
about = "Every selector in the same trouble."
seed = 1

[unit]
size = "1MiB"

[target]
service_time = "8ms"

[[path]]
[[path]]

[daemon]
policy = { POLICY }

[workload]
lasts = "4s"
clients = 2
depth = 4
reads = 70
largest = "16KiB"
zeroes = false
pause = "0ms"

[pass]
ready_within = "60s"
"#;

/// When the figures begin to count, since the volume is online: faults begin then.
const BEGIN: Duration = Duration::from_secs(1);

/// The fixed list.
pub const COURSES: [Course; 8] = [
    Course {
        name: "healthy",
        about: "Nothing happens; both paths are alike.",
        changes: "",
    },
    Course {
        name: "slow path",
        about: "The commands of one path take twenty times as long.",
        changes: "[[fault]]\nat = \"1s\"\nwhat = \"slow 20\"\npath = \"A\"\n",
    },
    Course {
        name: "jittery path",
        about: "Each packet of one path takes up to 30 ms more.",
        changes: "[[fault]]\nat = \"1s\"\nwhat = \"jitter 30ms\"\npath = \"A\"\n",
    },
    Course {
        name: "lossy path",
        about: "One segment in fifty is lost on one path, and comes when TCP sends it again.",
        changes: "[[fault]]\nat = \"1s\"\nwhat = \"loss 50\"\npath = \"A\"\n",
    },
    Course {
        name: "black hole",
        about: "One path swallows everything, and nobody is told.",
        changes: "[[fault]]\nat = \"1s\"\nwhat = \"blackhole\"\npath = \"A\"\n",
    },
    Course {
        name: "full target",
        about: "Eight times in a row the target answers TASK SET FULL to twenty commands.",
        changes: "[[fault]]\nat = \"1s\"\nwhat = \"task-set-full 20\"\ntimes = 8\nevery = \"300ms\"\n",
    },
    Course {
        name: "unequal bandwidth",
        about: "One path carries a tenth of what the other does.",
        changes: "[line]\nbandwidth = \"5MB\"\n\
                  [[fault]]\nat = \"1s\"\nwhat = \"bandwidth 500kB\"\npath = \"A\"\n",
    },
    Course {
        name: "flapping carrier",
        about: "The NIC of one path loses its carrier every second for half a second.",
        changes: "[[fault]]\nat = \"1s\"\nwhat = \"no-carrier\"\npath = \"A\"\nfor = \"500ms\"\ntimes = 3\n\
                  every = \"1s\"\n",
    },
];

/// A policy to compare.
#[derive(Clone, Debug)]
pub struct Contender {
    /// As the table calls it.
    pub name: String,
    /// As the configuration has it.
    policy: String,
}

/// All of them: each selector bare, and one with everything on.
#[must_use]
pub fn contenders() -> Vec<Contender> {
    let bare = PolicyKind::ALL.into_iter().map(|selector| Contender {
        name: selector.to_string(),
        policy: format!("selector = \"{selector}\", hedge = \"off\", eject = false"),
    });
    let full = PolicyKind::LatencyAware;
    let full = Contender {
        name: format!("{full}, hedge, eject"),
        policy: format!("selector = \"{full}\""),
    };
    bare.chain([full]).collect()
}

/// What clients had of one policy in one scenario, from the fault on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Bytes answered per second.
    pub bytes_per_second: u64,
    /// Half of all requests took no longer, in microseconds.
    pub p50_us: u64,
    /// 99 of 100.
    pub p99_us: u64,
    /// The longest time in which requests waited and none was answered, in microseconds.
    pub longest_stall_us: u64,
    /// Requests that failed.
    pub errors: u64,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// The scenario.
    pub scenario: &'static str,
    /// The policy.
    pub policy: String,
    /// What came of it.
    pub figures: Figures,
}

/// Why there is nothing to compare.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// One of the scenarios is none.
    #[error("{0}")]
    Mistakes(Mistakes),
    /// The daemon broke a rule.
    #[error("{policy}, {scenario}: {violation}")]
    Broken {
        /// With which policy.
        policy: String,
        /// In which scenario.
        scenario: &'static str,
        /// Which rule.
        violation: Violation,
    },
}

/// Plays everything, course by course, each course on a thread of its own.
///
/// # Errors
/// A run broke a rule.
pub fn compare() -> Result<Vec<Run>, CompareError> {
    let contenders = contenders();
    let all = |course| -> Result<Vec<Run>, CompareError> {
        let contenders = contenders.iter();
        contenders.map(|policy| play(course, policy)).collect()
    };
    let courses = thread::scope(|scope| {
        let threads = COURSES.each_ref().map(|course| scope.spawn(|| all(course)));
        threads.map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let courses: Vec<Vec<Run>> = courses.into_iter().collect::<Result<_, _>>()?;
    Ok(courses.concat())
}

/// Plays one of them.
///
/// # Errors
/// It broke a rule.
pub fn play(course: &Course, contender: &Contender) -> Result<Run, CompareError> {
    let text = BASE.replace("POLICY", &contender.policy) + course.changes;
    let scenario = Scenario::parse(&text, Path::new(course.name));
    let scenario = scenario.map_err(CompareError::Mistakes)?;
    let (outcome, recording) = world::record(&scenario.knobs(), Detail::Nothing);
    if let Some(violation) = outcome.violation {
        return Err(CompareError::Broken {
            policy: contender.name.clone(),
            scenario: course.name,
            violation,
        });
    }
    let online = outcome.summary.online;
    let window = Window {
        from: online + BEGIN,
        to: online + scenario.workload.lasts,
    };
    let ios = &recording.ios;
    let failed = ios.iter().filter(|io| io.failed).count();
    Ok(Run {
        scenario: course.name,
        policy: contender.name.clone(),
        figures: Figures {
            bytes_per_second: measure::throughput(ios, window),
            p50_us: micros(measure::quantile(ios, window, 500)),
            p99_us: micros(measure::quantile(ios, window, 990)),
            longest_stall_us: micros(measure::stall(ios, window)),
            errors: u64::try_from(failed).unwrap_or(u64::MAX),
        },
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

const HEAD: [&str; 6] = ["policy", "MB/s", "p50", "p99", "longest stall", "errors"];

/// Milliseconds with three digits that count.
struct Millis(u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0;
        match micros {
            0..10_000 => write!(f, "{}.{:02} ms", micros / 1000, micros % 1000 / 10),
            10_000..100_000 => write!(f, "{}.{} ms", micros / 1000, micros % 1000 / 100),
            _ => write!(f, "{} ms", micros / 1000),
        }
    }
}

fn cells(run: &Run) -> [String; 6] {
    let Figures {
        bytes_per_second,
        p50_us,
        p99_us,
        longest_stall_us,
        errors,
    } = run.figures;
    let tenths = bytes_per_second / 10_000;
    [
        run.policy.clone(),
        format!("{}.{:02}", tenths / 100, tenths % 100),
        Millis(p50_us).to_string(),
        Millis(p99_us).to_string(),
        Millis(longest_stall_us).to_string(),
        errors.to_string(),
    ]
}

/// The runs of each course, in the order of [`COURSES`].
fn by_course(runs: &[Run]) -> impl Iterator<Item = (&'static Course, Vec<[String; 6]>)> {
    COURSES.iter().filter_map(move |course| {
        let of_it = runs.iter().filter(|run| run.scenario == course.name);
        let rows: Vec<_> = of_it.map(cells).collect();
        (!rows.is_empty()).then_some((course, rows))
    })
}

/// For a terminal.
#[must_use]
pub fn text(runs: &[Run]) -> String {
    let table = |(course, rows): (&Course, Vec<_>)| {
        let table = align(&HEAD.map(str::to_owned), &rows);
        format!("{}: {}\n{table}", course.name, course.about)
    };
    let tables: Vec<String> = by_course(runs).map(table).collect();
    tables.join("\n")
}

/// For a page.
#[must_use]
pub fn markdown(runs: &[Run]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut page = String::new();
    for (course, rows) in by_course(runs) {
        let head = line(&HEAD.map(str::to_owned));
        page += &format!("### {}\n\n{}\n\n{head}", course.name, course.about);
        page += "| --- | ---: | ---: | ---: | ---: | ---: |\n";
        page.extend(rows.iter().map(|cells| line(cells)));
        page.push('\n');
    }
    page
}

/// As data: a list of `scenario`, `policy`, `figures`.
///
/// # Panics
/// Never: everything in it has a JSON form.
#[must_use]
pub fn json(runs: &[Run]) -> String {
    let mut text = serde_json::to_string_pretty(runs).expect("strings and numbers only");
    text.push('\n');
    text
}
