//! The pictures with figures: latency, and what each path carried.

use std::fmt::Write as _;
use std::time::Duration;

use super::figures::{self, Bin, Latency};
use super::svg::{Size, Svg, nice_step};
use super::table::duration;
use crate::recording::{Carried, Recording};

/// Colours of paths before they repeat; the style sheet has as many.
pub(super) const COLOURS: usize = 8;
/// Shorter silences would not be seen: this share of the run.
const SILENCES_PER_RUN: u32 = 150;

/// The latency of what was asked, over time and on a logarithmic scale; errors and silences marked.
pub(super) fn latency(run: &Recording, size: Size) -> Option<String> {
    let all = figures::Tally::of(&run.ios).latency?;
    let least = run.ios.iter().map(|io| io.took).min()?;
    let scale = LogScale::over(least, all.max);
    let mut svg = Svg::new(run, size, 240.0);
    for (from, to) in figures::silences(run, run.lasted / SILENCES_PER_RUN) {
        let title = format!("nothing answered for {}", duration(to - from));
        let (x, y) = ((svg.x(from), svg.x(to)), (svg.top(), svg.bottom()));
        svg.rect("silence", x, y, &title);
    }
    for (label, share) in scale.decades() {
        let y = svg.y(share);
        svg.grid(y, &label);
    }
    svg.marks(&run.marks);
    let (width, bins) = figures::bins(run, size.bins());
    bars(&mut svg, &scale, width, &bins);
    median(&mut svg, &scale, width, &bins);
    errors(&mut svg, &scale, run);
    hover(&mut svg, width, &bins);
    Some(svg.finish("latency over time"))
}

/// From the median to the longest, each stretch a bar.
fn bars(svg: &mut Svg, scale: &LogScale, width: Duration, bins: &[Bin]) {
    for (bin, latency) in answered(bins) {
        let x = (svg.x(bin.begins), svg.x(bin.begins + width));
        let y = |value| svg.y(scale.share(value));
        let (tall, usual) = (
            (y(latency.max), y(latency.p99)),
            (y(latency.p99), y(latency.p50)),
        );
        svg.rect("tall", x, tall, "");
        svg.rect("usual", x, usual, "");
    }
}

fn median(svg: &mut Svg, scale: &LogScale, width: Duration, bins: &[Bin]) {
    let mut d = String::new();
    let mut last = None;
    for (bin, latency) in answered(bins) {
        let (from, to) = (svg.x(bin.begins), svg.x(bin.begins + width));
        let y = svg.y(scale.share(latency.p50));
        let verb = if last == Some(bin.begins) { 'L' } else { 'M' };
        // Writing to a String does not fail.
        let _ = write!(d, "{verb}{from:.1} {y:.1}H{to:.1}");
        last = Some(bin.begins + width);
    }
    svg.path("median", &d);
}

fn errors(svg: &mut Svg, scale: &LogScale, run: &Recording) {
    // One cross where several would cover each other.
    let mut last = f64::MIN;
    let mut failed: Vec<_> = run.ios.iter().filter(|io| io.failed).collect();
    failed.sort_by_key(|io| io.asked + io.took);
    for io in failed {
        let answered = io.asked + io.took;
        let x = svg.x(answered);
        if x - last < 3.0 {
            continue;
        }
        last = x;
        let title = format!(
            "error at {}, after {}",
            duration(answered),
            duration(io.took)
        );
        let y = svg.y(scale.share(io.took));
        svg.cross((x, y), &title);
    }
}

fn hover(svg: &mut Svg, width: Duration, bins: &[Bin]) {
    for (bin, latency) in answered(bins) {
        let mut title = format!(
            "{} to {}: {} asked, p50 {}, p99 {}, max {}",
            duration(bin.begins),
            duration(bin.begins + width),
            bin.tally.ios,
            duration(latency.p50),
            duration(latency.p99),
            duration(latency.max),
        );
        if bin.tally.errors > 0 {
            let _ = write!(title, ", {} errors", bin.tally.errors);
        }
        let x = (svg.x(bin.begins), svg.x(bin.begins + width));
        let y = (svg.top(), svg.bottom());
        svg.rect("hover", x, y, &title);
    }
}

fn answered(bins: &[Bin]) -> impl Iterator<Item = (&Bin, Latency)> {
    bins.iter()
        .filter_map(|bin| Some((bin, bin.tally.latency?)))
}

struct LogScale {
    low: f64,
    high: f64,
}

impl LogScale {
    fn over(least: Duration, most: Duration) -> Self {
        let low = log_micros(least).floor();
        let high = log_micros(most).ceil().max(low + 1.0);
        Self { low, high }
    }

    fn share(&self, value: Duration) -> f64 {
        (log_micros(value) - self.low) / (self.high - self.low)
    }

    fn decades(&self) -> Vec<(String, f64)> {
        let mut decades = Vec::new();
        let mut power = self.low;
        while power <= self.high {
            let time = Duration::from_secs_f64(10f64.powf(power) / 1e6);
            let label = match power {
                ..3.0 => format!("{} us", time.as_micros()),
                3.0..6.0 => format!("{} ms", time.as_millis()),
                _ => format!("{} s", time.as_secs()),
            };
            decades.push((label, self.share(time)));
            power += 1.0;
        }
        decades
    }
}

