//! How many messages a second each host gets, as httpry's rate mode counts them.
//!
//! A host's rate is its number of messages over the whole seconds since its first one, rounded up: an average of its
//! life, not of an interval. A host that is below the threshold when rates are written is forgotten, and begins anew
//! with its next message. What has no `Host` field counts for nothing, so neither do responses.
//!
//! Hosts come in the order of httpry's hash table, so that lines can be compared. One thing it does is not done
//! here: a host that it first sees with capitals, or with bytes beyond ASCII, gets a further entry there with each
//! message.

use std::io::Write;

use gannet_packet::Timestamp;
use jiff::tz::TimeZone;

use super::{Fields, LocalTime};

/// The counts of all hosts.
#[derive(Debug)]
pub struct Rates {
    threshold: u32,
    fields: Fields,
    times: LocalTime,
    /// The newest first.
    buckets: Vec<Vec<Host>>,
    hosts: usize,
    total: Count,
    beyond: u64,
}

#[derive(Debug)]
struct Host {
    name: Box<[u8]>,
    count: Count,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    messages: u32,
    /// In seconds since 1970; 0 before the first message, as there.
    first: u64,
    last: u64,
}

impl Rates {
    /// Hosts with fewer than `threshold` messages a second are not written.
    pub fn new(threshold: u32, zone: TimeZone) -> Self {
        Self {
            threshold,
            fields: Fields::host(),
            times: LocalTime::new(zone),
            buckets: (0..BUCKETS).map(|_| Vec::new()).collect(),
            hosts: 0,
            total: Count::default(),
            beyond: 0,
        }
    }

    /// The fields that comments name.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Messages of hosts that there was no room for: they count in the total alone.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// Takes a message of a host, which is empty where it named none.
    pub fn add(&mut self, time: Timestamp, host: &[u8]) {
        if host.is_empty() {
            return;
        }
        let at = time.secs();
        self.total.add(at);
        let name = &host[..host.len().min(NAME_MAX)];
        let bucket = &mut self.buckets[hash(host)];
        match bucket.iter_mut().find(|known| known.name.eq_ignore_ascii_case(name)) {
            Some(known) => known.count.add(at),
            None if self.hosts == HOSTS_MAX => self.beyond += 1,
            None => {
                self.hosts += 1;
                let mut count = Count::default();
                count.add(at);
                bucket.insert(0, Host { name: name.into(), count });
            }
        }
    }

    /// The time of the newest message that counted: what time it is in a file.
    pub fn newest(&self) -> Timestamp {
        Timestamp(self.total.last.saturating_mul(1_000_000_000))
    }

    /// Appends the rates as they are at `now`: a line for each host, and one for all together.
    pub fn write(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        let Self { threshold, times, buckets, hosts, total, .. } = self;
        let time = times.text(now);
        for bucket in buckets {
            bucket.retain(|host| {
                let seconds = host.count.seconds(now);
                // Whole messages a second, rounded up, in the precision that the original reckons with.
                let rate =
                    if seconds == 0 { 0.0 } else { (host.count.messages as f32 / seconds as f32).ceil() };
                let stays = rate as u32 >= *threshold;
                if stays {
                    out.extend_from_slice(time);
                    out.push(b'\t');
                    out.extend_from_slice(&host.name);
                    // Memory takes everything.
                    let _ = writeln!(out, "\t{rate} rps");
                } else {
                    *hosts -= 1;
                }
                stays
            });
        }
        let seconds = total.seconds(now);
        if seconds > 0 {
            out.extend_from_slice(time);
            let rate = total.messages as f32 / seconds as f32;
            let _ = writeln!(out, "\ttotals\t{rate:.2} rps");
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.buckets.iter_mut().for_each(Vec::clear);
        self.hosts = 0;
        self.total = Count::default();
    }
}

impl Count {
    fn add(&mut self, at: u64) {
        if self.first == 0 {
            self.first = at;
        }
        self.last = at;
        self.messages = self.messages.saturating_add(1);
    }

