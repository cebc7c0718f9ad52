//! A network of one's own: two namespaces joined by a veth pair, in which nothing but the test talks.
//!
//! ```text
//!   namespace gannet-lab-<pid>-<n>-s            namespace gannet-lab-<pid>-<n>-r
//!   tx0  10.99.0.1  02:67:6e:74:00:01  ══ veth ══  rx0  10.99.0.2  02:67:6e:74:00:02
//! ```
//!
//! IPv6 is off, ARP is off with the neighbour entered for good, and so are the offloads that merge or split
//! frames: `rx_packets` of the receiving interface is exactly what was sent to it. A [`Lab`] takes everything
//! with it when it is dropped, on a panic too; what a killed process left behind, the next lab removes.

use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use gannet_ring::netns::{self, NetnsSpec};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Two network namespaces and the veth pair between them.
#[derive(Debug)]
pub struct Lab {
    /// What the namespaces' names have in common.
    prefix: String,
}

/// One end of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Where traffic comes from: interface `tx0`.
    Sender,
    /// Where it is captured: interface `rx0`.
    Receiver,
}

impl Side {
    /// Both, in the order in which they are set up.
    pub const BOTH: [Self; 2] = [Self::Sender, Self::Receiver];

    /// The name of this end of the veth pair.
    pub fn interface(self) -> &'static str {
        match self {
            Self::Sender => "tx0",
            Self::Receiver => "rx0",
        }
    }

    /// The IPv4 address of this end, in 10.99.0.0/24.
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 0, self.number())
    }

    /// The hardware address of this end: locally administered.
    pub fn mac(self) -> [u8; 6] {
        [0x02, 0x67, 0x6e, 0x74, 0x00, self.number()]
    }

    /// The end across the wire.
    pub fn other(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Sender => 1,
            Self::Receiver => 2,
        }
    }

    fn suffix(self) -> char {
        match self {
            Self::Sender => 's',
            Self::Receiver => 'r',
        }
    }
}

/// That a test cannot run here, and why. It has been said on stderr already.
#[derive(Debug)]
pub struct Skip(pub String);

/// Asks for the right to make network namespaces.
///
/// Returns [`Skip`] after a loud line on stderr where it is not given:
/// ```no_run
/// # use gannet_testkit::lab;
/// let Ok(()) = lab::require() else { return };
/// ```
///
/// # Panics
/// If it is not given and the environment holds `REQUIRE_NETNS=1`: where the lab must work, no test may be left
/// out silently.
#[allow(clippy::panic, reason = "a test that must not be skipped fails by panicking")]
pub fn require() -> Result<(), Skip> {
    let missing = match missing_privilege() {
        None => return Ok(()),
        Some(missing) => missing,
    };
    assert!(
        std::env::var_os("REQUIRE_NETNS").is_none_or(|value| value != "1"),
        "REQUIRE_NETNS=1, and no network namespace can be made here: {missing}"
    );
    // Written to the file itself: the test harness shows captured output of failures only.
    let _ = writeln!(io::stderr(), "SKIPPED, needs network namespaces: {missing}");
    Err(Skip(missing))
}

