//! The four codecs in Kafka's framings. What comes out is bounded by the caller.

use std::io::{Read, Write};

use bytes::Bytes;

use crate::record::RecordError;
use crate::record::header::COMPRESSION_BITS;

/// What opens a stream of snappy-java: a magic, a version, and the least version that can read it.
const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;
/// snappy-java's default; Kafka's producer uses it.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;
/// The default of `compression.lz4.level`.
const LZ4_DEFAULT_LEVEL: i32 = 9;
/// What is unpacked grows by doubling as far as this. Then room is taken for all that may come, at once: what
/// is not used of it costs no memory, and nothing large is copied.
const DOUBLED_UP_TO_BYTES: usize = 32 << 20;
/// snappy's densest element: three bytes stand for 64.
const SNAPPY_MAX_RATIO: usize = 22;

/// How the records of a batch are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// snappy, in the blocks of snappy-java; plain snappy is read too.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// zstd.
    Zstd,
}

impl Compression {
    /// All of them, by their numbers.
    pub const ALL: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    /// The codec that a batch's attributes name.
    pub fn from_attributes(attributes: i16) -> Result<Compression, RecordError> {
        match attributes & COMPRESSION_BITS {
            0 => Ok(Compression::None),
            1 => Ok(Compression::Gzip),
            2 => Ok(Compression::Snappy),
            3 => Ok(Compression::Lz4),
            4 => Ok(Compression::Zstd),
            other => Err(RecordError::UnknownCompression(u8::try_from(other).unwrap_or(u8::MAX))),
        }
    }

    /// Its number, as in a batch's attributes.
    pub fn number(self) -> i16 {
        match self {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Snappy => 2,
            Compression::Lz4 => 3,
            Compression::Zstd => 4,
        }
    }

    /// Its name, as in `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// The codec of a name.
    pub fn from_name(name: &str) -> Option<Compression> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// Unpacks. More than `limit_bytes` is an error, found before more than that is held.
    pub fn decompress(self, packed: &[u8], limit_bytes: usize) -> Result<Bytes, RecordError> {
        match self {
            Compression::None if packed.len() > limit_bytes => {
                Err(RecordError::TooLarge { limit_bytes })
            }
            Compression::None => Ok(Bytes::copy_from_slice(packed)),
            Compression::Gzip => {
                self.read_all(flate2::read::MultiGzDecoder::new(packed), limit_bytes)
            }
            Compression::Snappy => self.unpack_snappy(packed, limit_bytes),
            Compression::Lz4 => {
                let mut decoder = lz4::Decoder::new(packed).map_err(|e| self.bad(e))?;
                let content = self.read_all(&mut decoder, limit_bytes)?;
                // The crate takes the end of the input for the end of the frame; this tells.
                decoder.finish().1.map_err(|e| self.bad(e))?;
                Ok(content)
            }
            Compression::Zstd => {
                let decoder = zstd::stream::read::Decoder::new(packed).map_err(|e| self.bad(e))?;
                self.read_all(decoder, limit_bytes)
            }
        }
    }

    /// Packs, with the codec's default level.
    pub fn compress(self, content: &[u8]) -> Result<Bytes, RecordError> {
        self.compress_at(content, None)
    }

    /// Packs, with a level as the topic key `compression.<codec>.level` numbers them; `None`: the
    /// codec's default.
    pub fn compress_at(self, content: &[u8], level: Option<i32>) -> Result<Bytes, RecordError> {
        let packed = match self {
            Compression::None => Ok(content.to_vec()),
            Compression::Gzip => pack_gzip(content, level),
            Compression::Snappy => pack_snappy(content),
            Compression::Lz4 => pack_lz4(content, level),
            Compression::Zstd => {
                let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
                zstd::stream::encode_all(content, level)
            }
        };
        packed.map(Bytes::from).map_err(|error| RecordError::Compression {
            codec: self.name(),
            reason: error.to_string(),
        })
    }

