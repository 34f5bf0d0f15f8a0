//! Wrong usage, as the argument parser found it, as one error of ours: what is wrong, and what to write instead.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use rs_contract::{Error, Kind};
use rs_model::Bad;

/// The parser's error in our words. `verb` is what was meant, empty where that is not known.
pub(crate) fn error(command: &clap::Command, verb: &str, e: &clap::Error) -> Error {
    // only a built command can print its arguments
    let mut command = command.clone();
    command.build();
    let command = &command;
    let tool = command.get_name();
    let call = if verb.is_empty() { tool.to_owned() } else { format!("{tool} {verb}") };
    // the tool's name stands before every message
    let who = if verb.is_empty() { "the call" } else { verb };
    let text = |kind| e.get(kind).map(ToString::to_string).unwrap_or_default();
    let (arg, value) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue));
    let source = std::error::Error::source(e);
    let bad = source.and_then(|source| source.downcast_ref::<Bad>());
    let what = match e.kind() {
        ErrorKind::InvalidSubcommand => {
            format!("{who} has no verb {:?}", text(ContextKind::InvalidSubcommand))
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            format!("{who} needs a verb")
        }
        ErrorKind::UnknownArgument if arg.starts_with('-') => {
            format!("{who} has no flag {arg}")
        }
        ErrorKind::UnknownArgument => format!("{who} takes no {arg:?}"),
        ErrorKind::MissingRequiredArgument => format!("{who} needs {}", all(e, ", ")),
        ErrorKind::ArgumentConflict => {
            format!("{arg} does not go with {}", text(ContextKind::PriorArg))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => match bad {
            Some(bad) => format!("{arg}: {}", bad.what),
            None if value.is_empty() => format!("{arg} needs a value"),
            None => format!("{value:?} does not fit {arg}"),
        },
        _ => {
            let text = e.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            first.trim_start_matches("error: ").to_owned()
        }
    };
    let mut hints = Vec::new();
    match bad {
        Some(bad) => hints.push(bad.hint.clone()),
        None => hints.extend(values(e, ContextKind::ValidValue).map(|v| format!("one of {v}"))),
    }
    let near =
        [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    for near in near {
        hints.extend(values(e, near).map(|v| format!("did you mean {v}")));
    }
    let level = level(command, verb);
    if matches!(
        e.kind(),
        ErrorKind::InvalidSubcommand
            | ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        let verbs: Vec<&str> =
            level.get_subcommands().map(clap::Command::get_name).filter(|v| *v != "help").collect();
        if !verbs.is_empty() {
            hints.push(format!("its verbs: {}", verbs.join(", ")));
        }
    } else if bad.is_none() {
        hints.push(usage(level, &call));
    }
    hints.push(format!("{call} --help"));
    let error = Error::new(Kind::Usage, what).hint(hints.join("; "));
    match source.filter(|_| bad.is_none()) {
        Some(why) => error.because(why),
        None => error,
    }
}

/// The command of a verb, however deep.
fn level<'a>(command: &'a clap::Command, verb: &str) -> &'a clap::Command {
    verb.split_whitespace()
        .fold(command, |level, word| level.find_subcommand(word).unwrap_or(level))
}

/// What a call must hold: without flags that may be left out, and without those that the environment gives.
fn usage(level: &clap::Command, call: &str) -> String {
    let mut words = vec![call.to_owned()];
    let flags = || level.get_arguments().filter(|arg| !arg.is_positional());
    if flags().any(|arg| !arg.is_required_set()) {
        words.push("[OPTIONS]".into());
    }
    words.extend(flags().filter(|arg| arg.is_required_set()).map(ToString::to_string));
    words.extend(level.get_positionals().map(|arg| match arg.is_required_set() {
        true => arg.to_string(),
        false => format!("[{}]", arg.to_string().trim_matches(['[', ']'])).replace("]...]", "]..."),
    }));
    words.join(" ")
}

fn all(e: &clap::Error, between: &str) -> String {
    match e.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(all)) => all.join(between),
        Some(other) => other.to_string(),
        None => "more".into(),
    }
}

/// A list of the parser's, or one word, as text; absent when it is empty.
fn values(e: &clap::Error, kind: ContextKind) -> Option<String> {
    match e.get(kind)? {
        ContextValue::String(one) => Some(one.clone()),
        ContextValue::Strings(all) if !all.is_empty() => Some(all.join(", ")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(args: &[&str]) -> Error {
        let port = clap::Arg::new("port").long("port").value_parser(clap::value_parser!(u16));
        let time = clap::Arg::new("time").long("time").value_parser(crate::duration);
        let part = clap::Arg::new("PART").required(true).value_parser(["old", "new"]);
        let names = clap::Arg::new("NAME").num_args(0..);
        let mark = clap::Command::new("mark").args([port, time, part, names]);
        let command = clap::Command::new("rs-x").subcommand_required(true).subcommand(mark);
        let verb = args.first().filter(|word| **word == "mark").copied().unwrap_or_default();
        let call = std::iter::once("rs-x").chain(args.iter().copied());
        error(&command, verb, &command.clone().try_get_matches_from(call).unwrap_err())
    }

    #[test]
    fn each_says_what_is_wrong_and_what_to_write() {
        for (args, what, hint) in [
            (&[][..], "the call needs a verb", "its verbs: mark"),
            (&["marc"], "the call has no verb \"marc\"", "did you mean mark"),
            (&["mark"], "mark needs <PART>", "rs-x mark [OPTIONS] <PART> [NAME]..."),
            (&["mark", "ol"], "\"ol\" does not fit <PART>", "one of old, new"),
            (&["mark", "old", "--prot", "1"], "mark has no flag --prot", "--port"),
            (&["mark", "old", "--port", "x"], "\"x\" does not fit --port", "rs-x mark --help"),
            (&["mark", "old", "--port"], "--port <port> needs a value", "rs-x mark --help"),
            (&["mark", "old", "--time", "1y"], "--time <time>: `1y` is no time", "write 90s"),
        ] {
            let error = said(args);
            assert!(error.what().contains(what), "{args:?}: {error}");
            assert!(error.advice().unwrap().contains(hint), "{args:?}: {:?}", error.advice());
            assert!(!error.advice().unwrap().contains("tip:"), "{:?}", error.advice());
        }
        assert!(said(&["mark", "old", "--port", "x"]).cause().is_some());
    }
}
