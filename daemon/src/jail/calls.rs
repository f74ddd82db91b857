//! The system calls of the serving daemon, each with its reason.
//!
//! What lives here: one row for each call that is allowed, and for each that no honest daemon makes.
//! What must never live here: how rows become a filter.
//! Who calls it: the jail.
//!
//! What has no row fails with ENOSYS, as on an older kernel: libraries try calls that they can do without, and go on. A call with a
//! row `never … kill` has no such excuse.

use std::ffi::{c_int, c_long};

use super::filter::{Argument, Call, Refusal, Rule, Value};

/// What has no row.
pub const OTHERWISE: Refusal = Refusal::Error(libc::ENOSYS);

const fn allow(number: c_long, name: &'static str, why: &'static str) -> Call {
    let rule = Rule::Allow;
    #[rustfmt::skip]
    let row = Call { number, name, rule, why };
    row
}

const fn allow_if(
    number: c_long,
    name: &'static str,
    arguments: &'static [Argument],
    refusal: Refusal,
    why: &'static str,
) -> Call {
    let rule = Rule::AllowIf(arguments, refusal);
    #[rustfmt::skip]
    let row = Call { number, name, rule, why };
    row
}

const fn kill(number: c_long, name: &'static str, why: &'static str) -> Call {
    let rule = Rule::Never(Refusal::Kill);
    #[rustfmt::skip]
    let row = Call { number, name, rule, why };
    row
}

const fn error(number: c_long, name: &'static str, error: c_int, why: &'static str) -> Call {
    let rule = Rule::Never(Refusal::Error(error));
    #[rustfmt::skip]
    let row = Call { number, name, rule, why };
    row
}

const PERMISSION: Refusal = Refusal::Error(libc::EPERM);

/// Arguments that the kernel takes as 32 bits: what stands above them does not count.
const INT: u64 = 0xFFFF_FFFF;

const fn one(index: u32, mask: u64, values: &'static [Value]) -> Argument {
    Argument {
        index,
        mask,
        values,
    }
}

#[allow(
    clippy::cast_sign_loss,
    reason = "constants of the kernel, bit for bit"
)]
const fn int(value: c_int) -> Value {
    Value::Number(value as u64 & INT)
}

const NOT_EXECUTABLE: &[Argument] = &[one(2, libc::PROT_EXEC as u64, &[Value::Number(0)])];
const UNIX_SOCKET: &[Argument] = &[one(0, INT, &[int(libc::AF_UNIX)])];
const SOCKET_LEVEL: &[Argument] = &[one(1, INT, &[int(libc::SOL_SOCKET)])];
const OWN_PROCESS: &[Argument] = &[one(0, INT, &[Value::OwnProcess])];
/// A thread of this process, and in no namespace of its own.
const THREAD: &[Argument] = &[one(
    0,
    (libc::CLONE_VM | libc::CLONE_THREAD | NAMESPACES) as u64,
    &[Value::Number((libc::CLONE_VM | libc::CLONE_THREAD) as u64)],
)];
const NAMESPACES: c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;
const DESCRIPTOR_CONTROLS: &[Argument] = &[one(
    1,
    INT,
    &[
        int(libc::F_DUPFD_CLOEXEC),
        int(libc::F_GETFD),
        int(libc::F_SETFD),
        int(libc::F_GETFL),
        int(libc::F_SETFL),
        int(libc::F_ADD_SEALS),
        int(libc::F_GET_SEALS),
        int(libc::F_OFD_SETLK),
        int(libc::F_OFD_SETLKW),
        int(libc::F_OFD_GETLK),
    ],
)];
const DEVICE_CONTROLS: &[Argument] = &[one(
    1,
    INT,
    &[
        Value::Number(libc::FIONBIO),
        Value::Number(libc::FIOCLEX),
        Value::Number(libc::TCGETS),
    ],
)];
const THREAD_NAME: &[Argument] = &[one(0, INT, &[int(libc::PR_SET_NAME)])];
const READS_LIMITS: &[Argument] = &[one(2, u64::MAX, &[Value::Number(0)])];
/// No set-user-id, set-group-id or sticky bit.
const PLAIN_MODE: &[Argument] = &[one(1, 0o7000, &[Value::Number(0)])];

