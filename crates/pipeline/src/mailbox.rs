//! From worker to worker: what a worker found that is of another one's flows.
//!
//! The kernel gives a worker whole flows as far as its fanout program sees them. What it does not see (other tunnels,
//! datagrams in fragments) arrives anywhere, and is copied to the worker of its flow.
//!
//! ```text
//!   worker 0                       ┌── filled ──► ┐                                worker 1
//!     open parcel for 1 ─ full, ──►│  one mailbox │──► between blocks: each segment to the flow table
//!     (segments, copied)  block    └── emptied ◄──┘        parcels go back
//!                         over
//! ```
//!
//! There is a mailbox for each pair of workers in each direction, so it has one writer and one reader. Parcels are
//! the memory: [`PARCELS`] of [`PARCEL_BYTES`] for each mailbox, made when they are needed first and used again and
//! again. If all are filled, the reader is behind, and what comes is shed and counted. Somebody who sleeps is woken.
//!
//! Blocks of all workers become ready at moments of their own. A worker lets a parcel wait until its own rings have
//! come to the time of the parcel, so that a handshake that it was given by the kernel is in front of data that it
//! was sent; for a bounded time, as it may be given nothing, and only while the mailbox is less than half full.
//!
//! At the end everybody goes on reading until nobody writes any more.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;
use gannet_flow::{Heard, IcmpError, Moment, QuotedSegment, Segment};
use gannet_packet::{End, FlowKey, Side, Surroundings, TcpHeader, Timestamp};
use gannet_ring::fanout::{FLOW_SEED, FanoutMode, key_hash};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::error::Error;
use crate::intake::Found;

/// What something that was found counts for in the ledger, with its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// A packet.
    Packet(u64),
    /// A datagram that was put together.
    Datagram(u64),
    /// What has an account already: the same packet is told to two.
    Told,
}

/// The mailboxes of a run.
#[derive(Debug)]
pub(crate) struct PostOffice {
    workers: usize,
    /// From worker `a` to worker `b`: at `a * workers + b`.
    boxes: Vec<Mailbox>,
    /// Wake workers that sleep.
    bells: Vec<EventFd>,
    /// Workers that may still write.
    writers: AtomicUsize,
}

#[derive(Debug)]
struct Mailbox {
    filled: ArrayQueue<Parcel>,
    emptied: ArrayQueue<Parcel>,
}

/// Many letters and the bytes they are about.
#[derive(Debug)]
struct Parcel {
    letters: Vec<Letter>,
    bytes: Vec<u8>,
    /// The latest time of a packet in it.
    newest: Timestamp,
    /// When it was sent.
    sent: Instant,
}

#[derive(Debug)]
struct Letter {
    account: Account,
    end: End,
    contents: Contents,
}

/// What was found, its bytes being in the parcel.
#[derive(Debug)]
enum Contents {
    Segment {
        key: FlowKey,
        side: Side,
        tcp: TcpHeader,
        options_len: u8,
        payload_len: u32,
        wire_len: u32,
        moment: Moment,
        interface: u32,
        ip_id: u16,
        around: Surroundings,
        ip_bytes: u32,
    },
    Error {
        error: IcmpError,
        quoted: QuotedSegment,
        now: Moment,
    },
    Heard(Heard),
}

impl PostOffice {
    /// Mailboxes between so many workers, all of whom are going to write.
    pub(crate) fn new(workers: usize) -> Result<Arc<Self>, Error> {
        let boxes = (0..workers * workers)
            .map(|_| Mailbox { filled: ArrayQueue::new(PARCELS), emptied: ArrayQueue::new(PARCELS) })
            .collect();
        let bell = || EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC);
        let bells = (0..workers).map(|_| bell()).collect::<Result<_, _>>();
        let bells = bells.map_err(|errno| Error::Thread(errno.into()))?;
        Ok(Arc::new(Self { workers, boxes, bells, writers: AtomicUsize::new(workers) }))
    }

    fn mailbox(&self, from: usize, to: usize) -> Option<&Mailbox> {
        self.boxes.get(from * self.workers + to)
    }
}

