use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::scene::{program, until};
use crate::servers::Db;

const LIMIT: Duration = Duration::from_secs(20);

/// A session on a server that ran something and stays.
pub struct Session {
    client: Child,
    db: Db,
    /// What it does now: no other session has the same number of seconds.
    stays: String,
}

impl Db {
    /// A session of root that runs this and stays.
    pub fn session(&self, sql: &str) -> Session {
        let mut client = Command::new(program("mariadb"));
        client.args(["--no-defaults", "-uroot", "-S"]).arg(&self.socket);
        self.staying(client, sql)
    }

    /// The same of another account (password = name), from outside.
    pub fn session_as(&self, user: &str, sql: &str) -> Session {
        let mut client = Command::new(program("mariadb"));
        client.args(["--no-defaults", "-h", &self.address, "-u", user, &format!("-p{user}")]);
        self.staying(client, sql)
    }

    fn staying(&self, mut client: Command, sql: &str) -> Session {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let stays = format!("DO SLEEP(600.{:05})", NUMBER.fetch_add(1, Ordering::Relaxed));
        client.args(["-e", &format!("{sql}; {stays}")]);
        client.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let session = Session { client: client.spawn().unwrap(), db: self.clone(), stays };
        until(&format!("the session: {sql}"), LIMIT, || session.is_there());
        session
    }
}

impl Session {
    fn ids(&self) -> String {
        let stays = &self.stays;
        self.db.sql(&format!("SELECT ID FROM information_schema.processlist WHERE INFO='{stays}'"))
    }

    /// Whether the server still has it.
    pub fn is_there(&self) -> bool {
        !self.ids().is_empty()
    }

    /// Ends it, and waits until the server knows.
    pub fn end(mut self) {
        self.leave();
        // a server does not notice that the client of a sleeping statement is gone
        for id in self.ids().lines() {
            self.db.sql(&format!("KILL {id}"));
        }
        until("the session's end", LIMIT, || !self.is_there());
    }

    fn leave(&mut self) {
        let _ = (self.client.kill(), self.client.wait());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.leave();
    }
}
