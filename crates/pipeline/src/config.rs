//! What a run is asked to do: plain, typed, resolved values.
//!
//! ```text
//!   RunConfig ──┬─ CaptureConfig ── where packets come from, which of them, workers and rings
//!               ├─ RecordConfig ─── packets to disk, if asked for
//!               ├─ HttpConfig ───── their HTTP exchanges, if asked for
//!               └─ StatsConfig ──── their flows, if asked for
//! ```
//!
//! The command line is one way to fill a [`RunConfig`]; tests are another, so nothing here knows a flag parser. Every
//! default is a constant with its reason. Values that depend on the machine (number of CPUs, memory) are kept as the
//! rule that was asked for and are resolved by the methods below, which take the machine's figures as arguments.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use gannet_flow::FragmentLimits;
use gannet_http::DecodeLimits;
use gannet_packet::{Decap, PacketType};
use gannet_record::fields::Choice;
use gannet_record::{HeaderSelection, Methods, Routes, Selection};
pub use gannet_ring::TimeSource;
use gannet_ring::fanout::FanoutMode;
use gannet_ring::netns::NetnsSpec;
use gannet_sink::{HttpryOptions, SinkSpec};
use nix::unistd::SysconfVar;

pub use crate::filter::Filter;
use crate::privileges::User;

/// One run: where packets come from, and what is done with them. At least one of the latter.
#[derive(Clone, Debug)]
pub struct RunConfig {
    /// The packets.
    pub capture: CaptureConfig,
    /// They go to disk.
    pub record: Option<RecordConfig>,
    /// They become HTTP records.
    pub http: Option<HttpConfig>,
    /// They become records of flows; without any of the others.
    pub stats: Option<StatsConfig>,
}

/// Where packets come from, which of them are taken, and the machinery that takes them.
#[derive(Clone, Debug)]
pub struct CaptureConfig {
    /// Where packets come from.
    pub input: Input,
    /// At most this many bytes of each frame are kept, a VLAN tag that was put back included.
    pub snaplen: NonZeroU32,
    /// Keep each frame only up to the end of its layer-4 header and so many bytes more. The frames of a [`Filter`]
    /// that was made elsewhere are as long as that says.
    pub headers: Option<u32>,
    /// Which packets are kept, by what is in them; `None` keeps all.
    pub filter: Option<Filter>,
    /// Which packets are kept, by the way they went through the interface.
    pub direction: Direction,
    /// Keep only packets of this kind; `None` keeps all.
    pub packet_type: Option<PacketType>,
    /// Stop after exactly this many packets over all workers.
    pub count: Option<NonZeroU64>,
    /// Stop after this long, counted from the moment the capture is open.
    pub duration: Option<Duration>,
    /// How many capture threads.
    pub workers: Workers,
    /// The CPUs that workers are pinned to, in order, worker `n` to entry `n` modulo the length; of files those that
    /// the run keeps to. Empty: the CPUs that the process may use.
    pub cpus: Vec<usize>,
    /// How the kernel spreads packets over the workers; without effect for one worker.
    pub fanout: FanoutMode,
    /// Ring memory per worker in bytes as asked for; `None` is the default rule. See [`Self::ring_request`].
    pub ring_bytes: Option<NonZeroU64>,
    /// Size of one ring block in bytes: a multiple of the page size, at most `gannet_ring::receive::MAX_BLOCK_BYTES`.
    pub block_bytes: NonZeroU32,
    /// The kernel hands over a block that is not full after this time.
    pub block_timeout: Duration,
    /// Whether interfaces are made promiscuous; `None` is the default: named ones are, `any` is not.
    pub promiscuous: Option<bool>,
    /// Which clock stamps the packets.
    pub time_source: TimeSource,
    /// A line of statistics this often; `None` for none.
    pub stats_interval: Option<Duration>,
    /// The user to become once everything is open (`-Z`).
    pub user: Option<User>,
}

/// Packets to disk.
#[derive(Clone, Debug, Default)]
pub struct RecordConfig {
    /// Where they go.
    pub output: Output,
    /// The file format.
    pub format: Format,
    /// How packets get from the ring to the file.
    pub writer: WriterMode,
    /// Write every frame with a Linux cooked header (SLL2), whatever its own link type is. Implies copying.
    pub cooked: bool,
    /// When to begin the next file. Only a directory can be rotated.
    pub rotate: Option<Rotate>,
    /// Hand each block's packets to the output at once (`-U`) where a writer would otherwise gather several.
    pub flush_per_packet: bool,
}

