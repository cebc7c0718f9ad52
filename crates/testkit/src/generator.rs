//! Numbered traffic at an exact rate.
//!
//! A generator holds a table of templates, one or more per direction of each flow, and sends them in turn: frame
//! `n` is template `n mod len` with the number `n` written in. So the same [`Spec`] gives the same frames on every
//! run, any single frame can be had again ([`Generator::frame`]), and sending costs a patch of 14 bytes.

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gannet_ring::Error;
use gannet_ring::transmit::{BATCH, TransmitSocket};
use serde::Serialize;

use crate::random::Random;
use crate::shape::{Lane, Shape, Template};

/// What to generate.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The headers.
    pub shape: Shape,
    /// The lengths of the frames.
    pub sizes: Sizes,
    /// How many flows take turns. Each has a template of its own: a million flows of full frames are 1.5 GB.
    pub flows: u32,
    /// Whether each flow's server answers: every other turn of a flow is the reverse direction.
    pub both_directions: bool,
    /// The number of the first frame; runs that are to be told apart take ranges that do not meet.
    pub first: u64,
    /// Decides noise and drawn sizes.
    pub seed: u64,
}

impl Default for Spec {
    /// Full frames of 16 flows, one direction, numbered from 0.
    fn default() -> Self {
        Self {
            shape: Shape::default(),
            sizes: Sizes::Fixed(1_514),
            flows: 16,
            both_directions: false,
            first: 0,
            seed: 0,
        }
    }
}

/// Lengths of frames in bytes, from the Ethernet header on, without FCS. What a [`Shape`] cannot be as short as is
/// raised to its minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// All the same.
    Fixed(u16),
    /// The classic mix, drawn 7 : 4 : 1 from [`IMIX`].
    Imix,
    /// Drawn evenly, both ends included.
    Range(u16, u16),
}

/// Lengths and weights of the mix: frames of 64, 570 and 1518 bytes with FCS.
pub const IMIX: [(u16, u64); 3] = [(60, 7), (566, 4), (1_514, 1)];

impl Sizes {
    fn draw(self, random: &mut Random) -> usize {
        usize::from(match self {
            Self::Fixed(size) => size,
            Self::Imix => {
                let mut left = random.below(IMIX.iter().map(|&(_, weight)| weight).sum());
                let drawn = IMIX.iter().find(|&&(_, weight)| {
                    let hit = left < weight;
                    left = left.saturating_sub(weight);
                    hit
                });
                drawn.map_or(IMIX[0].0, |&(size, _)| size)
            }
            Self::Range(low, high) => low + random.below(u64::from(high.saturating_sub(low)) + 1) as u16,
        })
    }
}

impl FromStr for Sizes {
    type Err = String;

    /// `1514`, `60-1514` or `imix`.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.parse::<u16>().map_err(|error| format!("{text:?} is not a frame length: {error}"))
        };
        match text.split_once('-') {
            _ if text == "imix" => Ok(Self::Imix),
            None => Ok(Self::Fixed(number(text)?)),
            Some((low, high)) => {
                let (low, high) = (number(low)?, number(high)?);
                if low > high {
                    return Err(format!("{low} is more than {high}"));
                }
                Ok(Self::Range(low, high))
            }
        }
    }
}

/// How long and how fast to send.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many frames.
    pub count: u64,
    /// Frames per second, or as fast as they go. The schedule is absolute, so a delay is caught up.
    pub pps: Option<f64>,
}

/// What was sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sent {
    /// Frames that the kernel accepted.
    pub sent: u64,
    /// Their bytes.
    pub bytes: u64,
    /// From the first to the end of the last.
    pub seconds: f64,
    /// Frames per second.
    pub pps: f64,
    /// The most that a frame left after its time, in seconds; 0 without a rate.
    pub late_seconds: f64,
}

/// Frames, ready to be numbered.
#[derive(Debug)]
pub struct Generator {
    templates: Vec<Template>,
    first: u64,
}

impl Generator {
    /// Builds the templates.
    pub fn new(spec: &Spec) -> Self {
        let mut random = Random::new(spec.seed);
        let flows = u64::from(spec.flows.max(1));
        let lanes = flows * if spec.both_directions { 2 } else { 1 };
        // A batch needs as many different templates; drawn sizes want enough to come out near their weights.
        let least = if matches!(spec.sizes, Sizes::Fixed(_)) { BATCH as u64 } else { DRAWN_SIZES };
        let templates = (0..lanes * least.div_ceil(lanes))
            .map(|turn| {
                let lane = Lane::new((turn % flows) as u32, turn / flows % 2 == 1 && spec.both_directions);
                spec.shape.template(lane, spec.sizes.draw(&mut random), &mut random)
            })
            .collect();
        Self { templates, first: spec.first }
    }

