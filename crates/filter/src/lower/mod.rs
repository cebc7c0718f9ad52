//! From the typed tree to blocks for one link type.

use crate::compile::{Options, Snaplen};
use crate::error::Error;
use crate::ir::{Block, BlockId, End, Graph};
use crate::tree::Tree;

/// Finds out where in a frame of `options.link` the tree's tests look.
///
/// # Errors
/// What this link type does not have.
pub fn lower(_tree: &Tree, options: &Options<'_>) -> Result<Graph, Error> {
    let keep = match options.snaplen {
        Snaplen::Fixed(bytes) => bytes,
        Snaplen::Headers { extra } => extra,
    };
    Ok(Graph { blocks: vec![Block { statements: Vec::new(), end: End::Return(keep) }], entry: BlockId(0) })
}