/// Packets to HTTP records.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// What the HTTP layer may hold and where it looks.
    pub analysis: gannet_http::HttpConfig,
    /// What comes between packets and flows.
    pub intake: IntakeConfig,
    /// Bounds and times of the flow tables, for each worker.
    pub flows: gannet_flow::Limits,
    /// The outputs of the records. None is fine: the summary is left.
    pub sinks: Vec<SinkSpec>,
    /// What outputs in httpry's format show.
    pub httpry: HttpryOptions,
    /// What requests begin with that those outputs show.
    pub methods: Methods,
    /// Write out after every record (`-l`).
    pub flush_each: bool,
    /// Which header fields records show.
    pub headers: HeaderSelection,
    /// Which fields lines of JSON have; all of them if there is no choice.
    pub fields: Option<Choice>,
    /// Mask credentials in records.
    pub redact: bool,
    /// How paths become routes.
    pub routes: Routes,
    /// Which exchanges are reported.
    pub selection: Selection,
    /// Measure latencies: the report has their summary. Without it every exchange costs a tenth less.
    pub latencies: bool,
    /// Make an HdrHistogram log of the latencies, too.
    pub histogram_log: bool,
    /// Records show what was kept of bodies, and not only whole messages do.
    pub bodies: bool,
    /// How far bodies that were kept are decoded.
    pub decode: DecodeLimits,
}

/// From packets to what flows are made of.
#[derive(Clone, Debug, Default)]
pub struct IntakeConfig {
    /// Which tunnels are opened.
    pub decap: Decap,
    /// What may be held of IP datagrams that come in fragments, for each worker.
    pub fragments: FragmentLimits,
}

/// Packets to records of flows.
#[derive(Clone, Debug)]
pub struct StatsConfig {
    /// What comes between packets and flows.
    pub intake: IntakeConfig,
    /// Bounds and times of the flow tables, for each worker. Conversations without TCP have a quarter of that number
    /// besides.
    pub flows: gannet_flow::Limits,
    /// The outputs of the records. None is fine: the tables are left.
    pub sinks: Vec<SinkSpec>,
    /// Write out after every record (`-l`).
    pub flush_each: bool,
}

impl RunConfig {
    /// Whether packets are looked into.
    pub fn analyses(&self) -> bool {
        self.http.is_some() || self.stats.is_some()
    }

    /// True if all packets go to one file, pipe or stream, where workers would get into each other's way.
    ///
    /// `one_stream` is what the recording's output is.
    pub fn workers(&self, one_stream: bool, cpus: usize) -> NonZeroUsize {
        self.capture.workers.resolve(self.record.is_some() && one_stream, cpus)
    }
}

impl RunConfig {
    /// The ring of a worker in bytes if nothing else is asked for.
    pub fn default_ring_bytes(&self) -> u64 {
        if !self.analyses() { DEFAULT_RING_BYTES } else { DEFAULT_ANALYSIS_RING_BYTES }
    }
}

impl CaptureConfig {
    /// Every default, from `input`.
    pub fn new(input: Input) -> Self {
        Self {
            input,
            snaplen: DEFAULT_SNAPLEN,
            headers: None,
            filter: None,
            direction: Direction::default(),
            packet_type: None,
            count: None,
            duration: None,
            workers: Workers::default(),
            cpus: Vec::new(),
            fanout: FanoutMode::default(),
            ring_bytes: None,
            block_bytes: DEFAULT_BLOCK_BYTES,
            block_timeout: DEFAULT_BLOCK_TIMEOUT,
            promiscuous: None,
            time_source: TimeSource::default(),
            stats_interval: None,
            user: None,
        }
    }

