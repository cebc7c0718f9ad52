//! The fanout modes and their names.

use std::fmt;
use std::str::FromStr;

use gannet_filter::Program;
use thiserror::Error;

use super::program::{FLOW_SEED, flow_program};

/// How a fanout group chooses the member that gets a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FanoutMode {
    /// By flow, both directions together, tunnels looked into: [`flow_program`].
    #[default]
    Flow,
    /// By the kernel's symmetric hash of the flow (`PACKET_FANOUT_HASH`). It looks into GRE but not into VXLAN.
    Hash,
    /// By the processor that received the packet.
    Cpu,
    /// By the interface's receive queue.
    Qm,
    /// In turn. Scatters flows: for recording only, as are the two below.
    Lb,
    /// At random.
    Rnd,
    /// To the first member until its ring is full, then to the next.
    Rollover,
}

impl FanoutMode {
    /// Every mode, the default first.
    pub const ALL: [Self; 7] =
        [Self::Flow, Self::Hash, Self::Cpu, Self::Qm, Self::Lb, Self::Rnd, Self::Rollover];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flow => "flow",
            Self::Hash => "hash",
            Self::Cpu => "cpu",
            Self::Qm => "qm",
            Self::Lb => "lb",
            Self::Rnd => "rnd",
            Self::Rollover => "rollover",
        }
    }

    /// The `PACKET_FANOUT_` type that asks the kernel for it, without flags.
    pub const fn kernel_mode(self) -> u32 {
        match self {
            Self::Flow => libc::PACKET_FANOUT_CBPF,
            Self::Hash => libc::PACKET_FANOUT_HASH,
            Self::Cpu => libc::PACKET_FANOUT_CPU,
            Self::Qm => libc::PACKET_FANOUT_QM,
            Self::Lb => libc::PACKET_FANOUT_LB,
            Self::Rnd => libc::PACKET_FANOUT_RND,
            Self::Rollover => libc::PACKET_FANOUT_ROLLOVER,
        }
    }

    /// The program to set as `PACKET_FANOUT_DATA` once the group exists; `None` for the kernel's own modes.
    /// Without it the kernel gives every packet to the first member.
    pub fn program(self) -> Option<Program> {
        (self == Self::Flow).then(|| flow_program(FLOW_SEED))
    }

    /// Whether both directions of a flow always reach one member, as analysis needs.
    pub const fn keeps_flows(self) -> bool {
        matches!(self, Self::Flow | Self::Hash)
    }
}

impl fmt::Display for FanoutMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for FanoutMode {
    type Err = UnknownFanoutMode;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name() == name)
            .ok_or_else(|| UnknownFanoutMode(name.to_owned()))
    }
}

/// A name that is no fanout mode.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown fanout mode {0:?}: flow, hash, cpu, qm, lb, rnd or rollover")]
pub struct UnknownFanoutMode(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for mode in FanoutMode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
            assert_eq!(mode.program().is_some(), mode.kernel_mode() == libc::PACKET_FANOUT_CBPF);
        }
        let error = "ebpf".parse::<FanoutMode>().unwrap_err();
        assert_eq!(error, UnknownFanoutMode("ebpf".to_owned()));
        // The message lists every mode.
        assert!(FanoutMode::ALL.iter().all(|mode| error.to_string().contains(mode.name())));
    }
}
