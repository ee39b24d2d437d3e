//! Walks over the records of one uncompressed payload without decoding them: only lengths, deltas
//! and whether there is a key. Pure.

/// What validation needs to know of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Its timestamp, relative to the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Its offset, relative to the batch's base offset.
    pub offset_delta: i32,
    /// Whether its key is not null.
    pub has_key: bool,
}

/// Calls `visit` for each of `count` records, which must fill `payload` exactly. The error says
/// what is wrong.
pub fn walk(
    payload: &[u8],
    count: i32,
    mut visit: impl FnMut(Frame) -> Result<(), String>,
) -> Result<(), String> {
    let mut rest = payload;
    for index in 0..count {
        if let Some((frame, left)) = plain(rest) {
            rest = left;
            visit(frame)?;
            continue;
        }
        let body = take_record(&mut rest).ok_or_else(|| {
            format!("Record {index} of {count} has an invalid length or is cut off")
        })?;
        let frame = frame(body)
            .ok_or_else(|| format!("Record {index} does not fill its length exactly"))?;
        visit(frame)?;
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(format!("{} bytes follow the last of {count} records", rest.len()))
    }
}

/// What [`plain`] looks at: a length, attributes, two deltas and a key's length, in two bytes at most
/// each, end before that.
const PLAIN_BYTES: usize = 16;

/// The first record and what follows it, if it is as nearly all are: no headers, and no number
/// longer than two bytes. `None` says nothing about other records: whether they are sound is for
/// [`frame`] to tell.
#[inline]
fn plain(rest: &[u8]) -> Option<(Frame, &[u8])> {
    let head = rest.first_chunk::<PLAIN_BYTES>()?;
    let mut at = 0;
    let length = short_at(head, &mut at)?;
    let (body_at, end) = (at, at + usize::try_from(length).ok()?);
    at = body_at + 1;
    let timestamp_delta = i64::from(short_at(head, &mut at)?);
    let offset_delta = short_at(head, &mut at)?;
    let key = short_at(head, &mut at)?;
    let value_length_at = at + length_of(key)?;
    let mut value_at = 0;
    let value = short_at(rest.get(value_length_at..)?.first_chunk::<2>()?, &mut value_at)?;
    let headers_at = value_length_at + value_at + length_of(value)?;
    if headers_at + 1 != end || *rest.get(headers_at)? != 0 {
        return None;
    }
    Some((Frame { timestamp_delta, offset_delta, has_key: key >= 0 }, rest.get(end..)?))
}

/// The number of one or two bytes at `at`, which moves behind it.
#[inline]
fn short_at<const N: usize>(bytes: &[u8; N], at: &mut usize) -> Option<i32> {
    const { assert!(N.is_power_of_two()) };
    let low = bytes[*at & (N - 1)];
    let mut raw = u32::from(low & 0x7f);
    *at += 1;
    if low >= 0x80 {
        let high = bytes[*at & (N - 1)];
        if high >= 0x80 {
            return None;
        }
        raw |= u32::from(high) << 7;
        *at += 1;
    }
    Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// How many bytes follow a length; null has none, and nothing else is negative.
#[inline]
fn length_of(length: i32) -> Option<usize> {
    if length == -1 { Some(0) } else { usize::try_from(length).ok() }
}

#[inline]
fn take_record<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(rest)?).ok()?;
    take(rest, length)
}

#[inline]
fn frame(mut body: &[u8]) -> Option<Frame> {
    let rest = &mut body;
    take(rest, 1)?;
    let timestamp_delta = varlong(rest)?;
    let offset_delta = varint(rest)?;
    let has_key = skip_nullable(rest)?;
    skip_nullable(rest)?;
    let headers = varint(rest)?;
    if headers < 0 {
        return None;
    }
    for _ in 0..headers {
        if !skip_nullable(rest)? {
            return None;
        }
        skip_nullable(rest)?;
    }
    rest.is_empty().then_some(Frame { timestamp_delta, offset_delta, has_key })
}

/// Passes over a length and as many bytes; whether it was not null.
#[inline]
fn skip_nullable(rest: &mut &[u8]) -> Option<bool> {
    let length = varint(rest)?;
    if length < 0 {
        return (length == -1).then_some(false);
    }
    take(rest, usize::try_from(length).ok()?)?;
    Some(true)
}

#[inline]
fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