/// Every row. Those of the busiest calls come first: kernels before 5.11 walk through them at each call.
pub const CALLS: &[&[Call]] = &[CONVERSATION, MEMORY, THREADS, FILES, ITSELF, HOSTILE, OLD];

#[rustfmt::skip]
const CONVERSATION: &[Call] = &[
    allow(libc::SYS_futex, "futex", "locks and condition variables"),
    allow(libc::SYS_recvfrom, "recvfrom", "frames, and the bell of the shared memory"),
    allow(libc::SYS_sendto, "sendto", "answers, the bell, and words to the service manager"),
    allow(libc::SYS_ppoll, "ppoll", "waiting for clients, and for processes that end"),
    allow(libc::SYS_read, "read", "frames, configuration, store, secrets of the seal, a TPM"),
    allow(libc::SYS_write, "write", "answers, store, journal, log, a TPM"),
    allow(libc::SYS_readv, "readv", "as read"),
    allow(libc::SYS_writev, "writev", "as write"),
    allow(libc::SYS_recvmsg, "recvmsg", "frames that bring descriptors"),
    allow(libc::SYS_sendmsg, "sendmsg", "shared memory, and the listening sockets, handed over with their descriptors"),
    allow(libc::SYS_accept4, "accept4", "new clients"),
    allow_if(libc::SYS_socket, "socket", UNIX_SOCKET, Refusal::Error(libc::EAFNOSUPPORT), "to the service manager, or a TPM behind a socket; no network of any kind"),
    allow_if(libc::SYS_socketpair, "socketpair", UNIX_SOCKET, Refusal::Error(libc::EAFNOSUPPORT), "waking the listener"),
    allow(libc::SYS_connect, "connect", "a TPM behind a socket; sockets are Unix sockets, see above"),
    allow(libc::SYS_shutdown, "shutdown", "ending the conversation of a process that has ended"),
    allow(libc::SYS_getsockopt, "getsockopt", "who is at the other end"),
    allow_if(libc::SYS_setsockopt, "setsockopt", SOCKET_LEVEL, PERMISSION, "bounds of time for reading and writing"),
    allow(libc::SYS_getsockname, "getsockname", "what kind of socket it is"),
    allow(libc::SYS_getpeername, "getpeername", "what kind of socket it is"),
    allow(libc::SYS_close, "close", "whatever was opened"),
    allow(libc::SYS_dup, "dup", "a second owner of a descriptor"),
    allow_if(libc::SYS_fcntl, "fcntl", DESCRIPTOR_CONTROLS, PERMISSION, "flags of descriptors, the seals of shared memory, the store's lock"),
    allow_if(libc::SYS_ioctl, "ioctl", DEVICE_CONTROLS, PERMISSION, "whether a socket blocks, whether the log is a terminal; never input for a terminal"),
    allow(libc::SYS_pidfd_open, "pidfd_open", "the process at the other end, where the socket does not name it"),
];

#[rustfmt::skip]
const MEMORY: &[Call] = &[
    allow_if(libc::SYS_mmap, "mmap", NOT_EXECUTABLE, PERMISSION, "memory; never executable: all code was loaded at the start"),
    allow_if(libc::SYS_mprotect, "mprotect", NOT_EXECUTABLE, PERMISSION, "guard pages; never executable"),
    allow(libc::SYS_munmap, "munmap", "memory that is given back"),
    allow(libc::SYS_mremap, "mremap", "allocations that grow; what is not executable does not become so"),
    allow(libc::SYS_brk, "brk", "the allocator of the C library"),
    allow(libc::SYS_madvise, "madvise", "kept from dumps and forks; pages given back"),
    allow(libc::SYS_mlock, "mlock", "large data in flight"),
    allow(libc::SYS_mlock2, "mlock2", "large data in flight"),
    allow(libc::SYS_munlock, "munlock", "large data that has left"),
    allow(libc::SYS_memfd_create, "memfd_create", "the memory shared with a client"),
    allow(libc::SYS_getrandom, "getrandom", "the seed of every key"),
];

