//! The bodies of the fuzz targets: any bytes in, invariants asserted.

use std::io::{self, Read};

use crate::{Error, Interface, Packet, PacketSource, SliceReader, StreamReader, Warning};

/// Reads `bytes` as a capture with both readers, the stream in pieces of odd sizes, one by one and in runs.
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
