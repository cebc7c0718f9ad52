//! Where names come from: the files below `/etc`, and for hosts the resolver if it may be asked.
//!
//! A file is read when the first name that it could have is met, once, and the resolver is asked once for each name.
//! A machine without the files of Debian's netbase (containers often have none) knows the common services and
//! protocols all the same: what the files do not give is looked for in a small table of IANA's assignments.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::tree::Transport;

/// Looks up names of hosts, networks, ports and protocols.
#[derive(Debug, Default)]
pub struct Names {
    /// Whether hosts that the hosts file does not have may be asked of the resolver (`--resolve`).
    pub ask_resolver: bool,
    /// Where the files are, if not in `/etc`.
    folder: Option<PathBuf>,
    hosts: OnceLock<HashMap<String, Vec<IpAddr>>>,
    networks: OnceLock<HashMap<String, u32>>,
    ethers: OnceLock<HashMap<String, [u8; 6]>>,
    services: OnceLock<HashMap<String, Vec<(Transport, u16)>>>,
    protocols: OnceLock<HashMap<String, u32>>,
    /// What the resolver has answered, also that it knows nothing: an expression is compiled more than once in a run,
    /// and must mean the same each time.
    answers: Mutex<HashMap<String, Vec<IpAddr>>>,
}

/// A service by name: its port, and the transport protocol if it has just one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// The port.
    pub port: u16,
    /// `None` if both TCP and UDP have it there.
    pub transport: Option<Transport>,
}

impl Names {
    /// Names from the files `hosts`, `networks`, `ethers`, `services` and `protocols` of that folder; one that is not
    /// there has no names.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()), ..Self::default() }
    }

    /// All addresses of a host; empty if nobody knows it.
    pub fn host(&self, name: &str) -> Vec<IpAddr> {
        let hosts = self.hosts.get_or_init(|| self.read("hosts", hosts_line));
        match hosts.get(&name.to_ascii_lowercase()) {
            Some(addresses) => addresses.clone(),
            None if self.ask_resolver => self.answer(name, resolve),
            None => Vec::new(),
        }
    }

    /// The resolver's answer, asked for once.
    fn answer(&self, name: &str, ask: impl FnOnce(&str) -> Vec<IpAddr>) -> Vec<IpAddr> {
        // An answer is put in whole, so that what a panic elsewhere left behind is good.
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.entry(name.to_ascii_lowercase()).or_insert_with(|| ask(name)).clone()
    }

    /// The number of a network, its bytes where an address has them.
    pub fn network(&self, name: &str) -> Option<u32> {
        self.networks
            .get_or_init(|| self.read("networks", networks_line))
            .get(&name.to_ascii_lowercase())
            .copied()
    }

    /// The Ethernet address of a host.
    pub fn ether(&self, name: &str) -> Option<[u8; 6]> {
        self.ethers.get_or_init(|| self.read("ethers", ethers_line)).get(&name.to_ascii_lowercase()).copied()
    }

    /// The port of a service. A name that TCP and UDP have at different ports is TCP's; SCTP's alone are not looked
    /// for (libpcap's rules).
    pub fn service(&self, name: &str) -> Option<Service> {
        let services = self.services.get_or_init(|| self.read("services", services_line));
        let known: Vec<(Transport, u16)> = match services.get(name) {
            Some(known) => known.clone(),
            None => SERVICES
                .iter()
                .filter(|(service, ..)| *service == name)
                .flat_map(|&(_, port, transports)| transports.iter().map(move |&transport| (transport, port)))
                .collect(),
        };
        let port = |wanted| known.iter().find(|(transport, _)| *transport == wanted).map(|&(_, port)| port);
        match (port(Transport::Tcp), port(Transport::Udp)) {
            (Some(tcp), Some(udp)) if tcp == udp => Some(Service { port: tcp, transport: None }),
            (Some(port), _) => Some(Service { port, transport: Some(Transport::Tcp) }),
            (None, Some(port)) => Some(Service { port, transport: Some(Transport::Udp) }),
            (None, None) => None,
        }
    }

    /// The number of a protocol above IP.
    pub fn protocol(&self, name: &str) -> Option<u32> {
        let protocols = self.protocols.get_or_init(|| self.read("protocols", protocols_line));
        protocols
            .get(name)
            .copied()
            .or_else(|| PROTOCOLS.iter().find(|(protocol, _)| *protocol == name).map(|&(_, number)| number))
    }

    /// Reads a file whose lines have names at the end of them or in front; comments begin with `#`.
    fn read<T>(&self, file: &str, line: impl Fn(&mut HashMap<String, T>, &[&str])) -> HashMap<String, T> {
        let folder = self.folder.as_deref().unwrap_or(Path::new("/etc"));
        let bytes = std::fs::read(folder.join(file)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let mut found = HashMap::new();
        for written in text.lines() {
            let written = written.split('#').next().unwrap_or_default();
            let fields: Vec<&str> = written.split_ascii_whitespace().collect();
            line(&mut found, &fields);
        }
        found
    }
}