#[rustfmt::skip]
const THREADS: &[Call] = &[
    allow_if(libc::SYS_clone, "clone", THREAD, Refusal::Kill, "a thread for each connection; a new process, or a namespace, is what an intruder wants"),
    error(libc::SYS_clone3, "clone3", libc::ENOSYS, "its flags lie in memory, where no filter sees them; the C library then takes clone"),
    allow(libc::SYS_set_robust_list, "set_robust_list", "the start of a thread"),
    allow(libc::SYS_rseq, "rseq", "the start of a thread"),
    allow(libc::SYS_sigaltstack, "sigaltstack", "the stack on which a thread learns that its own is used up"),
    allow(libc::SYS_rt_sigaction, "rt_sigaction", "a failed assertion ends the process through here"),
    allow(libc::SYS_rt_sigprocmask, "rt_sigprocmask", "the start and the end of a thread; filling in locked pages"),
    allow(libc::SYS_rt_sigreturn, "rt_sigreturn", "the end of a signal handler"),
    allow(libc::SYS_rt_sigtimedwait, "rt_sigtimedwait", "the main thread waits for the signals to reload and to stop"),
    allow(libc::SYS_restart_syscall, "restart_syscall", "a wait that was interrupted by a stop and goes on"),
    allow(libc::SYS_sched_yield, "sched_yield", "waiting for a lock that is nearly free"),
    allow(libc::SYS_sched_getaffinity, "sched_getaffinity", "how many processors there are, so that nobody spins on the only one"),
    allow(libc::SYS_getcpu, "getcpu", "the shard of memory that belongs to this processor"),
    allow(libc::SYS_nanosleep, "nanosleep", "pauses"),
    allow(libc::SYS_clock_nanosleep, "clock_nanosleep", "pauses"),
    allow(libc::SYS_clock_gettime, "clock_gettime", "the time, where the kernel gives it by a call only"),
    allow(libc::SYS_gettimeofday, "gettimeofday", "the time, where the kernel gives it by a call only"),
    allow(libc::SYS_exit, "exit", "the end of a thread"),
    allow(libc::SYS_exit_group, "exit_group", "the end of the process"),
];

#[rustfmt::skip]
const FILES: &[Call] = &[
    allow(libc::SYS_openat, "openat", "store, journal, configuration; which files, Landlock says"),
    allow(libc::SYS_statx, "statx", "whether files are there, and whose they are"),
    allow(libc::SYS_newfstatat, "newfstatat", "as statx"),
    allow(libc::SYS_fstat, "fstat", "as statx"),
    allow(libc::SYS_fstatfs, "fstatfs", "which kind of file system the journal lies on"),
    allow(libc::SYS_lseek, "lseek", "places in files"),
    allow(libc::SYS_pread64, "pread64", "the store"),
    allow(libc::SYS_pwrite64, "pwrite64", "the store"),
    allow(libc::SYS_ftruncate, "ftruncate", "the store and the journal change their length; shared memory gets one"),
    allow(libc::SYS_fallocate, "fallocate", "room on the disk before it is promised"),
    allow(libc::SYS_copy_file_range, "copy_file_range", "what a crash left of the journal is kept aside"),
    allow(libc::SYS_fsync, "fsync", "what is promised is on the disk"),
    allow(libc::SYS_fdatasync, "fdatasync", "what is promised is on the disk"),
    allow(libc::SYS_flock, "flock", "one store serves one daemon"),
    allow(libc::SYS_getdents64, "getdents64", "what lies in its own directories"),
    allow(libc::SYS_readlinkat, "readlinkat", "paths of its own files"),
    #[cfg(not(target_arch = "riscv64"))]
    allow(libc::SYS_renameat, "renameat", "a file takes the place of the one before, whole"),
    allow(libc::SYS_renameat2, "renameat2", "as renameat"),
    allow(libc::SYS_unlinkat, "unlinkat", "sockets at the stop, and drafts that are no longer needed"),
    allow_if(libc::SYS_fchmod, "fchmod", PLAIN_MODE, PERMISSION, "files for the owner alone"),
];

