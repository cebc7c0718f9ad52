//! Walking a file from end to end: what can be read, where it cannot, and where reading can go on.

use std::io;

use gannet_packet::LinkType;
use gannet_pcap::ng::marker::{self, Marker};
use gannet_pcap::{Format, Reason, Walk, Walker, ng};

use super::storage::{Storage, Window};

/// What was found in a file. Nothing here is a change; [`super::apply`] makes them from it.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) format: Format,
    pub(super) len: u64,
    pub(super) packets: u64,
    /// Extents that are whole.
    pub(super) extents: u64,
    pub(super) holes: Vec<Hole>,
    /// Where the last readable record ends; in a classic file the last that is not all zeros, if anything is cut.
    /// Everything behind it goes.
    pub(super) end: u64,
    /// Whether there are only zeros behind `end`.
    pub(super) tail_is_zeros: bool,
    /// Markers to be corrected, since their extent was torn: offset and the new contents.
    pub(super) markers: Vec<(u64, Marker)>,
    /// Packets that the markers of torn extents count and that are not readable any more.
    pub(super) lost: u64,
    /// An interface statistics block was found: the file was closed.
    pub(super) statistics: bool,
}

/// A stretch between two readable records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) offset: u64,
    pub(super) len: u64,
    /// It is all zeros.
    pub(super) zeros: bool,
    /// Why nothing can be read at its start.
    pub(super) reason: Reason,
    /// Interface descriptions that were lost here, to be put back.
    pub(super) interfaces: u32,
    /// What they are to say: link type and snaplen of the section's first interface.
    pub(super) like: (LinkType, u32),
    /// Where the block before the hole starts.
    pub(super) block_before: u64,
}

impl Hole {
    /// Whether `count` interface descriptions fit, with a filler behind them or none.
    fn has_room(&self, count: u32) -> bool {
        let need = u64::from(count) * INTERFACE_LEN;
        self.len == need || self.len >= need + ng::MIN_BLOCK as u64
    }
}

/// Why a file can be neither verified nor repaired.
#[derive(Debug)]
pub(super) enum Fault {
    Io(u64, io::Error),
    Empty,
    Header(gannet_pcap::Error),
    NoInterface { offset: u64 },
    LostChain { offset: u64, rest: u64, reason: Reason },
}

impl From<(u64, io::Error)> for Fault {
    fn from((offset, error): (u64, io::Error)) -> Self {
        Self::Io(offset, error)
    }
}

/// Walks `storage` from end to end.
pub(super) fn survey<S: Storage>(storage: &S) -> Result<Survey, Fault> {
    let len = storage.len().map_err(|error| Fault::Io(0, error))?;
    if len == 0 {
        return Err(Fault::Empty);
    }
    let mut window = Window::new(storage, len);
    let (walker, header_len) = open(&mut window, len)?;
    let survey = Survey {
        format: walker.format(),
        len,
        packets: 0,
        extents: 0,
        holes: Vec::new(),
        end: header_len,
        tail_is_zeros: false,
        markers: Vec::new(),
        lost: 0,
        statistics: false,
    };
    let format = walker.format();
    let surveyor = Surveyor {
        window,
        walker,
        survey,
        at: header_len,
        block: 0,
        extent: None,
        ours: false,
        section_holes: 0,
        zeros: 0..0,
    };
    match format {
        Format::Pcap => surveyor.classic(),
        _ => surveyor.ng(),
    }
}

fn open<S: Storage>(window: &mut Window<'_, S>, len: u64) -> Result<(Walker, u64), Fault> {
    let mut need = 4096;
    loop {
        let bytes = window.at(0, need)?;
        let complete = bytes.len() as u64 >= len || bytes.len() < need;
        match Walker::open(bytes, complete).map_err(Fault::Header)? {
            Some(opened) => return Ok(opened),
            None => need *= 2,
        }
    }
}

