//! An argument list as a person can paste it into a shell.

use rs_model::journal::{Stands, stands};
use rs_model::retire::is_ended;
use rs_model::{Act, Debt};

/// Quotes what needs it, so that the line means exactly this argument list.
pub fn words(argv: &[String]) -> String {
    argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// What a person types to settle a debt as things stand: its inverse, or a plan of the end of what it is about, and that.
///
/// - `part`: what its subject is in the run that owes it.
/// - `stand_in`: who is named in the place of the server that its inverse ends with, when that is gone.
/// - `acts`: the journal.
pub fn settling(debt: &Debt, part: Option<&str>, stand_in: Option<&str>, acts: &[Act]) -> String {
    let run = debt.owner.run.as_deref();
    let stands = run.map_or(Stands::Before, |run| stands(acts, &debt.deployment, run));
    if !is_ended(debt, part, stands) {
        let mut inverse = debt.inverse.clone();
        if let (Some(gone), Some(name)) = (inverse.last_mut(), stand_in) {
            name.clone_into(gone);
        }
        return words(&inverse);
    }
    let plan = ["rs-cleanup", "plan", "--deployment", &debt.deployment, "--", &debt.subject];
    format!("{} >plan && rs-cleanup retire --plan plan --delete", words(&plan.map(str::to_owned)))
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_exactly_the_words() {
        let argv: Vec<String> =
            ["printf", "%s|", "a b", "it's", "$(x); `y` \"z\"", "", "-n", "*", "\\n", "ü"]
                .map(String::from)
                .into();
        let out = std::process::Command::new("sh").arg("-c").arg(words(&argv)).output().unwrap();
        let wanted: String = argv[2..].iter().map(|word| word.clone() + "|").collect();
        assert_eq!(String::from_utf8(out.stdout).unwrap(), wanted);
    }
}
