use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

const FORWARD: u8 = 0;
const FROZEN: u8 = 1;
const CUT: u8 = 2;

/// A wire between two servers that can be cut, or freeze without a reset.
pub struct Wire {
    /// Where it listens; the port is the one that was asked for.
    pub address: String,
    state: Arc<AtomicU8>,
}

impl Wire {
    /// From `address:port` to `target:port`.
    pub fn new(address: String, target: &str, port: u16) -> Wire {
        let listener = TcpListener::bind((address.as_str(), port)).unwrap();
        let state = Arc::new(AtomicU8::new(FORWARD));
        let (now, target) = (Arc::clone(&state), target.to_owned());
        std::thread::spawn(move || {
            for from in listener.incoming().flatten() {
                if now.load(Ordering::SeqCst) == CUT {
                    continue;
                }
                let Ok(to) = TcpStream::connect((target.as_str(), port)) else { continue };
                for (from, to) in [(from.try_clone(), to.try_clone()), (Ok(to), Ok(from))] {
                    let (from, to) = (from.unwrap(), to.unwrap());
                    let now = Arc::clone(&now);
                    std::thread::spawn(move || carry(from, to, &now));
                }
            }
        });
        Wire { address, state }
    }

    /// Carries what comes.
    pub fn forward(&self) {
        self.state.store(FORWARD, Ordering::SeqCst);
    }

    /// Carries nothing; the connections stay.
    pub fn freeze(&self) {
        self.state.store(FROZEN, Ordering::SeqCst);
    }

    /// Ends every connection and takes none.
    pub fn cut(&self) {
        self.state.store(CUT, Ordering::SeqCst);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.cut();
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, state: &AtomicU8) {
    from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut bytes = [0; 16 * 1024];
    loop {
        match state.load(Ordering::SeqCst) {
            CUT => break,
            FROZEN => std::thread::park_timeout(Duration::from_millis(20)),
            _ => match from.read(&mut bytes) {
                Ok(0) => break,
                Ok(n) => {
                    // what was read just as the wire froze is not carried on
                    while state.load(Ordering::SeqCst) == FROZEN {
                        std::thread::park_timeout(Duration::from_millis(20));
                    }
                    if to.write_all(&bytes[..n]).is_err() {
                        break;
                    }
                }
                Err(e) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&e.kind()) => {}
                Err(_) => break,
            },
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
