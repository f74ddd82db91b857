//! The filter, run by an interpreter of the kernel's filter machine: every row, every number, every kind of argument.

use std::collections::HashSet;

use super::*;
use crate::jail::aside::Aside;
use crate::jail::{calls, measurer, witness};

/// What the kernel hands to a filter.
#[derive(Clone, Copy)]
struct Asked {
    architecture: u32,
    number: u32,
    arguments: [u64; 6],
}

fn asked(number: u32, arguments: [u64; 6]) -> Asked {
    Asked {
        architecture: ARCHITECTURE.unwrap(),
        number,
        arguments,
    }
}

/// Runs a program as the kernel does. Panics where the kernel would have refused to load it.
fn run(program: &[Instruction], asked: Asked) -> u32 {
    let mut data = Vec::new();
    data.extend(asked.number.to_le_bytes());
    data.extend(asked.architecture.to_le_bytes());
    data.extend(0u64.to_le_bytes());
    for argument in asked.arguments {
        data.extend(argument.to_le_bytes());
    }
    let (mut at, mut accumulator) = (0, 0u32);
    loop {
        let one = program[at];
        at += 1;
        let jumped = |holds: bool| usize::from(if holds { one.jt } else { one.jf });
        match one.code {
            LOAD => {
                let from = one.k as usize;
                accumulator = u32::from_le_bytes(data[from..from + 4].try_into().unwrap());
            }
            AND => accumulator &= one.k,
            JUMP_EQUAL => at += jumped(accumulator == one.k),
            JUMP_AT_LEAST => at += jumped(accumulator >= one.k),
            RETURN => return one.k,
            other => panic!("{other:#x} is no instruction that is used here"),
        }
    }
}

fn serving() -> (Vec<Call>, Vec<Instruction>) {
    let rows = calls::CALLS.concat();
    let program = assemble(&rows, calls::OTHERWISE, OWN).unwrap();
    (rows, program)
}

const OWN: u32 = 4711;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

fn refused(refusal: Refusal) -> u32 {
    answer(refusal).k
}

#[test]
fn every_row_has_a_reason_and_stands_once() {
    for rows in [
        calls::CALLS.concat(),
        witness::ASIDE.calls.concat(),
        measurer::ASIDE.calls.concat(),
    ] {
        let mut numbers = HashSet::new();
        let mut names = HashSet::new();
        for row in &rows {
            assert!(row.why.len() > 5, "{} has no reason", row.name);
            assert!(numbers.insert(row.number), "{} stands twice", row.name);
            assert!(names.insert(row.name), "{} stands twice", row.name);
        }
    }
}

#[test]
fn every_number_is_answered_as_its_row_says() {
    let (rows, program) = serving();
    for number in 0..1024 {
        let row = rows.iter().find(|row| row.number == i64::from(number));
        // All bits set meet no condition of any row; those that must be zero are not.
        let hostile = run(&program, asked(number, [u64::MAX; 6]));
        let expected = match row.map(|row| row.rule) {
            None => refused(calls::OTHERWISE),
            Some(Rule::Allow) => ALLOW,
            Some(Rule::Never(refusal) | Rule::AllowIf(_, refusal)) => refused(refusal),
        };
        assert_eq!(hostile, expected, "{number} {:?}", row.map(|row| row.name));
    }
}

#[test]
fn every_allowed_value_passes_and_its_neighbours_do_not() {
    let (rows, program) = serving();
    for row in &rows {
        let Rule::AllowIf(conditions, refusal) = row.rule else {
            continue;
        };
        let number = u32::try_from(row.number).unwrap();
        let [condition] = conditions else {
            panic!("{}: teach this test about several conditions", row.name);
        };
        let with = |value: u64| {
            let mut arguments = [0; 6];
            arguments[condition.index as usize] = value;
            run(&program, asked(number, arguments))
        };
        let allowed: HashSet<u64> = condition
            .values
            .iter()
            .map(|value| match value {
                Value::Number(number) => *number,
                Value::OwnProcess => u64::from(OWN),
            })
            .collect();
        for value in &allowed {
            assert_eq!(with(*value), ALLOW, "{} {value:#x}", row.name);
            assert_eq!(with(value | !condition.mask), ALLOW, "{}", row.name);
            for bit in (0..64)
                .map(|bit| 1 << bit)
                .filter(|bit| condition.mask & bit != 0)
            {
                let other = value ^ bit;
                let expected = if allowed.contains(&other) {
                    ALLOW
                } else {
                    refused(refusal)
                };
                assert_eq!(with(other), expected, "{} {other:#x}", row.name);
            }
        }
    }
}

