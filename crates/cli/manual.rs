//! `gannet completions` and `gannet man`: made from the definitions of the flags, so they cannot disagree.

mod fields;
mod literal;

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
    let command = command.disable_help_subcommand(true);
    let behind = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
    let has_subcommands = command.has_subcommands();
    let source = concat!("gannet ", env!("CARGO_PKG_VERSION"));
    let man = clap_mangen::Man::new(command).title(title).source(source);
    let sections = |page: &mut Vec<u8>| {
        man.render_title(page)?;
        man.render_name_section(page)?;
        man.render_synopsis_section(page)?;
        man.render_description_section(page)?;
        man.render_options_section(page)?;
        if has_subcommands { man.render_subcommands_section(page) } else { Ok(()) }
    };
    sections(&mut page).map_err(Error::stdout)?;
    if name == Some("http") {
        fields::section(&mut page);
    }
    literal::sections(&behind.unwrap_or_default(), &mut page);
    man.render_version_section(&mut page).map_err(Error::stdout)?;
    io::stdout().lock().write_all(&page).map_err(Error::stdout)?;
    Ok(Exit::Done)
}
