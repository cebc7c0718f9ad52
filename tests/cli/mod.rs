//! The command line: usage, help, environment, faults, conversions, and captures as a user sees them.

mod convert;
mod corpus;
mod events;
mod faults;
mod fields;
mod filter;
mod filters;
mod histograms;
mod http;
mod httpry;
mod impairment;
mod live;
mod messages;
mod pauses;
mod selection;
mod stats;
mod tunnels;
mod usage;