/// One worker's access to the mailboxes.
#[derive(Debug)]
pub(crate) struct Post {
    office: Arc<PostOffice>,
    worker: usize,
    /// For each worker: the parcel that is being filled, and how many were made.
    open: Vec<(Option<Parcel>, usize)>,
    /// For each worker: the oldest parcel from it, which waits until our rings have come to its time.
    waiting: Vec<Option<Parcel>>,
    /// How long it waits at most.
    patience: Duration,
    /// Bare packets come to the worker that [`other_owner`](Self::other_owner) tells.
    knows_bare: bool,
    /// It may still write.
    writing: bool,
}

impl Post {
    /// Of worker `worker`. `fanout` is how the kernel chooses a worker, `patience` how long a packet may be in a ring
    /// before the worker sees it.
    pub(crate) fn new(
        office: &Arc<PostOffice>,
        worker: usize,
        fanout: FanoutMode,
        patience: Duration,
    ) -> Self {
        let open = (0..office.workers).map(|_| (None, 0)).collect();
        Self {
            office: Arc::clone(office),
            worker,
            open,
            waiting: (0..office.workers).map(|_| None).collect(),
            patience,
            knows_bare: fanout == FanoutMode::Flow,
            writing: true,
        }
    }

    /// The worker of a flow, if that is another one. It is the one that the fanout program chooses for bare packets;
    /// where the kernel chooses by itself only flows in tunnels can be shared out, and what is `bare` stays where it
    /// is.
    #[inline]
    pub(crate) fn other_owner(&self, key: &FlowKey, bare: bool) -> Option<usize> {
        if bare && !self.knows_bare {
            return None;
        }
        let owner = key_hash(key, FLOW_SEED) as usize % self.office.workers.max(1);
        (owner != self.worker).then_some(owner)
    }

    /// Copies something for `owner`. False if it is too far behind.
    pub(crate) fn give(&mut self, owner: usize, found: &Found<'_>, end: End, account: Account) -> bool {
        let (contents, parts): (_, [&[u8]; 2]) = match found {
            &Found::Segment(ref segment, ip_bytes) => {
                let &Segment { key, side, tcp, options, payload, wire_len, moment, interface, ip_id, around } =
                    segment;
                let contents = Contents::Segment {
                    key,
                    side,
                    tcp,
                    // At most 40 bytes, and less than 4 GiB.
                    options_len: options.len() as u8,
                    payload_len: payload.len() as u32,
                    wire_len,
                    moment,
                    interface,
                    ip_id,
                    around,
                    ip_bytes,
                };
                (contents, [options, payload])
            }
            &Found::Error { error, quoted, now } => (Contents::Error { error, quoted, now }, [&[], &[]]),
            &Found::Heard(heard) => (Contents::Heard(heard), [&[], &[]]),
            Found::Nothing => return true,
        };
        let len = parts[0].len() + parts[1].len();
        if let Some((Some(parcel), _)) = self.open.get(owner)
            && (parcel.bytes.len() + len > PARCEL_BYTES || parcel.letters.len() == PARCEL_LETTERS)
        {
            self.send(owner);
        }
        let Some(parcel) = self.parcel(owner) else { return false };
        parcel.newest = parcel.newest.max(found.time());
        parts.into_iter().for_each(|part| parcel.bytes.extend_from_slice(part));
        parcel.letters.push(Letter { account, end, contents });
        true
    }

    /// Sends what was copied: at the end of each block.
    pub(crate) fn send_all(&mut self) {
        for owner in 0..self.open.len() {
            self.send(owner);
        }
    }

