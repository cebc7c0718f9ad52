//! What verifying and repairing found and did, for programs and for people.

use std::fmt;
use std::path::PathBuf;

use gannet_pcap::Format;

use super::survey::Survey;

/// What [`super::verify`] found. Offsets and lengths in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// The file.
    pub path: PathBuf,
    /// What it is.
    pub format: Format,
    /// Its length.
    pub len: u64,
    /// Packets that can be read, those behind holes included.
    pub packets: u64,
    /// Whole extents; 0 in a file that Gannet did not write.
    pub extents: u64,
    /// Unreadable stretches with readable blocks behind them.
    pub holes: Vec<Hole>,
    /// Extents whose chain of blocks breaks before their end.
    pub torn_extents: u64,
    /// Packets that the markers of torn extents count and that are lost. What stood in other holes is not known.
    pub lost_packets: u64,
    /// Where the last readable record ends.
    pub good_end: u64,
    /// Whether what follows `good_end`, if anything does, is all zeros: preallocated space.
    pub tail_is_zeros: bool,
    /// Whether interface statistics were found, which a recorder writes when it closes a file. `None` for a format
    /// that has none.
    pub closed: Option<bool>,
}

/// An unreadable stretch between readable blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Where it starts.
    pub offset: u64,
    /// Its length.
    pub len: u64,
    /// It is all zeros: a write that never came.
    pub zeros: bool,
    /// Why nothing can be read at its start.
    pub reason: gannet_pcap::Reason,
    /// Interfaces whose description was lost here, as later packets tell.
    pub lost_interfaces: u32,
}

impl VerifyReport {
    pub(super) fn new(path: PathBuf, survey: &Survey) -> Self {
        let holes = survey.holes.iter().map(|hole| Hole {
            offset: hole.offset,
            len: hole.len,
            zeros: hole.zeros,
            reason: hole.reason.clone(),
            lost_interfaces: hole.interfaces,
        });
        Self {
            path,
            format: survey.format,
            len: survey.len,
            packets: survey.packets,
            extents: survey.extents,
            holes: holes.collect(),
            torn_extents: survey.markers.len() as u64,
            lost_packets: survey.lost,
            good_end: survey.end,
            tail_is_zeros: survey.tail_is_zeros,
            closed: (survey.format == Format::PcapNg).then_some(survey.statistics),
        }
    }

    /// Whether every reader gets through the file: a repair would change nothing in it.
    ///
    /// A file without statistics may be sound: it was not closed, and nothing was in flight.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.holes.is_empty() && self.torn_extents == 0 && self.good_end == self.len
    }

    /// Bytes in holes.
    #[must_use]
    pub fn hole_bytes(&self) -> u64 {
        self.holes.iter().map(|hole| hole.len).sum()
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "{path}: {}, {}, {}", self.format, many(self.len, "byte"), many(self.packets, "packet"))?;
        if self.extents != 0 {
            write!(f, ", {}", many(self.extents, "whole extent"))?;
        }
        if self.is_sound() {
            f.write_str(": sound")?;
        }
        for Hole { offset, len, zeros, reason, lost_interfaces } in self.holes.iter().take(HOLES_SHOWN) {
            write!(f, "\n  hole at offset {offset}, {len} bytes")?;
            if *zeros {
                f.write_str(" of zeros: a write that did not complete")?;
            } else {
                write!(f, ": {reason}")?;
            }
            if *lost_interfaces != 0 {
                let lost = many((*lost_interfaces).into(), "interface description");
                write!(f, "; {lost} stood there")?;
            }
        }
        if self.holes.len() > HOLES_SHOWN {
            write!(
                f,
                "\n  and {} more holes, {} bytes in all",
                self.holes.len() - HOLES_SHOWN,
                self.hole_bytes()
            )?;
        }
        if self.torn_extents != 0 {
            let torn = many(self.torn_extents, "extent");
            write!(f, "\n  {torn} written in part: {} lost", many(self.lost_packets, "packet"))?;
        }
        if self.good_end != self.len {
            let rest = self.len - self.good_end;
            let what = if self.tail_is_zeros { "zeros (preallocated space)" } else { "unreadable data" };
            write!(
                f,
                "\n  good data ends at offset {}; {} of {what} follow",
                self.good_end,
                many(rest, "byte")
            )?;
        }
        if self.closed == Some(false) {
            f.write_str("\n  no statistics at the end: the file was not closed by its recorder")?;
        }
        Ok(())
    }
}

/// What [`super::repair`] found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairReport {
    /// The file as it was found.
    pub found: VerifyReport,
    /// Bytes of holes made readable as filler.
    pub filled: u64,
    /// Bytes cut off the end.
    pub cut: u64,
    /// Its new name, if it had a temporary one.
    pub renamed: Option<PathBuf>,
}

impl RepairReport {
    /// Whether the file or its name was changed.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        !self.found.is_sound() || self.renamed.is_some()
    }
}

impl fmt::Display for RepairReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.found)?;
        if !self.is_changed() {
            return f.write_str("\n  nothing to repair");
        }
        if self.filled != 0 {
            let holes = many(self.found.holes.len() as u64, "hole");
            write!(f, "\n  filled {holes}, {} bytes", self.filled)?;
        }
        if self.found.torn_extents != 0 {
            write!(f, "\n  corrected {}", many(self.found.torn_extents, "extent marker"))?;
        }
        if self.cut != 0 {
            write!(f, "\n  cut {} off the end", many(self.cut, "byte"))?;
        }
        if let Some(path) = &self.renamed {
            write!(f, "\n  renamed to {}", path.display())?;
        }
        write!(f, "\n  every reader now finds {}", many(self.found.packets, "packet"))
    }
}

/// A count and its noun, in the plural where it is one.
fn many(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Holes that are listed one by one; a disk that failed for an hour leaves thousands.
const HOLES_SHOWN: usize = 20;
