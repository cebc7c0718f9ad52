//! The bodies of the fuzz targets: any bytes in, invariants asserted.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;
use std::sync::Arc;

use crate::{Error, Interface, Packet, PacketSource, Piece, SliceReader, StreamReader, Warning};

/// Reads `bytes` as a capture with both readers, the stream in pieces of odd sizes, one by one, in runs, and in
/// pieces that are offered.
///
/// # Panics
/// If the readers disagree, if a packet lies outside the file or before the one before it, or if its bytes are
/// not those of the file at its offset.
pub fn read(bytes: &[u8]) {
    let pieces = || Pieces { rest: bytes, turn: bytes.len() };
    let stream = StreamReader::new(pieces()).map(run);
    if let (Ok(stream), Ok(reader)) = (&stream, StreamReader::new(pieces())) {
        assert_eq!(in_runs(reader, bytes.len()), *stream);
    }
    if let (Ok(stream), Ok(reader)) = (&stream, StreamReader::new(bytes)) {
        assert_eq!(in_runs(reader, 0), *stream);
    }
    if let Ok(stream) = &stream {
        for turn in [0, bytes.len()] {
            assert!(in_offers(bytes, turn).is_none_or(|offered| offered == *stream));
        }
    }
    match SliceReader::new(bytes).map(run) {
        Ok(slice) => {
            let Ok(stream) = stream else { panic!("only the stream reader refuses: {:?}", stream.err()) };
            assert_eq!(slice, stream);
            let mut end = 0;
            for seen in &slice.packets {
                assert!(end <= seen.offset && seen.offset < seen.data_offset);
                end = seen.data_offset + seen.data.len() as u64;
                assert_eq!(bytes.get(seen.data_offset as usize..end as usize), Some(&seen.data[..]));
                assert!((seen.interface as usize) < slice.interfaces.len());
            }
            if let Some(warning) = &slice.warning {
                assert!(end <= warning.offset && warning.offset <= bytes.len() as u64);
            }
        }
        Err(Error::Compressed(_)) => {}
        Err(slice) => {
            let Err(stream) = stream else { panic!("only the slice reader refuses: {slice}") };
            assert_eq!(slice.to_string(), stream.to_string());
        }
    }
}

/// All that a reader delivered.
#[derive(Debug, PartialEq)]
struct Run {
    packets: Vec<Seen>,
    interfaces: Vec<Interface>,
    warning: Option<Warning>,
}

#[derive(Debug, PartialEq)]
struct Seen {
    offset: u64,
    data_offset: u64,
    data: Vec<u8>,
    timestamp: u64,
    orig_len: u32,
    link_type: u16,
    interface: u32,
    packet_type: u8,
    flags: Option<u32>,
    dropped: Option<u64>,
}

impl From<Packet<'_>> for Seen {
    fn from(packet: Packet<'_>) -> Self {
        let frame = packet.frame;
        Self {
            offset: packet.offset,
            data_offset: packet.data_offset,
            data: frame.data.to_vec(),
            timestamp: frame.timestamp.0,
            orig_len: frame.orig_len,
            link_type: frame.link_type.0,
            interface: frame.interface,
            packet_type: frame.packet_type as u8,
            flags: packet.flags,
            dropped: packet.dropped,
        }
    }
}

/// The same in runs, of which one in seven packets is refused the first time.
fn in_runs<R: Read>(mut reader: StreamReader<R>, mut turn: usize) -> Run {
    let mut packets = Vec::new();
    loop {
        reader.run(|packet, buffer, place| {
            turn += 1;
            let taken = !turn.is_multiple_of(7);
            if taken {
                assert_eq!(buffer.get(place..place + packet.frame.data.len()), Some(packet.frame.data));
                packets.push(Seen::from(*packet));
            }
            taken
        });
        // A slice does not fail.
        let Ok(Some(packet)) = reader.next_packet() else { break };
        packets.push(packet.into());
    }
    Run { packets, interfaces: reader.interfaces().to_vec(), warning: reader.warning().cloned() }
}

/// The same where others read for the reader: pieces with more or less room in front, of which the reader may know some
/// already, or that it has no use for. `None` if the capture is compressed.
fn in_offers(bytes: &[u8], mut turn: usize) -> Option<Run> {
    let at = Rc::new(Cell::new(0));
    let source = Pieces { rest: bytes, turn };
    let mut reader = StreamReader::new(Shared { source, bytes, at: Rc::clone(&at) }).ok()?;
    if reader.is_compressed() {
        return None;
    }
    let mut packets = Vec::new();
    loop {
        reader.run(|packet, buffer, place| {
            assert_eq!(buffer.get(place..place + packet.frame.data.len()), Some(packet.frame.data));
            packets.push(Seen::from(*packet));
            true
        });
        turn = turn.wrapping_mul(31).wrapping_add(17);
        if reader.is_used_up() && !turn.is_multiple_of(5) {
            let read = reader.bytes_read() as usize;
            let (known, room) = (turn % 3 * (turn % 11), turn % 7 * 40);
            let start = read.saturating_sub(known);
            let end = (read + turn % 701).min(bytes.len());
            let buffer = [&vec![0xee; room], &bytes[start..end]].concat();
            let filled = room..buffer.len();
            if reader.offer(Piece { buffer: Arc::new(buffer), filled, at: start as u64 }).is_ok() {
                assert_eq!(reader.bytes_read(), end as u64);
                at.set(end);
                continue;
            }
            assert_eq!(reader.bytes_read(), read as u64);
        }
        // A slice does not fail.
        let Ok(Some(packet)) = reader.next_packet() else { break };
        packets.push(packet.into());
    }
    Some(Run { packets, interfaces: reader.interfaces().to_vec(), warning: reader.warning().cloned() })
}

fn run(mut source: impl PacketSource) -> Run {
    let mut packets = Vec::new();
    // A slice does not fail.
    while source.advance().is_ok_and(|more| more) {
        packets.extend(source.packet().map(Seen::from));
    }
    Run { packets, interfaces: source.interfaces().to_vec(), warning: source.warning().cloned() }
}

/// Gives 1 to 61 bytes at a time.
struct Pieces<'a> {
    rest: &'a [u8],
    turn: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.turn = self.turn.wrapping_mul(31).wrapping_add(17);
        let len = (1 + self.turn % 61).min(buf.len());
        self.rest.read(&mut buf[..len])
    }
}

/// Goes on where it is told to.
struct Shared<'a> {
    source: Pieces<'a>,
    bytes: &'a [u8],
    at: Rc<Cell<usize>>,
}

impl Read for Shared<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.source.rest = self.bytes.get(self.at.get()..).unwrap_or_default();
        let read = self.source.read(buf)?;
        self.at.set(self.at.get() + read);
        Ok(read)
    }
}
