//! Real frames: some of every capture that is at hand.

use std::fs::File;
use std::path::{Path, PathBuf};

use gannet_filter::Link;
use gannet_pcap::StreamReader;

use super::frame::Frame;

/// The captures of `$GANNET_CORPUS`, else beside the checkout that holds the crate at `manifest`; `None` if they are
/// not there.
pub fn captures(manifest: &str) -> Option<PathBuf> {
    let beside = || Path::new(manifest).join("../../../shared/data");
    let path = std::env::var_os("GANNET_CORPUS").map_or_else(beside, PathBuf::from).join("pcaps");
    path.is_dir().then_some(path)
}

/// Up to `most` frames of each capture below a folder, of link types that filters are made for. What cannot be read
/// is left out.
pub fn frames(folder: &Path, most: usize) -> Vec<(Link, Frame)> {
    let mut frames = Vec::new();
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            frames.extend(self::frames(&path, most));
        } else {
            read(&path, most, &mut frames);
        }
    }
    frames
}

fn read(path: &Path, most: usize, frames: &mut Vec<(Link, Frame)>) {
    let Ok(Ok(mut reader)) = File::open(path).map(StreamReader::new) else { return };
    for _ in 0..most {
        let Ok(Some(packet)) = reader.next_packet() else { return };
        let frame = Frame { bytes: packet.frame.data.to_vec(), len: packet.frame.orig_len };
        let (link_type, interface) = (packet.frame.link_type, packet.frame.interface as usize);
        let big_endian = reader.interfaces().get(interface).is_some_and(|interface| interface.big_endian);
        if let Some(link) = Link::of(link_type, big_endian) {
            frames.push((link, frame));
        }
    }
}
