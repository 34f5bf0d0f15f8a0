//! The numbers that the database has: by a command of the operator's, or asked of the database itself.

use std::process::{Command, Stdio};

use rs_contract::{Cloud, Database, Error, Kind, Result, Secret};
use rs_drivers::settings::Settings;
use rs_model::{Server, Value};

use super::Rows;

/// So many numbers are fetched at once.
const CHUNK: u64 = 5_000;

/// Whether there is a way to read rows at all.
pub fn known(rows: &Rows, settings: Option<&Settings>) -> Result<bool> {
    Ok(rows.rows_command.is_some() || query(rows, settings)?.is_some())
}

fn query(rows: &Rows, settings: Option<&Settings>) -> Result<Option<String>> {
    match (&rows.rows_query, settings) {
        (Some(query), _) => Ok(Some(query.clone())),
        (None, Some(settings)) => Ok(settings.get("PROBE_ROWS_QUERY")?.filter(|q| !q.is_empty())),
        (None, None) => Ok(None),
    }
}

/// The numbers that begin with `prefix`; absent when no way to read them was given.
pub fn read(
    rows: &Rows,
    prefix: &str,
    cloud: Option<(&dyn Cloud, &str, &Settings)>,
) -> Result<Option<Vec<String>>> {
    // ours are of letters, digits and `-`; a log is a file that anybody may have written
    if !prefix.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(Error::new(Kind::Usage, format!("{prefix:?} is no prefix of ours"))
            .hint("the log is not one of rs-check probe"));
    }
    if let Some(command) = &rows.rows_command {
        return by_command(command, prefix).map(Some);
    }
    let Some(query) = query(rows, cloud.map(|(_, _, settings)| settings))? else {
        return Ok(None);
    };
    let query = query.replace("{prefix}", prefix);
    let query = query.trim().trim_end_matches(';');
    let database = match (&rows.db, cloud) {
        (Some(place), _) => by_address(rows, place)?,
        (None, Some((cloud, deployment, settings))) => {
            let set = settings.get("PROBE_ROWS_SET")?.filter(|set| !set.is_empty());
            master(cloud, deployment, set.as_deref())?
        }
        (None, None) => {
            return Err(Error::new(Kind::Usage, "which database is to be asked is not said")
                .hint("--db ADDRESS:PORT with --db-user and --db-password-file"));
        }
    };
    all(database.as_ref(), query)
        .map(|rows| Some(rows.into_iter().filter(|number| number.starts_with(prefix)).collect()))
}

fn by_command(command: &str, prefix: &str) -> Result<Vec<String>> {
    let failed = |why: String| {
        Error::new(Kind::Failed, "the numbers could not be read by --rows-command")
            .because(why)
            .hint("it prints one number a line; the prefix of ours is in $PROBE_PREFIX")
    };
    let out = Command::new("/bin/sh")
        .args(["-c", command])
        .env("PROBE_PREFIX", prefix)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| failed(e.to_string()))?;
    if !out.status.success() {
        return Err(failed(out.status.to_string()));
    }
    let text = String::from_utf8(out.stdout).map_err(|_| failed("it is not UTF-8".into()))?;
    let numbers = text.lines().map(str::trim).filter(|number| number.starts_with(prefix));
    Ok(numbers.map(str::to_owned).collect())
}

fn by_address(rows: &Rows, place: &str) -> Result<Box<dyn Database>> {
    let bad = || {
        Error::new(Kind::Usage, format!("--db {place:?} is no database"))
            .hint("write ADDRESS:PORT, e.g. 127.0.1.6:3306")
    };
    let address: std::net::SocketAddr = place.parse().map_err(|_| bad())?;
    let user = rows.db_user.clone().ok_or_else(bad)?;
    let password = match &rows.db_password_file {
        Some(file) => std::fs::read_to_string(file).map_err(|e| {
            Error::new(Kind::Failed, format!("{} cannot be read", file.display())).because(e)
        })?,
        None => String::new(),
    };
    let password = Secret::new(password.trim_end_matches(['\n', '\r']));
    let server = Server {
        name: place.to_owned(),
        address: Some(address.ip()),
        foreign: true,
        ..Server::default()
    };
    let port = ("DB_PORT".to_owned(), Value::Text(address.port().to_string()));
    let settings = Settings::given("", Some(&server), [port]);
    rs_drivers::database(&server, &settings, None, Some((user, password)))
}

fn master(cloud: &dyn Cloud, deployment: &str, set: Option<&str>) -> Result<Box<dyn Database>> {
    let servers = cloud.servers(deployment)?;
    let masters: Vec<&Server> = servers
        .iter()
        .filter(|server| match (server.database_set(), set) {
            (Some((of, true)), Some(set)) => of == set,
            (Some((_, is_master)), None) => is_master,
            _ => false,
        })
        .collect();
    let [master] = masters.as_slice() else {
        let of = set.map(|set| format!(" of the set {set:?}")).unwrap_or_default();
        return Err(Error::new(
            Kind::Usage,
            format!("{deployment:?} has {} masters{of}", masters.len()),
        )
        .hint(
            "say which database has the rows: the deployment's input PROBE_ROWS_SET, \
             --db ADDRESS:PORT, or --rows-command",
        ));
    };
    let settings = Settings::among(cloud, deployment, master, &servers)?;
    let channel = if master.foreign { None } else { cloud.channel(master).ok() };
    rs_drivers::database(master, &settings, channel, None)
}

/// Every value of a one-column query, in chunks; counted and measured before and after, so that nothing is cut off
/// unseen.
fn all(database: &dyn Database, query: &str) -> Result<Vec<String>> {
    let count = || -> Result<(u64, u64)> {
        let text = database.scalar(&format!(
            "WITH named (number_of_ours) AS ({query}) SELECT CONCAT(COUNT(*), ' ', \
             COALESCE(SUM(LENGTH(number_of_ours)), 0)) FROM named"
        ))?;
        let two = |text: String| {
            let (rows, bytes) = text.split_once(' ')?;
            Some((rows.parse().ok()?, bytes.parse().ok()?))
        };
        text.and_then(two).ok_or_else(|| {
            Error::new(Kind::Failed, "the database did not count the rows")
                .hint("--rows-query is a SELECT of one column")
        })
    };
    let (there, bytes) = count()?;
    let mut found: Vec<String> = Vec::new();
    while (found.len() as u64) < there {
        let chunk = database.scalar(&format!(
            "WITH named (number_of_ours) AS ({query}) SELECT GROUP_CONCAT(number_of_ours SEPARATOR '\\n') FROM \
             (SELECT number_of_ours FROM named ORDER BY number_of_ours LIMIT {CHUNK} OFFSET {}) AS chunk",
            found.len()
        ))?;
        let before = found.len();
        found.extend(chunk.unwrap_or_default().lines().map(str::to_owned));
        if found.len() == before {
            break;
        }
    }
    let read: u64 = found.iter().map(|number| number.len() as u64).sum();
    if (found.len() as u64, read) != (there, bytes) || count()? != (there, bytes) {
        return Err(Error::new(Kind::Failed, "the rows changed while they were read")
            .because(format!(
                "{there} of {bytes} bytes were counted, {} of {read} bytes were read",
                found.len()
            ))
            .hint("rs-check probe --summarise LOG with the same flags reads them again"));
    }
    Ok(found)
}
