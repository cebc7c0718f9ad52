//! What other people's tools say of a recording: they must read it without a complaint, and count the same.

use std::path::Path;
use std::process::{Command, Stdio};

/// Whether these programs are installed. If not, it says so, or fails where nothing may be left out.
pub(super) fn have(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs
        .iter()
        .filter(|program| {
            Command::new(program)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_err()
        })
        .collect();
    let required = std::env::var_os("REQUIRE_NETNS").is_some_and(|value| value == "1");
    assert!(missing.is_empty() || !required, "REQUIRE_NETNS=1, and {missing:?} are not installed");
    if !missing.is_empty() {
        eprintln!("SKIPPED, not installed: {missing:?}");
    }
    missing.is_empty()
}

/// tcpdump, capinfos and tshark read the file to its end and find `count` packets.
#[track_caller]
pub(super) fn all_count(file: &Path, count: u64) {
    if have(&["tcpdump", "capinfos", "tshark"]) {
        assert_eq!(tcpdump_count(file), count, "tcpdump: {}", file.display());
        assert_eq!(capinfos_count(&[file]), count, "capinfos: {}", file.display());
        assert_eq!(fields(file, &["frame.number"]).len() as u64, count, "tshark: {}", file.display());
    }
}

/// The packets that `tcpdump -r` counts.
#[track_caller]
pub(super) fn tcpdump_count(file: &Path) -> u64 {
    let mut command = Command::new("tcpdump");
    command.args(["-Z", "root", "-n", "--count", "-r"]).arg(file);
    let text =
        run(&mut command, |line| line.starts_with("reading from file") || line.starts_with("dropped privs"));
    text.split_whitespace().next().unwrap().parse().unwrap_or_else(|_| panic!("{command:?}: {text}"))
}

/// The packets that capinfos counts in some files together.
#[track_caller]
pub(super) fn capinfos_count<P: AsRef<Path>>(files: &[P]) -> u64 {
    let files = files.iter().map(|file| file.as_ref().as_os_str());
    let text = run(Command::new("capinfos").args(["-Tmrc"]).args(files), |_| false);
    text.lines().map(|line| line.rsplit([',', '\t']).next().unwrap().trim().parse::<u64>().unwrap()).sum()
}

/// What tshark prints for these fields: one line per packet, fields separated by tabs.
#[track_caller]
pub(super) fn fields(file: &Path, names: &[&str]) -> Vec<String> {
    let names = names.iter().flat_map(|name| ["-e", name]);
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields"]).args(names).arg("-r").arg(file);
    run(&mut command, |line| line.starts_with("Running as user")).lines().map(str::to_owned).collect()
}

/// editcap and mergecap copy the file; the copies have `count` packets each.
#[track_caller]
pub(super) fn can_be_copied(files: &[&Path], count: u64) {
    if !have(&["editcap", "mergecap", "capinfos"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut copies = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let copy = dir.path().join(format!("{number}.pcapng"));
        run(Command::new("editcap").arg(file).arg(&copy), |_| false);
        copies.push(copy);
    }
    assert_eq!(capinfos_count(&copies), count, "editcap");
    let merged = dir.path().join("merged.pcapng");
    run(Command::new("mergecap").arg("-w").arg(&merged).args(files), |_| false);
    assert_eq!(capinfos_count(&[merged]), count, "mergecap");
}

/// Runs a tool that must succeed and say nothing on stderr but what `harmless` knows; returns its output.
#[track_caller]
fn run(command: &mut Command, harmless: impl Fn(&str) -> bool) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let complaints = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<_> =
        complaints.lines().filter(|line| !line.trim().is_empty() && !harmless(line)).collect();
    assert!(
        output.status.success() && complaints.is_empty(),
        "{command:?}: {} {complaints:?}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap()
}
