//! The kernel runs our programs and says what our machine says: filters of frames, attached to a socket pair.
//!
//! ```text
//!   frame ──send──► AF_UNIX datagram socket ──► program, run by the kernel ──► as many bytes as it returned, or nothing
//! ```
//!
//! A socket filter sees exactly what was sent, so programs for frames of a file run there as they are. The verdict
//! comes in bytes: each program is compiled to keep a few of them only, so that the number returned is seen, not only
//! whether it is 0.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic of a test is its report, in helpers as well")]

use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU64, Ordering};

use gannet_filter::{Link, Names, Options, Program, Skb, Snaplen, compile};
use gannet_ring::socket::attach_filter;
use gannet_testkit::filters::expression::Expressions;
use gannet_testkit::filters::frame::Frames;
use gannet_testkit::filters::oracle::LINKS;

/// Expressions per link type; those that are refused count too.
const EXPRESSIONS: u64 = 1_200;

/// Frames per expression.
const FRAMES: usize = 100;

/// What the kernel makes of one datagram after another.
struct Kernel {
    sender: UnixDatagram,
    receiver: UnixDatagram,
    buffer: Vec<u8>,
}

impl Kernel {
    fn new() -> Self {
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        receiver.set_nonblocking(true).unwrap();
        Self { sender, receiver, buffer: vec![0; 1 << 16] }
    }

    /// Bytes that arrive, `None` if the datagram does not. A program that keeps more than there is keeps all.
    fn verdict(&mut self, bytes: &[u8]) -> Option<usize> {
        self.sender.send(bytes).unwrap();
        self.receiver.recv(&mut self.buffer).ok()
    }
}

fn expected(program: &Program, bytes: &[u8]) -> Option<usize> {
    let kept = program.run(&Skb::of(bytes)) as usize;
    (kept > 0).then_some(kept.min(bytes.len()))
}

#[test]
fn the_kernel_agrees_with_our_machine() {
    let seed = std::env::var("GANNET_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    eprintln!("GANNET_SEED={seed}");
    let (pairs, kept) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for (number, link) in LINKS.into_iter().enumerate() {
            let (pairs, kept) = (&pairs, &kept);
            scope.spawn(move || {
                let (pairs_here, kept_here) = run(seed ^ (number as u64) << 32, link);
                pairs.fetch_add(pairs_here, Ordering::Relaxed);
                kept.fetch_add(kept_here, Ordering::Relaxed);
            });
        }
    });
    let (pairs, kept) = (pairs.into_inner(), kept.into_inner());
    eprintln!("{pairs} verdicts of the kernel are those of our machine, {kept} of them keep bytes");
    assert!(pairs > 100_000 && kept > pairs / 20, "{pairs} verdicts, {kept} keep bytes");
}

/// Verdicts compared, and those that kept bytes.
fn run(seed: u64, link: Link) -> (u64, u64) {
    let mut kernel = Kernel::new();
    let mut expressions = Expressions::new(seed, link);
    let mut frames = Frames::new(seed, link);
    let names = Names::default();
    let (mut pairs, mut kept) = (0, 0);
    for round in 0..EXPRESSIONS {
        let text = expressions.next_expression();
        let snaplen = match round % 4 {
            0 => Snaplen::Fixed(20),
            1 => Snaplen::Headers { extra: 3 },
            _ => Snaplen::Fixed(262_144),
        };
        // Unoptimised programs have more of everything that could be misread.
        let options = Options { link, snaplen, optimise: round % 3 != 0, netmask: 0, names: &names };
        let Ok(program) = compile(&text, &options) else { continue };
        attach_filter(kernel.receiver.as_fd(), &program)
            .unwrap_or_else(|error| panic!("the kernel refuses {text:?}: {error}\n{program}"));
        for _ in 0..FRAMES {
            let bytes = frames.next_frame().bytes;
            let verdict = kernel.verdict(&bytes);
            let expected = expected(&program, &bytes);
            assert_eq!(verdict, expected, "seed {seed}, {link:?}, {text:?}, {bytes:02x?}\n{program}");
            pairs += 1;
            kept += u64::from(verdict.is_some());
        }
    }
    (pairs, kept)
}
