//! Patterns of a few neighbouring statements, and statements that nobody needs.
//!
//! All patterns are those that libpcap knows, since which branches turn out constant depends on them, and with that
//! which expressions are refused.

use super::atoms::*;
use super::values::{State, Values};
use crate::bpf::Instruction;
use crate::bpf::insn::*;
use crate::ir::{Block, Comparison, Condition, End, Operand};

/// Rewrites neighbours; whether anything changed. `live_after` is what the blocks behind this one want.
///
/// ```text
///   st M[k]                  st M[k]          ld #k       ldx #k        ld #k
///   ldx M[k]          ──►    tax              tax    ──►  txa           ldx 4*([m]&0xf)  ──►  ldx 4*([m]&0xf)
///                                                                       add x                 ld [x + i + k]
///                                                                       tax
///                                                                       ld [x + i]
/// ```
pub(super) fn neighbours(block: &mut Block, live_after: Atoms) -> bool {
    let mut changed = false;
    let mut at = 0;
    while at + 1 < block.statements.len() {
        let (this, next) = (block.statements[at], block.statements[at + 1]);
        if this.code == ST && next.code == LDX | MEM && this.k == next.k {
            block.statements[at + 1] = Instruction::statement(MISC | TAX, 0);
            changed = true;
        }
        if this.code == LD | IMM {
            if block.statements[at + 1].code == MISC | TAX {
                block.statements[at] = Instruction::statement(LDX | IMM, this.k);
                block.statements[at + 1] = Instruction::statement(MISC | TXA, 0);
                changed = true;
            } else {
                changed |= fold_index(block, at, live_after);
            }
        }
        at += 1;
    }
    changed
}

/// The third pattern: a constant added to an index is the load's own offset.
fn fold_index(block: &mut Block, at: usize, live_after: Atoms) -> bool {
    let header = usize::from(block.statements[at + 1].code == LDX | B | MSH);
    let (add, tax, load) = (at + 1 + header, at + 2 + header, at + 3 + header);
    let code = |at: usize| block.statements.get(at).map(|insn| insn.code);
    let is_indexed = |code: u16| code & 0x07 == LD && code & 0xe0 == IND;
    if code(add) != Some(ALU | ADD | X)
        || code(tax) != Some(MISC | TAX)
        || !code(load).is_some_and(is_indexed)
    {
        return false;
    }
    // X will hold something else afterwards: nobody may look.
    let rest = Block { statements: block.statements.split_off(load + 1), end: block.end };
    let is_free = Traffic::of(&rest).live_before(live_after) & only(ATOM_X) == 0;
    block.statements.extend(rest.statements);
    if is_free {
        block.statements[load].k = block.statements[load].k.wrapping_add(block.statements[at].k);
        block.statements.drain(add..=tax);
        block.statements.remove(at);
    }
    is_free
}

/// Moves the last statement into the comparison behind it; whether anything changed. `state` is that at the block's
/// end.
///
/// ```text
///   sub #k             jeq #(n + k)     sub x             jeq x        and #k           jset #k
///   jeq #n       ──►                    jeq #0      ──►                jeq #0     ──►   (ways swapped)
/// ```
pub(super) fn comparison(block: &mut Block, values: &Values, state: &State, live_after: Atoms) -> bool {
    let End::Branch { condition, then, otherwise } = &mut block.end else { return false };
    let Condition { test: Comparison::Equal, operand: Operand::Constant(with) } = *condition else {
        return false;
    };
    let Some(&last) = block.statements.last() else { return false };
    if live_after & only(ATOM_A) != 0 {
        return false;
    }
    let operand = match last.code {
        SUB_X => match values.as_constant(state[ATOM_X]) {
            Some(x) => Operand::Constant(with.wrapping_add(x)),
            None if with == 0 => Operand::X,
            None => return false,
        },
        SUB_K => Operand::Constant(with.wrapping_add(last.k)),
        AND_K if with == 0 => {
            condition.test = Comparison::AnyBit;
            std::mem::swap(then, otherwise);
            Operand::Constant(last.k)
        }
        _ => return false,
    };
    condition.operand = operand;
    block.statements.pop();
    true
}

/// Settles a comparison whose outcome is known; both its ways lead to the same block then.
pub(super) fn settle(block: &mut Block, values: &Values, state: &State) -> bool {
    let End::Branch { condition, then, otherwise } = &mut block.end else { return false };
    if condition.operand == Operand::X
        && let Some(x) = values.as_constant(state[ATOM_X])
    {
        condition.operand = Operand::Constant(x);
    }
    let Operand::Constant(operand) = condition.operand else { return false };
    let holds = match (condition.test, operand, values.as_constant(state[ATOM_A])) {
        (Comparison::AnyBit, 0, _) => false,
        (test, _, Some(a)) => test.holds(a, operand),
        _ => return false,
    };
    let changed = then != otherwise;
    if holds {
        *otherwise = *then;
    } else {
        *then = *otherwise;
    }
    changed
}

/// Takes out statements whose result is written over or not wanted behind the block; whether there were any.
///
/// As in libpcap, loads among them go as well although they would have rejected a packet cut before them, unless
/// `keep_failing`.
pub(super) fn remove_dead(block: &mut Block, live_after: Atoms, keep_failing: bool) -> bool {
    let mut live = live_after | end_uses(&block.end);
    let before = block.statements.len();
    // From the end: what is wanted is known from what comes after.
    block.statements.reverse();
    block.statements.retain(|&insn| {
        let target = only(defines(insn));
        let is_wanted = live & target != 0 || keep_failing && may_fail(insn);
        if is_wanted {
            live = live & !target | uses(insn);
        }
        is_wanted
    });
    block.statements.reverse();
    block.statements.len() != before
}

const SUB_X: u16 = ALU | SUB | X;
const SUB_K: u16 = ALU | SUB | K;
const AND_K: u16 = ALU | AND | K;
