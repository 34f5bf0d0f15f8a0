//! YAML as right_st's files are written in: a tree that keeps each scalar as written and each line number.
//!
//! Only the first document counts. Where YAML 1.1 and 1.2 differ (`yes`, `on`, `0022`), the reader of a field
//! decides by what it wants, so that text stays text and a boolean may be written the old way.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, Span};
use rs_contract::{Error, Kind};
use rs_model::name;

/// Nodes in one file, aliases expanded: a bomb of aliases ends here.
const MOST_NODES: usize = 200_000;

/// Faults that one message names: of a file that is none of ours, nobody wants to read every line.
const MOST_FAULTS: usize = 20;

/// A file, for messages; a metadata block's lines are those of the script that it stands in.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Source {
    /// As it is shown.
    pub file: String,
    /// Line of the file for each line of the text, from 0; empty: the same.
    pub lines: Vec<usize>,
}

/// What is wrong with a file, where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// File and line with what is wrong.
    pub what: String,
    /// What to write instead.
    pub hint: String,
}

/// All that is wrong with some files, so that one reading names all of it.
#[derive(Debug, Default)]
pub(crate) struct Faults(pub Vec<Fault>);

impl Faults {
    /// Adds one.
    pub fn add(&mut self, at: &Source, line: usize, what: &str, hint: impl Into<String>) {
        let fault = at.fault(line, what, hint);
        if !self.0.contains(&fault) {
            self.0.push(fault);
        }
    }

    /// Nothing is wrong, or the one error that names everything.
    pub fn check(self) -> Result<(), Error> {
        let Some(first) = self.0.first() else { return Ok(()) };
        let hint = if self.0.len() == 1 {
            first.hint.clone()
        } else {
            let mut hints: Vec<&str> = Vec::new();
            for fault in self.0.iter().take(MOST_FAULTS) {
                if !hints.contains(&fault.hint.as_str()) {
                    hints.push(&fault.hint);
                }
            }
            hints.join("; ")
        };
        let what: Vec<&str> =
            self.0.iter().take(MOST_FAULTS).map(|fault| fault.what.as_str()).collect();
        let more = match self.0.len().saturating_sub(MOST_FAULTS) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        Err(Error::new(Kind::Usage, what.join("; ") + &more).hint(hint))
    }
}

impl Source {
    /// A file.
    pub fn file(name: impl Into<String>) -> Source {
        Source { file: name.into(), lines: Vec::new() }
    }

    /// The line of the file for a line of the text.
    pub fn line(&self, line: usize) -> usize {
        self.lines.get(line.saturating_sub(1)).or(self.lines.last()).copied().unwrap_or(line)
    }

    /// `FILE:LINE`.
    pub fn place(&self, line: usize) -> String {
        format!("{}:{}", self.file, self.line(line))
    }

    /// Something wrong at a line.
    pub fn fault(&self, line: usize, what: &str, hint: impl Into<String>) -> Fault {
        Fault { what: format!("{}: {what}", self.place(line)), hint: hint.into() }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        Error::new(Kind::Usage, fault.what).hint(fault.hint)
    }
}

/// A node with the line where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// From 1.
    pub line: usize,
    /// What it is.
    pub kind: NodeKind,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NodeKind {
    /// Text as written; `plain` when it was not quoted.
    Scalar {
        /// The text.
        text: String,
        /// Neither quoted nor a block.
        plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the file; no key stands twice.
    Map(Vec<(Key, Node)>),
}

/// A key with its line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    /// As written.
    pub text: String,
    /// From 1.
    pub line: usize,
}

impl Node {
    /// Nothing, `~` or null.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, NodeKind::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// A scalar's text; null gives empty text.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            _ if self.is_null() => Some(""),
            NodeKind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// A boolean in any form of YAML 1.1, not quoted.
    pub fn boolean(&self) -> Option<bool> {
        let NodeKind::Scalar { text, plain: true } = &self.kind else { return None };
        match text.as_str() {
            "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
                Some(true)
            }
            "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off"
            | "OFF" => Some(false),
            _ => None,
        }
    }

    /// In words, for messages.
    pub fn is(&self) -> String {
        match &self.kind {
            _ if self.is_null() => "nothing".into(),
            NodeKind::Scalar { text, .. } if text.len() <= 60 => format!("{text:?}"),
            NodeKind::Scalar { .. } => "a text".into(),
            NodeKind::List(_) => "a list".into(),
            NodeKind::Map(_) => "a map".into(),
        }
    }
}

