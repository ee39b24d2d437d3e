//! One function a target: whatever the bytes are, it returns. Where something can be read, it also
//! asserts what must hold of it.

mod protocol;
mod records;
mod stored;
mod text;

use bytes::Bytes;

/// One thing to fuzz.
struct Target {
    name: &'static str,
    /// What it does with bytes.
    body: fn(&Bytes),
    /// What it begins with.
    seeds: fn() -> Vec<Vec<u8>>,
}

const TARGETS: &[Target] = &[
    Target { name: "frames", body: protocol::frames, seeds: protocol::frame_seeds },
    Target { name: "responses", body: protocol::responses, seeds: protocol::response_seeds },
    Target { name: "batches", body: records::batches, seeds: records::batch_seeds },
    Target { name: "codecs", body: records::codecs, seeds: records::codec_seeds },
    Target { name: "catalog", body: stored::catalog, seeds: stored::catalog_seeds },
    Target { name: "raft", body: stored::raft, seeds: stored::raft_seeds },
    Target { name: "metadata", body: stored::metadata, seeds: stored::metadata_seeds },
    Target { name: "groups", body: stored::groups, seeds: stored::group_seeds },
    Target { name: "peers", body: stored::peers, seeds: stored::peer_seeds },
    Target { name: "properties", body: text::properties, seeds: text::property_seeds },
];

/// The targets' names.
#[allow(dead_code)] // for the tests
pub fn names() -> impl Iterator<Item = &'static str> {
    TARGETS.iter().map(|target| target.name)
}

/// Feeds a target.
pub fn run(target: &str, data: &[u8]) {
    (find(target).body)(&Bytes::copy_from_slice(data));
}

/// What a target begins with.
#[allow(dead_code)] // for the tests
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    (find(target).seeds)()
}

fn find(target: &str) -> &'static Target {
    let found = TARGETS.iter().find(|found| found.name == target);
    found.unwrap_or_else(|| panic!("no target is called {target}"))
}

/// Numbers below a bound, the same for the same seed.
fn draw(seed: u64) -> impl FnMut(u32) -> u32 {
    let mut state = ottla::types::random::mix(seed);
    move |bound| {
        let drawn = ottla::types::random::next_mixed(&mut state) >> 33;
        u32::try_from(drawn % u64::from(bound.max(1))).unwrap_or(0)
    }
}

/// Takes a block off the front: its length in two bytes, and as much of it as is there.
fn block(rest: &mut Bytes) -> Option<Bytes> {
    if rest.len() < 2 {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
    let _ = rest.split_to(2);
    Some(rest.split_to(length.min(rest.len())))
}

/// Puts blocks together again.
fn blocks<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u16).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}
