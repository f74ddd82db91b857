//! The filter of system calls: from rows to a program of the kernel's filter machine.
//!
//! What lives here: the kinds of row, and the assembler.
//! What must never live here: a row; those of the daemon stand in `calls.rs`, those of processes aside with these.
//! Who calls it: the jail and the processes aside.

use std::ffi::{c_int, c_long};
use std::fmt;

use crate::system::Instruction;

/// One system call, and what becomes of it.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its number on this machine.
    pub number: c_long,
    /// Its name.
    pub name: &'static str,
    /// What becomes of it.
    pub rule: Rule,
    /// Why.
    pub why: &'static str,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// It is carried out, whatever its arguments.
    Allow,
    /// It is carried out when every one of these holds.
    AllowIf(&'static [Argument], Refusal),
    /// It is never carried out.
    Never(Refusal),
}

/// What becomes of a call that is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It fails with this error, and the process goes on.
    Error(c_int),
    /// The process is killed on the spot.
    Kill,
}

/// What an argument must be: after the mask, one of these values.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// Which, counted from 0.
    pub index: u32,
    /// The bits that count.
    pub mask: u64,
    /// What they may be.
    pub values: &'static [Value],
}

/// A value that an argument may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// This number.
    Number(u64),
    /// The number of this process.
    OwnProcess,
}

/// Why there is no filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssembleError {
    /// Nobody has written down how this processor numbers its system calls.
    UnknownProcessor,
    /// A row has more conditions than one jump can skip.
    RowTooLong(&'static str),
}

impl fmt::Display for AssembleError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownProcessor => write!(
                out,
                "this processor is none of x86-64, aarch64 and riscv64, for which the filter is written"
            ),
            Self::RowTooLong(name) => write!(out, "the row of {name} is too long for one jump"),
        }
    }
}

/// Makes the program: one row after the other, and `otherwise` for what has no row.
///
/// Calls of another kind of processor (32-bit calls on a 64-bit machine, x32) have other numbers, so they are killed before any row.
///
/// # Errors
/// [`AssembleError`].
pub fn assemble(
    rows: &[Call],
    otherwise: Refusal,
    own_process: u32,
) -> Result<Vec<Instruction>, AssembleError> {
    let architecture = ARCHITECTURE.ok_or(AssembleError::UnknownProcessor)?;
    let mut program = vec![
        load(OFFSET_ARCHITECTURE),
        jump(JUMP_EQUAL, architecture, 1, 0),
        answer(Refusal::Kill),
        load(OFFSET_NUMBER),
        jump(JUMP_AT_LEAST, X32_BIT, 0, 1),
        answer(Refusal::Kill),
    ];
    for row in rows {
        let body = body(row, own_process);
        let skip = u8::try_from(body.len()).map_err(|_| AssembleError::RowTooLong(row.name))?;
        let number = u32::try_from(row.number).unwrap_or(u32::MAX);
        program.push(jump(JUMP_EQUAL, number, 0, skip));
        program.extend(body);
    }
    program.push(answer(otherwise));
    Ok(program)
}

/// What follows once the number is known to be that of the row. Ends with an answer on every path, because the number is no longer loaded.
fn body(row: &Call, own_process: u32) -> Vec<Instruction> {
    match row.rule {
        Rule::Allow => vec![statement(RETURN, libc::SECCOMP_RET_ALLOW)],
        Rule::Never(refusal) => vec![answer(refusal)],
        Rule::AllowIf(arguments, refusal) => {
            let mut body = Vec::new();
            for argument in arguments {
                body.extend(condition(argument, refusal, own_process));
            }
            body.push(statement(RETURN, libc::SECCOMP_RET_ALLOW));
            body
        }
    }
}

/// Falls through when the argument is one of the values, and refuses otherwise.
fn condition(argument: &Argument, refusal: Refusal, own_process: u32) -> Vec<Instruction> {
    let low_at = OFFSET_ARGUMENTS + 8 * argument.index;
    let high_at = low_at + 4;
    let mut code = Vec::new();
    for (index, value) in argument.values.iter().enumerate() {
        let value = match value {
            Value::Number(number) => *number,
            Value::OwnProcess => u64::from(own_process),
        };
        // Behind this value lie the others, of six instructions each, and the refusal.
        let behind = 6 * (argument.values.len() - 1 - index) + 1;
        code.extend([
            load(low_at),
            statement(AND, low(argument.mask)),
            jump(JUMP_EQUAL, low(value), 0, 3),
            load(high_at),
            statement(AND, high(argument.mask)),
            jump(
                JUMP_EQUAL,
                high(value),
                u8::try_from(behind).unwrap_or(u8::MAX),
                0,
            ),
        ]);
    }
    code.push(answer(refusal));
    code
}

const fn low(number: u64) -> u32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

const fn high(number: u64) -> u32 {
    low(number >> 32)
}

const fn answer(refusal: Refusal) -> Instruction {
    match refusal {
        Refusal::Kill => statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
        Refusal::Error(number) => statement(
            RETURN,
            libc::SECCOMP_RET_ERRNO | (number.unsigned_abs() & libc::SECCOMP_RET_DATA),
        ),
    }
}

const fn load(offset: u32) -> Instruction {
    statement(LOAD, offset)
}

const fn statement(code: u16, k: u32) -> Instruction {
    jump(code, k, 0, 0)
}

const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

// The instructions of the filter machine that are used here (`linux/bpf_common.h`).
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

// Where things lie in `struct seccomp_data` (`linux/seccomp.h`); the machines below are little-endian.
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCHITECTURE: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;

/// From here on the numbers are those of x32; other machines have no numbers there.
const X32_BIT: u32 = 0x4000_0000;

/// `AUDIT_ARCH_…` of `linux/audit.h`.
const ARCHITECTURE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xC000_003E)
} else if cfg!(target_arch = "aarch64") {
    Some(0xC000_00B7)
} else if cfg!(target_arch = "riscv64") {
    Some(0xC000_00F3)
} else {
    None
};

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