    /// The ring each of `workers` workers asks the kernel for, on a machine with `ram_bytes` of memory.
    ///
    /// The default is `default_bytes` per worker, all together at most 1/16 of the memory. What was asked
    /// for explicitly is asked of the kernel, up to half of the memory over all workers: ring memory cannot be
    /// swapped, and a request beyond that ends with the kernel killing other processes rather than with an
    /// error. The result is a whole number of blocks, at least [`MIN_BLOCKS`].
    pub fn ring_request(&self, default_bytes: u64, workers: NonZeroUsize, ram_bytes: u64) -> RingRequest {
        let share = |part: u64| ram_bytes / part / workers.get() as u64;
        let (wanted, limit) = match self.ring_bytes {
            Some(bytes) => (bytes.get(), share(EXPLICIT_RING_PART_OF_RAM)),
            None => (default_bytes.min(share(DEFAULT_RING_PART_OF_RAM)), u64::MAX),
        };
        let block = u64::from(self.block_bytes.get());
        let bytes = (wanted.min(limit) / block).max(MIN_BLOCKS) * block;
        RingRequest { bytes, limited_from: (wanted > limit && bytes < wanted).then_some(wanted) }
    }

    /// Whether the interface is to be made promiscuous.
    ///
    /// Promiscuous on `any` would switch every interface of the machine, bridges and tunnels included, for packets
    /// that are mostly nobody's: there it has to be asked for.
    pub fn promiscuous_on(&self, interface: &InterfaceName) -> bool {
        self.promiscuous.unwrap_or(*interface != InterfaceName::Any)
    }
}

/// Where packets come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Live interfaces; at least one.
    Live {
        /// The interfaces in the order they were given.
        interfaces: Vec<InterfaceSpec>,
    },
    /// Capture files, merged by time; at least one.
    Files(Vec<FileInput>),
}

/// A live interface and the network namespace it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceSpec {
    /// Which interface.
    pub name: InterfaceName,
    /// The namespace; `None` is the process's own.
    pub netns: Option<NetnsSpec>,
}

/// An interface by name, or all of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum InterfaceName {
    /// Every interface that is up.
    Any,
    /// One interface, by its kernel name.
    Named(String),
}

impl From<&str> for InterfaceName {
    /// `any` is [`InterfaceName::Any`]; the kernel allows an interface of that name, no tool can capture on it.
    fn from(name: &str) -> Self {
        match name {
            "any" => Self::Any,
            name => Self::Named(name.to_owned()),
        }
    }
}

impl std::fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// One capture file to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileInput {
    /// Standard input.
    Stdin,
    /// A file; `.gz` and `.zst` are recognised by content.
    Path(PathBuf),
}

/// Where packets go. What a path is (a file, a directory, a device) the recorder finds out when it opens it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// `gannet-<interface>-<time>.<format>` in the working directory.
    #[default]
    Automatic,
    /// Standard output.
    Stdout,
    /// A file, a directory (it exists, or the path ends in `/`), or something special that exists.
    Path(PathBuf),
}

/// A capture file format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// pcapng: nanoseconds, interfaces, directions and drop counts are kept, and blocks go to disk uncopied.
    #[default]
    Pcapng,
    /// Classic pcap with microseconds, which every tool ever written reads.
    PcapMicros,
    /// Classic pcap with nanoseconds (magic 0xa1b23c4d).
    PcapNanos,
}

impl Format {
    /// The suffix of file names, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Pcapng => "pcapng",
            Self::PcapMicros | Self::PcapNanos => "pcap",
        }
    }
}

/// How packets get from the ring to the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriterMode {
    /// Compact files by copying while there is time to spare, without copying when blocks queue.
    #[default]
    Auto,
    /// Always straight from ring memory, also when a block holds little.
    ZeroCopy,
    /// Always compact, by copying.
    Copy,
}

/// When a directory's next file begins: whenever any of the given bounds is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotate {
    /// Bytes of a file. A block is never split over files, so a file may be larger by up to one block.
    pub bytes: Option<NonZeroU64>,
    /// Time since the file was begun.
    pub period: Option<Duration>,
    /// Packets in a file.
    pub packets: Option<NonZeroU64>,
    /// Begin files on multiples of `period` of the wall clock (UTC) instead of counting from the start.
    pub align: bool,
}

/// Which packets are kept, by the way they went through the interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Received ones only.
    In,
    /// Sent ones only.
    Out,
    /// Both; on loopback each packet is seen once.
    #[default]
    InOut,
}