    fn read_all(self, decoder: impl Read, limit_bytes: usize) -> Result<Bytes, RecordError> {
        let mut content = Vec::new();
        let mut bounded = decoder.take((limit_bytes as u64).saturating_add(1));
        let mut first = bounded.by_ref().take(DOUBLED_UP_TO_BYTES as u64);
        first.read_to_end(&mut content).map_err(|error| self.bad(error))?;
        if content.len() == DOUBLED_UP_TO_BYTES {
            content.reserve_exact(limit_bytes.saturating_add(1).saturating_sub(content.len()));
            bounded.read_to_end(&mut content).map_err(|error| self.bad(error))?;
        }
        if content.len() > limit_bytes {
            return Err(RecordError::TooLarge { limit_bytes });
        }
        // As it is: to give the room behind it back would copy it.
        Ok(Bytes::from_owner(content))
    }

    fn unpack_snappy(self, packed: &[u8], limit_bytes: usize) -> Result<Bytes, RecordError> {
        let mut content = Vec::new();
        if !packed.starts_with(XERIAL_MAGIC) {
            self.unpack_snappy_block(packed, &mut content, limit_bytes)?;
            return Ok(Bytes::from_owner(content));
        }
        let mut rest =
            packed.get(XERIAL_HEADER_BYTES..).ok_or_else(|| self.bad("header cut off"))?;
        while !rest.is_empty() {
            let (length, behind) =
                rest.split_first_chunk::<4>().ok_or_else(|| self.bad("block length cut off"))?;
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            let (block, behind) =
                behind.split_at_checked(length).ok_or_else(|| self.bad("block cut off"))?;
            self.unpack_snappy_block(block, &mut content, limit_bytes)?;
            rest = behind;
        }
        Ok(Bytes::from_owner(content))
    }

    fn unpack_snappy_block(
        self,
        block: &[u8],
        content: &mut Vec<u8>,
        limit_bytes: usize,
    ) -> Result<(), RecordError> {
        let claimed = snap::raw::decompress_len(block).map_err(|error| self.bad(error))?;
        if claimed / SNAPPY_MAX_RATIO > block.len() {
            return Err(self.bad("the claimed length cannot come out of so few bytes"));
        }
        let start = content.len();
        if claimed > limit_bytes.saturating_sub(start) {
            return Err(RecordError::TooLarge { limit_bytes });
        }
        content.resize(start + claimed, 0);
        let written = snap::raw::Decoder::new()
            .decompress(block, &mut content[start..])
            .map_err(|error| self.bad(error))?;
        content.truncate(start + written);
        Ok(())
    }

    fn bad(self, reason: impl ToString) -> RecordError {
        RecordError::Decompression { codec: self.name(), reason: reason.to_string() }
    }
}

fn pack_gzip(content: &[u8], level: Option<i32>) -> std::io::Result<Vec<u8>> {
    // -1 is the default, as in zlib.
    let level = level.and_then(|level| u32::try_from(level).ok());
    let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(content)?;
    encoder.finish()
}

fn pack_snappy(content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut packed = Vec::with_capacity(XERIAL_HEADER_BYTES + content.len() / 2);
    packed.extend_from_slice(XERIAL_MAGIC);
    packed.extend_from_slice(&1_u32.to_be_bytes());
    packed.extend_from_slice(&1_u32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in content.chunks(XERIAL_BLOCK_BYTES) {
        let block = encoder.compress_vec(block)?;
        let length = u32::try_from(block.len()).map_err(std::io::Error::other)?;
        packed.extend_from_slice(&length.to_be_bytes());
        packed.extend_from_slice(&block);
    }
    Ok(packed)
}

/// Kafka's default level is the fast compressor; every other one is of the high-compression kind
/// (KIP-390), whose levels begin at 3 in this library and end at 12.
fn lz4_level(level: Option<i32>) -> u32 {
    match level {
        None | Some(LZ4_DEFAULT_LEVEL) => 0,
        Some(level) => u32::try_from(level.clamp(3, 12)).unwrap_or(0),
    }
}

fn pack_lz4(content: &[u8], level: Option<i32>) -> std::io::Result<Vec<u8>> {
    // Kafka's Java reader knows independent blocks only.
    let mut encoder = lz4::EncoderBuilder::new()
        .block_mode(lz4::BlockMode::Independent)
        .block_size(lz4::BlockSize::Max64KB)
        .checksum(lz4::ContentChecksum::NoChecksum)
        .level(lz4_level(level))
        .build(Vec::new())?;
    encoder.write_all(content)?;
    let (packed, result) = encoder.finish();
    result.map(|()| packed)
}
