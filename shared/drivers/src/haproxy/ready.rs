//! What is asked of a balancer before a window, and compared in it: what ties users to members, who rewrote the file.

use rs_contract::{Error, Kind, Result};
use rs_model::ready::{Configured, Sticky};
use sha2::{Digest, Sha256};

use super::config::{self, Expand};
use super::{Site, words};

/// What ties users to a member of that pool; absent when the configuration is out of reach.
pub fn sticky(site: &Site, pool: &str) -> Result<Option<Sticky>> {
    let backend = site.backend(pool)?;
    let Some(text) = site.config()? else { return Ok(None) };
    let found = read_sticky(&text, backend, &|name| site.expand(name));
    found.map(Some).ok_or_else(|| {
        Error::new(Kind::NotFound, format!("{} has no backend {backend:?}", site.config_file))
            .hint("LB_CONFIG_FILE, LB_APPLISTENER_NAME and LB_POOLS say where to look")
    })
}

/// The configuration without what is ours, and the processes.
pub fn configured(site: &Site) -> Result<Configured> {
    let info = site.worker.ask("show info")?;
    let pid = words::info(&info, "Pid").and_then(|text| text.trim().parse().ok());
    let pid = pid.ok_or_else(|| {
        Error::new(Kind::Failed, format!("{} does not say its process id", site.who))
    })?;
    Ok(Configured {
        digest: site.config()?.map(|text| digest(&text)),
        pid,
        old: site.old_workers()?.into_iter().map(|(pid, _)| pid).collect(),
    })
}

/// SHA-256 over every line but the server lines between our markers, hexadecimal.
fn digest(text: &str) -> String {
    let mut hash = Sha256::new();
    let mut ours = false;
    for line in text.lines() {
        let marker = line.trim_start().strip_prefix('#').map(str::trim_start).unwrap_or_default();
        if marker.starts_with("rs-members end") {
            ours = false;
        }
        if !ours || !line.trim_start().starts_with("server") {
            hash.update(line.as_bytes());
            hash.update(b"\n");
        }
        if marker.starts_with("rs-members begin") {
            ours = true;
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_sticky(text: &str, backend: &str, expand: Expand<'_>) -> Option<Sticky> {
    let mut defaults = Sticky::default();
    for section in config::sections(text, expand) {
        let own = matches!(section.kind.as_str(), "backend" | "listen") && section.name == backend;
        if section.kind == "defaults" {
            defaults = Sticky::default();
        } else if !own {
            continue;
        }
        let mut found = defaults.clone();
        for (_, words, _) in &section.lines {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            match words.as_slice() {
                ["cookie", rest @ ..] => found.cookie = Some(rest.join(" ")),
                ["stick", rest @ ..] => found.table = Some(rest.join(" ")),
                ["option", "redispatch", ..] => found.redispatch = true,
                ["no", "option", "redispatch", ..] => found.redispatch = false,
                _ => {}
            }
        }
        if own {
            return Some(found);
        }
        defaults = found;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn ties_are_those_of_the_backend_and_redispatch_is_inherited() {
        let text = "defaults\n  option redispatch\nbackend other\n  cookie X insert\nbackend www\n  cookie SRV insert indirect\n  stick on src\n";
        let found = read_sticky(text, "www", &none).unwrap();
        assert_eq!(found.cookie.as_deref(), Some("SRV insert indirect"));
        assert_eq!((found.table.as_deref(), found.redispatch), (Some("on src"), true));
        let not = format!("{text}  no option redispatch\n");
        assert!(!read_sticky(&not, "www", &none).unwrap().redispatch);
        let fresh = format!("{text}defaults\nbackend last\n");
        assert_eq!(read_sticky(&fresh, "last", &none).unwrap(), Sticky::default());
        assert_eq!(read_sticky(text, "nobody", &none), None);
        let tied = "defaults\n  cookie A insert\nbackend www\n";
        assert_eq!(read_sticky(tied, "www", &none).unwrap().cookie.as_deref(), Some("A insert"));
    }

    #[test]
    fn our_own_lines_are_no_drift_and_every_other_is() {
        let text = "backend www\n  # rs-members begin www\n  server a 127.0.0.1:1\n  # rs-members end www\n  server b 127.0.0.2:1\n";
        let same = text.replace(
            "  server a 127.0.0.1:1\n",
            "  server c 127.0.0.3:1 disabled\n  server d ::1:1\n",
        );
        assert_eq!(digest(text), digest(&same));
        for (a, b) in [
            ("server b", "server e"),
            ("backend www\n", "backend www\n  option x\n"),
            ("end www", "end w"),
        ] {
            assert_ne!(digest(text), digest(&text.replace(a, b)), "{a}");
        }
    }
}
