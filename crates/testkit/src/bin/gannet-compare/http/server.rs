//! nginx in the receiver's namespace, with a log of what it sent.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use gannet_testkit::lab::{Lab, Side};
use nix::sys::signal::Signal;

use super::records::Line;
use super::said;
use crate::process::Process;

/// A running server with an empty log: pages of five [`SIZES`], `/fail` (500), `/post` (200), everything else 404.
pub(super) struct Server {
    process: Process,
    log: PathBuf,
}

impl Server {
    /// Starts it and waits until it takes connections; its files are in `directory`.
    pub(super) fn start(lab: &Lab, directory: &Path) -> anyhow::Result<Self> {
        let pages = directory.join("www");
        fs::create_dir_all(&pages)?;
        for size in SIZES {
            fs::write(pages.join(format!("{size}.txt")), vec![b'x'; size])?;
        }
        let log = directory.join("access.log");
        let _ = fs::remove_file(&log);
        let config = directory.join("nginx.conf");
        fs::write(&config, configuration(directory))?;
        let mut command = lab.command(Side::Receiver, "nginx");
        command.arg("-e").arg(directory.join("error.log")).arg("-c").arg(config);
        let process = Process::spawn("nginx", command)?;
        let server = Self { process, log };
        server.wait_until_ready(lab, directory)?;
        Ok(server)
    }

    fn wait_until_ready(&self, lab: &Lab, directory: &Path) -> anyhow::Result<()> {
        let start = Instant::now();
        // A connection without a request leaves no line in the log.
        while lab.enter(Side::Sender, || TcpStream::connect((Side::Receiver.address(), 80)))?.is_err() {
            if start.elapsed() > PATIENCE {
                let complaint = fs::read_to_string(directory.join("error.log")).unwrap_or_default();
                anyhow::bail!("nginx does not listen after {PATIENCE:?}: {}", complaint.trim());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Ends it, so that its log is whole: the lines by the client's port, in the order of the log.
    pub(super) fn end(mut self, stop: &AtomicBool) -> anyhow::Result<BTreeMap<u16, Vec<Line>>> {
        let ended = self.process.stop(Signal::SIGQUIT, stop, None)?;
        ensure!(ended.status.success(), "nginx: {}", ended.status);
        let text = fs::read_to_string(&self.log).with_context(|| self.log.display().to_string())?;
        said::access_log(&text).map_err(|line| anyhow::anyhow!("access log: {line:?}"))
    }
}

/// A command on the sender's side.
pub(super) fn client(lab: &Lab, words: &str) -> Command {
    let mut words = words.split_whitespace();
    let mut command = lab.command(Side::Sender, words.next().unwrap_or_default());
    command.args(words);
    command
}

/// The address of a page.
pub(super) fn url(path: &str) -> String {
    format!("http://{}{path}", Side::Receiver.address())
}

fn configuration(directory: &Path) -> String {
    format!(
        "daemon off; user root root; worker_processes 1; pid {root}/nginx.pid; error_log {root}/error.log;
         events {{ worker_connections 1024; }}
         http {{
             log_format line '$remote_port $request_method $request_uri $status $body_bytes_sent';
             access_log {root}/access.log line buffer=64k;
             client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fcgi;
             uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
             keepalive_requests 100000000; sendfile on; tcp_nopush on;
             server {{
                 listen {address}:80; root {root}/www;
                 location /fail {{ return 500; }}
                 location /post {{ return 200 'thank you'; }}
             }}
         }}\n",
        root = directory.display(),
        address = Side::Receiver.address(),
    )
}

/// Lengths of the pages: nothing, less than a segment, a usual answer, several segments, more than a window.
pub(super) const SIZES: [usize; 5] = [0, 100, 1_000, 20_000, 100_000];

const PATIENCE: Duration = Duration::from_secs(10);
