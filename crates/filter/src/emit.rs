//! From blocks to a program.
//!
//! Jumps only go forward, so a block must lie behind every block that goes on at it. Of the many orders that do this,
//! the one of libpcap is taken: walk the graph depth first, the `otherwise` way before the `then` way, and put down
//! each block, from the end of the program backward, when both of its ways are down.
//!
//! ```text
//!        1                walked              put down           program
//!   then/ \otherwise      1 3 5   4   2       5 4 3 2 1          1 2 3 4 5
//!      2   3              (2 goes to 4 and 5, 3 goes to 4 and 5: both are down by then)
//!      |\ /|
//!      | X |              The `then` way ends up right behind its block where nothing else claimed it before,
//!      4   5              and the block that most ways end in, as a rule the rejecting `ret`, comes last.
//! ```
//!
//! Jumps farther than 255 instructions are the [`Assembler`]'s business. The walk keeps its own stack: the blocks of
//! a long expression form a chain as deep as the expression is long.

use std::collections::HashMap;

use crate::bpf::insn::*;
use crate::bpf::{AssembleError, Assembler, Label, Program, ProgramError};
use crate::error::{Error, ErrorKind};
use crate::ir::{Block, BlockId, End, Graph};

/// Puts the blocks in a row and resolves their jumps.
///
/// Blocks that only return the same constant become one. The program went through the checks of [`Program::new`].
///
/// # Errors
/// [`TooLarge`](ErrorKind::TooLarge) if the program would be longer than the kernel takes;
/// [`Internal`](ErrorKind::Internal) if the graph breaks its invariants or holds an instruction that the kernel would
/// refuse.
pub fn emit(graph: &Graph) -> Result<Program, Error> {
    let order = layout(graph);
    // A block has one instruction at its end, except a `Goto` to the block behind it: counting none for any of those
    // can only let a graph through to the check of the finished program.
    let least: usize = order
        .iter()
        .map(|&id| graph.block(id))
        .map(|block| block.statements.len() + usize::from(!matches!(block.end, End::Goto(_))))
        .sum();
    if least > MAX_INSTRUCTIONS {
        return Err(too_large(least));
    }
    let fills = fills(graph, &order);
    let mut assembler = Assembler::new();
    // A is 0 when a program begins, so that words that a way leaves unset are 0 as well, which the kernel wants to
    // see stored.
    let unset = words_unset_on_entry(graph, &order);
    for word in (0..SCRATCH_WORDS as u32).filter(|word| unset & (1 << word) != 0) {
        assembler.st(word);
    }
    let labels: HashMap<BlockId, Label> = order.iter().map(|&id| (id, assembler.label())).collect();
    let shared = SharedReturns::of(graph, &order);
    for (place, &id) in order.iter().enumerate() {
        let block = graph.block(id);
        for word in (0..SCRATCH_WORDS as u32).filter(|word| fills[place] & (1 << word) != 0) {
            assembler.st(word);
        }
        // Every block that a block in `order` goes on at is in `order`, hence has a label.
        let label = |to: BlockId| labels.get(&shared.stand_in(graph, to)).copied();
        if let Some(label) = labels.get(&id) {
            assembler.bind(*label);
        }
        for insn in &block.statements {
            assembler.push(insn.code, insn.k);
        }
        match block.end {
            End::Branch { condition, then, otherwise } => {
                if let (Some(then), Some(otherwise)) = (label(then), label(otherwise)) {
                    let (code, k) = condition.encoded();
                    assembler.jump(code, k, then.into(), otherwise.into());
                }
            }
            End::Goto(next) if order.get(place + 1) == Some(&shared.stand_in(graph, next)) => {}
            End::Goto(next) => {
                if let Some(next) = label(next) {
                    assembler.ja(next);
                }
            }
            End::Return(value) => assembler.ret(value),
            End::ReturnA => assembler.ret_a(),
        }
    }
    assembler.assemble().map_err(|error| match error {
        AssembleError::Program(ProgramError::Length(instructions)) => too_large(instructions),
        error => Error::new(
            ErrorKind::Internal,
            format!("the program made from this expression is invalid: {error}"),
            0..0,
        )
        .with_help("this is a fault of the compiler, please report the expression"),
    })
}

fn too_large(instructions: usize) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!("the filter needs {instructions} instructions, the kernel takes {MAX_INSTRUCTIONS}"),
        0..0,
    )
    .with_help("a network in place of many hosts, or a port range in place of many ports, makes it shorter")
}

