//! Files of extents built from known packets, damaged, repaired, read again.

use gannet_packet::{LinkType, PacketType, Timestamp};
use gannet_pcap::ng::marker::Marker;
use gannet_pcap::{Reason, SliceReader, classic, ng};
use proptest::prelude::*;

use super::storage::Storage;
use super::*;

/// A packet as it is compared: its interface and its bytes, which start with its number.
type Packet = (u32, Vec<u8>);

fn packet(number: u32, len: usize) -> Packet {
    let mut data = number.to_le_bytes().to_vec();
    data.resize(len.max(4), number as u8 | 1);
    (0, data)
}

/// A recorded file and what is where in it.
#[derive(Clone, Debug, Default)]
struct Recording {
    bytes: Vec<u8>,
    extents: Vec<Extent>,
}

/// Where an extent starts and ends, and its packets with the end of each one's block.
type Extent = (usize, usize, Vec<(usize, Packet)>);

impl Recording {
    /// The head: section header, `interfaces` interface descriptions, filler to 4096.
    fn new(interfaces: u32) -> Self {
        let mut bytes = Vec::new();
        ng::section_header(&mut bytes, &ng::Section { application: "gannet", ..ng::Section::default() });
        for _ in 0..interfaces {
            ng::interface_description(&mut bytes, &ng::Interface::new(LinkType::ETHERNET, 262_144));
        }
        let mut recording = Self { bytes, extents: Vec::new() };
        recording.pad();
        recording
    }

    /// Fills up to the next boundary.
    fn pad(&mut self) {
        let used = self.bytes.len();
        let mut end = used.next_multiple_of(4096);
        if (1..12).contains(&(end - used)) {
            end += 4096;
        }
        self.bytes.resize(end, 0);
        ng::write_filler(&mut self.bytes[used..]);
    }

    /// Appends an extent; the last one may stay unpadded.
    fn extent(&mut self, packets: Vec<Packet>, padded: bool) {
        let start = self.bytes.len();
        assert_eq!(start % 4096, 0);
        self.bytes.resize(start + 68, 0);
        let mut ends = Vec::new();
        for (interface, data) in packets {
            let at = self.bytes.len();
            self.bytes.resize(at + ng::enhanced_packet_len(data.len(), true), 0);
            let flags = ng::epb_flags(PacketType::Host, false, false, false);
            ng::write_enhanced_packet(
                &mut self.bytes[at..],
                interface,
                Timestamp(at as u64),
                data.len() as u32,
                Some(flags),
                &data,
            );
            ends.push((self.bytes.len(), (interface, data)));
        }
        if padded {
            self.pad();
        }
        let marker = Marker {
            total_len: 68,
            block_status: 1,
            extent_len: (self.bytes.len() - start) as u32,
            packets: ends.len() as u32,
            ..Marker::default()
        };
        assert_eq!(marker.write(&mut self.bytes[start..]), 68);
        self.extents.push((start, self.bytes.len(), ends));
    }

    /// The page for one more interface.
    fn interface(&mut self, name: &str) {
        let interface = ng::Interface { name, ..ng::Interface::new(LinkType::ETHERNET, 262_144) };
        ng::interface_description(&mut self.bytes, &interface);
        self.pad();
    }

    fn statistics(&mut self) {
        let statistics = ng::Statistics { received: Some(1), ..ng::Statistics::default() };
        ng::interface_statistics(&mut self.bytes, 0, Timestamp(1), &statistics);
    }

    fn packets(&self) -> Vec<Packet> {
        self.extents
            .iter()
            .flat_map(|(.., packets)| packets.iter().map(|(_, packet)| packet.clone()))
            .collect()
    }
}

fn recording(extents: &[Vec<usize>], last_padded: bool) -> Recording {
    let mut recording = Recording::new(1);
    let mut number = 0;
    for (index, sizes) in extents.iter().enumerate() {
        let packets = sizes.iter().map(|&len| {
            number += 1;
            packet(number, len)
        });
        recording.extent(packets.collect(), last_padded || index + 1 < extents.len());
    }
    recording
}

