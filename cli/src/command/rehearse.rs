//! `strongroom rehearse`.
//!
//! What lives here: from the arguments to a request, and how a rehearsal is shown.
//! What must never live here: what a rule does; the token knows.
//! Who calls it: the commands.

use strongroom_wire::admin::{AdminAnswer, AdminRequest};
use strongroom_wire::rehearsal::{Act, Plan, State};

use super::Bench;
use crate::arguments::RehearseArguments;
use crate::client::unexpected;
use crate::failure::Failure;
use crate::output::{self, Format, Rows};
use crate::rehearsal::{PROFILES, Profile, described, time_shown};

pub(super) fn run(bench: Bench<'_>, arguments: &RehearseArguments) -> Result<(), Failure> {
    if arguments.profiles {
        return show_profiles(bench.format);
    }
    let token = arguments.token.as_deref().ok_or_else(|| {
        Failure::Usage("which token? `strongroom token list` shows them".to_owned())
    })?;
    let act = act(arguments).map_err(Failure::Usage)?;
    let AdminAnswer::Rehearsal(state) = bench.ask(&AdminRequest::Rehearse { token, act })? else {
        return Err(unexpected());
    };
    match bench.format {
        Format::Json => output::show_json(&state),
        Format::Text => show(&state),
    }
}

fn act(arguments: &RehearseArguments) -> Result<Act, String> {
    let RehearseArguments {
        off,
        remove,
        insert,
        ..
    } = arguments;
    Ok(match (*off, *remove, *insert) {
        (true, ..) => Act::Off,
        (_, true, _) => Act::Remove,
        (_, _, true) => Act::Insert,
        _ => match plan(arguments)? {
            Some(plan) => Act::Begin(Box::new(plan)),
            None => Act::Show,
        },
    })
}

/// The plan that was written; none where nothing was. What is written comes over what the profile says.
fn plan(arguments: &RehearseArguments) -> Result<Option<Plan>, String> {
    let mut plan = match &arguments.profile {
        Some(name) => Profile::named(name)?.plan()?,
        None => Plan::default(),
    };
    plan.latencies.extend(arguments.latency.iter().cloned());
    // Failures that were written are looked at first.
    plan.failures = [&arguments.fail[..], &plan.failures[..]].concat();
    plan.seed = arguments.seed.unwrap_or(plan.seed);
    plan.sessions_max = arguments.sessions.or(plan.sessions_max);
    plan.throttle = arguments.throttle.or(plan.throttle);
    plan.room = if arguments.full {
        Some(0)
    } else {
        arguments.room.or(plan.room)
    };
    let written = plan != Plan::default() || arguments.seed.is_some();
    Ok(written.then_some(plan))
}

fn show(state: &State) -> Result<(), Failure> {
    let label = output::printable(&state.label);
    let Some(plan) = &state.plan else {
        return output::show(&format!("token \"{label}\" does not rehearse\n"));
    };
    let mut text = format!("token \"{label}\" rehearses; a restart of the daemon ends it\n");
    let mut lines = described(plan);
    let place = if state.present {
        "in its slot"
    } else {
        "removed"
    };
    lines.push(("token".to_owned(), place.to_owned()));
    if let Some(room) = state.room_left {
        lines.push(("room left".to_owned(), room.to_string()));
    }
    for (name, line) in lines {
        text.push_str(&format!("{name:<10} {line}\n"));
    }
    output::show(&text)?;
    if state.calls.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(&["function", "calls", "failed", "waited"]);
    for one in &state.calls {
        rows.push(vec![
            one.function.clone(),
            one.calls.to_string(),
            one.failed.to_string(),
            time_shown(one.waited_microseconds),
        ]);
    }
    output::show("\n")?;
    output::show_rows(&rows)
}

fn show_profiles(format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        let plans: Result<Vec<_>, _> = PROFILES.iter().map(Profile::plan).collect();
        return output::show_json(&plans.map_err(Failure::Failed)?);
    }
    let mut rows = Rows::new(&["profile", "imitates"]);
    for profile in PROFILES {
        rows.push(vec![profile.name.to_owned(), profile.about.to_owned()]);
    }
    output::show_rows(&rows)
}
