use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::scene::Scene;

/// What the site does just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It answers.
    Well,
    /// It shows the maintenance page.
    Page,
    /// It says 500.
    Broken,
    /// It takes its time: half a second for each answer.
    Slow,
    /// It keeps the row and closes the connection without an answer.
    Mute,
}

const MOODS: [Mood; 5] = [Mood::Well, Mood::Page, Mood::Broken, Mood::Slow, Mood::Mute];

/// A small web application of a scene, which keeps numbered rows in memory.
pub struct Site {
    /// Where it answers.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    rows: PathBuf,
}

#[derive(Default)]
struct Shared {
    mood: AtomicUsize,
    requests: AtomicU64,
    rows: Mutex<BTreeSet<String>>,
}

impl Site {
    /// Changes what it does.
    pub fn mood(&self, mood: Mood) {
        let at = MOODS.iter().position(|known| *known == mood).unwrap();
        self.shared.mood.store(at, Ordering::SeqCst);
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Loses one row that it acknowledged, and returns it.
    pub fn lose_one(&self) -> String {
        self.shared.rows.lock().unwrap().pop_first().unwrap()
    }

    /// Makes a row that nobody sent.
    pub fn invent(&self, number: &str) {
        self.shared.rows.lock().unwrap().insert(number.to_owned());
    }

    /// A shell command that prints its rows as they are now.
    pub fn rows_command(&self) -> String {
        let rows = self.shared.rows.lock().unwrap();
        std::fs::write(&self.rows, rows.iter().map(|n| format!("{n}\n")).collect::<String>())
            .unwrap();
        format!("cat '{}'", self.rows.display())
    }
}

impl Scene {
    /// Starts a site that says to be of this release.
    pub fn site(&self, release: &str) -> Site {
        let listener = TcpListener::bind(format!("{}:8080", self.address())).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let (own, release) = (shared.clone(), release.to_owned());
        // the thread ends with the test's process; the scene's address is its own
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (own, release) = (own.clone(), release.clone());
                std::thread::spawn(move || drop(serve(stream, &own, &release)));
            }
        });
        Site { address, shared, rows: self.path("rows.txt") }
    }
}

fn serve(stream: TcpStream, shared: &Shared, release: &str) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut head = String::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line.trim().is_empty() {
                break;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        shared.requests.fetch_add(1, Ordering::SeqCst);
        let number = serde_json::from_slice::<serde_json::Value>(&body)
            .ok()
            .and_then(|v| v["number"].as_str().map(str::to_owned));
        let mood = MOODS[shared.mood.load(Ordering::SeqCst)];
        if mood == Mood::Slow {
            // half a second, or until the client gives up
            writer.set_read_timeout(Some(Duration::from_millis(500)))?;
            let given_up = writer.peek(&mut [0]).is_ok_and(|bytes| bytes == 0);
            writer.set_read_timeout(None)?;
            if given_up {
                return Ok(());
            }
        }
        if let Some(number) = number.filter(|_| mood != Mood::Page && mood != Mood::Broken) {
            shared.rows.lock().unwrap().insert(number);
        }
        let (status, extra) = match mood {
            Mood::Mute => return Ok(()),
            Mood::Page => {
                ("503 Service Unavailable", "Retry-After: 120\r\nCache-Control: no-store\r\n")
            }
            Mood::Broken => ("500 Internal Server Error", ""),
            _ => ("200 OK", ""),
        };
        let text = format!("{release}\n");
        write!(
            writer,
            "HTTP/1.1 {status}\r\n{extra}X-Release: {release}\r\nX-Member: www/a1\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )?;
    }
}
