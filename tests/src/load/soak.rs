//! A crowd of honest applications for a long time: no error, memory that stays, and how long everything took.
//!
//! What lives here: the plan, the crowd, the watch over memory, and the judgement.
//! What must never live here: a kind of work.
//! Who calls it: the program `load`, and a short run in the suite.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Noise;
use super::application::{Application, Token, Work};
use super::daemon::{self, Daemon, Memory};
use super::latency::Latency;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How long the crowd works, after everything was made.
    pub time: Duration,
    /// Connections, each an application of its own.
    pub connections: usize,
    /// Sessions in all.
    pub sessions: usize,
    /// Token objects.
    pub objects: usize,
    /// What the journal records.
    pub audit: String,
    /// Where the work begins; the same seed does the same work.
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            time: Duration::from_hours(1),
            connections: 1_000,
            sessions: 10_000,
            objects: 100_000,
            audit: "management".to_owned(),
            seed: 1,
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// How long the objects took.
    pub filling: Duration,
    /// How long the connections, sessions and logins took.
    pub gathering: Duration,
    /// How long the crowd worked.
    pub worked: Duration,
    /// Times by kind of work.
    pub latencies: BTreeMap<Work, Latency>,
    /// Memory over time, in seconds since the crowd began.
    pub samples: Vec<(f64, Memory)>,
    /// How many pieces of work failed.
    pub failures: u64,
    /// What the first of them said.
    pub first_failures: Vec<String>,
    /// What is not as it must be; empty is good.
    pub faults: Vec<String>,
}

/// Progress, for whoever watches.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// Starts a daemon, makes the crowd, and lets it work.
///
/// # Errors
/// What could not even be made; what went wrong in the work stands in the report.
pub fn run(plan: &Plan, progress: Progress<'_>) -> Result<Report, String> {
    let mut daemon = Daemon::start(plan.connections, &plan.audit, false)?;
    let token = Token::make(&daemon.socket(), "load")?;
    let mut report = Report::default();
    let begin = Instant::now();
    fill(&daemon, &token, plan, progress)?;
    report.filling = begin.elapsed();
    let begin = Instant::now();
    let crowd = gather(&daemon, &token, plan, progress)?;
    report.gathering = begin.elapsed();
    work(&daemon, plan, crowd, &mut report, progress)?;
    if let Err(ended) = daemon.lives() {
        report.faults.push(ended);
    } else if let Err(ended) = daemon.stop() {
        report.faults.push(ended);
    }
    if report.failures > 0 {
        let what = format!("{} pieces of work failed", report.failures);
        report.faults.push(what);
    }
    report
        .faults
        .extend(daemon::growth(&report.samples, PRIVATE_MARGIN));
    Ok(report)
}

/// Makes the token objects, by several clients, because each waits for the disk.
fn fill(daemon: &Daemon, token: &Token, plan: &Plan, progress: Progress<'_>) -> Result<(), String> {
    let next = AtomicUsize::new(0);
    let fill = |number: u64| {
        let noise = Noise::new(plan.seed, 1_000_000 + number);
        let mut client = Application::open(&daemon.socket(), token, 1, 0, noise)?;
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= plan.objects {
                return Ok(());
            }
            client.fill(index)?;
            if index.is_multiple_of(1_000) {
                progress(&format!("{index} of {} token objects", plan.objects));
            }
        }
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..FILLERS)
            .map(|number| scope.spawn(move || fill(number)))
            .collect();
        clients.into_iter().try_for_each(|client| {
            client
                .join()
                .unwrap_or_else(|_| Err("a client of the filling panicked".to_owned()))
        })
    })
}

fn gather(
    daemon: &Daemon,
    token: &Token,
    plan: &Plan,
    progress: Progress<'_>,
) -> Result<Vec<Application>, String> {
    let mut crowd = Vec::with_capacity(plan.connections);
    for number in 0..plan.connections {
        let noise = Noise::new(plan.seed, number as u64);
        // The remainder goes to the first ones, so that all are as many as were asked for.
        let more = usize::from(number < plan.sessions % plan.connections);
        let sessions = (plan.sessions / plan.connections + more).max(1);
        let socket = daemon.socket();
        let application = Application::open(&socket, token, sessions, plan.objects, noise)
            .map_err(|error| format!("application {number}: {error}"))?;
        crowd.push(application);
        if number.is_multiple_of(50) {
            progress(&format!("{number} of {} connections", plan.connections));
        }
    }
    Ok(crowd)
}

/// What the workers share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    done: AtomicU64,
    failures: AtomicU64,
    first_failures: Mutex<Vec<String>>,
}

fn work(
    daemon: &Daemon,
    plan: &Plan,
    mut crowd: Vec<Application>,
    report: &mut Report,
    progress: Progress<'_>,
) -> Result<(), String> {
    let shared = Shared::default();
    let begin = Instant::now();
    let share = crowd.len().div_ceil(WORKERS);
    let latencies = thread::scope(|scope| {
        let workers: Vec<_> = crowd
            .chunks_mut(share)
            .enumerate()
            .map(|(number, own)| {
                let noise = Noise::new(plan.seed, 2_000_000 + number as u64);
                let shared = &shared;
                scope.spawn(move || take_turns(own, noise, shared))
            })
            .collect();
        let watched = watch(daemon, plan, begin, &shared, progress);
        shared.stop.store(true, Ordering::Relaxed);
        let all = workers
            .into_iter()
            .map(|worker| worker.join())
            .collect::<Vec<_>>();
        watched.map(|samples| (samples, all))
    });
    let (samples, all) = latencies?;
    report.worked = begin.elapsed();
    report.samples = samples;
    for latencies in all {
        let latencies = latencies.map_err(|_| "a worker panicked".to_owned())?;
        for (work, latency) in latencies {
            report.latencies.entry(work).or_default().merge(&latency);
        }
    }
    report.failures = shared.failures.into_inner();
    report.first_failures = shared.first_failures.into_inner().unwrap_or_default();
    Ok(())
}

