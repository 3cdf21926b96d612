use super::*;

/// The examples of RFC 6455 §5.7.
#[test]
fn the_examples_of_the_standard_are_written_and_read() {
    let examples: [(Frame, &[u8]); 7] = [
        (Frame::unmasked(TEXT, "Hello"), &[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]),
        (
            Frame::masked(TEXT, "Hello"),
            &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58],
        ),
        (Frame::unmasked(TEXT & !FIN, "Hel"), &[0x01, 0x03, 0x48, 0x65, 0x6c]),
        (Frame::unmasked(CONTINUATION, "lo"), &[0x80, 0x02, 0x6c, 0x6f]),
        (Frame::unmasked(PING, "Hello"), &[0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]),
        (
            Frame::masked(PONG, "Hello"),
            &[0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58],
        ),
        (Frame::unmasked(CLOSE, close_payload(1000, "")), &[0x88, 0x02, 0x03, 0xe8]),
    ];
    for (frame, bytes) in examples {
        assert_eq!(frame.encode(), bytes);
        assert_eq!(Frame::parse(bytes), Some((frame, bytes.len())));
    }
    assert_eq!(Frame::unmasked(BINARY, [0; 256]).header(), [0x82, 0x7E, 0x01, 0x00]);
    assert_eq!(Frame::unmasked(BINARY, [0; 65_536]).header(), [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn every_first_byte_every_form_and_every_mask_is_read_as_it_was_written() {
    let firsts = (0..=u8::MAX).map(|first| (first, 1));
    let lengths = [0, 125, 126, 127, 65_535, 65_536].map(|length| (BINARY, length));
    for (first, length) in firsts.chain(lengths) {
        for role in [Role::Client, Role::Server] {
            let shortest = Frame::sent_by(role, first, vec![first; length]);
            for form in [Form::Bits7, Form::Bits16, Form::Bits64] {
                if form >= shortest.form {
                    let frame = shortest.clone().form(form);
                    let bytes = frame.encode();
                    assert_eq!(Frame::parse(&bytes), Some((frame, bytes.len())));
                }
            }
        }
    }
}

#[test]
fn a_frame_that_has_not_come_whole_is_none_yet() {
    let bytes = Frame::masked(TEXT, "Hello").form(Form::Bits64).encode();
    for end in 0..bytes.len() {
        assert_eq!(Frame::parse(&bytes[..end]), None);
    }
    // Nothing is allocated for what is announced.
    assert_eq!(Frame::parse(&header(BINARY, u64::MAX)), None);
}

#[test]
fn what_follows_a_frame_is_left() {
    let bytes = [masked(TEXT, b"one"), unmasked(PING, b"two")].concat();
    let (frame, count) = Frame::parse(&bytes).unwrap();
    assert_eq!((frame.payload.as_slice(), count), (&b"one"[..], 9));
    let mut rest = &bytes[..];
    assert_eq!(Frame::read(&mut rest).unwrap(), frame);
    assert_eq!(rest, unmasked(PING, b"two"));
    assert_eq!(Frame::parse_all(&bytes), [frame, Frame::unmasked(PING, "two")]);
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_frame_is_read_from_tokios_streams() {
    let mut bytes = &[masked(TEXT, &[7; 1000]), unmasked(PING, b"two")].concat()[..];
    assert_eq!(Frame::read_async(&mut bytes).await.unwrap(), Frame::masked(TEXT, [7; 1000]));
    assert_eq!(Frame::read_async(&mut bytes).await.unwrap(), Frame::unmasked(PING, "two"));
    let error = Frame::read_async(&mut bytes).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn any_field_can_be_wrong() {
    let announced = Frame::masked(BINARY, "x").announce(1 << 63);
    let header = [&[0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0][..], &KEY].concat();
    assert_eq!(announced.encode(), [&header[..], &[b'x' ^ KEY[0]]].concat());
    assert_eq!(Frame::unmasked(TEXT | RSV1, []).form(Form::Bits16).encode(), [0xC1, 126, 0, 0]);
    assert_eq!(Frame::unmasked(TEXT, "ab").announce(1).encode(), [0x81, 1, b'a', b'b']);
    assert_eq!(Frame::unmasked(TEXT, "a").mask([0; 4]).encode(), [0x81, 0x81, 0, 0, 0, 0, b'a']);
    assert_eq!(Frame::unmasked(CLOSE, close_payload(999, b"\xFF")).close_code(), Some(999));
}

#[test]
fn fragments_have_the_opcode_first_and_fin_last() {
    let pieces: [&[u8]; 3] = [b"a", b"", b"b"];
    let firsts = |first| {
        let frames = Frame::fragments(Role::Client, first, &pieces).into_iter();
        frames.map(|frame| frame.first).collect::<Vec<_>>()
    };
    assert_eq!(firsts(TEXT), [0x01, 0x00, 0x80]);
    assert_eq!(firsts(BINARY | RSV1), [0x42, 0x00, 0x80]);
    assert_eq!(Frame::fragments(Role::Server, TEXT, &[b"a"]), [Frame::unmasked(TEXT, "a")]);
}
