//! What every picture of the page is drawn with: escaping, the frame with its time axis, shapes.

use std::fmt::Write as _;
use std::time::Duration;

use super::table::duration;
use crate::recording::{Mark, Recording};

/// Text for HTML and SVG, between tags and in quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// How wide a picture is drawn: each is there twice, and the page shows the one that fits the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Wide,
    Narrow,
}

impl Size {
    pub(super) const BOTH: [Self; 2] = [Self::Wide, Self::Narrow];

    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Narrow => "narrow",
        }
    }

    fn width(self) -> f64 {
        match self {
            Self::Wide => 1000.0,
            Self::Narrow => 400.0,
        }
    }

    /// How many stretches of time are told apart.
    pub(super) fn bins(self) -> u32 {
        match self {
            Self::Wide => 240,
            Self::Narrow => 100,
        }
    }

    fn ticks(self) -> f64 {
        match self {
            Self::Wide => 12.0,
            Self::Narrow => 5.0,
        }
    }
}

const LEFT: f64 = 62.0;
const RIGHT: f64 = 10.0;
/// Room for the numbers of the faults.
const TOP: f64 = 22.0;
/// Room for the time axis.
const BOTTOM: f64 = 22.0;
/// Closer badges would cover each other.
const BADGE_WIDTH: f64 = 16.0;

/// A picture under construction: time from left to right over `height` units of plot.
#[derive(Debug)]
pub(super) struct Svg {
    shapes: String,
    size: Size,
    height: f64,
    lasted: f64,
}

impl Svg {
    pub(super) fn new(run: &Recording, size: Size, height: f64) -> Self {
        Self {
            shapes: String::new(),
            size,
            height,
            lasted: run.lasted.as_secs_f64().max(1e-9),
        }
    }

    /// Where a moment stands.
    pub(super) fn x(&self, at: Duration) -> f64 {
        let share = (at.as_secs_f64() / self.lasted).clamp(0.0, 1.0);
        LEFT + share * (self.right() - LEFT)
    }

    pub(super) fn right(&self) -> f64 {
        self.size.width() - RIGHT
    }

    pub(super) fn top(&self) -> f64 {
        TOP
    }

    pub(super) fn bottom(&self) -> f64 {
        TOP + self.height
    }

    /// Where a share of the height stands, 0 at the bottom.
    pub(super) fn y(&self, share: f64) -> f64 {
        self.bottom() - share.clamp(0.0, 1.0) * self.height
    }

    /// A horizontal line of the grid with its label at the left.
    pub(super) fn grid(&mut self, y: f64, label: &str) {
        let right = self.right();
        // Writing to a String does not fail.
        let _ = write!(
            self.shapes,
            "<path class=\"grid\" d=\"M{LEFT:.1} {y:.1}H{right:.1}\"/>\
             <text class=\"label\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 6.0,
            y + 4.0,
            escape(label)
        );
    }

    /// A rectangle over a stretch of time.
    pub(super) fn rect(
        &mut self,
        class: &str,
        (from, to): (f64, f64),
        (top, bottom): (f64, f64),
        title: &str,
    ) {
        let (width, height) = ((to - from).max(0.5), (bottom - top).max(0.5));
        let _ = write!(
            self.shapes,
            "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\">\
             {}</rect>",
            titled(title)
        );
    }

    pub(super) fn path(&mut self, class: &str, d: &str) {
        let _ = write!(self.shapes, "<path class=\"{class}\" d=\"{d}\"/>");
    }

    pub(super) fn cross(&mut self, (x, y): (f64, f64), title: &str) {
        let _ = write!(
            self.shapes,
            "<path class=\"error\" d=\"M{:.1} {:.1}l8 8m0 -8l-8 8\">{}</path>",
            x - 4.0,
            y - 4.0,
            titled(title)
        );
    }

    pub(super) fn text(&mut self, class: &str, anchor: &str, (x, y): (f64, f64), text: &str) {
        let _ = write!(
            self.shapes,
            "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
            escape(text)
        );
    }

    /// The faults and their ends, with their numbers where there is room.
    pub(super) fn marks(&mut self, marks: &[Mark]) {
        let bottom = self.bottom();
        let mut free_from = 0.0;
        for (number, mark) in (1..).zip(marks) {
            let x = self.x(mark.at);
            let title = titled(&format!("{number}: {} at {}", mark.what, duration(mark.at)));
            let _ = write!(
                self.shapes,
                "<g class=\"mark\">{title}<path d=\"M{x:.1} {TOP:.1}V{bottom:.1}\"/>"
            );
            if x >= free_from {
                free_from = x + BADGE_WIDTH;
                let _ = write!(
                    self.shapes,
                    "<circle cx=\"{x:.1}\" cy=\"12\" r=\"8\"/>\
                     <text text-anchor=\"middle\" x=\"{x:.1}\" y=\"15.5\">{number}</text>"
                );
            }
            self.shapes.push_str("</g>");
        }
    }

    /// The finished picture, with its time axis.
    pub(super) fn finish(mut self, label: &str) -> String {
        self.time_axis();
        let height = TOP + self.height + BOTTOM;
        format!(
            "<svg class=\"{}\" viewBox=\"0 0 {:.0} {height:.0}\" role=\"img\" aria-label=\"{}\">{}</svg>\n",
            self.size.class(),
            self.size.width(),
            escape(label),
            self.shapes
        )
    }

    fn time_axis(&mut self) {
        let step = nice_step(self.lasted / self.size.ticks());
        let bottom = self.bottom();
        let (mut number, right) = (0.0, self.right());
        self.path("axis", &format!("M{LEFT:.1} {bottom:.1}H{right:.1}"));
        while number * step <= self.lasted * 1.0001 {
            let at = number * step;
            let x = self.x(Duration::from_secs_f64(at));
            self.path("axis", &format!("M{x:.1} {bottom:.1}v4"));
            // The last label stays inside.
            let x = x.min(self.right() - 10.0);
            self.text("label", "middle", (x, bottom + 17.0), &moment(at, step));
            number += 1.0;
        }
    }
}

fn titled(title: &str) -> String {
    if title.is_empty() {
        return String::new();
    }
    format!("<title>{}</title>", escape(title))
}

/// 1, 2 or 5 times a power of ten, at least `least`.
pub(super) fn nice_step(least: f64) -> f64 {
    let power = 10f64.powf(least.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= least * 0.999)
        .unwrap_or(10.0 * power)
}

fn moment(seconds: f64, step: f64) -> String {
    match step {
        1.0.. => format!("{seconds:.0} s"),
        0.1.. => format!("{seconds:.1} s"),
        0.001.. => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{:.0} us", seconds * 1e6),
    }
}