    /// The frame of that number.
    pub fn frame(&mut self, number: u64) -> &[u8] {
        let index = self.index(number);
        let template = &mut self.templates[index];
        template.number(number);
        template.bytes()
    }

    /// Mean length of the frames in bytes, for converting rates.
    pub fn mean_length(&self) -> f64 {
        let sum: usize = self.templates.iter().map(|template| template.bytes().len()).sum();
        sum as f64 / self.templates.len() as f64
    }

    /// Sends the plan's frames; the next call goes on with the next number. Ends early once `stop` is set.
    ///
    /// # Errors
    /// The socket's, which name call and interface.
    pub fn run(
        &mut self,
        socket: &mut TransmitSocket,
        plan: &Plan,
        stop: &AtomicBool,
    ) -> Result<Sent, Error> {
        // The default slack of 50 µs would turn every short sleep into a delay. A refusal costs accuracy only.
        let _ = nix::sys::prctl::set_timerslack(1);
        let batch = plan.pps.map_or(BATCH, |pps| (pps * BURST_SECONDS).clamp(1.0, BATCH as f64) as usize);
        let start = Instant::now();
        let (mut sent, mut bytes, mut late) = (0, 0, 0.0f64);
        while sent < plan.count && !stop.load(Ordering::Relaxed) {
            let mut room = (plan.count - sent).min(BATCH as u64) as usize;
            if let Some(pps) = plan.pps {
                let now = start.elapsed().as_secs_f64();
                let due = (now * pps) as u64 + 1;
                // Wait until a whole batch is due, unless that was all.
                let want = (plan.count - sent).min(batch as u64);
                if due < sent + want {
                    let wait = (sent + want - 1) as f64 / pps - now;
                    std::thread::sleep(Duration::from_secs_f64(wait.clamp(0.0, STOP_SECONDS)));
                    continue;
                }
                late = late.max(now - sent as f64 / pps);
                room = room.min((due - sent) as usize);
            }
            let accepted = self.send(socket, room)?;
            sent += accepted.0;
            bytes += accepted.1;
        }
        let seconds = start.elapsed().as_secs_f64();
        Ok(Sent { sent, bytes, seconds, pps: sent as f64 / seconds.max(f64::EPSILON), late_seconds: late })
    }

    /// Sends the next frames, at most `count` and [`BATCH`]; returns how many were accepted, and their bytes.
    fn send(&mut self, socket: &mut TransmitSocket, count: usize) -> Result<(u64, u64), Error> {
        let start = self.index(self.first);
        let end = self.templates.len().min(start + count.min(BATCH));
        let mut frames: [&[u8]; BATCH] = [&[]; BATCH];
        let mut len = 0;
        for (template, number) in self.templates[start..end].iter_mut().zip(self.first..) {
            template.number(number);
            frames[len] = template.bytes();
            len += 1;
        }
        let accepted = socket.send(&frames[..len])?;
        self.first += accepted as u64;
        Ok((accepted as u64, frames[..accepted].iter().map(|frame| frame.len() as u64).sum()))
    }

    fn index(&self, number: u64) -> usize {
        (number % self.templates.len() as u64) as usize
    }
}

/// Templates at least if sizes are drawn: the mean of the mix comes out within 5 % or so.
const DRAWN_SIZES: u64 = 4_096;

/// Longest burst of a paced run, in seconds of its rate; shorter costs wake-ups, longer fills buffers unevenly.
const BURST_SECONDS: f64 = 200e-6;

