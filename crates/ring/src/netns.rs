//! Network namespaces: named the way `ip netns` and `nsenter` name them, entered for the length of a closure.
//!
//! The namespace is a property of the thread, so [`enter`] runs the closure on a thread of its own that ends with
//! it: no thread that does anything else is ever in the wrong namespace. A socket keeps the namespace it was
//! opened in, so what the closure opens may leave it.

use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::sched::{CloneFlags, setns};

use crate::error::Error;

/// How a user names a network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NetnsSpec {
    /// A name that `ip netns add` made: a file in `/run/netns`.
    Name(String),
    /// The namespace of a running process.
    Pid(u32),
    /// A file of a namespace: a bind mount, or something like `/proc/1/ns/net`.
    Path(PathBuf),
}

impl NetnsSpec {
    /// The file that stands for the namespace. It need not exist.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Name(name) => Path::new(NAMED_DIRECTORY).join(name),
            Self::Pid(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
            Self::Path(path) => path.clone(),
        }
    }
}

impl FromStr for NetnsSpec {
    type Err = Infallible;

    /// Anything with a slash is a path, digits alone are a process, the rest is a name. A name of digits only can
    /// be reached as `/run/netns/123`.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text.contains('/') {
            Self::Path(PathBuf::from(text))
        } else if let (true, Ok(pid)) = (text.bytes().all(|byte| byte.is_ascii_digit()), text.parse()) {
            Self::Pid(pid)
        } else {
            Self::Name(text.to_owned())
        })
    }
}

impl fmt::Display for NetnsSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Pid(pid) => write!(f, "of process {pid}"),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// Runs `work` in the network namespace `spec`, or right here if it is `None`, and returns what it returned.
///
/// Needs `CAP_SYS_ADMIN` in the namespace's user namespace and in the own one. Fails with [`Error::Namespace`] if
/// its file cannot be opened or is no network namespace (`EINVAL`). A panic of `work` goes on in the caller.
pub fn enter<T: Send>(spec: Option<&NetnsSpec>, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    let Some(spec) = spec else { return Ok(work()) };
    let failed = |source| Error::Namespace { name: spec.to_string(), source };
    let file = File::open(spec.path()).map_err(failed)?;
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, || match setns(&file, CloneFlags::CLONE_NEWNET) {
                Ok(()) => Ok(work()),
                Err(errno) => Err(failed(errno.into())),
            })
            .map_err(failed)?
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Where `ip netns` keeps its names (`NETNS_RUN_DIR` of iproute2).
const NAMED_DIRECTORY: &str = "/run/netns";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_namespace_is_named() {
        for (text, path) in [
            ("lab", "/run/netns/lab"),
            ("1234", "/proc/1234/ns/net"),
            ("12ab", "/run/netns/12ab"),
            ("/proc/self/ns/net", "/proc/self/ns/net"),
            ("./ns", "./ns"),
            // Too large for a process: a name, not a wrapped number.
            ("99999999999", "/run/netns/99999999999"),
        ] {
            let Ok(spec) = text.parse::<NetnsSpec>();
            assert_eq!(spec.path(), Path::new(path), "{text}");
        }
    }

    #[test]
    fn none_runs_on_the_same_thread() {
        let here = std::thread::current().id();
        assert_eq!(enter(None, || std::thread::current().id()).unwrap(), here);
    }

    #[test]
    fn errors_name_the_namespace() {
        let error = enter(Some(&NetnsSpec::Name("no-such-gannet".into())), || ()).unwrap_err();
        assert!(error.to_string().starts_with("network namespace no-such-gannet: No such file"), "{error}");
        let error = enter(Some(&NetnsSpec::Path("/dev/null".into())), || ()).unwrap_err();
        assert!(error.to_string().starts_with("network namespace /dev/null: Invalid argument"), "{error}");
    }

    #[test]
    fn the_caller_stays_where_it_was() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: entering a namespace needs root");
            return;
        }
        let own = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let before = own();
        let (sender, receiver) = std::sync::mpsc::channel();
        let (done, hold) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                nix::sched::unshare(CloneFlags::CLONE_NEWNET).unwrap();
                sender.send((nix::unistd::gettid(), own())).unwrap();
                let _ = hold.recv();
            });
            let (tid, other) = receiver.recv().unwrap();
            assert_ne!(other, before);
            let spec = NetnsSpec::Path(format!("/proc/{tid}/ns/net").into());
            assert_eq!(enter(Some(&spec), own).unwrap(), other);
            assert_eq!(own(), before);
            drop(done);
        });
    }
}
