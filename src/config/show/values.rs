//! Values as the file has them.

use std::fmt::Display;

use policies::{Balance, Failback, PolicyKind, PolicySpec};

use super::super::values::show_duration;
use super::super::{Alua, ChapAlgorithm, DigestChoice, Fence, Listen, NoPath, Resize, SameUnit};
use crate::ids::Lun;

/// A string in quotes.
pub(super) fn text(value: &str) -> String {
    toml::Value::from(value).to_string()
}

/// The same, of what displays as the file has it.
pub(super) fn toml(value: impl Display) -> String {
    text(&value.to_string())
}

/// A name as a part of a heading.
pub(super) fn name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(plain) {
        name.to_owned()
    } else {
        text(name)
    }
}

pub(super) fn list(values: impl Iterator<Item = String>) -> String {
    let values: Vec<String> = values.collect();
    format!("[{}]", values.join(", "))
}

pub(super) fn listens(listens: &[Listen]) -> String {
    match listens {
        [one] => toml(one),
        many => list(many.iter().map(toml)),
    }
}

/// The small number only where it stands for these very bytes.
pub(super) fn lun(lun: Lun) -> String {
    let small = lun
        .number()
        .filter(|number| Lun::from_number(*number) == Some(lun));
    match small {
        Some(number) => number.to_string(),
        None => format!("{:#018x}", u64::from_be_bytes(lun.to_wire())),
    }
}

pub(super) fn algorithm(algorithm: ChapAlgorithm) -> String {
    text(match algorithm {
        ChapAlgorithm::Sha3_256 => "sha3-256",
        ChapAlgorithm::Sha256 => "sha256",
        ChapAlgorithm::Sha1 => "sha1",
        ChapAlgorithm::Md5 => "md5",
    })
}

pub(super) fn digest(choice: DigestChoice) -> String {
    text(match choice {
        DigestChoice::None => "none",
        DigestChoice::Crc32c => "crc32c",
        DigestChoice::PreferCrc32c => "prefer-crc32c",
        DigestChoice::PreferNone => "prefer-none",
    })
}

pub(super) fn fences(fence: Fence) -> String {
    let named = [
        (fence.reinstate, "reinstate"),
        (fence.preempt_abort, "preempt-abort"),
        (fence.lun_reset, "lun-reset"),
        (fence.quiesce.is_some(), "quiesce"),
    ];
    let named = named.into_iter().filter(|(on, _)| *on);
    list(named.map(|(_, name)| text(name)))
}

pub(super) fn no_path(no_path: NoPath) -> String {
    match no_path {
        NoPath::Fail => text("fail"),
        NoPath::Queue(limit) => format!("{{ queue = {} }}", toml(show_duration(limit))),
        NoPath::QueueForever => "{ queue = \"forever\" }".to_owned(),
    }
}

pub(super) fn alua(alua: Alua) -> String {
    text(match alua {
        Alua::Follow => "follow",
        Alua::Explicit => "explicit",
        Alua::Ignore => "ignore",
    })
}

pub(super) fn same_unit(by: SameUnit) -> String {
    text(match by {
        SameUnit::Reservation => "reservation",
        SameUnit::Blocks => "blocks",
        SameUnit::Identifiers => "identifiers",
    })
}

pub(super) fn resize(resize: Resize) -> String {
    text(match resize {
        Resize::Grow => "grow",
        Resize::Never => "never",
    })
}

/// All its parts.
pub(super) fn policy(policy: PolicySpec) -> String {
    let PolicySpec {
        selector,
        balance,
        tiers,
        failback,
        hedge,
        eject,
    } = policy;
    let mut parts = vec![format!("selector = {}", text(selector.name()))];
    if selector == PolicyKind::RoundRobin {
        let by = match balance {
            Balance::Ios => "ios",
            Balance::Bytes => "bytes",
        };
        parts.push(format!("by = {}", text(by)));
    }
    parts.push(format!("tiers = {}", text(tiers.name())));
    let failback = match failback {
        Failback::Immediate => "immediate".to_owned(),
        Failback::Manual => "manual".to_owned(),
        Failback::After(time) => show_duration(time),
    };
    parts.push(format!("failback = {}", text(&failback)));
    parts.push(format!("hedge = {}", toml(hedge)));
    parts.push(format!("eject = {eject}"));
    format!("{{ {} }}", parts.join(", "))
}
