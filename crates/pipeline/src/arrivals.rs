//! Input that has pauses: pipes, sockets, terminals. Nobody is stuck in reading it: who reads is told that there is
//! nothing, does what is to be done before a pause, and waits where the end of the run is heard of, too.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use gannet_pcap::{Error, StreamReader};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::files::Bytes;

/// Such an input. Reading from it says [`ErrorKind::WouldBlock`] while it has nothing, whether or not its descriptor
/// blocks: that is a property of what others may use as well.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    file: Arc<File>,
}

impl Arrivals {
    pub(crate) fn new(file: File) -> Self {
        Self { file: Arc::new(file) }
    }

    /// Sleeps until there is something to read, or the end of it, or until the bell rings.
    pub(crate) fn wait(&self, bell: &Bell) {
        let mut wanted = [&self.as_fd(), &bell.heard.as_fd()].map(|fd| PollFd::new(*fd, PollFlags::POLLIN));
        // A sleep that is interrupted is as good as one that has ended: who reads finds out.
        let _ = poll(&mut wanted, PollTimeout::NONE);
    }

    /// A reader of it, when as much has arrived as tells the format: what has is kept until then, and refused if it
    /// is more than [`START_MAX`]. `wait` sleeps until there may be something to read; `false` says that nobody wants
    /// it any more, and there is no reader.
    pub(crate) fn reader(
        &self,
        wait: &mut dyn FnMut(BorrowedFd<'_>) -> bool,
    ) -> Result<Option<StreamReader<Bytes>>, Error> {
        let mut start = Vec::new();
        let mut chunk = vec![0; CHUNK];
        // How much there was when the header was last looked for, and how much is worth the next look.
        let (mut tried, mut enough) = (0, 0);
        loop {
            let is_pause = match self.clone().read(&mut chunk) {
                Ok(0) => return StreamReader::new(Box::new(io::Cursor::new(start)) as Bytes).map(Some),
                Ok(read) => {
                    start.extend_from_slice(chunk.get(..read).unwrap_or_default());
                    false
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => true,
                Err(source) => return Err(Error::Io { offset: start.len() as u64, source }),
            };
            // What tells the format is short, unless it is compressed: then it is looked for less often the more
            // there is. A pause is time for it, and may be a long one.
            let is_full = start.len() >= START_MAX;
            if start.len() > tried && (start.len() >= enough || is_pause || is_full) {
                tried = start.len();
                match StreamReader::new(start.as_slice().chain(Pause)) {
                    Err(error) if error.is_pause() && is_full => {
                        return Err(Error::HeaderFar { beyond: start.len() as u64 });
                    }
                    Err(error) if error.is_pause() => enough = if tried < CHUNK { 0 } else { 2 * tried },
                    _ => {
                        let source = io::Cursor::new(start).chain(self.clone());
                        return StreamReader::new(Box::new(source) as Bytes).map(Some);
                    }
                }
            }
            if is_pause && !wait(self.as_fd()) {
                return Ok(None);
            }
        }
    }
}

impl Read for Arrivals {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wanted = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        if poll(&mut wanted, PollTimeout::ZERO)? == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        (&*self.file).read(buffer)
    }
}

impl AsFd for Arrivals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Wakes those who wait for input, for good.
#[derive(Debug)]
pub(crate) struct Bell {
    heard: UnixStream,
    rope: UnixStream,
}

impl Bell {
    /// Fails if there are no file descriptors left.
    pub(crate) fn new() -> io::Result<Self> {
        let (heard, rope) = UnixStream::pair()?;
        Ok(Self { heard, rope })
    }

    /// From now on nobody waits.
    pub(crate) fn ring(&self) {
        // Fails only if it is shut down already.
        let _ = self.rope.shutdown(Shutdown::Both);
    }
}

/// A source that has nothing at the moment.
struct Pause;

impl Read for Pause {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }
}

