//! How many packets of a file a filter takes: nothing else is done with them.

use gannet_filter::{FileFilter, Machine};
use gannet_packet::LinkType;
use gannet_pcap::PacketSource;

use crate::config::FileInput;
use crate::control::link_type_name;
use crate::error::Error;
use crate::files::{buffered_reader, path_of};

/// What was found in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets that were read.
    pub read: u64,
    /// Those of them that pass the filter.
    pub matching: u64,
    /// Why reading ended before the end of the file, if it did.
    pub warning: Option<String>,
}

/// Runs a filter on every packet of a file. Several link types in a file are no hindrance as long as the filter is
/// good for each of them.
///
/// # Errors
/// A file that cannot be read or is no capture; a filter that is refused for the link type of a packet, or, in a file
/// without packets, for that of its interface.
pub fn count(input: &FileInput, filter: &FileFilter) -> Result<Count, Error> {
    let mut reader = buffered_reader(input)?;
    let mut count = Count::default();
    // By the number of the interface: looked up once for each, not for each packet.
    let mut machines: Vec<Option<&Machine>> = Vec::new();
    let failed = |source| Error::Input { path: path_of(input).to_owned(), source };
    let machine_of = |link_type, big_endian| {
        filter.machine(link_type, big_endian).map_err(|error| refused(input, filter, link_type, error))
    };
    while reader.advance().map_err(failed)? {
        let Some(packet) = PacketSource::packet(&reader) else { break };
        let (frame, number) = (packet.frame, packet.frame.interface as usize);
        let machine = match machines.get(number) {
            Some(&Some(machine)) => machine,
            _ => {
                let interfaces = reader.interfaces();
                let big_endian = interfaces.get(number).is_some_and(|interface| interface.big_endian);
                let machine = machine_of(frame.link_type, big_endian)?;
                machines.resize(interfaces.len(), None);
                if let Some(slot) = machines.get_mut(number) {
                    *slot = Some(machine);
                }
                machine
            }
        };
        count.read += 1;
        count.matching += u64::from(machine.run(frame.data, frame.orig_len) != 0);
    }
    if let (0, Some(interface)) = (count.read, reader.interfaces().first()) {
        machine_of(interface.link_type, interface.big_endian)?;
    }
    count.warning = reader.warning().map(ToString::to_string);
    Ok(count)
}

fn refused(
    input: &FileInput,
    filter: &FileFilter,
    link_type: LinkType,
    error: &gannet_filter::Error,
) -> Error {
    Error::Filter {
        place: Some(format!("{}, link type {}", path_of(input).display(), link_type_name(link_type))),
        text: filter.expression().unwrap_or_default().to_owned(),
        source: error.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use gannet_filter::FileOptions;
    use gannet_packet::Timestamp;
    use gannet_pcap::ng;

    use super::*;

    /// A pcapng file with frames of several link types, each with its link type's number in its first byte.
    fn capture(link_types: &[LinkType]) -> Vec<u8> {
        let mut file = Vec::new();
        ng::section_header(&mut file, &ng::Section::default());
        for &link_type in link_types {
            ng::interface_description(&mut file, &ng::Interface::new(link_type, 0));
        }
        for (number, link_type) in link_types.iter().enumerate() {
            for _ in 0..=number {
                let start = file.len();
                file.resize(start + ng::enhanced_packet_len(20, false), 0);
                let bytes = [link_type.0 as u8; 20];
                ng::write_enhanced_packet(&mut file[start..], number as u32, Timestamp(1), 20, None, &bytes);
            }
        }
        file
    }

    fn count_in(bytes: &[u8], filter: &FileFilter) -> Result<Count, Error> {
        let directory = tempfile::tempdir().unwrap();
        let path: PathBuf = directory.path().join("in.pcapng");
        std::fs::write(&path, bytes).unwrap();
        count(&FileInput::Path(path), filter)
    }

    #[test]
    fn frames_of_every_interface() {
        let file = capture(&[LinkType::ETHERNET, LinkType(9999), LinkType::RAW]);
        // The first byte is 101, the number of raw IP.
        let filter =
            FileFilter::of_text("4,48 0 0 0,21 0 1 101,6 0 0 1,6 0 0 0", FileOptions::default()).unwrap();
        let expected = Count { read: 6, matching: 3, warning: None };
        assert_eq!(count_in(&file, &filter).unwrap(), expected);
        let everything = FileFilter::new("", FileOptions::default());
        assert_eq!(count_in(&file, &everything).unwrap().matching, 6);
    }

    #[test]
    fn a_cut_file_is_counted_as_far_as_it_goes() {
        let file = capture(&[LinkType::ETHERNET, LinkType::ETHERNET]);
        let count = count_in(&file[..file.len() - 1], &FileFilter::new("", FileOptions::default())).unwrap();
        assert_eq!((count.read, count.matching), (2, 2));
        assert!(count.warning.is_some());
    }

    #[test]
    fn a_refusal_names_file_and_link_type() {
        let filter = FileFilter::new("tcp", FileOptions::default());
        // Before the first packet as well.
        for file in [capture(&[LinkType(147)]), capture(&[LinkType(147)])[..60].to_vec()] {
            let error = count_in(&file, &filter).unwrap_err();
            assert!(
                matches!(&error, Error::Filter { place: Some(place), .. } if place.contains("147")),
                "{error}"
            );
        }
    }
}
