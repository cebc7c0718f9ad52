//! Standard output, pipes and devices: one stream of buffers, written by a thread of its own.
//!
//! A pipe is as slow as whoever reads it. The queue to the writer thread is bounded; when it is full a worker
//! waits, and the ring takes up what arrives meanwhile. A reader that closes the pipe ends the run normally.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, SendTimeoutError, Sender, bounded};
use gannet_packet::LinkType;
use gannet_pcap::{classic, ng};
use gannet_ring::buffer::AlignedBuffer;

use crate::compact::{BUFFER_BYTES, Encoding};
use crate::file::{InterfaceDescription, InterfaceKey, lock, section};

/// The shared end of a stream.
pub struct StreamSeries {
    name: String,
    link_type: LinkType,
    snaplen: u32,
    encoding: Encoding,
    interfaces: Mutex<Vec<InterfaceKey>>,
    queue: Mutex<Option<Sender<Chunk>>>,
    spare: Receiver<AlignedBuffer>,
    outcome: Arc<Outcome>,
    /// The writer thread's file, as long as it is there.
    watched: Weak<File>,
    deadline: OnceLock<Instant>,
    /// What the writer thread will own.
    equipment: Mutex<Option<Equipment>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The writer thread's.
struct Equipment {
    file: Arc<File>,
    chunks: Receiver<Chunk>,
    give_back: Sender<AlignedBuffer>,
}

/// Bytes for the stream.
#[derive(Debug)]
enum Chunk {
    /// Whole packets: memory, length, packets, captured bytes.
    Packets(AlignedBuffer, usize, u64, u64),
    /// Headers.
    Raw(Vec<u8>),
}

/// What has become of what was sent.
#[derive(Debug, Default)]
struct Outcome {
    closed: AtomicBool,
    error: Mutex<Option<io::Error>>,
    written_packets: AtomicU64,
    written_bytes: AtomicU64,
    stream_bytes: AtomicU64,
}

impl StreamSeries {
    /// Queues the file header; nothing is written before [`StreamSeries::start`].
    pub fn new(name: String, file: File, link_type: LinkType, snaplen: u32, encoding: Encoding) -> Self {
        let (queue, chunks) = bounded(QUEUE_CHUNKS);
        let (give_back, spare) = bounded(QUEUE_CHUNKS + 1);
        let mut header = Vec::new();
        match encoding {
            Encoding::Pcapng => ng::section_header(&mut header, &section()),
            Encoding::Pcap(precision) => {
                header.extend_from_slice(&classic::file_header(precision, link_type, snaplen));
            }
        }
        let file = Arc::new(file);
        let series = Self {
            name,
            link_type,
            snaplen,
            encoding,
            interfaces: Mutex::default(),
            queue: Mutex::new(Some(queue)),
            spare,
            outcome: Arc::default(),
            watched: Arc::downgrade(&file),
            deadline: OnceLock::new(),
            equipment: Mutex::new(Some(Equipment { file, chunks, give_back })),
            thread: Mutex::default(),
        };
        series.send(Chunk::Raw(header));
        series
    }

    /// Starts the writer thread.
    pub fn start(&self) -> io::Result<()> {
        let Some(equipment) = lock(&self.equipment).take() else { return Ok(()) };
        let outcome = Arc::clone(&self.outcome);
        let thread = std::thread::Builder::new()
            .name("stream".to_owned())
            .spawn(move || write_chunks(equipment, &outcome))?;
        *lock(&self.thread) = Some(thread);
        Ok(())
    }

    /// What the output is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Format.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The number of an interface, whose block goes into the stream when it is asked for the first time.
    pub fn interface(&self, key: InterfaceKey, describe: impl FnOnce() -> InterfaceDescription) -> u32 {
        let mut interfaces = lock(&self.interfaces);
        if let Some(index) = interfaces.iter().position(|known| *known == key) {
            return index as u32;
        }
        if self.encoding == Encoding::Pcapng {
            // Under the lock, so that blocks are sent in the order of their numbers, before any packet of theirs.
            self.send(Chunk::Raw(describe().block(self.link_type, self.snaplen)));
        }
        interfaces.push(key);
        interfaces.len() as u32 - 1
    }

    /// A buffer to fill: one that has been written, or a new one.
    pub fn buffer(&self) -> AlignedBuffer {
        self.spare.try_recv().unwrap_or_else(|_| AlignedBuffer::new(BUFFER_BYTES))
    }

    /// Hands over a buffer of whole packets. False if the stream is closed: they are not written then.
    pub fn send_packets(&self, bytes: AlignedBuffer, len: usize, packets: u64, packet_bytes: u64) -> bool {
        self.send(Chunk::Packets(bytes, len, packets, packet_bytes))
    }

