//! What a filter costs per frame: in the plain machine and in the one for files.
//!
//! The programs are tcpdump's (4.99.3), so that this measures the machines and not the compiler.
//!
//! `cargo bench --bench filter`; with `-- --test` each runs once, to see that it still works.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails shall say so")]

use std::hint::black_box;

use divan::counter::ItemsCount;
use divan::{Bencher, bench};
use etherparse::PacketBuilder;
use gannet_filter::{Machine, Program, Skb, opcodes};

fn main() {
    divan::main();
}

/// An expression, and how many of the [`frames`] pass it.
#[derive(Clone, Copy, Debug)]
enum Expression {
    /// `tcp port 80`
    TcpPort80,
    /// `tcp[tcpflags] & (tcp-syn|tcp-fin) != 0 and not net 192.168.0.0/16`
    Flags,
    /// `(host 10.0.0.1 or host 10.0.0.2 or host 10.0.0.3 or net 172.16.0.0/12) and (tcp portrange 8000-8999 or udp port
    /// 53 or port 443 or port 8443) and not icmp and greater 60`
    Service,
    /// `tcp port 81 or 82 or ... or 96`
    Ports,
}

const EXPRESSIONS: [Expression; 4] =
    [Expression::TcpPort80, Expression::Flags, Expression::Service, Expression::Ports];

#[bench(args = EXPRESSIONS)]
fn machine(bencher: Bencher, expression: Expression) {
    let frames = frames();
    let machine = Machine::new(&program(expression));
    bencher.counter(ItemsCount::new(frames.len())).bench_local(|| {
        let passed =
            frames.iter().filter(|frame| machine.run(black_box(frame), frame.len() as u32) != 0).count();
        assert_eq!(passed, passing(expression));
    });
}

#[bench(args = EXPRESSIONS)]
fn program_run(bencher: Bencher, expression: Expression) {
    let frames = frames();
    let program = program(expression);
    bencher.counter(ItemsCount::new(frames.len())).bench_local(|| {
        let passed = frames.iter().filter(|frame| program.run(&Skb::of(black_box(frame))) != 0).count();
        assert_eq!(passed, passing(expression));
    });
}

/// Both directions of TCP to a few ports, some of it IPv6, and a little UDP.
fn frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for number in 0..FRAMES {
        let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let (client, server) = ([10, 0, 0, number as u8], [172, 20, 1, (number >> 3) as u8]);
        let (source, destination) = if number % 2 == 0 { (client, server) } else { (server, client) };
        let port = [80, 443, 8080, 53, 90, 22, 80, 3306][number as usize % 8];
        let (from, to) = if number % 2 == 0 { (40_000 + number, port) } else { (port, 40_000 + number) };
        let mut frame = Vec::new();
        let payload = vec![7; 40 + usize::from(number) * 5];
        if number % 11 == 0 {
            let mapped = |[a, b, c, d]: [u8; 4]| [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d];
            let builder =
                ethernet.ipv6(mapped(source), mapped(destination), 64).tcp(from, to, 1, 1000).ack(9);
            builder.write(&mut frame, &payload).unwrap();
        } else if port == 53 {
            ethernet.ipv4(source, destination, 64).udp(from, to).write(&mut frame, &payload).unwrap();
        } else if number % 7 == 0 {
            let builder = ethernet.ipv4(source, destination, 64).tcp(from, to, 1, 1000).syn();
            builder.write(&mut frame, &[]).unwrap();
        } else {
            let builder = ethernet.ipv4(source, destination, 64).tcp(from, to, 1, 1000).ack(9);
            builder.write(&mut frame, &payload).unwrap();
        }
        frames.push(frame);
    }
    frames
}

fn passing(expression: Expression) -> usize {
    match expression {
        Expression::TcpPort80 => 64,
        Expression::Flags => 29,
        Expression::Service => 80,
        Expression::Ports => 32,
    }
}

fn program(expression: Expression) -> Program {
    let list = match expression {
        Expression::TcpPort80 => {
            "20,40 0 0 12,21 0 6 34525,48 0 0 20,21 0 15 6,40 0 0 54,21 12 0 80,40 0 0 56,21 10 11 80,21 0 10 2048,\
             48 0 0 23,21 0 8 6,40 0 0 20,69 6 0 8191,177 0 0 14,72 0 0 14,21 2 0 80,72 0 0 16,21 0 1 80,6 0 0 262144,6 0 0 0"
        }
        Expression::Flags => {
            "17,40 0 0 12,21 0 14 2048,48 0 0 23,21 0 12 6,40 0 0 20,69 10 0 8191,177 0 0 14,80 0 0 27,69 0 7 3,32 0 0 26,\
             84 0 0 4294901760,21 4 0 3232235520,32 0 0 30,84 0 0 4294901760,21 1 0 3232235520,6 0 0 262144,6 0 0 0"
        }
        Expression::Service => {
            "56,40 0 0 12,21 0 53 2048,32 0 0 26,21 12 0 167772161,21 11 0 167772162,21 10 0 167772163,32 0 0 30,\
             21 8 0 167772161,21 7 0 167772162,21 6 0 167772163,32 0 0 26,84 0 0 4293918720,21 3 0 2886729728,32 0 0 30,\
             84 0 0 4293918720,21 0 39 2886729728,48 0 0 23,21 0 13 6,40 0 0 20,69 35 0 8191,177 0 0 14,72 0 0 14,\
             53 0 1 8000,37 0 28 8999,72 0 0 16,53 0 1 8000,37 0 25 8999,21 24 0 443,21 23 0 8443,72 0 0 14,21 21 20 443,\
             21 0 10 17,40 0 0 20,69 21 0 8191,177 0 0 14,72 0 0 14,21 15 0 53,21 14 0 443,21 13 0 8443,72 0 0 16,\
             21 11 0 53,21 10 9 443,21 0 12 132,40 0 0 20,69 10 0 8191,177 0 0 14,72 0 0 14,21 4 0 443,21 3 0 8443,\
             72 0 0 16,21 1 0 443,21 0 3 8443,128 0 0 0,53 0 1 60,6 0 0 262144,6 0 0 0"
        }
        Expression::Ports => {
            "65,40 0 0 12,21 0 21 34525,48 0 0 20,21 0 60 6,40 0 0 54,21 57 0 81,21 56 0 82,21 55 0 83,21 54 0 84,\
             21 53 0 85,21 52 0 86,21 51 0 87,21 50 0 88,21 49 0 89,21 48 0 90,21 47 0 91,21 46 0 92,21 45 0 93,21 44 0 94,\
             21 43 0 95,21 42 0 96,40 0 0 56,21 40 25 81,21 0 40 2048,48 0 0 23,21 0 38 6,40 0 0 20,69 36 0 8191,\
             177 0 0 14,72 0 0 14,21 32 0 81,21 31 0 82,21 30 0 83,21 29 0 84,21 28 0 85,21 27 0 86,21 26 0 87,21 25 0 88,\
             21 24 0 89,21 23 0 90,21 22 0 91,21 21 0 92,21 20 0 93,21 19 0 94,21 18 0 95,21 17 0 96,72 0 0 16,21 15 0 81,\
             21 14 0 82,21 13 0 83,21 12 0 84,21 11 0 85,21 10 0 86,21 9 0 87,21 8 0 88,21 7 0 89,21 6 0 90,21 5 0 91,\
             21 4 0 92,21 3 0 93,21 2 0 94,21 1 0 95,21 0 1 96,6 0 0 262144,6 0 0 0"
        }
    };
    opcodes::parse(list).unwrap()
}

const FRAMES: u16 = 256;
