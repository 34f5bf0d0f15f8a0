//! The runtime socket: batches of commands on one connection, in prompt mode, each reply for itself.
//!
//! HAProxy answers in text without a status and runs the commands of a line one after the other whatever becomes of
//! them. In prompt mode the reply to every line ends with a prompt: counting prompts tells that all commands were run.
//! Commands go one a line, all written at once: after those that `;` joins, HAProxy 3 prompts once, 2.6 every time.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rs_contract::{Endpoint, Error, Kind, Result};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// Bytes of commands sent before their replies are read, so that neither side waits for the other to read.
const CHUNK: usize = 8_000;
/// HAProxy drops the connection over a single longer command (`tune.bufsize`), without a word.
const LONGEST: usize = 15_000;

/// One process of HAProxy as it is spoken to.
#[derive(Clone, Debug)]
pub struct Client {
    /// For messages, e.g. `server "Load Balancer-1"`.
    who: String,
    endpoint: Endpoint,
    /// Absent: the endpoint is the current worker's own socket. Else the endpoint is the master's, and this is what
    /// each command begins with: empty for the master itself, `@!PID ` for a worker.
    through_master: Option<String>,
    limit: Duration,
}

trait Stream: Read + Write {
    fn limit(&self, time: Duration) -> std::io::Result<()>;
}

impl Stream for UnixStream {
    fn limit(&self, time: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(time)).and_then(|()| self.set_write_timeout(Some(time)))
    }
}

impl Stream for TcpStream {
    fn limit(&self, time: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(time)).and_then(|()| self.set_write_timeout(Some(time)))
    }
}

impl Client {
    /// The current worker, through its runtime socket. No batch takes longer than `limit`.
    pub fn worker(who: &str, endpoint: Endpoint, limit: Duration) -> Client {
        Client { who: who.to_owned(), endpoint, through_master: None, limit }
    }

    /// The master process.
    pub fn master(who: &str, endpoint: Endpoint, limit: Duration) -> Client {
        Client { who: who.to_owned(), endpoint, through_master: Some(String::new()), limit }
    }

    /// A worker that is out of reach of the runtime socket, through the master's.
    pub fn old(&self, pid: u32) -> Client {
        Client { through_master: Some(format!("@!{pid} ")), ..self.clone() }
    }

    /// The place in words.
    pub fn place(&self) -> String {
        match self.through_master.as_deref() {
            None => format!("{} ({})", self.who, self.endpoint),
            Some("") => format!("the master process of {} ({})", self.who, self.endpoint),
            Some(prefix) => format!(
                "the old worker {} of {} ({})",
                prefix.trim_start_matches("@!").trim_end(),
                self.who,
                self.endpoint
            ),
        }
    }

    /// Whether nothing is there to connect to: no socket file.
    pub fn is_absent(&self) -> bool {
        match &self.endpoint {
            Endpoint::Unix(path) => !std::path::Path::new(path).exists(),
            Endpoint::Tcp(..) => false,
        }
    }

