//! The module in the place of SoftHSM.
//!
//! What lives here: when it stands there, where its private daemon lives and how that is started, and SoftHSM's words for what we have.
//! What must never live here: a rule of the token; the daemon is the same, and so is what it allows.
//! Who calls it: C_Initialize, the locator, and the entries that tell of slots and tokens.
//!
//! Nothing is said on standard error, however helpful a line would be: a host that closed its streams may have a database behind
//! descriptor 2. SoftHSM speaks to the system's log, and with the log of a host a guest does not meddle either.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use strongroom_wire::ck::{MechanismType, Rv, flag};
use strongroom_wire::request::SlotId;
use strongroom_wire::response::{SlotInfo, TokenInfo};

use crate::abi::system;
use crate::entry::general::Information;
use crate::locate::Environment;
use crate::softhsm::{Configuration, ENV_CONF, ENV_SOFTHSM, Mechanisms};

/// What the module's file is called where it stands in SoftHSM's place.
const FILE_NAME: &[u8] = b"libsofthsm2.so";

/// After how many seconds without a client the daemon ends: longer than the pauses within a test run, and short enough to be gone before
/// anybody looks for what was left behind.
const UNUSED_SECONDS: &str = "30";

/// What SoftHSM, whose users come here, allows: any number of wrong PINs in any time, and RSA keys as small as tests like them.
const SETTINGS: [&str; 4] = [
    "limits.rsa_bits_min=512",
    "limits.user_tries_max=1000000",
    "limits.so_tries_max=1000000",
    "limits.wrong_pins_per_minute_max=0",
];

/// The version that the words are from.
const VERSION: [u8; 2] = [2, 6];
const MANUFACTURER: &str = "SoftHSM project";

/// What the module stands in for.
#[derive(Clone)]
pub(crate) struct Guise {
    home: PathBuf,
    configuration: Configuration,
}

impl Guise {
    /// The guise of this process, if it wears one.
    ///
    /// # Errors
    /// As SoftHSM's C_Initialize: without a configuration that can be read, and a directory for tokens, CKR_GENERAL_ERROR. So does a directory
    /// that nothing can be written to, of which SoftHSM tells only later.
    pub(crate) fn of(environment: &Environment) -> Result<Option<Self>, Rv> {
        if !is_worn(environment, system::module_file().as_deref()) {
            return Ok(None);
        }
        let told = |name: &str| match name {
            // SoftHSM asks the data base of users as well.
            "HOME" if environment.is_trusted() => environment
                .value(name)
                .or_else(|| std::env::home_dir().map(PathBuf::into_os_string)),
            _ => environment.value(name),
        };
        let read = Configuration::read(&Configuration::find(&told));
        let configuration = read.map_err(|_| Rv::GENERAL_ERROR)?;
        let home = configuration.home().map_err(|_| Rv::GENERAL_ERROR)?;
        let tokens = &configuration.tokens;
        if !tokens.is_dir() || !(home.is_dir() || system::may_write(tokens)) {
            return Err(Rv::GENERAL_ERROR);
        }
        Ok(Some(Self {
            home,
            configuration,
        }))
    }

    /// Whether this process wears one, as far as can be told before C_Initialize.
    pub(crate) fn is_worn() -> bool {
        is_worn(&Environment::of_process(), system::module_file().as_deref())
    }

    /// The daemon's directory.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Whether a forked child goes on with what its parent had. SoftHSM's does, unless told to begin anew.
    pub(crate) const fn children_inherit(&self) -> bool {
        !self.configuration.reset_on_fork
    }

    /// What the daemon is started with.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["--home".into(), self.home.clone().into_os_string()];
        arguments.extend(["--ends-when-unused", UNUSED_SECONDS].map(OsString::from));
        let mut set = |line: &str| arguments.extend(["--set", line].map(OsString::from));
        for line in SETTINGS {
            set(line);
        }
        if self.children_inherit() {
            set("after-fork=\"inherit\"");
        }
        match &self.configuration.mechanisms {
            Mechanisms::All => {}
            Mechanisms::Only(names) => set(&listed("allowed", names)),
            Mechanisms::Without(names) => set(&listed("refused", names)),
        }
        arguments
    }

    /// What SoftHSM says of itself. Programs that know it look at the name and at the version.
    pub(crate) const fn information() -> Information {
        Information {
            manufacturer: "SoftHSM",
            description: "Implementation of PKCS11",
            version: VERSION,
        }
    }

    /// A slot in SoftHSM's words.
    pub(crate) fn slot(&self, slot: SlotId, mut info: SlotInfo) -> SlotInfo {
        info.description = format!("SoftHSM slot ID 0x{:x}", slot.0);
        MANUFACTURER.clone_into(&mut info.manufacturer);
        if self.configuration.removable {
            info.flags |= flag::REMOVABLE_DEVICE;
        }
        (info.hardware_version, info.firmware_version) = (VERSION, VERSION);
        info
    }

    /// A token in SoftHSM's words: `pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project` finds it.
    pub(crate) fn token(mut info: TokenInfo) -> TokenInfo {
        MANUFACTURER.clone_into(&mut info.manufacturer);
        "SoftHSM v2".clone_into(&mut info.model);
        (info.hardware_version, info.firmware_version) = (VERSION, VERSION);
        info
    }
}

/// Whether the module stands in SoftHSM's place. The name is the one by which it was loaded: the loader does not follow links.
fn is_worn(environment: &Environment, module_file: Option<&Path>) -> bool {
    match environment.value(ENV_SOFTHSM) {
        Some(told) => told != OsStr::new("0"),
        None => module_file.is_some_and(|file| file.as_os_str().as_bytes().ends_with(FILE_NAME)),
    }
}

/// A line of the daemon's configuration. Names that the standard has not are passed over as SoftHSM does, while the daemon would refuse them.
fn listed(key: &str, names: &[String]) -> String {
    let known = |name: &&String| MechanismType::ALL.iter().any(|(known, _)| known == name);
    let quoted = names.iter().filter(known).map(|name| format!("\"{name}\""));
    format!(
        "mechanisms.{key}=[{}]",
        quoted.collect::<Vec<_>>().join(",")
    )
}

/// Variables that say where things are.
pub(crate) const VARIABLES: [&str; 2] = [ENV_SOFTHSM, ENV_CONF];

#[cfg(test)]
#[path = "tests/guise.rs"]
mod tests;
