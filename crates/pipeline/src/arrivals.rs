//! Input that has pauses: pipes, sockets, terminals. Nobody is stuck in reading it: who reads is told that there is nothing, does
//! what is to be done before a pause, and waits where the end of the run is heard of, too.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use gannet_pcap::{Error, StreamReader};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::files::Bytes;

/// Such an input. Reading from it says [`ErrorKind::WouldBlock`] while it has nothing, whether or not its descriptor blocks: that is
/// a property of what others may use as well.
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

    /// A reader of it, when as much has arrived as tells the format. `wait` sleeps until there may be something to read; `false` says
    /// that nobody wants it any more, and there is no reader.
    pub(crate) fn reader(
        &self,
        wait: &mut dyn FnMut(BorrowedFd<'_>) -> bool,
    ) -> Result<Option<StreamReader<Bytes>>, Error> {
        let mut start = Vec::new();
        let mut chunk = vec![0; CHUNK];
        let mut enough = 0;
        loop {
            let is_whole = match self.clone().read(&mut chunk) {
                Ok(read) => {
                    start.extend_from_slice(chunk.get(..read).unwrap_or_default());
                    read == 0
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if wait(self.as_fd()) {
                        continue;
                    }
                    return Ok(None);
                }
                Err(source) => return Err(Error::Io { offset: start.len() as u64, source }),
            };
            if is_whole {
                return StreamReader::new(Box::new(io::Cursor::new(start)) as Bytes).map(Some);
            }
            // What tells the format is short, unless it is compressed: then it is tried less often the more there is.
            if start.len() < enough {
                continue;
            }
            match StreamReader::new(start.as_slice().chain(Pause)) {
                Err(error) if error.is_pause() => {
                    enough = if start.len() < CHUNK { 0 } else { 2 * start.len() }
                }
                _ => {
                    return StreamReader::new(Box::new(io::Cursor::new(start).chain(self.clone())) as Bytes)
                        .map(Some);
                }
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use super::*;

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

    /// Byte by byte, whatever it is compressed with: as soon as the header is there, and not asked for more than there is.
    #[test]
    fn a_header_that_comes_in_pieces() {
        let header = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
        let (arrivals, mut writer) = pair();
        let mut bytes = header.iter();
        let reader = arrivals.reader(&mut |_| writer.write_all(&[*bytes.next().unwrap()]).is_ok()).unwrap();
        assert_eq!(reader.unwrap().interfaces().len(), 1);
        assert_eq!(bytes.len(), 0);
        let (arrivals, mut writer) = pair();
        writer.write_all(b"no capture").unwrap();
        assert!(matches!(arrivals.reader(&mut |_| false), Err(Error::NotCapture { .. })));
        let (arrivals, mut writer) = pair();
        writer.write_all(&header[..9]).unwrap();
        assert!(arrivals.reader(&mut |_| false).unwrap().is_none());
        writer.write_all(&header[..9]).unwrap();
        drop(writer);
        assert!(matches!(arrivals.reader(&mut |_| false), Err(Error::HeaderCut { .. })));
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
