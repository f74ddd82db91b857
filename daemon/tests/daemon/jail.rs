//! The jail, seen from outside, and tried from inside: a process that builds the same walls around itself and then does what an intruder
//! would.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use strongroomd::command_line::Arguments;
use strongroomd::config::{Configuration, Environment};
use strongroomd::jail::{self, Notify, fence, measurer, witness};
use strongroomd::system::{self, Capabilities, Reach};

use crate::bench::{Directory, Running, program};

/// A field of `/proc/PID/status`.
fn field(status: &str, name: &str) -> String {
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line[name.len() + 1..].trim().to_owned()
}

fn threads(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap())
        .collect()
}

fn children(pid: u32) -> Vec<u32> {
    let is_child = |other: &u32| {
        fs::read_to_string(format!("/proc/{other}/status"))
            .is_ok_and(|status| field(&status, "PPid:") == pid.to_string())
    };
    let all = fs::read_dir("/proc").unwrap();
    all.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter(is_child)
        .collect()
}

fn assert_has_nothing(status: &str, capabilities: &str) {
    assert_eq!(field(status, "Seccomp:"), "2", "{status}");
    assert_eq!(field(status, "NoNewPrivs:"), "1", "{status}");
    for set in ["CapInh:", "CapAmb:"] {
        assert_eq!(field(status, set), "0000000000000000", "{set} {status}");
    }
    for set in ["CapPrm:", "CapEff:"] {
        assert_eq!(field(status, set), capabilities, "{set} {status}");
    }
}

#[test]
fn the_walls_stand_around_every_thread() {
    let home = Directory::new();
    let daemon = Running::start(home.path());
    let mut client = daemon.application().hello();
    assert!(client.is_served());
    let threads = threads(daemon.pid());
    assert!(threads.len() >= 3, "main, listener, connection");
    for status in &threads {
        assert_has_nothing(status, "0000000000000000");
    }
    let told = daemon.status().jail;
    assert!(told.seccomp && told.capabilities == 0);
    assert_eq!(told.landlock, system::landlock_version());
}

#[test]
fn the_witness_sees_programs_and_can_do_nothing_else() {
    let home = Directory::new();
    let mut daemon = Running::start(home.path());
    let witnesses = children(daemon.pid());
    let [eyes] = witnesses.as_slice() else {
        panic!("{witnesses:?}");
    };
    let status = fs::read_to_string(format!("/proc/{eyes}/status")).unwrap();
    assert_eq!(field(&status, "Name:"), "strongroom-eyes");
    // To look at the programs of others, if the daemon may do that at all.
    let may_look = system::capabilities()
        .unwrap()
        .and(Capabilities::SYS_PTRACE);
    assert_has_nothing(&status, &format!("{:016x}", may_look.0));
    if let Ok(open) = fs::read_dir(format!("/proc/{eyes}/fd")) {
        assert_eq!(open.count(), 1, "one socket and nothing else");
    }

    assert!(daemon.application().hello().is_served());
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    let journal = fs::read_to_string(home.join("audit.jsonl")).unwrap();
    let myself = std::env::current_exe().unwrap();
    let told = format!("\"exe\":\"{}\"", myself.display());
    assert!(journal.contains(&told), "{journal}");
}

#[test]
fn the_measurer_is_there_where_it_is_wanted_and_can_do_nothing_else() {
    let home = Directory::new();
    home.write("strongroom.toml", "[release]\nlocal = true\n");
    let daemon = Running::start(home.path());
    let named = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        (field(&status, "Name:"), status)
    };
    let mut aside: Vec<_> = children(daemon.pid()).iter().map(named).collect();
    aside.sort();
    let names: Vec<_> = aside.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["strongroom-eyes", "strongroom-hash"]);
    let may_look = system::capabilities()
        .unwrap()
        .and(Capabilities::SYS_PTRACE);
    for (_, status) in &aside {
        assert_has_nothing(status, &format!("{:016x}", may_look.0));
    }
    for process in children(daemon.pid()) {
        if let Ok(open) = fs::read_dir(format!("/proc/{process}/fd")) {
            assert_eq!(open.count(), 1, "one socket and nothing else");
        }
    }
}

