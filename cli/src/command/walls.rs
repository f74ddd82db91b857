//! The daemon's jail in words.
//!
//! What lives here: what `status` shows of it, and what the doctor thinks of it.
//! What must never live here: how the walls are built; that is the daemon's.
//! Who calls it: `status` and `doctor`.

use strongroom_wire::admin::Jail;

/// In one line.
pub(super) fn shown(jail: &Jail) -> String {
    let seccomp = if jail.seccomp {
        "seccomp"
    } else {
        "no seccomp"
    };
    let landlock = match jail.landlock {
        0 => "no Landlock".to_owned(),
        version => format!("Landlock {version}"),
    };
    let capabilities = match jail.capabilities.count_ones() {
        0 => "no capabilities".to_owned(),
        1 => "one capability".to_owned(),
        count => format!("{count} capabilities"),
    };
    let root = if jail.root { ", root" } else { "" };
    format!("{seccomp}, {landlock}, {capabilities}{root}")
}

/// What is missing, and what to do about it; the worst first. None when all is there.
pub(super) fn missing(jail: &Jail) -> Option<&'static str> {
    if !jail.seccomp {
        Some(
            "take --danger-no-jail from the daemon's flags and jail.danger_none out of the configuration, then restart it",
        )
    } else if jail.capabilities != 0 {
        Some(
            "root works on files of another user; let that user run the daemon (user = \"NAME\" in the configuration)",
        )
    } else if jail.landlock == 0 {
        Some(
            "boot a kernel that has Landlock in its list of security modules (/sys/kernel/security/lsm, the option lsm=)",
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Jail = Jail {
        seccomp: true,
        landlock: 7,
        capabilities: 0,
        root: false,
    };

    #[test]
    fn each_missing_wall_has_its_advice() {
        assert_eq!(shown(&WHOLE), "seccomp, Landlock 7, no capabilities");
        assert_eq!(missing(&WHOLE), None);
        let without = |change: fn(&mut Jail)| {
            let mut jail = WHOLE;
            change(&mut jail);
            assert_ne!(shown(&jail), shown(&WHOLE));
            missing(&jail).unwrap()
        };
        assert!(without(|jail| jail.seccomp = false).contains("danger"));
        assert!(without(|jail| jail.landlock = 0).contains("kernel"));
        assert!(without(|jail| jail.capabilities = 2).contains("user"));
    }
}
