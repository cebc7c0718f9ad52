//! The packet socket: creation, options, filters, fanout, kernel statistics.
//!
//! Order matters (`net/packet/af_packet.c`): protocol 0 first, so that nothing is received before the ring and
//! the filter stand; version, reserve and time stamps before the ring; bind before fanout. [`crate::receive`]
//! keeps it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::{fmt, io};

use gannet_filter::Program;

use crate::Error;
use crate::fanout::FanoutMode;
use crate::sys::{self, InterfaceQuery};

/// An `AF_PACKET` socket of type `SOCK_RAW`, for one interface of one network namespace, or for all of them.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
    target: Target,
}

/// What a socket captures from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Every interface of the namespace, also those that appear later.
    Any,
    /// The interface of this name.
    Named(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// A fanout group that further sockets can join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FanoutGroup {
    /// Number of the group in its network namespace, chosen by the kernel.
    pub id: u16,
    /// How packets are spread.
    pub mode: FanoutMode,
}

/// Counters of one socket since its ring was made, in 64 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelStatistics {
    /// Packets that passed the filter, dropped ones included.
    pub received: u64,
    /// Of those, packets for which the ring had no room.
    pub dropped: u64,
    /// How often the ring was full (episodes, not packets).
    pub freezes: u64,
}

impl PacketSocket {
    /// Opens a socket in the network namespace of the calling thread. It receives nothing yet.
    ///
    /// Needs `CAP_NET_RAW`.
    pub fn open(target: Target) -> Result<Self, Error> {
        let fd = sys::packet_socket().map_err(Error::Socket)?;
        Ok(Self { fd, target })
    }

    /// What the socket was opened for.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The index of the target in the socket's own namespace: 0 for "any".
    pub fn ifindex(&self) -> Result<i32, Error> {
        match &self.target {
            Target::Any => Ok(0),
            Target::Named(name) => sys::interface_ioctl(self.as_fd(), name, InterfaceQuery::Index)
                .map(|index| index as i32)
                .map_err(|source| Error::NoInterface { name: name.clone(), source }),
        }
    }

    /// The index that the socket is bound to: -1 once that interface has been removed (`packet_notifier`).
    pub(crate) fn bound_ifindex(&self) -> Result<i32, Error> {
        sys::bound_ifindex(self.as_fd()).map_err(|source| self.call("getsockname", source))
    }

    /// The ARPHRD_ number of the target: `ARPHRD_ETHER` for "any", where each frame names its own.
    pub fn hardware_type(&self) -> Result<u16, Error> {
        match &self.target {
            Target::Any => Ok(libc::ARPHRD_ETHER),
            Target::Named(name) => sys::interface_ioctl(self.as_fd(), name, InterfaceQuery::HardwareType)
                .map(|kind| kind as u16)
                .map_err(|source| Error::NoInterface { name: name.clone(), source }),
        }
    }

    /// True if the target is up (`IFF_UP`); "any" always is.
    pub fn is_up(&self) -> Result<bool, Error> {
        match &self.target {
            Target::Any => Ok(true),
            Target::Named(name) => sys::interface_ioctl(self.as_fd(), name, InterfaceQuery::Flags)
                .map(|flags| flags & i64::from(libc::IFF_UP) != 0)
                .map_err(|source| Error::NoInterface { name: name.clone(), source }),
        }
    }

    /// The name that `ifindex` has in the socket's namespace, or `if<N>` if it is gone by now.
    pub fn interface_name(&self, ifindex: i32) -> String {
        sys::interface_name(self.as_fd(), ifindex).unwrap_or_else(|_| format!("if{ifindex}"))
    }

    /// Makes the kernel run `program` on each packet before the ring: its return value is the snaplen, 0 rejects.
    ///
    /// Replaces the program of before without a moment in between. The socket is never locked
    /// (`SO_LOCK_FILTER`), which would forbid fanout data and every later filter.
    pub fn set_filter(&self, program: &Program) -> Result<(), Error> {
        attach_filter(self.as_fd(), program).map_err(|source| self.call("SO_ATTACH_FILTER", source))
    }

    /// Starts reception of all protocols on the target; a [`ReceiveRing`](crate::ReceiveRing) does it by itself.
    pub fn bind(&self) -> Result<(), Error> {
        let ifindex = self.ifindex()?;
        sys::bind_packet(self.as_fd(), ifindex, libc::ETH_P_ALL as u16)
            .map_err(|source| self.call("bind", source))
    }

