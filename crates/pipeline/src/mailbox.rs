//! From worker to worker: what a worker found that is of another one's flows.
//!
//! The kernel gives a worker whole flows as far as its fanout program sees them. What it does not see (other tunnels, datagrams in
//! fragments) arrives anywhere, and is copied to the worker of its flow.
//!
//! ```text
//!   worker 0                       ┌── filled ──► ┐                                worker 1
//!     open parcel for 1 ─ full, ──►│  one mailbox │──► between blocks: each segment to the flow table
//!     (segments, copied)  block    └── emptied ◄──┘        parcels go back
//!                         over
//! ```
//!
//! There is a mailbox for each pair of workers in each direction, so it has one writer and one reader. Parcels are the memory:
//! [`PARCELS`] of [`PARCEL_BYTES`] for each mailbox, made when they are needed first and used again and again. If all are filled, the
//! reader is behind, and what comes is shed and counted. Somebody who sleeps is woken.
//!
//! At the end everybody goes on reading until nobody writes any more.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam::queue::ArrayQueue;
use gannet_flow::{IcmpError, Moment, QuotedSegment, Segment};
use gannet_packet::{End, FlowKey, Side, Surroundings, TcpHeader};
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
#[derive(Debug, Default)]
struct Parcel {
    letters: Vec<Letter>,
    bytes: Vec<u8>,
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
    /// Bare packets come to the worker that [`other_owner`](Self::other_owner) tells.
    knows_bare: bool,
    /// It may still write.
    writing: bool,
}

impl Post {
    /// Of worker `worker`. `fanout` is how the kernel chooses a worker.
    pub(crate) fn new(office: &Arc<PostOffice>, worker: usize, fanout: FanoutMode) -> Self {
        let open = (0..office.workers).map(|_| (None, 0)).collect();
        Self {
            office: Arc::clone(office),
            worker,
            open,
            knows_bare: fanout == FanoutMode::Flow,
            writing: true,
        }
    }

    /// The worker of a flow, if that is another one. It is the one that the fanout program chooses for bare packets; where the
    /// kernel chooses by itself only flows in tunnels can be shared out, and what is `bare` stays where it is.
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
            Found::Nothing => return true,
        };
        let len = parts[0].len() + parts[1].len();
        if let Some((Some(parcel), _)) = self.open.get(owner)
            && (parcel.bytes.len() + len > PARCEL_BYTES || parcel.letters.len() == PARCEL_LETTERS)
        {
            self.send(owner);
        }
        let Some(parcel) = self.parcel(owner) else { return false };
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

    /// Gives everything that others sent to `taker`, the letters of each in the order in which they were written.
    pub(crate) fn take(&mut self, mut taker: impl FnMut(Found<'_>, End, Account)) {
        let office = &self.office;
        for from in (0..office.workers).filter(|&from| from != self.worker) {
            let Some(mailbox) = office.mailbox(from, self.worker) else { continue };
            // A bounded number, however fast it is filled.
            for _ in 0..PARCELS {
                let Some(mut parcel) = mailbox.filled.pop() else { break };
                parcel.read(&mut taker);
                // As many places as parcels.
                let _ = mailbox.emptied.push(parcel);
            }
        }
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
        if let (Some(parcel), Some(mailbox)) = (open.take(), self.office.mailbox(self.worker, owner)) {
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
    }
}

/// Bytes of a parcel: a quarter of a ring block. A packet that is larger makes its parcel larger.
const PARCEL_BYTES: usize = 256 << 10;

/// Letters of a parcel: packets of 64 bytes fill it as well.
const PARCEL_LETTERS: usize = 1 << 10;

/// Parcels of a mailbox: four ring blocks of large packets. Fewer shed when a worker is kept from its CPU for a moment; more
/// keep more memory, which is 6 MiB for each of the mailboxes that are used.
const PARCELS: usize = 16;