/// Whether `proto` takes this name on every machine, above IP or above Ethernet.
pub(crate) fn is_usual_protocol(name: &str) -> bool {
    PROTOCOLS.iter().any(|&(known, _)| known == name) || ethernet_protocol(name).is_some()
}

/// The ethertype or LLC service access point that `ether proto` takes by this name.
pub(crate) fn ethernet_protocol(name: &str) -> Option<u32> {
    ETHERNET_PROTOCOLS.iter().find(|(known, _)| *known == name).map(|&(_, number)| number)
}

/// What `iso proto` takes by this name.
pub(crate) fn iso_protocol(name: &str) -> Option<u32> {
    ISO_PROTOCOLS.iter().find(|(known, _)| *known == name).map(|&(_, number)| number)
}

/// Asks the system; hosts without an address and resolvers that fail know nothing.
fn resolve(name: &str) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in (name, 0).to_socket_addrs().into_iter().flatten() {
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    addresses
}

/// `ADDRESS NAME ALIAS...`; several lines may have the same name.
fn hosts_line(hosts: &mut HashMap<String, Vec<IpAddr>>, fields: &[&str]) {
    let [address, names @ ..] = fields else { return };
    // An IPv6 address may name its interface, which no packet does.
    let Ok(address) = address.split('%').next().unwrap_or_default().parse::<IpAddr>() else { return };
    for name in names {
        let known = hosts.entry(name.to_ascii_lowercase()).or_default();
        if !known.contains(&address) {
            known.push(address);
        }
    }
}

/// `NAME NUMBER ALIAS...`; a short number is that of the first bytes.
fn networks_line(networks: &mut HashMap<String, u32>, fields: &[&str]) {
    let [name, number, aliases @ ..] = fields else { return };
    let parts: Result<Vec<u8>, _> = number.split('.').map(str::parse::<u8>).collect();
    let Ok(parts) = parts else { return };
    if parts.len() > 4 {
        return;
    }
    let mut bytes = [0; 4];
    bytes[..parts.len()].copy_from_slice(&parts);
    for name in [name].into_iter().chain(aliases) {
        networks.entry(name.to_ascii_lowercase()).or_insert(u32::from_be_bytes(bytes));
    }
}

/// `ADDRESS NAME`.
fn ethers_line(ethers: &mut HashMap<String, [u8; 6]>, fields: &[&str]) {
    let [address, name, ..] = fields else { return };
    let mut bytes = [0; 6];
    let mut groups = address.split(':');
    for byte in &mut bytes {
        let Some(Ok(value)) = groups.next().map(|group| u8::from_str_radix(group, 16)) else { return };
        *byte = value;
    }
    if groups.next().is_none() {
        ethers.entry(name.to_ascii_lowercase()).or_insert(bytes);
    }
}

/// `NAME PORT/TRANSPORT ALIAS...`; the first line of a name and transport counts.
fn services_line(services: &mut HashMap<String, Vec<(Transport, u16)>>, fields: &[&str]) {
    let [name, port, aliases @ ..] = fields else { return };
    let Some((port, transport)) = port.split_once('/') else { return };
    let Ok(port) = port.parse::<u16>() else { return };
    let transport = match transport {
        "tcp" => Transport::Tcp,
        "udp" => Transport::Udp,
        "sctp" => Transport::Sctp,
        _ => return,
    };
    for name in [name].into_iter().chain(aliases) {
        let known = services.entry((*name).to_owned()).or_default();
        if !known.iter().any(|(of, _)| *of == transport) {
            known.push((transport, port));
        }
    }
}