/// As much as a pipe gives at once.
const CHUNK: usize = 64 << 10;
/// In front of a capture's header there may be anything that decompressors pass over, such as Zstandard's skippable
/// frames. Nobody has written as much there as the longest block of a capture.
const START_MAX: usize = gannet_pcap::MAX_BLOCK as usize;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use super::*;

    /// Of a classic capture.
    const HEADER: [u8; 24] =
        [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];

    fn pair() -> (Arrivals, File) {
        let (read, write) = nix::unistd::pipe().unwrap();
        (Arrivals::new(read.into()), write.into())
    }

    #[test]
    fn a_pause_is_told_and_the_end_is() {
        let (mut arrivals, mut writer) = pair();
        let mut buffer = [0; 8];
        assert_eq!(arrivals.read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        writer.write_all(b"abc").unwrap();
        assert_eq!(arrivals.read(&mut buffer).unwrap(), 3);
        assert_eq!(arrivals.read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(writer);
        assert_eq!(arrivals.read(&mut buffer).unwrap(), 0);
    }

    /// Byte by byte, whatever it is compressed with: as soon as the header is there, and not asked for more than
    /// there is.
    #[test]
    fn a_header_that_comes_in_pieces() {
        let (arrivals, mut writer) = pair();
        let mut bytes = HEADER.iter();
        let reader = arrivals.reader(&mut |_| writer.write_all(&[*bytes.next().unwrap()]).is_ok()).unwrap();
        assert_eq!(reader.unwrap().interfaces().len(), 1);
        assert_eq!(bytes.len(), 0);
        let (arrivals, mut writer) = pair();
        writer.write_all(b"no capture").unwrap();
        assert!(matches!(arrivals.reader(&mut |_| false), Err(Error::NotCapture { .. })));
        let (arrivals, mut writer) = pair();
        writer.write_all(&HEADER[..9]).unwrap();
        assert!(arrivals.reader(&mut |_| false).unwrap().is_none());
        writer.write_all(&HEADER[..9]).unwrap();
        drop(writer);
        assert!(matches!(arrivals.reader(&mut |_| false), Err(Error::HeaderCut { .. })));
    }

    /// Bytes that a decompressor of Zstandard passes over (RFC 8878, section 3.1.2).
    fn skippable(len: usize) -> Vec<u8> {
        let mut frame = 0x184d_2a50_u32.to_le_bytes().to_vec();
        frame.extend_from_slice(&(len as u32).to_le_bytes());
        frame.resize(8 + len, 0);
        frame
    }

    /// Much of it had to come until it was looked for again, though it was there and nothing came.
    #[test]
    fn a_header_behind_much_else_is_found_in_a_pause() {
        let (arrivals, mut writer) = pair();
        // A frame that says how long it is, and one block as it is, the last.
        let mut header = vec![0x28, 0xb5, 0x2f, 0xfd, 0x20, 24, 24 << 3 | 1, 0, 0];
        header.extend_from_slice(&HEADER);
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                // The header has come with the second pause.
                let mut pauses = 0;
                let reader = arrivals.reader(&mut |fd| {
                    pauses += 1;
                    let mut wanted = [PollFd::new(fd, PollFlags::POLLIN)];
                    poll(&mut wanted, PollTimeout::from(10_000_u16)).unwrap() != 0
                });
                (reader, pauses)
            });
            writer.write_all(&skippable(70_000)).unwrap();
            std::thread::sleep(Duration::from_millis(100));
            writer.write_all(&header).unwrap();
            let (reader, pauses) = reading.join().unwrap();
            assert!(reader.unwrap().is_some(), "not found in {pauses} pauses");
        });
    }

    #[test]
    fn what_goes_on_without_a_header_is_refused() {
        let (arrivals, mut writer) = pair();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let frame = skippable(1 << 20);
                // Until nobody reads.
                while writer.write_all(&frame).is_ok() {}
            });
            let refused = arrivals.reader(&mut |_| true).map(|_| ());
            let beyond = START_MAX as u64..=(START_MAX + CHUNK) as u64;
            assert!(matches!(refused, Err(Error::HeaderFar { beyond: there }) if beyond.contains(&there)));
            drop(arrivals);
        });
    }

    #[test]
    fn a_bell_wakes() {
        let (arrivals, _writer) = pair();
        let bell = Bell::new().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| arrivals.wait(&bell));
            std::thread::sleep(Duration::from_millis(20));
            assert!(!waiting.is_finished());
            bell.ring();
        });
        arrivals.wait(&bell);
    }
}
