//! Kafka's zigzag variable-length integers.

use bytes::BufMut;

use crate::record::RecordError;

/// Reads an integer of at most 64 bits off `bytes`.
pub fn read_long(bytes: &mut &[u8]) -> Result<i64, RecordError> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && bits > 1 {
            break;
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()));
        }
    }
    let cut_off = bytes.len() < 10;
    Err(RecordError::Invalid(if cut_off { "a number is cut off" } else { "a number is too long" }))
}

/// Reads an integer of at most 32 bits off `bytes`.
pub fn read_int(bytes: &mut &[u8]) -> Result<i32, RecordError> {
    i32::try_from(read_long(bytes)?).map_err(|_| RecordError::Invalid("a number exceeds 32 bits"))
}

/// Writes an integer.
pub fn write(buffer: &mut impl BufMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        buffer.put_u8(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
        rest >>= 7;
    }
    buffer.put_u8(u8::try_from(rest).unwrap_or(0));
}

/// How many bytes [`write`] takes.
pub fn size_bytes(value: i64) -> usize {
    let rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let bits = 64 - (rest | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}
