//! `cred:NAME` and `key:NAME`, the same for every cloud: the file `$RS_CREDENTIALS/NAME`, or what
//! `$RS_CREDENTIAL_COMMAND NAME` prints. Never stored, never in an argument list of ours but the name.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rs_contract::{Error, Kind, Result, Secret};

/// A variable that is empty counts as one that is not set.
fn given(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Looks a credential up. A last line end is not part of it.
pub fn credential(name: &str) -> Result<Secret> {
    if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') {
        return Err(Error::new(Kind::Usage, format!("{name:?} is no credential's name"))
            .hint("a name has no slash and does not begin with a dot"));
    }
    let mut text = match (given("RS_CREDENTIALS"), given("RS_CREDENTIAL_COMMAND")) {
        (Some(folder), _) => from_file(&PathBuf::from(folder).join(name), name)?,
        (None, Some(command)) => from_command(&command, name)?,
        (None, None) => {
            return Err(Error::new(
                Kind::Usage,
                format!("credential {name:?} cannot be looked up"),
            )
            .hint(
                "set RS_CREDENTIALS to a folder of files with mode 0600, or RS_CREDENTIAL_COMMAND",
            ));
        }
    };
    // cut, not copied: nothing of it is left in memory that Secret does not own
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    Ok(Secret::new(text))
}

fn from_file(path: &std::path::Path, name: &str) -> Result<String> {
    let failed = |e: std::io::Error| {
        let kind =
            if e.kind() == std::io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Failed };
        Error::new(kind, format!("credential {name:?} cannot be read from {}", path.display()))
            .because(e)
            .hint("put the secret into that file, mode 0600")
    };
    let about = std::fs::metadata(path).map_err(failed)?;
    if !about.is_file() {
        return Err(failed(std::io::Error::other("it is no file")));
    }
    let mode = about.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Error::new(
            Kind::Declined,
            format!("{} can be read by others (mode {:o})", path.display(), mode & 0o777),
        )
        .hint(format!("chmod 600 '{}'", path.display())));
    }
    std::fs::read_to_string(path).map_err(failed)
}

fn from_command(command: &std::ffi::OsStr, name: &str) -> Result<String> {
    let failed = |why: String| {
        Error::new(Kind::Failed, format!("RS_CREDENTIAL_COMMAND gave nothing for {name:?}"))
            .because(why)
            .hint("it is called with the name as its one argument, and prints the secret")
    };
    let out = Command::new(command)
        .arg(name)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| failed(e.to_string()))?;
    if !out.status.success() {
        return Err(failed(out.status.to_string()));
    }
    String::from_utf8(out.stdout).map_err(|_| failed("it is not UTF-8".into()))
}

/// A digest of a credential's value, so that two can be seen to be equal: the first 12 hexadecimal digits of a salted
/// SHA-256. It does not give the value away; still, a weak secret could be guessed with it.
pub fn digest(name: &str) -> Result<String> {
    use sha2::{Digest, Sha256};
    let secret = credential(name)?;
    let sum = Sha256::new().chain_update(b"rs-inputs/1\0").chain_update(secret.expose()).finalize();
    Ok(sum.iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}
