//! Bytes that are no message: an error, never a panic, and no memory for what they merely claim.

use bytes::Bytes;
use proptest::prelude::*;

use ottla::protocol::messages::{self, init_producer_id, metadata};
use ottla::protocol::{DecodeError, Message, Reader, Request, Writer};

use crate::draw;

/// Something done with every message in every version.
trait Trial {
    fn run<M: Message>(&self, version: i16);
}

macro_rules! each_message {
    ($($api:ident: $request:ident => $response:ident, $versions:expr;)*) => {
        fn each_message(trial: &impl Trial) {
            $(for version in messages::$api::$request::VERSIONS {
                trial.run::<messages::$api::$request>(version);
                trial.run::<messages::$api::$response>(version);
            })*
        }
    };
}
every_api!(each_message);

fn sample<M: Message>(seed: u64, version: i16) -> Bytes {
    let mut writer = Writer::new();
    M::sample(&mut draw(seed), version).encode(&mut writer, version).unwrap();
    writer.into_bytes()
}

fn about<M>(version: i16, seed: u64) -> String {
    format!("{} version {version} seed {seed}", std::any::type_name::<M>())
}

/// Every length of a short message; of a long one the ends, and some between.
fn places(length: usize) -> impl Iterator<Item = usize> {
    let step = (length / 400).max(1);
    (0..length).filter(move |place| *place < 600 || place + 300 > length || place % step == 0)
}

struct Truncated(u64);

impl Trial for Truncated {
    fn run<M: Message>(&self, version: i16) {
        let bytes = sample::<M>(self.0, version);
        for length in places(bytes.len()) {
            let read = M::decode_all(bytes.slice(..length), version);
            assert!(read.is_err(), "{}: {length} bytes pass", about::<M>(version, self.0));
        }
    }
}

#[test]
fn a_truncated_message_is_an_error() {
    (0..2).for_each(|seed| each_message(&Truncated(seed)));
}

struct Trailing(u64);

impl Trial for Trailing {
    fn run<M: Message>(&self, version: i16) {
        let mut bytes = sample::<M>(self.0, version).to_vec();
        bytes.extend([0, 0, 0]);
        let read = M::decode_all(bytes.into(), version);
        assert_eq!(read, Err(DecodeError::Leftover(3)), "{}", about::<M>(version, self.0));
    }
}

#[test]
fn bytes_behind_a_message_are_an_error() {
    (0..5).for_each(|seed| each_message(&Trailing(seed)));
}

/// Numbers that are bad as lengths and counts, in all their encodings.
const EXAGGERATIONS: &[&[u8]] = &[
    &[0x7f, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x7f, 0xff],
    &[0x80, 0, 0, 0],
    &[0xff, 0xfe],
];

struct Exaggerated(u64);

impl Trial for Exaggerated {
    fn run<M: Message>(&self, version: i16) {
        let bytes = sample::<M>(self.0, version);
        for place in places(bytes.len()) {
            for claim in EXAGGERATIONS {
                let mut changed = bytes.to_vec();
                changed.truncate(place);
                changed.extend_from_slice(claim);
                changed.extend_from_slice(bytes.get(place + claim.len()..).unwrap_or_default());
                let _ = M::decode_all(changed.into(), version);
            }
        }
    }
}

/// Wherever a count stands it is once the greatest possible: were memory taken for it, the
/// allocator would abort the test.
#[test]
fn exaggerations_anywhere_take_no_memory() {
    each_message(&Exaggerated(1));
}

struct Garbage<'a>(&'a Bytes);

impl Trial for Garbage<'_> {
    fn run<M: Message>(&self, version: i16) {
        let _ = M::decode_all(self.0.clone(), version);
    }
}

struct Changed {
    seed: u64,
    place: prop::sample::Index,
    byte: u8,
}

impl Trial for Changed {
    fn run<M: Message>(&self, version: i16) {
        let mut bytes = sample::<M>(self.seed, version).to_vec();
        if bytes.is_empty() {
            return;
        }
        let place = self.place.index(bytes.len());
        bytes[place] = self.byte;
        let _ = M::decode_all(bytes.into(), version);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        each_message(&Garbage(&bytes.into()));
    }

    #[test]
    fn a_changed_byte_does_no_harm(seed: u64, place: prop::sample::Index, byte: u8) {
        each_message(&Changed { seed, place, byte });
    }

    /// A count that passes is one that the bytes can hold: the capacity taken for it, too.
    #[test]
    fn capacity_is_bounded_by_the_bytes_that_are_there(count in 0_i32..5000, length in 0_usize..5000) {
        let mut frame = count.to_be_bytes().to_vec();
        frame.resize(4 + length, 0);
        // Metadata version 1: topics are names, each two bytes at least.
        match metadata::MetadataRequest::decode(&mut Reader::new(frame.into()), 1) {
            Ok(read) => {
                let topics = read.topics.unwrap();
                prop_assert!(topics.capacity() * 2 <= length, "{} for {length}", topics.capacity());
            }
            Err(error) => {
                let refused = matches!(error, DecodeError::BadCount { .. });
                prop_assert!(refused && count as usize * 2 > length, "{error} at {count}, {length}");
            }
        }
    }
}

#[test]
fn huge_counts_are_refused_before_anything_is_allocated() {
    // Metadata version 1: a count of i32::MAX topics, and nothing behind it.
    let claims = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]);
    let result = metadata::MetadataRequest::decode(&mut Reader::new(claims), 1);
    assert_eq!(result, Err(DecodeError::BadCount { count: 0x7fff_ffff, remaining: 0 }));
    // Version 9: the same as a compact count.
    let claims = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
    let result = metadata::MetadataRequest::decode(&mut Reader::new(claims), 9);
    assert_eq!(result, Err(DecodeError::BadCount { count: 0xffff_fffe, remaining: 0 }));
}

#[test]
fn bad_lengths_varints_text_and_tags_are_errors() {
    let decode = |bytes: &'static [u8], version| {
        init_producer_id::InitProducerIdRequest::decode(
            &mut Reader::new(Bytes::from_static(bytes)),
            version,
        )
        .unwrap_err()
    };
    assert_eq!(decode(&[0xff, 0xfe], 0), DecodeError::BadLength(-2));
    assert_eq!(decode(&[0, 1, 0xc3], 0), DecodeError::NotUtf8);
    assert_eq!(decode(&[0xff; 6], 2), DecodeError::BadVarint(5));
    assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff, 0x1f], 2), DecodeError::BadVarint(5));
    let same_tag_twice = &[0, 0, 0, 0, 1, 2, 7, 0, 7, 0];
    assert_eq!(decode(same_tag_twice, 2), DecodeError::BadTag(7));
    let long_tag = &[0, 0, 0, 0, 1, 1, 7, 9];
    assert_eq!(decode(long_tag, 2), DecodeError::Truncated { wanted: 9, remaining: 0 });
}
