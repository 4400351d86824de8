use super::*;

fn well(knobs: &Knobs) -> Outcome {
    let outcome = run(knobs, Detail::Events);
    if let Some(violation) = &outcome.violation {
        for entry in &outcome.timeline {
            eprintln!("{entry}");
        }
        panic!("{knobs}\n{violation}");
    }
    outcome
}

#[test]
fn two_calm_paths_serve_a_workload() {
    let outcome = well(&Knobs::calm(1));
    let summary = outcome.summary;
    assert!(
        summary.ios > 1000 && summary.blocks_checked > 1000,
        "{summary:?}"
    );
    // One more login than paths: the second path proves that it shares its sessions with the first.
    assert!(
        summary.logins >= 3 && summary.elapsed >= Duration::from_secs(7),
        "{summary:?}"
    );
}

#[test]
fn a_seed_gives_the_same_timeline_again() {
    let knobs = Knobs::draw(3);
    let (a, b) = (
        run(&knobs, Detail::Everything),
        run(&knobs, Detail::Everything),
    );
    assert!(a.timeline.len() > 100);
    let differ = a.timeline.iter().zip(&b.timeline).find(|(a, b)| a != b);
    assert_eq!(differ, None);
    assert_eq!(a.timeline.len(), b.timeline.len());
}
