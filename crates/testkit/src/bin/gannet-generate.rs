//! Sends numbered frames on an interface and says, as JSON, how many and how fast.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use clap::Parser;
use gannet_ring::transmit::TransmitSocket;
use gannet_testkit::generator::{Generator, Plan, Sizes, Spec};
use gannet_testkit::shape::{Network, Shape, Tag, Transport};

/// Send numbered test frames, in one direction or both, at an exact rate or as fast as they go.
///
/// Each frame carries its number, its flow and checksums, so that gannet-tally can tell from a capture what was
/// lost, doubled or changed. Prints {"sent", "bytes", "seconds", "pps", "late_seconds"} when done, also on Ctrl-C.
#[derive(Parser)]
#[command(name = "gannet-generate")]
struct Arguments {
    /// Interface to send on
    #[arg(short, long, value_name = "IF")]
    interface: String,
    /// Frames to send
    #[arg(short, long, default_value_t = 1_000_000)]
    count: u64,
    /// Length of the frames without FCS: N, LOW-HIGH (drawn evenly), or imix (60, 566 and 1514, drawn 7:4:1)
    #[arg(short, long, default_value = "1514")]
    size: Sizes,
    /// Flows that take turns
    #[arg(short, long, default_value_t = 16)]
    flows: u32,
    /// Frames per second [default: as fast as they go]
    #[arg(long, value_name = "N")]
    pps: Option<f64>,
    /// Every other turn of a flow is its reverse direction
    #[arg(long)]
    both_directions: bool,
    /// IPv6 instead of IPv4
    #[arg(long)]
    ipv6: bool,
    /// TCP segments instead of UDP datagrams
    #[arg(long)]
    tcp: bool,
    /// A VLAN tag, e.g. 100, 0x88a8:100, 0x8100:100:5 (PCP 5) or 0x8100:100:5:1 (DEI); repeat for QinQ, outer first
    #[arg(long, value_name = "[TPID:]VID[:PCP[:DEI]]")]
    vlan: Vec<VlanArgument>,
    /// Wrap in VXLAN of this network identifier
    #[arg(long, value_name = "VNI")]
    vxlan: Option<u32>,
    /// Number of the first frame; several generators need ranges that do not meet
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Decides noise and drawn sizes
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Destination hardware address [default: nobody's]
    #[arg(long, value_name = "MAC")]
    destination: Option<MacArgument>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    anyhow::ensure!(
        arguments.pps.is_none_or(|pps| pps > 0.0 && pps.is_finite()),
        "--pps must be greater than zero"
    );
    let default = Shape::default();
    let spec = Spec {
        shape: Shape {
            destination: arguments.destination.map_or(default.destination, |mac| mac.0),
            source: default.source,
            tags: arguments.vlan.iter().map(|tag| tag.0).collect(),
            vxlan: arguments.vxlan,
            network: if arguments.ipv6 { Network::V6 } else { Network::V4 },
            transport: if arguments.tcp { Transport::Tcp } else { Transport::Udp },
        },
        sizes: arguments.size,
        flows: arguments.flows,
        both_directions: arguments.both_directions,
        first: arguments.first,
        seed: arguments.seed,
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("installing a signal handler")?;
    }
    let mut socket = TransmitSocket::open(&arguments.interface)?;
    let plan = Plan { count: arguments.count, pps: arguments.pps };
    let sent = Generator::new(&spec).run(&mut socket, &plan, &stop)?;
    serde_json::to_writer(std::io::stdout(), &sent)?;
    writeln!(std::io::stdout())?;
    Ok(())
}

#[derive(Clone, Copy)]
struct VlanArgument(Tag);

impl FromStr for VlanArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str, max: u16| {
            let value = match text.strip_prefix("0x") {
                Some(digits) => u16::from_str_radix(digits, 16),
                None => text.parse(),
            };
            match value {
                Ok(value) if value <= max => Ok(value),
                _ => Err(format!("{text:?} is not a number from 0 to {max}")),
            }
        };
        let mut parts: Vec<&str> = text.split(':').collect();
        let tpid = if parts[0].starts_with("0x") && parts.len() > 1 {
            number(parts.remove(0), u16::MAX)?
        } else {
            0x8100
        };
        let [vid, rest @ ..] = parts.as_slice() else { return Err("no VLAN identifier".to_owned()) };
        if rest.len() > 2 {
            return Err("too many parts: [TPID:]VID[:PCP[:DEI]]".to_owned());
        }
        let optional = |index: usize, max| rest.get(index).map_or(Ok(0), |text| number(text, max));
        Ok(Self(Tag {
            tpid,
            vid: number(vid, 4_095)?,
            pcp: optional(0, 7)? as u8,
            dei: optional(1, 1)? == 1,
        }))
    }
}

#[derive(Clone, Copy)]
struct MacArgument([u8; 6]);

impl FromStr for MacArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes: Vec<u8> = text
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16))
            .collect::<Result<_, _>>()
            .map_err(|error| format!("{text:?}: {error}"))?;
        bytes.try_into().map(Self).map_err(|_| format!("{text:?} has not six bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_as_words() {
        let tag = |text: &str| text.parse::<VlanArgument>().map(|tag| tag.0);
        assert_eq!(tag("100"), Ok(Tag { tpid: 0x8100, vid: 100, pcp: 0, dei: false }));
        assert_eq!(tag("0x88a8:5:7:1"), Ok(Tag { tpid: 0x88a8, vid: 5, pcp: 7, dei: true }));
        assert_eq!(tag("5:3"), Ok(Tag { tpid: 0x8100, vid: 5, pcp: 3, dei: false }));
        for bad in ["", "4096", "1:8", "1:1:2", "1:1:1:1", "0x88a8:", "x"] {
            assert!(tag(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_as_words() {
        assert_eq!("02:00:00:00:00:ff".parse::<MacArgument>().map(|mac| mac.0), Ok([2, 0, 0, 0, 0, 255]));
        assert!("02:00".parse::<MacArgument>().is_err());
        assert!("02:00:00:00:00:100".parse::<MacArgument>().is_err());
    }
}
