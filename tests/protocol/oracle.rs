//! Every message and version that `kafka-protocol` knows: what we write it reads, and writes again
//! byte for byte; what it writes we read as the same message.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Message as TheirMessage};

use ottla::protocol::messages as ours;
use ottla::protocol::{DecodeError, EncodeError, Message, Request, Writer};

use crate::draw;

const SEEDS: u64 = 40;

fn check<Ours: Message, Theirs: Encodable + Decodable + std::fmt::Debug>(version: i16) {
    for seed in 0..SEEDS {
        let name = std::any::type_name::<Ours>();
        let about = format!("{name} version {version} seed {seed}");
        let message = Ours::sample(&mut draw(seed), version);
        let mut writer = Writer::new();
        message.encode(&mut writer, version).unwrap_or_else(|e| panic!("{about}: {e}"));
        let bytes = writer.into_bytes();

        let mut rest = bytes.clone();
        let read = Theirs::decode(&mut rest, version)
            .unwrap_or_else(|e| panic!("{about}: the oracle cannot read {message:?}: {e}"));
        assert!(rest.is_empty(), "{about}: the oracle leaves {} bytes", rest.len());
        // The oracle keeps tags that it does not know and writes them again.
        let kept = format!("{read:?}").replace("unknown_tagged_fields: {}", "");
        assert!(
            !kept.contains("unknown_tagged_fields"),
            "{about}: a tag is not the oracle's: {kept}"
        );
        let mut again = BytesMut::new();
        read.encode(&mut again, version).unwrap_or_else(|e| panic!("{about}: {e}"));
        assert_eq!(again.freeze(), bytes, "{about}: {message:?}");

        assert_eq!(Ours::decode_all(bytes, version).as_ref(), Ok(&message), "{about}");
    }
}

/// What the oracle read in its latest version and wrote in an earlier one, read by us and written
/// again: a tagged field that we do not know would be lost.
fn check_rewritten<Ours: Message, Theirs: Encodable + Decodable>(latest: i16, version: i16) {
    for seed in 0..SEEDS {
        let about = format!("{} {version} of {latest} seed {seed}", std::any::type_name::<Ours>());
        let mut writer = Writer::new();
        Ours::sample(&mut draw(seed), latest).encode(&mut writer, latest).unwrap();
        let read = Theirs::decode(&mut writer.into_bytes(), latest).unwrap();
        let mut bytes = BytesMut::new();
        if read.encode(&mut bytes, version).is_err() {
            continue; // the version cannot carry it
        }
        let bytes = bytes.freeze();
        let message = match Ours::decode_all(bytes.clone(), version) {
            Err(DecodeError::UnexpectedNull) => continue, // the oracle writes null in any version
            read => read.unwrap_or_else(|e| panic!("{about}: {e}")),
        };
        let mut writer = Writer::new();
        message.encode(&mut writer, version).unwrap();
        assert_eq!(writer.into_bytes(), bytes, "{about}");
    }
}

/// The oracle's default message, read by us and written again.
fn check_default<Ours: Message, Theirs: Encodable + Default>(version: i16) {
    let mut bytes = BytesMut::new();
    if Theirs::default().encode(&mut bytes, version).is_err() {
        return; // a default that the version forbids
    }
    let bytes: Bytes = bytes.freeze();
    let message = Ours::decode_all(bytes.clone(), version).unwrap();
    // Its nullable fields are empty by default where ours are null.
    let plain = |message: &Ours| {
        let text = format!("{message:?}");
        ["Some(\"\")", "Some([])", "Some(b\"\")"]
            .iter()
            .fold(text, |text, e| text.replace(e, "None"))
    };
    assert_eq!(plain(&message), plain(&Ours::default()), "version {version}");
    let mut writer = Writer::new();
    message.encode(&mut writer, version).unwrap();
    assert_eq!(writer.into_bytes(), bytes, "{} version {version}", std::any::type_name::<Ours>());
}

/// Versions of ours that the oracle has no schema for; `by_hand` has them.
const UNKNOWN_TO_THE_ORACLE: &[(&str, i16)] =
    &[("ListOffsets", 11), ("OffsetCommit", 10), ("OffsetFetch", 10)];

