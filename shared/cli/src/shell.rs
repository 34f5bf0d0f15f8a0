//! An argument list as a person can paste it into a shell.

/// Quotes what needs it, so that the line means exactly this argument list.
pub fn words(argv: &[String]) -> String {
    argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
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
