//! The codec on a message that has everything a message can have, byte by byte.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::Bytes;

use super::{DecodeError, EncodeError, Message, Reader, Str, Writer};
use crate::message;

message! {
    /// Fields that come and go.
    pub message Versions (flexible 2) {
        always: i16 [0..];
        since_1: i32 [1..] = 7;
        until_1: bool [0..=1; ignorable];
        text: Option<Str> [0.., nullable 1..];
        parts: Option<Vec<Part>> [0..];
        cursor: Option<Part> [2..];
        tagged: i64 [2.., tag 3] = -1;
        tagged_part: Part [2.., tag 0];
    }

    /// A part of it.
    pub struct Part { weight: u16 [0..]; share: f64 [2..]; }
}

fn written<M: Message>(message: &M, version: i16) -> Vec<u8> {
    let mut writer = Writer::new();
    message.encode(&mut writer, version).unwrap();
    writer.into_bytes().to_vec()
}

fn read<M: Message>(bytes: &[u8], version: i16) -> Result<M, DecodeError> {
    M::decode_all(Bytes::copy_from_slice(bytes), version)
}

fn some() -> Versions {
    Versions { text: Some("t".into()), parts: Some(vec![Part::default()]), ..Default::default() }
}

#[test]
fn each_version_has_its_own_bytes() {
    let table: [(i16, &[u8]); 3] = [
        (0, &[0, 0, 0, 0, 1, b't', 0, 0, 0, 1, 0, 0]),
        (1, &[0, 0, 0, 0, 0, 7, 0, 0, 1, b't', 0, 0, 0, 1, 0, 0]),
        // compact lengths, tags after the part, no cursor, no tags
        (2, &[0, 0, 0, 0, 0, 7, 2, b't', 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0]),
    ];
    for (version, bytes) in table {
        assert_eq!(written(&some(), version), bytes, "version {version}");
        assert_eq!(read::<Versions>(bytes, version), Ok(some()), "version {version}");
    }
}

#[test]
fn tagged_fields_are_written_in_order_and_only_where_they_are_not_default() {
    let message = Versions {
        tagged: 1,
        tagged_part: Part { weight: 2, share: 0.0 },
        parts: None,
        text: None,
        ..Default::default()
    };
    let bytes = written(&message, 2);
    #[rustfmt::skip]
    let tail = &[
        0xff,                                           // no cursor
        2,                                              // two tagged fields
        0, 11, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0,         // tag 0: eleven bytes, with tags of their own
        3, 8, 0, 0, 0, 0, 0, 0, 0, 1,                   // tag 3: eight bytes
    ];
    assert!(bytes.ends_with(tail), "{bytes:02x?}");
    assert_eq!(read::<Versions>(&bytes, 2), Ok(message));
}

#[test]
fn tags_that_are_not_known_are_skipped() {
    let mut bytes = written(&some(), 2);
    bytes.pop();
    bytes.extend([2, 3, 8, 0, 0, 0, 0, 0, 0, 0, 5, 200, 1, 2, 9, 9]);
    assert_eq!(read(&bytes, 2), Ok(Versions { tagged: 5, ..some() }));
}

#[test]
fn a_tagged_field_that_does_not_fill_its_size_is_an_error() {
    let mut bytes = written(&some(), 2);
    bytes.pop();
    bytes.extend([1, 3, 9, 0, 0, 0, 0, 0, 0, 0, 5, 0]);
    assert_eq!(read::<Versions>(&bytes, 2), Err(DecodeError::TagLeftover(3)));
}

