//! The flags of `gannet http`.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use gannet_http::PortSet;
use gannet_pipeline::config::Rotate;
use gannet_sink::EventKinds;

use super::{CaptureArgs, FlowArgs, OUTPUT, SelectionArgs};
use crate::units::{self, HeaderList, OutputSpec};

/// The flags of `gannet http`.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = EXAMPLES, after_help = "`gannet http --help` has examples.")]
pub(crate) struct HttpArgs {
    #[command(flatten)]
    pub(crate) capture: CaptureArgs,

    /// Where records go and how: `FORMAT[:FILE]`; may repeat [default: text on a terminal, else jsonl]
    ///
    /// `text` is a line for people, `jsonl` a JSON object per line with OpenTelemetry's names, `messages` whole
    /// messages, `httpry` what httpry 0.1.8 prints, a line for each request and each response, `none` nothing (for
    /// the summary alone). Without FILE, standard output. A FILE is appended to and created with mode 0600.
    ///
    /// `messages` shows each request and each response as soon as it is over (with --events exchange, --status,
    /// --slower or --where: all of an exchange when that is over), under a line with time, addresses and the exchange's
    /// id: the head as it was on the wire, the body (up to --body, else 1 MiB) without chunks and compression,
    /// trailers. In a file or pipe bytes are as they were, and `body N` in the line says how many of them are the body.
    /// On a terminal control characters are shown as \x1b, and bodies that are no text are described. Credentials in
    /// heads are masked, unless --no-redact is given.
    ///
    /// Lines of `httpry` are the same byte for byte, and nothing is masked in them: who asks for them chooses that.
    /// Only on a terminal control characters are shown as \x1b.
    ///
    /// If httpry is the only format and neither FILTER nor --ports is given, the filter is httpry's:
    /// `tcp port 80 or 8080` (and what follows in fragments). Frames in files for which no filter can be made, such
    /// as those of NFLOG, PPP and wireless networks, are chosen by these ports.
    #[arg(short, long, value_name = "FORMAT[:FILE]", value_parser = units::output, env = "GANNET_OUTPUT",
          value_delimiter = None, help_heading = OUTPUT)]
    pub(crate) output: Vec<OutputSpec>,

    /// Fields of a line: of -o jsonl by their names, like timestamp,url.path; of -o httpry like timestamp,method,host
    ///
    /// jsonl: only these, where a record has them; all of them otherwise. The name of an object, like timing, stands
    /// for all that is in it; a header field is named behind its object, as http.request.header.referer, and need not
    /// be named by --header then. The manual page (`gannet man http | man -l -`) lists all names.
    ///
    /// httpry:
    /// [default: timestamp,source-ip,dest-ip,direction,method,host,request-uri,http-version,status-code,reason-phrase].
    /// Besides these, source-port and dest-port; any other name is that of a header field. Values are separated by a
    /// TAB; `-` stands for one that is not there. `timestamp` is local time; addresses and ports are those of the
    /// packet, so that they change places in a response; `direction` is > for a request and < for a response; of
    /// several header fields of a name the last counts, and one named like a part of the start line takes its place.
    #[arg(short, long, value_name = "LIST", value_delimiter = ',', env = "GANNET_FIELDS", help_heading = OUTPUT)]
    pub(crate) fields: Vec<String>,

    /// Print the JSON Schema of the lines of -o jsonl (draft 2020-12), and do nothing else
    ///
    /// With --fields, that of lines with these fields.
    #[arg(long, value_parser = BoolishValueParser::new(), env = "GANNET_SCHEMA", help_heading = OUTPUT)]
    pub(crate) schema: bool,

    /// With -o httpry, the requests per second of each host, this often; of a file once, at the end
    ///
    /// As httpry -s prints them: `TIME <TAB> host <TAB> N rps`, where N is the number of requests over the time since
    /// the host's first one, rounded up, then the total. A host below the threshold is left out and begins anew.
    #[arg(long, value_name = "TIME", value_parser = units::time, env = "GANNET_RATES", help_heading = OUTPUT)]
    pub(crate) rates: Option<Duration>,

    /// Hosts with fewer requests per second are not shown [default: 2]
    #[arg(long, value_name = "N", value_parser = units::above_zero::<NonZeroU32>, env = "GANNET_RATE_THRESHOLD", help_heading = OUTPUT)]
    pub(crate) rate_threshold: Option<NonZeroU32>,

    /// What becomes a record: `exchange`, `request`, `response`, `interim`, or several of them [default: exchange]
    ///
    /// Each is written as soon as it is complete: a request that hangs is there before its answer. Of a response the
    /// record has the head of its request as well, if that is known; `interim` are responses like 100 and 103. In
    /// JSON `gannet.event` says what a record is (exchanges lack it), and `gannet.id` is the same for all that
    /// belongs to one exchange.
    ///
    /// For `messages`, which has all but exchanges otherwise, it says which of them are shown; `exchange` alone:
    /// request and response one behind the other when both are over, and how the exchange ended if it is not complete.
    /// Of its interim responses there are the status and the time only. That is the default if --status, --slower or
    /// --where is given, because a request does not tell whether they hold: nothing is seen of one that still waits.
    #[arg(long, value_name = "LIST", value_parser = units::events, env = "GANNET_EVENTS", help_heading = OUTPUT)]
    pub(crate) events: Option<EventKinds>,

    /// Report requests that have had no answer for TIME, like 500ms or 10s, and count them
    ///
    /// Once each, beside the other records; in JSON `gannet.event` is `pending` and `gannet.waited_ns` the time until
    /// it was reported. The clock starts with the request's first byte and ends with the answer's. A lower TIME
    /// reports what is merely slow. It costs memory for each request that waits.
    #[arg(long, value_name = "TIME", value_parser = units::time, env = "GANNET_PENDING", help_heading = OUTPUT)]
    pub(crate) pending: Option<Duration>,

    /// Show up to SIZE bytes of each body, without chunks and compression [default: 0; messages: 1MiB]
    ///
    /// gzip, deflate, br and zstd are undone, also on top of one another. More than SIZE is neither kept nor decoded,
    /// and a body that grows a thousandfold is given up. It costs memory for each message under way; bodies are cut,
    /// and counted, when those of a worker have 256 MiB. Bodies are not masked.
    #[arg(long, value_name = "SIZE", value_parser = units::size_or_zero, env = "GANNET_BODY", help_heading = OUTPUT)]
    pub(crate) body: Option<usize>,

    /// Print the latency table by route at the end, to FILE or stderr [default: on a terminal]
    ///
    /// Durations from a request's first byte to its response's last, by method and route, by host and by status
    /// class. Exchanges whose times are not to be trusted (after a loss, begun before the capture, without an answer)
    /// are counted only. Names that are too long have `…` in their middle; those that would look the same then are
    /// whole, above their numbers.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-",
          env = "GANNET_SUMMARY", help_heading = OUTPUT)]
    pub(crate) summary: Option<PathBuf>,

    /// Write the latency histograms to FILE at the end, as an HdrHistogram log (V2)
    ///
    /// For HistogramLogProcessor, HistogramLogAnalyzer and the like. One line for each combination of method, status
    /// class, host and route, tagged `method=GET;status=2xx;host=shop.example;route=/users/{id}`; the interval is the
    /// whole run, values are nanoseconds within 1 %. The line without a tag is all of the others together. What was
    /// left out, and why, is in the comments. An existing FILE is replaced; it is created with mode 0600. `-` is
    /// standard output.
    #[arg(long, value_name = "FILE", env = "GANNET_HISTOGRAMS", help_heading = OUTPUT)]
    pub(crate) histograms: Option<PathBuf>,

    /// Paths that fit PATTERN are one route, like `/users/{id}/orders` or `/static/*`; may repeat
    ///
    /// Other paths become routes by themselves. In them stand `{id}` for a number, `{uuid}` for a UUID, `{date}` for
    /// 2024-05-01, `{hex}` for 8 or more hexadecimal digits with a figure among them, `{token}` for what is longer than
    /// 40 bytes or looks like base64, also before an extension and behind a name and `=` (`app-{hex}.js`, `year={id}`).
    /// Directories that spread files by their hash are `{id}`: two hexadecimal digits in front of a hash
    /// (`/objects/4a/9f3c...` is `/objects/{id}/{hex}`), one and two in front of a file (`/commons/4/4a/x.jpg` is
    /// `/commons/{id}/{id}/*`). Versions and languages stay (`v1`, `en-US`, `de`). Behind 8 segments the rest is `*`.
    #[arg(long, value_name = "PATTERN", env = "GANNET_ROUTE", help_heading = OUTPUT)]
    pub(crate) route: Vec<String>,

    /// Header fields shown in records, or `all`; may repeat
    /// [default: host,user-agent,content-type,content-length,location,server,x-forwarded-for,traceparent]
    #[arg(long, value_name = "LIST|all", value_parser = units::headers, env = "GANNET_HEADER", help_heading = OUTPUT)]
    pub(crate) header: Vec<HeaderList>,

    /// Show credentials too: authorization, cookies, signatures in URLs
    ///
    /// They are masked otherwise (the manual page lists the parameters of queries that are), but for the lines of -o
    /// httpry, which are httpry's byte for byte: nothing is masked there.
    #[arg(long, value_parser = BoolishValueParser::new(), env = "GANNET_NO_REDACT", help_heading = OUTPUT)]
    pub(crate) no_redact: bool,

    /// Write every record out at once
    #[arg(short = 'l', long, value_parser = BoolishValueParser::new(), env = "GANNET_LINE_BUFFERED",
          help_heading = OUTPUT)]
    pub(crate) line_buffered: bool,

    /// Record the packets too: a file, or a directory (ends in / or exists)
    ///
    /// The same packets that are analysed, as `gannet record -w` would write them. If the disk is too slow, packets are
    /// shed and counted, and the records stay complete.
    #[arg(long, value_name = "PATH", env = "GANNET_RECORD", help_heading = OUTPUT)]
    pub(crate) record: Option<PathBuf>,

    /// When the next file of the --record directory begins: `SIZE[,TIME][,align]`
    #[arg(long, value_name = "SPEC", value_parser = units::rotate, env = "GANNET_ROTATE", help_heading = OUTPUT)]
    pub(crate) rotate: Option<Rotate>,

    /// Look for HTTP only at connections with one of these ports, like 80,8000-8999 [default: all, by content]
    ///
    /// APP_PORTS is taken as well if this is not given.
    #[arg(long, value_name = "LIST", value_parser = units::ports, env = "GANNET_PORTS", help_heading = OUTPUT)]
    pub(crate) ports: Option<PortSet>,

    #[command(flatten)]
    pub(crate) selection: SelectionArgs,

    #[command(flatten)]
    pub(crate) flow: FlowArgs,
}

