//! Where names come from.

/// Looks up names of hosts, networks, ports and protocols.
#[derive(Debug, Default)]
pub struct Names {
    /// Whether hosts that the hosts file does not have may be asked of the resolver (`--resolve`).
    pub ask_resolver: bool,
}