/// `NAME NUMBER ALIAS...`.
fn protocols_line(protocols: &mut HashMap<String, u32>, fields: &[&str]) {
    let [name, number, aliases @ ..] = fields else { return };
    let Ok(number) = number.parse::<u32>() else { return };
    for name in [name].into_iter().chain(aliases) {
        protocols.entry((*name).to_owned()).or_insert(number);
    }
}

/// An address written in digits where a name is expected, as the C library reads it: one to four numbers, also octal
/// and hexadecimal ones, the last of them filling the bytes that are left; or IPv6.
pub(crate) fn numeric_host(name: &str) -> Option<IpAddr> {
    if let Ok(address) = name.split('%').next().unwrap_or_default().parse::<Ipv6Addr>() {
        return Some(IpAddr::V6(address));
    }
    let parts: Vec<u32> = name.split('.').map(c_number).collect::<Option<_>>()?;
    let (last, leading) = parts.split_last()?;
    if leading.len() > 3 || leading.iter().any(|&part| part > 255) {
        return None;
    }
    let left_bits = 32 - 8 * leading.len() as u32;
    if left_bits < 32 && *last >> left_bits != 0 {
        return None;
    }
    let address =
        leading.iter().enumerate().fold(*last, |address, (index, part)| address | part << (24 - 8 * index));
    Some(IpAddr::V4(Ipv4Addr::from(address)))
}

fn c_number(digits: &str) -> Option<u32> {
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) if hex.starts_with(|first: char| first.is_ascii_hexdigit()) => {
            u32::from_str_radix(hex, 16).ok()
        }
        Some(_) => None,
        None if digits.len() > 1 && digits.starts_with('0') => u32::from_str_radix(&digits[1..], 8).ok(),
        None => digits.parse().ok(),
    }
}

const TCP: &[Transport] = &[Transport::Tcp];
const UDP: &[Transport] = &[Transport::Udp];
const BOTH: &[Transport] = &[Transport::Tcp, Transport::Udp];

/// IANA's Service Name and Transport Protocol Port Number Registry, the entries that people filter for, with the
/// transports in use.
const SERVICES: &[(&str, u16, &[Transport])] = &[
    ("echo", 7, BOTH),
    ("discard", 9, BOTH),
    ("daytime", 13, BOTH),
    ("chargen", 19, BOTH),
    ("ftp-data", 20, TCP),
    ("ftp", 21, TCP),
    ("ssh", 22, TCP),
    ("telnet", 23, TCP),
    ("smtp", 25, TCP),
    ("mail", 25, TCP),
    ("time", 37, BOTH),
    ("whois", 43, TCP),
    ("tacacs", 49, BOTH),
    ("domain", 53, BOTH),
    ("bootps", 67, UDP),
    ("bootpc", 68, UDP),
    ("tftp", 69, UDP),
    ("gopher", 70, TCP),
    ("finger", 79, TCP),
    ("http", 80, TCP),
    ("www", 80, TCP),
    ("kerberos", 88, BOTH),
    ("pop3", 110, TCP),
    ("sunrpc", 111, BOTH),
    ("auth", 113, TCP),
    ("nntp", 119, TCP),
    ("ntp", 123, UDP),
    ("netbios-ns", 137, UDP),
    ("netbios-dgm", 138, UDP),
    ("netbios-ssn", 139, TCP),
    ("imap2", 143, TCP),
    ("imap", 143, TCP),
    ("snmp", 161, BOTH),
    ("snmp-trap", 162, BOTH),
    ("bgp", 179, TCP),
    ("irc", 194, BOTH),
    ("ldap", 389, BOTH),
    ("https", 443, BOTH),
    ("microsoft-ds", 445, BOTH),
    ("submissions", 465, TCP),
    ("isakmp", 500, UDP),
    ("syslog", 514, UDP),
    ("printer", 515, TCP),
    ("rtsp", 554, BOTH),
    ("submission", 587, TCP),
    ("ipp", 631, TCP),
    ("ldaps", 636, BOTH),
    ("domain-s", 853, BOTH),
    ("rsync", 873, TCP),
    ("imaps", 993, TCP),
    ("pop3s", 995, TCP),
    ("socks", 1080, TCP),
    ("openvpn", 1194, BOTH),
    ("ms-sql-s", 1433, TCP),
    ("l2f", 1701, UDP),
    ("radius", 1812, BOTH),
    ("radius-acct", 1813, BOTH),
    ("nfs", 2049, BOTH),
    ("gtp-control", 2123, UDP),
    ("gtp-user", 2152, UDP),
    ("mysql", 3306, TCP),
    ("svn", 3690, TCP),
    ("epmd", 4369, TCP),
    ("ipsec-nat-t", 4500, UDP),
    ("vxlan", 4789, UDP),
    ("sip", 5060, BOTH),
    ("sip-tls", 5061, BOTH),
    ("xmpp-client", 5222, TCP),
    ("mdns", 5353, UDP),
    ("postgresql", 5432, TCP),
    ("amqp", 5672, BOTH),
    ("x11", 6000, TCP),
    ("geneve", 6081, UDP),
    ("redis", 6379, TCP),
    ("http-alt", 8080, BOTH),
    ("git", 9418, TCP),
];