/// Repairs in memory and reads what came of it, which must be without fault, and mended for good.
fn repaired(bytes: &[u8]) -> Result<(Survey, Vec<Packet>), Fault> {
    let mut file = bytes.to_vec();
    let found = survey::survey(&file)?;
    apply::apply(&mut file, &found).unwrap();
    let mut reader = SliceReader::new(&file).unwrap();
    let packets: Vec<_> =
        reader.by_ref().map(|packet| (packet.frame.interface, packet.frame.data.to_vec())).collect();
    assert_eq!(reader.warning(), None);
    assert_eq!(packets.len() as u64, found.packets);
    let again = survey::survey(&file).unwrap();
    assert!(VerifyReport::new(PathBuf::new(), &again).is_sound(), "{again:?}");
    Ok((found, packets))
}

#[test]
fn a_sound_file_is_left_alone() {
    let mut recording = recording(&[vec![60; 50], vec![1514; 100], vec![5]], true);
    recording.statistics();
    let (found, packets) = repaired(&recording.bytes).unwrap();
    assert_eq!(packets, recording.packets());
    assert_eq!((found.packets, found.extents, found.lost), (151, 3, 0));
    assert!(found.statistics && found.holes.is_empty() && found.markers.is_empty());
    assert_eq!(found.end, found.len);
}

#[test]
fn extents_that_never_arrived() {
    let mut recording = recording(&[vec![1514; 9], vec![60; 200], vec![900; 31], vec![7]], true);
    let whole = recording.packets();
    for (missing, hole) in [(0..9, 0), (209..240, 2)] {
        let (start, end, _) = recording.extents[hole];
        recording.bytes[start..end].fill(0);
        assert!(!whole[missing].is_empty());
    }
    let end = recording.bytes.len();
    // Preallocated.
    recording.bytes.resize(end + 3 * 4096 + 100, 0);
    let (found, packets) = repaired(&recording.bytes).unwrap();
    assert_eq!(packets, [&whole[9..209], &whole[240..]].concat());
    assert_eq!(found.extents, 2);
    assert!(found.holes.iter().all(|hole| hole.zeros && hole.reason == Reason::Zeros));
    let holes: Vec<_> = found.holes.iter().map(|hole| (hole.offset, hole.len)).collect();
    let extent = |n: usize| {
        let (start, end, _) = recording.extents[n];
        (start as u64, (end - start) as u64)
    };
    assert_eq!(holes, [extent(0), extent(2)]);
    assert_eq!((found.end, found.tail_is_zeros, found.statistics), (end as u64, true, false));
}

#[test]
fn a_torn_extent_keeps_the_packets_before_the_tear() {
    let recording = recording(&[vec![1000; 20], vec![1000; 20]], true);
    let (start, end, packets) = &recording.extents[0];
    for torn in [start + 4096, packets[7].0 - 4, packets[7].0, end - 4] {
        let mut bytes = recording.bytes.clone();
        bytes[torn..*end].fill(0);
        let (found, got) = repaired(&bytes).unwrap();
        let kept = packets.iter().filter(|(end, _)| *end <= torn).count();
        assert_eq!(got, [&recording.packets()[..kept], &recording.packets()[20..]].concat());
        assert_eq!(found.lost, 20 - kept as u64);
        assert_eq!(found.holes.len(), 1);
    }
}

/// A marker inside a packet at a boundary is not followed while the extent around it has its own.
#[test]
fn a_forged_marker_in_a_packet() {
    let mut recording = Recording::new(1);
    let mut forged = vec![0; 4096];
    Marker { total_len: 4096, block_status: 1, extent_len: 4096, ..Marker::default() }.write(&mut forged);
    let mut data = vec![9; 4096 - 68 - 28];
    data.extend_from_slice(&forged);
    data.resize(9000, 9);
    recording.extent(vec![(0, data)], true);
    recording.extent(vec![packet(2, 60)], true);
    let (start, ..) = recording.extents[0];
    assert!(Marker::parse(&recording.bytes[start + 4096..]).is_some());
    // The packet's length is damaged.
    recording.bytes[start + 68 + 4] ^= 4;
    let (found, packets) = repaired(&recording.bytes).unwrap();
    assert_eq!(packets, [packet(2, 60)]);
    assert_eq!(found.holes[0].len, recording.extents[0].1 as u64 - (start as u64 + 68));
}

