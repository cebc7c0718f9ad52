//! Socket options, ioctls and mappings: each kernel call of this crate that the `nix` crate has no safe
//! wrapper for, behind a function that cannot be misused.
//!
//! Every error is the plain `io::Error` of the call; the callers name what was attempted.
#![allow(unsafe_code)]

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A plain C value that may be copied to and from the kernel byte by byte.
///
/// # Safety
/// The type is `repr(C)` (or an integer), has no invalid bit patterns and holds no pointers that the kernel
/// would follow beyond the length given.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: integers and `repr(C)` structs of integers from linux/if_packet.h.
unsafe impl Plain for libc::c_int {}
// SAFETY: as above.
unsafe impl Plain for libc::tpacket_req3 {}
// SAFETY: as above.
unsafe impl Plain for libc::tpacket_stats_v3 {}
// SAFETY: as above.
unsafe impl Plain for libc::packet_mreq {}

/// A new `AF_PACKET`/`SOCK_RAW` socket with protocol 0, so that it receives nothing until it is bound
/// (`net/packet/af_packet.c`, `packet_create`).
pub(crate) fn packet_socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just handed out this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `setsockopt` with the bytes of `value`.
pub(crate) fn set_option<T: Plain>(fd: BorrowedFd<'_>, level: i32, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: `value` is readable for its size and the kernel reads no further.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    check(result)
}

/// `getsockopt` into a value of type `T`; a shorter answer leaves the rest zero.
pub(crate) fn option<T: Plain>(fd: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is writable for `len` bytes and the kernel writes no further.
    let result =
        unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut len) };
    check(result)?;
    // SAFETY: zeroed above, and `Plain` has no invalid bit patterns.
    Ok(unsafe { value.assume_init() })
}

/// Sets an option that takes a classic BPF program (`SO_ATTACH_FILTER`, `PACKET_FANOUT_DATA`).
///
/// The kernel copies the program and checks it; a refusal is `EINVAL`.
pub(crate) fn set_program(
    fd: BorrowedFd<'_>,
    level: i32,
    name: i32,
    program: &[libc::sock_filter],
) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let request = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: `request` is readable, and `filter` points to `len` instructions that the kernel only reads.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(&request).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    check(result)
}

/// Binds a packet socket to an interface (0 = all) and a protocol in host byte order (`ETH_P_ALL`; 0 = none).
pub(crate) fn bind_packet(fd: BorrowedFd<'_>, ifindex: i32, protocol: u16) -> io::Result<()> {
    // SAFETY: sockaddr_ll is integers only, for which all zeros is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = ifindex;
    // SAFETY: the address is readable for the length given.
    let result = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            std::ptr::from_ref(&address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    check(result)
}

/// The interface index that a packet socket is bound to (`packet_getname`).
pub(crate) fn bound_ifindex(fd: BorrowedFd<'_>) -> io::Result<i32> {
    // SAFETY: sockaddr_ll is integers only, for which all zeros is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    let mut len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address is writable for `len` bytes and the kernel writes no further.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), (&raw mut address).cast(), &raw mut len) })?;
    Ok(address.sll_ifindex)
}

/// What an interface ioctl answers, see [`interface_ioctl`].
#[derive(Clone, Copy)]
pub(crate) enum InterfaceQuery {
    /// `SIOCGIFINDEX`
    Index,
    /// `SIOCGIFHWADDR`: the ARPHRD_ type
    HardwareType,
    /// `SIOCGIFFLAGS`
    Flags,
}

/// Asks the kernel about the interface `name` in the network namespace of the socket `fd`.
pub(crate) fn interface_ioctl(fd: BorrowedFd<'_>, name: &str, query: InterfaceQuery) -> io::Result<i64> {
    let mut request = interface_request(name)?;
    let code = match query {
        InterfaceQuery::Index => libc::SIOCGIFINDEX,
        InterfaceQuery::HardwareType => libc::SIOCGIFHWADDR,
        InterfaceQuery::Flags => libc::SIOCGIFFLAGS,
    };
    // SAFETY: these ioctls read the name of the ifreq and write into its union, nothing else.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), code as _, &raw mut request) })?;
    // SAFETY: the union member read is the one that the ioctl of this arm has written.
    Ok(unsafe {
        match query {
            InterfaceQuery::Index => i64::from(request.ifr_ifru.ifru_ifindex),
            InterfaceQuery::HardwareType => i64::from(request.ifr_ifru.ifru_hwaddr.sa_family),
            InterfaceQuery::Flags => i64::from(request.ifr_ifru.ifru_flags as u16),
        }
    })
}

/// The name of the interface with this index in the network namespace of the socket (`SIOCGIFNAME`).
pub(crate) fn interface_name(fd: BorrowedFd<'_>, ifindex: i32) -> io::Result<String> {
    // SAFETY: ifreq is integers, arrays and pointers, for which all zeros is a valid value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    request.ifr_ifru.ifru_ifindex = ifindex;
    // SAFETY: SIOCGIFNAME reads the index and writes the name of this ifreq.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::SIOCGIFNAME as _, &raw mut request) })?;
    let bytes = request.ifr_name.iter().take_while(|&&byte| byte != 0).map(|&byte| byte as u8).collect();
    Ok(String::from_utf8(bytes).unwrap_or_else(|_| format!("if{ifindex}")))
}

/// Switches hardware receive stamps of the interface on for all packets (`SIOCSHWTSTAMP`, needs
/// `CAP_NET_ADMIN`). `EOPNOTSUPP` or `EINVAL` from a driver without them.
pub(crate) fn enable_hardware_stamps(fd: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let mut config =
        libc::hwtstamp_config { flags: 0, tx_type: 0, rx_filter: libc::HWTSTAMP_FILTER_ALL as i32 };
    let mut request = interface_request(name)?;
    request.ifr_ifru.ifru_data = (&raw mut config).cast();
    // SAFETY: `ifru_data` points to a hwtstamp_config that lives until the call has returned.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::SIOCSHWTSTAMP as _, &raw mut request) })
}

fn interface_request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: ifreq is integers, arrays and pointers, for which all zeros is a valid value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    if name.len() >= request.ifr_name.len() || name.bytes().any(|byte| byte == 0) {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *slot = byte as libc::c_char;
    }
    Ok(request)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