/// Reads the bytes of a file as text: UTF-8, or UTF-16 with a byte order mark.
pub(crate) fn decode(bytes: &[u8], at: &Source) -> Result<String, Fault> {
    let hint = "save it as UTF-8";
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes
            .chunks(2)
            .map(|pair| unit([pair[0], pair.get(1).copied().unwrap_or_default()]))
            .collect();
        String::from_utf16(&units).map_err(|_| at.fault(1, "is no UTF-16 text", hint))
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned()),
            Err(e) => {
                let line = bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
                Err(at.fault(line, "is no UTF-8 text", hint))
            }
        },
    }
}

/// The first document of a text; `None` when it is empty.
pub(crate) fn first_document(text: &str, at: &Source) -> Result<Option<Node>, Fault> {
    let mut tree =
        Tree { parser: Parser::new_from_str(text), at, anchors: BTreeMap::new(), nodes: 0 };
    loop {
        let (event, span) = tree.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(..) => {}
            Event::DocumentEnd | Event::StreamEnd => return Ok(None),
            event => {
                let node = tree.node(event, span)?;
                // a broken rest of the first document is still its fault
                tree.next()?;
                return Ok(Some(node));
            }
        }
    }
}

/// The one document of a text: what would not be read must not look as if it were.
pub(crate) fn only_document(text: &str, at: &Source) -> Result<Option<Node>, Fault> {
    let mut tree =
        Tree { parser: Parser::new_from_str(text), at, anchors: BTreeMap::new(), nodes: 0 };
    let mut found = None;
    loop {
        match tree.next()? {
            (Event::StreamEnd, _) => return Ok(found),
            (Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _) => {}
            (event, span) => {
                let node = tree.node(event, span)?;
                if found.is_some() && !node.is_null() {
                    let what = "begins a second document, and a site file is one";
                    return Err(at.fault(node.line, what, "write it into a file of its own"));
                }
                found = found.or(Some(node));
            }
        }
    }
}

struct Tree<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    at: &'a Source,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
}

impl<'a> Tree<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        match self.parser.next_event() {
            Some(Ok(found)) => Ok(found),
            Some(Err(e)) => Err(self.at.fault(
                e.marker().line(),
                &format!("is no YAML: {}", e.info()),
                "quote texts that hold `: `, ` #` or begin with a special character, and indent with blanks",
            )),
            None => Err(self.at.fault(1, "ends too early", "close what was begun")),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, Fault> {
        let line = span.start.line();
        self.count(1, line)?;
        let (anchor, kind) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let text_tag = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let plain = style == ScalarStyle::Plain && !text_tag;
                (anchor, NodeKind::Scalar { text: text.into_owned(), plain })
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.node(event, span)?),
                    }
                }
                (anchor, NodeKind::List(items))
            }
            Event::MappingStart(_, anchor, _) => (anchor, NodeKind::Map(self.map()?)),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(self.at.fault(
                        line,
                        "holds an alias to what it stands in",
                        "write it out",
                    ));
                };
                self.count(size(&node), line)?;
                return Ok(Node { line, ..node });
            }
            other => {
                return Err(self.at.fault(
                    line,
                    &format!("holds something unforeseen ({other:?})"),
                    "write plain YAML",
                ));
            }
        };
        let node = Node { line, kind };
        if anchor != 0 {
            self.count(size(&node), line)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn map(&mut self) -> Result<Vec<(Key, Node)>, Fault> {
        let mut own: Vec<(Key, Node)> = Vec::new();
        let mut merged: Vec<(Key, Node)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node(event, span)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span)?;
            let NodeKind::Scalar { text, plain } = key.kind else {
                return Err(self.at.fault(
                    key.line,
                    "has a key that is no text",
                    "keys are single words or texts",
                ));
            };
            if plain && text == "<<" {
                let sources = match value.kind {
                    NodeKind::List(items) => items,
                    kind => vec![Node { line: value.line, kind }],
                };
                for source in sources {
                    let NodeKind::Map(entries) = source.kind else {
                        return Err(self.at.fault(
                            source.line,
                            "merges what is no map",
                            "`<<` takes a map or a list of maps",
                        ));
                    };
                    for entry in entries {
                        if !merged.iter().any(|(key, _)| key.text == entry.0.text) {
                            merged.push(entry);
                        }
                    }
                }
                continue;
            }
            if let Some((first, _)) = own.iter().find(|(there, _)| there.text == text) {
                let what =
                    format!("{text:?} stands twice (first at {})", self.at.place(first.line));
                return Err(self.at.fault(key.line, &what, "write it once"));
            }
            own.push((Key { text, line: key.line }, value));
        }
        for entry in merged {
            if !own.iter().any(|(key, _)| key.text == entry.0.text) {
                own.push(entry);
            }
        }
        Ok(own)
    }

    fn count(&mut self, more: usize, line: usize) -> Result<(), Fault> {
        self.nodes += more;
        if self.nodes > MOST_NODES {
            return Err(self.at.fault(line, "is too large", "write less than 200,000 values"));
        }
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.kind {
        NodeKind::Scalar { .. } => 0,
        NodeKind::List(items) => items.iter().map(size).sum(),
        NodeKind::Map(entries) => entries.iter().map(|(_, node)| 1 + size(node)).sum::<usize>(),
    }
}

