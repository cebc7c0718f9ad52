//! Comparisons of arithmetic: every operator, nested, over loads from every header.

use std::fmt::Write as _;

use super::Expressions;
use super::primitive::{LENGTHS, PROTOCOLS};
use crate::filters::vocabulary::{ETHERTYPES, IP_PROTOCOLS, IPV4, pick, pick_early};

impl Expressions {
    /// A comparison.
    pub(super) fn relation(&mut self) {
        if self.one_in(4) {
            return self.customary_relation();
        }
        // Mostly one side is a number that the other can have.
        match self.random.below(8) {
            0 => {
                self.arithmetic(2);
                self.put_one(&RELATIONS);
                self.arithmetic(2);
            }
            1 => {
                self.small_number();
                self.put_one(&RELATIONS);
                self.arithmetic(2);
            }
            2..=4 => {
                self.load(2);
                if self.one_in(2) {
                    self.put_one(&[" & ", "&"]);
                    let mask = pick(&mut self.random, &MASKS);
                    self.number(mask);
                }
                self.put_one(&RELATIONS);
                self.small_number();
            }
            _ => {
                self.arithmetic(3);
                self.put_one(&RELATIONS);
                self.small_number();
            }
        }
    }

    pub(super) fn customary_relation(&mut self) {
        match self.random.below(6) {
            0..=1 => {
                self.put("tcp[tcpflags] & ");
                let flags = pick(&mut self.random, &TCP_FLAGS);
                match self.random.below(3) {
                    0 => {
                        let other = pick(&mut self.random, &TCP_FLAGS);
                        let _ = write!(self.text, "({flags}|{other}) ");
                    }
                    _ => {
                        let _ = write!(self.text, "{flags} ");
                    }
                }
                self.put_one(&["!= 0", "== 0", "= 0"]);
            }
            2 => {
                let kind = pick(&mut self.random, &ICMP_KINDS);
                let _ = write!(self.text, "icmp[icmptype] == {kind}");
            }
            3 => {
                let kind = pick(&mut self.random, &ICMP6_KINDS);
                let _ = write!(self.text, "icmp6[icmp6type] = {kind}");
            }
            _ => self.put_one(&CUSTOMARY),
        }
    }

    pub(super) fn arithmetic(&mut self, depth: u32) {
        match self.random.below(10) {
            0..=4 => self.load(depth),
            5 => self.small_number(),
            6 => self.put_one(&["len", "len", "length"]),
            _ if depth == 0 => self.load(0),
            7 if self.one_in(3) => {
                self.put("-");
                self.arithmetic(depth - 1);
            }
            _ => {
                let bracket = self.one_in(3);
                if bracket {
                    self.put("(");
                }
                self.arithmetic(depth - 1);
                let operator = pick_early(
                    &mut self.random,
                    &[" & ", " + ", " - ", ">>", " << ", "*", " / ", " | ", " ^ ", " % ", "+", "-", "/"],
                );
                self.put(operator);
                match operator.trim() {
                    ">>" | "<<" if !self.one_in(8) => {
                        let bits = self.random.below(9) as u32;
                        self.number(bits);
                    }
                    "&" | "/" | "%" | "*" if !self.one_in(3) => {
                        let mask = pick(&mut self.random, &MASKS);
                        self.number(mask);
                    }
                    _ => self.arithmetic(depth - 1),
                }
                if bracket {
                    self.put(")");
                }
            }
        }
    }

    /// `ip[9]`, and offsets that are computed.
    pub(super) fn load(&mut self, depth: u32) {
        let common = ["tcp", "udp", "ip", "ip", "ip6", "icmp", "icmp6", "ether", "link", "arp"];
        let protocol = if self.one_in(12) {
            pick(&mut self.random, &PROTOCOLS)
        } else {
            pick(&mut self.random, &common)
        };
        let _ = write!(self.text, "{protocol}[");
        match self.random.below(12) {
            0 if depth > 0 => self.arithmetic(depth - 1),
            1 if depth > 0 => {
                // Lengths that headers carry.
                self.put_one(&[
                    "(ip[0]&0xf)<<2",
                    "((tcp[12] & 0xf0) >> 2)",
                    "tcp[12]>>2",
                    "ip[0]&0xf",
                    "len - 1",
                    "ip6[4:2]",
                    "udp[4:2]-1",
                ]);
            }
            2 if self.one_in(6) => self.put_one(&["4294967295", "-1", "65535", "0x7fffffff", "4294967200"]),
            _ => {
                let bound = if self.one_in(3) { 64 } else { 24 };
                let offset = self.random.below(bound) as u32;
                self.number(offset);
            }
        }
        if self.one_in(2) {
            self.put_one(&[":1", ":2", ":4", ":2", " : 4"]);
            if self.one_in(80) {
                self.put("3");
            }
        }
        self.put("]");
    }