/// The description of an interface is lost in a hole: the numbers of the others must not move.
#[test]
fn lost_interfaces_keep_their_numbers() {
    let mut recording = Recording::new(1);
    recording.interface("lost");
    recording.extent(vec![(1, vec![1; 50])], true);
    recording.interface("kept");
    let page = recording.bytes.len() - 4096;
    recording.extent(vec![(2, vec![2; 50]), (0, vec![3; 50]), (1, vec![4; 50])], true);
    let mut bytes = recording.bytes.clone();
    bytes[4096..page].fill(0);
    let (found, packets) = repaired(&bytes).unwrap();
    assert_eq!(packets, recording.packets()[1..]);
    assert_eq!((found.holes.len(), found.holes[0].interfaces), (1, 1));
    let mut file = bytes.clone();
    apply::apply(&mut file, &found).unwrap();
    let mut reader = SliceReader::new(&file).unwrap();
    reader.by_ref().for_each(drop);
    let names: Vec<_> = reader.interfaces().iter().map(|interface| interface.name.as_str()).collect();
    assert_eq!(names, ["", "", "kept"]);
    // Both pages lost.
    bytes[page..page + 4096].fill(0);
    let (found, packets) = repaired(&bytes).unwrap();
    assert_eq!(packets, recording.packets()[1..]);
    assert_eq!(found.holes[0].interfaces, 2);
}

/// Found by fuzzing: counting up to the largest number that a block can give its interface overflowed.
#[test]
fn the_last_interface_number_is_no_lost_interface() {
    let mut recording = Recording::new(1);
    recording.extent(vec![packet(1, 60), (u32::MAX, vec![2; 60])], true);
    recording.extent(vec![packet(3, 60)], true);
    let (found, packets) = repaired(&recording.bytes).unwrap();
    assert_eq!(packets, [packet(1, 60), packet(3, 60)]);
    assert_eq!(found.holes.len(), 1);
    assert_eq!(found.holes[0].reason, Reason::UnknownInterface { interface: u32::MAX, described: 1 });
}

#[test]
fn what_cannot_be_done_is_said() {
    let recording = recording(&[vec![60; 5]], true);
    let fault = |bytes: &[u8]| Error::new(Path::new("a.pcapng"), repaired(bytes).unwrap_err()).to_string();
    let mut no_head = recording.bytes.clone();
    no_head[..4096].fill(0);
    assert_eq!(
        fault(&no_head),
        "a.pcapng: at offset 0: not a capture file: it starts with 00 00 00 00 00 00 00 00 \
         (\"\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\"); what the packets behind it are stood there, so the file \
         cannot be repaired"
    );
    assert_eq!(
        fault(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0]),
        "a.pcapng: gzip data, which are neither verified nor repaired: decompress the file first"
    );
    let mut no_interface = recording.bytes.clone();
    let section_len = u32::from_le_bytes(no_interface[4..8].try_into().unwrap()) as usize;
    no_interface[section_len..4096].fill(0);
    assert_eq!(
        fault(&no_interface),
        "a.pcapng: at offset 4164: a packet, but no interface is described before it; its link type is not known, \
         so the file cannot be repaired"
    );
    // A file of another program that goes bad with much behind it.
    let mut foreign = Vec::new();
    ng::section_header(&mut foreign, &ng::Section::default());
    let broken = foreign.len();
    foreign.resize(broken + (17 << 20), 0xee);
    assert_eq!(
        fault(&foreign),
        format!(
            "a.pcapng: at offset {broken}: block of type 0xeeeeeeee with an impossible length of 4008636142; \
             nothing tells where the records go on, and cutting here would throw away 17825792 bytes, so the \
             file is left as it is"
        )
    );
    foreign.truncate(broken + (1 << 20));
    assert_eq!(repaired(&foreign).unwrap().0.end, broken as u64);
}