#[test]
fn the_witness_ends_with_a_daemon_that_is_killed() {
    let home = Directory::new();
    home.write("strongroom.toml", "[release]\nlocal = true\n");
    let mut daemon = Running::start(home.path());
    let aside = children(daemon.pid());
    assert_eq!(aside.len(), 2);
    daemon.signal("KILL");
    daemon.wait();
    for process in aside {
        while Path::new(&format!("/proc/{process}/fd")).exists()
            && fs::read_to_string(format!("/proc/{process}/comm"))
                .is_ok_and(|name| name.starts_with("strongroom-"))
        {
            std::thread::yield_now();
        }
    }
}

#[test]
fn without_a_witness_programs_are_unknown_and_the_daemon_goes_on() {
    let home = Directory::new();
    let mut daemon = Running::start(home.path());
    for process in children(daemon.pid()) {
        let kill = format!("kill -KILL {process}");
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
    }
    assert!(daemon.application().hello().is_served());
    daemon.log_until("the witness is gone");
    assert!(daemon.application().hello().is_served());
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    let journal = fs::read_to_string(home.join("audit.jsonl")).unwrap();
    assert!(journal.contains("\"exe\":\"?\""), "{journal}");
}

#[test]
fn the_jail_is_left_away_by_name_only_and_that_is_told() {
    let home = Directory::new();
    let mut command = program(home.path());
    command.arg("--danger-no-jail");
    let daemon = Running::start_with(command, home.path());
    assert_eq!(field(&threads(daemon.pid())[0], "Seccomp:"), "0");
    let told = daemon.status().jail;
    assert!(!told.seccomp && told.landlock == 0);
    assert!(children(daemon.pid()).is_empty());
}

#[test]
fn a_configuration_that_another_file_replaced_is_read_again() {
    let home = Directory::new();
    let mut daemon = Running::start(home.path());
    // At the start there was none.
    for level in ["management", "all"] {
        home.write("new", &format!("[audit]\nlevel = \"{level}\"\n"));
        fs::rename(home.join("new"), home.join("strongroom.toml")).unwrap();
        daemon.signal("HUP");
        daemon.log_until("configuration reloaded");
        assert_eq!(daemon.status().audit_level, level);
    }
}

/// How a deed ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Done,
    Failed(i32),
    Killed,
}

/// Which walls the process puts up before its deed.
#[derive(Clone, Copy, Debug)]
enum Behind {
    /// The filter of the daemon.
    Calls,
    /// The filter of the witness.
    Witness,
    /// The filter of the measurer.
    Measurer,
    /// The rules for files of a daemon whose home is the directory of the test.
    Files,
    /// No capabilities, and nothing else.
    Capabilities,
}

const DEED: &str = "STRONGROOM_TEST_DEED";
const BEHIND: &str = "STRONGROOM_TEST_BEHIND";
const PLACE: &str = "STRONGROOM_TEST_PLACE";

/// Runs this test program again, as a process that is jailed and then does one thing.
fn attempt(behind: Behind, deed: &str, place: &Path) -> End {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["jail::a_process_behind_walls", "--exact", "--nocapture"])
        .env(DEED, deed)
        .env(BEHIND, format!("{behind:?}"))
        .env(PLACE, place);
    ended(command.output().unwrap().status)
}

fn ended(status: ExitStatus) -> End {
    match (status.signal(), status.code()) {
        (Some(libc::SIGSYS), _) => End::Killed,
        (None, Some(DONE)) => End::Done,
        (None, Some(number)) if number > FAILED => End::Failed(number - FAILED),
        other => panic!("the process ended with {other:?}"),
    }
}

