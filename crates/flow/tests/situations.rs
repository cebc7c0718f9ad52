//! Situations of captures by name, each from a few words: what the table makes of them is what is known of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic of a test is its report, in helpers as well")]

mod common;

use gannet_flow::{
    CloseReason, Data, Flow, FlowTable, FragmentLimits, Fragments, Gap, Handler, Limits, Moment, StreamEnd,
};
use gannet_packet::{Frame, LinkType, PacketType, Timestamp};
use gannet_testkit::conversation::{Conversation, Dialogue, Manner, Peer, Setup};

/// The streams of all flows, in the order in which these end; `None` for what is missing.
#[derive(Default)]
struct Streams(Vec<([Vec<Option<u8>>; 2], CloseReason)>);

impl Handler for Streams {
    type State = [Vec<Option<u8>>; 2];

    fn open(&mut self, _: &Flow) -> Self::State {
        Default::default()
    }

    fn data(&mut self, streams: &mut Self::State, _: &Flow, data: Data<'_>) {
        streams[data.from as usize].extend(data.bytes.iter().copied().map(Some));
    }

    fn gap(&mut self, streams: &mut Self::State, _: &Flow, gap: Gap) {
        streams[gap.from as usize].extend((0..gap.len).map(|_| None));
    }

    fn end(&mut self, _: &mut Self::State, _: &Flow, _: StreamEnd) {}

    fn close(&mut self, streams: Self::State, _: &Flow, reason: CloseReason, _: Moment) {
        self.0.push((streams, reason));
    }
}

/// A conversation through the table: its streams, which have to be what is known of them, and how it ended.
fn close_reason(conversation: &Conversation) -> CloseReason {
    let mut table = FlowTable::new(Limits::default(), 1, Streams::default());
    let mut fragments = Fragments::new(FragmentLimits::default(), 1);
    for (position, packet) in conversation.packets().iter().enumerate() {
        let frame = Frame {
            data: &packet.frame,
            timestamp: Timestamp(packet.time_ns),
            orig_len: packet.orig_len,
            link_type: LinkType::ETHERNET,
            interface: u32::from(packet.copy),
            packet_type: PacketType::Host,
        };
        let found = common::analyse(&frame, position as u64, &mut fragments, &mut |segment| {
            table.segment(segment);
        });
        assert!(found, "{position}");
    }
    let end = Moment { time: table.clock(), position: conversation.packets().len() as u64 };
    table.finish(end);
    assert_eq!(table.check(), []);
    let flows = std::mem::take(&mut table.handler().0);
    let [(streams, reason)] = &flows[..] else { panic!("{} flows", flows.len()) };
    let (known, _) = conversation.known();
    assert_eq!(*streams, known.map(|known| known.bytes));
    *reason
}

fn dialogue(manner: Manner) -> Dialogue {
    Dialogue::new(Setup::default(), manner)
}

#[test]
fn a_talk_from_handshake_to_close() {
    let mut talk = dialogue(Manner::default());
    talk.open().say(Peer::Client, 500).say(Peer::Server, 40_000).close(Peer::Client);
    assert_eq!(close_reason(&talk.finish()), CloseReason::Finished);
}

#[test]
fn data_in_the_syn_probes_and_a_stall() {
    let mut talk = dialogue(Manner { urgent: 500_000, ..Manner::default() });
    talk.open_with(100)
        .say(Peer::Server, 3_000)
        .keep_alive(Peer::Server, true)
        .keep_alive(Peer::Client, false);
    talk.stall(Peer::Client, 300_000_000).say_together([5_000, 5_000]).close(Peer::Server);
    assert_eq!(close_reason(&talk.finish()), CloseReason::Finished);
}

#[test]
fn losses_on_the_wire_are_mended() {
    let mut talk = dialogue(Manner { lost: 300_000, needless: 200_000, ..Manner::default() });
    talk.open().say(Peer::Client, 30_000).say(Peer::Server, 30_000).close(Peer::Client);
    let captured = talk.finish();
    assert!(captured.known().0.iter().all(|known| known.missing().is_empty()));
    assert_eq!(close_reason(&captured), CloseReason::Finished);
}

#[test]
fn a_direction_that_comes_a_second_late() {
    for late in [Peer::Client, Peer::Server] {
        let mut talk = dialogue(Manner::default());
        talk.open().say(Peer::Client, 3_000).say(Peer::Server, 9_000).close(Peer::Client);
        let mut captured = talk.finish();
        captured.delay(late, 1_000_000_000);
        assert_eq!(close_reason(&captured), CloseReason::Finished, "{late:?}");
    }
}

#[test]
fn a_fin_behind_what_was_not_captured() {
    let mut talk = dialogue(Manner { segment_bytes: [1_000, 1_000], ..Manner::default() });
    talk.open().say(Peer::Client, 100).say(Peer::Server, 5_000).close(Peer::Server);
    let mut captured = talk.finish();
    let last = captured.packets().iter().rposition(|packet| packet.range == (4_000..5_000)).unwrap();
    captured.drop_packet(last);
    close_reason(&captured);
    assert_eq!(captured.known().0[1].missing().len(), 1);
}

#[test]
fn resets_in_the_window_and_far_from_it() {
    let mut talk = dialogue(Manner::default());
    talk.open().say(Peer::Client, 100).blind_reset(Peer::Server).blind_reset(Peer::Client);
    talk.say(Peer::Server, 200).abort(Peer::Server);
    assert!(matches!(close_reason(&talk.finish()), CloseReason::Reset { .. }));
}

/// Found by a case of `conversations.rs`: the SYN+ACK of a flow that had been reset began another one, which took the
/// rest of what the server had said. The mirror of the server's side was late, and the handshake's last packet not
/// captured.
#[test]
fn a_syn_ack_that_comes_after_the_reset_begins_nothing() {
    let mut talk = dialogue(Manner { segment_bytes: [10, 10], latency_ns: 1_000, ..Manner::default() });
    talk.open().say(Peer::Client, 10).say(Peer::Server, 200).abort(Peer::Client);
    let mut captured = talk.finish();
    captured.drop_packet(2).delay(Peer::Server, 1_000_000_000);
    let first = captured.packets().iter().find(|packet| packet.from == Peer::Server).unwrap();
    assert_eq!(first.position, 0);
    // What is left of the client's side tells of the server's stream from somewhere behind its first byte on.
    let data = captured.packets().iter().position(|packet| !packet.range.is_empty()).unwrap();
    captured.drop_packets(data..data + 1);
    assert!(matches!(close_reason(&captured), CloseReason::Reset { .. }));
}
