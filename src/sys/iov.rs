//! Memory that somebody else may change at any time, as lists of iovecs.

use libc::{c_void, iovec};
use std::marker::PhantomData;
use std::sync::atomic::{Ordering, compiler_fence};

/// A list of memory ranges that the guest shares with us: bytes can be copied in and out and
/// handed to the kernel, but never be borrowed as a Rust slice, since the guest may write them at
/// any moment.
#[derive(Debug)]
pub struct GuestBuffers<'a> {
    slices: &'a mut [iovec],
    len: usize,
    memory: PhantomData<&'a ()>,
}

impl<'a> GuestBuffers<'a> {
    /// Wraps `slices`, `len` bytes in all.
    ///
    /// # Safety
    /// For `'a` every slice must be mapped memory of this process that no Rust reference points
    /// into; for a list that is written to, writable; and `len` must be their sum.
    pub unsafe fn new(slices: &'a mut [iovec], len: usize) -> Self {
        debug_assert_eq!(len, slices.iter().map(|s| s.iov_len).sum::<usize>());
        Self {
            slices,
            len,
            memory: PhantomData,
        }
    }

    /// Bytes in all slices together.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no byte at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies bytes from `offset` on into `to` and returns how many there were.
    pub fn copy_to(&self, offset: usize, to: &mut [u8]) -> usize {
        let mut done = 0;
        for (base, len) in self.pieces(offset, to.len()) {
            let target = &mut to[done..done + len];
            // SAFETY: `base..base+len` lies in one mapped slice (the type's contract, `pieces`
            // stays within it); `target` is ours and has `len` bytes; they cannot overlap, since
            // no Rust reference points into guest memory.
            unsafe { std::ptr::copy_nonoverlapping(base, target.as_mut_ptr(), len) };
            done += len;
        }
        // The copy is what counts: nothing after this may be read from guest memory instead.
        compiler_fence(Ordering::SeqCst);
        done
    }

    /// Copies `from` to `offset` and returns how many bytes had room.
    pub fn copy_from(&mut self, offset: usize, from: &[u8]) -> usize {
        let mut done = 0;
        for (base, len) in self.pieces(offset, from.len()) {
            let source = &from[done..done + len];
            // SAFETY: as in `copy_to`; the slices are writable when the owner writes to them.
            unsafe { std::ptr::copy_nonoverlapping(source.as_ptr(), base, len) };
            done += len;
        }
        done
    }

    /// The part from `start` on, at most `len` bytes.
    pub fn span(&mut self, start: usize, len: usize) -> Span<'_> {
        let len = len.min(self.len.saturating_sub(start));
        Span {
            slices: self.slices,
            start,
            len,
        }
    }

    /// The pieces of memory that hold `len` bytes from `offset` on.
    fn pieces(&self, offset: usize, len: usize) -> impl Iterator<Item = (*mut u8, usize)> {
        let (first, mut skip) = locate(self.slices, offset);
        let (mut rest, mut left) = (self.slices[first..].iter(), len);
        std::iter::from_fn(move || {
            let slice = if left > 0 { rest.next()? } else { return None };
            let base = slice.iov_base.cast::<u8>().wrapping_add(skip);
            let len = (slice.iov_len - skip).min(left);
            skip = 0;
            left -= len;
            Some((base, len))
        })
    }
}

/// A part of [`GuestBuffers`]: what a transfer reads or writes.
#[derive(Debug)]
pub struct Span<'a> {
    slices: &'a mut [iovec],
    start: usize,
    len: usize,
}

impl Span<'_> {
    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no byte in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What is left after the first `done` bytes, for a vectored system call.
    pub(super) fn rest(&mut self, done: usize) -> Window<'_> {
        Window::new(
            self.slices,
            self.start + done,
            self.len.saturating_sub(done),
        )
    }
}

/// A run of iovecs, the first and last of them cut to size until it is dropped.
#[derive(Debug)]
pub(super) struct Window<'a> {
    slices: &'a mut [iovec],
    first: Option<iovec>,
    last: Option<iovec>,
}

