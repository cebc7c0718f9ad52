//! Reading recordings into a [`Tally`]: capture files, and what stenotype writes.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use gannet_packet::LinkType;
use gannet_pcap::{Error, StreamReader};

use crate::tally::Tally;

/// Adds every packet of a pcap or pcapng stream, also a compressed one; returns why it ended early, if it did.
///
/// # Errors
/// Not a capture, or the source failed.
pub fn read_capture(source: impl Read, tally: &mut Tally) -> Result<Option<String>, Error> {
    let mut reader = StreamReader::new(source)?;
    while let Some(packet) = reader.next_packet()? {
        tally.add(packet.frame.link_type, packet.frame.data, packet.frame.orig_len);
    }
    Ok(reader.warning().map(ToString::to_string))
}

/// Adds every packet of a file of stenotype's: TPACKET_V3 blocks of 1 MiB as the kernel left them, Ethernet.
///
/// # Errors
/// The file cannot be read, or a block contradicts itself (`InvalidData`, with its offset).
pub fn read_stenotype(path: &Path, tally: &mut Tally) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut block = vec![0; STENOTYPE_BLOCK];
    let mut offset = 0u64;
    loop {
        match file.read_exact(&mut block) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        read_block(&block, tally).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: damaged block at {offset}", path.display()),
            )
        })?;
        offset += STENOTYPE_BLOCK as u64;
    }
}

/// Adds the packets of one kernel block; `None` if an offset leads out of it.
fn read_block(block: &[u8], tally: &mut Tally) -> Option<()> {
    let word = |at: usize| Some(u32::from_ne_bytes(block.get(at..at + 4)?.try_into().ok()?));
    let frames = word(NUM_PKTS)?;
    let mut at = word(OFFSET_TO_FIRST_PKT)? as usize;
    for _ in 0..frames {
        let snaplen = word(at + TP_SNAPLEN)? as usize;
        let mac = (word(at + TP_MAC)? & 0xffff) as usize;
        tally.add(LinkType::ETHERNET, block.get(at + mac..at + mac + snaplen)?, word(at + TP_LEN)?);
        at += word(at)? as usize;
    }
    Some(())
}

/// Bytes per block of stenotype's default.
const STENOTYPE_BLOCK: usize = 1 << 20;
/// Offsets in `struct tpacket_block_desc` and `struct tpacket3_hdr`.
const NUM_PKTS: usize = 12;
const OFFSET_TO_FIRST_PKT: usize = 16;
const TP_SNAPLEN: usize = 12;
const TP_LEN: usize = 16;
const TP_MAC: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{BlockBuilder, BlockFrame};
    use crate::generator::{Generator, Spec};

    #[test]
    fn blocks_are_walked_to_their_end_and_damage_is_seen() {
        let mut generator = Generator::new(&Spec::default());
        let mut builder = BlockBuilder::new(64 << 10, 0);
        let mut count = 0;
        while builder.push(&BlockFrame::ethernet(generator.frame(count), (1, 2))) {
            count += 1;
        }
        let mut block = builder.finish(false);
        let mut tally = Tally::expecting(0, count);
        read_block(&block, &mut tally).unwrap();
        let report = tally.report();
        assert!(report.is_perfect() && report.frames > 30, "{report:?}");
        block[48..52].fill(0xff);
        assert!(read_block(&block, &mut Tally::new()).is_none());
    }
}
