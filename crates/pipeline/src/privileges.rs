//! What the process may do, once everything is open: as little as possible.
//!
//! Gannet starts with the right to open packet sockets (as root, or with the file capability `cap_net_raw`) and then
//! parses hostile bytes. Between the two it gives up what it does not need any more. Capabilities and
//! `no_new_privs` belong to a *thread*, the user belongs to the process (the C library changes it on all threads
//! together), so there are two steps, and their order matters:
//!
//! ```text
//!   open sockets, rings and output ──► become_user ──► restrict_thread ──► start the other threads, capture
//! ```
//!
//! 1. [`become_user`] (only with `-Z`) while every thread that exists still has its capabilities: the C library
//!    makes each of them change its user, and ends the process if one may not.
//! 2. [`restrict_thread`] before any other thread is started: a new thread inherits what its creator has left. A
//!    thread that exists already keeps its capabilities unless it makes the call too.
//!
//! A packet socket needs no capability once it is open: filters, rings, memberships, fanout and binding are
//! checked at `socket(2)` only (`packet_create` in `net/packet/af_packet.c`). `CAP_NET_RAW` is worth keeping only
//! where a further socket will have to be opened.

use std::ffi::CString;
use std::fmt;
use std::io;

use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid};

/// A user to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name, also the key to the supplementary groups.
    pub name: String,
    /// Numeric user.
    pub uid: Uid,
    /// Primary group.
    pub gid: Gid,
}

