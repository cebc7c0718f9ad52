//! What TCP does to streams.
//!
//! Packets 0 to 2 are the handshake. Each thing said takes its segments and an acknowledgement.

use gannet_testkit::conversation::{Carriage, Content, Identifications, Wrap, flags};

use super::case::{Case, Client, Frame, OK, Server, Stage, Talk, answer, get, shot};

/// A body of 4000 bytes in the segments 5, 6, 8 (7 acknowledges), then another exchange from 10 on.
fn long(t: &mut Talk) {
    t.get("/a").server(answer(200, &"x".repeat(4_000))).wait_ms(500).get("/b").ok().close(Client);
}

const LONG: &[&str] = &["GET h/a 0 > 200 4000 complete high", "GET h/b 0 > 200 5 complete high"];

/// Byte of the flags in a frame of IPv4 without a tag, and of the numbers before it.
const FLAGS: usize = 47;
const SEQUENCE: usize = ACKNOWLEDGEMENT - 4;
const ACKNOWLEDGEMENT: usize = 42;
const URGENT: usize = 52;

/// Appends payload to a frame.
fn extend(frame: &mut Frame, payload: &[u8]) {
    frame.bytes.extend_from_slice(payload);
    frame.orig_len += payload.len() as u32;
    let len = (frame.bytes.len() - 14) as u16;
    frame.bytes[16..18].copy_from_slice(&len.to_be_bytes());
}

