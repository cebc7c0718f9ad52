//! One capture file while it is being written: who writes where, how far the disk has room, what went wrong.
//!
//! ```text
//!   0        4096                                            next        allocated        limit
//!   │ header │ extent │ extent │ extent of another worker │ …  │  room     │                 │
//! ```
//!
//! Workers append by taking an extent: one compare-and-swap on `next`, no lock. An extent is only granted inside
//! what the disk has promised (`allocated`, kept ahead by the [`keeper`](crate::keeper)): a full disk is met by
//! the keeper, where it costs nothing, and not by a write in flight, where it would tear a hole.
//!
//! A write that fails all the same leaves a *fault*: its extent is covered with a filler block as soon as the
//! device lets us, and until then no further extent is granted, so that a file never has a hole in its middle that
//! readers stop at. What cannot be covered is cut off when the file is closed.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gannet_packet::{LinkType, Timestamp};
use gannet_pcap::classic::{self, Precision};
use gannet_pcap::ng;
use gannet_ring::buffer::AlignedBuffer;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, fallocate};

use crate::compact::Encoding;

/// A capture file on a file system, shared by the workers that append to it.
#[derive(Debug)]
pub struct CaptureFile {
    /// The name that the file has while it is written.
    path: PathBuf,
    /// The name that it gets when it is complete; the same for a single file.
    final_path: PathBuf,
    /// For large aligned writes: `O_DIRECT` where the file system has it.
    direct: Arc<File>,
    /// For small and odd ones: headers, tails, fillers.
    buffered: File,
    encoding: Encoding,
    link_type: LinkType,
    snaplen: u32,
    /// Offsets and lengths of extents are multiples of this.
    alignment: u64,
    limit: u64,
    next: AtomicU64,
    allocated: AtomicU64,
    /// The size that users see runs ahead of what is written: always in a directory, where the file has no final name
    /// yet; for a single file only under load, see [`CaptureFile::run_ahead`].
    size_ahead: AtomicBool,
    /// A worker has found the disk to be what it waits for.
    pressed: AtomicBool,
    /// Held while the file's size or its allocation is changed.
    room: Mutex<()>,
    interfaces: Mutex<Vec<FileInterface>>,
    faults: Mutex<Vec<Extent>>,
    faulty: AtomicBool,
    ever_faulty: AtomicBool,
    packets: AtomicU64,
    packet_bytes: AtomicU64,
    opened: Timestamp,
}

/// What identifies an interface within a run: the number of its source (ring or file) and its index there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceKey {
    /// Number of the source within the run.
    pub source: u32,
    /// The kernel's ifindex, or the number of the interface in the file read.
    pub ifindex: i32,
}

/// An interface that a file has packets of.
#[derive(Clone, Debug)]
pub struct FileInterface {
    /// Which one.
    pub key: InterfaceKey,
    /// Packets of it in this file.
    pub packets: Arc<AtomicU64>,
}

/// A piece of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it starts.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// Why no extent was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The keeper has not allocated that far yet.
    NotYet,
    /// A write failed and its extent is not covered yet.
    Faulty,
}

/// How a file is to be opened.
#[derive(Clone, Debug)]
pub struct OpenAs<'a> {
    /// Its name while it is written.
    pub path: &'a Path,
    /// Its name when complete.
    pub final_path: &'a Path,
    /// What its packets are.
    pub link_type: LinkType,
    /// Format.
    pub encoding: Encoding,
    /// Largest captured length, for the header.
    pub snaplen: u32,
    /// Bytes at which it is full.
    pub limit: u64,
    /// Allocation ahead does not show in its size: for a single file, which grows under its own name.
    pub keep_size: bool,
    /// An existing file of that name is replaced rather than refused.
    pub truncate: bool,
}