fn log_micros(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).max(1.0).log10()
}

/// What the paths carried over time, one upon the other.
pub(super) fn throughput(run: &Recording, size: Size) -> Option<String> {
    let intervals = run.paths.iter().map(|path| path.carried.len()).max()?;
    let any = run.paths.iter().flat_map(|path| &path.carried);
    if run.interval.is_zero()
        || any
            .clone()
            .all(|carried| carried.commands == 0 && carried.bytes == 0)
    {
        return None;
    }
    let unit = if any.clone().any(|carried| carried.bytes > 0) {
        Unit::Bytes
    } else {
        Unit::Commands
    };
    let most = usize::try_from(2 * size.bins()).unwrap_or(usize::MAX);
    let merged = intervals.div_ceil(most);
    let width = run.interval * u32::try_from(merged).unwrap_or(u32::MAX);
    let rates: Vec<Vec<f64>> = run
        .paths
        .iter()
        .map(|path| {
            rates(&path.carried, intervals, merged, |carried| {
                unit.rate(carried, width)
            })
        })
        .collect();
    let peak = (0..intervals.div_ceil(merged))
        .map(|index| rates.iter().filter_map(|rates| rates.get(index)).sum())
        .fold(0.0, f64::max);
    let step = nice_step(peak / 4.0);
    let top = (peak / step).ceil() * step;
    let mut svg = Svg::new(run, size, 160.0);
    let mut value = 0.0;
    while value <= top * 1.001 {
        let y = svg.y(value / top);
        svg.grid(y, &unit.label(value));
        value += step;
    }
    areas(&mut svg, &rates, width, top);
    svg.marks(&run.marks);
    titles(&mut svg, run, &rates, width, unit);
    Some(svg.finish("what each path carried over time"))
}

#[derive(Clone, Copy)]
enum Unit {
    Bytes,
    Commands,
}

impl Unit {
    fn rate(self, carried: Carried, width: Duration) -> f64 {
        let amount = match self {
            Self::Bytes => carried.bytes,
            Self::Commands => carried.commands,
        };
        amount as f64 / width.as_secs_f64()
    }

    fn label(self, rate: f64) -> String {
        let (rate, prefix) = match rate {
            1e9.. => (rate / 1e9, "G"),
            1e6.. => (rate / 1e6, "M"),
            1e3.. => (rate / 1e3, "k"),
            _ => (rate, ""),
        };
        // Two digits say enough: 250, 25, 2.5.
        let digits = usize::from(rate < 10.0 && (rate - rate.round()).abs() > 0.01);
        match self {
            Self::Bytes => format!("{rate:.digits$} {prefix}B/s"),
            Self::Commands => format!("{rate:.digits$}{prefix}/s"),
        }
    }
}

fn rates(
    carried: &[Carried],
    intervals: usize,
    merged: usize,
    rate: impl Fn(Carried) -> f64,
) -> Vec<f64> {
    let mut rates: Vec<f64> = carried
        .chunks(merged.max(1))
        .map(|chunk| {
            rate(Carried {
                commands: chunk.iter().map(|c| c.commands).sum(),
                bytes: chunk.iter().map(|c| c.bytes).sum(),
            })
        })
        .collect();
    rates.resize(intervals.div_ceil(merged.max(1)), 0.0);
    rates
}

fn areas(svg: &mut Svg, rates: &[Vec<f64>], width: Duration, top: f64) {
    let intervals = rates.first().map_or(0, Vec::len);
    let mut base = vec![0.0; intervals];
    for (colour, rates) in (0..COLOURS).cycle().zip(rates) {
        let (mut over, mut under) = (String::new(), Vec::new());
        for ((index, base), rate) in (0..).zip(&mut base).zip(rates) {
            let (from, to) = (svg.x(width * index), svg.x(width * (index + 1)));
            let low = svg.y(*base / top);
            *base += rate;
            let high = svg.y(*base / top);
            let verb = if over.is_empty() { 'M' } else { 'L' };
            let _ = write!(over, "{verb}{from:.1} {high:.1}H{to:.1}");
            under.push(format!("L{to:.1} {low:.1}H{from:.1}"));
        }
        // And back, from right to left.
        under.reverse();
        let under = under.concat();
        svg.path(&format!("area p{colour}"), &format!("{over}{under}Z"));
    }
}

fn titles(svg: &mut Svg, run: &Recording, rates: &[Vec<f64>], width: Duration, unit: Unit) {
    let intervals = rates.first().map_or(0, Vec::len);
    for (place, index) in (0..intervals).zip(0..) {
        let from = width * index;
        let mut title = duration(from);
        for (path, rates) in run.paths.iter().zip(rates) {
            let rate = rates.get(place).copied().unwrap_or_default();
            let _ = write!(title, "  {}: {}", path.name, unit.label(rate));
        }
        let x = (svg.x(from), svg.x(from + width));
        let y = (svg.top(), svg.bottom());
        svg.rect("hover", x, y, &title);
    }
}
