use std::io::{self, IsTerminal};

use crate::error::{Error, Result};
use crate::output::printable;

/// Asks, unless `yes` was said beforehand. Where nobody can answer, that is an error.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Error::Usage(
            "this asks before it acts, and there is no terminal to ask on: add --yes".into(),
        ));
    }
    eprint!("{} [y/N] ", printable(question));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(Error::Input)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::Declined),
    }
}
