//! The flags of `gannet stats`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::{CaptureArgs, FlowArgs, OUTPUT};
use crate::units::{self, FlowOutputSpec};

/// The flags of `gannet stats`.
#[derive(Debug, Args)]
#[command(after_long_help = FIELDS_AND_EXAMPLES, after_help = "`gannet stats --help` has the fields and examples.")]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    pub(crate) capture: CaptureArgs,

    /// Where records go and how: `FORMAT[:FILE]`; may repeat [default: none on a terminal, else jsonl]
    ///
    /// A record for each flow when it is over. `jsonl` is a JSON object per line, `csv` has a line of names first,
    /// `zeek` is Zeek's conn.log, `none` nothing (for the tables alone). Without FILE, standard output. A FILE is
    /// appended to and created with mode 0600.
    #[arg(short, long, value_name = "FORMAT[:FILE]", value_parser = units::flow_output, env = "GANNET_OUTPUT",
          value_delimiter = None, help_heading = OUTPUT)]
    pub(crate) output: Vec<FlowOutputSpec>,

    /// Print the tables of conversations, endpoints and protocols at the end, to FILE or stderr
    /// [default: on a terminal]
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-",
          env = "GANNET_SUMMARY", help_heading = OUTPUT)]
    pub(crate) summary: Option<PathBuf>,

    /// Write every record out at once
    #[arg(short = 'l', long, value_parser = BoolishValueParser::new(), env = "GANNET_LINE_BUFFERED",
          help_heading = OUTPUT)]
    pub(crate) line_buffered: bool,

    #[command(flatten)]
    pub(crate) flow: FlowArgs,
}

const FIELDS_AND_EXAMPLES: &str = "\
Fields of a record (jsonl; csv has the most of them, with _ for .):
  timestamp, duration_ns          the first packet (UTC); from there to the last, or to the end of a connection, in ns
  network.transport, .type        tcp, udp, icmp, ipv6-icmp, sctp ...; ipv4, ipv6
  network.protocol.name           http, tls, ssh, smtp, ftp by content on any port; dns likewise on those of name servers
  network.community_id            the join key of Zeek, Suricata and Arkime
  source.address, .port           who opened it: sent the SYN, or spoke first
  source.packets, .bytes          what it sent: IP packets, and their bytes with headers
  source.payload_bytes            the length of its TCP stream, or the payload of its datagrams
  source.tcp.missed_bytes         bytes of the stream that were not captured
  source.tcp.retransmitted_bytes, .conflicting_bytes   sent again; of them, others than the first time
  source.tcp.out_of_order, .duplicates   segments out of order; packets captured twice, which count nowhere else
  source.tcp.zero_windows, .zero_window_ns   how often and for how long it could take no more
  source.tcp.rtt_ns               from its data to their acknowledgement, the shortest
  destination...                  the same of the other end
  icmp.type, icmp.code            of the first message
  tcp.state, tcp.history          conn_state and history of Zeek: SF, ShADadFf
  tcp.handshake.client_ns, .server_ns   from the capture point to that end and back, in the handshake
  tls.client.server_name, .supported_protocols   SNI and ALPN of the client
  tls.next_protocol, tls.version  what the server chose; without an answer the highest version offered
  gannet.id, gannet.connection    the number in this run; a name that is the same at every tap
  gannet.end                      finished, reset-source, reset-destination, idle, evicted, reused, end-of-input
  gannet.midstream                its SYN was not seen
  gannet.interface, .tunnel.kind, .tunnel.id, .vlan, .inner_vlan   where and in what its first packet came
  gannet.icmp_errors              ICMP errors about it
A connection that ends in order is reported up to ten seconds later, with what still belongs to it; one of UDP or ICMP after
a minute of silence. In conn.log uid is made here, and tunnel_parents is always -: what a tunnel carries is told of
the flows inside, and the tunnel has no line of its own.

Examples:
  Who talks to whom on this machine, as tables on Ctrl-C:
      gannet stats
  The same of a minute on one interface, without records:
      gannet stats -i eth0 --duration 1m -o none --summary
  The largest transfers of a capture file:
      gannet stats -r capture.pcapng -o jsonl | jq -s 'sort_by(-.destination.bytes) | .[:10]'
  conn.log for tools that read Zeek's, and JSON beside it:
      gannet stats -r capture.pcapng -o zeek:conn.log -o jsonl:flows.jsonl
  Connections to port 443 that were refused, as it happens:
      gannet stats -i eth0 -o jsonl -l tcp port 443 | jq 'select(.tcp.state == \"REJ\")'";