/// Not 0 or 1, which the test program itself may end with.
const DONE: i32 = 50;
const FAILED: i32 = 100;

/// Does nothing but in the process that [`attempt`] starts.
#[test]
fn a_process_behind_walls() {
    let Ok(deed) = std::env::var(DEED) else {
        return;
    };
    let place = PathBuf::from(std::env::var_os(PLACE).unwrap());
    let parent = i64::from(std::os::unix::process::parent_id());
    system::forbid_new_privileges().unwrap();
    match std::env::var(BEHIND).unwrap().as_str() {
        "Calls" => jail::confine_calls(Reach::AllThreads).unwrap(),
        "Witness" => witness::ASIDE.confine().unwrap(),
        "Measurer" => measurer::ASIDE.confine().unwrap(),
        "Files" => {
            let arguments = Arguments {
                home: Some(place.join("home")),
                ..Arguments::default()
            };
            let configuration =
                Configuration::read(&arguments, &Environment::of_pairs(&[])).unwrap();
            assert_ne!(fence::close(&configuration, Notify::Path).unwrap(), 0);
        }
        "Capabilities" => system::keep_capabilities(Capabilities::NONE).unwrap(),
        other => panic!("{other}"),
    }
    let code = match carry_out(&deed, &place, parent) {
        Ok(()) => DONE,
        Err(error) => FAILED + error.raw_os_error().unwrap_or(0),
    };
    // SAFETY: ends the process without a further call that a wall could forbid.
    unsafe { libc::_exit(code) }
}

fn outcome(result: i64) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A system call with up to four numbers.
fn call(number: i64, arguments: [i64; 4]) -> io::Result<()> {
    let [a, b, c, d] = arguments;
    // SAFETY: the callers below pass numbers and null pointers only, or calls that never return to tell.
    outcome(unsafe { libc::syscall(number, a, b, c, d) })
}

fn map(protection: i32) -> io::Result<*mut libc::c_void> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(address)
}

const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

