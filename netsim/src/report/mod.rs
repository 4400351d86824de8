//! What a run went through, for people and for programs.
//!
//! - [`text`], [`json`], [`html`]: a [`Recording`] as a page for the terminal, as data, and as one
//!   self-contained web page with pictures;
//! - [`table`], [`summary`]: the phases of a running workload as a table.
//!
//! All figures come from `figures`, so that the three forms cannot disagree.

mod charts;
mod figures;
mod html;
mod json;
mod lanes;
mod svg;
mod table;
mod text;

#[cfg(doc)]
use crate::recording::Recording;

pub use html::html;
pub use json::json;
pub(crate) use table::align;
pub use table::{duration, summary, table};
pub use text::text;

#[cfg(test)]
mod tests;