#[test]
fn classic_files_are_cut_behind_the_last_whole_record() {
    let mut file = classic::file_header(classic::Precision::Micro, LinkType::ETHERNET, 262_144).to_vec();
    let mut ends = vec![24];
    for number in 1..=3_u32 {
        let start = file.len();
        file.resize(start + 16 + 100, 0);
        let (_, data) = packet(number, 100);
        let time = Timestamp(u64::from(number));
        classic::write_record(&mut file[start..], classic::Precision::Micro, time, 100, &data);
        ends.push(file.len());
    }
    for len in 24..=file.len() {
        let (found, packets) = repaired(&file[..len]).unwrap();
        let whole = ends.iter().filter(|&&end| end <= len).count() - 1;
        assert_eq!(packets.len(), whole);
        assert_eq!(found.end, ends[whole] as u64);
    }
    // Space that was never written looks like empty packets of 1970; between packets they are left.
    let empty = [&file[..], &[0; 16], &file[24..], &[0; 100]].concat();
    let (found, packets) = repaired(&empty).unwrap();
    assert_eq!(packets.len(), 7);
    assert!(found.tail_is_zeros);
    assert_eq!(found.end, empty.len() as u64 - 100);
}

/// Found by fuzzing: records of zeros before damage were kept, and when the damage had been cut off, a second repair
/// took them for space that was never written and cut again. ([`repaired`] sees to it that a second finds nothing.)
#[test]
fn classic_records_of_zeros_before_damage_go_with_it() {
    let mut file = classic::file_header(classic::Precision::Micro, LinkType::ETHERNET, 262_144).to_vec();
    let header = file.len();
    file.resize(header + 16 + 100, 0);
    classic::write_record(
        &mut file[header..],
        classic::Precision::Micro,
        Timestamp(1),
        100,
        &packet(1, 100).1,
    );
    let record = &file[header..];
    // Longer than any record may be; a record that is cut off; a header that is.
    let damages = [vec![0xff; 40], record[..50].to_vec(), record[..10].to_vec()];
    for damage in &damages {
        for empty in 0..4 {
            let zeros = vec![0; empty * 16];
            let (found, packets) = repaired(&[&file[..], &zeros, damage].concat()).unwrap();
            assert_eq!((packets.len(), found.end, found.tail_is_zeros), (1, file.len() as u64, false));
            // Those with a packet behind them stay.
            let (found, packets) = repaired(&[&file[..], &zeros, record, &zeros, damage].concat()).unwrap();
            assert_eq!(packets.len(), 2 + empty);
            assert_eq!(found.end as usize, file.len() + zeros.len() + record.len());
            // No packet at all.
            let (found, packets) = repaired(&[&file[..header], &zeros, damage].concat()).unwrap();
            assert_eq!((packets.len(), found.end), (0, header as u64));
        }
    }
    // An empty packet with a time, or one with a length on the wire, is a packet.
    for byte in [0, 12] {
        let mut empty = [0; 16];
        empty[byte] = 1;
        let (found, packets) =
            repaired(&[&file[..], &[0; 16], &empty, &[0; 16], &damages[0]].concat()).unwrap();
        assert_eq!((packets.len(), found.end), (3, file.len() as u64 + 32));
    }
}

/// Four bytes are too few for a block: the one before takes them in.
#[test]
fn a_hole_smaller_than_a_block() {
    let mut recording = Recording::new(1);
    // The last packet ends 8 bytes before the boundary.
    recording.extent(vec![packet(1, 100), packet(2, 4096 - 68 - 144 - 44 - 8)], false);
    let (start, end, _) = recording.extents[0];
    assert_eq!(end % 4096, 4088);
    recording.bytes.extend_from_slice(&[0xff; 8]);
    let marker = Marker::parse(&recording.bytes[start..]).unwrap();
    Marker { extent_len: 4096, ..marker }.write(&mut recording.bytes[start..]);
    recording.extent(vec![packet(3, 60)], true);
    let (found, packets) = repaired(&recording.bytes).unwrap();
    assert_eq!(packets, recording.packets());
    assert_eq!((found.holes[0].offset, found.holes[0].len), (end as u64, 8));
}

