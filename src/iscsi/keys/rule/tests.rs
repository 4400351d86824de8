use super::*;

const YES: Result<Value, Refusal> = Ok(Value::Bool(true));
const NO: Result<Value, Refusal> = Ok(Value::Bool(false));
const OUTSIDE: Result<Value, Refusal> = Err(Refusal::OutsideOffer);
const ILLEGAL: Result<Value, Refusal> = Err(Refusal::Illegal);

fn number(value: u32) -> Result<Value, Refusal> {
    Ok(Value::Number(value))
}

#[test]
fn a_key_is_found_by_its_name() {
    for key in Key::ALL {
        assert_eq!(Key::from_name(key.name()), Some(key));
    }
    assert_eq!(Key::from_name("immediatedata"), None);
    assert_eq!(
        Key::from_name("iSCSIProtocolLevel"),
        Some(Key::ISCSIProtocolLevel)
    );
}

/// RFC 7143 13.1 to 13.25, "Default is".
#[test]
fn every_key_has_the_default_and_the_rule_of_the_rfc() {
    let table = [
        ("HeaderDigest", "None", "list"),
        ("DataDigest", "None", "list"),
        ("MaxConnections", "1", "min 1-65535"),
        ("InitialR2T", "Yes", "or"),
        ("ImmediateData", "Yes", "and"),
        ("MaxBurstLength", "262144", "min 512-16777215"),
        ("FirstBurstLength", "65536", "min 512-16777215"),
        ("DefaultTime2Wait", "2", "max 0-3600"),
        ("DefaultTime2Retain", "20", "min 0-3600"),
        ("MaxOutstandingR2T", "1", "min 1-65535"),
        ("DataPDUInOrder", "Yes", "or"),
        ("DataSequenceInOrder", "Yes", "or"),
        ("ErrorRecoveryLevel", "0", "min 0-2"),
        ("TaskReporting", "RFC3720", "list"),
        ("iSCSIProtocolLevel", "1", "min 0-31"),
        ("IFMarker", "No", "answered No"),
        ("OFMarker", "No", "answered No"),
        ("IFMarkInt", "No", "answered Reject"),
        ("OFMarkInt", "No", "answered Reject"),
    ];
    assert_eq!(table.len(), Key::ALL.len());
    for (name, default, rule) in table {
        let key = Key::from_name(name).unwrap();
        assert_eq!(key.default_value().to_string(), default, "{name}");
        let shown = match key.rule() {
            Rule::List => "list".to_owned(),
            Rule::And => "and".to_owned(),
            Rule::Or => "or".to_owned(),
            Rule::Number(Combine::Minimum, r) => format!("min {}-{}", r.start(), r.end()),
            Rule::Number(Combine::Maximum, r) => format!("max {}-{}", r.start(), r.end()),
            Rule::Obsolete(constant) => format!("answered {constant}"),
        };
        assert_eq!(shown, rule, "{name}");
    }
}

#[test]
fn an_and_key_offered_no_cannot_be_answered_yes() {
    for (offer, answer, result) in [
        (true, "Yes", YES),
        (true, "No", NO),
        (false, "No", NO),
        (false, "Yes", OUTSIDE),
        (true, "yes", ILLEGAL),
        (true, "1", ILLEGAL),
        (true, "", ILLEGAL),
    ] {
        let got = Rule::And.accept(&Proposal::Bool(offer), answer);
        assert_eq!(got, result, "{offer} {answer}");
    }
}

#[test]
fn an_or_key_offered_yes_cannot_be_answered_no() {
    for (offer, answer, result) in [
        (true, "Yes", YES),
        (true, "No", OUTSIDE),
        (false, "No", NO),
        (false, "Yes", YES),
        (false, "Maybe", ILLEGAL),
    ] {
        let got = Rule::Or.accept(&Proposal::Bool(offer), answer);
        assert_eq!(got, result, "{offer} {answer}");
    }
}

#[test]
fn a_minimum_is_answered_with_the_offer_or_less_within_the_range() {
    let rule = Key::MaxBurstLength.rule();
    for (answer, result) in [
        ("262144", number(262_144)),
        ("0x40000", number(262_144)),
        ("0X400", number(1024)),
        ("512", number(512)),
        ("262145", OUTSIDE),
        ("16777215", OUTSIDE),
        ("511", ILLEGAL),
        ("16777216", ILLEGAL),
        ("99999999999999", ILLEGAL),
        ("-1", ILLEGAL),
        ("+512", ILLEGAL),
        ("0x", ILLEGAL),
        ("", ILLEGAL),
        ("512 ", ILLEGAL),
    ] {
        let got = rule.accept(&Proposal::Number(262_144), answer);
        assert_eq!(got, result, "{answer}");
    }
}