struct Surveyor<'s, S> {
    window: Window<'s, S>,
    walker: Walker,
    survey: Survey,
    /// Everything before has been looked at.
    at: u64,
    /// Where the block that ends at `at` starts.
    block: u64,
    extent: Option<Extent>,
    /// The file holds blocks of our type, so Gannet wrote it.
    ours: bool,
    /// Holes found before the current section.
    section_holes: usize,
    /// A range that is known to be zeros (or empty).
    zeros: std::ops::Range<u64>,
}

/// The extent that the walk is in.
struct Extent {
    offset: u64,
    /// Where the marker says it ends.
    end: u64,
    marker: Marker,
    packets: u32,
}

/// A whole record.
enum Found {
    Packet { end: u64 },
    Other { end: u64 },
}

impl<S: Storage> Surveyor<'_, S> {
    fn classic(mut self) -> Result<Survey, Fault> {
        // Where the last record that is not all zeros ends, and the packets up to there.
        let mut written = (self.at, 0);
        while self.at < self.survey.len {
            let reason = match self.record()? {
                // A record of zeros is an empty packet of 1970, which nobody captures, or space that was never
                // written: the latter if there is nothing but zeros behind it.
                Ok(_) if self.is_zeros_to_end(self.at)? => Reason::Zeros,
                Ok(Found::Packet { end } | Found::Other { end }) => {
                    self.survey.packets += 1;
                    if !self.is_zeros(self.at, end)? {
                        written = (end, self.survey.packets);
                    }
                    self.at = end;
                    continue;
                }
                Err(reason) => reason,
            };
            // Records of zeros right before the damage would be the end of the file once that is cut off, and the
            // next repair would take them for space that was never written. So they go with it: they hold nothing.
            let mut survey = self.cut_here(reason)?;
            (survey.end, survey.packets) = written;
            return Ok(survey);
        }
        self.survey.end = self.at;
        Ok(self.survey)
    }

    fn ng(mut self) -> Result<Survey, Fault> {
        loop {
            self.leave_extent();
            if self.at >= self.survey.len {
                break;
            }
            self.enter_extent()?;
            let reason = match self.record()? {
                Ok(found) => {
                    self.pass(found);
                    continue;
                }
                Err(reason) => reason,
            };
            let Some(next) = self.resume()? else { return self.cut_here(reason) };
            self.tear(next);
            let hole = Hole {
                offset: self.at,
                len: next - self.at,
                zeros: self.is_zeros(self.at, next)?,
                reason,
                interfaces: 0,
                like: (LinkType::ETHERNET, 0),
                block_before: self.block,
            };
            self.survey.holes.push(hole);
            self.at = next;
        }
        self.tear(self.at);
        self.survey.end = self.at;
        self.survey.statistics = self.has_statistics();
        Ok(self.survey)
    }

    /// Reads the record at the position; or why there is none.
    fn record(&mut self) -> Result<Result<Found, Reason>, Fault> {
        let (start, limit) = (self.at, self.survey.len);
        let mut at = start;
        let mut need = 64;
        loop {
            let bytes = self.window.at(at, need)?;
            if at == start {
                match self.walker.block(bytes) {
                    Some((ng::LOCAL, _)) => self.ours = true,
                    // Numbers of interfaces begin anew, so holes before it are no place for descriptions.
                    Some((ng::SECTION_HEADER, _)) => self.section_holes = self.survey.holes.len(),
                    _ => {}
                }
            }
            let step = self.walker.step(bytes);
            let cut = |needed: u64| Reason::Truncated { present: limit - start, needed: at - start + needed };
            let reason = match step {
                Walk::Packet { len } => return Ok(Ok(Found::Packet { end: at + len as u64 })),
                Walk::Undescribed { len, missing } => match self.describe(missing) {
                    Some(()) => return Ok(Ok(Found::Packet { end: at + len as u64 })),
                    None if self.walker.section_interfaces().is_empty() => {
                        return Err(Fault::NoInterface { offset: start });
                    }
                    None => {
                        let described = self.walker.section_interfaces().len() as u32;
                        // In this order: it is the number in the block, which may be the largest there is.
                        Reason::UnknownInterface { interface: described + (missing - 1), described }
                    }
                },
                Walk::Skip { len } if len > limit - at => cut(len),
                Walk::Skip { len } => {
                    at += len;
                    if self.walker.in_block() == 0 {
                        return Ok(Ok(Found::Other { end: at }));
                    }
                    need = 64;
                    continue;
                }
                Walk::Need { len } if at + (len as u64) > limit || len <= need => cut(len as u64),
                Walk::Need { len } => {
                    need = len;
                    continue;
                }
                Walk::Damaged(reason) => reason,
            };
            self.walker.forget();
            return Ok(Err(reason));
        }
    }

    /// Goes on behind a record.
    fn pass(&mut self, found: Found) {
        self.block = self.at;
        self.at = match found {
            Found::Packet { end } => {
                self.survey.packets += 1;
                if let Some(extent) = &mut self.extent {
                    extent.packets = extent.packets.saturating_add(1);
                }
                end
            }
            Found::Other { end } => end,
        };
    }

    /// A packet tells of `missing` interfaces that no block describes. If a hole lies before it, their
    /// descriptions stood there: an interface is described when it first delivers a packet, so all before it are
    /// in the file, and the last hole before the packet keeps the numbers of those that survived right.
    fn describe(&mut self, missing: u32) -> Option<()> {
        let first = self.walker.section_interfaces().first()?;
        let like = (first.link_type, first.snaplen);
        let mut holes = self.survey.holes.iter_mut().skip(self.section_holes).rev();
        let hole = holes
            .find(|hole| hole.interfaces.checked_add(missing).is_some_and(|count| hole.has_room(count)))?;
        self.walker.describe(missing)?;
        hole.interfaces += missing;
        hole.like = like;
        Some(())
    }

    /// Starts an extent if a marker lies here.
    fn enter_extent(&mut self) -> Result<(), Fault> {
        if self.extent.is_none()
            && let Some(marker) = self.marker_at(self.at)?
        {
            let end = self.at + u64::from(marker.extent_len);
            self.extent = Some(Extent { offset: self.at, end, marker, packets: 0 });
        }
        Ok(())
    }

    /// Leaves an extent at its end. A chain of whole blocks that runs past that end is believed more than the
    /// marker's one number; what it runs through is no extent then.
    fn leave_extent(&mut self) {
        if let Some(extent) = self.extent.take_if(|extent| extent.end <= self.at)
            && extent.end == self.at
        {
            self.survey.extents += 1;
        }
    }

    /// Leaves the extent, if the walk is in one, because its chain breaks at the position; from now on it ends at
    /// `end`, not before the position.
    fn tear(&mut self, end: u64) {
        let Some(Extent { offset, mut marker, packets, .. }) = self.extent.take() else { return };
        self.survey.lost += u64::from(marker.packets.saturating_sub(packets));
        marker.packets = packets;
        // The position lies within the extent as it was, 32 bits from its start; `end` may lie further away, and
        // then the filler after the position belongs to no extent.
        marker.extent_len = u32::try_from(end - offset).unwrap_or((self.at - offset) as u32);
        self.survey.markers.push((offset, marker));
    }

    /// Where reading can go on after the chain broke at the position; `None` = nowhere.
    fn resume(&mut self) -> Result<Option<u64>, Fault> {
        // Where the marker says the extent ends, if the next one or the end of the file is there. Packets are
        // not searched for markers then: whoever sends one in a packet must not be able to place it.
        if let Some(extent) = &self.extent {
            let end = extent.end;
            if end == self.survey.len {
                return Ok(None);
            }
            if end < self.survey.len && self.is_landmark(end)? {
                return Ok(Some(end));
            }
        }
        let mut next = (self.at + 1).next_multiple_of(marker::ALIGNMENT);
        while next < self.survey.len {
            if self.is_landmark(next)? {
                return Ok(Some(next));
            }
            next += marker::ALIGNMENT;
        }
        Ok(None)
    }

    /// A marker at `offset`. Ours are little endian; in a section of the other byte order they would be something
    /// else, and so would the fillers that could be written.
    fn marker_at(&mut self, offset: u64) -> Result<Option<Marker>, Fault> {
        if !offset.is_multiple_of(marker::ALIGNMENT) || self.walker.big_endian() {
            return Ok(None);
        }
        Ok(Marker::parse(self.window.at(offset, marker::MAX_LEN)?))
    }

    /// Whether the chain can go on at `offset`: at a marker, or at the page that a recorder writes when an interface
    /// first delivers a packet, its description and a filler up to the next boundary.
    fn is_landmark(&mut self, offset: u64) -> Result<bool, Fault> {
        if self.marker_at(offset)?.is_some() {
            return Ok(true);
        }
        if !offset.is_multiple_of(marker::ALIGNMENT) || self.walker.big_endian() {
            return Ok(false);
        }
        let page = self.window.at(offset, marker::MAX_LEN)?;
        let word = |at: usize| Some(u32::from_le_bytes(page.get(at..at.checked_add(4)?)?.try_into().ok()?));
        let described = || {
            let length = word(4).filter(|_| word(0) == Some(ng::INTERFACE_DESCRIPTION))? as usize;
            let filler = word(length.checked_add(4)?).filter(|_| word(length) == Some(ng::LOCAL))?;
            let whole = word(length.checked_sub(4)?)? as usize == length;
            Some(whole && (length as u64 + u64::from(filler)).is_multiple_of(marker::ALIGNMENT))
        };
        Ok(described().unwrap_or(false))
    }

    /// Ends the survey at the position: what follows is of no use to anybody.
    fn cut_here(mut self, reason: Reason) -> Result<Survey, Fault> {
        let rest = self.survey.len - self.at;
        self.survey.tail_is_zeros = self.is_zeros_to_end(self.at)?;
        if !self.survey.tail_is_zeros && !self.ours && rest > MAX_TAIL {
            return Err(Fault::LostChain { offset: self.at, rest, reason });
        }
        self.tear(self.at);
        self.survey.end = self.at;
        self.survey.statistics = self.has_statistics();
        Ok(self.survey)
    }

    fn has_statistics(&self) -> bool {
        self.walker.interfaces().iter().any(|interface| interface.statistics.is_some())
    }

    fn is_zeros_to_end(&mut self, from: u64) -> Result<bool, Fault> {
        self.is_zeros(from, self.survey.len)
    }

    /// Whether `from..to` is all zeros. Remembers what it has seen, so that asking again costs nothing.
    fn is_zeros(&mut self, from: u64, to: u64) -> Result<bool, Fault> {
        if !self.zeros.contains(&from) {
            self.zeros = from..from;
        }
        while self.zeros.end < to {
            let bytes = self.window.at(self.zeros.end, 1)?;
            // Whole pieces first: comparing them is many times faster than looking at each byte.
            let pieces = bytes.chunks(ZEROS.len()).take_while(|piece| **piece == ZEROS[..piece.len()]);
            let count = pieces.map(<[u8]>::len).sum::<usize>();
            let rest = bytes[count..].iter().take_while(|&&byte| byte == 0).count();
            self.zeros.end += (count + rest) as u64;
            if count < bytes.len() || bytes.is_empty() {
                break;
            }
        }
        Ok(self.zeros.end >= to)
    }
}

/// Length of the interface description that is put back: link type, snaplen and the resolution.
pub(super) const INTERFACE_LEN: u64 = 32;

/// Bytes that may be cut off the end of a file without markers. A program that dies leaves behind at most what it
/// had in its buffers; more is damage of another kind, where a program that searches for packets may yet find some.
pub(super) const MAX_TAIL: u64 = 16 << 20;

static ZEROS: [u8; 4096] = [0; 4096];
