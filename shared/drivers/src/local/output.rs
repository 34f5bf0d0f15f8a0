//! What a command says: lines as they come, and a bounded memory of all of it.

use std::collections::VecDeque;

/// Bytes that are kept from the beginning and from the end.
const KEEP: usize = 8 << 20;

/// Output as it comes.
#[derive(Default)]
pub struct Heard {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
    line: Vec<u8>,
}

impl Heard {
    /// Takes what came; each line that is complete goes to `each`.
    pub fn take(&mut self, bytes: &[u8], each: &dyn Fn(&str)) {
        let room = KEEP.saturating_sub(self.head.len()).min(bytes.len());
        let (first, rest) = bytes.split_at(room);
        self.head.extend_from_slice(first);
        self.tail.extend(rest);
        if self.tail.len() > KEEP {
            let over = self.tail.len() - KEEP;
            self.tail.drain(..over);
            self.dropped += over as u64;
        }
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            // a line without an end must not fill the memory
            if self.line.ends_with(b"\n") || self.line.len() > 65_536 {
                self.flush(each);
            }
        }
    }

    /// The last line, when it has no end.
    pub fn flush(&mut self, each: &dyn Fn(&str)) {
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            each(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
        }
    }

    /// All of it, or beginning and end with a note between them.
    pub fn text(self) -> String {
        let mut bytes = self.head;
        if self.dropped > 0 {
            bytes.extend(format!("\n… {} bytes left out …\n", self.dropped).into_bytes());
        }
        bytes.extend(self.tail);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last few lines on one line, for errors.
    pub fn last_words(&self) -> String {
        let bytes: Vec<u8> = if self.tail.is_empty() {
            self.head.clone()
        } else {
            self.tail.iter().copied().collect()
        };
        let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(2000)..]).into_owned();
        let lines: Vec<&str> =
            text.lines().rev().filter(|l| !l.trim().is_empty()).take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn lines_are_whole_however_they_come() {
        let lines = RefCell::new(Vec::new());
        let each = |line: &str| lines.borrow_mut().push(line.to_owned());
        let mut heard = Heard::default();
        for part in ["a", "b\nc\r\n", "\nd"] {
            heard.take(part.as_bytes(), &each);
        }
        heard.flush(&each);
        assert_eq!(*lines.borrow(), ["ab", "c", "", "d"]);
        assert_eq!(heard.last_words(), "ab; c; d");
        assert_eq!(heard.text(), "ab\nc\r\n\nd");
    }

    #[test]
    fn a_flood_keeps_its_beginning_and_its_end() {
        let mut heard = Heard::default();
        heard.take(b"first\n", &|_| {});
        for _ in 0..20 {
            heard.take(&vec![b'x'; 1 << 20], &|_| {});
        }
        heard.take(b"\nlast", &|_| {});
        let text = heard.text();
        assert!(text.len() < 2 * KEEP + 100);
        assert!(text.starts_with("first") && text.ends_with("last") && text.contains("left out"));
    }
}