/// IANA's Protocol Numbers registry, the entries that people filter for. In lower case and in capitals as in the
/// usual file.
const PROTOCOLS: &[(&str, u32)] = &[
    ("ip", 0),
    ("IP", 0),
    ("hopopt", 0),
    ("HOPOPT", 0),
    ("icmp", 1),
    ("ICMP", 1),
    ("igmp", 2),
    ("IGMP", 2),
    ("ipencap", 4),
    ("IP-ENCAP", 4),
    ("tcp", 6),
    ("TCP", 6),
    ("egp", 8),
    ("EGP", 8),
    ("igp", 9),
    ("IGP", 9),
    ("udp", 17),
    ("UDP", 17),
    ("dccp", 33),
    ("DCCP", 33),
    ("ipv6", 41),
    ("IPv6", 41),
    ("ipv6-route", 43),
    ("IPv6-Route", 43),
    ("ipv6-frag", 44),
    ("IPv6-Frag", 44),
    ("rsvp", 46),
    ("RSVP", 46),
    ("gre", 47),
    ("GRE", 47),
    ("esp", 50),
    ("IPSEC-ESP", 50),
    ("ah", 51),
    ("IPSEC-AH", 51),
    ("ipv6-icmp", 58),
    ("IPv6-ICMP", 58),
    ("ipv6-nonxt", 59),
    ("IPv6-NoNxt", 59),
    ("ipv6-opts", 60),
    ("IPv6-Opts", 60),
    ("eigrp", 88),
    ("EIGRP", 88),
    ("ospf", 89),
    ("OSPFIGP", 89),
    ("ipip", 94),
    ("IPIP", 94),
    ("etherip", 97),
    ("ETHERIP", 97),
    ("encap", 98),
    ("ENCAP", 98),
    ("pim", 103),
    ("PIM", 103),
    ("ipcomp", 108),
    ("IPCOMP", 108),
    ("vrrp", 112),
    ("VRRP", 112),
    ("l2tp", 115),
    ("L2TP", 115),
    ("isis", 124),
    ("ISIS", 124),
    ("sctp", 132),
    ("SCTP", 132),
    ("fc", 133),
    ("FC", 133),
    ("mobility-header", 135),
    ("Mobility-Header", 135),
    ("udplite", 136),
    ("UDPLite", 136),
    ("mpls-in-ip", 137),
    ("MPLS-in-IP", 137),
];

/// Ethertypes, then LLC service access points, by the names that `ether proto` takes.
const ETHERNET_PROTOCOLS: &[(&str, u32)] = &[
    ("aarp", 0x80f3),
    ("arp", 0x0806),
    ("atalk", 0x809b),
    ("decnet", 0x6003),
    ("ip", 0x0800),
    ("ip6", 0x86dd),
    ("lat", 0x6004),
    ("loopback", 0x9000),
    ("mopdl", 0x6001),
    ("moprc", 0x6002),
    ("rarp", 0x8035),
    ("sca", 0x6007),
    ("iso", 0xfe),
    ("stp", 0x42),
    ("ipx", 0xe0),
    ("netbeui", 0xf0),
];

