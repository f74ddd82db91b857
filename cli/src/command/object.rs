//! `strongroom object`.
//!
//! What lives here: how objects are listed and shown.
//! What must never live here: a secret value; the daemon sends none.
//! Who calls it: the commands.

use strongroom_wire::admin::{AdminAnswer, AdminRequest, Object};

use super::Bench;
use crate::client::unexpected;
use crate::failure::Failure;
use crate::output::{self, Format, Rows};

pub(super) fn list(bench: Bench<'_>, token: &str) -> Result<(), Failure> {
    let AdminAnswer::Objects { objects, closed } =
        bench.ask(&AdminRequest::ObjectList { token })?
    else {
        return Err(unexpected());
    };
    if bench.format == Format::Json {
        return output::show_json(&serde_json::json!({ "objects": objects, "closed": closed }));
    }
    if !objects.items().is_empty() {
        output::show_rows(&rows(objects.items()))?;
    }
    match (objects.items().len(), closed) {
        (0, 0) => output::show("there is no object\n"),
        (_, 0) => Ok(()),
        (_, closed) => output::show(&format!(
            "{closed} private objects are closed until the token's user has logged in once since the daemon's start\n"
        )),
    }
}

pub(super) fn show(bench: Bench<'_>, token: &str, object: &str) -> Result<(), Failure> {
    let AdminAnswer::Object { object, attributes } =
        bench.ask(&AdminRequest::ObjectShow { token, object })?
    else {
        return Err(unexpected());
    };
    if bench.format == Format::Json {
        let attributes: serde_json::Map<String, serde_json::Value> = attributes
            .into_items()
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect();
        return output::show_json(
            &serde_json::json!({ "object": object, "attributes": attributes }),
        );
    }
    let mut rows = Rows::new(&["attribute", "value"]);
    for (name, value) in attributes.into_items() {
        rows.push(vec![name, value]);
    }
    output::show_rows(&rows)
}

fn rows(objects: &[Object]) -> Rows {
    let mut rows = Rows::new(&["unique id", "class", "type", "bits", "label", "id", "flags"]);
    for object in objects {
        let key_type = object.key_type.clone().unwrap_or_default();
        rows.push(vec![
            object.unique_id.clone(),
            object.class.trim_start_matches("CKO_").to_lowercase(),
            key_type.trim_start_matches("CKK_").to_lowercase(),
            object
                .bits
                .map_or_else(String::new, |bits| bits.to_string()),
            object.label.clone(),
            object.id.clone(),
            object.flags.join(" "),
        ]);
    }
    rows
}