/// How many capture threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workers {
    /// One for a single file or a stream, whose order is then the order of arrival; else as [`Workers::Auto`].
    #[default]
    ByOutput,
    /// Half the CPUs, at least 1 and at most [`MAX_AUTO_WORKERS`]: the other half is for the kernel's side of the
    /// capture (soft interrupts) and the application that makes the traffic.
    Auto,
    /// Exactly this many.
    Count(NonZeroUsize),
}

impl Workers {
    /// The number of workers on a machine with `cpus` usable CPUs; `one_stream` says that all packets go to one
    /// file, pipe or stream.
    pub fn resolve(self, one_stream: bool, cpus: usize) -> NonZeroUsize {
        match self {
            Self::ByOutput if one_stream => NonZeroUsize::MIN,
            Self::ByOutput | Self::Auto => {
                NonZeroUsize::new((cpus / 2).min(MAX_AUTO_WORKERS)).unwrap_or(NonZeroUsize::MIN)
            }
            Self::Count(count) => count,
        }
    }
}

/// What a worker asks the kernel for, see [`CaptureConfig::ring_request`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingRequest {
    /// Bytes of the ring: a whole number of blocks.
    pub bytes: u64,
    /// What was asked for, if it was reduced; the user is told.
    pub limited_from: Option<u64>,
}

/// Memory of the machine in bytes, as `sysconf(_SC_PHYS_PAGES)` has it; `None` where the kernel does not tell.
pub fn ram_bytes() -> Option<u64> {
    sysconf(SysconfVar::_PHYS_PAGES)?.checked_mul(page_bytes()?)
}

/// Size of a memory page in bytes; ring blocks are multiples of it. `None` where the kernel does not tell.
pub fn page_bytes() -> Option<u64> {
    sysconf(SysconfVar::PAGE_SIZE)
}

fn sysconf(name: SysconfVar) -> Option<u64> {
    nix::unistd::sysconf(name).ok().flatten().and_then(|value| u64::try_from(value).ok())
}

/// The default of `-s`, in bytes: libpcap's largest snapshot length, so that a file from here opens in every reader
/// built on it, and above any frame that offloads hand to the capture point (64 KiB; 180 KiB with BIG TCP).
/// Lower cuts frames, higher is refused by libpcap.
pub const DEFAULT_SNAPLEN: NonZeroU32 = NonZeroU32::MIN.saturating_add(262_144 - 1);

/// The default ring per worker that only records, in bytes: 0.2 s of a saturated 10 Gbit/s link, more than a disk's
/// usual hiccup (10 to 100 ms). Lower loses packets when the disk pauses; higher costs memory that cannot be swapped.
pub const DEFAULT_RING_BYTES: u64 = 256 << 20;

/// The default ring per worker that analyses: it never waits for a disk (what is recorded beside is copied), and 50
/// ms of a saturated 10 Gbit/s link bridge what keeps a thread from its CPU. A larger one costs: where the memory of
/// a virtual machine is backed page by page, the kernel takes 0.55 s of CPU for each 256 MiB, which was more than the
/// analysis of 500,000 packets.
pub const DEFAULT_ANALYSIS_RING_BYTES: u64 = 64 << 20;

/// Default rings take at most this part of the memory, all workers together.
pub const DEFAULT_RING_PART_OF_RAM: u64 = 16;

/// Rings asked for explicitly take at most this part of the memory, all workers together.
pub const EXPLICIT_RING_PART_OF_RAM: u64 = 2;

/// A ring has at least this many blocks: the kernel fills one while we read another, and with the disk holding
/// a third the kernel still has one to go on with.
pub const MIN_BLOCKS: u64 = 4;

/// The default block, in bytes: one disk write. Smaller costs system calls and write bandwidth, larger makes a
/// retired, mostly empty block waste more of the ring.
pub const DEFAULT_BLOCK_BYTES: NonZeroU32 = NonZeroU32::MIN.saturating_add((1 << 20) - 1);

/// The default time after which the kernel hands over a block that is not full. It bounds how old a packet gets
/// before it is in the file on a quiet link; shorter means more blocks, each with its own cost.
pub const DEFAULT_BLOCK_TIMEOUT: Duration = Duration::from_millis(100);