fn carry_out(deed: &str, place: &Path, parent: i64) -> io::Result<()> {
    match deed {
        "start a program" => {
            use std::os::unix::process::CommandExt;
            Err(Command::new("/bin/true").exec())
        }
        "fork" => call(libc::SYS_clone, [i64::from(libc::SIGCHLD), 0, 0, 0]),
        "make a namespace" => call(libc::SYS_unshare, [i64::from(libc::CLONE_NEWUSER), 0, 0, 0]),
        "trace" => call(libc::SYS_ptrace, [0, 0, 0, 0]),
        "read another process" => call(libc::SYS_process_vm_readv, [parent, 0, 0, 0]),
        "io_uring" => call(libc::SYS_io_uring_setup, [1, 0, 0, 0]),
        "open past directories" => call(libc::SYS_open_by_handle_at, [0, 0, 0, 0]),
        "become root" => call(libc::SYS_setresuid, [0, 0, 0, 0]),
        "load into the kernel" => call(libc::SYS_bpf, [0, 0, 0, 0]),
        "a call of x32" => call(libc::SYS_getpid | 0x4000_0000, [0; 4]),
        "a call nobody knows" => call(1000, [0; 4]),
        "a socket of the internet" => call(
            libc::SYS_socket,
            [i64::from(libc::AF_INET), i64::from(libc::SOCK_STREAM), 0, 0],
        ),
        "a raw socket" => call(
            libc::SYS_socket,
            [i64::from(libc::AF_NETLINK), i64::from(libc::SOCK_RAW), 0, 0],
        ),
        "code in new memory" => map(READ_WRITE | libc::PROT_EXEC).map(drop),
        "code in old memory" => {
            let address = map(READ_WRITE)? as i64;
            let protection = i64::from(libc::PROT_READ | libc::PROT_EXEC);
            call(libc::SYS_mprotect, [address, 4096, protection, 0])
        }
        "signal another" => call(libc::SYS_kill, [parent, 0, 0, 0]),
        "allow dumps" => call(libc::SYS_prctl, [i64::from(libc::PR_SET_DUMPABLE), 1, 0, 0]),
        "a set-user-id file" => {
            let file = File::create(place.join("suid"))?;
            file.set_permissions(fs::Permissions::from_mode(0o4755))
        }
        "listen" => UnixListener::bind(place.join("another.sock")).map(drop),
        "daily work" => daily_work(place),
        "open a file" => File::open("/proc/self/status").map(drop),
        "own file" => fs::write(place.join("home/own"), "x"),
        "replace own file" => {
            fs::write(place.join("home/draft"), "x")?;
            fs::rename(place.join("home/draft"), place.join("home/final"))?;
            fs::remove_file(place.join("home/final"))
        }
        "read a stranger's file" => fs::read("/etc/passwd").map(drop),
        "write a stranger's file" => File::options().append(true).open("/etc/passwd").map(drop),
        "make a file elsewhere" => fs::write(place.join("elsewhere"), "x"),
        "make a link to elsewhere" => symlink("/etc/passwd", place.join("home/link")),
        "move a file out" => fs::rename(place.join("home/here"), place.join("there")),
        "make a directory" => fs::create_dir(place.join("home/directory")),
        "write its own memory" => File::options().write(true).open("/proc/self/mem").map(drop),
        "look at another's program" => fs::read_link(format!("/proc/{parent}/exe")).map(drop),
        "connect to the internet" => {
            // Nobody listens there; the fence comes before that is known.
            std::net::TcpStream::connect(("127.0.0.1", 1)).map(drop)
        }
        "serve the internet" => TcpListener::bind("127.0.0.1:0").map(drop),
        "speak to an abstract socket" => {
            let address = SocketAddr::from_abstract_name(place.as_os_str().as_encoded_bytes())?;
            UnixDatagram::unbound()?
                .send_to_addr(b"x", &address)
                .map(drop)
        }
        "give a file away" => {
            let file = place.join("gift");
            fs::write(&file, "x")?;
            std::os::unix::fs::chown(&file, Some(65534), None)
        }
        other => panic!("{other}"),
    }
}

/// What the daemon does all day, and must be able to do.
fn daily_work(place: &Path) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("worker".into());
    let worker = thread.spawn(|| std::thread::sleep(std::time::Duration::from_millis(1)))?;
    worker.join().map_err(|_| io::Error::other("a thread"))?;
    let mut file = File::create(place.join("work"))?;
    file.write_all(&vec![1; 1 << 20])?;
    file.sync_all()?;
    file.set_len(10)?;
    fs::rename(place.join("work"), place.join("done"))?;
    fs::remove_file(place.join("done"))?;
    let (mut one, two) = std::os::unix::net::UnixStream::pair()?;
    two.set_read_timeout(Some(std::time::Duration::from_secs(1)))?;
    one.write_all(b"x")?;
    map(READ_WRITE).map(drop)
}

#[test]
fn what_an_intruder_wants_kills_him() {
    let place = Directory::new();
    for deed in [
        "start a program",
        "fork",
        "make a namespace",
        "trace",
        "read another process",
        "io_uring",
        "open past directories",
        "become root",
        "load into the kernel",
        #[cfg(target_arch = "x86_64")]
        "a call of x32",
    ] {
        assert_eq!(
            attempt(Behind::Calls, deed, place.path()),
            End::Killed,
            "{deed}"
        );
    }
}

