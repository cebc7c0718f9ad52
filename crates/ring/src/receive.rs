//! A receive ring: a packet socket with its TPACKET_V3 blocks, in the order in which the kernel fills them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use gannet_filter::Program;

use crate::Error;
use crate::memory::{Block, RingMemory};
use crate::prelude;
use crate::socket::{KernelStatistics, PacketSocket, Target};
use crate::sys;

/// How a ring is to be made.
#[derive(Clone, Debug)]
pub struct RingConfig {
    /// Bytes of kernel memory asked for; less may be obtained, see [`ReceiveRing::shrunk_from`].
    pub ring_bytes: u64,
    /// Bytes per block: a multiple of the page size. A frame never spans two blocks.
    pub block_bytes: usize,
    /// After this time the kernel hands over a block that has frames but is not full.
    pub block_timeout: Duration,
    /// Promiscuous mode on a named interface.
    pub promiscuous: bool,
    /// Where time stamps come from.
    pub time_source: TimeSource,
}

/// Which clock stamps the packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeSource {
    /// The network card's clock where the driver has one and lets us, else the kernel's.
    #[default]
    Auto,
    /// The network card's clock; an error where there is none.
    Hardware,
    /// The kernel's clock, when it takes the packet from the driver.
    Software,
}

/// A packet socket and its ring. Nothing is received until [`ReceiveRing::open_filter`].
#[derive(Debug)]
pub struct ReceiveRing {
    socket: PacketSocket,
    memory: Arc<RingMemory>,
    /// Index of the block that the kernel fills next.
    next: usize,
    statistics: KernelStatistics,
    requested_bytes: u64,
    hardware_stamps: bool,
}

impl ReceiveRing {
    /// Opens a socket in the calling thread's network namespace, allocates and maps the ring, binds.
    ///
    /// A filter that rejects everything is in place, so that sockets can join a fanout group before any packet
    /// is taken. If the kernel has not the memory asked for, the ring shrinks until it fits
    /// ([`ReceiveRing::shrunk_from`] says so). Call this on the thread that will read the ring, pinned: the
    /// kernel allocates on the caller's memory node.
    pub fn open(target: Target, config: &RingConfig) -> Result<Self, Error> {
        let socket = PacketSocket::open(target)?;
        socket.ifindex()?;
        socket.integer_option(libc::PACKET_VERSION, TPACKET_V3, "PACKET_VERSION (TPACKET_V3)")?;
        let reserve = reserve_for(socket.hardware_type()?);
        socket.integer_option(libc::PACKET_RESERVE, reserve, "PACKET_RESERVE")?;
        let hardware_stamps = match config.time_source {
            TimeSource::Software => false,
            TimeSource::Hardware => socket.use_hardware_stamps().map(|()| true)?,
            // "any" would take stamps of different clocks side by side.
            TimeSource::Auto => *socket.target() != Target::Any && socket.use_hardware_stamps().is_ok(),
        };
        socket.set_filter(&prelude::reject_all())?;
        let block_count = allocate(&socket, config)?;
        let memory = RingMemory::map(&socket, config.block_bytes, block_count)
            .map_err(|source| socket.call("mmap of the ring", source))?;
        socket.bind()?;
        if config.promiscuous {
            socket.set_promiscuous()?;
        }
        Ok(Self {
            socket,
            memory: Arc::new(memory),
            next: 0,
            statistics: KernelStatistics::default(),
            requested_bytes: config.ring_bytes,
            hardware_stamps,
        })
    }

    /// The socket, for its options and for `poll`.
    pub fn socket(&self) -> &PacketSocket {
        &self.socket
    }

    /// Bytes of the ring that was obtained.
    pub fn ring_bytes(&self) -> u64 {
        self.memory.block_bytes() as u64 * self.memory.block_count() as u64
    }

    /// Blocks in the ring.
    pub fn block_count(&self) -> usize {
        self.memory.block_count()
    }

    /// The size asked for, if less was obtained.
    pub fn shrunk_from(&self) -> Option<u64> {
        let whole_blocks = self.requested_bytes / self.memory.block_bytes() as u64;
        (whole_blocks > self.memory.block_count() as u64).then_some(self.requested_bytes)
    }

    /// True if frames carry the network card's time.
    pub fn hardware_stamps(&self) -> bool {
        self.hardware_stamps
    }

    /// Lets packets in through `program`, see [`PacketSocket::set_filter`].
    pub fn open_filter(&self, program: &Program) -> Result<(), Error> {
        self.socket.set_filter(program)
    }

    /// Lets no further packet in. What the ring holds stays; the block that is open is handed over when its
    /// time-out ends.
    pub fn close_filter(&self) -> Result<(), Error> {
        self.socket.set_filter(&prelude::reject_all())
    }