    /// Gives what others sent to `taker`, the letters of each in the order in which they were written. What is later
    /// than `reached`, the time to which the own rings have come, waits for a while.
    pub(crate) fn take(&mut self, reached: Timestamp, mut taker: impl FnMut(Found<'_>, End, Account)) {
        let office = &self.office;
        for (from, waiting) in self.waiting.iter_mut().enumerate().filter(|(from, _)| *from != self.worker) {
            let Some(mailbox) = office.mailbox(from, self.worker) else { continue };
            // A bounded number, however fast it is filled.
            for _ in 0..PARCELS {
                let Some(mut parcel) = waiting.take().or_else(|| mailbox.filled.pop()) else { break };
                let is_due = parcel.newest <= reached
                    || !self.writing
                    || mailbox.filled.len() >= PARCELS / 2
                    || parcel.sent.elapsed() >= self.patience;
                if !is_due {
                    *waiting = Some(parcel);
                    break;
                }
                parcel.read(&mut taker);
                // As many places as parcels.
                let _ = mailbox.emptied.push(parcel);
            }
        }
    }

    /// Whether there is something that waits for the own rings.
    pub(crate) fn holds_back(&self) -> bool {
        self.waiting.iter().any(Option::is_some)
    }

    /// What to poll for mail.
    pub(crate) fn bell(&self) -> Option<BorrowedFd<'_>> {
        self.office.bells.get(self.worker).map(AsFd::as_fd)
    }

    /// The bell has been heard.
    pub(crate) fn hush(&self) {
        if let Some(bell) = self.office.bells.get(self.worker) {
            // It was not rung: fine as well.
            let _ = bell.read();
        }
    }

