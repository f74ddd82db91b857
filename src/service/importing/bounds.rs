//! The bounds of all imports.
//!
//! What lives here: how many there are at once, and what each of them holds.
//! What must never live here: what they hold.
//! Who calls it: imports, and the list of bounds.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use strongroom_wire::ck::Rv;

use super::Refusal;
use crate::limits::Limits;

/// All imports.
#[derive(Clone, Debug, Default)]
pub(in crate::service) struct Bounds(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    next: u64,
    peak: usize,
    /// Objects and bytes of each.
    imports: BTreeMap<u64, (usize, usize)>,
}

impl Held {
    fn bytes(&self) -> usize {
        self.imports.values().map(|(_, bytes)| bytes).sum()
    }
}

/// The place of one import, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    bounds: Bounds,
    number: u64,
}

impl Bounds {
    pub(super) fn enter(&self, limits: &Limits) -> Result<Place, Refusal> {
        let mut held = self.0.lock();
        let there = held.imports.len();
        if there >= limits.imports_max {
            return Err(Refusal::new(
                Rv::DEVICE_MEMORY,
                format!(
                    "there are {there} imports under way (limits.imports_max is {}); end one first",
                    limits.imports_max
                ),
            ));
        }
        let number = held.next;
        held.next += 1;
        held.imports.insert(number, (0, 0));
        held.peak = held.peak.max(there + 1);
        drop(held);
        Ok(Place {
            bounds: self.clone(),
            number,
        })
    }

    /// Imports now and at most, most objects of one, bytes of all.
    pub(in crate::service) fn counts(&self) -> (usize, usize, usize, usize) {
        let held = self.0.lock();
        let objects = held.imports.values().map(|(objects, _)| *objects).max();
        (
            held.imports.len(),
            held.peak,
            objects.unwrap_or(0),
            held.bytes(),
        )
    }
}

impl Place {
    /// So many more objects and bytes are held.
    pub(super) fn take(
        &self,
        objects: usize,
        bytes: usize,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        let mut held = self.bounds.0.lock();
        let all = held.bytes().saturating_add(bytes);
        let own = held.imports.entry(self.number).or_default();
        let wanted = own.0.saturating_add(objects);
        let (name, most, would) = if wanted > limits.import_objects_max {
            ("import_objects_max", limits.import_objects_max, wanted)
        } else if all > limits.import_bytes_max {
            ("import_bytes_max", limits.import_bytes_max, all)
        } else {
            *own = (wanted, own.1.saturating_add(bytes));
            return Ok(());
        };
        Err(Refusal::new(
            Rv::DEVICE_MEMORY,
            format!(
                "these objects were not taken: limits.{name} is {most}, and with them it would be {would}; commit what there is, or raise it"
            ),
        ))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.bounds.0.lock().imports.remove(&self.number);
    }
}
