//! Programs in print, as `tcpdump -d` shows them.

use std::fmt;

use super::insn::*;
use super::program::*;

/// One line per instruction, without a line feed at the end.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, insn) in self.instructions().iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write_line(f, at, *insn)?;
        }
        Ok(())
    }
}

fn write_line(f: &mut fmt::Formatter<'_>, at: usize, insn: Instruction) -> fmt::Result {
    let (mnemonic, operand) = (mnemonic(insn.code), operand(at, insn));
    if insn.is_conditional_jump() {
        let next = at + 1;
        let (then, other) = (next + usize::from(insn.jt), next + usize::from(insn.jf));
        write!(f, "({at:03}) {mnemonic:<8} {operand:<16} jt {then}\tjf {other}")
    } else {
        // tcpdump leaves the blanks behind an instruction without operand; so do we, to be the same byte for byte.
        write!(f, "({at:03}) {mnemonic:<8} {operand}")
    }
}

fn mnemonic(code: u16) -> &'static str {
    match code & 0x07 {
        LD => match Width::of(code) {
            Some(Width::Half) => "ldh",
            Some(Width::Byte) => "ldb",
            _ => "ld",
        },
        LDX if code == LDX_MSH => "ldxb",
        LDX => "ldx",
        ST => "st",
        STX => "stx",
        ALU => match code & 0xf0 {
            ADD => "add",
            SUB => "sub",
            MUL => "mul",
            DIV => "div",
            OR => "or",
            AND => "and",
            LSH => "lsh",
            RSH => "rsh",
            MOD => "mod",
            XOR => "xor",
            _ => "neg",
        },
        JMP => match code & 0xf0 {
            JA => "ja",
            JEQ => "jeq",
            JGT => "jgt",
            JGE => "jge",
            _ => "jset",
        },
        RET => "ret",
        _ if code == MISC_TAX => "tax",
        _ => "txa",
    }
}

fn operand(at: usize, insn: Instruction) -> String {
    let k = insn.k;
    match insn.code {
        LD_ABS_W | LD_ABS_H | LD_ABS_B => match Ancillary::from_offset(k) {
            Some(ancillary) => format!("[{}]", ancillary_name(ancillary)),
            // libpcap prints offsets signed: one relative to a header shows as a negative number.
            None => format!("[{}]", k as i32),
        },
        LD_IND_W | LD_IND_H | LD_IND_B => format!("[x + {}]", k as i32),
        LD_IMM | LDX_IMM => format!("#{k:#x}"),
        LD_MEM | LDX_MEM | ST | STX => format!("M[{k}]"),
        LD_LEN | LDX_LEN => "#pktlen".to_owned(),
        LDX_MSH => format!("4*([{}]&0xf)", k as i32),
        JUMP_ALWAYS => format!("{}", at as u64 + 1 + u64::from(k)),
        RET_K => format!("#{}", k as i32),
        ALU_NEG | MISC_TAX | MISC_TXA | RET_A => String::new(),
        code if code & X != 0 => "x".to_owned(),
        code if code & 0x07 == JMP => format!("#{k:#x}"),
        code => match code & 0xf0 {
            // Bit masks read better in hexadecimal, and libpcap prints them so.
            AND | OR | XOR => format!("#{k:#x}"),
            _ => format!("#{}", k as i32),
        },
    }
}

/// The names that `tcpdump -d` has for these loads.
fn ancillary_name(ancillary: Ancillary) -> &'static str {
    match ancillary {
        Ancillary::Protocol => "proto",
        Ancillary::PacketType => "type",
        Ancillary::InterfaceIndex => "ifidx",
        Ancillary::NetlinkAttribute => "nla",
        Ancillary::NestedNetlinkAttribute => "nlan",
        Ancillary::Mark => "mark",
        Ancillary::Queue => "queue",
        Ancillary::HardwareType => "hatype",
        Ancillary::RxHash => "rxhash",
        Ancillary::Cpu => "cpu",
        Ancillary::XorX => "xor_x",
        Ancillary::VlanTag => "vlan_tci",
        Ancillary::VlanTagPresent => "vlanp",
        Ancillary::PayloadOffset => "poff",
        Ancillary::Random => "random",
        Ancillary::VlanTpid => "vlan_tpid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The program that `tcpdump -i lo -d vlan` prints (libpcap 1.10.3).
    #[test]
    fn as_tcpdump_prints_it() {
        let program = Program::new(vec![
            Instruction::statement(LD_ABS_B, Ancillary::VlanTagPresent.offset()),
            Instruction::jump(JMP | JEQ | K, 1, 4, 0),
            Instruction::statement(LD_ABS_H, 12),
            Instruction::jump(JMP | JEQ | K, 0x8100, 2, 0),
            Instruction::jump(JMP | JEQ | K, 0x88a8, 1, 0),
            Instruction::jump(JMP | JEQ | K, 0x9100, 0, 1),
            Instruction::statement(RET_K, 262_144),
            Instruction::statement(RET_K, 0),
        ])
        .unwrap();
        let expected = "\
(000) ldb      [vlanp]
(001) jeq      #0x1             jt 6\tjf 2
(002) ldh      [12]
(003) jeq      #0x8100          jt 6\tjf 4
(004) jeq      #0x88a8          jt 6\tjf 5
(005) jeq      #0x9100          jt 6\tjf 7
(006) ret      #262144
(007) ret      #0";
        assert_eq!(program.to_string(), expected);
    }

    #[test]
    fn every_operand_form() {
        let program = Program::new(vec![
            Instruction::statement(LD_IMM, 16),
            Instruction::statement(ST, 1),
            Instruction::statement(LDX_MEM, 1),
            Instruction::statement(LD_IND_W, net_offset(4)),
            Instruction::statement(LDX_MSH, 14),
            Instruction::statement(ALU | AND | K, 255),
            Instruction::statement(ALU | LSH | K, 2),
            Instruction::statement(ALU | ADD | X, 0),
            Instruction::statement(ALU_NEG, 0),
            Instruction::statement(MISC_TAX, 0),
            Instruction::statement(LD_LEN, 0),
            Instruction::statement(JUMP_ALWAYS, 0),
            Instruction::statement(RET_A, 0),
        ])
        .unwrap();
        // Each ~ is a blank that tcpdump leaves at the end of a line.
        let expected = "\
(000) ld       #0x10
(001) st       M[1]
(002) ldx      M[1]
(003) ld       [x + -1048572]
(004) ldxb     4*([14]&0xf)
(005) and      #0xff
(006) lsh      #2
(007) add      x
(008) neg     ~
(009) tax     ~
(010) ld       #pktlen
(011) ja       12
(012) ret     ~";
        assert_eq!(program.to_string(), expected.replace('~', " "));
    }
}
