//! `gannet interfaces`: what packets can be captured on.

use std::fmt::Write as _;
use std::io::{self, Write};

use gannet_pipeline::control::{ByteSize, link_type_name};
use gannet_ring::interfaces::{Interface, Interfaces};
use gannet_ring::netns;

use crate::exit::{Error, Exit};
use crate::resolve;

/// Prints the interfaces of the network namespace as typed, or of the own one.
pub(crate) fn run(netns_text: Option<&str>) -> Result<Exit, Error> {
    let spec = netns_text.map(resolve::netns);
    let open = |error: gannet_ring::Error| Error { exit: Exit::Open, cause: error.into() };
    let interfaces =
        netns::enter(spec.as_ref(), || Interfaces::open().and_then(|interfaces| interfaces.list()))
            .map_err(open)?
            .map_err(open)?;
    io::stdout().lock().write_all(table(&interfaces).as_bytes()).map_err(Error::stdout)?;
    Ok(Exit::Done)
}

/// One line for each interface under a heading; columns are as wide as they need to be.
fn table(interfaces: &[Interface]) -> String {
    let mut rows = vec![HEADING.map(str::to_owned)];
    rows.push(any());
    rows.extend(interfaces.iter().map(row));
    let mut widths = [0; HEADING.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            // Writing to a String cannot fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn any() -> [String; HEADING.len()] {
    ["any", "-", "-", "of each frame", "-", "-", "-", "every interface that is up"].map(str::to_owned)
}

fn row(interface: &Interface) -> [String; HEADING.len()] {
    let state = match (interface.up, interface.running) {
        (false, _) => "down",
        (true, false) => "up, no carrier",
        (true, true) => "up",
    };
    let link_type = match interface.link_type() {
        Some(link_type) => link_type_name(link_type),
        None => format!("cooked (hardware type {})", interface.hardware_type),
    };
    let traffic = |packets: u64, bytes: u64| format!("{packets} ({})", ByteSize(bytes));
    let counters = interface.counters;
    let mut about: Vec<_> = interface.addresses.iter().map(|(ip, prefix)| format!("{ip}/{prefix}")).collect();
    about.extend(interface.kind.clone());
    if interface.promiscuous {
        about.push("promiscuous".to_owned());
    }
    for (count, what) in [
        (counters.rx_missed_errors, "missed"),
        (counters.rx_dropped, "dropped"),
        (counters.rx_fifo_errors, "overruns"),
    ] {
        if count != 0 {
            about.push(format!("{count} {what}"));
        }
    }
    [
        interface.name.clone(),
        interface.index.to_string(),
        state.to_owned(),
        link_type,
        interface.mtu.to_string(),
        traffic(counters.rx_packets, counters.rx_bytes),
        traffic(counters.tx_packets, counters.tx_bytes),
        about.join(" "),
    ]
}

const HEADING: [&str; 8] = [
    "NAME",
    "INDEX",
    "STATE",
    "LINK TYPE",
    "MTU",
    "RECEIVED",
    "SENT",
    "ADDRESSES, KIND, LOSSES OF THE DEVICE",
];

#[cfg(test)]
mod tests {
    use super::*;
    use gannet_ring::interfaces::Counters;

    #[test]
    fn a_table_of_interfaces() {
        let eth0 = Interface {
            name: "eth0".into(),
            index: 2,
            kind: Some("veth".into()),
            hardware_type: 1,
            up: true,
            running: true,
            mtu: 1500,
            addresses: vec![([192, 0, 2, 1].into(), 24)],
            counters: Counters { rx_packets: 10, rx_bytes: 2048, rx_missed_errors: 3, ..Counters::default() },
            ..Interface::default()
        };
        let gre = Interface {
            name: "gre0".into(),
            index: 3,
            hardware_type: 778,
            mtu: 1476,
            ..Interface::default()
        };
        let table = table(&[eth0, gre]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 4);
        let words = |line: &str| line.split("  ").map(str::trim).filter(|word| !word.is_empty()).count();
        assert!(lines.iter().all(|line| words(line) >= 7), "{table}");
        assert!(lines[1].starts_with("any "), "{table}");
        assert!(lines[2].contains("up") && lines[2].contains("EN10MB") && lines[2].contains("10 (2 KiB)"));
        assert!(lines[2].ends_with("192.0.2.1/24 veth 3 missed"), "{table}");
        assert!(lines[3].contains("down") && lines[3].contains("cooked (hardware type 778)"), "{table}");
        let column = lines[0].find("LINK TYPE").unwrap();
        assert!(
            lines[2][column..].starts_with("EN10MB") && lines[3][column..].starts_with("cooked"),
            "{table}"
        );
    }
}
