//! `list`: what is there.

use std::io::IsTerminal;

use rs_cli::{Changing, Context, Exit, Select, What};
use rs_contract::{Error, Kind};

/// What to list.
#[derive(clap::Args)]
pub struct List {
    #[command(flatten)]
    select: Select,
    /// Print the deployment as a site file, for apply
    #[arg(long)]
    as_file: bool,
    /// Nothing found is fine
    #[arg(long)]
    allow_none: bool,
}

/// Emits servers and arrays. Without a selector, and at a terminal: all.
pub fn run(list: &List, cx: &Context) -> anyhow::Result<Exit> {
    let world = rs_drivers::world(&cx.place()?)?;
    let cloud = world.cloud.as_ref();
    if list.as_file {
        if list.select.given() || list.select.first {
            return Err(Error::new(Kind::Usage, "--as-file prints the whole deployment")
                .hint("leave the selectors away")
                .into());
        }
        let deployment = cx.deployment(cloud)?;
        cx.print(&rs_drivers::site::print(cloud, &deployment)?)?;
        return Ok(Exit::Done);
    }
    let mut select = list.select.clone();
    if !select.given() && (select.first || std::io::stdin().is_terminal()) {
        select.all = true;
    }
    let changing = Changing { allow_none: list.allow_none, ..Changing::default() };
    let (_, mut subjects) = cx.subjects(cloud, &select, &changing)?;
    for item in &mut subjects.items {
        // what came in on stdin may be old; what a dry run planned is not there
        match &item.what {
            _ if item.record.planned() => {}
            What::Server(server) => item.record.refresh(server.as_ref()),
            What::Array(array) => item.record.refresh(array.as_ref()),
            _ => {}
        }
    }
    cx.pass_on(&subjects, Exit::Done)
}