    pub(super) fn small_number(&mut self) {
        let number = match self.random.below(8) {
            0..=2 => pick(&mut self.random, &MASKS),
            3 => u32::from(pick(&mut self.random, &ETHERTYPES)),
            4 => u32::from(pick(&mut self.random, &IP_PROTOCOLS)),
            5 => pick(&mut self.random, &LENGTHS),
            6 => u32::from_be_bytes(pick(&mut self.random, &IPV4)),
            _ => self.random.below(256) as u32,
        };
        self.number(number);
    }
}

const MASKS: [u32; 16] =
    [0xf, 0xf0, 0xff, 1, 2, 4, 8, 0x12, 0x3f, 0x1fff, 0x4000, 0xffff, 0x0800, 5, 0, 0xffff_ffff];

const RELATIONS: [&str; 10] = [" = ", " == ", " != ", " > ", " < ", " >= ", " <= ", "=", ">", "!="];

pub(super) const TCP_FLAGS: [&str; 8] =
    ["tcp-syn", "tcp-ack", "tcp-fin", "tcp-rst", "tcp-push", "tcp-urg", "tcp-ece", "tcp-cwr"];

pub(super) const ICMP_KINDS: [&str; 17] = [
    "icmp-echoreply",
    "icmp-unreach",
    "icmp-sourcequench",
    "icmp-redirect",
    "icmp-echo",
    "icmp-routeradvert",
    "icmp-routersolicit",
    "icmp-timxceed",
    "icmp-paramprob",
    "icmp-tstamp",
    "icmp-tstampreply",
    "icmp-ireq",
    "icmp-ireqreply",
    "icmp-maskreq",
    "icmp-maskreply",
    "icmpcode",
    "icmp-echo",
];

pub(super) const ICMP6_KINDS: [&str; 24] = [
    "icmp6-destinationunreach",
    "icmp6-packettoobig",
    "icmp6-timeexceeded",
    "icmp6-parameterproblem",
    "icmp6-echo",
    "icmp6-echoreply",
    "icmp6-multicastlistenerquery",
    "icmp6-multicastlistenerreportv1",
    "icmp6-multicastlistenerdone",
    "icmp6-routersolicit",
    "icmp6-routeradvert",
    "icmp6-neighborsolicit",
    "icmp6-neighboradvert",
    "icmp6-redirect",
    "icmp6-routerrenum",
    "icmp6-nodeinformationquery",
    "icmp6-nodeinformationresponse",
    "icmp6-ineighbordiscoverysolicit",
    "icmp6-multicastlistenerreportv2",
    "icmp6-homeagentdiscoveryrequest",
    "icmp6-mobileprefixsolicit",
    "icmp6-certpathadvert",
    "icmp6-multicastrouteradvert",
    "icmp6code",
];

/// As manuals and mailing lists have them.
const CUSTOMARY: [&str; 20] = [
    "tcp[13] == 0x12",
    "tcp[tcpflags] == tcp-syn|tcp-ack",
    "tcp[tcpflags] & (tcp-rst|tcp-ack) == (tcp-rst|tcp-ack)",
    "ip[6:2] & 0x1fff = 0",
    "ip[6] & 0x20 != 0",
    "ip[0] & 0xf > 5",
    "ip[0] & 0xf != 5",
    "ip[8] < 5",
    "ip[9] = 6",
    "ip6[6] = 44",
    "ip6[6] == 0x3a",
    "ip[2:2] - ((ip[0] & 0x0f) << 2) - ((tcp[12] & 0xf0) >> 2) > 0",
    "tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420",
    "udp[8:4] & 0xffff != 0",
    "ether[12:2] = 0x0806",
    "ether[0] & 1 = 0",
    "ether[12:2] > 1500",
    "len > 100",
    "ip[12:4] != ip[16:4]",
    "udp[udp[4:2]-1] = 0",
];
