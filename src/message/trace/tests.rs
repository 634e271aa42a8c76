use std::time::Duration;

use proptest::prelude::*;

use super::*;

const ON: Tracing = Tracing { propagate: true, sample: None, otlp: None };
const ID: &str = "0af7651916cd43dd8448eb211c80319c";
const NOW: SystemTime = UNIX_EPOCH;

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn read(value: &str) -> Option<(String, u8)> {
    TraceParent::read(value.as_bytes()).map(|TraceParent { id, flags, .. }| (text(&id).to_owned(), flags))
}

fn parent_header(id: &TraceId, span: &SpanId, flags: u8) -> Vec<u8> {
    let mut value = Vec::new();
    parent::write(&mut value, id, span, flags);
    assert_eq!(value.len(), parent::LENGTH);
    value
}

fn amazon_header(id: &TraceId, span: &SpanId, sampled: Option<bool>) -> Vec<u8> {
    let mut value = Vec::new();
    amazon::write(&mut value, id, span, sampled);
    assert_eq!(value.len() + if sampled.is_none() { 10 } else { 0 }, amazon::LENGTH);
    value
}

#[test]
fn a_traceparent_is_read_by_its_version() {
    let valid = format!("00-{ID}-b7ad6b7169203331-01");
    assert_eq!(read(&valid), Some((ID.to_owned(), 1)));
    for (flags, known) in [("00", 0), ("01", 1), ("02", 2), ("03", 3), ("fd", 1), ("08", 0)] {
        assert_eq!(
            read(&format!("00-{ID}-b7ad6b7169203331-{flags}")),
            Some((ID.to_owned(), known)),
            "{flags}"
        );
    }
    for later in ["cc-{}", "01-{}", "cc-{}-", "cc-{}-more", "fe-{}-01-02"] {
        assert!(read(&later.replace("{}", &valid[3..])).is_some(), "{later}");
    }
    for wrong in [
        String::new(),
        valid[..54].to_owned(),
        format!("{valid}-"),
        format!("{valid}0"),
        format!("{valid}-more"),
        format!("cc{}.", &valid[2..]),
        format!("cc{}0", &valid[2..]),
        format!("ff{}", &valid[2..]),
        format!("0{valid}"),
        format!("-0{}", &valid[2..]),
        format!("+0{}", &valid[2..]),
        valid.to_uppercase(),
        valid.replace('-', "_"),
        valid.replace(ID, &"0".repeat(32)),
        valid.replace("b7ad6b7169203331", &"0".repeat(16)),
        valid.replace("b7ad6b7169203331", "b7ad6b716920333g"),
        valid.replace("-01", "-+1"),
        valid.replace("-01", "-0X"),
    ] {
        assert_eq!(read(&wrong), None, "{wrong}");
    }
}

#[test]
fn amazons_header_is_read_whatever_else_it_holds() {
    let root = "Root=1-0af76519-16cd43dd8448eb211c80319c";
    for (value, span, sampled) in [
        (root.to_owned(), None, None),
        (format!("{root};Parent=b7ad6b7169203331;Sampled=1"), Some(b"b7ad6b7169203331"), Some(true)),
        (format!("{root};Parent=b7ad;Sampled=1"), None, Some(true)),
        (format!("Self=1-5e6722a7-cc56cc56cc56cc56cc56cc56; Sampled=0; {root}"), None, Some(false)),
        (format!("{root};Sampled=?;Lineage=1:a:0"), None, None),
    ] {
        let read = amazon::read(value.as_bytes()).unwrap_or_else(|| panic!("{value}"));
        assert_eq!((text(&read.id), read.span.as_ref(), read.sampled), (ID, span, sampled), "{value}");
    }
    for wrong in [
        "",
        "Root=",
        "Parent=b7ad6b7169203331;Sampled=1",
        "Root=2-0af76519-16cd43dd8448eb211c80319c",
        "Root=1-0af7651916cd43dd8448eb211c80319c",
        "Root=1-0AF76519-16cd43dd8448eb211c80319c",
        "Root=1-0af76519-16cd43dd8448eb211c80319c0",
        "Root=1-00000000-000000000000000000000000",
    ] {
        assert_eq!(amazon::read(wrong.as_bytes()), None, "{wrong}");
    }
}

