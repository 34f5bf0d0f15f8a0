//! Bytes to and from a name server: UDP with retries, TCP when an answer must not be lost, both with deadlines.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// How long one exchange may take, retries included.
const EXCHANGE: Duration = Duration::from_secs(5);
/// How long we wait for one datagram before we ask again.
const DATAGRAM: Duration = Duration::from_millis(1200);

fn late() -> std::io::Error {
    let within = crate::patience(EXCHANGE);
    std::io::Error::new(ErrorKind::TimedOut, format!("no answer within {within:?}"))
}

/// Sends `query` by UDP until an answer with its id comes.
pub fn udp(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    // connected: only this server is heard, and a closed port is known at once
    socket.connect(server)?;
    let until = Instant::now() + crate::patience(EXCHANGE);
    let mut buffer = vec![0; 65_535];
    loop {
        socket.send(query)?;
        let again = until.min(Instant::now() + DATAGRAM);
        loop {
            let left = again.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            socket.set_read_timeout(Some(left))?;
            match socket.recv(&mut buffer) {
                Ok(length) if length >= 12 && buffer[..2] == query[..2] => {
                    buffer.truncate(length);
                    return Ok(buffer);
                }
                Ok(_) => {} // somebody else's, or of an earlier question
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        if Instant::now() >= until {
            return Err(late());
        }
    }
}

/// Sends `query` by TCP, once: for updates, which must not be repeated unseen, and for long answers.
pub fn tcp(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let until = Instant::now() + crate::patience(EXCHANGE);
    let left = || {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        Ok(Some(left))
    };
    let mut stream = TcpStream::connect_timeout(&server, crate::patience(EXCHANGE))?;
    stream.set_nodelay(true)?;
    let length = u16::try_from(query.len())
        .map_err(|_| std::io::Error::new(ErrorKind::InvalidInput, "the message is too long"))?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(query);
    stream.set_write_timeout(left()?)?;
    stream.write_all(&framed)?;
    let mut read = |into: &mut [u8]| -> std::io::Result<()> {
        let mut have = 0;
        while have < into.len() {
            stream.set_read_timeout(left()?)?;
            match stream.read(&mut into[have..]) {
                Ok(0) => {
                    return Err(std::io::Error::new(
                        ErrorKind::UnexpectedEof,
                        "it closed the connection without an answer",
                    ));
                }
                Ok(more) => have += more,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    return Err(late());
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    };
    let mut size = [0; 2];
    read(&mut size)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(size))];
    read(&mut answer)?;
    Ok(answer)
}