    /// The next block if the kernel has finished it. Blocks come in the order of arrival, also when earlier ones
    /// are still with the disk.
    #[inline]
    pub fn next_block(&mut self) -> Option<Block> {
        let block = self.memory.take(self.next)?;
        self.next = (self.next + 1) % self.memory.block_count();
        Some(block)
    }

    /// True if a block is waiting to be taken: the reader lags behind the kernel.
    #[inline]
    pub fn has_queued(&self) -> bool {
        self.memory.is_waiting(self.next)
    }

    /// Reads the kernel's counters and returns the sums since the ring was made.
    pub fn statistics(&mut self) -> Result<KernelStatistics, Error> {
        let new = self.socket.read_statistics()?;
        self.statistics.received += new.received;
        self.statistics.dropped += new.dropped;
        self.statistics.freezes += new.freezes;
        Ok(self.statistics)
    }

    /// False once the interface that the socket was bound to has been removed, also if another one has its name now.
    pub fn is_bound(&self) -> bool {
        match (self.socket.bound_ifindex(), self.socket.ifindex()) {
            (Ok(bound), Ok(now)) => bound == now,
            _ => false,
        }
    }

    /// Binds the socket anew after its interface was removed and has come back with another index. Not possible
    /// for a member of a fanout group (`packet_do_bind` refuses): open a new ring then.
    pub fn rebind(&self, promiscuous: bool) -> Result<(), Error> {
        self.socket.bind()?;
        if promiscuous { self.socket.set_promiscuous() } else { Ok(()) }
    }
}

impl AsFd for ReceiveRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for ReceiveRing {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Room in front of each frame, so that its data starts on a multiple of 4 and a pcapng block header fits right
/// before it without moving the data.
///
/// Data starts at 82 + reserve for a 14-byte link header and at 96 + reserve without one (`tpacket_rcv`). 6 puts
/// Ethernet at 88, and at 84 once a VLAN tag is back; raw IP wants a multiple of 4.
fn reserve_for(hardware_type: u16) -> i32 {
    match crate::interfaces::link_type_of_arphrd(hardware_type) {
        Some(gannet_packet::LinkType::RAW) => 4,
        _ => 6,
    }
}

/// Allocates the ring on `socket`, in smaller steps if the kernel has not the memory. Returns its block count.
fn allocate(socket: &PacketSocket, config: &RingConfig) -> Result<usize, Error> {
    let block_bytes = config.block_bytes;
    let page =
        nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096) as usize;
    if block_bytes == 0 || !block_bytes.is_multiple_of(page) || block_bytes > MAX_BLOCK_BYTES {
        return Err(Error::BlockSize { bytes: block_bytes, page, max: MAX_BLOCK_BYTES });
    }
    let frames_per_block = block_bytes / NOMINAL_FRAME_BYTES;
    let wanted =
        (config.ring_bytes / block_bytes as u64).clamp(MIN_BLOCKS, MAX_FRAMES / frames_per_block as u64);
    let mut blocks = wanted;
    loop {
        let request = libc::tpacket_req3 {
            tp_block_size: block_bytes as u32,
            tp_block_nr: blocks as u32,
            tp_frame_size: NOMINAL_FRAME_BYTES as u32,
            tp_frame_nr: (blocks * frames_per_block as u64) as u32,
            // 0 would mean "derive from the link's speed".
            tp_retire_blk_tov: config.block_timeout.as_millis().clamp(1, 60_000) as u32,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        match sys::set_option(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_RX_RING, &request) {
            Ok(()) => return Ok(blocks as usize),
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && blocks > MIN_BLOCKS => {
                blocks = (blocks - blocks.div_ceil(8)).max(MIN_BLOCKS);
            }
            Err(source) if source.kind() == io::ErrorKind::OutOfMemory => {
                return Err(Error::NoRingMemory {
                    target: socket.target().to_string(),
                    bytes: blocks * block_bytes as u64,
                    source,
                });
            }
            Err(source) => return Err(socket.call("PACKET_RX_RING", source)),
        }
    }
}

/// The kernel wants a frame size although version 3 packs frames of any size; it must divide the block.
const NOMINAL_FRAME_BYTES: usize = 2048;

/// With fewer blocks the kernel would wait for us all the time.
const MIN_BLOCKS: u64 = 4;

/// Blocks times frames per block is a 32-bit number in the request (2^31 frames: a ring of 4 TiB).
const MAX_FRAMES: u64 = 1 << 31;

/// A block becomes part of a file as it is, and readers refuse pcapng blocks above 16 MiB; 8 MiB also bounds what
/// a crash can lose.
pub const MAX_BLOCK_BYTES: usize = 8 << 20;

/// `enum tpacket_versions`.
const TPACKET_V3: i32 = libc::tpacket_versions::TPACKET_V3 as i32;
