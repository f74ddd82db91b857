//! What was measured on, and what was measured.
//!
//! What lives here: processor, kernel and versions.
//! What must never live here: the name of a machine or a path on it.
//! Who calls it: `bench`.

use std::process::Command;

use super::peers::{Peers, Side};

/// Rows of a table: what, and which.
pub(super) fn describe(peers: &Peers) -> Result<Vec<(&'static str, String)>, String> {
    let read =
        |path: &str| std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let processor = processor(&read("/proc/cpuinfo")?);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease")?;
    let library = peers.about(Side::SoftHsm)?;
    let softhsm = package("softhsm2").map_or(library, |version| format!("SoftHSM {version}"));
    Ok(vec![
        ("processor", format!("{processor}, {cores} cores")),
        ("kernel", format!("Linux {}", kernel.trim())),
        ("ours", format!("Strongroom {}", env!("CARGO_PKG_VERSION"))),
        ("peer", softhsm),
        ("its library", openssl()),
    ])
}

fn processor(text: &str) -> String {
    let model = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == "model name");
    model.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |(_, model)| model.trim().to_owned(),
    )
}

/// The version of a Debian package, where there are such.
fn package(name: &str) -> Option<String> {
    said(Command::new("dpkg-query").args(["--show", "--showformat=${Version}", name]))
}

fn openssl() -> String {
    said(Command::new("openssl").arg("version")).unwrap_or_else(|| "OpenSSL".to_owned())
}

fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n";
        assert_eq!(processor(text), "Some CPU @ 2 GHz");
        assert_eq!(processor(""), std::env::consts::ARCH);
    }
}