/// One worker's applications, each in its turn, in an order that the seed gives.
fn take_turns(
    applications: &mut [Application],
    mut noise: Noise,
    shared: &Shared,
) -> BTreeMap<Work, Latency> {
    let mut latencies: BTreeMap<Work, Latency> = BTreeMap::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let chosen = noise.below(applications.len());
        let work = Work::chosen(&mut noise);
        let begin = Instant::now();
        let outcome = applications[chosen].work(work);
        latencies.entry(work).or_default().add(begin.elapsed());
        shared.done.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = outcome {
            shared.failures.fetch_add(1, Ordering::Relaxed);
            if let Ok(mut first) = shared.first_failures.lock()
                && first.len() < 10
            {
                first.push(format!("{work:?}: {error}"));
            }
        }
    }
    latencies
}

fn watch(
    daemon: &Daemon,
    plan: &Plan,
    begin: Instant,
    shared: &Shared,
    progress: Progress<'_>,
) -> Result<Vec<(f64, Memory)>, String> {
    let mut samples = Vec::new();
    // Some hundreds, however long it takes.
    let pause = (plan.time / 400).clamp(Duration::from_millis(100), Duration::from_secs(10));
    while begin.elapsed() < plan.time {
        thread::sleep(pause.min(plan.time.saturating_sub(begin.elapsed())));
        let memory = daemon::memory(daemon.process(), &daemon.admin_socket())?;
        let seconds = begin.elapsed().as_secs_f64();
        samples.push((seconds, memory));
        progress(&format!(
            "{seconds:.0} s of {:.0}: {} pieces of work, {} failed, {} MiB resident, {} KiB locked",
            plan.time.as_secs_f64(),
            shared.done.load(Ordering::Relaxed),
            shared.failures.load(Ordering::Relaxed),
            memory.resident >> 20,
            memory.locked >> 10,
        ));
    }
    Ok(samples)
}

impl Report {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let done: u64 = self.latencies.values().map(Latency::count).sum();
        let rate = done as f64 / self.worked.as_secs_f64().max(0.001);
        let _ = writeln!(
            text,
            "objects made in {:.1} s, the crowd gathered in {:.1} s, worked {:.1} s: {done} pieces of work, {rate:.0} a second, {} failed",
            self.filling.as_secs_f64(),
            self.gathering.as_secs_f64(),
            self.worked.as_secs_f64(),
            self.failures,
        );
        let _ = writeln!(
            text,
            "\n{:<14} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "microseconds", "count", "p50", "p90", "p99", "p99.9", "longest"
        );
        for (work, latency) in &self.latencies {
            let _ = write!(text, "{:<14} {:>10}", format!("{work:?}"), latency.count());
            for time in latency.summary() {
                let _ = write!(text, " {time:>10.0}");
            }
            text.push('\n');
        }
        text.push_str(&daemon::table(&self.samples));
        for failure in &self.first_failures {
            let _ = writeln!(text, "failed: {failure}");
        }
        for fault in &self.faults {
            let _ = writeln!(text, "FAULT: {fault}");
        }
        text
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> String {
        let latencies: Vec<String> = self
            .latencies
            .iter()
            .map(|(work, latency)| {
                let [p50, p90, p99, p999, longest] = latency.summary();
                format!(
                    "\"{work:?}\":{{\"count\":{},\"p50_us\":{p50},\"p90_us\":{p90},\"p99_us\":{p99},\"p999_us\":{p999},\"longest_us\":{longest}}}",
                    latency.count()
                )
            })
            .collect();
        let samples: Vec<String> = self
            .samples
            .iter()
            .map(|(seconds, memory)| {
                format!(
                    "{{\"seconds\":{seconds:.1},\"resident\":{},\"private\":{},\"locked\":{},\"threads\":{},\"files\":{}}}",
                    memory.resident,
                    memory.private,
                    memory.locked,
                    memory.threads,
                    memory.files
                )
            })
            .collect();
        let faults: Vec<String> = self
            .faults
            .iter()
            .map(|fault| format!("{fault:?}"))
            .collect();
        format!(
            "{{\"seconds\":{:.1},\"failures\":{},\"work\":{{{}}},\"memory\":[{}],\"faults\":[{}]}}",
            self.worked.as_secs_f64(),
            self.failures,
            latencies.join(","),
            samples.join(","),
            faults.join(",")
        )
    }
}

/// Private memory may grow by so much: allocators keep what was freed.
const PRIVATE_MARGIN: u64 = 8 << 20;
/// Workers that let the applications take turns: more than processors, so that requests meet.
const WORKERS: usize = 16;
/// Clients that make the objects at once.
const FILLERS: u64 = 8;
