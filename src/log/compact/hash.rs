//! SipHash-2-4 with 128 bits, under a key of each pass's own: two keys of a topic that collide
//! would cost one of them its last value, and nobody who writes keys can look for such a pair. Pure.

/// The hash of `bytes` under `key`.
pub fn hash(key: [u64; 2], bytes: &[u8]) -> [u64; 2] {
    let mut state = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d ^ 0xee,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let mut whole = [0; 8];
        whole.copy_from_slice(word);
        absorb(&mut state, u64::from_le_bytes(whole));
    }
    let mut last = [0; 8];
    let rest = words.remainder();
    last[..rest.len()].copy_from_slice(rest);
    absorb(&mut state, u64::from_le_bytes(last) | (bytes.len() as u64) << 56);
    state[2] ^= 0xee;
    let low = finish(&mut state);
    state[1] ^= 0xdd;
    [low, finish(&mut state)]
}

fn absorb(state: &mut [u64; 4], word: u64) {
    state[3] ^= word;
    round(state);
    round(state);
    state[0] ^= word;
}

fn finish(state: &mut [u64; 4]) -> u64 {
    for _ in 0..4 {
        round(state);
    }
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

#[inline]
fn round(state: &mut [u64; 4]) {
    let [a, b, c, d] = state;
    *a = a.wrapping_add(*b);
    *c = c.wrapping_add(*d);
    *b = b.rotate_left(13) ^ *a;
    *d = d.rotate_left(16) ^ *c;
    *a = a.rotate_left(32);
    *c = c.wrapping_add(*b);
    *a = a.wrapping_add(*d);
    *b = b.rotate_left(17) ^ *c;
    *d = d.rotate_left(21) ^ *a;
    *c = c.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_its_authors() {
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let vectors: [(&[u8], [u64; 2]); 2] = [
            (&[], [0xe6a8_25ba_047f_81a3, 0x9302_55c7_1472_f66d]),
            (&[0], [0x44af_996b_d8c1_87da, 0x45fc_229b_1159_7634]),
        ];
        for (input, expected) in vectors {
            assert_eq!(hash(key, input), expected, "{input:?}");
        }
    }
}
