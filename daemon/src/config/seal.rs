//! `[seal]`: from flags and keys to the seal.
//!
//! What lives here: which key means what, and which exclude each other.
//! What must never live here: a look at a file; the seal reads its own.
//! Who calls it: the configuration.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use strongroom_crypto::password::Argon2Cost;

use super::{Combined, ConfigError};
use crate::seal::tpm::{PcrSelection, TpmError};
use crate::seal::{Envelope, Kind, Need, PASSPHRASE_COST, Seal, SealProvider, Sources, Wanted};

impl Combined<'_> {
    pub(super) fn seal(
        &self,
        store: &Path,
        credentials: Option<OsString>,
    ) -> Result<Seal, ConfigError> {
        let in_file = &self.settings.seal;
        let wanted = self.wanted()?;
        if wanted.is_none() && in_file.key_file.is_some() && in_file.passphrase_file.is_some() {
            return Err(self.wrong(
                "seal",
                "key_file and passphrase_file exclude each other; keep the one that made the store, or say with providers that both are meant"
                    .into(),
            ));
        }
        let arguments = self.arguments;
        let flagged = arguments.key_file.is_some() || arguments.passphrase_file.is_some();
        let (key_file, passphrase_file) = if flagged {
            (
                arguments.key_file.clone(),
                arguments.passphrase_file.clone(),
            )
        } else {
            (in_file.key_file.clone(), in_file.passphrase_file.clone())
        };
        let usual_key_file = self.paths.key_file();
        let cost = self.passphrase_cost();
        let direct = match (&passphrase_file, &wanted) {
            (Some(path), None) => SealProvider::PassphraseFile {
                path: path.clone(),
                salt: store.with_file_name("root.salt"),
                cost,
            },
            _ => SealProvider::KeyFile {
                path: key_file.as_ref().unwrap_or(&usual_key_file).clone(),
            },
        };
        Ok(Seal {
            envelope: Envelope::beside(store),
            direct,
            wanted,
            sources: Sources {
                key_file,
                usual_key_file,
                passphrase_file,
                passphrase_descriptor: arguments.passphrase_fd,
                may_ask: !arguments.daemonize && !arguments.autostarted,
                credential: in_file.credential.clone(),
                credentials: credentials.map(PathBuf::from),
                tpm_device: in_file.tpm_device.clone(),
                tpm_pcrs: self.tpm_pcrs()?,
                cost,
            },
        })
    }

    fn wanted(&self) -> Result<Option<Wanted>, ConfigError> {
        let in_file = &self.settings.seal;
        let Some(names) = &in_file.providers else {
            return match in_file.need {
                Some(_) => Err(self.wrong(
                    "seal.need",
                    "it says how many of seal.providers are needed, and these are not there".into(),
                )),
                None => Ok(None),
            };
        };
        let kinds = names
            .iter()
            .map(|name| name.parse())
            .collect::<Result<Vec<Kind>, String>>()
            .map_err(|what| self.wrong("seal.providers", what))?;
        let fitting = match kinds.as_slice() {
            [_] => true,
            [one, other] => one != other,
            _ => false,
        };
        if !fitting {
            return Err(self.wrong(
                "seal.providers",
                "write one provider, or two of different kinds".into(),
            ));
        }
        let need = match in_file.need.as_deref() {
            None | Some("one") => Need::One,
            Some("all") => Need::All,
            Some(other) => {
                let what = format!("\"{other}\" is neither \"one\" nor \"all\"");
                return Err(self.wrong("seal.need", what));
            }
        };
        Ok(Some(Wanted { kinds, need }))
    }

    fn tpm_pcrs(&self) -> Result<PcrSelection, ConfigError> {
        let Some(numbers) = &self.settings.seal.tpm_pcrs else {
            return Ok(PcrSelection::default());
        };
        let refused = |error: TpmError| self.wrong("seal.tpm_pcrs", error.to_string());
        PcrSelection::new(numbers).map_err(refused)
    }

    fn passphrase_cost(&self) -> Argon2Cost {
        if self.arguments.danger_fast_pins() {
            let fast = super::danger_fast_pin_cost();
            return Argon2Cost {
                memory_kib: fast.memory_kib,
                passes: fast.passes,
                lanes: fast.lanes,
            };
        }
        PASSPHRASE_COST
    }
}