/// The blocks that can be reached, in the order of the program. Of blocks that return the same constant and do
/// nothing else only the first one met is there.
fn layout(graph: &Graph) -> Vec<BlockId> {
    let mut seen = vec![false; graph.blocks.len()];
    let mut returned = HashMap::new();
    let mut order = Vec::new();
    // A block is on the stack twice: to be walked into, and under its successors to be put down.
    let mut stack = vec![(graph.entry, false)];
    while let Some((id, ways_are_down)) = stack.pop() {
        if ways_are_down {
            order.push(id);
            continue;
        }
        if std::mem::replace(&mut seen[id.0 as usize], true) {
            continue;
        }
        let block = graph.block(id);
        if let Some(value) = bare_return(block)
            && returned.insert(value, id).is_some()
        {
            continue;
        }
        stack.push((id, true));
        // `otherwise`, the second successor, is pushed last and so walked first.
        stack.extend(block.successors().map(|next| (next, false)));
    }
    order.reverse();
    order
}

/// What a block returns that does nothing else.
fn bare_return(block: &Block) -> Option<u32> {
    match block.end {
        End::Return(value) if block.statements.is_empty() => Some(value),
        _ => None,
    }
}

/// The one block for each constant that is returned.
struct SharedReturns(HashMap<u32, BlockId>);

impl SharedReturns {
    fn of(graph: &Graph, order: &[BlockId]) -> Self {
        Self(order.iter().filter_map(|&id| Some((bare_return(graph.block(id))?, id))).collect())
    }

    /// The block that lies in the program for `id`.
    fn stand_in(&self, graph: &Graph, id: BlockId) -> BlockId {
        bare_return(graph.block(id)).and_then(|value| self.0.get(&value).copied()).unwrap_or(id)
    }
}

/// Which scratch words some way loads before it stores them. libpcap has such programs, for `vlan or geneve` and the
/// like, and leaves the words to chance.
fn words_unset_on_entry(graph: &Graph, order: &[BlockId]) -> u16 {
    let mut wanted = vec![0_u16; graph.blocks.len()];
    for &id in order.iter().rev() {
        let block = graph.block(id);
        let mut words = block.successors().fold(0, |words, next| words | wanted[next.0 as usize]);
        for insn in block.statements.iter().rev() {
            let word = 1_u16.checked_shl(insn.k).unwrap_or(0);
            match insn.class() {
                ST | STX => words &= !word,
                LD | LDX if insn.code & 0xe0 == MEM => words |= word,
                _ => {}
            }
        }
        wanted[id.0 as usize] = words;
    }
    wanted[graph.entry.0 as usize]
}

/// Before which places in the row stores must be put that nothing ever runs, one bit for each scratch word.
///
/// The kernel wants every scratch word stored before it is loaded, and takes what it knows before a `ret` as known
/// behind it, although nothing goes on there (`check_load_and_stores` in `net/core/filter.c`). So a block that loads
/// a word and happens to lie behind a `ret` that was reached without the word would have the program refused. A store
/// between the two, never run, contents the kernel. This is rare: as a rule the `ret`s come last.
fn fills(graph: &Graph, order: &[BlockId]) -> Vec<u16> {
    const ALL: u16 = u16::MAX;
    let mut set_at = vec![ALL; graph.blocks.len()];
    let mut fills = vec![0; order.len()];
    let shared = SharedReturns::of(graph, order);
    let mut behind = ALL;
    set_at[graph.entry.0 as usize] = words_unset_on_entry(graph, order);
    for (place, &id) in order.iter().enumerate() {
        let block = graph.block(id);
        let mut set = set_at[id.0 as usize];
        // What the kernel would hold against this block and no way to it justifies.
        fills[place] = set & !behind & words_loaded_from(graph, id, set & !behind);
        set &= behind | fills[place];
        for insn in &block.statements {
            if matches!(insn.class(), ST | STX) {
                set |= 1_u16.checked_shl(insn.k).unwrap_or(0);
            }
        }
        for next in block.successors() {
            set_at[shared.stand_in(graph, next).0 as usize] &= set;
        }
        behind = if matches!(block.end, End::Return(_) | End::ReturnA) { set } else { ALL };
    }
    fills
}

