//! What the scripts of a backup say, whatever that is.

use proptest::prelude::*;

use super::words::{facts, last_words, listed, part, position, quoted};
use crate::fuzz::fuzz;

#[test]
fn no_output_of_a_backup_panics() {
    let text = "(?s)(fact:|phase:|snapshot\t|binlog:|slave:|gtid:|there\t|taking\t|gtid_slave_pos|MASTER_LOG_FILE|MASTER_LOG_POS|[='\";, \n\t]{1,3}|[0-9]{1,9}|\\{|\\}|\"id\":|\\PC{0,4}){0,20}";
    fuzz(text, |text| {
        let _ = (position(&facts(&text)), last_words(&text), quoted(&text));
        for line in text.lines() {
            let _ = (
                listed(line, &text, "/b"),
                listed(&format!("snapshot\tthere\tx\t{line}"), "l", "/b"),
            );
        }
        let part = part(&text);
        prop_assert!(!part.contains('/') && !part.starts_with('.') && part.len() < 256, "{part:?}");
        Ok(())
    });
}
