//! The flags of every command that follows connections.

use std::num::{NonZeroU64, NonZeroUsize};

use clap::Args;
use clap::builder::BoolishValueParser;
use gannet_packet::Decap;

use super::{ENGINE, PACKETS};
use crate::units::{self, Vnis};

/// Tunnels, copies, and how much is remembered.
#[derive(Clone, Debug, Args)]
pub(crate) struct FlowArgs {
    /// Which tunnels are opened: all, none, or a list like vxlan:4789:5000,gre,all,-mpls [default: all]
    ///
    /// mpls, pppoe, gre, gretap, pptp, erspan, ipip, 6in4, 4in6, etherip, vxlan, geneve, gtpu. Behind vxlan, geneve
    /// and gtpu may stand the UDP ports they are at (4789, 4790 and 8472; 6081; 2152). A minus sign takes one out of
    /// `all`. Connections are then those inside; records say what they came in. VLAN tags are always passed.
    #[arg(long, value_name = "LIST|none", value_parser = units::decap, env = "GANNET_DECAP", help_heading = PACKETS)]
    pub(crate) decap: Option<Decap>,

    /// Of VXLAN and Geneve only these virtual networks, like 5,0x10 [default: all]
    #[arg(long, value_name = "LIST", value_parser = units::vnis, env = "GANNET_VNI", help_heading = PACKETS)]
    pub(crate) vni: Option<Vnis>,

    /// Take packets that are captured twice for packets sent twice
    ///
    /// `any`, bridges, veth pairs and mirrors of both ports show a packet several times; its copies are counted and
    /// left, as a rule. What a replay in a loop of less than 100 ms sends looks the same: there this is needed.
    #[arg(long, value_parser = BoolishValueParser::new(), env = "GANNET_NO_DEDUP", help_heading = PACKETS)]
    pub(crate) no_dedup: bool,

    /// Connections that each worker remembers at once [default: 1048576]
    ///
    /// Beyond it the ones that matter least are forgotten or, by `gannet stats`, reported as they are, and counted.
    /// `gannet stats` remembers a quarter as many other conversations.
    #[arg(long, value_name = "N", value_parser = units::above_zero::<NonZeroUsize>, env = "GANNET_MAX_FLOWS", help_heading = ENGINE)]
    pub(crate) max_flows: Option<NonZeroUsize>,

    /// Memory of each worker for connections and segments that came before their turn [default: 448MiB]
    ///
    /// Used only when there are that many. Beyond it connections are forgotten as with --max-flows, and early
    /// segments refused and counted.
    #[arg(long, value_name = "SIZE", value_parser = units::size, env = "GANNET_FLOW_MEMORY", help_heading = ENGINE)]
    pub(crate) flow_memory: Option<NonZeroU64>,
}