/// Every frame of `long`, in a tunnel and perhaps in fragments.
fn carried(stage: &Stage, carriage: &Carriage) -> Vec<Frame> {
    let conversation = stage.talk(long);
    let mut ids = Identifications::default();
    let frames = conversation.packets().iter().flat_map(|packet| {
        let time_ns = packet.time_ns;
        let frames = carriage.frames(packet, &mut ids);
        frames.into_iter().map(move |bytes| Frame { time_ns, orig_len: bytes.len() as u32, bytes })
    });
    frames.collect()
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::damaged(
            "out-of-order",
            &["overlaps"],
            "segments of a body in another order",
            long,
            |c| {
                c.reorder(6, 5).reorder(8, 6);
            },
            &[
                "GET h/a 0 > 200 4000 complete high untrusted=retransmitted",
                "GET h/b 0 > 200 5 complete high",
            ],
        )
        .gannet("tshark puts nothing together out of order unless it is told to (`tcp.reassemble_out_of_order`).")
        .any_order(),
        Case::damaged(
            "sent-again",
            &["overlaps"],
            "a segment of a body twice, the same bytes",
            long,
            |c| {
                c.retransmit(6, 30_000, Content::Same);
            },
            LONG,
        )
        .also(0, "/tcp/retransmitted", 1_448)
        .any_order(),
        Case::damaged(
            "sent-again-with-other-bytes",
            &["overlaps"],
            "a head's segment again with other bytes: the first copy counts",
            two_heads,
            |c| {
                c.retransmit(3, 30_000, Content::Other);
            },
            &["GET h/a 0 > 200 5 complete high untrusted=retransmitted", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::damaged(
            "sent-again-and-longer",
            &["overlaps"],
            "a lost segment comes again in one that begins earlier and ends later",
            long,
            |c| {
                let lost = c.packets()[6].range.clone();
                c.retransmit_range(6, 200_000_000, lost.start - 100..lost.end + 300).drop_packet(6);
            },
            LONG,
        )
        .gannet("the same.")
        .also(0, "/tcp/retransmitted", 400),
        Case::damaged(
            "coalesced",
            &["overlaps"],
            "two lost segments come again as one",
            |t| {
                t.get("/a")
                    .builder
                    .write(Server, answer(200, &"x".repeat(2_000)).as_bytes())
                    .mss(700)
                    .segments(Server);
                t.wait_ms(400).builder.ack(Client);
                t.close(Client);
            },
            |c| {
                let range = c.packets()[6].range.start..c.packets()[7].range.end;
                c.retransmit_range(6, 200_000_000, range).drop_packets(6..8);
            },
            &["GET h/a 0 > 200 2000 complete high"],
        ),
        Case::talk(
            "keep-alive-probes",
            &["probes"],
            "probes without a byte, from either end, between two exchanges",
            |t| {
                t.get("/a")
                    .ok()
                    .wait_ms(30_000)
                    .builder
                    .keep_alive(Client)
                    .wait(30_000_000_000)
                    .keep_alive(Server);
                t.get("/b").ok().close(Client);
            },
            &["GET h/a 0 > 200 5 complete high", "GET h/b 0 > 200 5 complete high"],
        )
        .also(1, "/tcp/retransmitted", 0),
        Case::talk(
            "keep-alive-probes-with-a-byte",
            &["probes"],
            "probes with one byte of nothing, before an answer",
            |t| {
                t.get("/a").wait_ms(30_000).builder.odd(Client, flags::ACK, -1, b"\0").ack(Server);
                t.wait_ms(30_000).builder.odd(Client, flags::ACK, -1, b"\0").ack(Server);
                t.ok().get("/b").ok().close(Client);
            },
            &["GET h/a 0 > 200 5 complete high", "GET h/b 0 > 200 5 complete high"],
        )
        .also(0, "/tcp/retransmitted", 0)
        .only_as_cut(),
        Case::talk(
            "zero-window",
            &["probes"],
            "a client that reads slowly: a zero window, a probe, an update",
            |t| {
                t.get("/a").builder.write(Server, answer(200, &"x".repeat(4_000)).as_bytes());
                t.builder.segment(Server).segment(Server).zero_window(Client).wait(200_000_000);
                t.builder.keep_alive(Server).zero_window(Client).wait(200_000_000).ack(Client).flush(Server);
                t.get("/b").ok().close(Client);
            },
            LONG,
        )
        .also(0, "/tcp/zero_windows", 2)
        .also(0, "/tcp/retransmitted", 0),
        Case::frames(
            "data-in-the-syn",
            &["probes"],
            "TCP fast open: the request is in the SYN, which the server acknowledges",
            |stage| {
                let mut frames = shot(&stage.talk(|t| {
                    t.get("/a").ok().get("/b").ok().close(Client);
                }));
                let request = get("/a");
                extend(&mut frames[0], request.as_bytes());
                let number: [u8; 4] = frames[1].bytes[ACKNOWLEDGEMENT..][..4].try_into().unwrap();
                let number = u32::from_be_bytes(number).wrapping_add(request.len() as u32);
                frames[1].bytes[ACKNOWLEDGEMENT..][..4].copy_from_slice(&number.to_be_bytes());
                // Neither the segment that carried it nor the acknowledgement of that is needed.
                frames.drain(3..5);
                frames
            },
            &["GET h/a 0 > 200 5 complete high", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::frames(
            "data-in-the-syn-refused",
            &["probes"],
            "the same with a server that does not take it: the request comes again behind the handshake",
            |stage| {
                let mut frames = shot(&stage.talk(|t| {
                    t.get("/a").ok().get("/b").ok().close(Client);
                }));
                extend(&mut frames[0], get("/a").as_bytes());
                frames
            },
            &["GET h/a 0 > 200 5 complete high untrusted=retransmitted", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::frames(
            "urgent-bytes",
            &["probes"],
            "the urgent flag on a request: its bytes stay in their place",
            |stage| {
                let mut frames = shot(&stage.talk(|t| {
                    t.get("/a").ok().close(Client);
                }));
                frames[3].bytes[FLAGS] |= flags::URG;
                frames[3].bytes[URGENT..URGENT + 2].copy_from_slice(&5_u16.to_be_bytes());
                frames
            },
            &["GET h/a 0 > 200 5 complete high"],
        ),
        Case::frames(
            "ports-again-after-fin",
            &["port-reuse"],
            "the same ports with another sequence number after both FINs; then a late segment of the old connection",
            |stage| {
                let old = shot(&stage.talk(|t| {
                    t.get("/old").ok().close(Client);
                }));
                let mut again = stage.clone();
                again.setup.start_ns += 2_000_000_000;
                again.setup.seed ^= 1;
                let mut frames = old.clone();
                frames.extend(shot(&again.talk(|t| {
                    t.get("/new").wait_ms(10).ok().close(Client);
                })));
                // Behind the new request.
                let time_ns = frames[old.len() + 4].time_ns;
                frames.insert(old.len() + 5, Frame { time_ns, ..old[5].clone() });
                frames
            },
            &["GET h/old 0 > 200 5 complete high", "GET h/new 0 > 200 5 complete high"],
        ),
        Case::frames(
            "ports-again-without-fin",
            &["port-reuse"],
            "the same ports, and no FIN of the old connection was captured: its request is cut off, not answered by the new server",
            |stage| {
                let mut frames = shot(&stage.talk(|t| {
                    t.get("/old");
                }));
                let mut again = stage.clone();
                again.setup.start_ns += 2_000_000_000;
                again.setup.seed ^= 1;
                frames.extend(shot(&again.talk(|t| {
                    t.get("/new").ok().close(Client);
                })));
                frames
            },
            &["GET h/old 0 > - truncated (reused) high", "GET h/new 0 > 200 5 complete high"],
        ),
        Case::frames(
            "ports-again-after-rst",
            &["port-reuse", "reset"],
            "the same ports after RST",
            |stage| {
                let mut frames = shot(&stage.talk(|t| {
                    t.get("/old").reset(Server);
                }));
                let mut again = stage.clone();
                again.setup.start_ns += 2_000_000_000;
                again.setup.seed ^= 1;
                frames.extend(shot(&again.talk(|t| {
                    t.get("/new").ok().close(Client);
                })));
                frames
            },
            &["GET h/old 0 > - aborted (server-reset) high", "GET h/new 0 > 200 5 complete high"],
        ),
        Case::frames(
            "sequence-wrap",
            &["sequence-wrap"],
            "both sequence numbers wrap, one within a head, one within a body",
            |stage| {
                let mut stage = stage.clone();
                stage.setup.isn = Some([u32::MAX - 9, u32::MAX - 2_000]);
                shot(&stage.talk(long))
            },
            LONG,
        )
        .any_order(),
        Case::talk(
            "reset-by-the-client",
            &["reset"],
            "the client closes the tab within a body",
            |t| {
                t.get("/a").builder.write(Server, answer(200, &"x".repeat(9_000)).as_bytes());
                t.builder.segment(Server).segment(Server).ack(Client);
                t.reset(Client);
            },
            &["GET h/a 0 > 200 2856 aborted (client-reset) high"],
        )
        .gannet("tshark waits for the rest of a body and shows no answer while it does not come.")
        .only_as_cut(),
        Case::talk(
            "reset-by-the-server",
            &["reset"],
            "the server gives up within a body",
            |t| {
                t.get("/a").builder.write(Server, answer(200, &"x".repeat(9_000)).as_bytes());
                t.builder.segment(Server).ack(Client);
                t.reset(Server);
            },
            &["GET h/a 0 > 200 1408 aborted (server-reset) high"],
        )
        .gannet("tshark waits for the rest of a body and shows no answer while it does not come.")
        .only_as_cut(),
        Case::talk(
            "reset-outside-of-the-window",
            &["reset"],
            "a forged RST with a sequence number that is nobody's",
            |t| {
                t.get("/a").builder.odd(Server, flags::RST, 0x6000_0000, b"");
                t.ok().get("/b").ok().close(Client);
            },
            &["GET h/a 0 > 200 5 complete high", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("to tshark the forged RST moves the sequence numbers on, and the answers behind it are out of order."),
        Case::talk(
            "reset-by-somebody-else",
            &["reset"],
            "a forged RST in the client's name with the right number, which the server does not see: the client goes on",
            |t| {
                t.builder.odd(Client, flags::RST | flags::ACK, 0, b"");
                t.get("/a").ok().get("/b").ok().close(Client);
            },
            &["GET h/a 0 > 200 5 complete high", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::frames(
            "answer-for-the-connection-before",
            &["reset"],
            "the server answers the SYN with numbers of the last connection of these ports; the client resets that, and asks again",
            |stage| {
                let mut frames = shot(&stage.talk(|t| {
                    t.get("/a").ok().close(Client);
                }));
                let odd = |frame: &Frame, flags: u8, number: u32, acknowledges: u32| {
                    let mut frame = frame.clone();
                    frame.bytes[SEQUENCE..][..4].copy_from_slice(&number.to_be_bytes());
                    frame.bytes[ACKNOWLEDGEMENT..][..4].copy_from_slice(&acknowledges.to_be_bytes());
                    frame.bytes[FLAGS] = flags;
                    frame
                };
                let syn = frames[0].clone();
                let first = u32::from_be_bytes(syn.bytes[SEQUENCE..][..4].try_into().unwrap());
                let old = first.wrapping_sub(0x2000_0000);
                let challenge = odd(&frames[1], flags::ACK, 0x1234_5678, old);
                let reset = odd(&syn, flags::RST, old, 0);
                frames.splice(1..1, [challenge, reset, syn]);
                for (at, frame) in frames.iter_mut().enumerate().skip(1) {
                    frame.time_ns += 1_000 * at.min(4) as u64;
                }
                frames
            },
            &["GET h/a 0 > 200 5 complete high"],
        ),
        Case::damaged(
            "fin-before-data",
            &["fin-before-data"],
            "the FIN is captured before the last segment of a body without a length",
            |t| {
                t.get("/a").pieces(Server, &["HTTP/1.1 200 OK\r\n\r\none ", "two ", "three"]).close(Server);
            },
            |c| {
                c.reorder(9, 7);
            },
            &["GET h/a 0 > 200 13 complete (fin) high untrusted=retransmitted"],
        )
        .gannet("tshark does not put the body together when the FIN comes before its last bytes."),
        Case::damaged(
            "fin-and-lost-data",
            &["fin-before-data"],
            "the last segment before the FIN was lost, and comes again after it",
            |t| {
                t.get("/a").builder.write(Server, b"HTTP/1.1 200 OK\r\n\r\none ").segments(Server);
                t.builder
                    .write(Server, b"two")
                    .segments(Server)
                    .fin(Server)
                    .wait(400_000_000)
                    .fin(Client)
                    .ack(Server);
            },
            |c| {
                c.retransmit(6, 250_000_000, Content::Same).drop_packet(6);
            },
            &["GET h/a 0 > 200 7 complete (fin) high untrusted=retransmitted"],
        )
        .gannet("the same."),
        Case::damaged(
            "same-packet-twice",
            &["same-packet-twice"],
            "every packet twice, 2 µs apart: a bridge, `any`",
            long,
            |c| {
                for number in (0..c.packets().len()).rev() {
                    c.duplicate(number, 2_000);
                }
            },
            LONG,
        )
        .also(0, "/tcp/retransmitted", 0)
        .any_order(),
        Case::frames(
            "same-packet-with-a-tag",
            &["same-packet-twice"],
            "every packet twice, the second time with a VLAN tag",
            |stage| {
                let frames = shot(&stage.talk(long));
                let tagged = |frame: &Frame| {
                    let mut bytes = frame.bytes.clone();
                    bytes.splice(12..12, [0x81, 0, 0, 7]);
                    Frame { time_ns: frame.time_ns + 2_000, orig_len: bytes.len() as u32, bytes }
                };
                frames.iter().flat_map(|frame| [frame.clone(), tagged(frame)]).collect()
            },
            LONG,
        )
        .also(0, "/tcp/retransmitted", 0),
        Case::talk(
            "segments-of-64-kib",
            &["offload"],
            "a body of 200 kB in segments of 65,000 bytes, as a capture on the sender's host has them",
            |t| {
                t.builder.mss(65_000);
                t.get("/a").server(answer(200, &"x".repeat(200_000))).get("/b").ok().close(Client);
            },
            &["GET h/a 0 > 200 200000 complete high", "GET h/b 0 > 200 5 complete high"],
        )
        .only_as_cut(),
        Case::frames(
            "wrong-checksums",
            &["offload"],
            "no checksum of TCP is right, as a capture on the sender's host has them",
            |stage| {
                let mut frames = shot(&stage.talk(long));
                frames.iter_mut().for_each(|frame| frame.bytes[50] ^= 0x55);
                frames
            },
            LONG,
        )
        .any_order(),
        Case::frames(
            "fragments",
            &["fragments-and-tunnels"],
            "every IP packet in fragments of 400 bytes",
            |stage| carried(stage, &Carriage { wraps: Vec::new(), cuts: vec![(0, 400)] }),
            LONG,
        ),
        Case::frames(
            "vxlan",
            &["fragments-and-tunnels"],
            "in VXLAN, whose outer packets are in fragments",
            |stage| {
                let vxlan = Wrap::Vxlan { ipv6: false, vni: 6, port: 4_789 };
                carried(stage, &Carriage { wraps: vec![vxlan], cuts: vec![(1, 800)] })
            },
            LONG,
        )
        .also(0, "/gannet/tunnel/kind", "vxlan")
        .also(0, "/gannet/tunnel/id", 6),
        Case::frames(
            "gre",
            &["fragments-and-tunnels"],
            "in GRE with a key",
            |stage| {
                let gre = Wrap::Gre { ipv6: false, key: Some(9), sequence: None, checksum: false };
                carried(stage, &Carriage { wraps: vec![gre], cuts: Vec::new() })
            },
            LONG,
        )
        .also(0, "/gannet/tunnel/id", 9),
        Case::talk(
            "half-closed",
            &["fin-before-data"],
            "the client ends its direction behind the request; the answer comes all the same",
            |t| {
                t.get("/a").fin(Client).wait_ms(50).server(OK).fin(Server).builder.ack(Client);
            },
            &["GET h/a 0 > 200 5 complete high"],
        ),
    ]
}

/// Two requests in packets 3 and 7, answers in 5 and 9.
fn two_heads(t: &mut Talk) {
    t.get("/a").ok().get("/b").ok().close(Client);
}