impl CaptureFile {
    /// Creates the file (mode 0600) and writes its header.
    pub fn create(open: &OpenAs<'_>) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).read(true).mode(0o600);
        if open.truncate {
            options.create(true)
        } else {
            options.create_new(true)
        };
        let buffered = options.open(open.path)?;
        take(&buffered, open.truncate)?;
        let (direct, alignment) = open_direct(open.path, &buffered)?;
        let file = Self {
            path: open.path.to_owned(),
            final_path: open.final_path.to_owned(),
            direct: Arc::new(direct),
            buffered,
            encoding: open.encoding,
            link_type: open.link_type,
            snaplen: open.snaplen,
            alignment,
            limit: open.limit,
            next: AtomicU64::new(0),
            allocated: AtomicU64::new(0),
            size_ahead: AtomicBool::new(!open.keep_size),
            pressed: AtomicBool::new(false),
            room: Mutex::default(),
            interfaces: Mutex::default(),
            faults: Mutex::default(),
            faulty: AtomicBool::new(false),
            ever_faulty: AtomicBool::new(false),
            packets: AtomicU64::new(0),
            packet_bytes: AtomicU64::new(0),
            opened: now(),
        };
        // A file system without fallocate: nothing can be promised, so nothing is waited for.
        if file.allocate(FIRST_ALLOCATION).is_err_and(|error| error.kind() == io::ErrorKind::Unsupported) {
            file.allocated.store(u64::MAX, Ordering::Release);
        }
        match open.encoding {
            Encoding::Pcapng => {
                file.write_first_page(None)?;
                file.next.store(alignment, Ordering::Release);
            }
            // No extent of its own: the first packets are written together with it, once more.
            Encoding::Pcap(precision) => file.buffered.write_all_at(&file.classic_header(precision), 0)?,
        }
        Ok(file)
    }

    fn classic_header(&self, precision: Precision) -> [u8; classic::FILE_HEADER] {
        classic::file_header(precision, self.link_type, self.snaplen)
    }

    /// The name it has now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// False if the name it was opened by now stands for another file, or for none.
    pub fn has_its_name(&self) -> bool {
        let identity = |facts: Metadata| (facts.dev(), facts.ino());
        match (self.buffered.metadata(), std::fs::metadata(&self.path)) {
            (Ok(open), Ok(named)) => identity(open) == identity(named),
            _ => false,
        }
    }

    /// The name it will have.
    pub fn final_path(&self) -> &Path {
        &self.final_path
    }

    /// What its packets are.
    pub fn link_type(&self) -> LinkType {
        self.link_type
    }

    /// Format.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Largest captured length that its header allows.
    pub fn snaplen(&self) -> u32 {
        self.snaplen
    }

    /// Extents start and end on multiples of this.
    pub fn alignment(&self) -> usize {
        self.alignment as usize
    }

    /// The descriptor for aligned writes.
    pub fn direct(&self) -> &Arc<File> {
        &self.direct
    }

    /// When it was created.
    pub fn opened(&self) -> Timestamp {
        self.opened
    }

