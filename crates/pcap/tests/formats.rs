//! Every dialect of the two formats, built by hand, byte order by byte order.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic of a test is its report, in helpers as well")]

mod common;

use gannet_packet::{LinkType, PacketType};
use gannet_pcap::{Error, PacketSource, Reason, Resolution, SliceReader, StreamReader, Warning, classic, ng};

use common::{Seen, read, read_stream};

/// Writes numbers in one byte order.
struct Writer {
    bytes: Vec<u8>,
    big_endian: bool,
}

impl Writer {
    fn new(big_endian: bool) -> Self {
        Self { bytes: Vec::new(), big_endian }
    }

    fn number(&mut self, value: u64, size: usize) -> &mut Self {
        let bytes = value.to_le_bytes();
        let mut bytes = bytes[..size].to_vec();
        if self.big_endian {
            bytes.reverse();
        }
        self.bytes.extend(bytes);
        self
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.number(value.into(), 2)
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.number(value.into(), 4)
    }

    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn pad(&mut self) -> &mut Self {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    fn option(&mut self, code: u16, value: &[u8]) -> &mut Self {
        self.u16(code).u16(value.len() as u16).raw(value).pad()
    }

    fn block(&mut self, block_type: u32, body: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.u32(block_type).u32(0);
        body(self);
        self.pad();
        let length = (self.bytes.len() - start + 4) as u32;
        self.u32(length);
        let mut length_bytes = length.to_le_bytes();
        if self.big_endian {
            length_bytes.reverse();
        }
        self.bytes[start + 4..start + 8].copy_from_slice(&length_bytes);
        self
    }

    fn section(&mut self) -> &mut Self {
        self.block(ng::SECTION_HEADER, |w| {
            w.u32(ng::BYTE_ORDER_MAGIC).u16(1).u16(0).number(u64::MAX, 8);
        })
    }

    fn interface(&mut self, link_type: u16, snaplen: u32, options: &[(u16, &[u8])]) -> &mut Self {
        self.block(ng::INTERFACE_DESCRIPTION, |w| {
            w.u16(link_type).u16(0).u32(snaplen);
            for (code, value) in options {
                w.option(*code, value);
            }
        })
    }

    fn packet(&mut self, interface: u32, ticks: u64, data: &[u8], options: &[(u16, &[u8])]) -> &mut Self {
        self.block(ng::ENHANCED_PACKET, |w| {
            w.u32(interface).u32((ticks >> 32) as u32).u32(ticks as u32);
            w.u32(data.len() as u32).u32(data.len() as u32).raw(data).pad();
            for (code, value) in options {
                w.option(*code, value);
            }
        })
    }

    fn order(&self, value: u64, size: usize) -> Vec<u8> {
        let mut writer = Self::new(self.big_endian);
        writer.number(value, size);
        writer.bytes
    }
}

/// Both readers, which have to agree.
fn both(bytes: &[u8]) -> (Vec<Seen>, Option<Warning>) {
    let result = read(bytes);
    assert_eq!(read_stream(bytes), result);
    gannet_pcap::fuzz::read(bytes);
    result
}

fn classic_header(magic: u32, big_endian: bool, version: (u16, u16), link: u32) -> Writer {
    let mut writer = Writer::new(big_endian);
    writer.u32(magic).u16(version.0).u16(version.1).u32(0).u32(0).u32(96).u32(link);
    writer
}

#[test]
fn classic_in_every_variant_and_byte_order() {
    for big_endian in [false, true] {
        for (magic, unit, patched) in [
            (classic::MAGIC_MICRO, 1000, false),
            (classic::MAGIC_NANO, 1, false),
            (classic::MAGIC_KUZNETZOV, 1000, true),
            (classic::MAGIC_NETSNIFF, 1, true),
        ] {
            // 0x5400_0000: FCS of 10 bytes.
            let mut file = classic_header(magic, big_endian, (2, 4), 0x5400_0000 | 113);
            for data in [&b"abcde"[..], b"", b"xyz"] {
                file.u32(7).u32(999).u32(data.len() as u32).u32(1500);
                match magic {
                    // ifindex, protocol in network order, packet type, padding.
                    classic::MAGIC_KUZNETZOV => file.u32(3).raw(&[8, 0]).raw(&[4, 0]),
                    // Time-stamp source, ifindex, protocol, hardware type, packet type.
                    classic::MAGIC_NETSNIFF => file.u16(1).u16(3).raw(&[8, 0]).raw(&[1, 4]),
                    _ => &mut file,
                };
                file.raw(data);
            }
            let (seen, warning) = both(&file.bytes);
            assert_eq!(warning, None);
            let data: Vec<_> = seen.iter().map(|packet| &packet.data[..]).collect();
            assert_eq!(data, [&b"abcde"[..], b"", b"xyz"], "{magic:#x} {big_endian}");
            for packet in &seen {
                assert_eq!((packet.time, packet.orig_len), (7_000_000_000 + 999 * unit, 1500));
                assert_eq!((packet.link_type, packet.interface), (113, 0));
                let outgoing = packet.packet_type == PacketType::Outgoing as u8;
                assert_eq!(outgoing, patched);
            }
            let reader = SliceReader::new(&file.bytes).unwrap();
            let interface = &reader.interfaces()[0];
            assert_eq!((interface.snaplen, interface.fcs_bytes), (96, Some(10)));
        }
    }
}

#[test]
fn classic_lengths_in_the_order_of_their_version() {
    let orig_lens = |version, first: u32, second: u32| {
        let mut file = classic_header(classic::MAGIC_MICRO, false, version, 1);
        file.u32(0).u32(0).u32(first).u32(second).raw(b"abcd");
        let (seen, _) = both(&file.bytes);
        seen.iter().map(|packet| (packet.data.len(), packet.orig_len)).collect::<Vec<_>>()
    };
    assert_eq!(orig_lens((2, 4), 4, 60), [(4, 60)]);
    assert_eq!(orig_lens((2, 2), 60, 4), [(4, 60)]);
    assert_eq!(orig_lens((543, 0), 60, 4), [(4, 60)]);
    assert_eq!(orig_lens((2, 3), 60, 4), [(4, 60)]);
    assert_eq!(orig_lens((2, 3), 4, 60), [(4, 60)]);
    // From 2.4 on a captured length above the original one is taken at its word.
    assert_eq!(orig_lens((2, 4), 4, 2), [(4, 2)]);
    let file = classic_header(classic::MAGIC_MICRO, false, (7, 1), 1).bytes;
    let error = SliceReader::new(&file).unwrap_err();
    assert_eq!(error.to_string(), "pcap file with an unusable header: format version 7.1");
}

/// Programs wrote the `DLT_RAW` of their system into files.
#[test]
fn raw_ip_has_old_numbers() {
    for (number, link_type) in [(12, 101), (14, 101), (101, 101), (11, 11)] {
        let mut classic = classic_header(classic::MAGIC_MICRO, false, (2, 4), u32::from(number));
        classic.u32(0).u32(0).u32(4).u32(4).raw(b"abcd");
        let mut ng = Writer::new(false);
        ng.section().interface(number, 0, &[]).packet(0, 7, b"abcd", &[]);
        for file in [classic, ng] {
            let (seen, _) = both(&file.bytes);
            assert_eq!(seen[0].link_type, link_type, "{number}");
        }
    }
}

#[test]
fn longer_than_the_snaplen_is_no_fault() {
    let mut file = classic_header(classic::MAGIC_MICRO, false, (2, 4), 1);
    let data = vec![5; 600_000];
    file.u32(0).u32(0).u32(data.len() as u32).u32(data.len() as u32).raw(&data);
    file.u32(0).u32(0).u32(3).u32(70_000).raw(b"abc");
    let (seen, warning) = both(&file.bytes);
    assert_eq!(warning, None);
    assert_eq!((seen[0].data.len(), seen[1].orig_len), (600_000, 70_000));
}

#[test]
fn pcapng_sections_each_in_its_byte_order() {
    let mut bytes = Vec::new();
    for (number, big_endian) in [(0_u8, false), (1, true), (2, false)] {
        let mut section = Writer::new(big_endian);
        let name = format!("if{number}\0");
        section.section().interface(1, 0, &[(2, name.as_bytes()), (9, &[9])]);
        section.interface(113, 0, &[(9, &[9])]);
        section.packet(1, 0x1_0000_0000 + u64::from(number), &[number; 5], &[]);
        section.packet(0, 7, &[number; 4], &[]);
        bytes.extend(section.bytes);
    }
    let (seen, warning) = both(&bytes);
    assert_eq!(warning, None);
    let told: Vec<_> = seen.iter().map(|p| (p.interface, p.link_type, p.time, p.data[0])).collect();
    let base = 0x1_0000_0000;
    assert_eq!(
        told,
        [
            (1, 113, base, 0),
            (0, 1, 7, 0),
            (3, 113, base + 1, 1),
            (2, 1, 7, 1),
            (5, 113, base + 2, 2),
            (4, 1, 7, 2)
        ]
    );
    let mut reader = SliceReader::new(&bytes).unwrap();
    reader.by_ref().for_each(drop);
    let names: Vec<_> = reader.interfaces().iter().map(|i| (i.section, i.name.as_str())).collect();
    assert_eq!(names, [(0, "if0"), (0, ""), (1, "if1"), (1, ""), (2, "if2"), (2, "")]);
}

#[test]
fn pcapng_clocks() {
    for big_endian in [false, true] {
        let mut file = Writer::new(big_endian);
        file.section();
        let minus_one = file.order((-1_i64).cast_unsigned(), 8);
        file.interface(1, 0, &[]);
        file.interface(1, 0, &[(9, &[0x8a])]);
        file.interface(1, 0, &[(9, &[3]), (14, &minus_one)]);
        for interface in 0..3 {
            file.packet(interface, 2048, b"", &[]);
        }
        let (seen, _) = both(&file.bytes);
        let times: Vec<_> = seen.iter().map(|packet| packet.time).collect();
        assert_eq!(times, [2_048_000, 2_000_000_000, 1_048_000_000]);
        let mut reader = SliceReader::new(&file.bytes).unwrap();
        reader.by_ref().for_each(drop);
        assert_eq!(reader.interfaces()[1].resolution, Resolution::Binary(10));
        assert_eq!(reader.interfaces()[2].offset_s, -1);
    }
}

#[test]
fn every_kind_of_packet_block() {
    use PacketType::{Broadcast, Host};
    for big_endian in [false, true] {
        let mut file = Writer::new(big_endian);
        file.section().interface(1, 6, &[(9, &[9])]);
        let flags = file.order(u64::from(ng::epb_flags(Broadcast, false, false, false)), 4);
        let drops = file.order(0x1_0000_0002, 8);
        file.packet(0, 11, b"enhanced", &[(1, b"why"), (2, &flags), (4, &drops)]);
        file.block(ng::OBSOLETE_PACKET, |w| {
            w.u16(0).u16(3).u32(0).u32(12).u32(3).u32(99).raw(b"old").pad().option(2, &flags);
        });
        file.block(ng::OBSOLETE_PACKET, |w| {
            w.u16(0).u16(0xffff).u32(0).u32(13).u32(0).u32(0);
        });
        file.block(ng::SIMPLE_PACKET, |w| {
            w.u32(10).raw(b"simple");
        });
        file.block(ng::SIMPLE_PACKET, |w| {
            w.u32(3).raw(b"sim");
        });
        // Name resolution, secrets, journal, custom, and one that nobody knows.
        for unknown in [4, 10, 9, 0xbad, 0x4000_0bad, 0x1234_5678] {
            file.block(unknown, |w| {
                w.raw(b"anything at all");
            });
        }
        file.packet(0, 14, b"", &[]);
        let mut reader = SliceReader::new(&file.bytes).unwrap();
        let seen: Vec<_> = reader
            .by_ref()
            .map(|p| {
                let frame = p.frame;
                (frame.data, frame.timestamp.0, frame.orig_len, frame.packet_type, p.dropped)
            })
            .collect();
        assert_eq!(
            seen,
            [
                (&b"enhanced"[..], 11, 8, Broadcast, Some(0x1_0000_0002)),
                (b"old", 12, 99, Broadcast, Some(3)),
                (b"", 13, 0, Host, None),
                // Cut to the snaplen of 6.
                (b"simple", 0, 10, Host, None),
                (b"sim", 0, 3, Host, None),
                (b"", 14, 0, Host, None),
            ]
        );
        assert_eq!(reader.warning(), None);
        both(&file.bytes);
    }
}

#[test]
fn statistics_are_kept_with_their_interface() {
    let mut file = Writer::new(true);
    file.section().interface(1, 0, &[]).interface(1, 0, &[(9, &[9])]);
    let (start, received) = (file.order(5 << 32, 8), file.order(77, 8));
    let start = [&start[4..], &start[..4]].concat();
    file.block(ng::INTERFACE_STATISTICS, |w| {
        w.u32(1).u32(0).u32(9).option(2, &start).option(4, &received);
    });
    // Of an interface that was never described: nobody's.
    file.block(ng::INTERFACE_STATISTICS, |w| {
        w.u32(9).u32(0).u32(9);
    });
    let mut reader = SliceReader::new(&file.bytes).unwrap();
    assert!(reader.next_packet().is_none());
    assert_eq!(reader.warning(), None);
    assert_eq!(reader.interfaces()[0].statistics, None);
    let statistics = reader.interfaces()[1].statistics.unwrap();
    assert_eq!((statistics.start.unwrap().0, statistics.received, statistics.dropped), (5, Some(77), None));
}

#[test]
fn what_is_written_is_read_with_all_it_says() {
    let mut file = Vec::new();
    ng::section_header(&mut file, &ng::Section { hardware: "h", os: "o", application: "a", comment: "c" });
    ng::interface_description(
        &mut file,
        &ng::Interface {
            name: "veth0",
            description: "ä wire",
            filter: "tcp port 80",
            os: "Linux 6",
            comment: "c",
            speed: 10_000_000_000,
            ..ng::Interface::new(LinkType::SLL2, 96)
        },
    );
    let statistics = ng::Statistics {
        start: Some(gannet_packet::Timestamp(0x1_0000_0001)),
        end: Some(gannet_packet::Timestamp(u64::MAX)),
        received: Some(1),
        dropped: Some(2),
        filter_accepted: Some(3),
        os_dropped: Some(4),
        delivered: Some(u64::MAX),
    };
    ng::interface_statistics(&mut file, 0, gannet_packet::Timestamp(5), &statistics);
    let start = file.len();
    file.resize(start + 4096, 0);
    ng::write_filler(&mut file[start..]);
    let mut reader = SliceReader::new(&file).unwrap();
    assert!(reader.next_packet().is_none());
    assert_eq!(reader.warning(), None);
    let interface = &reader.interfaces()[0];
    assert_eq!((interface.name.as_str(), interface.description.as_str()), ("veth0", "ä wire"));
    assert_eq!((interface.link_type, interface.snaplen), (LinkType::SLL2, 96));
    assert_eq!(interface.resolution, Resolution::Decimal(9));
    assert_eq!(interface.statistics, Some(statistics));
}

#[test]
fn damage_is_named_with_its_place() {
    let good = || {
        let mut file = Writer::new(false);
        file.section().interface(1, 0, &[]).packet(0, 1, b"good", &[]);
        file
    };
    let end = good().bytes.len() as u64;
    type Spoil = fn(&mut Writer) -> &mut Writer;
    let length = |block_type, length| Reason::BlockLength { block_type, length };
    let cases: [(Spoil, Reason); 12] = [
        (|w| w.raw(&[0; 100]), Reason::Zeros),
        (|w| w.raw(&[0; 3]), Reason::Truncated { present: 3, needed: 8 }),
        (|w| w.u32(6).u32(100).raw(&[1; 20]), Reason::Truncated { present: 28, needed: 100 }),
        (|w| w.u32(6).u32(34).raw(&[1; 60]), length(6, 34)),
        (|w| w.u32(6).u32(8), length(6, 8)),
        (|w| w.u32(77).u32(0), length(77, 0)),
        (|w| w.u32(6).u32(16).u32(0).u32(16), length(6, 16)),
        (|w| w.u32(6).u32(20 << 20).raw(&[1; 60]), length(6, 20 << 20)),
        (|w| w.u32(77).u32(16).u32(0).u32(20), Reason::LengthsDiffer { first: 16, last: 20 }),
        (
            |w| w.u32(6).u32(36).raw(&[0; 12]).u32(5).u32(5).raw(b"four").u32(36),
            Reason::CaptureLength { caplen: 5, room: 4 },
        ),
        (|w| w.packet(1, 1, b"", &[]), Reason::UnknownInterface { interface: 1, described: 1 }),
        (|w| w.u32(ng::SECTION_HEADER).u32(28).u32(0x1122_3344), Reason::ByteOrder(0x1122_3344)),
    ];
    for (spoil, reason) in cases {
        let mut file = good();
        spoil(&mut file);
        let (seen, warning) = both(&file.bytes);
        assert_eq!(seen.len(), 1);
        assert_eq!(warning, Some(Warning { offset: end, compression: None, reason }));
    }
    let mut classic = classic_header(classic::MAGIC_MICRO, false, (2, 4), 1);
    classic.u32(0).u32(0).u32(1 << 25).u32(60).raw(&[1; 60]);
    let (_, warning) = both(&classic.bytes);
    let warning = warning.unwrap();
    assert_eq!(
        warning.to_string(),
        "damaged at offset 24: record of 33554432 captured bytes; what follows is left out"
    );
}

#[test]
fn too_many_interfaces() {
    let mut file = Writer::new(false);
    file.section();
    let start = file.bytes.len();
    file.interface(1, 0, &[]);
    let block = file.bytes[start..].to_vec();
    for _ in 0..gannet_pcap::MAX_INTERFACES {
        file.raw(&block);
    }
    let mut reader = SliceReader::new(&file.bytes).unwrap();
    assert!(reader.next_packet().is_none());
    assert_eq!(reader.warning().unwrap().reason, Reason::TooManyInterfaces);
}

#[test]
fn headers_that_are_cut_or_no_headers() {
    let mut ng = Writer::new(false);
    ng.section();
    let pcap = classic_header(classic::MAGIC_MICRO, false, (2, 4), 1).bytes;
    for file in [&ng.bytes, &pcap] {
        for len in 0..file.len() {
            let cut = &file[..len];
            let error = SliceReader::new(cut).unwrap_err();
            assert_eq!(StreamReader::new(cut).unwrap_err().to_string(), error.to_string());
            match error {
                Error::NotCapture { .. } => assert!(len < 4),
                Error::HeaderCut { present, needed, .. } => {
                    assert_eq!(present, len as u64);
                    assert!(needed > present && needed <= file.len() as u64);
                }
                other => panic!("{len}: {other}"),
            }
        }
        assert!(SliceReader::new(file).unwrap().next_packet().is_none());
    }
    // The first four bytes alone could be chance.
    let mut chance = ng.bytes.clone();
    chance[8] = 0;
    assert!(matches!(SliceReader::new(&chance), Err(Error::NotCapture { .. })));
    let gzip = [0x1f, 0x8b, 8, 0];
    assert_eq!(SliceReader::new(&gzip).unwrap_err().to_string(), "gzip data has to be read as a stream");
    let error = StreamReader::new(&gzip[..]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "gzip data damaged at offset 4, where the capture in it has not begun: the file ends within the gzip data (copy \
         the file again if `gzip -t` refuses it, too)"
    );
}

#[test]
fn what_is_compressed_and_no_capture() {
    let text = ruzstd::encoding::compress_to_vec(&b"hello"[..], ruzstd::encoding::CompressionLevel::Fastest);
    assert_eq!(
        StreamReader::new(&text[..]).unwrap_err().to_string(),
        "not a capture file: in its Zstandard data it starts with 68 65 6c 6c 6f (\"hello\")"
    );
}

/// Of a small file that is compressed all of it is decoded at once, and the damage met with the first read.
#[test]
fn what_is_in_front_of_damaged_compression_is_read() {
    use std::io::Write;
    let mut file = Writer::new(false);
    file.section().interface(1, 0, &[]);
    // Nothing in it repeats, so that it takes several blocks.
    let mut state = 1_u64;
    for number in 0..400 {
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        let data: Vec<u8> = (0..1_000).map(next).collect();
        file.packet(0, number, &data, &[]);
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&file.bytes).unwrap();
    let gzip = encoder.finish().unwrap();
    let zstd =
        ruzstd::encoding::compress_to_vec(&file.bytes[..], ruzstd::encoding::CompressionLevel::Fastest);
    for (compressed, format) in [(gzip, "gzip"), (zstd, "Zstandard")] {
        let middle = compressed.len() / 2;
        let mut reader = StreamReader::new(&compressed[..middle]).unwrap();
        let mut count = 0;
        while reader.next_packet().unwrap().is_some() {
            count += 1;
        }
        // A block of Zstandard is 128 KiB.
        assert!((120..=200).contains(&count), "{count} packets of {format}");
        let warning = reader.warning().unwrap().to_string();
        assert!(warning.starts_with(&format!("{format} data damaged at offset ")), "{warning}");
        assert!(warning.contains("of what is in it: the file ends within the "), "{warning}");
        assert!(warning.contains("what follows is left out (copy the file again if `"), "{warning}");
    }
}

#[test]
fn offsets_point_into_the_file() {
    let mut file = Writer::new(false);
    file.section().interface(1, 0, &[]);
    let first = file.bytes.len();
    file.packet(0, 1, b"first", &[]);
    let second = file.bytes.len();
    file.packet(0, 2, b"second", &[]);
    let mut stream = StreamReader::new(&file.bytes[..]).unwrap();
    for (offset, data) in [(first, &b"first"[..]), (second, b"second")] {
        assert!(stream.advance().unwrap());
        let packet = stream.packet().unwrap();
        assert_eq!((packet.offset, packet.data_offset), (offset as u64, offset as u64 + 28));
        assert_eq!(packet.frame.data, data);
    }
    assert!(!stream.advance().unwrap());
    assert!(stream.packet().is_none());
}
