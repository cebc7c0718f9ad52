//! From the flags about connections to bounds and tunnels.

use gannet_flow::Limits;
use gannet_packet::{Decap, TunnelKind};
use gannet_pipeline::config::IntakeConfig;

use crate::args::FlowArgs;
use crate::exit::Error;
use crate::units::Vnis;

/// How packets become segments.
pub(super) fn intake(args: &FlowArgs) -> Result<IntakeConfig, Error> {
    Ok(IntakeConfig { decap: decap(args)?, ..IntakeConfig::default() })
}

/// What is remembered of connections.
pub(super) fn limits(args: &FlowArgs) -> Limits {
    let mut limits = Limits { deduplicate: !args.no_dedup, ..Limits::default() };
    if let Some(count) = args.max_flows {
        limits.flows = count.get();
    }
    if let Some(bytes) = args.flow_memory {
        limits.memory = usize::try_from(bytes.get()).unwrap_or(usize::MAX);
    }
    limits
}

/// Which tunnels are opened.
fn decap(args: &FlowArgs) -> Result<Decap, Error> {
    let mut decap = args.decap.clone().unwrap_or_default();
    if let Some(Vnis(vnis)) = &args.vni {
        if !decap.kinds.iter().any(TunnelKind::has_vni) {
            return Err(Error::usage(
                "--vni chooses among tunnels of VXLAN and Geneve, and --decap opens neither",
            ));
        }
        decap.vnis = Some(vnis.clone());
    }
    Ok(decap)
}
