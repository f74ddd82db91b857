//! Our structures against the server's own headers, by a C compiler.
//!
//! The headers come with the Debian package libmariadbd-dev, which is 600 MB when it is installed, so the suite does not ask for it. Where it
//! is missing, this test says so and compares nothing; `MARIADB_HEADERS` names another directory that has `mysql/plugin_encryption.h`. What it
//! found stands as assertions in `src/abi/layout.rs` in any case, and every other test loads the plug-in into a real server.

#![allow(clippy::unwrap_used, reason = "a test that cannot begin fails")]
#![allow(clippy::print_stdout, reason = "a test that compares nothing says so")]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use strongroom_mariadb::layout::*;

/// A name of C and our number for it.
fn expected() -> Vec<(String, usize)> {
    let mut rows: Vec<(String, usize)> = Vec::new();
    let mut add = |what: &str, number: usize| rows.push((what.to_owned(), number));
    macro_rules! structure {
        ($ours:ident, $theirs:literal: $($field:ident = $name:literal),*) => {
            add(concat!("sizeof(", $theirs, ")"), size_of::<$ours>());
            $(add(concat!("offsetof(", $theirs, ", ", $name, ")"), core::mem::offset_of!($ours, $field));)*
        };
    }
    structure!(Plugin, "struct st_maria_plugin": kind = "type", info = "info", name = "name", author = "author",
        description = "descr", license = "license", init = "init", deinit = "deinit", version = "version",
        status_variables = "status_vars", system_variables = "system_vars", version_text = "version_info",
        maturity = "maturity");
    structure!(Encryption, "struct st_mariadb_encryption": interface = "interface_version",
        latest_version = "get_latest_key_version", key = "get_key", context_size = "crypt_ctx_size",
        context_init = "crypt_ctx_init", context_update = "crypt_ctx_update", context_finish = "crypt_ctx_finish",
        encrypted_length = "encrypted_length");
    structure!(TextVariable, "text_variable": flags = "flags", name = "name", comment = "comment", check = "check",
        update = "update", value = "value", default = "def_val");
    structure!(NumberVariable, "number_variable": flags = "flags", name = "name", comment = "comment", check = "check",
        update = "update", value = "value", default = "def_val", least = "min_val", most = "max_val", step = "blk_sz");
    structure!(Status, "struct st_mysql_show_var": name = "name", value = "value", kind = "type");
    structure!(PrintError, "print_error": error = "my_error_func", printf = "my_printf_error_func",
        printv = "my_printv_error_func");
    let numbers: [(&str, i64); 15] = [
        ("MARIA_PLUGIN_INTERFACE_VERSION", PLUGIN_INTERFACE.into()),
        (
            "MariaDB_ENCRYPTION_INTERFACE_VERSION",
            ENCRYPTION_INTERFACE.into(),
        ),
        ("MariaDB_ENCRYPTION_PLUGIN", ENCRYPTION_PLUGIN.into()),
        ("PLUGIN_LICENSE_BSD", LICENSE_PERMISSIVE.into()),
        (
            "MariaDB_PLUGIN_MATURITY_EXPERIMENTAL",
            MATURITY_EXPERIMENTAL.into(),
        ),
        ("ENCRYPTION_KEY_VERSION_INVALID", VERSION_INVALID.into()),
        ("ENCRYPTION_KEY_BUFFER_TOO_SMALL", BUFFER_TOO_SMALL.into()),
        ("ENCRYPTION_FLAG_ENCRYPT", FLAG_ENCRYPT.into()),
        ("ENCRYPTION_FLAG_NOPAD", FLAG_NOPAD.into()),
        ("PLUGIN_VAR_INT", VARIABLE_INT.into()),
        ("PLUGIN_VAR_STR", VARIABLE_STR.into()),
        ("PLUGIN_VAR_UNSIGNED", VARIABLE_UNSIGNED.into()),
        ("PLUGIN_VAR_READONLY", VARIABLE_READONLY.into()),
        ("SHOW_ULONGLONG", SHOW_ULONGLONG.into()),
        ("sizeof(enum enum_mysql_show_type)", 4),
    ];
    for (name, number) in numbers {
        add(name, usize::try_from(number).unwrap());
    }
    rows
}

#[test]
fn structures_and_numbers_are_those_of_the_headers() {
    let headers = std::env::var_os("MARIADB_HEADERS").map_or_else(
        || PathBuf::from("/usr/include/mariadb/server"),
        PathBuf::from,
    );
    if !headers.join("mysql/plugin_encryption.h").is_file() {
        println!(
            "not compared: there are no headers in {}",
            headers.display()
        );
        return;
    }
    let rows = expected();
    let mut source = String::from(
        "#define MYSQL_DYNAMIC_PLUGIN\n#include <my_global.h>\n#include <mysql/plugin_encryption.h>\n\
        #include <mysql/service_encryption.h>\n#include <mysql/service_my_print_error.h>\n#include <stdio.h>\n\
        typedef DECLARE_MYSQL_SYSVAR_BASIC(text_type, char *);\n\
        typedef DECLARE_MYSQL_SYSVAR_SIMPLE(number_type, unsigned int);\n\
        typedef mysql_sysvar_text_type text_variable;\ntypedef mysql_sysvar_number_type number_variable;\n\
        typedef struct my_print_error_service_st print_error;\nint main(void) {\n",
    );
    for (what, _) in &rows {
        writeln!(source, "    printf(\"%lu\\n\", (unsigned long)({what}));").unwrap();
    }
    source.push_str("    return 0;\n}\n");
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (file, program) = (directory.join("layout.c"), directory.join("layout"));
    std::fs::write(&file, source).unwrap();
    let compiled = Command::new("cc")
        .arg("-I")
        .arg(&headers)
        .arg("-I")
        .arg(headers.join("private"))
        .args(["-o".as_ref(), program.as_os_str(), file.as_os_str()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{said}");
    let output = Command::new(&program).output().unwrap();
    let theirs = String::from_utf8(output.stdout).unwrap();
    let theirs: Vec<u64> = theirs.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(theirs.len(), rows.len());
    for ((what, ours), theirs) in rows.iter().zip(theirs) {
        // A number of C may be signed there; it is compared in its 32 bits.
        let theirs = usize::try_from(theirs & 0xffff_ffff).unwrap();
        assert_eq!(*ours, theirs, "{what}");
    }
}