/// The most workers that [`Workers::Auto`] starts. Four rings carry more than the disks of this class of machine
/// take; whoever has more disks also knows how many CPUs to give away.
pub const MAX_AUTO_WORKERS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn live() -> CaptureConfig {
        CaptureConfig::new(Input::Live {
            interfaces: vec![InterfaceSpec { name: InterfaceName::Any, netns: None }],
        })
    }

    fn workers(n: usize) -> NonZeroUsize {
        NonZeroUsize::new(n).unwrap()
    }

    #[test]
    fn only_a_recording_keeps_to_one_worker() {
        let record = Some(RecordConfig::default());
        let run = RunConfig { capture: live(), record, http: None, stats: None };
        assert_eq!(run.workers(true, 8).get(), 1);
        assert_eq!(run.default_ring_bytes(), DEFAULT_RING_BYTES);
        assert_eq!(run.workers(false, 8).get(), 4);
        assert_eq!(RunConfig { record: None, ..run }.workers(true, 8).get(), 4);
    }

    #[test]
    fn default_rings_stay_below_a_sixteenth_of_the_memory() {
        let config = live();
        assert_eq!(config.ring_request(DEFAULT_RING_BYTES, workers(1), 64 * GIB).bytes, 256 << 20);
        assert_eq!(config.ring_request(DEFAULT_RING_BYTES, workers(4), 64 * GIB).bytes, 256 << 20);
        assert_eq!(config.ring_request(DEFAULT_RING_BYTES, workers(4), 8 * GIB).bytes, 128 << 20);
        assert_eq!(config.ring_request(DEFAULT_RING_BYTES, workers(4), 8 * GIB).limited_from, None);
        // A tiny machine still gets a ring that works.
        assert_eq!(config.ring_request(DEFAULT_RING_BYTES, workers(4), 16 << 20).bytes, 4 << 20);
    }

    #[test]
    fn explicit_rings_are_limited_and_say_so() {
        let mut config = live();
        config.ring_bytes = NonZeroU64::new(2 * GIB);
        assert_eq!(
            config.ring_request(DEFAULT_RING_BYTES, workers(1), 8 * GIB),
            RingRequest { bytes: 2 * GIB, limited_from: None }
        );
        config.ring_bytes = NonZeroU64::new(1 << 50);
        assert_eq!(
            config.ring_request(DEFAULT_RING_BYTES, workers(2), 8 * GIB),
            RingRequest { bytes: 2 * GIB, limited_from: Some(1 << 50) }
        );
        // Not a multiple of the block: rounded down, which is no reduction worth a message.
        config.ring_bytes = NonZeroU64::new((8 << 20) + 5);
        assert_eq!(
            config.ring_request(DEFAULT_RING_BYTES, workers(1), 8 * GIB),
            RingRequest { bytes: 8 << 20, limited_from: None }
        );
        config.ring_bytes = NonZeroU64::new(1);
        assert_eq!(config.ring_request(DEFAULT_RING_BYTES, workers(1), 8 * GIB).bytes, 4 << 20);
    }

    #[test]
    fn workers_by_output_and_cpus() {
        assert_eq!(Workers::ByOutput.resolve(true, 64).get(), 1);
        for (cpus, expected) in [(0, 1), (1, 1), (2, 1), (3, 1), (4, 2), (8, 4), (64, 4)] {
            assert_eq!(Workers::Auto.resolve(true, cpus).get(), expected, "{cpus} CPUs");
            assert_eq!(Workers::ByOutput.resolve(false, cpus).get(), expected, "{cpus} CPUs");
        }
        assert_eq!(Workers::Count(workers(7)).resolve(true, 1).get(), 7);
    }

    #[test]
    fn only_named_interfaces_are_promiscuous_unless_told() {
        let named = InterfaceName::from("eth0");
        let mut config = live();
        assert!(config.promiscuous_on(&named) && !config.promiscuous_on(&InterfaceName::from("any")));
        config.promiscuous = Some(false);
        assert!(!config.promiscuous_on(&named));
        config.promiscuous = Some(true);
        assert!(config.promiscuous_on(&InterfaceName::Any));
    }

    #[test]
    fn the_machine_has_memory() {
        assert!(ram_bytes().unwrap() > 16 << 20);
    }
}