#[test]
fn calls_of_other_processors_are_killed() {
    let (_, program) = serving();
    let read = u32::try_from(libc::SYS_read).unwrap();
    let of = |architecture| {
        run(
            &program,
            Asked {
                architecture,
                ..asked(read, [0; 6])
            },
        )
    };
    assert_eq!(of(ARCHITECTURE.unwrap()), ALLOW);
    // The 32-bit calls of the same machine, and another machine's.
    for other in [0x4000_0003, 0x4000_0028, 0xC000_0015, 0] {
        assert_eq!(of(other), KILL);
    }
    assert_eq!(run(&program, asked(read | X32_BIT, [0; 6])), KILL);
}

fn of(aside: &Aside) -> Vec<Instruction> {
    assemble(&aside.calls.concat(), Refusal::Kill, OWN).unwrap()
}

#[test]
fn the_kernel_would_take_the_programs() {
    let (_, serving) = serving();
    for program in [serving, of(&witness::ASIDE), of(&measurer::ASIDE)] {
        assert!(program.len() <= 4096, "{} instructions", program.len());
        for (at, one) in program.iter().enumerate() {
            if [JUMP_EQUAL, JUMP_AT_LEAST].contains(&one.code) {
                let furthest = at + 1 + usize::from(one.jt.max(one.jf));
                assert!(furthest < program.len(), "instruction {at} jumps out");
            }
        }
        assert_eq!(program.last().unwrap().code, RETURN);
    }
}

#[test]
fn the_witness_may_not_even_open_a_file() {
    let program = of(&witness::ASIDE);
    let of = |number: c_long| run(&program, asked(u32::try_from(number).unwrap(), [0; 6]));
    assert_eq!(of(libc::SYS_readlinkat), ALLOW);
    for number in [
        libc::SYS_openat,
        libc::SYS_socket,
        libc::SYS_ptrace,
        libc::SYS_execve,
        libc::SYS_clone,
        libc::SYS_kill,
        libc::SYS_sendmsg,
        libc::SYS_recvmsg,
    ] {
        assert_eq!(of(number), KILL, "{number}");
    }
}

#[test]
fn the_measurer_opens_files_to_read_alone() {
    let program = of(&measurer::ASIDE);
    let open = |flags: i32| {
        let flags = u64::try_from(flags).unwrap();
        let number = u32::try_from(libc::SYS_openat).unwrap();
        run(&program, asked(number, [0, 0, flags, 0, 0, 0]))
    };
    assert_eq!(open(libc::O_RDONLY | libc::O_CLOEXEC), ALLOW);
    for more in [
        libc::O_WRONLY,
        libc::O_RDWR,
        libc::O_CREAT,
        libc::O_TRUNC,
        libc::O_APPEND,
        libc::O_TMPFILE,
    ] {
        assert_eq!(open(more | libc::O_CLOEXEC), KILL, "{more:o}");
    }
    let of = |number: c_long| run(&program, asked(u32::try_from(number).unwrap(), [0; 6]));
    for number in [
        libc::SYS_openat2,
        libc::SYS_socket,
        libc::SYS_ptrace,
        libc::SYS_execve,
        libc::SYS_clone,
        libc::SYS_kill,
        libc::SYS_sendmsg,
        libc::SYS_recvmsg,
        libc::SYS_unlinkat,
        libc::SYS_renameat2,
        libc::SYS_process_vm_readv,
    ] {
        assert_eq!(of(number), KILL, "{number}");
    }
}

#[test]
fn a_row_that_is_too_long_is_an_error() {
    const MANY: &[Value] = &[Value::Number(1); 60];
    const ROW: &[Call] = &[Call {
        number: 1,
        name: "long",
        rule: Rule::AllowIf(
            &[Argument {
                index: 0,
                mask: u64::MAX,
                values: MANY,
            }],
            Refusal::Kill,
        ),
        why: "none, this is a test",
    }];
    assert_eq!(
        assemble(ROW, Refusal::Kill, OWN).err(),
        Some(AssembleError::RowTooLong("long"))
    );
}