#[test]
fn a_maximum_is_answered_with_the_offer_or_more() {
    let rule = Key::DefaultTime2Wait.rule();
    for (answer, result) in [
        ("2", number(2)),
        ("60", number(60)),
        ("3600", number(3600)),
        ("1", OUTSIDE),
        ("3601", ILLEGAL),
    ] {
        let got = rule.accept(&Proposal::Number(2), answer);
        assert_eq!(got, result, "{answer}");
    }
}

#[test]
fn a_list_is_answered_with_exactly_one_of_its_values() {
    let offer = Proposal::List(vec!["CRC32C", "None"]);
    assert_eq!(offer.to_string(), "CRC32C,None");
    for (answer, result) in [
        ("CRC32C", Ok(Value::Choice("CRC32C"))),
        ("None", Ok(Value::Choice("None"))),
        ("CRC32C,None", OUTSIDE),
        ("crc32c", OUTSIDE),
        ("", OUTSIDE),
    ] {
        assert_eq!(Rule::List.accept(&offer, answer), result, "{answer}");
    }
}

#[test]
fn an_offer_of_the_other_side_is_answered_by_the_rule() {
    let digests = || Proposal::List(vec!["None", "CRC32C"]);
    for (key, ours, offer, answer) in [
        (Key::HeaderDigest, digests(), "CRC32C,None", "CRC32C"),
        (Key::HeaderDigest, digests(), "SHA,None", "None"),
        (Key::HeaderDigest, digests(), "SHA", "Reject"),
        (Key::ImmediateData, Proposal::Bool(true), "Yes", "Yes"),
        (Key::ImmediateData, Proposal::Bool(true), "No", "No"),
        (Key::ImmediateData, Proposal::Bool(false), "Yes", "No"),
        (Key::InitialR2T, Proposal::Bool(false), "No", "No"),
        (Key::InitialR2T, Proposal::Bool(false), "Yes", "Yes"),
        (Key::InitialR2T, Proposal::Bool(true), "No", "Yes"),
        (Key::InitialR2T, Proposal::Bool(true), "on", "Reject"),
        (Key::MaxBurstLength, Proposal::Number(4096), "512", "512"),
        (Key::MaxBurstLength, Proposal::Number(4096), "8192", "4096"),
        (Key::MaxBurstLength, Proposal::Number(4096), "0", "Reject"),
        (Key::DefaultTime2Wait, Proposal::Number(2), "0", "2"),
        (Key::DefaultTime2Wait, Proposal::Number(2), "9", "9"),
        (Key::IFMarker, Proposal::Bool(false), "Yes", "No"),
        (Key::OFMarker, Proposal::Bool(false), "No", "No"),
        (Key::IFMarkInt, Proposal::Bool(false), "1~65535", "Reject"),
        (Key::OFMarkInt, Proposal::Bool(false), "2048", "Reject"),
    ] {
        let text = match key.rule().answer(&ours, offer) {
            Answer::Settled(value) => value.to_string(),
            Answer::Constant(word) => word.to_owned(),
        };
        assert_eq!(text, answer, "{}={offer} against {ours}", key.name());
    }
}

#[test]
fn an_answer_may_be_left_out_only_where_the_offer_decides() {
    use Proposal::Bool;
    assert_eq!(Rule::And.decided_by(&Bool(false)), Some(Value::Bool(false)));
    assert_eq!(Rule::Or.decided_by(&Bool(true)), Some(Value::Bool(true)));
    assert_eq!(Rule::And.decided_by(&Bool(true)), None);
    assert_eq!(Rule::Or.decided_by(&Bool(false)), None);
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    fn proposal(key: Key, flag: bool, value: u32) -> Proposal {
        match key.rule() {
            Rule::List => Proposal::List(if flag {
                vec!["CRC32C", "None"]
            } else {
                vec!["None"]
            }),
            Rule::And | Rule::Or | Rule::Obsolete(_) => Proposal::Bool(flag),
            Rule::Number(_, range) => Proposal::Number(value.clamp(*range.start(), *range.end())),
        }
    }

    proptest! {
        /// Both roles compute the same: what we answer to an offer, the offerer accepts.
        #[test]
        fn the_responders_answer_is_always_accepted_by_the_originator(
            index in 0..Key::ALL.len(), a: bool, b: bool, x in 0u32..20_000_000, y in 0u32..20_000_000
        ) {
            let key = Key::ALL[index];
            let (ours, theirs) = (proposal(key, a, x), proposal(key, b, y));
            if let Answer::Settled(value) = key.rule().answer(&ours, &theirs.to_string()) {
                prop_assert_eq!(key.rule().accept(&theirs, &value.to_string()), Ok(value));
            }
        }

        #[test]
        fn no_value_makes_a_rule_panic(index in 0..Key::ALL.len(), a: bool, x: u32, value in ".*") {
            let key = Key::ALL[index];
            let ours = proposal(key, a, x);
            let _ = key.rule().accept(&ours, &value);
            let _ = key.rule().answer(&ours, &value);
        }
    }
}