/// A map whose keys are known: each is taken once, what is left over is a fault with its line.
pub(crate) struct Fields<'a> {
    entries: Vec<&'a (Key, Node)>,
    at: &'a Source,
    /// What it describes, for messages, e.g. `the server`.
    what: String,
    known: &'static [&'static str],
}

impl<'a> Fields<'a> {
    /// Reads a node as such a map. Unknown keys are named at once; a node that is no map is one fault.
    pub fn of(
        node: &'a Node,
        at: &'a Source,
        what: &str,
        known: &'static [&'static str],
        faults: &mut Faults,
    ) -> Fields<'a> {
        let mut entries = Vec::new();
        match &node.kind {
            _ if node.is_null() => {}
            NodeKind::Map(map) => {
                for entry in map {
                    if known.contains(&entry.0.text.as_str()) {
                        entries.push(entry);
                    } else {
                        let what = format!("{what} has no key {:?}", entry.0.text);
                        let near = name::did_you_mean(&entry.0.text, known.iter().copied());
                        let hint =
                            near.unwrap_or_else(|| format!("its keys are {}", known.join(", ")));
                        faults.add(at, entry.0.line, &what, hint);
                    }
                }
            }
            _ => faults.add(
                at,
                node.line,
                &format!("{what} is {}", node.is()),
                format!("write a map with the keys {}", known.join(", ")),
            ),
        }
        Fields { entries, at, what: what.to_owned(), known }
    }

    /// The node of a key, when it is there.
    pub fn node(&self, key: &str) -> Option<&'a Node> {
        debug_assert!(self.known.contains(&key), "{key} is not declared");
        self.entries.iter().find(|(k, _)| k.text == key).map(|(_, node)| node)
    }

    /// A text; absent and null are `None`.
    pub fn text(&self, key: &str, faults: &mut Faults) -> Option<String> {
        let node = self.node(key).filter(|node| !node.is_null())?;
        let text = node.text();
        if text.is_none() {
            self.wants(node, key, "a text", faults);
        }
        text.map(str::to_owned)
    }

    /// A boolean.
    pub fn boolean(&self, key: &str, faults: &mut Faults) -> Option<bool> {
        let node = self.node(key).filter(|node| !node.is_null())?;
        let found = node.boolean();
        if found.is_none() {
            self.wants(node, key, "true or false, not quoted", faults);
        }
        found
    }

    /// A whole number from 0.
    pub fn number(&self, key: &str, faults: &mut Faults) -> Option<u32> {
        let node = self.node(key).filter(|node| !node.is_null())?;
        let found = node.text().and_then(|text| text.parse().ok());
        if found.is_none() {
            self.wants(node, key, "a whole number from 0", faults);
        }
        found
    }

    /// The items of a list; absent and null are empty.
    pub fn list(&self, key: &str, faults: &mut Faults) -> &'a [Node] {
        match self.node(key).filter(|node| !node.is_null()) {
            None => &[],
            Some(Node { kind: NodeKind::List(items), .. }) => items,
            Some(node) => {
                self.wants(node, key, "a list", faults);
                &[]
            }
        }
    }

    /// A list of texts.
    pub fn texts(&self, key: &str, faults: &mut Faults) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        for item in self.list(key, faults) {
            match item.text() {
                Some(text) if !text.is_empty() => found.push((text.to_owned(), item.line)),
                _ => self.wants(item, key, "a list of texts", faults),
            }
        }
        found
    }

    /// The entries of a map; absent and null are empty.
    pub fn map(&self, key: &str, faults: &mut Faults) -> &'a [(Key, Node)] {
        match self.node(key).filter(|node| !node.is_null()) {
            None => &[],
            Some(Node { kind: NodeKind::Map(entries), .. }) => entries,
            Some(node) => {
                self.wants(node, key, "a map", faults);
                &[]
            }
        }
    }

    /// Notes that a key holds something else than it should.
    pub fn wants(&self, node: &Node, key: &str, wanted: &str, faults: &mut Faults) {
        let what = format!("{key:?} of {} is {}", self.what, node.is());
        faults.add(self.at, node.line, &what, format!("{key} takes {wanted}"));
    }
}