const EXAMPLES: &str = "\
Examples:
  What HTTP goes through this machine, and the latencies on Ctrl-C:
      gannet http
  The same as JSON, with the packets recorded beside it:
      gannet http -i eth0 -o jsonl --record caps/ | jq 'select(.timing.total_ns > 1e9)'
  Only the latency table of a minute, with two routes of our own:
      gannet http --duration 1m -o none --summary --route '/users/{id}' --route '/static/*'
  The latency histograms of a capture, and one of HdrHistogram's tools that shows them in ms:
      gannet http -r capture.pcapng -o none --histograms latency.hlog
      HistogramLogProcessor -i latency.hlog -outputValueUnitRatio 1000000
  What fails, and what takes longer than a second:
      gannet http -i eth0 --status 5xx,none
      gannet http -i eth0 --host '*.shop.example' --path '/api/*' -m post,put --slower 1s
  The same by the names of the JSON record, and more than that:
      gannet http --where 'http.response.status_code >= 500 || timing.total_ns > duration(\"1s\")'
      gannet http -r a.pcapng --where '\"gap\" in gannet.untrusted && url.path.matches(\"^/v2\")'
  Lines on the terminal and JSON in a file:
      gannet http -i lo --ports 8080 -o text -o jsonl:requests.jsonl
  As httpry has them, of a capture file, with the browsers:
      gannet http -r capture.pcap -o httpry -f timestamp,source-ip,method,host,user-agent
  Whole messages, decompressed, as they pass:
      gannet http -i lo -o messages port 8080
  Whole messages of what failed, when it is over:
      gannet http -i eth0 -o messages --status 5xx --body 64k
  Each request at once, its exchange when it is over, and what has waited for 2 seconds:
      gannet http -i eth0 -o jsonl --events request,exchange --pending 2s
  Bodies of up to 64 KiB in the records:
      gannet http -i eth0 -o jsonl:requests.jsonl --body 64KiB
  Of one server, from a capture file:
      gannet http -r capture.pcapng host 10.0.0.1 and port 80";