/// Which of the scratch words `asked` any block from `from` on loads; words that are stored first are named as well,
/// which costs a store that nothing runs.
fn words_loaded_from(graph: &Graph, from: BlockId, asked: u16) -> u16 {
    let mut loaded = 0;
    let mut seen = vec![false; graph.blocks.len()];
    let mut stack = vec![from];
    while asked & !loaded != 0 {
        let Some(id) = stack.pop() else { break };
        if std::mem::replace(&mut seen[id.0 as usize], true) {
            continue;
        }
        let block = graph.block(id);
        for insn in &block.statements {
            if insn.code == LD | MEM || insn.code == LDX | MEM {
                loaded |= 1_u16.checked_shl(insn.k).unwrap_or(0);
            }
        }
        stack.extend(block.successors());
    }
    loaded & asked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Comparison, Condition, Operand};

    fn graph(blocks: Vec<(Vec<Instruction>, End)>) -> Graph {
        let blocks = blocks.into_iter().map(|(statements, end)| Block { statements, end }).collect();
        Graph { blocks, entry: BlockId(0) }
    }

    fn equal(value: u32, then: u32, otherwise: u32) -> End {
        let condition = Condition { test: Comparison::Equal, operand: Operand::Constant(value) };
        End::Branch { condition, then: BlockId(then), otherwise: BlockId(otherwise) }
    }

    fn load(k: u32) -> Vec<Instruction> {
        vec![Instruction::statement(LD | B | ABS, k)]
    }

    fn listing(graph: &Graph) -> Vec<(u16, u8, u8, u32)> {
        emit(graph).unwrap().instructions().iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect()
    }

    #[test]
    fn then_comes_next_and_the_common_end_last() {
        let graph = graph(vec![
            (load(0), equal(1, 1, 2)),
            (load(1), equal(2, 3, 4)),
            (load(2), equal(3, 3, 4)),
            (vec![], End::Return(9)),
            (vec![], End::Return(0)),
        ]);
        let expected = [
            (0x30, 0, 0, 0),
            (0x15, 0, 2, 1),
            (0x30, 0, 0, 1),
            (0x15, 2, 3, 2),
            (0x30, 0, 0, 2),
            (0x15, 0, 1, 3),
            (6, 0, 0, 9),
            (6, 0, 0, 0),
        ];
        assert_eq!(listing(&graph), expected);
    }

    #[test]
    fn equal_returns_are_one_and_a_goto_falls_through() {
        let graph = graph(vec![
            (load(0), equal(1, 1, 2)),
            (vec![], End::Return(0)),
            (load(2), End::Goto(BlockId(4))),
            (vec![], End::Return(7)),
            (vec![], equal(5, 5, 3)),
            (vec![], End::Return(0)),
        ]);
        let expected =
            [(0x30, 0, 0, 0), (0x15, 2, 0, 1), (0x30, 0, 0, 2), (0x15, 0, 1, 5), (6, 0, 0, 0), (6, 0, 0, 7)];
        assert_eq!(listing(&graph), expected);
    }

    #[test]
    fn a_goto_to_a_block_elsewhere_jumps() {
        let graph = graph(vec![
            (load(0), equal(1, 1, 2)),
            (load(1), End::Goto(BlockId(3))),
            (load(2), End::Goto(BlockId(3))),
            (load(3), End::ReturnA),
        ]);
        assert_eq!(listing(&graph)[3], (0x05, 0, 0, 1));
        assert_eq!(listing(&graph).len(), 7);
    }

    #[test]
    fn a_return_in_the_middle_does_not_hide_a_store() {
        let store = |word| Instruction::statement(ST, word);
        // The entry goes to `ret 1` without M[3]; block 1 stores it and goes to `ret 1` or to its load.
        let graph = graph(vec![
            (load(0), equal(1, 2, 1)),
            (vec![Instruction::statement(LD | B | ABS, 1), store(3)], equal(2, 2, 3)),
            (vec![], End::Return(1)),
            (vec![Instruction::statement(LD | MEM, 3)], End::ReturnA),
        ]);
        let program = listing(&graph);
        assert!(program.contains(&(ST, 0, 0, 3)));
        assert_eq!(program.len(), 9);
        assert_eq!(program[6], (ST, 0, 0, 3), "{program:x?}");
    }

    #[test]
    fn a_chain_is_as_deep_as_memory_and_as_long_as_the_kernel_takes() {
        let chain = |blocks: u32| {
            let mut chain: Vec<_> = (0..blocks)
                .map(|at| (vec![], equal(at, blocks, if at + 1 < blocks { at + 1 } else { blocks + 1 })))
                .collect();
            chain.push((vec![], End::Return(1)));
            chain.push((vec![], End::Return(0)));
            graph(chain)
        };
        let error = emit(&chain(200_000)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooLarge);
        assert!(error.message.contains("200002"), "{error}");
        // 4094 fit without the long jumps that the early blocks need.
        assert_eq!(emit(&chain(4094)).unwrap_err().kind, ErrorKind::TooLarge);
        assert_eq!(emit(&chain(250)).unwrap().instructions().len(), 252);
        assert_eq!(emit(&chain(2000)).unwrap().instructions().len(), 2002 + 2000 - 256);
    }

    #[test]
    fn an_unset_scratch_word_is_0() {
        let graph = graph(vec![(vec![Instruction::statement(LD | MEM, 2)], End::ReturnA)]);
        assert_eq!(listing(&graph), [(ST, 0, 0, 2), (LD | MEM, 0, 0, 2), (RET | A, 0, 0, 0)]);
    }

    #[test]
    fn a_broken_graph_is_an_error_not_a_panic() {
        let divides_by_zero = graph(vec![(vec![Instruction::statement(ALU | DIV | K, 0)], End::ReturnA)]);
        assert_eq!(emit(&divides_by_zero).unwrap_err().kind, ErrorKind::Internal);
        let cycle = graph(vec![(load(0), equal(1, 0, 1)), (vec![], End::Return(0))]);
        assert_eq!(emit(&cycle).unwrap_err().kind, ErrorKind::Internal);
    }
}
