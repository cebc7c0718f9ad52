//! What the other programs say about themselves, read.

use std::collections::BTreeMap;

use super::records::Line;

/// httpry's last words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Httpry {
    /// As the kernel counts for libpcap: the dropped ones are among them.
    pub(super) received: u64,
    pub(super) dropped: u64,
    /// Requests and responses that it wrote a line for.
    pub(super) parsed: u64,
}

impl Httpry {
    /// "12 packets received, 0 packets dropped, 4 http packets parsed"
    pub(super) fn parse(said: &str) -> Option<Self> {
        said.lines().find_map(|line| {
            let mut parts = line.split(", ");
            let mut number = |unit: &str| parts.next()?.trim().strip_suffix(unit)?.parse().ok();
            Some(Self {
                received: number(" packets received")?,
                dropped: number(" packets dropped")?,
                parsed: number(" http packets parsed")?,
            })
        })
    }
}

/// wrk's summary.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wrk {
    pub(super) requests: u64,
    pub(super) per_second: f64,
    /// "Socket errors: ..." and "Non-2xx or 3xx responses: ...", if there were any.
    pub(super) errors: Vec<String>,
}

impl Wrk {
    pub(super) fn parse(said: &str) -> Option<Self> {
        let lines = || said.lines().map(str::trim);
        let requests = lines().find_map(|line| line.split_once(" requests in ")?.0.parse().ok())?;
        let per_second = lines().find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok())?;
        let errors = lines()
            .filter(|line| line.starts_with("Socket errors:") || line.starts_with("Non-2xx"))
            .map(str::to_owned)
            .collect();
        Some(Self { requests, per_second, errors })
    }
}

/// h2load's two lines that matter: how fast, and how many.
pub(super) fn h2load(said: &str) -> String {
    let wanted = ["finished in", "requests:", "status codes:"];
    let lines: Vec<&str> =
        said.lines().filter(|line| wanted.iter().any(|start| line.starts_with(start))).collect();
    lines.join("; ")
}

/// The server's log by the client's port: `port method path status bytes`; or the first line that is not so.
pub(super) fn access_log(text: &str) -> Result<BTreeMap<u16, Vec<Line>>, String> {
    let mut lines: BTreeMap<u16, Vec<Line>> = BTreeMap::new();
    for text in text.lines() {
        let (port, line) = access_line(text).ok_or_else(|| text.to_owned())?;
        lines.entry(port).or_default().push(line);
    }
    Ok(lines)
}

fn access_line(text: &str) -> Option<(u16, Line)> {
    let [port, method, path, status, bytes] = text.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let line = Line {
        method: method.to_owned(),
        path: path.to_owned(),
        status: status.parse().ok()?,
        bytes: bytes.parse().ok()?,
    };
    Some((port.parse().ok()?, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn httpry_counts() {
        let said = "Caught SIGINT, shutting down...\n\
            381020 packets received, 12 packets dropped, 190001 http packets parsed\n\
            9.0 packets/min, 0.0 http packets/min";
        let expected = Httpry { received: 381_020, dropped: 12, parsed: 190_001 };
        assert_eq!(Httpry::parse(said), Some(expected));
        // From a file it says less.
        assert_eq!(Httpry::parse("23274 http packets parsed"), None);
    }

    #[test]
    fn wrk_says_how_fast() {
        let said = "Running 1s test @ http://127.0.0.1/\n  1 threads and 4 connections\n\
            \x20 Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Req/Sec     1.17k   554.26\n\
            \x20 1276 requests in 1.10s, 671.64KB read\nRequests/sec:   1160.06\nTransfer/sec:    610.62KB\n";
        let mut expected = Wrk { requests: 1_276, per_second: 1160.06, errors: Vec::new() };
        assert_eq!(Wrk::parse(said), Some(expected.clone()));
        let error = "Socket errors: connect 0, read 3, write 0, timeout 0";
        expected.errors = vec![error.to_owned()];
        assert_eq!(
            Wrk::parse(&said.replace("Requests/sec", &format!("  {error}\nRequests/sec"))),
            Some(expected)
        );
        assert_eq!(Wrk::parse("unable to connect to 10.99.0.2:http"), None);
    }

    #[test]
    fn h2load_in_a_line() {
        let said = "starting benchmark...\nprogress: 10% done\nfinished in 3.06s, 65.4 req/s\n\
            requests: 200 total, 200 done\nstatus codes: 200 2xx\ntraffic: 1GB\n";
        assert_eq!(
            h2load(said),
            "finished in 3.06s, 65.4 req/s; requests: 200 total, 200 done; status codes: 200 2xx"
        );
    }

    #[test]
    fn the_log_by_port() {
        let log = access_log("5 GET /a?b 200 10\n6 POST /post 200 9\n5 GET /fail 500 177\n").unwrap();
        assert_eq!(log.keys().copied().collect::<Vec<_>>(), [5, 6]);
        let expected = Line { method: "GET".to_owned(), path: "/fail".to_owned(), status: 500, bytes: 177 };
        assert_eq!(log[&5][1], expected);
        for bad in
            ["5 GET /a 200", "5 GET /a b 200 1", "x GET /a 200 1", "70000 GET /a 200 1", "5 GET /a 200 -"]
        {
            assert_eq!(access_log(bad), Err(bad.to_owned()));
        }
    }
}
