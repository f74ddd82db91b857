//! A page of commands: what is on it, in order.
//!
//! What lives here: reading Markdown as far as a page needs it: front lines and fenced blocks.
//! What must never live here: running anything.
//! Who calls it: `recipes.rs`; `stage.rs` does what the steps say.

/// One page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// The file's name without its ending.
    pub(super) name: String,
    /// What the line `Packages:` lists.
    pub(super) packages: Vec<String>,
    /// Who runs it.
    pub(super) runs_as: RunsAs,
    /// The commands of the lines `Runs where:`; the page is run where all of them succeed.
    pub(super) runs_where: Vec<String>,
    /// The reasons of all lines `Not run here:`.
    pub(super) not_run: Vec<String>,
    /// The blocks.
    pub(super) steps: Vec<Step>,
}

/// Who a page is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RunsAs {
    /// Whoever it is.
    #[default]
    Anybody,
    /// Root becomes an ordinary user for it.
    User,
    /// It is not run for others.
    Root,
}

/// One block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The line of its fence, from 1.
    pub(super) line: usize,
    /// What is done with it.
    pub(super) kind: Kind,
    /// What it says.
    pub(super) text: String,
}

/// What is done with a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `sh`: run by the shell.
    Run,
    /// `output`: what the block before it must have said.
    Expect,
    /// `… file=NAME`: written to that file.
    File(String),
}

/// How strictly a page is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// A recipe: whatever is not run must say why, in the line before it.
    Recipe,
    /// Any other document: blocks of other kinds are for people.
    Document,
}

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// The line, and what is wrong there.
    pub(super) fn read(name: &str, text: &str, reading: Reading) -> Result<Self, String> {
        let mut page = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        let mut block: Option<(Option<Kind>, Step)> = None;
        let mut before = "";
        for (number, line) in (1..).zip(text.lines()) {
            let fence = line.strip_prefix("```");
            match (&mut block, fence) {
                (None, None) => {
                    page.front(line)
                        .map_err(|what| format!("line {number}: {what}"))?;
                    if !line.trim().is_empty() {
                        before = line;
                    }
                }
                (None, Some(words)) => {
                    let kind = kind(words);
                    let excused = value(before, "Not run here:").is_some();
                    if kind.is_none() && reading == Reading::Recipe && !excused {
                        return Err(format!(
                            "line {number}: a block of `{words}` is not run; say why in the line before it: Not run here: …"
                        ));
                    }
                    let step = Step {
                        line: number,
                        kind: kind.clone().unwrap_or(Kind::Run),
                        text: String::new(),
                    };
                    block = Some((kind, step));
                }
                (Some((_, step)), None) => {
                    step.text.push_str(line);
                    step.text.push('\n');
                }
                (Some(_), Some(_)) => {
                    before = "";
                    if let Some((Some(_), step)) = block.take() {
                        page.add(step)?;
                    }
                }
            }
        }
        match block {
            Some((_, step)) => Err(format!("line {}: the block has no end", step.line)),
            None => Ok(page),
        }
    }

    fn add(&mut self, step: Step) -> Result<(), String> {
        let follows = matches!(self.steps.last(), Some(last) if last.kind == Kind::Run);
        if step.kind == Kind::Expect && !follows {
            return Err(format!(
                "line {}: no commands stand before this output",
                step.line
            ));
        }
        self.steps.push(step);
        Ok(())
    }

    fn front(&mut self, line: &str) -> Result<(), String> {
        if let Some(packages) = value(line, "Packages:") {
            let names = packages.split([',', ' ']).filter(|name| !name.is_empty());
            self.packages.extend(names.map(str::to_owned));
        }
        if let Some(reason) = value(line, "Not run here:") {
            self.not_run.push(reason.to_owned());
        }
        if let Some(command) = value(line, "Runs where:") {
            self.runs_where.push(command.to_owned());
        }
        if let Some(who) = value(line, "Runs as:") {
            self.runs_as = match who {
                "a user other than root" => RunsAs::User,
                "root" => RunsAs::Root,
                _ => return Err(format!("nobody knows who `{who}` is")),
            };
        }
        Ok(())
    }
}

/// What stands after a word at the beginning of a line, which may be one of a list.
fn value<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let line = line.strip_prefix("- ").unwrap_or(line);
    line.strip_prefix(word).map(str::trim)
}

/// What is done with the block of a fence; `None` for those that people read only.
fn kind(words: &str) -> Option<Kind> {
    match words.trim() {
        "sh" => Some(Kind::Run),
        "output" => Some(Kind::Expect),
        other => other
            .split(' ')
            .find_map(|word| word.strip_prefix("file="))
            .map(|name| Kind::File(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(text: &str) -> Result<Page, String> {
        Page::read("a", text, Reading::Recipe)
    }

    #[test]
    fn blocks_come_in_order_and_front_lines_are_found() {
        let text = "# A\n\n- Packages: nginx-light, openssl\n- Runs as: a user other than root\n\n\
                    ```nginx file=conf/a.conf\nlisten;\n```\n```sh\ntrue\necho a\n```\n```output\na\n```\n";
        let page = recipe(text).expect("a page");
        assert_eq!(page.packages, ["nginx-light", "openssl"]);
        assert_eq!(page.runs_as, RunsAs::User);
        let kinds: Vec<_> = page.steps.iter().map(|step| &step.kind).collect();
        let file = Kind::File("conf/a.conf".to_owned());
        assert_eq!(kinds, [&file, &Kind::Run, &Kind::Expect]);
        assert_eq!(page.steps[1].text, "true\necho a\n");
        assert_eq!(page.steps[1].line, 9);
    }

    #[test]
    fn a_block_that_is_not_run_says_why() {
        let text = "Not run here: needs a moon.\n\n```console\n$ moon\n```\n";
        assert_eq!(recipe(text).expect("a page").not_run, ["needs a moon."]);
        let silent = "It is so.\n\n```console\n$ moon\n```\n";
        assert!(recipe(silent).is_err());
        assert_eq!(
            Page::read("a", silent, Reading::Document),
            Ok(Page {
                name: "a".to_owned(),
                ..Page::default()
            })
        );
    }

    #[test]
    fn one_reason_is_not_for_two_blocks() {
        let text =
            "Not run here: needs a moon.\n\n```console\n$ moon\n```\n```console\n$ sun\n```\n";
        assert!(recipe(text).is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(recipe("```sh\ntrue\n").is_err());
        assert!(recipe("```output\na\n```\n").is_err());
        assert!(recipe("- Runs as: somebody\n").is_err());
    }
}
