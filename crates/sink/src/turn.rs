//! Appending to a file in turn with others that do the same: two runs may have one file for their records.
//!
//! A piece that is appended by one `write` lies in the file as a whole, whoever else appends to it. One that goes
//! [past the page cache](crate::direct) takes three, so whoever writes has the file locked meanwhile (flock(2)). Others
//! than us who append to it do not ask for the lock; they write when they do, and a record may be torn by that.

use std::fs::{File, TryLockError};
use std::time::{Duration, Instant};

use crate::behind::is_regular;

/// Whether there are turns, and how long the next is waited for.
pub(crate) struct Turns {
    is_off: bool,
    patience: Duration,
}

/// While it is there, nobody else writes. Dropping it gives the file back.
pub(crate) struct Turn<'a>(Option<&'a File>);

impl Turns {
    /// For a file that has just been opened here: nobody but us has this description of it, to which locks belong.
    pub(crate) fn new(file: &File, is_wanted: bool) -> Self {
        Self { is_off: !is_wanted || !is_regular(file), patience: LONGEST }
    }

    /// Waits for the turn; after some time it is taken without the lock. Who holds it for so long is none of us, and is
    /// not waited for again.
    pub(crate) fn wait<'a>(&mut self, file: &'a File) -> Turn<'a> {
        if self.is_off {
            return Turn(None);
        }
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => {
                    self.patience = LONGEST;
                    return Turn(Some(file));
                }
                Err(TryLockError::WouldBlock) if begun.elapsed() < self.patience => std::thread::sleep(STEP),
                Err(TryLockError::WouldBlock) => {
                    self.patience = Duration::ZERO;
                    return Turn(None);
                }
                // The file system has no locks.
                Err(TryLockError::Error(_)) => {
                    self.is_off = true;
                    return Turn(None);
                }
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(file) = self.0 {
            // It is locked; if this failed all the same, the others would go on without waiting.
            let _ = file.unlock();
        }
    }
}

/// Longer than a disk takes for a piece, and less than queues hold.
const LONGEST: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_micros(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Target;
    use crate::output::Output;

    #[test]
    fn records_of_two_runs_stay_whole() {
        // Beside the test's own binary: on a disk, which a directory for temporary files need not be.
        let program = std::env::current_exe().unwrap();
        let directory = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
        let target = Target::File(directory.path().join("records"));
        let records = |name: char| {
            let mut output = Output::open(&target, true).unwrap();
            move || {
                for number in 0..20_000 {
                    let line = format!("{number} {}\n", name.to_string().repeat(1_000 + number % 97));
                    if output.record(|out| out.extend_from_slice(line.as_bytes())) {
                        assert!(output.flush().error.is_none());
                    }
                }
                assert!(output.flush().error.is_none());
            }
        };
        let threads = ['a', 'b', 'c'].map(records).map(std::thread::spawn);
        assert!(threads.into_iter().all(|thread| thread.join().is_ok()));
        let text = std::fs::read_to_string(directory.path().join("records")).unwrap();
        let mut next = [0; 3];
        for line in text.lines() {
            let (number, letters) = line.split_once(' ').unwrap();
            let name = letters.as_bytes()[0];
            let next = &mut next[usize::from(name - b'a')];
            assert_eq!(number, next.to_string());
            assert!(letters.len() == 1_000 + *next % 97 && letters.bytes().all(|letter| letter == name));
            *next += 1;
        }
        assert_eq!(next, [20_000; 3]);
    }

    #[test]
    fn a_lock_that_somebody_keeps_is_waited_for_once() {
        let directory = tempfile::tempdir().unwrap();
        let open = || File::options().append(true).create(true).open(directory.path().join("f")).unwrap();
        let (ours, other) = (open(), open());
        let mut turns = Turns::new(&ours, true);
        drop(turns.wait(&ours));
        assert!(other.try_lock().is_ok(), "it was given back");
        assert!(turns.wait(&ours).0.is_none() && turns.patience.is_zero());
        assert!(turns.wait(&ours).0.is_none(), "at once");
        other.unlock().unwrap();
        assert!(turns.wait(&ours).0.is_some() && turns.patience == LONGEST);
    }
}
