//! One conversation for each thing that can be the matter with a connection or a capture: the material of golden and
//! property tests further up.

use super::{Body, Builder, Content, Conversation, Peer, Request, Response, Route, Setup};

/// A conversation with a name for what is the matter with it.
#[derive(Clone, Debug)]
pub struct Variant {
    /// For file names and messages.
    pub name: &'static str,
    /// The conversation, damaged.
    pub conversation: Conversation,
}

/// All variants. Each has a client port of its own, so they can be [merged](super::merge) into one capture; `seed`
/// varies times, sequence numbers and identifications, and nothing else.
pub fn variants(seed: u64) -> Vec<Variant> {
    let mut all = Vec::new();
    let mut add = |name,
                   change: &dyn Fn(Setup) -> Setup,
                   script: &dyn Fn(&mut Builder),
                   damage: &dyn Fn(&mut Conversation)| {
        let port = 40_000 + all.len() as u16;
        let mut builder =
            Builder::new(change(Setup::default().client_port(port).seed(seed ^ u64::from(port))));
        script(&mut builder);
        let mut conversation = builder.finish();
        damage(&mut conversation);
        all.push(Variant { name, conversation });
    };
    let same = |setup| setup;
    let none = |_: &mut Conversation| ();

    // The connection is odd, the capture is complete.
    add("plain", &same, &plain, &none);
    add("ipv6", &Setup::ipv6, &plain, &none);
    add("vlan", &|setup| Setup { route: Route { vlan: Some(7), ..setup.route }, ..setup }, &plain, &none);
    add(
        "no-timestamps",
        &|setup| Setup { route: Route { timestamps: false, ..setup.route }, ..setup },
        &plain,
        &none,
    );
    add(
        "sequence-wrap",
        &|setup| Setup { isn: Some([u32::MAX - 9, u32::MAX - 2_000]), ..setup },
        &plain,
        &none,
    );
    add(
        "byte-by-byte",
        &|setup| Setup { mss: 1, gap_ns: 900, ..setup },
        &|builder| {
            let body = Body::Chunked {
                content: (&b"0123456789abcdefghij"[..]).into(),
                chunk: 16,
                trailers: vec![("X-Checksum".into(), "17".into())],
            };
            builder
                .handshake()
                .request(&get("/bytes"))
                .response(&Response::new(200, body))
                .close(Peer::Server);
        },
        &none,
    );
    add(
        "chunked-both-ways",
        &same,
        &|builder| {
            let upload = get("/upload").body(Body::chunked(content(4_000), 1_500));
            let upload = Request { method: "POST".into(), ..upload };
            builder
                .handshake()
                .request(&upload)
                .response(&Response::new(201, Body::chunked(content(9_000), 4_096)));
            builder.close(Peer::Client);
        },
        &none,
    );
    add(
        "bodiless",
        &same,
        &|builder| {
            let head = Request { method: "HEAD".into(), ..get("/head") };
            builder.handshake().request(&head).response(&Response::new(200, Body::Announced(5_000)));
            builder.request(&get("/cached")).response(&Response::new(304, Body::Announced(700)));
            builder.request(&get("/none")).response(&Response::new(204, Body::None)).close(Peer::Client);
        },
        &none,
    );
    add(
        "pipelined",
        &same,
        &|builder| {
            builder.handshake().write_request(&get("/1")).write_request(&get("/2")).flush(Peer::Client);
            builder.write_request(&get("/3")).flush(Peer::Client).wait(2_000_000);
            builder.write_response(&Response::new(200, Body::length(content(3_000))));
            builder.write_response(&Response::new(404, Body::chunked(content(100), 64)));
            builder.write_response(&Response::new(200, Body::length(content(10)))).flush(Peer::Server);
            builder.close(Peer::Client);
        },
        &none,
    );
    add(
        "interim",
        &same,
        &|builder| {
            let upload = get("/expect").header("Expect", "100-continue").body(Body::length(content(3_000)));
            let upload = Request { method: "PUT".into(), ..upload };
            let mut encoded = Vec::new();
            let head = upload.encode(&mut encoded).head_bytes as usize;
            builder.handshake().write_request(&upload).send(Peer::Client, head).wait(1_000_000);
            builder.response(&Response::new(100, Body::None)).flush(Peer::Client).wait(1_000_000);
            builder.response(&Response::new(200, Body::length(content(20)))).close(Peer::Client);
        },
        &none,
    );
    add(
        "early-answer",
        &same,
        &|builder| {
            let upload =
                Request { method: "POST".into(), ..get("/large").body(Body::length(content(6_000))) };
            builder.handshake().write_request(&upload).segment(Peer::Client).ack(Peer::Server);
            builder.response(&Response::new(413, Body::length(content(30)))).flush(Peer::Client);
            builder.close(Peer::Server);
        },
        &none,
    );
    add(
        "until-close",
        &same,
        &|builder| {
            let response =
                Response { minor: 0, ..Response::new(200, Body::UntilClose(content(5_000).into())) };
            builder
                .handshake()
                .request(&Request { minor: 0, ..get("/old") })
                .response(&response)
                .close(Peer::Server);
        },
        &none,
    );
    add(
        "reset-in-body",
        &same,
        &|builder| {
            builder.handshake().request(&get("/reset"));
            builder.write_response(&Response::new(200, Body::length(content(9_000))));
            builder.segment(Peer::Server).segment(Peer::Server).ack(Peer::Client).reset(Peer::Server);
        },
        &none,
    );
    add(
        "no-answer",
        &same,
        &|builder| {
            builder.handshake().request(&get("/silence")).wait(3_000_000_000).close(Peer::Server);
        },
        &none,
    );
    add(
        "answer-without-request",
        &same,
        &|builder| {
            builder
                .handshake()
                .wait(5_000_000)
                .write(Peer::Server, b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n");
            builder.flush(Peer::Server).close(Peer::Server);
        },
        &none,
    );
    add(
        "zero-window",
        &same,
        &|builder| {
            builder.handshake().request(&get("/slow-reader"));
            builder.write_response(&Response::new(200, Body::length(content(9_000))));
            builder.segment(Peer::Server).segment(Peer::Server).zero_window(Peer::Client).wait(200_000_000);
            builder.keep_alive(Peer::Server).ack(Peer::Client).flush(Peer::Server).close(Peer::Client);
        },
        &none,
    );
    add(
        "keep-alive-probes",
        &same,
        &|builder| {
            builder.handshake().request(&get("/1")).response(&Response::new(200, Body::length(content(10))));
            builder
                .wait(30_000_000_000)
                .keep_alive(Peer::Client)
                .wait(30_000_000_000)
                .keep_alive(Peer::Server);
            builder
                .request(&get("/2"))
                .response(&Response::new(200, Body::length(content(10))))
                .close(Peer::Client);
        },
        &none,
    );

    // The capture is odd: packets of the same script, whose response begins at packet 6 (see `plain`).
    add("lost-in-body", &same, &plain, &|conversation| {
        conversation.drop_packet(7);
    });
    add("lost-in-head", &same, &plain, &|conversation| {
        conversation.drop_packet(6);
    });
    add("lost-request", &same, &plain, &|conversation| {
        conversation.drop_packet(3);
    });
    add("late-in-body", &same, &plain, &|conversation| {
        conversation.reorder(7, 9);
    });
    add("late-head", &same, &plain, &|conversation| {
        conversation.reorder(6, 9);
    });
    add("answer-before-request", &same, &plain, &|conversation| {
        conversation.reorder(3, 6);
    });
    add("doubled", &same, &plain, &|conversation| {
        for number in (0..conversation.packets().len()).rev() {
            conversation.duplicate(number, 400);
        }
    });
    add("sent-again", &same, &plain, &|conversation| {
        conversation.retransmit(7, 30_000, Content::Same);
    });
    add("sent-again-otherwise", &same, &plain, &|conversation| {
        conversation.retransmit(7, 30_000, Content::Other);
    });
    add("mended", &same, &plain, &|conversation| {
        conversation.retransmit(7, 250_000_000, Content::Same).drop_packet(7);
    });
    add("mended-and-more", &same, &plain, &|conversation| {
        let lost = conversation.packets()[7].range.clone();
        conversation.retransmit_range(7, 400_000, lost.start - 100..lost.end + 100).drop_packet(7);
    });
    add("midstream-between-exchanges", &same, &plain, &|conversation| {
        conversation.midstream(3);
    });
    add("midstream-in-body", &same, &plain, &|conversation| {
        conversation.midstream(9);
    });
    add("stopped-in-body", &same, &plain, &|conversation| {
        conversation.stop_after(8);
    });
    add("only-requests", &same, &plain, &|conversation| {
        conversation.one_sided(Peer::Client);
    });
    add("only-responses", &same, &plain, &|conversation| {
        conversation.one_sided(Peer::Server);
    });
    add("snaplen", &same, &plain, &|conversation| {
        conversation.snaplen(400);
    });
    all
}

/// Two exchanges: packets 0 to 2 are the handshake, 3 to 5 a request of 2,000 bytes (data, data, ACK); after a
/// pause comes the response of 8,000 bytes from packet 6 on (data, data, ACK, ...); a small exchange follows.
fn plain(builder: &mut Builder) {
    let post = Request { method: "POST".into(), ..get("/form?a=b").body(Body::length(content(2_000))) };
    builder.handshake().request(&post).wait(7_000_000);
    builder
        .response(&Response::new(200, Body::length(content(8_000))).header("Server", "s"))
        .wait(20_000_000);
    builder.request(&get("/next")).wait(1_000_000).response(&Response::new(404, Body::length(content(50))));
    builder.close(Peer::Client);
}

fn get(target: &'static str) -> Request<'static> {
    Request::new("GET", target, "www.example.com").header("User-Agent", "conversation/1")
}

/// Bytes of which no two neighbouring runs are equal, none of them a line break.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|n| b'a' + ((n + n / 26 + n / 700) % 26) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_variant_is_what_its_name_says() {
        let all = variants(1);
        assert_eq!(all.iter().map(|variant| variant.name).collect::<HashSet<_>>().len(), all.len());
        let find = |name: &str| &all.iter().find(|variant| variant.name == name).unwrap().conversation;
        let plain = find("plain");
        let kinds: Vec<(Peer, bool)> =
            plain.packets()[3..9].iter().map(|packet| (packet.from, packet.range.is_empty())).collect();
        let (client, server) = (Peer::Client, Peer::Server);
        assert_eq!(
            kinds,
            [
                (client, false),
                (client, false),
                (server, true),
                (server, false),
                (server, false),
                (client, true),
            ]
        );
        for variant in &all {
            let truth = variant.conversation.truth();
            let whole = truth.iter().filter(|truth| truth.whole).count();
            let expected = match variant.name {
                "no-answer" | "answer-without-request" | "reset-in-body" | "stopped-in-body" => 0,
                "only-requests" | "only-responses" => 0,
                "snaplen" => 1,
                name if name.starts_with("lost") || name.ends_with("in-body") && name != "late-in-body" => 1,
                "bodiless" | "pipelined" => 3,
                "byte-by-byte" | "chunked-both-ways" | "interim" | "early-answer" | "until-close"
                | "zero-window" => 1,
                _ => 2,
            };
            assert_eq!(whole, expected, "{}", variant.name);
        }
        assert_eq!(find("lost-in-head").truth()[0].times.ttfb(), None);
        assert_eq!(find("lost-in-body").truth()[0].tcp.gap_bytes, 1_448);
        assert_eq!(find("mended").truth()[0].tcp.out_of_order, 1);
        assert_eq!(find("mended-and-more").truth()[0].tcp.retransmitted_bytes, 200);
        assert_eq!(find("zero-window").truth()[0].tcp.zero_windows, 1);
        assert_eq!(find("early-answer").truth()[0].times.server(), None);
        assert!(find("answer-before-request").truth()[0].times.ttfb().is_none());
        assert_eq!(find("doubled").packets().len(), 2 * plain.packets().len());
    }

    #[test]
    fn seeds_change_times_and_numbers_only() {
        for (one, two) in variants(1).iter().zip(&variants(2)) {
            let ranges = |variant: &Variant| -> Vec<_> {
                variant
                    .conversation
                    .packets()
                    .iter()
                    .map(|packet| (packet.from, packet.range.clone()))
                    .collect()
            };
            // Where a packet is put between others by time the order may differ.
            if !one.name.starts_with("sent-again") && !one.name.starts_with("mended") && one.name != "doubled"
            {
                assert_eq!(ranges(one), ranges(two), "{}", one.name);
            }
            assert_ne!(one.conversation.pcap(), two.conversation.pcap());
        }
        assert_eq!(variants(1)[0].conversation.pcap(), variants(1)[0].conversation.pcap());
    }
}