/// ISO/IEC TR 9577 network layer protocol identifiers.
const ISO_PROTOCOLS: &[(&str, u32)] = &[("esis", 0x82), ("isis", 0x83), ("clnp", 0x81)];

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[(&str, &str)]) -> (tempfile::TempDir, Names) {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in files {
            std::fs::write(folder.path().join(file), text).unwrap();
        }
        let names = Names::in_folder(folder.path());
        (folder, names)
    }

    #[test]
    fn the_hosts_file_may_have_several_addresses_of_a_name() {
        let (_folder, names) =
            names(&[("hosts", "# x\n10.0.0.1 one Uno\n2001:db8::1 one # two\n10.0.0.2 two\nnonsense one\n")]);
        assert_eq!(
            names.host("ONE"),
            ["10.0.0.1".parse::<IpAddr>().unwrap(), "2001:db8::1".parse().unwrap()]
        );
        assert_eq!(names.host("uno").len(), 1);
        assert!(names.host("three").is_empty());
    }

    #[test]
    fn the_resolver_is_asked_once_for_a_name() {
        let names = Names::default();
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));
        let mut asked = Vec::new();
        for name in ["one", "ONE", "none", "none"] {
            let answer = names.answer(name, |name| {
                asked.push(name.to_owned());
                if name == "one" { vec![address] } else { Vec::new() }
            });
            assert_eq!(answer.len(), usize::from(name.eq_ignore_ascii_case("one")));
        }
        assert_eq!(asked, ["one", "none"]);
    }

    #[test]
    fn services_belong_to_tcp_to_udp_or_to_both() {
        let (_folder, names) = names(&[(
            "services",
            "a 1/tcp\nb 2/udp bee\nc 3/tcp\nc 3/udp\nd 4/tcp\nd 5/udp\ne 6/sctp\nhttp 8000/tcp\n",
        )]);
        let service = |name: &str| names.service(name).map(|service| (service.port, service.transport));
        assert_eq!(service("a"), Some((1, Some(Transport::Tcp))));
        assert_eq!(service("bee"), Some((2, Some(Transport::Udp))));
        assert_eq!(service("c"), Some((3, None)));
        assert_eq!(service("d"), Some((4, Some(Transport::Tcp))));
        assert_eq!(service("e"), None);
        assert_eq!(service("http"), Some((8000, Some(Transport::Tcp))), "the file comes first");
        assert_eq!(service("domain"), Some((53, None)), "then the table");
        assert_eq!(service("DOMAIN"), None);
    }

    #[test]
    fn networks_ethers_and_protocols_are_read() {
        let (_folder, names) = names(&[
            ("networks", "loopback 127.0.0.0 lo\nten 10\n"),
            ("ethers", "0:0:5e:0:53:1 router\n1:2:3 broken\n"),
            ("protocols", "mine 200 MINE\n"),
        ]);
        assert_eq!((names.network("LO"), names.network("ten")), (Some(0x7f00_0000), Some(0x0a00_0000)));
        assert_eq!((names.ether("Router"), names.ether("broken")), (Some([0, 0, 0x5e, 0, 0x53, 1]), None));
        assert_eq!(
            (names.protocol("MINE"), names.protocol("gre"), names.protocol("nosuch")),
            (Some(200), Some(47), None)
        );
    }

    #[test]
    fn addresses_in_digits_are_read_as_the_c_library_does() {
        let v4 = |text: &str| Some(IpAddr::V4(text.parse().unwrap()));
        assert_eq!(numeric_host("10.1"), v4("10.0.0.1"));
        assert_eq!(numeric_host("0x0a.1.010"), v4("10.1.0.8"));
        assert_eq!(numeric_host("1"), v4("0.0.0.1"));
        assert_eq!(numeric_host("::1"), Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        for none in ["10.256.1.1", "1.2.3.4.5", "1.2.3.256", "a.b", "", "1..2", "4294967296", "0x"] {
            assert_eq!(numeric_host(none), None, "{none}");
        }
    }
}