    /// True if `chunks` more would have to wait for the reader. A closed stream is not waited for; nor has a queue more
    /// room than when it is empty.
    pub fn would_wait(&self, chunks: usize) -> bool {
        if self.is_closed() {
            return false;
        }
        lock(&self.queue).as_ref().is_some_and(|queue| queue.len() + chunks.min(QUEUE_CHUNKS) > QUEUE_CHUNKS)
    }

    /// The run is to end: a reader that does not read is waited for only a moment longer.
    pub fn hurry(&self) {
        self.deadline.get_or_init(|| Instant::now() + PATIENCE_AT_THE_END);
    }

    fn is_overdue(&self) -> bool {
        self.deadline.get().is_some_and(|deadline| Instant::now() >= *deadline)
    }

    fn send(&self, mut chunk: Chunk) -> bool {
        let Some(queue) = lock(&self.queue).clone() else { return false };
        loop {
            if self.is_closed() || self.is_overdue() {
                return false;
            }
            match queue.send_timeout(chunk, CLOSED_CHECK) {
                Ok(()) => return true,
                Err(SendTimeoutError::Timeout(back)) => chunk = back,
                Err(SendTimeoutError::Disconnected(_)) => return false,
            }
        }
    }

    /// Closes the stream if by `has_gone` nobody reads it any more.
    pub fn look_for_reader(&self, has_gone: impl Fn(&File) -> bool) {
        if !self.is_closed() && self.watched.upgrade().is_some_and(|file| has_gone(&file)) {
            self.outcome.closed.store(true, Ordering::Release);
        }
    }

    /// True once the reader has gone or a write has failed.
    pub fn is_closed(&self) -> bool {
        self.outcome.closed.load(Ordering::Acquire)
    }

    /// Packets and captured bytes that have been written.
    pub fn written(&self) -> (u64, u64) {
        (
            self.outcome.written_packets.load(Ordering::Acquire),
            self.outcome.written_bytes.load(Ordering::Acquire),
        )
    }

    /// Writes what is queued and ends the thread. After that it is known whether the reader has gone.
    pub fn drain(&self) {
        lock(&self.queue).take();
        if let Some(thread) = lock(&self.thread).take() {
            while !thread.is_finished() && !self.is_overdue() {
                std::thread::sleep(FINISH_POLL);
            }
            // A thread that is stuck in a write ends with the process; what it has not written counts as shed.
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
    }

    /// Like [`StreamSeries::drain`], and returns the size of the stream. A closed pipe is no error.
    pub fn finish(&self) -> io::Result<u64> {
        self.drain();
        match lock(&self.outcome.error).take() {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(self.outcome.stream_bytes.load(Ordering::Acquire)),
        }
    }
}

fn write_chunks(equipment: Equipment, outcome: &Outcome) {
    let Equipment { mut file, chunks, give_back } = equipment;
    let mut failed = false;
    for chunk in chunks {
        if failed {
            continue;
        }
        let result = match &chunk {
            Chunk::Packets(bytes, len, ..) => file.write_all(&bytes[..*len]),
            Chunk::Raw(bytes) => file.write_all(bytes),
        };
        match (result, chunk) {
            (Ok(()), Chunk::Packets(bytes, len, packets, packet_bytes)) => {
                outcome.stream_bytes.fetch_add(len as u64, Ordering::AcqRel);
                outcome.written_bytes.fetch_add(packet_bytes, Ordering::AcqRel);
                outcome.written_packets.fetch_add(packets, Ordering::AcqRel);
                let _ = give_back.try_send(bytes);
            }
            (Ok(()), Chunk::Raw(bytes)) => {
                outcome.stream_bytes.fetch_add(bytes.len() as u64, Ordering::AcqRel);
            }
            (Err(error), _) => {
                failed = true;
                *lock(&outcome.error) = Some(error);
                outcome.closed.store(true, Ordering::Release);
            }
        }
    }
}

/// Buffers between the workers and the writer thread: enough to keep it busy, few enough that what is in them is
/// soon out.
const QUEUE_CHUNKS: usize = 8;

/// How long a reader that has stopped reading is waited for once the run is to end.
const PATIENCE_AT_THE_END: Duration = Duration::from_secs(2);

/// How often the end of the writer thread is looked for.
const FINISH_POLL: Duration = Duration::from_millis(2);

/// How often a waiting worker looks whether the stream has been closed.
const CLOSED_CHECK: Duration = Duration::from_millis(50);
