//! Making the changes that a survey asks for.
//!
//! Every step leaves a file that a second survey mends the same way, so a repair that is interrupted is simply
//! run again.

use std::io;

use gannet_pcap::ng;

use super::storage::Storage;
use super::survey::{Hole, INTERFACE_LEN, Survey};

/// Mends `storage`, in which `survey` was made, and waits until it is on the disk.
pub(super) fn apply<S: Storage>(storage: &mut S, survey: &Survey) -> Result<(), (u64, io::Error)> {
    for (offset, marker) in &survey.markers {
        let mut block = [0; ng::marker::MAX_LEN];
        let len = marker.write(&mut block);
        write(storage, &block[..len], *offset)?;
    }
    for hole in &survey.holes {
        if hole.len < ng::MIN_BLOCK as u64 { widen_block(storage, hole)? } else { fill(storage, hole)? }
    }
    if survey.end != survey.len {
        storage.truncate(survey.end).map_err(|error| (survey.end, error))?;
    }
    storage.sync().map_err(|error| (survey.end, error))
}

/// Makes a hole that no block fits in, 4 or 8 bytes, part of the block before it. Zeros at the end of a block read
/// as the end of its options or as padding.
fn widen_block<S: Storage>(storage: &mut S, hole: &Hole) -> Result<(), (u64, io::Error)> {
    // A block's length is 32 bits, and this one is at most as long as those that are read.
    let total = (hole.offset + hole.len - hole.block_before) as u32;
    // From the old trailing length on: zeros, then the new one.
    let mut tail = [0; 12];
    let len = hole.len as usize + 4;
    tail[len - 4..len].copy_from_slice(&total.to_le_bytes());
    write(storage, &tail[..len], hole.offset - 4)?;
    write(storage, &total.to_le_bytes(), hole.block_before + 4)
}

/// Covers a hole with the descriptions of lost interfaces and fillers.
fn fill<S: Storage>(storage: &mut S, hole: &Hole) -> Result<(), (u64, io::Error)> {
    let mut at = hole.offset;
    let mut rest = hole.len;
    // Zeros first: until the first block's header is written, the hole is a hole.
    if !hole.zeros {
        let zeros = vec![0; ZEROS.min(usize::try_from(rest).unwrap_or(ZEROS))];
        while rest != 0 {
            let len = (zeros.len() as u64).min(rest);
            write(storage, &zeros[..len as usize], at)?;
            at += len;
            rest -= len;
        }
        at = hole.offset;
        rest = hole.len;
    }
    if hole.interfaces != 0 {
        let (link_type, snaplen) = hole.like;
        let mut blocks = Vec::new();
        for _ in 0..hole.interfaces {
            ng::interface_description(&mut blocks, &ng::Interface::new(link_type, snaplen));
        }
        debug_assert_eq!(blocks.len() as u64, u64::from(hole.interfaces) * INTERFACE_LEN);
        write(storage, &blocks, at)?;
        at += blocks.len() as u64;
        rest -= blocks.len() as u64;
    }
    while rest != 0 {
        let len = ng::filler_piece(rest);
        let length = (len as u32).to_le_bytes();
        write(storage, &length, at + len - 4)?;
        let [a, b, c, d] = ng::LOCAL.to_le_bytes();
        let [e, f, g, h] = length;
        write(storage, &[a, b, c, d, e, f, g, h], at)?;
        at += len;
        rest -= len;
    }
    Ok(())
}

fn write<S: Storage>(storage: &mut S, bytes: &[u8], offset: u64) -> Result<(), (u64, io::Error)> {
    storage.write_all_at(bytes, offset).map_err(|error| (offset, error))
}

/// Zeros written at once, in bytes.
const ZEROS: usize = 1 << 20;