impl<'a> Window<'a> {
    fn new(slices: &'a mut [iovec], offset: usize, len: usize) -> Self {
        let (start, skip) = locate(slices, offset);
        let slices = &mut slices[start..];
        let (whole, rest) = locate(slices, skip + len);
        let end = if rest > 0 { whole + 1 } else { whole };
        let end = end.min(slices.len());
        let slices = &mut slices[..end];
        let (first, last) = (slices.first().copied(), slices.last().copied());
        if rest > 0
            && let Some(slice) = slices.last_mut()
        {
            slice.iov_len = slice.iov_len.min(rest);
        }
        if let Some(slice) = slices.first_mut() {
            slice.iov_base = slice
                .iov_base
                .cast::<u8>()
                .wrapping_add(skip)
                .cast::<c_void>();
            slice.iov_len -= skip;
        }
        Self {
            slices,
            first,
            last,
        }
    }

    /// The iovecs, for a system call; the memory contract is that of [`GuestBuffers::new`].
    pub(super) fn as_iovecs(&self) -> &[iovec] {
        self.slices
    }
}

impl Drop for Window<'_> {
    fn drop(&mut self) {
        if let (Some(slot), Some(last)) = (self.slices.last_mut(), self.last) {
            *slot = last;
        }
        if let (Some(slot), Some(first)) = (self.slices.first_mut(), self.first) {
            *slot = first;
        }
    }
}

/// Where byte `offset` of `slices` lies: the slice's index and the offset within it. One past the
/// end is `(slices.len(), 0)` or beyond.
fn locate(slices: &[iovec], offset: usize) -> (usize, usize) {
    let mut skip = offset;
    for (index, slice) in slices.iter().enumerate() {
        if skip < slice.iov_len {
            return (index, skip);
        }
        skip -= slice.iov_len;
    }
    (slices.len(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `check` on buffers of the given lengths, filled with 0, 1, 2, ...
    fn with_buffers(lens: &[usize], check: impl FnOnce(&mut GuestBuffers)) {
        let mut counter = 0..;
        let mut memory: Vec<Vec<u8>> = lens
            .iter()
            .map(|&len| counter.by_ref().take(len).collect())
            .collect();
        let mut slices: Vec<iovec> = memory
            .iter_mut()
            .map(|part| iovec {
                iov_base: part.as_mut_ptr().cast(),
                iov_len: part.len(),
            })
            .collect();
        // SAFETY: `memory` outlives the buffers and is not touched meanwhile.
        let mut buffers = unsafe { GuestBuffers::new(&mut slices, lens.iter().sum()) };
        check(&mut buffers);
    }

    #[test]
    fn copies_cross_slice_borders() {
        with_buffers(&[1, 0, 3, 2], |buffers| {
            let mut bytes = [0; 4];
            assert_eq!(buffers.copy_to(1, &mut bytes), 4);
            assert_eq!(bytes, [1, 2, 3, 4]);

            assert_eq!(buffers.copy_from(3, &[9; 8]), 3);
            let mut all = [0; 8];
            assert_eq!(buffers.copy_to(0, &mut all), 6);
            assert_eq!(all[..6], [0, 1, 2, 9, 9, 9]);
        });
    }

    #[test]
    fn every_window_holds_its_bytes_and_restores_the_list() {
        let lens = [3, 1, 0, 5, 2];
        let total: usize = lens.iter().sum();
        for offset in 0..=total + 1 {
            for len in 0..=total + 1 {
                with_buffers(&lens, |buffers| {
                    let bytes_in = |window: Window| -> usize {
                        window.as_iovecs().iter().map(|slice| slice.iov_len).sum()
                    };
                    let mut span = buffers.span(offset, len);
                    let expected = total.saturating_sub(offset).min(len);
                    assert_eq!(span.len(), expected, "offset {offset} len {len}");
                    assert_eq!(
                        bytes_in(span.rest(0)),
                        expected,
                        "offset {offset} len {len}"
                    );
                    assert_eq!(bytes_in(span.rest(1)), expected.saturating_sub(1));
                    assert_eq!(bytes_in(buffers.span(0, total).rest(0)), total);
                });
            }
        }
    }
}