/// Longest sleep between two looks at the stop flag, in seconds.
const STOP_SECONDS: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{self, Lab, Side};
    use crate::shape::Network;
    use crate::tally::Tally;
    use gannet_packet::LinkType;

    fn tally_of(generator: &mut Generator, first: u64, count: u64) -> crate::tally::Report {
        let mut tally = Tally::expecting(first, count);
        for number in first..first + count {
            let frame = generator.frame(number);
            tally.add(LinkType::ETHERNET, frame, frame.len() as u32);
        }
        tally.report()
    }

    #[test]
    fn flows_and_directions_take_turns() {
        let spec = Spec { flows: 1_000, both_directions: true, ..Spec::default() };
        let report = tally_of(&mut Generator::new(&spec), 12_345, 5_000);
        assert!(report.is_perfect(), "{report:?}");
        assert_eq!(report.flows, 1_000);
        let mut generator = Generator::new(&spec);
        let there = generator.frame(7)[26..34].to_vec();
        let back = generator.frame(1_007)[26..34].to_vec();
        assert_eq!(back, [&there[4..], &there[..4]].concat());
    }

    #[test]
    fn the_same_seed_gives_the_same_frames() {
        let spec = Spec { sizes: Sizes::Range(60, 1_514), seed: 5, ..Spec::default() };
        let (mut one, mut two) = (Generator::new(&spec), Generator::new(&spec));
        let mut other = Generator::new(&Spec { seed: 6, ..spec });
        assert!((0..100).all(|number| one.frame(number) == two.frame(number)));
        assert!((0..100).any(|number| one.frame(number) != other.frame(number)));
    }

    #[test]
    fn the_mix_has_its_weights() {
        let generator = Generator::new(&Spec { sizes: Sizes::Imix, ..Spec::default() });
        let mean = (7.0 * 60.0 + 4.0 * 566.0 + 1_514.0) / 12.0;
        assert!((generator.mean_length() / mean - 1.0).abs() < 0.05, "{} {mean}", generator.mean_length());
        let lengths: std::collections::BTreeSet<_> =
            generator.templates.iter().map(|template| template.bytes().len()).collect();
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [60, 566, 1_514]);
    }

    #[test]
    fn ranges_reach_both_ends() {
        let mut random = Random::new(1);
        let drawn: std::collections::BTreeSet<_> =
            (0..200).map(|_| Sizes::Range(60, 63).draw(&mut random)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [60, 61, 62, 63]);
    }

    #[test]
    fn sizes_as_words() {
        assert_eq!("1514".parse(), Ok(Sizes::Fixed(1_514)));
        assert_eq!("imix".parse(), Ok(Sizes::Imix));
        assert_eq!("60-100".parse(), Ok(Sizes::Range(60, 100)));
        for bad in ["", "x", "100-60", "-5", "70000"] {
            assert!(bad.parse::<Sizes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_sent_is_received_and_at_the_rate() {
        let Ok(()) = lab::require() else { return };
        let lab = Lab::new().unwrap();
        let mut socket =
            lab.enter(Side::Sender, || TransmitSocket::open(Side::Sender.interface())).unwrap().unwrap();
        let stop = AtomicBool::new(false);
        let spec = Spec { sizes: Sizes::Imix, flows: 10, ..Spec::default() };
        let mut generator = Generator::new(&spec);
        let sent = generator.run(&mut socket, &Plan { count: 10_000, pps: None }, &stop).unwrap();
        assert_eq!(sent.sent, 10_000);
        assert_eq!(lab.received().unwrap(), 10_000);

        // A lower bound of the time is certain; the upper one allows for a busy machine.
        let sent = generator.run(&mut socket, &Plan { count: 2_000, pps: Some(10_000.0) }, &stop).unwrap();
        assert!((0.195..1.0).contains(&sent.seconds), "{sent:?}");
        assert_eq!(generator.first, 12_000);
        assert_eq!(lab.received().unwrap(), 12_000);

        stop.store(true, Ordering::Relaxed);
        let sent = generator.run(&mut socket, &Plan { count: 10, pps: None }, &stop).unwrap();
        assert_eq!(sent.sent, 0);
    }

    #[test]
    fn sending_fails_with_the_interface_and_goes_on_when_it_is_back() {
        let Ok(()) = lab::require() else { return };
        let lab = Lab::new().unwrap();
        let mut socket =
            lab.enter(Side::Sender, || TransmitSocket::open(Side::Sender.interface())).unwrap().unwrap();
        let small = [0x11; 60];
        let huge = [0x11; 3_000];
        // The frames before the refused one go out, once; the refused one is reported by the next call.
        assert_eq!(socket.send(&[&small, &small, &huge, &small]).unwrap(), 2);
        let refused = socket.send(&[&huge]).unwrap_err().to_string();
        assert!(refused.contains("sendmmsg on tx0 (a frame of 3000 bytes): Message too long"), "{refused}");
        assert_eq!(lab.received().unwrap(), 2);

        lab.set_up(Side::Sender, false).unwrap();
        let down = socket.send(&[&small]).unwrap_err();
        assert!(down.is_interface_gone() && down.to_string().contains("tx0"), "{down}");
        lab.set_up(Side::Sender, true).unwrap();
        assert_eq!(socket.send(&[&small]).unwrap(), 1);
        lab.delete_link().unwrap();
        assert!(socket.send(&[&small]).unwrap_err().is_interface_gone());
    }

    #[test]
    fn ipv6_frames_of_the_mix_are_raised_to_what_fits() {
        let shape = Shape { network: Network::V6, ..Shape::default() };
        let spec = Spec { shape, sizes: Sizes::Imix, ..Spec::default() };
        let generator = Generator::new(&spec);
        assert!(generator.templates.iter().all(|template| template.bytes().len() >= 80));
    }
}
