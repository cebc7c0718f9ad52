//! File systems that a test can fill and break. They are mounted in a namespace of the test's own, which goes with
//! its thread: after a panic, and after a kill, nothing stays mounted.

use std::fs::File;
use std::io::{ErrorKind, Write, stderr};
use std::path::Path;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};

/// Runs `work` where it may mount what it likes. Needs root: without it this says so and does nothing, unless
/// `REQUIRE_NETNS=1` asks for a failure.
pub fn with_own_mounts(work: impl FnOnce() + Send) {
    let required = std::env::var_os("REQUIRE_NETNS").is_some_and(|value| value == "1");
    let ran = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if let Err(error) = unshare(CloneFlags::CLONE_NEWNS) {
                assert!(!required, "REQUIRE_NETNS=1, and no mount namespace can be made here: {error}");
                let _ = writeln!(stderr(), "SKIPPED, needs root to mount file systems: {error}");
                return;
            }
            run(Command::new("mount").args(["--make-rprivate", "/"]));
            work();
        });
        thread.join()
    });
    if let Err(panic) = ran {
        std::panic::resume_unwind(panic);
    }
}

/// Mounts a file system in memory that has room for so many MiB.
pub fn mount_memory(at: &Path, mib: u64) {
    std::fs::create_dir_all(at).unwrap();
    run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "none"]).arg(at));
}

/// Mounts an ext4 file system of so many MiB whose device is the file `image`. Where the file system of `image` is
/// full, writes to the device fail with EIO.
pub fn mount_image(image: &Path, at: &Path, mib: u64) {
    File::create(image).unwrap().set_len(mib << 20).unwrap();
    // Without a journal, which would make the file system read-only at the first error; and with all its tables
    // written at once, so that the errors hit data.
    let features = ["-O", "^has_journal,^metadata_csum,^uninit_bg", "-E", "lazy_itable_init=0", "-N", "64"];
    run(Command::new("mkfs.ext4").arg("-q").args(features).arg(image));
    std::fs::create_dir_all(at).unwrap();
    run(Command::new("mount").args(["-o", "loop,errors=continue"]).arg(image).arg(at));
}

/// A file that takes so many MiB, or all that there is if that is less, until it is removed.
pub fn ballast(path: &Path, mib: u64) {
    let mut file = File::create(path).unwrap();
    let page = [0xee; 4096];
    for _ in 0..mib.saturating_mul(256) {
        match file.write(&page) {
            Ok(4096) => {}
            Ok(short) => panic!("{short} bytes of a page"),
            Err(error) if error.kind() == ErrorKind::StorageFull => return,
            Err(error) => panic!("{error}"),
        }
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
