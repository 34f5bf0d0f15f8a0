use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::Scene;

/// A small application of a scene: `/health`, `/version`, `/slow` (answers when told), `/socket` (a websocket that
/// stays open), anything else its name.
pub struct App {
    /// Where it listens.
    pub address: String,
    /// Its port.
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    release: Mutex<String>,
    healthy: AtomicBool,
    asked: AtomicUsize,
    served: AtomicUsize,
    slow: AtomicUsize,
    gate: (Mutex<bool>, Condvar),
}

impl App {
    /// Makes `/health` say no, or yes again.
    pub fn healthy(&self, yes: bool) {
        self.shared.healthy.store(yes, Ordering::SeqCst);
    }

    /// What `/version` says from now on.
    pub fn release(&self, release: &str) {
        release.clone_into(&mut self.shared.release.lock().unwrap());
    }

    /// Requests for `/health`.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Requests that were no health checks.
    pub fn served(&self) -> usize {
        self.shared.served.load(Ordering::SeqCst)
    }

    /// Requests for `/slow` that wait, and websockets that are open.
    pub fn slow(&self) -> usize {
        self.shared.slow.load(Ordering::SeqCst)
    }

    /// Lets those that come from now on wait again.
    pub fn hold_again(&self) {
        *self.shared.gate.0.lock().unwrap() = false;
    }

    /// Lets those that wait go.
    pub fn let_go(&self) {
        *self.shared.gate.0.lock().unwrap() = true;
        self.shared.gate.1.notify_all();
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl Scene {
    /// Starts an application on an address of its own, port 8000. It lives as long as the test's process.
    pub fn app(&self, name: &str) -> App {
        let address = self.address();
        let listener = TcpListener::bind(format!("{address}:8000")).unwrap();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            release: Mutex::new("1.0".into()),
            healthy: AtomicBool::new(true),
            asked: AtomicUsize::new(0),
            served: AtomicUsize::new(0),
            slow: AtomicUsize::new(0),
            gate: (Mutex::new(false), Condvar::new()),
        });
        let here = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let here = here.clone();
                std::thread::spawn(move || drop(serve(&here, stream)));
            }
        });
        App { address, port: 8000, shared }
    }
}

fn serve(app: &Shared, stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let path = head.split_whitespace().nth(1).unwrap_or("/").to_owned();
        if path == "/health" {
            app.asked.fetch_add(1, Ordering::SeqCst);
        }
        if path == "/socket" {
            stream.write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Accept: s3pPLBMiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            )?;
            app.slow.fetch_add(1, Ordering::SeqCst);
            // open until the other side ends it
            let ended = std::io::copy(&mut reader, &mut std::io::sink());
            app.slow.fetch_sub(1, Ordering::SeqCst);
            return ended.map(|_| ());
        }
        let (status, body) = match path.as_str() {
            "/health" if app.healthy.load(Ordering::SeqCst) => ("200 OK", "ok".to_owned()),
            "/health" => ("500 Broken", "no".into()),
            "/version" => ("200 OK", app.release.lock().unwrap().clone()),
            "/slow" => {
                app.slow.fetch_add(1, Ordering::SeqCst);
                let mut open = app.gate.0.lock().unwrap();
                while !*open {
                    open = app.gate.1.wait(open).unwrap();
                }
                app.slow.fetch_sub(1, Ordering::SeqCst);
                ("200 OK", app.name.clone())
            }
            _ => {
                app.served.fetch_add(1, Ordering::SeqCst);
                ("200 OK", app.name.clone())
            }
        };
        let length = body.len();
        stream.write_all(
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes(),
        )?;
    }
}