#[test]
fn repair_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.pcapng.part");
    let mut recording = recording(&[vec![60; 5], vec![60; 7]], true);
    let (start, end, _) = recording.extents[0];
    recording.bytes[start..end].fill(0);
    std::fs::write(&path, &recording.bytes).unwrap();

    let found = verify(&path).unwrap();
    assert_eq!((found.packets, found.hole_bytes(), found.closed), (7, 4096, Some(false)));
    assert!(!found.is_sound());
    assert!(found.to_string().contains("hole at offset 4096, 4096 bytes of zeros"), "{found}");
    assert_eq!(std::fs::read(&path).unwrap(), recording.bytes, "verifying changes nothing");

    let held = File::open(&path).unwrap();
    held.lock_shared().unwrap();
    assert!(matches!(repair(&path), Err(Error::InUse { .. })));
    held.unlock().unwrap();

    let report = repair(&path).unwrap();
    let finished = directory.path().join("a.pcapng");
    assert_eq!(report.renamed.as_deref(), Some(&*finished));
    assert_eq!((report.filled, report.cut), (4096, 0));
    assert!(!path.exists());
    assert!(verify(&finished).unwrap().is_sound());
    let again = repair(&finished).unwrap();
    assert!(!again.is_changed());
    assert!(again.to_string().ends_with("nothing to repair"), "{again}");

    std::fs::write(&path, &recording.bytes).unwrap();
    assert!(matches!(repair(&path), Err(Error::Exists { to, .. }) if to == finished));
    assert!(verify(&path).unwrap().is_sound(), "repaired all the same");
    assert!(matches!(verify(directory.path()), Err(Error::NotRegular { .. })));
    assert!(matches!(repair(&directory.path().join("none")), Err(Error::Open { .. })));
}

/// A full disk leaves a file without a byte in it.
#[test]
fn an_empty_file_is_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a.pcapng", "b.pcapng.part"] {
        let path = directory.path().join(name);
        File::create(&path).unwrap();
        for error in [verify(&path).unwrap_err(), repair(&path).unwrap_err()] {
            assert!(matches!(&error, Error::Empty { path: of } if *of == path), "{error:?}");
            let said = format!(
                "{}: the file is empty (0 bytes): there is nothing to repair, and it is left as it is",
                path.display()
            );
            assert_eq!(error.to_string(), said);
        }
        assert_eq!(path.metadata().unwrap().len(), 0);
    }
    assert!(!directory.path().join("b.pcapng").exists());
}

/// What is done to a file of extents.
#[derive(Clone, Debug)]
enum Damage {
    /// The extent was never written.
    Zero(usize),
    /// The extent was written up to here (a share of its length) and not behind.
    Tear(usize, f64),
    /// The extent is overwritten with bytes of no meaning.
    Scribble(usize),
    /// The file ends here (a share of its length).
    Truncate(f64),
    /// Zeros follow.
    Preallocated(usize),
}

/// Overwrites an extent from a share of its length on.
fn overwrite(bytes: &mut [u8], &(start, end, _): &Extent, share: f64, value: u8) {
    let from = start + ((end - start) as f64 * share) as usize;
    let end = end.min(bytes.len());
    if from < end {
        bytes[from..end].fill(value);
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (0..8_usize).prop_map(Damage::Zero),
        (0..8_usize, 0.0..1.0).prop_map(|(extent, share)| Damage::Tear(extent, share)),
        (0..8_usize).prop_map(Damage::Scribble),
        (0.0..1.0).prop_map(Damage::Truncate),
        (1..20_000_usize).prop_map(Damage::Preallocated),
    ]
}