impl Lab {
    /// Makes a lab and waits until both ends have a carrier; removes stale labs first.
    ///
    /// # Errors
    /// A command of `ip` or `ethtool` failed, or is not installed: the message names the command and quotes it.
    pub fn new() -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        sweep()?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // From here on dropping the lab undoes whatever has been made, so an early return leaves nothing.
        let lab = Self { prefix: format!("{PREFIX}{}-{number}", std::process::id()) };
        for side in Side::BOTH {
            run(Command::new("ip").args(["netns", "add", &lab.namespace(side)]))?;
            lab.enter(side, silence_ipv6)??;
            lab.ip(side, "link set lo up")?;
        }
        lab.create_link()?;
        Ok(lab)
    }

    /// The namespace's name, as `ip netns exec` and `--netns` take it.
    pub fn namespace(&self, side: Side) -> String {
        format!("{}-{}", self.prefix, side.suffix())
    }

    /// Runs a closure on a thread of its own in the namespace of that side; sockets it opens may leave it.
    pub fn enter<T: Send>(&self, side: Side, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        netns::enter(Some(&NetnsSpec::Name(self.namespace(side))), work).map_err(io::Error::other)
    }

    /// A command that will run in the namespace of that side. The process keeps the id of the child, so signals
    /// reach it; dropping the lab kills what still runs in it.
    pub fn command(&self, side: Side, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(side)]).arg(program);
        command
    }

    /// Runs `ip` with these words in the namespace of that side, and returns what it printed: bridges, tunnels,
    /// VLAN interfaces and whatever else a test wants beside the pair.
    pub fn ip(&self, side: Side, words: &str) -> io::Result<String> {
        run(Command::new("ip").args(["-n", &self.namespace(side)]).args(words.split_whitespace()))
    }

    /// The counters of an interface on that side, as the kernel has them now.
    pub fn counters(&self, side: Side, interface: &str) -> io::Result<Counters> {
        let table = self.enter(side, || std::fs::read_to_string("/proc/thread-self/net/dev"))??;
        Counters::parse(&table, interface)
            .ok_or_else(|| io::Error::other(format!("no interface {interface} in {}", self.namespace(side))))
    }

    /// `rx_packets` of the receiving end.
    pub fn received(&self) -> io::Result<u64> {
        Ok(self.counters(Side::Receiver, Side::Receiver.interface())?.rx_packets)
    }

    /// Sets that end of the pair up or down. A side that is set up again gets its neighbour entry back, which the
    /// kernel flushes with the carrier.
    pub fn set_up(&self, side: Side, up: bool) -> io::Result<()> {
        let interface = side.interface();
        self.ip(side, &format!("link set {interface} {}", if up { "up" } else { "down" }))?;
        if up { self.add_neighbour(side) } else { Ok(()) }
    }

    /// Removes the pair, both ends.
    pub fn delete_link(&self) -> io::Result<()> {
        self.ip(Side::Receiver, &format!("link delete {}", Side::Receiver.interface())).map(drop)
    }

    /// Makes the pair again after [`delete_link`](Self::delete_link): same names and addresses, new indexes.
    pub fn create_link(&self) -> io::Result<()> {
        let [sender, receiver] = Side::BOTH;
        self.ip(
            sender,
            &format!(
                "link add {} address {} type veth peer name {} address {} netns {}",
                sender.interface(),
                mac_text(sender.mac()),
                receiver.interface(),
                mac_text(receiver.mac()),
                self.namespace(receiver),
            ),
        )?;
        for side in Side::BOTH {
            let interface = side.interface();
            run(self.command(side, "ethtool").args(["-K", interface]).args(OFFLOADS_OFF))?;
            self.ip(side, &format!("address add {}/24 dev {interface}", side.address()))?;
            self.ip(side, &format!("link set {interface} arp off up"))?;
        }
        for side in Side::BOTH {
            self.add_neighbour(side)?;
            self.wait_for_carrier(side)?;
        }
        Ok(())
    }

    /// Adds a tun device, raw IP without a link header, that is up and receives what is sent to the [`Tun`].
    ///
    /// # Errors
    /// As all of them, and if `socat`, which holds the device open, is not installed.
    pub fn add_tun(&self, side: Side, name: &str) -> io::Result<Tun> {
        self.add_virtual_device(side, name, "tun")
    }

    /// The same with Ethernet frames: a tap device. What is sent on it leaves for nowhere.
    ///
    /// # Errors
    /// As [`add_tun`](Self::add_tun).
    pub fn add_tap(&self, side: Side, name: &str) -> io::Result<Tun> {
        self.add_virtual_device(side, name, "tap")
    }

    fn add_virtual_device(&self, side: Side, name: &str, kind: &str) -> io::Result<Tun> {
        let path = std::env::temp_dir().join(format!("{}-{name}.socket", self.namespace(side)));
        let _ = std::fs::remove_file(&path);
        // One datagram on the socket becomes one packet out of the device, as if the far end had sent it.
        let child = self
            .command(side, "socat")
            .arg(format!("UNIX-RECV:{}!!/dev/null", path.display()))
            .arg(format!("TUN,tun-name={name},tun-type={kind},iff-no-pi,iff-up"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let tun = Tun { child, path, socket: UnixDatagram::unbound()? };
        let up =
            || self.ip(side, &format!("-o link show dev {name}")).is_ok_and(|text| text.contains("LOWER_UP"));
        wait(&format!("socat bringing {name} up"), || Ok(up() && tun.path.exists()))?;
        Ok(tun)
    }

    fn add_neighbour(&self, side: Side) -> io::Result<()> {
        let other = side.other();
        self.ip(
            side,
            &format!(
                "neighbour replace {} lladdr {} nud permanent dev {}",
                other.address(),
                mac_text(other.mac()),
                side.interface()
            ),
        )
        .map(drop)
    }

    fn wait_for_carrier(&self, side: Side) -> io::Result<()> {
        let interface = side.interface();
        wait(&format!("carrier of {interface}"), || {
            Ok(self.ip(side, &format!("-o link show dev {interface}"))?.contains("state UP"))
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for side in Side::BOTH {
            remove_namespace(&self.namespace(side));
        }
    }
}

/// A tun or tap device and the process that holds it; both go when this is dropped.
#[derive(Debug)]
pub struct Tun {
    child: Child,
    path: PathBuf,
    socket: UnixDatagram,
}

impl Tun {
    /// Makes the device receive one packet, which begins with the IP header on a tun device and with the Ethernet
    /// header on a tap device.
    pub fn receive(&self, packet: &[u8]) -> io::Result<()> {
        self.socket.send_to(packet, &self.path).map(drop)
    }
}

impl Drop for Tun {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What an interface has counted since it was made (`/proc/net/dev`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Bytes received, link headers included.
    pub rx_bytes: u64,
    /// Frames received. On veth: those the other end's driver handed over, whatever became of them later.
    pub rx_packets: u64,
    /// Frames dropped on reception.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Frames dropped on transmission.
    pub tx_dropped: u64,
}

impl Counters {
    /// The line of `interface` in the text of `/proc/net/dev`.
    fn parse(table: &str, interface: &str) -> Option<Self> {
        let numbers = table.lines().find_map(|line| {
            let (name, numbers) = line.split_once(':')?;
            (name.trim() == interface).then_some(numbers)
        })?;
        let mut fields = [0; 16];
        for (field, number) in fields.iter_mut().zip(numbers.split_whitespace()) {
            *field = number.parse().ok()?;
        }
        let [rx_bytes, rx_packets, _, rx_dropped, _, _, _, _, tx_bytes, tx_packets, _, tx_dropped, ..] =
            fields;
        Some(Self { rx_bytes, rx_packets, rx_dropped, tx_bytes, tx_packets, tx_dropped })
    }
}

/// Removes the labs of processes that no longer run. [`Lab::new`] does it, so a crash leaves nothing for long.
pub fn sweep() -> io::Result<()> {
    for line in run(Command::new("ip").args(["netns", "list"]))?.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if let Some(Ok(owner)) = owner.map(str::parse::<u32>)
            && !PathBuf::from(format!("/proc/{owner}")).exists()
        {
            remove_namespace(name);
        }
    }
    Ok(())
}

/// Kills what runs in a namespace of ours and removes its name; interfaces go with the last user.
fn remove_namespace(name: &str) {
    let pids = run(Command::new("ip").args(["netns", "pids", name])).unwrap_or_default();
    for pid in pids.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()) {
        if pid.cast_unsigned() != std::process::id() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    // Fails if it was never made: nothing to undo then.
    let _ = run(Command::new("ip").args(["netns", "delete", name]));
}

/// Why no namespace can be made here, or `None` if one can.
fn missing_privilege() -> Option<String> {
    let attempt = std::thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET)).join();
    match attempt {
        Ok(Ok(())) => {}
        Ok(Err(errno)) => return Some(format!("unshare(CLONE_NEWNET): {}", errno.desc())),
        Err(_) => return Some("the thread that tried to unshare ended in a panic".to_owned()),
    }
    ["ip", "ethtool"].into_iter().find_map(|program| {
        let result =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        result.err().map(|error| format!("{program}: {error}"))
    })
}

/// No router solicitation, neighbour discovery or multicast report from any interface of this namespace.
fn silence_ipv6() -> io::Result<()> {
    for which in ["all", "default"] {
        match std::fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1") {
            // A kernel without IPv6 is silent already.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Runs a command to its end; its output, or an error that quotes the command and what it complained of.
fn run(command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        io::Error::new(error.kind(), format!("{}: {error}", command.get_program().to_string_lossy()))
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {} ({})", complaint.trim(), output.status)))
}

/// Asks every 5 ms until the answer is yes, for at most [`PATIENCE`].
fn wait(what: &str, mut ready: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let start = Instant::now();
    while !ready()? {
        if start.elapsed() > PATIENCE {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{what}: not within {PATIENCE:?}")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The start of the name of every namespace of a lab; the id of the process that made it follows.
const PREFIX: &str = "gannet-lab-";

/// How long to wait for what the kernel does in the background. The carrier's news takes up to a second
/// (`net/core/link_watch.c` delays it), a loaded machine doubles that.
const PATIENCE: Duration = Duration::from_secs(10);

/// What merges, splits or postpones: with these off a frame is on the wire what it was in the sender's buffer.
const OFFLOADS_OFF: [&str; 10] = ["gso", "off", "tso", "off", "gro", "off", "tx", "off", "rx", "off"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_whole_name() {
        let table = "Inter-|   Receive    |  Transmit\n face |bytes packets errs drop\n\
             rx01: 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n  rx0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
        let counters = Counters::parse(table, "rx0").unwrap();
        let expected = Counters {
            rx_bytes: 1,
            rx_packets: 2,
            rx_dropped: 4,
            tx_bytes: 9,
            tx_packets: 10,
            tx_dropped: 12,
        };
        assert_eq!(counters, expected);
        assert_eq!(Counters::parse(table, "rx"), None);
    }

    #[test]
    fn the_lab_is_silent_and_takes_everything_with_it() {
        let Ok(()) = require() else { return };
        let lab = Lab::new().unwrap();
        let names = Side::BOTH.map(|side| lab.namespace(side));
        for side in Side::BOTH {
            let before = lab.counters(side, side.interface()).unwrap();
            assert_eq!((before.rx_packets, before.tx_packets), (0, 0), "{side:?}");
        }
        let mut sleeper = lab.command(Side::Sender, "sleep").arg("60").spawn().unwrap();
        wait("sleep in the namespace", || {
            Ok(run(Command::new("ip").args(["netns", "pids", &names[0]]))?
                .contains(&sleeper.id().to_string()))
        })
        .unwrap();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _lab = lab;
            std::panic::resume_unwind(Box::new("a test fails"));
        }));
        assert!(panicked.is_err());
        assert!(!sleeper.wait().unwrap().success());
        let left = run(Command::new("ip").args(["netns", "list"])).unwrap();
        assert!(names.iter().all(|name| !left.contains(name)), "{left}");
    }

    #[test]
    fn the_two_sides_reach_each_other() {
        let Ok(()) = require() else { return };
        let lab = Lab::new().unwrap();
        let receiver = lab.enter(Side::Receiver, || std::net::UdpSocket::bind("0.0.0.0:7").unwrap()).unwrap();
        receiver.set_read_timeout(Some(PATIENCE)).unwrap();
        let send = || {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.send_to(b"hello", (Side::Receiver.address(), 7)).unwrap();
        };
        lab.enter(Side::Sender, send).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(receiver.recv(&mut buffer).unwrap(), 5);
        assert_eq!(lab.received().unwrap(), 1);

        lab.set_up(Side::Receiver, false).unwrap();
        assert!(lab.ip(Side::Receiver, "-o link show dev rx0").unwrap().contains("state DOWN"));
        lab.set_up(Side::Receiver, true).unwrap();
        lab.wait_for_carrier(Side::Sender).unwrap();
        lab.enter(Side::Sender, send).unwrap();
        assert_eq!(receiver.recv(&mut buffer).unwrap(), 5);

        lab.delete_link().unwrap();
        assert!(lab.received().is_err());
        lab.create_link().unwrap();
        assert_eq!(lab.received().unwrap(), 0);
        lab.enter(Side::Sender, send).unwrap();
        assert_eq!(receiver.recv(&mut buffer).unwrap(), 5);
    }

    #[test]
    fn a_tun_receives_what_it_is_given() {
        let Ok(()) = require() else { return };
        if Command::new("socat").arg("-V").output().is_err() {
            assert!(std::env::var_os("REQUIRE_NETNS").is_none(), "REQUIRE_NETNS=1 and no socat");
            eprintln!("SKIPPED, needs socat");
            return;
        }
        let lab = Lab::new().unwrap();
        let tun = lab.add_tun(Side::Receiver, "tun0").unwrap();
        let mut packet = [0; 28];
        packet[0] = 0x45;
        packet[3] = 28;
        tun.receive(&packet).unwrap();
        tun.receive(&packet).unwrap();
        wait("two packets on tun0", || Ok(lab.counters(Side::Receiver, "tun0")?.rx_packets == 2)).unwrap();
        drop(tun);
        assert!(lab.counters(Side::Receiver, "tun0").is_err());
    }

    #[test]
    fn labs_of_dead_processes_are_swept_and_living_ones_are_not() {
        let Ok(()) = require() else { return };
        let mut ended = Command::new("true").spawn().unwrap();
        let stale = format!("{PREFIX}{}-0-s", ended.id());
        ended.wait().unwrap();
        run(Command::new("ip").args(["netns", "add", &stale])).unwrap();
        let living = Lab::new().unwrap();
        sweep().unwrap();
        let left = run(Command::new("ip").args(["netns", "list"])).unwrap();
        assert!(!left.contains(&stale), "{left}");
        assert!(left.contains(&living.namespace(Side::Sender)), "{left}");
    }
}
