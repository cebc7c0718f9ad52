//! The recorder on live interfaces, in a network of its own: what was sent is compared with what was written.
//!
//! Every test has its turn of the machine (see [`support::Bench`]), asserts the ledger's identities after each
//! capture, and counts lost and doubled packets by the numbers that the generator writes into each frame.

mod any;
mod commands;
mod delays;
mod disk_full;
mod ending;
mod events;
mod filters;
mod flows;
mod frames;
mod http;
mod httpry;
mod inputs;
mod interface;
mod output;
mod recorded;
mod rotation;
mod support;
mod tools;
mod traffic;
mod tunnels;