proptest! {
    /// Whatever happens to the extents of a file, exactly the packets whose block is whole and reached by an
    /// unbroken chain from their extent's marker are there afterwards.
    #[test]
    fn repair_keeps_what_is_whole(
        sizes in prop::collection::vec(prop::collection::vec(4..2000_usize, 0..12), 1..8),
        last_padded: bool,
        damages in prop::collection::vec(damage(), 0..5),
    ) {
        let recording = recording(&sizes, last_padded);
        let mut bytes = recording.bytes.clone();
        for damage in damages {
            match damage {
                Damage::Zero(n) | Damage::Scribble(n) | Damage::Tear(n, _) if n >= recording.extents.len() => {}
                Damage::Zero(n) => overwrite(&mut bytes, &recording.extents[n], 0.0, 0),
                Damage::Tear(n, share) => overwrite(&mut bytes, &recording.extents[n], share, 0),
                Damage::Scribble(n) => overwrite(&mut bytes, &recording.extents[n], 0.0, 0xa5),
                // The head stays: without it nothing can be done.
                Damage::Truncate(share) => {
                    bytes.truncate(4096 + ((recording.bytes.len() - 4096) as f64 * share) as usize);
                }
                Damage::Preallocated(len) => bytes.resize(bytes.len() + len, 0),
            }
        }
        let mut expected = Vec::new();
        for (start, end, packets) in &recording.extents {
            // All damage reaches to the end of the extent, so what is as it was is in front.
            let was = &recording.bytes[*start..*end];
            let is = bytes.get(*start..).unwrap_or_default();
            let good = start + was.iter().zip(is).take_while(|(was, is)| was == is).count();
            expected.extend(packets.iter().filter(|(end, _)| *end <= good).map(|(_, packet)| packet.clone()));
        }
        let (found, packets) = repaired(&bytes).unwrap();
        prop_assert_eq!(packets, expected, "{:?}", found);
        fuzz(&bytes);
    }

    /// Any flips of any bytes: no panic, and what was read before is read afterwards.
    #[test]
    fn flipped_bytes(
        sizes in prop::collection::vec(prop::collection::vec(4..300_usize, 0..5), 1..4),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = recording(&sizes, true).bytes;
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        fuzz(&bytes);
    }

    /// The pages of a file in any order, some missing, some twice, with zeros and bytes of no meaning between: no
    /// panic, and what was read before is read afterwards.
    #[test]
    fn shuffled_pages(
        sizes in prop::collection::vec(prop::collection::vec(4..3000_usize, 0..5), 1..5),
        pages in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), 0..8_u8), 0..12),
        rest in 0..4096_usize,
    ) {
        let mut source = recording(&sizes, true);
        source.interface("second");
        source.extent(vec![(1, vec![3; 60]), packet(0, 2500)], true);
        let mut bytes = source.bytes[..4096].to_vec();
        for (page, in_order, kind) in pages {
            match kind {
                0 => bytes.extend_from_slice(&[0; 4096]),
                1 => bytes.extend_from_slice(&[0x5a; 4096]),
                _ => {
                    let at = if in_order { bytes.len() } else { page.index(source.bytes.len()) / 4096 * 4096 };
                    let page = source.bytes.get(at..at + 4096).unwrap_or(&[0; 4096]);
                    bytes.extend_from_slice(page);
                }
            }
        }
        bytes.extend_from_slice(&source.bytes[..rest]);
        fuzz(&bytes);
    }

    /// Writes through the storage land where they should: the vector is as a file is.
    #[test]
    fn storages_agree(writes in prop::collection::vec((0..5000_usize, 1..64_usize), 0..8), cut in 0..5064_u64) {
        let mut memory = vec![1; 5064];
        let mut file = tempfile::tempfile().unwrap();
        Storage::write_all_at(&mut file, &memory, 0).unwrap();
        for (offset, len) in writes {
            Storage::write_all_at(&mut file, &vec![2; len], offset as u64).unwrap();
            Storage::write_all_at(&mut memory, &vec![2; len], offset as u64).unwrap();
        }
        Storage::truncate(&mut file, cut).unwrap();
        Storage::truncate(&mut memory, cut).unwrap();
        let mut read = vec![0; 6000];
        let len = Storage::read_at(&file, &mut read, 0).unwrap();
        prop_assert_eq!(&read[..len], &memory[..]);
        prop_assert_eq!(Storage::len(&file).unwrap(), cut);
    }
}
