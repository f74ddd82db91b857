//! docs/divergences.md: where we answer otherwise than SoftHSM, made from the rows that the differential suite holds both to.
//!
//! What lives here: turning rows of `softhsm-compat/divergences.toml` into text.
//! What must never live here: what a good row is, and whether it is true; the suite judges that.
//! Who calls it: `cargo xtask divergences`, and `tidy` to see whether the page is in step.

use std::fmt::Write as _;
use std::path::Path;

const ROWS: &str = "softhsm-compat/divergences.toml";
const PAGE: &str = "docs/divergences.md";

const HEAD: &str = "\
# Where Strongroom answers otherwise than SoftHSM

Made by `cargo xtask divergences` from `softhsm-compat/divergences.toml`. The differential suite plays the same scenarios on SoftHSM
2.6.1, as Debian has it, and on Strongroom, and holds both to these rows: a difference that no row tells fails, and so does a row that
tells no difference. What is not here is the same in both, as far as the scenarios go.

Sections are those of PKCS#11 3.2. In outcomes, `*` stands for anything. A test is a scenario, in `softhsm-compat/tests/suite/differential`,
and its step; `HSM_UNDER_TEST=softhsm` or `strongroom` prints what one of the two answers:

```sh
HSM_UNDER_TEST=softhsm cargo test -p strongroom-softhsm --test suite logins -- --nocapture
```
";

/// Writes the page.
///
/// # Errors
/// When the rows cannot be read or the page not be written.
pub(crate) fn write(root: &Path) -> Result<(), String> {
    let rows =
        std::fs::read_to_string(root.join(ROWS)).map_err(|error| format!("{ROWS}: {error}"))?;
    std::fs::write(root.join(PAGE), page(&rows)?).map_err(|error| format!("{PAGE}: {error}"))
}

/// Says so when the page lags behind. Where there are no rows, as in a house without `softhsm-compat/`, there is no page.
#[must_use]
pub(crate) fn difference(root: &Path) -> Option<String> {
    let read = |name| std::fs::read_to_string(root.join(name)).unwrap_or_default();
    let rows = read(ROWS);
    let expected = if rows.is_empty() {
        Ok(rows)
    } else {
        page(&rows)
    };
    match expected {
        Err(error) => Some(error),
        Ok(page) if page == read(PAGE) => None,
        Ok(_) => Some("is not what the rows say; run: cargo xtask divergences".to_owned()),
    }
}

fn page(rows: &str) -> Result<String, String> {
    let all: toml::Table = toml::from_str(rows).map_err(|error| format!("{ROWS}: {error}"))?;
    let rows = all.get("divergence").and_then(toml::Value::as_array);
    let mut out = HEAD.to_owned();
    for row in rows.into_iter().flatten() {
        section(&mut out, row).ok_or_else(|| format!("{ROWS}: a row without a field: {row:?}"))?;
    }
    Ok(out)
}

fn section(out: &mut String, row: &toml::Value) -> Option<()> {
    let said = |key: &str| row.get(key).and_then(toml::Value::as_str);
    let tests = row.get("tests").and_then(toml::Value::as_array)?;
    let tests: Vec<String> = tests
        .iter()
        .filter_map(toml::Value::as_str)
        .map(quoted)
        .collect();
    let _ = writeln!(
        out,
        "\n## {}\n\n{} {}\n\n- SoftHSM: {}\n- Strongroom: {}\n- Section: {}\n- Tests: {}",
        said("id")?,
        said("what")?,
        said("why")?,
        outcomes(said("softhsm")?),
        outcomes(said("ours")?),
        said("section")?,
        tests.join(", ")
    );
    Some(())
}

fn outcomes(patterns: &str) -> String {
    let each: Vec<String> = patterns.split(" or ").map(quoted).collect();
    each.join(" or ")
}

fn quoted(text: &str) -> String {
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = r#"
        [[divergence]]
        id = "a"
        what = "A differs."
        softhsm = "CKR_OK or CKR_CANCEL"
        ours = "CKR_ARGUMENTS_BAD"
        section = "5.1"
        why = "Because."
        tests = ["s::one", "s::two"]
    "#;

    #[test]
    fn a_row_becomes_a_section() {
        let page = page(ROW).unwrap_or_default();
        let told = page.strip_prefix(HEAD).unwrap_or_default();
        assert_eq!(
            told,
            "\n## a\n\nA differs. Because.\n\n- SoftHSM: `CKR_OK` or `CKR_CANCEL`\n- Strongroom: `CKR_ARGUMENTS_BAD`\n- Section: 5.1\n- Tests: `s::one`, `s::two`\n"
        );
    }

    #[test]
    fn a_row_without_a_reason_is_refused() {
        assert!(page(&ROW.replace("why =", "because =")).is_err());
    }

    #[test]
    fn a_house_without_the_rows_has_no_page() {
        assert_eq!(difference(Path::new("/nonexistent")), None);
    }
}
