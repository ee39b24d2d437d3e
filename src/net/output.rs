//! From responses to bytes: what waits to be written, in order, gathered into one vectored write.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// Parts shorter than this are copied together: that is cheaper than another slice of the write.
const COPY_BELOW_BYTES: usize = 1 << 10;

/// The slices of one write. The kernel takes up to 1,024.
const MAX_SLICES: usize = 64;

/// A frame whose length does not fit into the protocol's 32 bits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a frame of {0} bytes is longer than the protocol can say")]
pub struct FrameTooLong(usize);

/// Frames that wait to be written.
#[derive(Debug, Default)]
pub struct Output {
    parts: VecDeque<Bytes>,
    /// Small things since the last of `parts`.
    tail: BytesMut,
    length: usize,
}

impl Output {
    /// Adds a frame that consists of `parts`, after its length.
    pub fn push_frame(&mut self, parts: Vec<Bytes>) -> Result<(), FrameTooLong> {
        let length: usize = parts.iter().map(Bytes::len).sum();
        let prefix = i32::try_from(length).map_err(|_| FrameTooLong(length))?;
        self.tail.extend_from_slice(&prefix.to_be_bytes());
        self.length += prefix.to_be_bytes().len();
        self.push_raw(parts);
        Ok(())
    }

    /// Adds bytes that are framed already.
    pub fn push_raw(&mut self, parts: Vec<Bytes>) {
        for part in parts {
            self.length += part.len();
            if part.len() < COPY_BELOW_BYTES {
                self.tail.extend_from_slice(&part);
            } else {
                self.seal();
                self.parts.push_back(part);
            }
        }
    }

    /// The bytes that wait.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Writes what one write takes: how many bytes. May be dropped and called again.
    pub async fn write_to<W: AsyncWrite + Unpin>(&mut self, stream: &mut W) -> io::Result<usize> {
        self.seal();
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let used = self.parts.len().min(MAX_SLICES);
        for (slice, part) in slices.iter_mut().zip(&self.parts) {
            *slice = IoSlice::new(part);
        }
        let written = stream.write_vectored(&slices[..used]).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.advance(written);
        Ok(written)
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.parts.push_back(self.tail.split().freeze());
        }
    }

    fn advance(&mut self, mut written: usize) {
        self.length -= written;
        while let Some(first) = self.parts.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use proptest::prelude::*;

    use super::*;

    /// Takes at most `step` bytes with each write and counts the writes.
    struct Narrow {
        step: usize,
        taken: Vec<u8>,
        writes: usize,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let step = self.step.min(bytes.len());
            self.taken.extend_from_slice(&bytes[..step]);
            self.writes += 1;
            Poll::Ready(Ok(step))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let mut left = self.step;
            for slice in slices {
                let step = left.min(slice.len());
                self.taken.extend_from_slice(&slice[..step]);
                left -= step;
            }
            self.writes += 1;
            Poll::Ready(Ok(self.step - left))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn drain(output: &mut Output, step: usize) -> Narrow {
        let mut narrow = Narrow { step, taken: Vec::new(), writes: 0 };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            while !output.is_empty() {
                output.write_to(&mut narrow).await.unwrap();
            }
        });
        narrow
    }

    #[test]
    fn many_small_responses_leave_in_one_write() {
        let mut output = Output::default();
        for _ in 0..1_000 {
            output
                .push_frame(vec![Bytes::from_static(b"header"), Bytes::from_static(b"body")])
                .unwrap();
        }
        assert_eq!(output.len(), 14_000);
        assert_eq!(drain(&mut output, usize::MAX).writes, 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn bytes_leave_in_order_however_they_are_taken(
            frames in prop::collection::vec(prop::collection::vec(0_usize..5_000, 0..4), 1..40),
            step in 1_usize..20_000,
        ) {
            let mut output = Output::default();
            let mut expected = Vec::new();
            for (at, frame) in frames.iter().enumerate() {
                let fill = u8::try_from(at).unwrap();
                let parts: Vec<Bytes> = frame.iter().map(|size| vec![fill; *size].into()).collect();
                let length = i32::try_from(frame.iter().sum::<usize>()).unwrap();
                expected.extend_from_slice(&length.to_be_bytes());
                expected.extend(parts.iter().flatten());
                output.push_frame(parts).unwrap();
            }
            prop_assert_eq!(output.len(), expected.len());
            prop_assert_eq!(drain(&mut output, step).taken, expected);
        }
    }
}