    /// Whether the socket is there and the process that made it is not: a frozen one goes on listening.
    pub fn is_deserted(&self) -> bool {
        let deadline = Instant::now() + self.limit;
        match &self.endpoint {
            Endpoint::Unix(path) => connect_unix(path, deadline)
                .is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused),
            Endpoint::Tcp(..) => false,
        }
    }

    /// Runs one command.
    pub fn ask(&self, command: impl Into<String>) -> Result<String> {
        Ok(self.run(&[command.into()])?.pop().unwrap_or_default())
    }

    /// Runs commands on one connection, in order; one reply each, without trailing line ends. What a reply means is
    /// for the caller to see.
    pub fn run(&self, commands: &[String]) -> Result<Vec<String>> {
        for command in commands {
            if command.len() > LONGEST || command.contains(['\n', ';']) || command.is_empty() {
                return Err(Error::new(
                    Kind::Usage,
                    format!("a command of {} bytes is not sent to {}", command.len(), self.place()),
                )
                .hint(format!("one command of 1 to {LONGEST} bytes, without `;` and line end")));
            }
        }
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + self.limit;
        let mut stream = self.connect(deadline)?;
        let (greeting, prompt) = match self.through_master {
            None => ("\n> ", "\n> "),
            Some(_) => ("master> ", "\nmaster> "),
        };
        let mut pending = Vec::new();
        self.send(stream.as_mut(), deadline, b"prompt\n")?;
        self.reply(stream.as_mut(), deadline, &mut pending, greeting)?;
        let prefix = self.through_master.as_deref().unwrap_or_default();
        let mut replies = Vec::with_capacity(commands.len());
        let mut rest = commands;
        while !rest.is_empty() {
            let mut lines = String::new();
            let mut count = 0;
            while let Some(command) = rest.get(count)
                && (count == 0 || lines.len() + prefix.len() + command.len() < CHUNK)
            {
                lines.push_str(prefix);
                lines.push_str(command);
                lines.push('\n');
                count += 1;
            }
            self.send(stream.as_mut(), deadline, lines.as_bytes())?;
            for _ in 0..count {
                let reply =
                    self.reply(stream.as_mut(), deadline, &mut pending, prompt).map_err(|e| {
                        let done = replies.len();
                        if done == 0 {
                            return e;
                        }
                        let cause = e.to_string();
                        Error::new(
                            e.kind(),
                            format!(
                                "{} answered {done} of {} commands",
                                self.place(),
                                commands.len()
                            ),
                        )
                        .because(cause)
                    })?;
                replies.push(reply);
            }
            rest = rest.get(count..).unwrap_or_default();
        }
        Ok(replies)
    }

    fn send(&self, stream: &mut dyn Stream, deadline: Instant, bytes: &[u8]) -> Result<()> {
        let failed = |e: std::io::Error| self.broken(&e);
        stream.limit(left(deadline)).map_err(failed)?;
        stream.write_all(bytes).map_err(failed)
    }

    /// Reads up to the next prompt.
    fn reply(
        &self,
        stream: &mut dyn Stream,
        deadline: Instant,
        pending: &mut Vec<u8>,
        prompt: &str,
    ) -> Result<String> {
        let mut buffer = [0_u8; 65_536];
        let mut looked = 0;
        loop {
            if let Some(at) = find(pending, prompt.as_bytes(), looked) {
                let rest = pending.split_off(at + prompt.len());
                pending.truncate(at);
                let text = String::from_utf8_lossy(pending).trim_matches('\n').to_owned();
                *pending = rest;
                return Ok(text);
            }
            looked = pending.len().saturating_sub(prompt.len());
            stream.limit(left(deadline)).map_err(|e| self.broken(&e))?;
            match stream.read(&mut buffer) {
                Ok(0) => {
                    let said = String::from_utf8_lossy(pending).trim().to_owned();
                    return Err(Error::new(
                        Kind::Unreachable,
                        format!("{} closed the connection", self.place()),
                    )
                    .because(if said.is_empty() { "no answer".to_owned() } else { said })
                    .hint("try again; if it goes on, look at HAProxy's log there"));
                }
                Ok(n) => pending.extend_from_slice(buffer.get(..n).unwrap_or_default()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(self.broken(&e)),
            }
        }
    }

    fn broken(&self, e: &std::io::Error) -> Error {
        match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::new(
                Kind::Unreachable,
                format!("{} did not answer within {} ms", self.place(), self.limit.as_millis()),
            )
            .hint("is the process frozen, or the machine overloaded? Try again"),
            _ => Error::new(Kind::Unreachable, format!("{} cannot be reached", self.place()))
                .because(e)
                .hint("is HAProxy running there? LB_RUNTIME_SOCKET and LB_MASTER_SOCKET say where"),
        }
    }

    fn connect(&self, deadline: Instant) -> Result<Box<dyn Stream>> {
        let failed = |e: std::io::Error| self.broken(&e);
        match &self.endpoint {
            Endpoint::Unix(path) => Ok(Box::new(connect_unix(path, deadline).map_err(failed)?)),
            Endpoint::Tcp(host, port) => {
                let mut last =
                    std::io::Error::new(ErrorKind::NotFound, format!("{host:?} has no address"));
                for address in (host.as_str(), *port).to_socket_addrs().map_err(failed)? {
                    match TcpStream::connect_timeout(&address, left(deadline)) {
                        Ok(stream) => {
                            stream.set_nodelay(true).map_err(failed)?;
                            return Ok(Box::new(stream));
                        }
                        Err(e) => last = e,
                    }
                }
                Err(failed(last))
            }
        }
    }
}

