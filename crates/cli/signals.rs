//! Signals become what a run can be told: SIGINT and SIGTERM end it, SIGUSR1 asks for the report, SIGHUP rotates.
//!
//! A second SIGINT or SIGTERM ends the process at once, with the status that a shell gives for that signal. One that
//! comes right behind the first is the same wish: timeout(1) sends its signal to the process and to its group.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gannet_pipeline::control::{Control, Flags};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};

/// Installs the handlers for `control`. They stay for the rest of the process.
pub(crate) fn install(control: &Control) -> io::Result<Second> {
    let Flags { stop, report, rotate } = control.flags();
    let (first, told) = UnixStream::pair()?;
    let second = Second { first, ends: Arc::default() };
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(
            signal,
            SHELL_STATUS_OF_SIGNAL + signal,
            Arc::clone(&second.ends),
        )?;
        signal_hook::flag::register(signal, stop.clone())?;
        signal_hook::low_level::pipe::register(signal, told.try_clone()?)?;
    }
    signal_hook::flag::register(SIGUSR1, report)?;
    signal_hook::flag::register(SIGHUP, rotate)?;
    // A limit to the size of files (`ulimit -f`) is met by an error of the write then, not by the end of the process.
    signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    // Last, so that whoever is woken finds the flag set.
    for signal in [SIGINT, SIGTERM, SIGUSR1, SIGHUP] {
        signal_hook::low_level::pipe::register(signal, control.waker()?)?;
    }
    Ok(second)
}

/// What makes a second signal end the process.
pub(crate) struct Second {
    /// Has a byte when the first signal has come.
    first: UnixStream,
    /// The next one ends the process.
    ends: Arc<AtomicBool>,
}

impl Second {
    /// Begins a thread that lets a second signal end the process some time after the first. It has the privileges that
    /// the caller has, so it is for when those are given up; until then all that waits listens to the first signal.
    pub(crate) fn watch(self) {
        let Self { mut first, ends } = self;
        let thread = std::thread::Builder::new().name("signals".to_owned()).stack_size(STACK_BYTES);
        // Without the thread a run ends by the first signal all the same.
        let _ = thread.spawn(move || {
            if first.read_exact(&mut [0]).is_ok() {
                std::thread::sleep(SAME_WISH);
                ends.store(true, Ordering::Relaxed);
            }
        });
    }
}

/// A shell reports the end by signal `n` as status 128 + `n`.
const SHELL_STATUS_OF_SIGNAL: i32 = 128;

/// timeout(1) has its two signals less than a millisecond apart, and people take longer for a second Ctrl-C. Lower is
/// not enough on a busy machine, higher swallows what people mean.
const SAME_WISH: Duration = Duration::from_millis(200);

/// For a thread that sleeps.
const STACK_BYTES: usize = 64 << 10;