    /// Whole seconds since the first message. Of a message from the future it is very long ago, as there.
    fn seconds(&self, now: Timestamp) -> u32 {
        now.secs().wrapping_sub(self.first) as u32
    }
}

/// The bucket of a name: Jenkins' one-at-a-time hash over its lower-case letters, in words of 64 bits.
fn hash(name: &[u8]) -> usize {
    let mut hash = 0_u64;
    for byte in name {
        // C's `tolower` of a `char` with a sign: the last byte is EOF, which it leaves alone.
        let letter = if *byte == 0xff { u64::MAX } else { u64::from(byte.to_ascii_lowercase()) };
        hash = hash.wrapping_add(letter);
        hash = hash.wrapping_add(hash << 10);
        hash ^= hash >> 6;
    }
    hash = hash.wrapping_add(hash << 3);
    hash ^= hash >> 11;
    hash = hash.wrapping_add(hash << 15);
    (hash & (BUCKETS as u64 - 1)) as usize
}

/// Of httpry's table.
const BUCKETS: usize = 2_048;
/// Bytes of a name that httpry keeps.
const NAME_MAX: usize = 254;
/// Most hosts at a time: 64 to a bucket. Names come from the network, and httpry would take them until memory ends.
const HOSTS_MAX: usize = 131_072;

#[cfg(test)]
mod tests {
    use super::*;

    fn add(rates: &mut Rates, seconds: u64, host: &str) {
        rates.add(Timestamp(seconds * 1_000_000_000 + 5), host.as_bytes());
    }

    fn written(rates: &mut Rates, seconds: u64) -> String {
        let mut out = Vec::new();
        rates.write(Timestamp(seconds * 1_000_000_000), &mut out);
        String::from_utf8(out).unwrap().replace("1970-01-01 00:", "")
    }

    #[test]
    fn averages_of_a_life() {
        let mut rates = Rates::new(2, TimeZone::UTC);
        assert_eq!(written(&mut rates, 0), "");
        for seconds in [100, 100, 100, 100, 100, 101, 101, 102] {
            add(&mut rates, seconds, "a");
        }
        add(&mut rates, 101, "b");
        add(&mut rates, 101, "");
        assert_eq!(rates.newest(), Timestamp(101_000_000_000));
        // In the second in which it began a host has no rate yet, which is below any threshold.
        assert_eq!(written(&mut rates, 102), "01:42\ta\t4 rps\n01:42\ttotals\t4.50 rps\n");
        assert_eq!(rates.hosts, 1);
        add(&mut rates, 103, "A");
        assert_eq!(written(&mut rates, 103), "01:43\ta\t3 rps\n01:43\ttotals\t3.33 rps\n");
        assert_eq!(written(&mut rates, 110), "01:50\ttotals\t1.00 rps\n");
        assert_eq!(rates.hosts, 0);
        rates.clear();
        assert_eq!(written(&mut rates, 0), "");
        // Live httpry says so while nothing has come.
        assert_eq!(written(&mut rates, 7), "00:07\ttotals\t0.00 rps\n");
    }

    #[test]
    fn names_are_cut_and_hosts_bounded() {
        let mut rates = Rates::new(1, TimeZone::UTC);
        let long = "h".repeat(400);
        for _ in 0..2 {
            add(&mut rates, 1, &long);
        }
        assert_eq!(
            written(&mut rates, 3),
            format!("00:03\t{}\t1 rps\n00:03\ttotals\t1.00 rps\n", &long[..254])
        );
        for number in 0..HOSTS_MAX {
            add(&mut rates, 1, &number.to_string());
        }
        assert_eq!((rates.hosts, rates.beyond()), (HOSTS_MAX, 1));
        let sum: usize = rates.buckets.iter().map(Vec::len).sum();
        assert_eq!(sum, rates.hosts);
    }
}
