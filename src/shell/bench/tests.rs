use super::places::Places;
use super::*;

fn workload() -> Workload {
    Workload {
        block: 4096,
        depth: 2,
        sequential: false,
        write: false,
        time: Duration::from_secs(1),
    }
}

#[test]
fn places_in_order_begin_again_at_the_end() {
    let mut places = Places::new(3 * 4096 + 512, 4096, true, 7);
    let seen: Vec<u64> = (0..4).map(|_| places.next()).collect();
    assert_eq!(seen, [0, 4096, 8192, 0]);
}

#[test]
fn random_places_are_aligned_inside_the_device_and_reach_all_of_it() {
    let mut places = Places::new(16 * 4096 + 100, 4096, false, 7);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..1000 {
        let place = places.next();
        assert!(
            place.is_multiple_of(4096) && place + 4096 <= 16 * 4096,
            "{place}"
        );
        seen.insert(place);
    }
    assert_eq!(seen.len(), 16);
}

#[test]
fn a_block_size_that_the_device_does_not_take_is_refused() {
    let with = |block| Workload {
        block,
        ..workload()
    };
    assert!(check_block(&with(4096), 512, 1 << 20).is_ok());
    assert!(check_block(&with(512), 512, 512).is_ok());
    for (block, unit, most) in [(0, 512, 1 << 20), (1000, 512, 1 << 20), (8192, 4096, 4096)] {
        let error = check_block(&with(block), unit, most).unwrap_err();
        assert!(error.to_string().contains("--block-size"), "{error}");
    }
}

#[test]
fn a_report_counts_rates_latencies_and_rows() {
    let mut tally = Tally::new(workload());
    for _ in 0..99 {
        tally.add(Duration::from_micros(100));
    }
    tally.add(Duration::from_millis(50));
    tally.set_elapsed(Duration::from_secs(2));
    let report = tally.report("db".into(), None);
    assert_eq!((report.ios, report.iops), (100, 50.0));
    assert_eq!(report.bytes_per_s, 50.0 * 4096.0);
    let latency = report.latency_s.unwrap();
    assert!((latency.p50 - 100e-6).abs() < 1e-6, "{latency:?}");
    assert!((latency.p999 - 50e-3).abs() < 1e-4, "{latency:?}");
    let rows: Vec<u64> = report.histogram.iter().map(|row| row.ios).collect();
    assert_eq!(rows.first(), Some(&99));
    assert_eq!(rows.last(), Some(&1));
    let text = text(&report);
    assert!(
        text.contains("100 I/Os in 2.0 s: 50 I/Os per second, 0.2 MB/s"),
        "{text}"
    );
    assert!(text.contains("up to   128 us   99.00 %  ####"), "{text}");
    assert!(!text.contains("ended early"), "{text}");
}

#[test]
fn a_report_of_nothing_is_printed_too() {
    let tally = Tally::new(workload());
    let report = tally.report("db".into(), Some("it was not there".into()));
    assert!(report.latency_s.is_none());
    let text = text(&report);
    assert!(text.ends_with("ended early: it was not there\n"), "{text}");
    assert!(json(&[report]).contains("\"latency_s\": null"));
}

#[test]
fn times_have_three_digits_and_a_unit() {
    let times = [1.5e-6, 99.0e-6, 0.0123, 0.5, 2.0].map(render::time);
    assert_eq!(times, ["1.50 us", "99.0 us", "12.3 ms", "500 ms", "2.00 s"]);
}