#[test]
fn what_a_version_cannot_say_is_refused() {
    let mut writer = Writer::new();
    let lost = Versions { since_1: 8, ..some() }.encode(&mut writer, 0);
    assert_eq!(lost, Err(EncodeError::NotInVersion { field: "since_1", version: 0 }));
    let lost = Versions { tagged: 8, ..some() }.encode(&mut writer, 1);
    assert_eq!(lost, Err(EncodeError::NotInVersion { field: "tagged", version: 1 }));
    assert_eq!(Versions { until_1: true, ..some() }.encode(&mut writer, 2), Ok(()));
    let null = Versions { text: None, ..some() }.encode(&mut writer, 0);
    assert!(matches!(null, Err(EncodeError::NullInVersion { version: 0, .. })), "{null:?}");
    let null = read::<Versions>(&[0, 0, 0, 0xff, 0xff, 0, 0, 0, 0], 0);
    assert_eq!(null, Err(DecodeError::UnexpectedNull));
}

#[test]
fn a_text_too_long_for_its_length_is_refused() {
    let message = Versions { text: Some("x".repeat(32_768).into()), ..Default::default() };
    assert_eq!(message.encode(&mut Writer::new(), 1), Err(EncodeError::TooLong(32_768)));
    assert_eq!(message.encode(&mut Writer::new(), 2), Ok(()));
}

#[test]
fn a_count_is_held_against_what_its_elements_take_in_that_version() {
    // Two bytes each before version 2: two parts fit into the four bytes that remain, three do not.
    let fits = [0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0];
    assert!(read::<Versions>(&fits, 0).is_ok());
    let too_many = [0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0];
    let refused = read::<Versions>(&too_many, 0);
    assert_eq!(refused, Err(DecodeError::BadCount { count: 3, remaining: 4 }));
    // Eleven bytes each in version 2.
    let mut bytes = vec![0, 0, 0, 0, 0, 7, 0, 3];
    bytes.extend([0; 21]);
    let refused = read::<Versions>(&bytes, 2);
    assert_eq!(refused, Err(DecodeError::BadCount { count: 2, remaining: 21 }));
}

#[test]
fn unsigned_varints_have_one_to_five_bytes() {
    let table: [(u32, &[u8]); 7] = [
        (0, &[0]),
        (127, &[0x7f]),
        (128, &[0x80, 1]),
        (300, &[0xac, 2]),
        (16_383, &[0xff, 0x7f]),
        (1 << 28, &[0x80, 0x80, 0x80, 0x80, 1]),
        (u32::MAX, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
    ];
    for (number, bytes) in table {
        let mut writer = Writer::new();
        writer.unsigned_varint(number);
        assert_eq!(writer.into_bytes(), bytes);
        let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
        assert_eq!((reader.unsigned_varint(), reader.remaining()), (Ok(number), 0));
    }
}

#[test]
fn a_writer_keeps_the_order_of_what_it_copies_and_what_it_keeps() {
    let large = Bytes::from(vec![1; 4096]);
    let small = Bytes::from(vec![2; 4095]);
    let mut inner = Writer::new();
    inner.put(&[3]);
    inner.put_bytes(&large);
    let mut writer = Writer::new();
    writer.put(&[4]);
    writer.put_bytes(&large);
    writer.put_bytes(&small);
    writer.append(inner);
    assert_eq!(writer.len(), 1 + 4096 + 4095 + 1 + 4096);
    let parts = writer.into_parts();
    let sizes: Vec<usize> = parts.iter().map(Bytes::len).collect();
    assert_eq!(sizes, [1, 4096, 4096, 4096]);
    assert_eq!(parts[1].as_ptr(), large.as_ptr());
    assert_eq!(parts[3].as_ptr(), large.as_ptr());
    assert_eq!(parts[2][4095], 3);
}

#[test]
fn an_owned_copy_does_not_hold_its_frame() {
    let frame = Bytes::from(b"..text..".to_vec());
    let text = Str::from_utf8(frame.slice(2..6)).unwrap();
    assert_eq!(text, "text");
    assert_eq!(text.as_ptr(), frame[2..].as_ptr());
    let copy = text.to_owned_copy();
    assert_eq!(copy, text);
    assert_ne!(copy.as_ptr(), text.as_ptr());
}