    /// Asks the interface for promiscuous mode through a membership, which ends with the socket. No effect on
    /// "any".
    pub(crate) fn set_promiscuous(&self) -> Result<(), Error> {
        let request = libc::packet_mreq {
            mr_ifindex: self.ifindex()?,
            mr_type: libc::PACKET_MR_PROMISC as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        if request.mr_ifindex == 0 {
            return Ok(());
        }
        sys::set_option(self.as_fd(), libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
            .map_err(|source| self.call("PACKET_ADD_MEMBERSHIP", source))
    }

    /// Makes a new fanout group whose first member this socket is. The kernel picks an unused number, so that no
    /// foreign group is joined by accident.
    pub fn create_fanout(&self, mode: FanoutMode) -> Result<FanoutGroup, Error> {
        let kernel_mode = mode.kernel_mode() | libc::PACKET_FANOUT_FLAG_UNIQUEID;
        let name = "PACKET_FANOUT (new group)";
        self.integer_option(libc::PACKET_FANOUT, (kernel_mode << 16) as i32, name)?;
        let value: libc::c_int = sys::option(self.as_fd(), libc::SOL_PACKET, libc::PACKET_FANOUT)
            .map_err(|source| self.call("PACKET_FANOUT (reading the group)", source))?;
        if let Some(program) = mode.program() {
            sys::set_program(
                self.as_fd(),
                libc::SOL_PACKET,
                libc::PACKET_FANOUT_DATA,
                &kernel_program(&program),
            )
            .map_err(|source| self.call("PACKET_FANOUT_DATA", source))?;
        }
        Ok(FanoutGroup { id: value as u16, mode })
    }

    /// Joins a group that another socket of this run has made for the same target.
    pub fn join_fanout(&self, group: FanoutGroup) -> Result<(), Error> {
        let value = u32::from(group.id) | group.mode.kernel_mode() << 16;
        self.integer_option(libc::PACKET_FANOUT, value as i32, "PACKET_FANOUT (joining)")
    }

    /// Counts since the last call: the kernel resets them on reading, so one reader adds them up.
    pub(crate) fn read_statistics(&self) -> Result<KernelStatistics, Error> {
        let stats: libc::tpacket_stats_v3 =
            sys::option(self.as_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS)
                .map_err(|source| self.call("PACKET_STATISTICS", source))?;
        Ok(KernelStatistics {
            received: u64::from(stats.tp_packets),
            dropped: u64::from(stats.tp_drops),
            freezes: u64::from(stats.tp_freeze_q_cnt),
        })
    }

    /// Takes the error that made `poll` report `POLLERR`: `ENETDOWN` when the interface goes down or away.
    pub fn take_error(&self) -> Option<io::Error> {
        let code: libc::c_int = sys::option(self.as_fd(), libc::SOL_SOCKET, libc::SO_ERROR).ok()?;
        (code != 0).then(|| io::Error::from_raw_os_error(code))
    }

    /// Switches on the interface's own time stamps and takes them instead of the kernel's.
    pub(crate) fn use_hardware_stamps(&self) -> Result<(), Error> {
        if let Target::Named(name) = &self.target {
            sys::enable_hardware_stamps(self.as_fd(), name)
                .map_err(|source| self.call("SIOCSHWTSTAMP", source))?;
        }
        let raw = libc::SOF_TIMESTAMPING_RAW_HARDWARE as i32;
        self.integer_option(libc::PACKET_TIMESTAMP, raw, "PACKET_TIMESTAMP")
    }

    pub(crate) fn integer_option(&self, option: i32, value: i32, name: &'static str) -> Result<(), Error> {
        sys::set_option(self.as_fd(), libc::SOL_PACKET, option, &value)
            .map_err(|source| self.call(name, source))
    }

    pub(crate) fn call(&self, call: &'static str, source: io::Error) -> Error {
        Error::Call { call, target: self.target.to_string(), source }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Makes the kernel run `program` on what any socket receives, whatever its family; see [`PacketSocket::set_filter`].
///
/// # Errors
/// `EINVAL` if the kernel refuses the program.
pub fn attach_filter(socket: BorrowedFd<'_>, program: &Program) -> io::Result<()> {
    sys::set_program(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &kernel_program(program))
}

fn kernel_program(program: &Program) -> Vec<libc::sock_filter> {
    program
        .instructions()
        .iter()
        .map(|insn| libc::sock_filter { code: insn.code, jt: insn.jt, jf: insn.jf, k: insn.k })
        .collect()
}