/// A blocking connect to a unix socket has no time limit and hangs on a frozen server with a full queue.
fn connect_unix(path: &str, deadline: Instant) -> std::io::Result<UnixStream> {
    // a longer path does not fit into an address; through its folder's descriptor every path does
    let folder;
    let address = match path.rsplit_once('/') {
        Some((parent, name)) if path.len() > 100 => {
            folder = rustix::fs::open(
                parent,
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))?
        }
        _ => SocketAddrUnix::new(path)?,
    };
    loop {
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
            None,
        )?;
        match connect(&socket, &address) {
            Ok(()) => {
                let stream = UnixStream::from(socket);
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            // the queue of the listener is full: the only way is to ask again
            Err(rustix::io::Errno::AGAIN) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(e) => return Err(e.into()),
        }
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

fn find(text: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let tail = text.get(from..)?;
    tail.windows(wanted.len()).position(|window| window == wanted).map(|at| at + from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// A process that says what it is told to, once; no HAProxy: only what no HAProxy can be made to do.
    fn says(reply: &'static [u8]) -> (tempfile::TempDir, Client) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(reply).unwrap();
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all);
        });
        let endpoint = Endpoint::Unix(path.to_str().unwrap().into());
        (folder, Client::worker("server \"x\"", endpoint, Duration::from_millis(300)))
    }

    #[test]
    fn each_command_has_its_own_reply() {
        let (_folder, client) = says(b"\n> \n> No such server.\n\n> 1\nx\n\n> ");
        let commands = ["a".to_owned(), "b".into(), "c".into()];
        assert_eq!(client.run(&commands).unwrap(), ["", "No such server.", "1\nx"]);
    }

    #[test]
    fn a_process_that_falls_silent_is_unreachable_and_says_how_far_it_came() {
        let (_folder, client) = says(b"\n> \n> ");
        let e = client.run(&["a".to_owned(), "b".into()]).unwrap_err();
        assert_eq!(e.kind(), Kind::Unreachable);
        assert!(e.to_string().contains("answered 1 of 2"), "{e}");
    }

    #[test]
    fn a_socket_of_any_depth_is_reached() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("x".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let short = folder.path().join("s");
        let listener = UnixListener::bind(&short).unwrap();
        std::fs::rename(&short, deep.join("s")).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"\n> yes\n\n> ").unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let endpoint = Endpoint::Unix(deep.join("s").to_str().unwrap().into());
        let client = Client::worker("server \"x\"", endpoint, Duration::from_secs(5));
        assert_eq!(client.ask("show version").unwrap(), "yes");
    }

    #[test]
    fn a_missing_socket_is_unreachable() {
        let endpoint = Endpoint::Unix("/nonexistent/haproxy.sock".into());
        let client = Client::worker("server \"x\"", endpoint, Duration::from_secs(1));
        assert!(client.is_absent());
        assert_eq!(client.ask("show info").unwrap_err().kind(), Kind::Unreachable);
    }

    #[test]
    fn what_would_be_two_commands_is_not_sent() {
        let endpoint = Endpoint::Unix("/nonexistent/haproxy.sock".into());
        let client = Client::worker("server \"x\"", endpoint, Duration::from_secs(1));
        for command in ["a;b", "a\nb", "", &"x".repeat(15_001)] {
            assert_eq!(client.ask(command).unwrap_err().kind(), Kind::Usage);
        }
    }
}
