//! The tables of docs/policies.md: every selector in the same trouble, in virtual time.

use std::fs;

use netsim::compare;

use super::verdicts::replaced;

const PAGE: &str = "docs/policies.md";

#[test]
fn the_comparison_of_the_policies_is_what_this_code_does() {
    let runs = compare::compare().unwrap_or_else(|error| panic!("{error}"));
    let page = super::text(PAGE);
    let fresh = replaced(&page, "comparison", &compare::markdown(&runs));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(super::page(PAGE), &fresh).unwrap();
    } else {
        assert!(
            page == fresh,
            "{PAGE} is stale; run: UPDATE_DOCS=1 cargo test --test docs"
        );
    }
}

/// What the selectors are there for, so that a table that is written anew without a look says it no less.
#[test]
fn the_selectors_that_learn_do_without_a_slow_path() {
    let course = |name: &str| {
        let mut courses = compare::COURSES.iter();
        courses.find(|course| course.name == name).unwrap()
    };
    let contenders = compare::contenders();
    let figures = |scenario: &str, policy: &str| {
        let contender = contenders.iter().find(|known| known.name == policy);
        let run = compare::play(course(scenario), contender.unwrap());
        run.unwrap_or_else(|error| panic!("{error}")).figures
    };
    let robin = figures("slow path", "round-robin");
    let learned = figures("slow path", "latency-aware");
    let healthy = figures("healthy", "latency-aware");
    assert!(learned.p99_us * 4 < robin.p99_us, "{learned:?} {robin:?}");
    assert!(
        learned.bytes_per_second * 10 > healthy.bytes_per_second * 8,
        "{learned:?} {healthy:?}"
    );
}
