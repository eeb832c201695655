//! What is generated from the command line's own description.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::output;

/// Prints the completion script of a shell.
pub(crate) fn completion(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "aar", &mut script);
    output::write(&String::from_utf8_lossy(&script))
}

/// Writes the manual pages: `aar.1`, `aar-trust.1`, `aar-trust-add.1` and so on.
pub(crate) fn man(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(Error::file("write to", dir))
}