impl User {
    /// Looks a user up by name, or by number if there is no user of that name.
    pub fn find(name_or_uid: &str) -> Result<Self, Error> {
        let unknown = |source: Option<io::Error>| Error::User { name: name_or_uid.to_owned(), source };
        let by_name =
            nix::unistd::User::from_name(name_or_uid).map_err(|errno| unknown(Some(errno.into())))?;
        let user = match (by_name, name_or_uid.parse::<u32>()) {
            (Some(user), _) => Some(user),
            (None, Ok(uid)) => nix::unistd::User::from_uid(Uid::from_raw(uid))
                .map_err(|errno| unknown(Some(errno.into())))?,
            (None, Err(_)) => None,
        };
        let user = user.ok_or_else(|| unknown(None))?;
        Ok(Self { name: user.name, uid: user.uid, gid: user.gid })
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Everything is open, and what comes from now on is foreign: the process becomes `user`, if there is one, and keeps no
/// capability of the calling thread but `keep`.
pub fn give_up(user: Option<&User>, keep: &[Capability]) -> Result<(), Error> {
    if let Some(user) = user {
        become_user(user)?;
    }
    restrict_thread(keep)
}

/// Makes the process `user`: supplementary groups, group and user, real, effective and saved.
///
/// A process that was root loses the capabilities of all its threads by that, except that the calling thread keeps
/// what it had as *permitted*, for [`restrict_thread`] to choose from. Needs `CAP_SETUID` and `CAP_SETGID` on every
/// thread of the process; becoming the user that one is already works without.
pub fn become_user(user: &User) -> Result<(), Error> {
    let is_user =
        nix::unistd::getresuid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [user.uid; 3]);
    if is_user && !user.uid.is_root() {
        return Ok(());
    }
    let failed =
        |call| move |errno: nix::Error| Error::BecomeUser { user: user.clone(), call, source: errno.into() };
    let name = CString::new(user.name.as_str())
        .map_err(|_| Error::User { name: user.name.clone(), source: None })?;
    // The kernel empties the permitted set of a thread that leaves user 0, unless PR_SET_KEEPCAPS is set.
    nix::sys::prctl::set_keepcaps(true).map_err(failed("prctl(PR_SET_KEEPCAPS)"))?;
    nix::unistd::initgroups(&name, user.gid).map_err(failed("initgroups"))?;
    nix::unistd::setresgid(user.gid, user.gid, user.gid).map_err(failed("setresgid"))?;
    nix::unistd::setresuid(user.uid, user.uid, user.uid).map_err(failed("setresuid"))?;
    nix::sys::prctl::set_keepcaps(false).map_err(failed("prctl(PR_SET_KEEPCAPS)"))
}

/// Drops every capability of the calling thread except `keep` from every set, and sets `no_new_privs`, so that
/// nothing executed afterwards gains any.
///
/// Of `keep`, what the thread does not have is left out, so that a start as a plain user with a file capability
/// works. Calling it again with the same or less is harmless. Every call that fails is an error: a run that was
/// asked to be harmless must not go on as root.
pub fn restrict_thread(keep: &[Capability]) -> Result<(), Error> {
    let permitted = caps::read(None, CapSet::Permitted).map_err(capabilities("reading the permitted"))?;
    let keep: CapsHashSet = keep.iter().copied().filter(|cap| permitted.contains(cap)).collect();
    if permitted.contains(&Capability::CAP_SETPCAP) {
        // Before the other sets: it needs CAP_SETPCAP in the effective one. Without that (a file capability, or
        // after `become_user`) the bounding set stays, and no_new_privs makes it useless.
        caps::raise(None, CapSet::Effective, Capability::CAP_SETPCAP)
            .map_err(capabilities("raising the effective"))?;
        for cap in caps::all() {
            // The kernel may know fewer capabilities than the crate; reading one of those fails.
            if !keep.contains(&cap) && caps::has_cap(None, CapSet::Bounding, cap).unwrap_or(false) {
                caps::drop(None, CapSet::Bounding, cap).map_err(capabilities("reducing the bounding"))?;
            }
        }
    }
    // Ambient and inheritable first, and effective before permitted: the kernel wants each within the next.
    let none = CapsHashSet::new();
    caps::clear(None, CapSet::Ambient).map_err(capabilities("clearing the ambient"))?;
    caps::set(None, CapSet::Inheritable, &none).map_err(capabilities("clearing the inheritable"))?;
    caps::set(None, CapSet::Effective, &none).map_err(capabilities("clearing the effective"))?;
    caps::set(None, CapSet::Permitted, &keep).map_err(capabilities("reducing the permitted"))?;
    caps::set(None, CapSet::Effective, &keep).map_err(capabilities("setting the effective"))?;
    nix::sys::prctl::set_no_new_privs()
        .map_err(|errno| Error::Call { call: "prctl(PR_SET_NO_NEW_PRIVS)", source: errno.into() })
}

/// Why privileges could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such user.
    #[error("no user {name}{}", source.as_ref().map(|error| format!(": {error}")).unwrap_or_default())]
    User {
        /// As it was given.
        name: String,
        /// Set if the user database could not be read.
        source: Option<io::Error>,
    },
    /// The process may not become that user.
    #[error("cannot become user {user}: {call}: {source} (only root can change to another user)")]
    BecomeUser {
        /// The user.
        user: User,
        /// The call that failed.
        call: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A capability set could not be changed.
    #[error("{action} capabilities: {source}")]
    Capabilities {
        /// What was attempted.
        action: &'static str,
        /// What the kernel said.
        source: caps::errors::CapsError,
    },
    /// Another call failed.
    #[error("{call}: {source}")]
    Call {
        /// The call.
        call: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

fn capabilities(action: &'static str) -> impl FnOnce(caps::errors::CapsError) -> Error {
    move |source| Error::Capabilities { action, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(field: &str) -> String {
        let text = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = text.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_once(':').unwrap().1.trim().to_owned()
    }

    #[test]
    fn users_by_name_and_number() {
        let root = User::find("root").unwrap();
        assert_eq!((root.uid, root.name.as_str()), (Uid::from_raw(0), "root"));
        assert_eq!(User::find("0").unwrap(), root);
        let error = User::find("no-such-user-here").unwrap_err();
        assert_eq!(error.to_string(), "no user no-such-user-here");
    }

    #[test]
    fn a_thread_keeps_only_what_it_is_given() {
        // Capabilities are the thread's own: this one ends with the test, and the others keep theirs.
        let task = || {
            restrict_thread(&[Capability::CAP_NET_RAW]).unwrap();
            let set = |field| u64::from_str_radix(&status(field), 16).unwrap();
            let net_raw = 1 << Capability::CAP_NET_RAW.index();
            assert_eq!(set("CapPrm"), set("CapEff"));
            assert_eq!(set("CapInh") | set("CapAmb"), 0);
            if nix::unistd::geteuid().is_root() {
                assert_eq!(set("CapEff"), net_raw);
                assert_eq!(set("CapBnd"), net_raw);
            } else {
                assert_eq!(set("CapEff") & !net_raw, 0);
            }
            assert_eq!(status("NoNewPrivs"), "1");
            // Again with less, and then nothing comes back.
            restrict_thread(&[]).unwrap();
            assert_eq!(set("CapPrm"), 0);
            restrict_thread(&[Capability::CAP_NET_RAW]).unwrap();
            assert_eq!(set("CapPrm"), 0);
        };
        std::thread::spawn(task).join().unwrap();
    }

    /// `become_user` changes the whole process, so it is tried in a child: this test binary, run again.
    #[test]
    fn becoming_a_user_and_keeping_one_capability() {
        const CHILD: &str = "GANNET_TEST_BECOME_USER";
        if std::env::var_os(CHILD).is_none() {
            if !nix::unistd::geteuid().is_root() {
                eprintln!("SKIPPED: becoming another user needs root");
                return;
            }
            let output = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "privileges::tests::becoming_a_user_and_keeping_one_capability"])
                .env(CHILD, "1")
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
            return;
        }
        let nobody = User::find("nobody").unwrap();
        become_user(&nobody).unwrap();
        restrict_thread(&[Capability::CAP_NET_RAW]).unwrap();
        let ids = format!("{0}\t{0}\t{0}\t{0}", nobody.uid);
        assert_eq!(status("Uid"), ids);
        assert_eq!(status("CapEff"), format!("{:016x}", 1u64 << Capability::CAP_NET_RAW.index()));
        // A thread that only lived through the change has lost everything, the capability to go back included.
        assert!(nix::unistd::setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_err());
        become_user(&nobody).unwrap();
        let error = become_user(&User::find("root").unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("cannot become user root: initgroups: "), "{error}");
    }
}