    /// This worker writes no more.
    pub(crate) fn close(&mut self) {
        self.send_all();
        if std::mem::take(&mut self.writing) {
            self.office.writers.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// True once nobody writes any more. What was written before is in the mailboxes then.
    pub(crate) fn is_over(&self) -> bool {
        self.office.writers.load(Ordering::Acquire) == 0
    }

    fn send(&mut self, owner: usize) {
        let Some((open, _)) = self.open.get_mut(owner) else { return };
        if open.as_ref().is_none_or(|parcel| parcel.letters.is_empty()) {
            return;
        }
        if let (Some(mut parcel), Some(mailbox)) = (open.take(), self.office.mailbox(self.worker, owner)) {
            parcel.sent = Instant::now();
            // As many places as parcels.
            let _ = mailbox.filled.push(parcel);
        }
        if let Some(bell) = self.office.bells.get(owner) {
            // Only a bell that has been rung 2^64 times cannot be rung again.
            let _ = bell.write(1);
        }
    }

    /// The parcel to fill for `owner`; `None` if all are on the way.
    fn parcel(&mut self, owner: usize) -> Option<&mut Parcel> {
        let mailbox = self.office.mailbox(self.worker, owner)?;
        let (open, made) = self.open.get_mut(owner)?;
        if open.is_none() {
            *open = mailbox.emptied.pop();
        }
        if open.is_none() && *made < PARCELS {
            *made += 1;
            *open = Some(Parcel {
                letters: Vec::with_capacity(PARCEL_LETTERS),
                bytes: Vec::with_capacity(PARCEL_BYTES),
                newest: Timestamp::default(),
                sent: Instant::now(),
            });
        }
        open.as_mut()
    }
}

impl Drop for Post {
    /// Nobody waits for a worker that has panicked.
    fn drop(&mut self) {
        self.close();
    }
}

impl Parcel {
    /// Reads all letters and is empty then.
    fn read(&mut self, taker: &mut impl FnMut(Found<'_>, End, Account)) {
        let mut rest = &self.bytes[..];
        for Letter { account, end, contents } in self.letters.drain(..) {
            let found = match contents {
                Contents::Error { error, quoted, now } => Found::Error { error, quoted, now },
                Contents::Heard(heard) => Found::Heard(heard),
                Contents::Segment {
                    key,
                    side,
                    tcp,
                    options_len,
                    payload_len,
                    wire_len,
                    moment,
                    interface,
                    ip_id,
                    around,
                    ip_bytes,
                } => {
                    let (options, behind) = rest.split_at_checked(options_len.into()).unwrap_or((&[], &[]));
                    let (payload, behind) =
                        behind.split_at_checked(payload_len as usize).unwrap_or((&[], &[]));
                    rest = behind;
                    let segment = Segment {
                        key,
                        side,
                        tcp,
                        options,
                        payload,
                        wire_len,
                        moment,
                        interface,
                        ip_id,
                        around,
                    };
                    Found::Segment(segment, ip_bytes)
                }
            };
            taker(found, end, account);
        }
        self.bytes.clear();
        self.newest = Timestamp::default();
    }
}

/// Bytes of a parcel: a quarter of a ring block. A packet that is larger makes its parcel larger.
const PARCEL_BYTES: usize = 256 << 10;

/// Letters of a parcel: packets of 64 bytes fill it as well.
const PARCEL_LETTERS: usize = 1 << 10;

/// Parcels of a mailbox: four ring blocks of large packets. Fewer shed when a worker is kept from its CPU for a
/// moment; more keep more memory, which is 6 MiB for each of the mailboxes that are used.
const PARCELS: usize = 16;

#[cfg(test)]
mod tests {
    use gannet_packet::{Frame, LinkType, Packet, PacketType};
    use gannet_testkit::conversation::{Dialogue, Manner, Peer, Setup};

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    /// Two workers that give each other everything.
    fn pair(patience: Duration) -> [Post; 2] {
        let office = PostOffice::new(2).unwrap();
        [0, 1].map(|worker| Post::new(&office, worker, FanoutMode::Flow, patience))
    }

    /// A frame with payload.
    fn bytes() -> Vec<u8> {
        let mut dialogue = Dialogue::new(Setup::default(), Manner::default());
        dialogue.open().say(Peer::Client, 100);
        let conversation = dialogue.finish();
        conversation.packets().iter().find(|packet| !packet.range.is_empty()).unwrap().frame.clone()
    }

    /// Gives the frame of that time from the one to the other.
    fn give(from: &mut Post, to: usize, bytes: &[u8], time: u64) -> bool {
        let frame = Frame {
            data: bytes,
            timestamp: Timestamp(time),
            orig_len: bytes.len() as u32,
            link_type: LinkType::ETHERNET,
            interface: 0,
            packet_type: PacketType::Host,
        };
        let packet = Packet::decode(&frame);
        let found = Found::in_packet(&frame, &packet, time);
        assert!(matches!(found, Found::Segment(..)));
        from.give(to, &found, packet.end, Account::Packet(time))
    }

    /// Takes what there is. The times, after a look at what else must have come with them.
    fn take(post: &mut Post, reached: u64, bytes: &[u8]) -> Vec<u64> {
        let mut times = Vec::new();
        post.take(Timestamp(reached), |found, end, account| {
            let Found::Segment(segment, ip_bytes) = found else { panic!("{found:?}") };
            let time = segment.moment.time.0;
            assert_eq!(
                (end, account, segment.moment.position),
                (End::Transport, Account::Packet(time), time)
            );
            assert!(bytes.ends_with(segment.payload) && !segment.payload.is_empty());
            assert_eq!(segment.options, &bytes[14 + 20 + 20..bytes.len() - segment.payload.len()]);
            assert_eq!(ip_bytes as usize, bytes.len() - 14);
            times.push(time);
        });
        times
    }

    #[test]
    fn letters_arrive_as_they_were_in_their_order() {
        let ([mut zero, mut one], bytes) = (pair(LONG), bytes());
        for time in 1..=3 {
            assert!(give(&mut zero, 1, &bytes, time));
        }
        assert!(take(&mut one, 9, &bytes).is_empty(), "not sent");
        zero.send_all();
        assert!(take(&mut zero, 9, &bytes).is_empty());
        assert_eq!(take(&mut one, 9, &bytes), [1, 2, 3]);
        assert!(take(&mut one, 9, &bytes).is_empty());
    }

    #[test]
    fn what_is_ahead_of_the_rings_waits_for_a_while() {
        let bytes = bytes();
        let [mut zero, mut one] = pair(LONG);
        for time in [5, 7] {
            give(&mut zero, 1, &bytes, time);
            zero.send_all();
        }
        assert!(take(&mut one, 4, &bytes).is_empty());
        assert!(one.holds_back());
        assert_eq!(take(&mut one, 6, &bytes), [5]);
        assert!(one.holds_back());
        assert_eq!(take(&mut one, 7, &bytes), [7]);
        assert!(!one.holds_back());

        let [mut zero, mut one] = pair(Duration::ZERO);
        give(&mut zero, 1, &bytes, 5);
        zero.send_all();
        assert_eq!(take(&mut one, 4, &bytes), [5], "its time is over");
    }

    #[test]
    fn a_full_mailbox_refuses_and_its_parcels_are_used_again() {
        let ([mut zero, mut one], bytes) = (pair(LONG), bytes());
        for round in 0..3 {
            let accepted = (0..u64::MAX).take_while(|_| give(&mut zero, 1, &bytes, 5)).count();
            assert_eq!(accepted, PARCELS * PARCEL_LETTERS, "round {round}");
            assert!(!give(&mut zero, 1, &bytes, 5));
            assert_eq!(zero.open[1].1, PARCELS, "made in the first round, and no more");
            // So full that it waits for nothing until half is gone.
            let at_once = take(&mut one, 0, &bytes).len();
            assert!((PARCELS / 2..PARCELS).contains(&(at_once / PARCEL_LETTERS)), "{at_once}");
            assert_eq!(at_once + take(&mut one, 5, &bytes).len(), accepted);
        }
    }

    #[test]
    fn the_end_is_when_nobody_writes_any_more_and_nothing_is_lost() {
        let ([mut zero, mut one], bytes) = (pair(LONG), bytes());
        give(&mut zero, 1, &bytes, 5);
        give(&mut one, 0, &bytes, 6);
        zero.close();
        zero.close();
        assert!(!zero.is_over(), "the other one may still write");
        assert!(take(&mut one, 0, &bytes).is_empty(), "it still has rings to read");
        one.close();
        assert!(zero.is_over() && one.is_over());
        assert_eq!(take(&mut zero, 0, &bytes), [6]);
        assert_eq!(take(&mut one, 0, &bytes), [5]);
    }

    #[test]
    fn a_worker_that_panics_is_not_waited_for() {
        let [mut zero, one] = pair(LONG);
        zero.close();
        drop(one);
        assert!(zero.is_over());
    }

    #[test]
    fn bare_flows_stay_where_only_the_kernel_knows_the_owner() {
        let office = PostOffice::new(2).unwrap();
        let bytes = bytes();
        let frame = Frame {
            data: &bytes,
            timestamp: Timestamp(0),
            orig_len: bytes.len() as u32,
            link_type: LinkType::ETHERNET,
            interface: 0,
            packet_type: PacketType::Host,
        };
        let (key, _) = Packet::decode(&frame).flow.unwrap();
        let owners = |fanout, bare| {
            [0, 1].map(|worker| Post::new(&office, worker, fanout, LONG).other_owner(&key, bare))
        };
        for bare in [false, true] {
            let [of_zero, of_one] = owners(FanoutMode::Flow, bare);
            assert!(matches!((of_zero, of_one), (Some(1), None) | (None, Some(0))), "{of_zero:?} {of_one:?}");
        }
        assert_eq!(owners(FanoutMode::Hash, true), [None, None]);
        assert_eq!(owners(FanoutMode::Hash, false), owners(FanoutMode::Flow, false));
    }
}
