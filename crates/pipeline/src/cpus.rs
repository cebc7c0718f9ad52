//! The CPUs that a run was told to keep to.

use core_affinity::CoreId;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::Error;

/// Those of `cores`, which the process may use, that were asked for, in the order asked for; all if none was.
///
/// # Errors
/// Names the one that the process may not use.
pub(crate) fn asked_for(cpus: &[usize], cores: &[CoreId]) -> Result<Vec<CoreId>, Error> {
    if cpus.is_empty() {
        return Ok(cores.to_vec());
    }
    let place = |&id: &usize| {
        let known = cores.iter().copied().find(|core| core.id == id);
        known.ok_or_else(|| Error::Usage(format!("--cpus: this process may not run on CPU {id}")))
    };
    cpus.iter().map(place).collect()
}

/// Keeps this thread, and those that it will start, to the CPUs asked for. Threads that read files wait for each
/// other: none of them is better off with a CPU of its own.
///
/// # Errors
/// As of [`asked_for`].
pub(crate) fn keep_to(cpus: &[usize]) -> Result<(), Error> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for core in asked_for(cpus, &core_affinity::get_core_ids().unwrap_or_default())? {
        // What the process may use is within the set.
        let _ = set.set(core.id);
    }
    let refused = |error| Error::Usage(format!("--cpus: the system refuses: {error}"));
    sched_setaffinity(Pid::from_raw(0), &set).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_started_later_are_kept_to_what_was_asked_for() {
        let (kept, refused) = std::thread::spawn(|| {
            let cores = core_affinity::get_core_ids().unwrap();
            keep_to(&[]).unwrap();
            assert_eq!(core_affinity::get_core_ids().unwrap().len(), cores.len());
            let last = cores.last().unwrap().id;
            keep_to(&[last]).unwrap();
            let started = std::thread::spawn(|| core_affinity::get_core_ids().unwrap()).join().unwrap();
            let ids: Vec<_> = started.iter().map(|core| core.id).collect();
            (ids == [last], keep_to(&[last, 4_000]).unwrap_err().to_string())
        })
        .join()
        .unwrap();
        assert!(kept);
        assert_eq!(refused, "--cpus: this process may not run on CPU 4000");
    }
}