#[test]
fn what_a_library_may_try_is_refused_and_work_goes_on() {
    let place = Directory::new();
    for (deed, end) in [
        ("a socket of the internet", End::Failed(libc::EAFNOSUPPORT)),
        ("a raw socket", End::Failed(libc::EAFNOSUPPORT)),
        ("code in new memory", End::Failed(libc::EPERM)),
        ("code in old memory", End::Failed(libc::EPERM)),
        ("signal another", End::Failed(libc::EPERM)),
        ("allow dumps", End::Failed(libc::EPERM)),
        ("a set-user-id file", End::Failed(libc::EPERM)),
        ("listen", End::Failed(libc::EPERM)),
        ("a call nobody knows", End::Failed(libc::ENOSYS)),
        ("daily work", End::Done),
    ] {
        assert_eq!(attempt(Behind::Calls, deed, place.path()), end, "{deed}");
    }
}

#[test]
fn the_witness_is_killed_for_whatever_it_has_no_use_for() {
    let place = Directory::new();
    for deed in [
        "open a file",
        "a socket of the internet",
        "code in new memory",
        "fork",
    ] {
        assert_eq!(
            attempt(Behind::Witness, deed, place.path()),
            End::Killed,
            "{deed}"
        );
    }
}

#[test]
fn the_measurer_is_killed_for_whatever_it_has_no_use_for() {
    let place = Directory::new();
    assert_eq!(
        attempt(Behind::Measurer, "open a file", place.path()),
        End::Done
    );
    for deed in [
        "write its own memory",
        "make a file elsewhere",
        "make a link to elsewhere",
        "a socket of the internet",
        "code in new memory",
        "fork",
        "start a program",
    ] {
        assert_eq!(
            attempt(Behind::Measurer, deed, place.path()),
            End::Killed,
            "{deed}"
        );
    }
}

#[test]
fn files_and_networks_of_others_are_behind_the_fence() {
    let version = system::landlock_version();
    if version == 0 {
        println!("this kernel has no Landlock; the daemon says so at its start");
        return;
    }
    let place = Directory::new();
    fs::create_dir(place.join("home")).unwrap();
    fs::write(place.join("home/here"), "x").unwrap();
    let abstract_name = SocketAddr::from_abstract_name(place.path().as_os_str().as_encoded_bytes());
    let _manager = UnixDatagram::bind_addr(&abstract_name.unwrap()).unwrap();
    let denied = || End::Failed(libc::EACCES);
    for (since, deed, end) in [
        (1, "own file", End::Done),
        (1, "replace own file", End::Done),
        (1, "read a stranger's file", denied()),
        (1, "write a stranger's file", denied()),
        (1, "make a file elsewhere", denied()),
        (1, "make a link to elsewhere", denied()),
        (1, "make a directory", denied()),
        (1, "write its own memory", denied()),
        (1, "start a program", denied()),
        (1, "look at another's program", denied()),
        (2, "move a file out", denied()),
        (4, "connect to the internet", denied()),
        (4, "serve the internet", denied()),
        (6, "signal another", End::Failed(libc::EPERM)),
        (6, "speak to an abstract socket", End::Failed(libc::EPERM)),
    ] {
        if version >= since {
            assert_eq!(attempt(Behind::Files, deed, place.path()), end, "{deed}");
        }
    }
}

#[test]
fn root_without_capabilities_is_a_user_like_others() {
    let place = Directory::new();
    let end = attempt(Behind::Capabilities, "give a file away", place.path());
    assert_eq!(end, End::Failed(libc::EPERM));
}

#[test]
fn what_a_kernel_cannot_is_not_asked_of_it() {
    assert_eq!(fence::handled(1, Notify::Path).files, (1 << 13) - 1);
    assert_eq!(fence::handled(3, Notify::Path).files, (1 << 15) - 1);
    assert_eq!(fence::handled(3, Notify::Path).network, 0);
    assert_eq!(fence::handled(4, Notify::Path).network, 3);
    assert_eq!(fence::handled(5, Notify::Path).scopes, 0);
    assert_eq!(fence::handled(6, Notify::Path).scopes, 3);
    // The words to the service manager must get through.
    assert_eq!(fence::handled(6, Notify::Abstract).scopes, 2);
}
