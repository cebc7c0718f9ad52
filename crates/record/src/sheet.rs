//! Bytes that are there before they are written: what text is put on by those who write much of it.
//!
//! ```text
//!   {"timestamp":"2026-01-15T10:00:00.017383665Z"0000000000000000000000...
//!                                                └─ room: where the next piece goes, and how much there is
//! ```
//!
//! A vector keeps its length in memory, and asks for each piece that is appended whether there is room. Here a writer
//! has the rest of the room in registers and hands on what it left of it. A piece may be larger than what is wanted
//! of it: copying a number of bytes that is known when compiling is an instruction or two instead of a call, and what
//! is too much is written over by the next piece. Who finds no room says so, and all of the text is written again on
//! a larger sheet.

/// There is no room for the next piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Lets `write` put something behind `out`, for which there are `len` bytes of room at first, and more if that says
/// so. It returns what it left of the room. Appends nothing if it fails otherwise.
pub(crate) fn append<E>(
    out: &mut Vec<u8>,
    len: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<&mut [u8], E>,
    is_full: impl Fn(&E) -> bool,
) -> Result<(), E> {
    let start = out.len();
    let mut len = len;
    loop {
        out.resize(start + len, 0);
        match write(out.get_mut(start..).unwrap_or_default()).map(|left| left.len()) {
            Ok(left) => {
                out.truncate(start + len - left);
                return Ok(());
            }
            Err(error) if is_full(&error) => len *= 2,
            Err(error) => {
                out.truncate(start);
                return Err(error);
            }
        }
    }
}

/// Where the next `N` bytes go.
#[inline(always)]
pub(crate) fn piece<const N: usize>(room: &mut [u8]) -> Result<&mut [u8; N], Full> {
    room.first_chunk_mut().ok_or(Full)
}

/// What is left of a room behind its first `len` bytes.
#[inline(always)]
pub(crate) fn behind(room: &mut [u8], len: usize) -> Result<&mut [u8], Full> {
    room.get_mut(len..).ok_or(Full)
}

/// Writes a byte. Returns what is left of the room, as all of these do.
#[inline(always)]
pub(crate) fn put_byte(byte: u8, room: &mut [u8]) -> Result<&mut [u8], Full> {
    let (first, rest) = room.split_first_mut().ok_or(Full)?;
    *first = byte;
    Ok(rest)
}

/// Writes all of `bytes`, whose number is known when compiling.
#[inline(always)]
pub(crate) fn put_all<const N: usize>(bytes: [u8; N], room: &mut [u8]) -> Result<&mut [u8], Full> {
    let (first, rest) = room.split_first_chunk_mut().ok_or(Full)?;
    *first = bytes;
    Ok(rest)
}

/// Writes a text, most of which are short: by pieces, of which the last two may overlap.
#[inline]
pub(crate) fn put<'r>(text: &[u8], room: &'r mut [u8]) -> Result<&'r mut [u8], Full> {
    let (to, rest) = room.split_at_mut_checked(text.len()).ok_or(Full)?;
    let Some(last) = text.last_chunk::<16>() else {
        put_short(text, to);
        return Ok(rest);
    };
    if text.len() > LONG {
        to.copy_from_slice(text);
        return Ok(rest);
    }
    for (to, from) in to.as_chunks_mut::<16>().0.iter_mut().zip(text.as_chunks::<16>().0) {
        *to = *from;
    }
    if let Some(to) = to.last_chunk_mut() {
        *to = *last;
    }
    Ok(rest)
}

/// Copies fewer than sixteen bytes; both are of one length.
#[inline(always)]
fn put_short(from: &[u8], to: &mut [u8]) {
    if !(put_ends::<8>(from, to) || put_ends::<4>(from, to) || put_ends::<2>(from, to))
        && let (Some(to), Some(from)) = (to.first_mut(), from.first())
    {
        *to = *from;
    }
}

/// Copies the first and the last `N` bytes, if there are so many: all of a text that has no more than twice as many.
#[inline(always)]
fn put_ends<const N: usize>(from: &[u8], to: &mut [u8]) -> bool {
    let (Some(first), Some(last)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) else { return false };
    if let Some(to) = to.first_chunk_mut() {
        *to = *first;
    }
    if let Some(to) = to.last_chunk_mut() {
        *to = *last;
    }
    true
}

/// More bytes are copied by a call.
const LONG: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_appended() {
        let mut out = b"before ".to_vec();
        let text = [b'a'; 100];
        assert_eq!(append(&mut out, 1, |room| put(&text, room), |_| true), Ok(()));
        assert_eq!(out, [b"before ".as_slice(), &text].concat());
        assert_eq!(append(&mut out, 1, |room| put(&text, room), |_| false), Err(Full));
        assert_eq!(out.len(), 107);
    }

    /// Of every length, with more room than they need, as much, and less.
    #[test]
    fn texts_are_put_where_they_belong() {
        for len in 0..300 {
            let text: Vec<u8> = (0..len).map(|at| at as u8).collect();
            for room in [len, len + 1, len + 100] {
                let mut sheet = vec![0xff; room];
                assert_eq!(put(&text, &mut sheet).map(|rest| rest.len()), Ok(room - len));
                assert_eq!(sheet[..len], text);
                assert!(sheet[len..].iter().all(|byte| *byte == 0xff));
            }
            if len > 0 {
                assert_eq!(put(&text, &mut vec![0; len - 1]), Err(Full));
            }
        }
        let mut sheet = [0; 4];
        assert_eq!(
            put_byte(1, &mut sheet).and_then(|rest| put_all([2, 3], rest)).map(|rest| rest.len()),
            Ok(1)
        );
        assert_eq!(
            (sheet, put_all([0; 5], &mut sheet), put_byte(0, &mut [])),
            ([1, 2, 3, 0], Err(Full), Err(Full))
        );
    }
}