/// A text as YAML: plain when that is safe, else in double quotes.
pub(crate) fn scalar(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "_-./:@$%=+, ()".contains(c);
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(safe)
        && !text.contains(": ")
        && !text.ends_with([' ', ':'])
        && Node { line: 0, kind: NodeKind::Scalar { text: text.to_owned(), plain: true } }
            .boolean()
            .is_none()
        && !["null", "Null", "NULL"].contains(&text);
    if plain { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || ('\u{2028}'..='\u{2029}').contains(&c) || c == '\u{feff}' => {
                out.push_str(&format!("\\U{:08X}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Option<Node>, Fault> {
        first_document(text, &Source::file("t.yml"))
    }

    #[test]
    fn scalars_stay_as_written_and_booleans_are_read_the_old_way() {
        let NodeKind::Map(map) =
            read("a: 0022\nb: yes\nc: 'yes'\nd:\ne: ~\n").unwrap().unwrap().kind
        else {
            panic!("no map")
        };
        assert_eq!(map[0].1.text(), Some("0022"));
        assert_eq!(map[1].1.boolean(), Some(true));
        assert_eq!(map[2].1.boolean(), None);
        assert!(map[3].1.is_null() && map[4].1.is_null());
        assert_eq!(map[1].0.line, 2);
    }

    #[test]
    fn a_repeated_key_and_an_alias_bomb_are_refused_with_their_line() {
        let fault = read("a: 1\nb: 2\na: 3\n").unwrap_err();
        assert!(fault.what.contains("t.yml:3") && fault.what.contains("t.yml:1"), "{fault:?}");
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for n in 1..12 {
            let of = n - 1;
            let list = vec![format!("*a{of}"); 10].join(", ");
            bomb.push_str(&format!("a{n}: &a{n} [{list}]\n"));
        }
        assert!(read(&bomb).unwrap_err().what.contains("too large"));
    }

    #[test]
    fn merged_fields_give_way_to_written_ones_and_later_documents_do_not_count() {
        let text = "x: &x {a: 1, b: 2}\ny: {b: 3, <<: *x}\n---\n: : broken [";
        let NodeKind::Map(map) = read(text).unwrap().unwrap().kind else { panic!("no map") };
        let NodeKind::Map(y) = &map[1].1.kind else { panic!("no map") };
        assert_eq!(y.len(), 2);
        assert_eq!(y[0].1.text(), Some("3"));
        assert_eq!(y[1].1.text(), Some("1"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(?s)[ \t\n:#&*<>\\[\\]{},'\"!|a-c~-]{0,80}|\\PC{0,60}") {
            let _ = read(&text);
        }

        #[test]
        fn a_written_text_reads_back(text in "(?s).{0,40}") {
            let written = format!("k: {}\n", scalar(&text));
            let node = read(&written).unwrap().unwrap();
            let NodeKind::Map(map) = node.kind else { panic!("no map") };
            prop_assert_eq!(map[0].1.text(), Some(text.as_str()));
        }
    }
}
