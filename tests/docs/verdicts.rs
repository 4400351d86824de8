//! The tables of docs/failover.md that the code prints.

use std::fs;

use bytes::Bytes;
use iiblockdaemon::payload::Payload;
use iiblockdaemon::scsi::verdict::{CommandKind, TABLE, judge, status};
use iiblockdaemon::task::{Completion, Residual};

const PAGE: &str = "docs/failover.md";

fn statuses() -> String {
    let rows = [
        ("GOOD", status::GOOD),
        ("CONDITION MET", status::CONDITION_MET),
        ("BUSY", status::BUSY),
        ("TASK SET FULL", status::TASK_SET_FULL),
        ("RESERVATION CONFLICT", status::RESERVATION_CONFLICT),
        ("TASK ABORTED", status::TASK_ABORTED),
        ("ACA ACTIVE", status::ACA_ACTIVE),
        (
            "CHECK CONDITION without readable sense data",
            status::CHECK_CONDITION,
        ),
        ("any other", 0xff),
    ];
    let mut table = "| status | verdict | meaning |\n| --- | --- | --- |\n".to_owned();
    for (name, status) in rows {
        let answer = Completion {
            status,
            sense: Bytes::new(),
            data: Payload::new(),
            residual: Residual::None,
        };
        let judgement = judge(&answer, CommandKind::Write);
        let (verdict, why) = (judgement.verdict, judgement.why);
        table.push_str(&format!("| {name} | `{verdict:?}` | {why} |\n"));
    }
    table
}

fn senses() -> String {
    let mut table =
        "| sense key | ASC/ASCQ | commands | verdict | meaning |\n| --- | --- | --- | --- | --- |\n"
            .to_owned();
    for row in TABLE {
        table.push_str(&format!("{row}\n"));
    }
    table
}

/// The page with what stands between the two marks of `name` replaced.
pub(super) fn replaced(page: &str, name: &str, content: &str) -> String {
    let (begin, end) = (
        format!("<!-- {name} -->\n"),
        format!("<!-- end of {name} -->\n"),
    );
    let (before, rest) = page.split_once(&begin).expect("a begin mark");
    let (_, after) = rest.split_once(&end).expect("an end mark");
    format!("{before}{begin}{content}{end}{after}")
}

#[test]
fn the_verdict_tables_are_those_of_the_code() {
    let page = super::text(PAGE);
    let fresh = replaced(&page, "statuses", &statuses());
    let fresh = replaced(&fresh, "senses", &senses());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(super::page(PAGE), &fresh).unwrap();
    } else {
        assert!(
            page == fresh,
            "{PAGE} is stale; run: UPDATE_DOCS=1 cargo test --test docs"
        );
    }
}