macro_rules! against_the_oracle {
    ($($api:ident: $request:ident => $response:ident, $versions:expr;)*) => {
        $(#[test]
        fn $api() {
            type OurRequest = ours::$api::$request;
            type OurResponse = ours::$api::$response;
            let name = OurRequest::API.name();
            assert_eq!(OurRequest::VERSIONS, $versions, "{name}");
            for version in $versions {
                let known = <theirs::$request as TheirMessage>::VERSIONS;
                if UNKNOWN_TO_THE_ORACLE.contains(&(name, version)) {
                    assert!(version > known.max, "the oracle knows {name} {version} by now");
                    continue;
                }
                let about = "neither known to the oracle nor checked by hand";
                assert!((known.min..=known.max).contains(&version), "{name} {version} is {about}");
                check::<OurRequest, theirs::$request>(version);
                check::<OurResponse, theirs::$response>(version);
                let latest = known.max.min(*($versions).end());
                check_rewritten::<OurRequest, theirs::$request>(latest, version);
                check_rewritten::<OurResponse, theirs::$response>(latest, version);
                check_default::<OurRequest, theirs::$request>(version);
                check_default::<OurResponse, theirs::$response>(version);
            }
        })*

        /// Every message file has its line in `every_api`.
        #[test]
        fn no_api_is_forgotten() {
            let covered = [$(stringify!($api)),*];
            let listing = std::fs::read_dir("src/protocol/messages").unwrap();
            for entry in listing {
                let name = entry.unwrap().file_name().into_string().unwrap();
                let api = name.trim_end_matches(".rs");
                assert!(api == "mod" || covered.contains(&api), "{api} is not checked");
            }
        }

        /// The header's form agrees with the oracle's for every version.
        #[test]
        fn headers_are_flexible_where_the_oracles_are() {
            use kafka_protocol::protocol::HeaderVersion;
            $(for version in $versions {
                let api = ours::$api::$request::API;
                let flexible = version >= api.first_flexible();
                assert_eq!(flexible, version >= ours::$api::$request::FLEXIBLE, "{api:?} {version}");
                let header = theirs::$request::header_version(version);
                assert_eq!(flexible, header >= 2, "{api:?} {version}");
                let mut writer = Writer::new();
                ottla::protocol::header::encode_response_header(api, version, 1, &mut writer);
                let theirs = theirs::$response::header_version(version);
                assert_eq!(writer.len() == 5, theirs >= 1, "{api:?} {version}");
            })*
        }
    };
}

every_api!(against_the_oracle);

/// The header of an API whose body is not read yet still has to have the right form.
#[test]
fn every_api_key_knows_its_first_flexible_version() {
    use kafka_protocol::messages::ApiKey as TheirKey;
    let mut seen = 0;
    for api in ottla::protocol::ApiKey::ALL {
        let Ok(theirs) = TheirKey::try_from(api.code()) else { continue };
        let known = theirs.valid_versions();
        for version in known.min..=known.max {
            let flexible = theirs.request_header_version(version) >= 2;
            assert_eq!(version >= api.first_flexible(), flexible, "{api:?} {version}");
            seen += 1;
        }
    }
    assert!(seen > 200, "only {seen} versions compared");
}

#[test]
fn null_is_refused_in_versions_that_want_a_value() {
    let request = ours::metadata::MetadataRequest { topics: None, ..Default::default() };
    let mut writer = Writer::new();
    let refused = request.encode(&mut writer, 0);
    assert!(matches!(refused, Err(EncodeError::NullInVersion { version: 0, .. })), "{refused:?}");
    assert_eq!(request.encode(&mut Writer::new(), 1), Ok(()));

    let null = Bytes::from_static(&[0xff; 4]);
    let read = ours::metadata::MetadataRequest::decode_all(null.clone(), 0);
    assert_eq!(read, Err(DecodeError::UnexpectedNull));
    let read = ours::metadata::MetadataRequest::decode_all(null, 1).unwrap();
    assert_eq!(read.topics, None);
}

/// The oracle allows null everywhere, so it is no witness for this.
#[test]
fn names_may_be_null_only_since_topics_have_ids() {
    use ours::{delete_topics as delete, metadata};
    fn since<M: Message>(message: &M, first: i16) {
        let before = message.encode(&mut Writer::new(), first - 1);
        assert!(matches!(before, Err(EncodeError::NullInVersion { .. })), "{message:?}");
        let mut writer = Writer::new();
        message.encode(&mut writer, first).unwrap();
        assert_eq!(M::decode_all(writer.into_bytes(), first).as_ref(), Ok(message));
    }
    let topics = Some(vec![metadata::MetadataRequestTopic::default()]);
    since(&metadata::MetadataRequest { topics, ..Default::default() }, 10);
    let topics = vec![metadata::MetadataResponseTopic::default()];
    since(&metadata::MetadataResponse { topics, ..Default::default() }, 12);
    let responses = vec![delete::DeletableTopicResult::default()];
    since(&delete::DeleteTopicsResponse { responses, ..Default::default() }, 6);
}

#[test]
fn a_value_that_a_version_cannot_carry_is_refused_unless_it_may_be_dropped() {
    let request =
        ours::init_producer_id::InitProducerIdRequest { producer_id: 7, ..Default::default() };
    let refused = request.encode(&mut Writer::new(), 2);
    assert_eq!(refused, Err(EncodeError::NotInVersion { field: "producer_id", version: 2 }));
    let fetch = ours::fetch::FetchRequest { rack_id: "r".into(), ..Default::default() };
    assert_eq!(fetch.encode(&mut Writer::new(), 10), Ok(()), "the rack may be dropped");
}