    /// Bytes granted so far, which is the file's size once all writes have completed.
    pub fn len(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// True if nothing has been granted yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Packets and captured bytes whose write has completed.
    pub fn written(&self) -> (u64, u64) {
        (self.packets.load(Ordering::Relaxed), self.packet_bytes.load(Ordering::Relaxed))
    }

    /// Counts packets whose write has completed, and their captured bytes.
    pub fn add_written(&self, packets: u64, bytes: u64) {
        self.packets.fetch_add(packets, Ordering::Relaxed);
        self.packet_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes `len` bytes at the end of the file for a write. `len` must be a multiple of the alignment, except in
    /// a file that one worker alone appends to. The file's limit is not looked at: see [`CaptureFile::would_exceed`].
    pub fn reserve(&self, len: u64) -> Result<u64, Refusal> {
        self.reserve_before(len, RESERVE_FOR_CLOSING)
    }

    /// Takes a few bytes of what is kept free for closing: the rest of a record that has been begun.
    pub fn reserve_rest(&self, len: u64) -> Result<u64, Refusal> {
        self.reserve_before(len, self.alignment)
    }

    fn reserve_before(&self, len: u64, kept_free: u64) -> Result<u64, Refusal> {
        if self.faulty.load(Ordering::Acquire) {
            return Err(Refusal::Faulty);
        }
        let mut offset = self.next.load(Ordering::Acquire);
        loop {
            let end = offset + len;
            if end + kept_free > self.allocated.load(Ordering::Acquire) {
                return Err(Refusal::NotYet);
            }
            match self.next.compare_exchange_weak(offset, end, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(offset),
                Err(current) => offset = current,
            }
        }
    }

    /// True if `more` bytes would make the file larger than it may be. A file takes one extent behind its headers,
    /// however small its limit.
    pub fn would_exceed(&self, more: u64) -> bool {
        let end = self.end();
        end + more > self.limit && end > 2 * self.alignment
    }

    /// Where the next extent will start; for one worker that rewrites the file's end as it grows.
    pub fn end(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// Writes what was granted at `offset`, a multiple of the alignment. A failure is remembered as a fault.
    ///
    /// Past the page cache, which would tell of a failure when it is too late to do something about it. Up to the
    /// next multiple of the alignment zeros follow; nobody may append there before the file is finished.
    pub fn write_granted(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let len = bytes.len();
        let mut aligned = AlignedBuffer::new(len);
        aligned[..len].copy_from_slice(bytes);
        let written = self.direct.write_all_at(&aligned[..len.next_multiple_of(self.alignment())], offset);
        written.inspect_err(|_| self.fault(Extent { offset, len: len as u64 }))
    }

    /// Writes bytes that are not aligned, without `O_DIRECT`.
    pub fn write_buffered(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.buffered.write_all_at(bytes, offset)
    }

    /// The number of the interface `key` in this file. Its interface block is written when it is asked for the
    /// first time, so that it stands before every packet of it.
    pub fn interface(
        &self,
        key: InterfaceKey,
        describe: impl FnOnce() -> InterfaceDescription,
    ) -> io::Result<(u32, Arc<AtomicU64>)> {
        let mut interfaces = lock(&self.interfaces);
        if let Some(index) = interfaces.iter().position(|interface| interface.key == key) {
            return Ok((index as u32, Arc::clone(&interfaces[index].packets)));
        }
        if self.encoding == Encoding::Pcapng {
            let description = describe();
            if interfaces.is_empty() {
                // Wireshark's tools judge a file by the interfaces that follow its section header at once.
                self.write_first_page(Some(&description))?;
            } else {
                let mut block = description.block(self.link_type, self.snaplen);
                pad(&mut block, self.alignment());
                // Under the lock: the order of the blocks in the file is the order of their numbers.
                let offset = self.reserve(block.len() as u64).map_err(|refusal| match refusal {
                    Refusal::NotYet => {
                        io::Error::new(io::ErrorKind::StorageFull, "no room for an interface block")
                    }
                    Refusal::Faulty => io::Error::other("an earlier write failed"),
                })?;
                self.write_granted(offset, &block)?;
            }
        }
        let packets = Arc::new(AtomicU64::new(0));
        interfaces.push(FileInterface { key, packets: Arc::clone(&packets) });
        Ok((interfaces.len() as u32 - 1, packets))
    }

    /// Writes the section header and the block of the first interface, once there is one, padded to the first extent.
    fn write_first_page(&self, first: Option<&InterfaceDescription>) -> io::Result<()> {
        let page_of = |interface: &[u8]| {
            let mut page = Vec::new();
            ng::section_header(&mut page, &section());
            page.extend_from_slice(interface);
            pad(&mut page, self.alignment());
            page
        };
        let mut page = page_of(&[]);
        if let Some(description) = first {
            page = page_of(&description.block(self.link_type, self.snaplen));
            if page.len() != self.alignment() {
                // A filter may be longer than a page. The packets matter more than what is said of them.
                let name = description.name.chars().take(NAME_CHARS).collect();
                let short = InterfaceDescription { name, ..InterfaceDescription::default() };
                page = page_of(&short.block(self.link_type, self.snaplen));
            }
        }
        // Past the page cache like the packets, so that a power failure does not leave packets without a header.
        let mut aligned = AlignedBuffer::new(page.len());
        aligned[..page.len()].copy_from_slice(&page);
        self.direct.write_all_at(&aligned[..page.len()], 0)
    }

    /// The interfaces that the file has, in the order of their numbers.
    pub fn interfaces(&self) -> Vec<FileInterface> {
        lock(&self.interfaces).clone()
    }

    /// Remembers that the write of `extent` failed; no extent is granted until it is covered.
    pub fn fault(&self, extent: Extent) {
        let mut faults = lock(&self.faults);
        faults.push(extent);
        self.faulty.store(true, Ordering::Release);
        self.ever_faulty.store(true, Ordering::Release);
    }

    /// Forgets a fault: its bytes have been written after all.
    pub fn clear_fault(&self, extent: Extent) {
        let mut faults = lock(&self.faults);
        faults.retain(|fault| *fault != extent);
        self.faulty.store(!faults.is_empty(), Ordering::Release);
    }

    /// True if a write to this file has ever failed.
    pub fn had_faults(&self) -> bool {
        self.ever_faulty.load(Ordering::Acquire)
    }

    /// Covers failed extents with fillers. True if none is left.
    pub fn mend(&self) -> bool {
        if !self.faulty.load(Ordering::Acquire) {
            return true;
        }
        let mut faults = lock(&self.faults);
        faults.retain(|extent| self.cover(*extent).is_err());
        self.faulty.store(!faults.is_empty(), Ordering::Release);
        faults.is_empty()
    }

    /// Overwrites an extent with a filler whose body is zero.
    fn cover(&self, extent: Extent) -> io::Result<()> {
        if self.encoding != Encoding::Pcapng {
            // Nothing in classic pcap is skipped by readers, and a record may begin in one write and end in the
            // next: the writer holds on to the bytes and tries again (see `Writer`).
            return Err(io::ErrorKind::Unsupported.into());
        }
        // The tail of the file needs no cover: it is taken back, if nobody has appended behind it.
        let end = extent.offset + extent.len;
        if self.next.compare_exchange(end, extent.offset, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return Ok(());
        }
        let step = self.alignment as usize;
        let mut page = AlignedBuffer::new(step);
        let mut at = extent.offset;
        while at < end {
            let piece = ng::filler_piece(end - at);
            let last = at + piece - step as u64;
            // What a short write has left in between goes as well.
            let middle = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let _ = fallocate(self.buffered.as_fd(), middle, at as i64, piece as i64);
            page[..step].fill(0);
            page[..4].copy_from_slice(&ng::LOCAL.to_le_bytes());
            page[4..8].copy_from_slice(&(piece as u32).to_le_bytes());
            if last != at {
                self.direct.write_all_at(&page[..step], at)?;
                page[..8].fill(0);
            }
            page[step - 4..step].copy_from_slice(&(piece as u32).to_le_bytes());
            self.direct.write_all_at(&page[..step], last)?;
            at += piece;
        }
        Ok(())
    }

    /// Bytes that the disk has promised beyond what has been granted.
    pub fn room_ahead(&self) -> u64 {
        self.allocated.load(Ordering::Acquire).saturating_sub(self.end())
    }

    /// True while a failed extent is not covered: nothing more is granted.
    #[inline]
    pub fn is_faulty(&self) -> bool {
        self.faulty.load(Ordering::Acquire)
    }

    /// True if more room is worth having: below the limit, and on a file system that can promise it.
    pub fn wants_room(&self, ahead: u64) -> bool {
        let allocated = self.allocated.load(Ordering::Acquire);
        allocated < self.most_allocated() && self.room_ahead() < ahead
    }

    /// Asks the disk for `bytes` more. For a current file the keeper does so.
    pub fn allocate(&self, bytes: u64) -> io::Result<()> {
        let _room = lock(&self.room);
        let from = self.allocated.load(Ordering::Acquire);
        let bytes = bytes.min(self.most_allocated().saturating_sub(from));
        if bytes == 0 {
            return Ok(());
        }
        let visible = self.size_ahead.load(Ordering::Acquire);
        let flags = if visible { FallocateFlags::empty() } else { FallocateFlags::FALLOC_FL_KEEP_SIZE };
        fallocate(self.buffered.as_fd(), flags, from as i64, bytes as i64).map_err(|errno| match errno {
            Errno::EOPNOTSUPP | Errno::ENOSYS => io::Error::new(io::ErrorKind::Unsupported, errno),
            errno => errno.into(),
        })?;
        self.allocated.store(from + bytes, Ordering::Release);
        Ok(())
    }

    /// Notes that writes queue at the disk. True if the keeper should be told.
    #[inline]
    pub fn press(&self) -> bool {
        !self.size_ahead.load(Ordering::Relaxed) && !self.pressed.swap(true, Ordering::AcqRel)
    }

    /// Under load the size of a single file runs ahead of its contents, too.
    ///
    /// A write that extends a file has the file for itself (ext4 and XFS lock the inode exclusively), so such writes
    /// follow one another, each on a kernel thread of io_uring. Writes inside the size run side by side and are
    /// started on the spot: half the CPU time, and 20 % more throughput were measured. Until the load is over, the end
    /// of the file reads as zeros.
    pub fn run_ahead(&self) -> io::Result<()> {
        if !self.pressed.load(Ordering::Acquire) || self.size_ahead.load(Ordering::Acquire) {
            return Ok(());
        }
        let _room = lock(&self.room);
        let allocated = self.allocated.load(Ordering::Acquire);
        if allocated < self.most_allocated() && allocated > self.end() {
            self.buffered.set_len(allocated)?;
            self.size_ahead.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Once the load is over: the size is again what is written, `end`. Only for a single file that the caller alone
    /// appends to, while none of its writes is in flight.
    pub fn fall_back(&self, end: u64) {
        if !self.pressed.load(Ordering::Relaxed) || !self.size_ahead.load(Ordering::Acquire) {
            return;
        }
        let _room = lock(&self.room);
        // What was promised beyond goes with the size; the keeper asks for it anew.
        if self.buffered.set_len(end).is_ok() {
            self.allocated.store(end, Ordering::Release);
            self.size_ahead.store(false, Ordering::Release);
            self.pressed.store(false, Ordering::Release);
        }
    }

    fn most_allocated(&self) -> u64 {
        self.limit.saturating_add(OVERSHOOT + RESERVE_FOR_CLOSING)
    }

    /// Ends the file: `tail` (statistics) behind the last extent, the size set to what is in it, data synced, the
    /// final name given. All writes have completed, and nobody appends any more.
    ///
    /// True if the file was cut, because the device failed: packets that had been written may be missing.
    pub fn finish(&self, tail: &[u8]) -> io::Result<bool> {
        let cut = !self.mend();
        // Mending may take back what lies at the end.
        let mut end = self.end();
        if cut {
            // Readers would stop at the hole: the file ends before it. The device failed; better short than torn.
            end = lock(&self.faults).iter().map(|extent| extent.offset).min().unwrap_or(end);
        }
        if end == 0 {
            // Of a classic file without packets its header stays.
            end = classic::FILE_HEADER as u64;
        }
        // The tail is a bonus: without it the file is complete all the same.
        let tail_written = self.buffered.write_all_at(tail, end);
        let whole = if tail_written.is_ok() { end + tail.len() as u64 } else { end };
        self.buffered.set_len(whole)?;
        // The packets are past the page cache: if this fails, it is the tail that is not on the disk.
        if let Err(error) = self.buffered.sync_data() {
            self.buffered.set_len(end)?;
            return Err(error);
        }
        if self.path != self.final_path {
            std::fs::rename(&self.path, &self.final_path)?;
            if let Some(directory) = self.final_path.parent() {
                // The name is durable too; a file system that cannot sync a directory loses nothing but that.
                let _ = File::open(if directory.as_os_str().is_empty() { Path::new(".") } else { directory })
                    .and_then(|directory| directory.sync_all());
            }
        }
        tail_written?;
        Ok(cut)
    }

    /// Lets others have the file, once it is finished.
    pub fn unlock(&self) {
        // The lock goes with the file at the latest.
        let _ = self.buffered.unlock();
    }
}

/// What an interface block says, beside the link type and snaplen of the file.
#[derive(Clone, Debug, Default)]
pub struct InterfaceDescription {
    /// The interface's name.
    pub name: String,
    /// What it is, such as its network namespace; may be empty.
    pub description: String,
    /// Where its time stamps come from; may be empty.
    pub comment: String,
    /// The kernel filter in words; may be empty.
    pub filter: String,
}

impl InterfaceDescription {
    /// The Interface Description Block.
    pub fn block(&self, link_type: LinkType, snaplen: u32) -> Vec<u8> {
        let mut block = Vec::new();
        let mut interface = ng::Interface::new(link_type, snaplen);
        interface.name = &self.name;
        interface.description = &self.description;
        interface.comment = &self.comment;
        interface.filter = &self.filter;
        ng::interface_description(&mut block, &interface);
        block
    }
}

/// The section header of every pcapng file from here.
pub fn section() -> ng::Section<'static> {
    ng::Section {
        hardware: std::env::consts::ARCH,
        os: "Linux",
        application: concat!("gannet ", env!("CARGO_PKG_VERSION")),
        comment: "",
    }
}

/// Pads a run of blocks with a filler to a multiple of `alignment`.
fn pad(blocks: &mut Vec<u8>, alignment: usize) {
    let used = blocks.len();
    let mut end = used.next_multiple_of(alignment);
    if end != used && end - used < ng::MIN_BLOCK {
        end += alignment;
    }
    blocks.resize(end, 0);
    ng::write_filler(&mut blocks[used..]);
}

/// Locks the file while it is being written, against repair and against a second recorder, and empties it.
fn take(file: &File, truncate: bool) -> io::Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process is using this file"));
        }
        // A file system without locks: nobody else can ask for one either.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    // Only now: it might have been somebody's.
    if truncate { file.set_len(0) } else { Ok(()) }
}

/// Opens `path` once more for direct writes, and finds the alignment they need. Where the file system knows no
/// `O_DIRECT` (ramfs, some network file systems) the descriptor is a buffered one.
fn open_direct(path: &Path, buffered: &File) -> io::Result<(File, u64)> {
    let opened = OpenOptions::new().write(true).custom_flags(OFlag::O_DIRECT.bits()).open(path);
    match opened {
        Ok(direct) => {
            let alignment = gannet_ring::buffer::direct_alignment(&direct)?.unwrap_or(0);
            Ok((direct, u64::from(alignment).max(ng::marker::ALIGNMENT)))
        }
        Err(_) => Ok((buffered.try_clone()?, ng::marker::ALIGNMENT)),
    }
}

/// The system's clock, for names and headers; never for packets.
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(since.as_nanos() as u64)
}

/// No holder of these locks leaves them half-changed, so a panic elsewhere does not spoil them.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What every file is promised at once, so that the first burst finds room.
const FIRST_ALLOCATION: u64 = 64 << 20;

/// Of an interface's name, where nothing else fits: the kernel's names have up to 15 characters.
const NAME_CHARS: usize = 64;

/// By how much a file may exceed its limit: what workers have open when it is reached.
const OVERSHOOT: u64 = 16 << 20;

/// Kept free behind the last extent, for the statistics blocks: a file can be ended properly on a full disk.
pub(crate) const RESERVE_FOR_CLOSING: u64 = 64 << 10;