#[test]
fn a_new_trace_begins_with_the_time_and_no_two_are_the_same() {
    let now = UNIX_EPOCH + Duration::from_secs(0x5e67_22a7);
    let traces = [(); 2].map(|()| Trace::new(None, now));
    assert!(traces.iter().all(|trace| trace.id().starts_with("5e6722a7")), "{traces:?}");
    assert_ne!((traces[0].id, traces[0].span), (traces[1].id, traces[1].span));
}

#[test]
fn as_many_new_traces_are_recorded_as_the_settings_say() {
    let recorded = |sample| (0..1000).filter(|_| Trace::new(Some(sample), NOW).sampled == Some(true)).count();
    assert_eq!((recorded(0.0), recorded(1.0)), (0, 1000));
    // eleven standard deviations
    let half = recorded(0.5);
    assert!((325..=675).contains(&half), "{half}");
    assert_eq!(Trace::new(None, NOW).sampled, None);
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(value in prop::collection::vec(any::<u8>(), 0..80), at in 0..75_usize) {
        let _ = (TraceParent::read(&value), amazon::read(&value));
        let mut near = amazon_header(&[b'1'; 32], &[b'2'; 16], Some(true));
        near.splice(at.min(near.len()).., value.clone());
        let _ = amazon::read(&near);
        let mut near = parent_header(&[b'1'; 32], &[b'2'; 16], 1);
        near.splice(at.min(near.len()).., value);
        let _ = TraceParent::read(&near);
    }

    #[test]
    fn a_written_header_is_read_again(
        id in "[0-9a-f]{31}[1-9a-f]", span in "[0-9a-f]{15}[1-9a-f]",
        flags in 0..4_u8, sampled in any::<Option<bool>>(),
    ) {
        let id: TraceId = parse_id(id.as_bytes()).unwrap();
        let span: SpanId = parse_id(span.as_bytes()).unwrap();
        let parent = TraceParent { id, span, flags };
        prop_assert_eq!(TraceParent::read(&parent_header(&id, &span, flags)), Some(parent));
        let root = AmazonTrace { id, span: Some(span), sampled };
        prop_assert_eq!(amazon::read(&amazon_header(&id, &span, sampled)), Some(root));
    }

    #[test]
    fn whatever_a_client_sends_one_valid_traceparent_goes_out(
        lines in prop::collection::vec(
            "(00|01|ff|0)-([0-9a-f]{32}|0{32}|[0-9A-F]{32})-([0-9a-f]{16}|0{16})-0[0-9](-x)?", 0..3,
        ),
        sample in prop::option::of(0.0..=1.0_f64),
    ) {
        let mut all = headers(&lines.iter().map(|line| ("traceparent", line.as_str())).collect::<Vec<_>>());
        all.insert(TRACESTATE, HeaderValue::from_static("a=1"));
        let mut trace = Trace::begin(&all, &Tracing { sample, ..ON }, NOW).unwrap();
        let client = only(&all, &TRACEPARENT).and_then(TraceParent::read);
        trace.pass_on(&mut all);
        let out = TraceParent::read(only(&all, &TRACEPARENT).unwrap()).unwrap();
        prop_assert_eq!(all.contains_key(TRACESTATE), client.is_some());
        prop_assert_eq!(text(&out.id), trace.id());
        if let Some(client) = client {
            prop_assert_eq!((out.id, out.flags, Some(client.span)), (client.id, client.flags, trace.parent));
        }
        let told = amazon::read(only(&all, &AMAZON_TRACE_ID).unwrap()).unwrap();
        prop_assert_eq!((told.id, told.span), (out.id, Some(out.span)));
        prop_assert_eq!(told.sampled.unwrap_or_default(), out.flags & SAMPLED != 0);
        let before = trace.span;
        trace.step().pass_on(&mut all);
        prop_assert_ne!(trace.span, before);
        let next = TraceParent::read(only(&all, &TRACEPARENT).unwrap()).unwrap();
        prop_assert_eq!(next, TraceParent { span: trace.span, ..out });
        let told_next = amazon::read(only(&all, &AMAZON_TRACE_ID).unwrap()).unwrap();
        prop_assert_eq!(told_next, AmazonTrace { span: Some(trace.span), ..told });
    }
}
