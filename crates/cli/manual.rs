//! `gannet completions` and `gannet man`: made from the definitions of the flags, so they cannot disagree.

mod fields;

use std::io::{self, Write};

use clap::CommandFactory;

use crate::args::Cli;
use crate::exit::{Error, Exit};

/// Prints the completion script for `shell`.
pub(crate) fn completions(shell: clap_complete::Shell) -> Result<Exit, Error> {
    // Into memory first: the generator panics when its output fails, and a closed pipe is no reason to.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "gannet", &mut script);
    io::stdout().lock().write_all(&script).map_err(Error::stdout)?;
    Ok(Exit::Done)
}

/// Prints the manual page of `gannet` or of one of its commands, in roff.
pub(crate) fn man(name: Option<&str>) -> Result<Exit, Error> {
    let mut gannet = Cli::command();
    gannet.build();
    let command = match name {
        None => gannet,
        Some(name) => gannet
            .get_subcommands()
            .find(|command| command.get_name() == name && !command.is_hide_set())
            .cloned()
            .ok_or_else(|| Error::usage(format!("gannet has no command {name}")))?,
    };
    let title = command.get_display_name().unwrap_or("gannet").to_owned();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.disable_help_subcommand(true))
        .title(title)
        .render(&mut page)
        .map_err(Error::stdout)?;
    if name == Some("http") {
        fields::section(&mut page);
    }
    io::stdout().lock().write_all(&page).map_err(Error::stdout)?;
    Ok(Exit::Done)
}