#[inline]
fn varint(rest: &mut &[u8]) -> Option<i32> {
    if let Some(raw) = short(rest) {
        return Some(i32::from(raw >> 1) ^ -i32::from(raw & 1));
    }
    let raw = u32::try_from(unsigned(rest, 5)?).ok()?;
    Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

#[inline]
fn varlong(rest: &mut &[u8]) -> Option<i64> {
    if let Some(raw) = short(rest) {
        return Some(i64::from(raw >> 1) ^ -i64::from(raw & 1));
    }
    let raw = unsigned(rest, 10)?;
    Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// A number of one or two bytes, as nearly all are.
#[inline]
fn short(rest: &mut &[u8]) -> Option<u16> {
    match **rest {
        [low @ ..0x80, ref left @ ..] => {
            *rest = left;
            Some(u16::from(low))
        }
        [low, high @ ..0x80, ref left @ ..] => {
            *rest = left;
            Some(u16::from(low & 0x7f) | u16::from(high) << 7)
        }
        _ => None,
    }
}

fn unsigned(rest: &mut &[u8], max_bytes: usize) -> Option<u64> {
    let mut value = 0u64;
    for index in 0..max_bytes {
        let (&byte, left) = rest.split_first()?;
        *rest = left;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn record(body: &[u8]) -> Vec<u8> {
        let mut record = vec![u8::try_from(body.len() * 2).unwrap()];
        record.extend_from_slice(body);
        record
    }

    #[test]
    fn frames_are_read_in_place() {
        // attributes, timestamp delta 3, offset delta 0, key "k", value null, no headers
        let with_key = record(&[0, 6, 0, 2, b'k', 1, 0]);
        // timestamp delta -1, offset delta 1, null key, empty value, header "h" with a null value
        let with_header = record(&[0, 1, 2, 1, 0, 2, 2, b'h', 1]);
        let payload = [with_key, with_header].concat();
        let mut frames = Vec::new();
        walk(&payload, 2, |frame| {
            frames.push(frame);
            Ok(())
        })
        .unwrap();
        let expected = [
            Frame { timestamp_delta: 3, offset_delta: 0, has_key: true },
            Frame { timestamp_delta: -1, offset_delta: 1, has_key: false },
        ];
        assert_eq!(frames, expected);
    }

    #[test]
    fn damage_is_refused() {
        let good = record(&[0, 6, 0, 2, b'k', 1, 0]);
        let cases: Vec<(&str, Vec<u8>, i32)> = vec![
            ("nothing", vec![], 1),
            ("cut off", good[..good.len() - 1].to_vec(), 1),
            ("one too few", good.clone(), 2),
            ("one too many", [good.clone(), good.clone()].concat(), 1),
            ("negative length", vec![1], 1),
            ("a length without end", vec![0xff; 12], 1),
            ("key longer than the record", record(&[0, 6, 0, 20, b'k', 1, 0]), 1),
            ("key length -2", record(&[0, 6, 0, 3, 1, 0]), 1),
            ("header without key", record(&[0, 6, 0, 1, 1, 2, 1, 1]), 1),
            ("negative header count", record(&[0, 6, 0, 1, 1, 1]), 1),
            ("bytes after the headers", record(&[0, 6, 0, 1, 1, 0, 0]), 1),
        ];
        for (what, payload, count) in cases {
            assert!(walk(&payload, count, |_| Ok(())).is_err(), "{what}");
        }
    }

    /// Only the slow way, which the quick one must agree with.
    fn walk_slowly(payload: &[u8], count: i32) -> Option<Vec<Frame>> {
        let mut rest = payload;
        let frames: Option<Vec<Frame>> =
            (0..count).map(|_| frame(take_record(&mut rest)?)).collect();
        frames.filter(|_| rest.is_empty())
    }

    #[test]
    fn both_ways_agree_on_every_damaged_byte() {
        let mut payload = Vec::new();
        // Null, empty and filled keys and values; lengths of one and of two bytes.
        for (index, (key, value)) in [
            (None, None),
            (Some(0), Some(3)),
            (Some(4), None),
            (None, Some(90)),
            (Some(70), Some(0)),
        ]
        .into_iter()
        .enumerate()
        {
            let mut body = vec![0, 6, u8::try_from(index * 2).unwrap()];
            for length in [key, value] {
                let raw = length.map_or(1, |length: usize| length * 2);
                if raw >= 0x80 {
                    body.push(u8::try_from(raw & 0x7f).unwrap() | 0x80);
                    body.push(u8::try_from(raw >> 7).unwrap());
                } else {
                    body.push(u8::try_from(raw).unwrap());
                }
                body.extend(std::iter::repeat_n(b'x', length.unwrap_or(0)));
            }
            body.push(0);
            let raw = body.len() * 2;
            if raw >= 0x80 {
                payload.push(u8::try_from(raw & 0x7f).unwrap() | 0x80);
                payload.push(u8::try_from(raw >> 7).unwrap());
            } else {
                payload.push(u8::try_from(raw).unwrap());
            }
            payload.extend(body);
        }
        assert_eq!(walk_slowly(&payload, 5).unwrap().len(), 5);
        for at in 0..payload.len() {
            for byte in 0..=255 {
                let mut damaged = payload.clone();
                damaged[at] = byte;
                let mut frames = Vec::new();
                let walked = walk(&damaged, 5, |frame| {
                    frames.push(frame);
                    Ok(())
                });
                let walked = walked.ok().map(|()| frames);
                assert_eq!(walked, walk_slowly(&damaged, 5), "byte {at} is {byte}");
            }
        }
    }

    #[test]
    fn varints_of_all_lengths_are_read() {
        for value in [0i64, -1, 1, 63, 64, -64, -65, 300, i64::from(i32::MAX), i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            let mut raw = u64::from_ne_bytes(((value << 1) ^ (value >> 63)).to_ne_bytes());
            while raw >= 0x80 {
                bytes.push(u8::try_from(raw & 0x7f).unwrap() | 0x80);
                raw >>= 7;
            }
            bytes.push(u8::try_from(raw).unwrap());
            assert_eq!(varlong(&mut &bytes[..]), Some(value));
            if let Ok(small) = i32::try_from(value) {
                assert_eq!(varint(&mut &bytes[..]), Some(small));
            }
        }
    }
}
