//! Capture A: 3 GB of HTTP among other traffic, the same bytes each time it is made.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use gannet_testkit::capture::{self, Plan};

use crate::report::progress;
use crate::verdict::Verdict;

/// The capture to read: the one named, or made now; a small one if `quick`.
pub(crate) fn capture_a(capture: &Path, quick: bool, verdict: &mut Verdict) -> anyhow::Result<PathBuf> {
    let (path, size) = if quick && !capture.exists() {
        (capture.with_extension("quick.pcap"), QUICK_CAPTURE_BYTES)
    } else {
        (capture.to_owned(), CAPTURE_BYTES)
    };
    let truth = path.with_extension("truth.jsonl");
    ensure!(truth.exists() || !path.exists(), "{} is there and {} is not", path.display(), truth.display());
    if !path.exists() {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        progress(&format!("making {}", path.display()));
        // Under other names until they are whole: what Ctrl-C leaves must not be taken for a capture.
        let making = [path.with_extension("part.pcap"), path.with_extension("part.truth.jsonl")];
        let made = make_capture(&making, size).and_then(|()| {
            // The truth first: a capture that is there has one.
            fs::rename(&making[1], &truth)?;
            Ok(fs::rename(&making[0], &path)?)
        });
        if made.is_err() {
            making.iter().for_each(|path| drop(fs::remove_file(path)));
        }
        made.with_context(|| format!("making {}", path.display()))?;
    }
    let bytes = fs::metadata(&path)?.len();
    verdict.print(&format!("capture      {} ({bytes} bytes)\n", path.display()))?;
    Ok(path)
}

fn make_capture([capture, truth]: &[PathBuf; 2], size: u64) -> anyhow::Result<()> {
    let plan = Plan { seed: 1, size_bytes: size, connections: 1_000 };
    let truth = std::io::BufWriter::with_capacity(1 << 20, fs::File::create(truth)?);
    capture::generate(&plan, fs::File::create(capture)?, truth)?;
    Ok(())
}

/// Capture A.
const CAPTURE_BYTES: u64 = 3_000_000_000;

const QUICK_CAPTURE_BYTES: u64 = 100_000_000;