#[rustfmt::skip]
const ITSELF: &[Call] = &[
    allow(libc::SYS_getpid, "getpid", "lines of the log, words to the service manager"),
    allow(libc::SYS_gettid, "gettid", "a failed assertion, and the start of a thread"),
    allow(libc::SYS_getuid, "getuid", "who may administer"),
    allow(libc::SYS_geteuid, "geteuid", "who may administer"),
    allow(libc::SYS_getgid, "getgid", "as geteuid"),
    allow(libc::SYS_getegid, "getegid", "as geteuid"),
    allow(libc::SYS_uname, "uname", "libraries that ask for the kernel's version"),
    allow_if(libc::SYS_kill, "kill", OWN_PROCESS, PERMISSION, "a stop that was asked for by the administrator, as a signal to itself"),
    allow_if(libc::SYS_tgkill, "tgkill", OWN_PROCESS, PERMISSION, "a failed assertion ends the process"),
    allow_if(libc::SYS_prctl, "prctl", THREAD_NAME, PERMISSION, "the name of a thread"),
    allow_if(libc::SYS_prlimit64, "prlimit64", READS_LIMITS, PERMISSION, "limits are read; they were set at the start"),
    error(libc::SYS_bind, "bind", libc::EPERM, "both sockets are open; another would be an intruder's"),
    error(libc::SYS_listen, "listen", libc::EPERM, "both sockets are open; another would be an intruder's"),
];

