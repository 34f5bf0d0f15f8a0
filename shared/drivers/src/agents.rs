//! What rewrites configuration on a machine, or starts again what was stopped: agents, and the clocks that call them.
//!
//! Asked over the server's channel, of the whole machine: an agent runs as somebody else than the server.

use std::time::Duration;

use rs_contract::{Channel, Command, Error, Kind, Result};
use rs_model::ready::Agent;

/// Programs as their processes are called; a script counts by its own name, not by its interpreter's.
const KNOWN: &[&str] = &[
    "ansible-pull",
    "cf-agent",
    "cf-execd",
    "chef-client",
    "cinc-client",
    "confd",
    "consul-template",
    "keepalived",
    "maxscale",
    "mha_manager",
    "masterha_manager",
    "monit",
    "mysqlrouter",
    "orchestrator",
    "pacemakerd",
    "proxysql",
    "puppet",
    "puppet-agent",
    "replication-manager",
    "salt-minion",
];

/// What runs other programs.
const INTERPRETERS: &[&str] =
    &["bash", "env", "java", "node", "perl", "php", "python", "ruby", "sh"];

/// The first two words of every process, then cron's lines, then the names of timers; nothing is asked that is not
/// there. Constant: nothing is pasted into it.
const LOOK: &str = r#"grep -aHzs -m 2 '' /proc/[0-9]*/cmdline | tr '\0' '\n'
echo '# cron'
for file in /etc/crontab /etc/cron.d/*; do [ -r "$file" ] && cat "$file"; done 2>/dev/null
command -v crontab >/dev/null 2>&1 && crontab -l 2>/dev/null
echo '# timers'
command -v systemctl >/dev/null 2>&1 && systemctl list-timers --no-legend --plain 2>/dev/null
echo '# end'"#;

/// Every agent that runs on the machine, or that a clock calls there; `more` are programs that count besides.
pub fn found(channel: &dyn Channel, more: &[String]) -> Result<Vec<Agent>> {
    let argv = ["sh", "-c", LOOK].map(str::to_owned).to_vec();
    let timeout = Duration::from_secs(20);
    let output = channel.run(&Command { argv, timeout, ..Command::default() }, &|_| {})?;
    if !output.text.trim_end().ends_with("# end") || !output.text.contains("/proc/") {
        return Err(Error::new(
            Kind::Failed,
            format!("{} does not say what runs", channel.place()),
        )
        .because(output.text.lines().last().unwrap_or_default())
        .hint("sh, grep and tr must be on its PATH, and /proc readable"));
    }
    Ok(read(&output.text, more))
}

fn read(text: &str, more: &[String]) -> Vec<Agent> {
    let known = |word: &str| {
        let name = base(word);
        KNOWN.contains(&name) || more.iter().any(|own| own == name)
    };
    let mut found: Vec<Agent> = Vec::new();
    let mut section = "processes";
    let mut last_pid = "";
    let mut script = false;
    for line in text.lines() {
        if let Some(name) = ["cron", "timers", "end"].into_iter().find(|n| line == format!("# {n}"))
        {
            section = name;
            continue;
        }
        let agent = match section {
            "processes" => {
                let Some((pid, word)) =
                    line.strip_prefix("/proc/").and_then(|rest| rest.split_once("/cmdline:"))
                else {
                    continue;
                };
                // the second word counts only behind an interpreter
                let counts = pid != last_pid || script;
                script = pid != last_pid && is_interpreter(base(word));
                last_pid = pid;
                // a daemon may write its whole title into one word
                let word = word.split([' ', ':']).next().unwrap_or_default();
                (counts && known(word)).then(|| (base(word), format!("process {pid}")))
            }
            "cron" if !line.trim_start().starts_with('#') => line
                .split_whitespace()
                .find(|word| known(word))
                .map(|word| (base(word), "cron".to_owned())),
            "timers" => line
                .split_whitespace()
                .filter_map(|word| {
                    word.strip_suffix(".timer").or_else(|| word.strip_suffix(".service"))
                })
                .find(|word| known(word))
                .map(|word| (word, "timer".to_owned())),
            _ => None,
        };
        if let Some((program, seen)) = agent {
            let agent = Agent { program: program.to_owned(), seen };
            if !found.contains(&agent) {
                found.push(agent);
            }
        }
    }
    found
}

fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

fn is_interpreter(name: &str) -> bool {
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    INTERPRETERS.contains(&plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_counts_and_a_file_that_is_called_so_does_not() {
        let text = "/proc/1/cmdline:/sbin/init\n/proc/7/cmdline:/usr/bin/python3.11\n/proc/7/cmdline:/usr/bin/salt-minion\n\
                    /proc/8/cmdline:vim\n/proc/8/cmdline:/etc/monit\n/proc/9/cmdline:monit\n/proc/10/cmdline:keepalived: worker\n\
                    /proc/11/cmdline:our-agent\n\
                    # cron\n# */5 * * * * root chef-client\n*/5 * * * * root /usr/bin/puppet agent\n# timers\n\
                    Mon 2026 5min left - - confd.timer confd.service\n# end\n";
        let found = read(text, &["our-agent".into()]);
        let words: Vec<String> =
            found.iter().map(|a| format!("{} {}", a.program, a.seen)).collect();
        assert_eq!(
            words,
            [
                "salt-minion process 7",
                "monit process 9",
                "keepalived process 10",
                "our-agent process 11",
                "puppet cron",
                "confd timer"
            ]
        );
    }
}
