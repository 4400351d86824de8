//! The picture of path states: a lane per path, a stretch per state.

use std::time::Duration;

use super::svg::{Size, Svg};
use super::table::duration;
use crate::recording::{PathRecord, Recording};

const LANE: f64 = 26.0;
const BAR: f64 = 18.0;
/// About the width of one letter.
const LETTER: f64 = 6.5;

/// What the states are called, and the class that colours them.
const CLASSES: [(&str, &str); 11] = [
    ("ready", "ready"),
    ("ejected", "suspect"),
    ("held-down", "suspect"),
    ("on-trial", "probation"),
    ("probation", "probation"),
    ("probing", "coming"),
    ("logging-in", "coming"),
    ("connecting", "coming"),
    ("suspect", "suspect"),
    ("down", "down"),
    ("disabled", "disabled"),
];

/// The class of a state, however it is written; states that nobody knows look neutral.
pub(super) fn class(state: &str) -> &'static str {
    let state = state.to_lowercase().replace([' ', '_'], "-");
    let known = |name: &str| state == name || state.replace('-', "") == name.replace('-', "");
    CLASSES
        .iter()
        .find(|(name, _)| known(name))
        .map_or("other", |(_, class)| class)
}

/// A lane for each path whose states were seen.
pub(super) fn lanes(run: &Recording, size: Size) -> Option<String> {
    let paths: Vec<&PathRecord> = run.paths.iter().filter(|p| !p.states.is_empty()).collect();
    if paths.is_empty() {
        return None;
    }
    let lanes: f64 = paths.iter().map(|_| LANE).sum();
    let mut svg = Svg::new(run, size, lanes);
    let mut top = svg.top() + (LANE - BAR) / 2.0;
    for path in paths {
        let name = shortened(&path.name, 8);
        svg.text("lane", "end", (56.0, top + BAR - 5.0), &name);
        lane(&mut svg, run, path, top);
        top += LANE;
    }
    svg.marks(&run.marks);
    Some(svg.finish("states of the paths over time"))
}

fn lane(svg: &mut Svg, run: &Recording, path: &PathRecord, top: f64) {
    let ends = path.states.iter().skip(1).map(|(from, _, _)| *from);
    for ((from, state, why), to) in path.states.iter().zip(ends.chain([run.lasted])) {
        let x = (svg.x(*from), svg.x(to));
        let title = title(path, (*from, to), state, why);
        svg.rect(class(state), x, (top, top + BAR), &title);
        let letters: f64 = state.chars().map(|_| LETTER).sum();
        if x.1 - x.0 > letters + 6.0 {
            svg.text("state", "start", (x.0 + 4.0, top + BAR - 5.0), state);
        }
    }
}

fn title(path: &PathRecord, (from, to): (Duration, Duration), state: &str, why: &str) -> String {
    let name = &path.name;
    let lasts = duration(to.saturating_sub(from));
    let because = if why.is_empty() {
        String::new()
    } else {
        format!(": {why}")
    };
    format!(
        "{name} {state} from {} for {lasts}{because}",
        duration(from)
    )
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let start: String = text.chars().take(most - 1).collect();
    format!("{start}\u{2026}")
}