#[rustfmt::skip]
const HOSTILE: &[Call] = &[
    kill(libc::SYS_execve, "execve", "the daemon starts no program"),
    kill(libc::SYS_execveat, "execveat", "the daemon starts no program"),
    kill(libc::SYS_ptrace, "ptrace", "the daemon looks into no process"),
    kill(libc::SYS_process_vm_readv, "process_vm_readv", "the daemon looks into no process"),
    kill(libc::SYS_process_vm_writev, "process_vm_writev", "the daemon looks into no process"),
    kill(libc::SYS_pidfd_getfd, "pidfd_getfd", "the daemon takes no process's descriptors"),
    kill(libc::SYS_kcmp, "kcmp", "the daemon looks into no process"),
    kill(libc::SYS_perf_event_open, "perf_event_open", "measures other processes, and is a wide door into the kernel"),
    kill(libc::SYS_bpf, "bpf", "programs in the kernel"),
    kill(libc::SYS_userfaultfd, "userfaultfd", "stops the kernel in the middle of a call: a tool of exploits"),
    kill(libc::SYS_io_uring_setup, "io_uring_setup", "calls made through it pass by this filter"),
    kill(libc::SYS_io_uring_enter, "io_uring_enter", "calls made through it pass by this filter"),
    kill(libc::SYS_io_uring_register, "io_uring_register", "calls made through it pass by this filter"),
    kill(libc::SYS_open_by_handle_at, "open_by_handle_at", "opens files past the directories above them"),
    kill(libc::SYS_name_to_handle_at, "name_to_handle_at", "serves open_by_handle_at only"),
    kill(libc::SYS_init_module, "init_module", "code in the kernel"),
    kill(libc::SYS_finit_module, "finit_module", "code in the kernel"),
    kill(libc::SYS_delete_module, "delete_module", "code in the kernel"),
    kill(libc::SYS_kexec_load, "kexec_load", "another kernel"),
    kill(libc::SYS_mount, "mount", "other files under known names"),
    kill(libc::SYS_umount2, "umount2", "other files under known names"),
    kill(libc::SYS_move_mount, "move_mount", "other files under known names"),
    kill(libc::SYS_open_tree, "open_tree", "other files under known names"),
    kill(libc::SYS_fsopen, "fsopen", "other files under known names"),
    kill(libc::SYS_fsmount, "fsmount", "other files under known names"),
    kill(libc::SYS_pivot_root, "pivot_root", "other files under known names"),
    kill(libc::SYS_chroot, "chroot", "other files under known names"),
    kill(libc::SYS_unshare, "unshare", "another view of the machine"),
    kill(libc::SYS_setns, "setns", "another view of the machine"),
    kill(libc::SYS_setuid, "setuid", "who it is was settled at the start"),
    kill(libc::SYS_setgid, "setgid", "who it is was settled at the start"),
    kill(libc::SYS_setreuid, "setreuid", "who it is was settled at the start"),
    kill(libc::SYS_setregid, "setregid", "who it is was settled at the start"),
    kill(libc::SYS_setresuid, "setresuid", "who it is was settled at the start"),
    kill(libc::SYS_setresgid, "setresgid", "who it is was settled at the start"),
    kill(libc::SYS_setfsuid, "setfsuid", "who it is was settled at the start"),
    kill(libc::SYS_setfsgid, "setfsgid", "who it is was settled at the start"),
    kill(libc::SYS_setgroups, "setgroups", "who it is was settled at the start"),
    kill(libc::SYS_capset, "capset", "there is nothing to regain, and nothing left to give up"),
    kill(libc::SYS_personality, "personality", "could make every readable page executable"),
    kill(libc::SYS_add_key, "add_key", "the daemon has no use for the kernel's keyrings"),
    kill(libc::SYS_request_key, "request_key", "the daemon has no use for the kernel's keyrings"),
    kill(libc::SYS_keyctl, "keyctl", "the daemon has no use for the kernel's keyrings"),
    kill(libc::SYS_reboot, "reboot", "the machine is not its"),
    kill(libc::SYS_swapon, "swapon", "the machine is not its"),
    kill(libc::SYS_swapoff, "swapoff", "the machine is not its"),
    kill(libc::SYS_acct, "acct", "the machine is not its"),
    kill(libc::SYS_settimeofday, "settimeofday", "the clock is not its"),
    kill(libc::SYS_clock_settime, "clock_settime", "the clock is not its"),
];

/// Calls that only x86-64 has: the C library there takes some of them for the newer ones above.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLD: &[Call] = &[
    allow(libc::SYS_poll, "poll", "as ppoll"),
    allow(libc::SYS_open, "open", "as openat"),
    allow(libc::SYS_stat, "stat", "as statx"),
    allow(libc::SYS_lstat, "lstat", "as statx"),
    allow(libc::SYS_readlink, "readlink", "as readlinkat"),
    allow(libc::SYS_rename, "rename", "as renameat"),
    allow(libc::SYS_unlink, "unlink", "as unlinkat"),
    allow(libc::SYS_time, "time", "as clock_gettime"),
    kill(libc::SYS_fork, "fork", "as clone"),
    kill(libc::SYS_vfork, "vfork", "as clone"),
    kill(libc::SYS_kexec_file_load, "kexec_file_load", "another kernel"),
    kill(libc::SYS_iopl, "iopl", "ports of the machine"),
    kill(libc::SYS_ioperm, "ioperm", "ports of the machine"),
    kill(libc::SYS_modify_ldt, "modify_ldt", "segments of the processor: a tool of exploits"),
];

#[cfg(not(target_arch = "x86_64"))]
const OLD: &[Call] = &[];
