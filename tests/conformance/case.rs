//! What a case is: packets, and the records that they are worth.

use gannet_testkit::conversation::{Builder, Conversation, Peer, Setup};
use serde_json::Value;

pub(super) use gannet_testkit::conversation::Peer::{Client, Server};

/// A trap and what must come of it.
pub(super) struct Case {
    /// For file names, messages and the table.
    pub(super) name: &'static str,
    /// Which of the [statements](super::statements) it is about.
    pub(super) statements: &'static [&'static str],
    /// The trap in a few words.
    pub(super) trap: &'static str,
    pub(super) make: Make,
    /// Further words for `gannet http`.
    pub(super) words: &'static str,
    /// The records, as [`super::line`] writes them.
    pub(super) records: &'static [&'static str],
    /// What else is in a record: its number, a JSON pointer, the value there; null for a field that is null or absent.
    pub(super) also: Vec<(usize, &'static str, Value)>,
    /// How tshark compares.
    pub(super) verdict: Verdict,
    /// The same bytes cut otherwise make the same records.
    pub(super) cut_anywhere: bool,
    /// The same packets in another order that a capture may have make the same records, but for what times are worth.
    pub(super) any_order: bool,
}

/// Who is right where tshark says something else, and why.
#[derive(Clone, Copy)]
pub(super) enum Verdict {
    /// It says the same.
    Same,
    Gannet(&'static str),
    /// Each in its own terms.
    Both(&'static str),
}

/// How the packets of a case come about.
pub(super) enum Make {
    /// What two ends say, captured as it was sent.
    Talk(fn(&mut Talk)),
    /// The same, and what became of it on the way into the capture.
    Damaged(fn(&mut Talk), fn(&mut Conversation)),
    /// Frames of any kind.
    Frames(fn(&Stage) -> Vec<Frame>),
}

/// A captured frame.
#[derive(Clone)]
pub(super) struct Frame {
    pub(super) time_ns: u64,
    pub(super) orig_len: u32,
    pub(super) bytes: Vec<u8>,
}

impl Case {
    fn new(
        name: &'static str,
        statements: &'static [&'static str],
        trap: &'static str,
        make: Make,
        records: &'static [&'static str],
    ) -> Self {
        Self {
            name,
            statements,
            trap,
            cut_anywhere: matches!(make, Make::Talk(_)),
            make,
            words: "",
            records,
            also: Vec::new(),
            verdict: Verdict::Same,
            any_order: false,
        }
    }

    /// A conversation of which nothing is missing.
    pub(super) fn talk(
        name: &'static str,
        statements: &'static [&'static str],
        trap: &'static str,
        script: fn(&mut Talk),
        records: &'static [&'static str],
    ) -> Self {
        Self::new(name, statements, trap, Make::Talk(script), records)
    }

    /// A conversation that is not captured as it was sent.
    pub(super) fn damaged(
        name: &'static str,
        statements: &'static [&'static str],
        trap: &'static str,
        script: fn(&mut Talk),
        damage: fn(&mut Conversation),
        records: &'static [&'static str],
    ) -> Self {
        Self::new(name, statements, trap, Make::Damaged(script, damage), records)
    }

    /// Frames that no single conversation has.
    pub(super) fn frames(
        name: &'static str,
        statements: &'static [&'static str],
        trap: &'static str,
        make: fn(&Stage) -> Vec<Frame>,
        records: &'static [&'static str],
    ) -> Self {
        Self::new(name, statements, trap, Make::Frames(make), records)
    }

    pub(super) fn words(mut self, words: &'static str) -> Self {
        self.words = words;
        self
    }

    pub(super) fn also(mut self, record: usize, pointer: &'static str, value: impl Into<Value>) -> Self {
        self.also.push((record, pointer, value.into()));
        self
    }

    /// tshark says something else and is wrong.
    pub(super) fn gannet(mut self, why: &'static str) -> Self {
        self.verdict = Verdict::Gannet(why);
        self
    }

    /// tshark says something else and means the same.
    pub(super) fn both(mut self, why: &'static str) -> Self {
        self.verdict = Verdict::Both(why);
        self
    }

    /// The records depend on where segments end: the case is about that, or more cannot be known.
    pub(super) fn only_as_cut(mut self) -> Self {
        self.cut_anywhere = false;
        self
    }

    pub(super) fn any_order(mut self) -> Self {
        self.any_order = true;
        self
    }

    /// The frames of the case on `stage`.
    pub(super) fn film(&self, stage: &Stage) -> Vec<Frame> {
        match self.make {
            Make::Talk(script) => shot(&stage.talk(script)),
            Make::Damaged(script, damage) => {
                let mut conversation = stage.talk(script);
                damage(&mut conversation);
                shot(&conversation)
            }
            Make::Frames(make) => make(stage),
        }
    }
}

impl Frame {
    pub(super) fn of(packet: &gannet_testkit::conversation::Packet) -> Self {
        Self { time_ns: packet.time_ns, orig_len: packet.orig_len, bytes: packet.frame.clone() }
    }
}

/// Where a case plays: addresses, times, and how long segments are.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) setup: Setup,
    /// Segments of at most so many bytes, whatever the script says.
    pub(super) cut: Option<usize>,
}

impl Stage {
    /// A conversation after its handshake.
    pub(super) fn talk(&self, script: impl FnOnce(&mut Talk)) -> Conversation {
        let mut builder = Builder::new(self.setup.clone());
        if let Some(bytes) = self.cut {
            builder.mss(bytes);
        }
        builder.handshake().wait(1_000_000);
        let mut talk = Talk { builder };
        script(&mut talk);
        talk.builder.finish()
    }
}

/// Two ends that say what they are told.
pub(super) struct Talk {
    pub(super) builder: Builder,
}

impl Talk {
    /// `from` sends bytes, which are acknowledged.
    pub(super) fn say(&mut self, from: Peer, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.builder.write(from, bytes.as_ref()).flush(from);
        self
    }

    pub(super) fn client(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.say(Client, bytes)
    }

    pub(super) fn server(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.say(Server, bytes)
    }

    /// Each piece in a segment of its own (or more), acknowledged together.
    pub(super) fn pieces(&mut self, from: Peer, pieces: &[impl AsRef<[u8]>]) -> &mut Self {
        for piece in pieces {
            let before = self.builder.packets();
            self.builder.write(from, piece.as_ref()).segments(from);
            assert!(self.builder.packets() > before, "an empty piece");
        }
        self.builder.ack(from.other());
        self
    }

    pub(super) fn get(&mut self, target: &str) -> &mut Self {
        self.client(get(target))
    }

    /// An answer of five bytes.
    pub(super) fn ok(&mut self) -> &mut Self {
        self.server(OK)
    }

    pub(super) fn wait_ms(&mut self, ms: u64) -> &mut Self {
        self.builder.wait(ms * 1_000_000);
        self
    }

    pub(super) fn close(&mut self, from: Peer) -> &mut Self {
        self.builder.close(from);
        self
    }

    pub(super) fn fin(&mut self, from: Peer) -> &mut Self {
        self.builder.fin(from);
        self
    }

    pub(super) fn reset(&mut self, from: Peer) -> &mut Self {
        self.builder.reset(from);
        self
    }
}

/// A request for `target` of host `h`.
pub(super) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")
}

/// A response of this status with this body.
pub(super) fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

pub(super) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// The frames of a conversation.
pub(super) fn shot(conversation: &Conversation) -> Vec<Frame> {
    conversation.packets().iter().map(Frame::of).collect()
}
