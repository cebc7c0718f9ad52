//! What can go wrong while a capture is set up, and what to do about it.

use std::io;

/// A failed call on a packet socket: what was attempted, on what, and the kernel's answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No packet socket at all.
    #[error("opening a packet socket: {0}{hint}", hint = hint(.0))]
    Socket(#[source] io::Error),
    /// The interface is not there.
    #[error(
        "no interface named {name}: {source} (`gannet interfaces` lists what there is{})",
        one_by_one(name)
    )]
    NoInterface {
        /// The name given.
        name: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Block size that no ring can have.
    #[error(
        "block size {bytes} is not possible: it must be a multiple of the page size ({page}) and at most {max}"
    )]
    BlockSize {
        /// What was asked for.
        bytes: usize,
        /// The machine's page size.
        page: usize,
        /// The largest.
        max: usize,
    },
    /// Not even the smallest ring could be had.
    #[error(
        "{target}: the kernel has no memory for a ring of even {bytes} bytes: {source} (try a smaller --block-size)"
    )]
    NoRingMemory {
        /// The interface.
        target: String,
        /// The smallest size tried.
        bytes: u64,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Any other call.
    #[error("{call} on {target}: {source}{hint}", hint = call_hint(.call, .source))]
    Call {
        /// The call or socket option, as the kernel's documentation names it.
        call: &'static str,
        /// The interface, or "any".
        target: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A network namespace cannot be entered.
    #[error("network namespace {name}: {source}")]
    Namespace {
        /// As the user named it.
        name: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Error {
    /// True if the interface is away or down, which may pass.
    pub fn is_interface_gone(&self) -> bool {
        match self {
            Self::NoInterface { .. } => true,
            Self::Call { source, .. } => {
                matches!(source.raw_os_error(), Some(libc::ENODEV | libc::ENXIO | libc::ENETDOWN))
            }
            _ => false,
        }
    }
}

fn call_hint(call: &str, error: &io::Error) -> &'static str {
    // `sk_attach_prog` in net/core/filter.c: programs count against what a socket may have for its options, 20 kB
    // before Linux 6.7.
    if call == "SO_ATTACH_FILTER" && error.raw_os_error() == Some(libc::ENOMEM) {
        return " (the filter is longer than sockets may have here: sysctl -w net.core.optmem_max=131072, or a shorter filter)";
    }
    hint(error)
}

/// What to write for several interfaces in one word.
fn one_by_one(name: &str) -> &'static str {
    if name.contains(',') { "; several are named one by one, as in -i eth0 -i eth1" } else { "" }
}

fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        " (run as root, or give the program the capability: setcap cap_net_raw+ep)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_too_long_for_the_socket_is_told_how_to_fit() {
        let call = |call, errno| {
            let source = io::Error::from_raw_os_error(errno);
            Error::Call { call, target: "lo".to_owned(), source }.to_string()
        };
        assert!(call("SO_ATTACH_FILTER", libc::ENOMEM).contains("net.core.optmem_max"));
        assert!(!call("PACKET_RX_RING", libc::ENOMEM).contains("optmem"));
        assert!(call("SO_ATTACH_FILTER", libc::EPERM).contains("cap_net_raw"));
    }
}
