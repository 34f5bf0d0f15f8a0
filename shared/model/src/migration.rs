//! How far a migration came, and with it the schema: old, half or new.

use serde::{Deserialize, Serialize};

use crate::check::enough;
use crate::{Answer, Check};

/// A migration as the database keeps it beside the data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// What makes it happen once.
    pub token: String,
    /// The schema that it changes.
    pub schema: String,
    /// How many statements it has; a script is one.
    pub statements: usize,
    /// How many of them were begun.
    pub begun: usize,
    /// How many of them are done.
    pub done: usize,
    /// Whether somebody runs it now, as this server knows.
    pub running: bool,
    /// When it was begun, as the server writes times: these sort.
    pub begun_at: String,
}

/// How far a migration came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It changed nothing so far.
    #[serde(rename = "not begun")]
    NotBegun,
    /// Somebody runs it.
    #[serde(rename = "running")]
    Running,
    /// All of it is done.
    #[serde(rename = "done")]
    Done,
    /// It was begun, is not done, and nobody runs it: it failed or was cut off.
    #[serde(rename = "failed")]
    Failed,
}

impl Stage {
    /// As it stands in records.
    pub fn word(self) -> &'static str {
        match self {
            Stage::NotBegun => "not begun",
            Stage::Running => "running",
            Stage::Done => "done",
            Stage::Failed => "failed",
        }
    }
}

impl Migration {
    /// How far it came.
    pub fn stage(&self) -> Stage {
        if self.done >= self.statements && self.statements > 0 {
            Stage::Done
        } else if self.running {
            Stage::Running
        } else if self.begun > 0 {
            Stage::Failed
        } else {
            Stage::NotBegun
        }
    }

    /// In words.
    pub fn words(&self) -> String {
        format!(
            "the migration {:?} of {:?} is {}: {} of {} statements are done",
            self.token,
            self.schema,
            self.stage().word(),
            self.done,
            self.statements
        )
    }
}

/// What a server's schemas are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SchemaState {
    /// No migration has changed them.
    Old,
    /// A migration was begun and is not done: neither release can live with it.
    Half,
    /// The newest migration is done.
    New,
}

impl SchemaState {
    /// As it stands in records.
    pub fn word(self) -> &'static str {
        match self {
            SchemaState::Old => "old",
            SchemaState::Half => "half",
            SchemaState::New => "new",
        }
    }
}

/// The migrations that leave a schema half: begun, not done, and no later one of the same schema came to its end
/// (somebody put it right under a new token).
pub fn half(migrations: &[Migration]) -> Vec<&Migration> {
    let put_right = |half: &Migration| {
        migrations.iter().any(|later| {
            later.schema == half.schema
                && later.stage() == Stage::Done
                && later.begun_at > half.begun_at
        })
    };
    migrations
        .iter()
        .filter(|one| matches!(one.stage(), Stage::Running | Stage::Failed))
        .filter(|one| one.running || !put_right(one))
        .collect()
}

/// The migrations that `mine` has begun, or gone on with, and `theirs` has not.
pub fn ahead<'a>(mine: &'a [Migration], theirs: &[Migration]) -> Vec<&'a Migration> {
    let far = |one: &Migration| (one.begun, one.done);
    let known = |one: &Migration| {
        let same = theirs.iter().find(|other| other.token == one.token);
        same.map_or((0, 0), far)
    };
    mine.iter().filter(|one| one.stage() != Stage::NotBegun && known(one) != far(one)).collect()
}

/// What a server's schemas are. With a token, as that migration alone made them: a run asks for its own.
pub fn schema_state(migrations: &[Migration], token: Option<&str>) -> SchemaState {
    let mine = |one: &&Migration| token.is_none_or(|token| one.token == token);
    if half(migrations).iter().any(&mine) {
        SchemaState::Half
    } else if migrations.iter().filter(mine).any(|one| one.stage() == Stage::Done) {
        SchemaState::New
    } else {
        SchemaState::Old
    }
}

/// The name of [`judge_room`]'s answer.
pub const ROOM: &str = "space for the migration";

/// Whether a server has room for a change that copies a table: the table once more, and half of it again for what is
/// written meanwhile. What is not known is unknown, which is not ok.
pub fn judge_room(server: &str, free: Result<u64, String>, table: Result<u64, String>) -> Check {
    let (free, table) = match (free, table) {
        (Ok(free), Ok(table)) => (free, table),
        (Err(why), _) | (_, Err(why)) => {
            return Check::new(ROOM, server, Answer::Unknown, why)
                .hint("look there by hand, then go on by the name of this condition");
        }
    };
    enough(ROOM, server, free, table.saturating_add(table / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(token: &str, begun: usize, done: usize, at: &str) -> Migration {
        Migration {
            token: token.into(),
            schema: "shop".into(),
            statements: 3,
            begun,
            done,
            running: false,
            begun_at: at.into(),
        }
    }

    #[test]
    fn a_schema_is_old_half_or_new() {
        let running = Migration { running: true, ..one("a", 1, 0, "1") };
        for (migrations, state) in [
            (vec![], SchemaState::Old),
            (vec![one("a", 0, 0, "1")], SchemaState::Old),
            (vec![one("a", 1, 0, "1")], SchemaState::Half),
            (vec![one("a", 3, 2, "1")], SchemaState::Half),
            (vec![Migration { running: true, ..one("a", 0, 0, "1") }], SchemaState::Half),
            (vec![one("a", 3, 3, "1")], SchemaState::New),
            // an earlier one that was left half is put right by a later one of the same schema, and by no other
            (vec![one("a", 2, 1, "1"), one("b", 3, 3, "2")], SchemaState::New),
            (vec![one("a", 2, 1, "2"), one("b", 3, 3, "1")], SchemaState::Half),
            (vec![one("a", 2, 1, "1"), one("b", 3, 3, "1")], SchemaState::Half),
            (vec![one("a", 3, 3, "1"), one("b", 1, 0, "2")], SchemaState::Half),
            (vec![running, one("b", 3, 3, "2")], SchemaState::Half),
            (vec![one("a", 2, 1, "1"), one("b", 0, 0, "2")], SchemaState::Half),
            (vec![Migration { statements: 0, ..one("a", 0, 0, "1") }], SchemaState::Old),
        ] {
            assert_eq!(schema_state(&migrations, None), state, "{migrations:?}");
        }
        let other = Migration { schema: "crm".into(), ..one("b", 3, 3, "2") };
        assert_eq!(schema_state(&[one("a", 2, 1, "1"), other], None), SchemaState::Half);
    }

    #[test]
    fn what_a_copy_lacks_of_migrations_is_told_and_what_changed_nothing_is_none() {
        let mine = [one("a", 3, 3, "1"), one("b", 2, 1, "2"), one("c", 0, 0, "3")];
        let tokens = |theirs: &[Migration]| -> Vec<String> {
            ahead(&mine, theirs).iter().map(|one| one.token.clone()).collect()
        };
        assert_eq!(tokens(&[]), ["a", "b"]);
        assert_eq!(tokens(&mine), Vec::<String>::new());
        assert_eq!(tokens(&[one("a", 3, 3, "1"), one("b", 1, 0, "2")]), ["b"]);
    }

    #[test]
    fn a_copy_needs_the_table_and_half_of_it_again() {
        let ask = |free, table| judge_room("M", free, table).answer;
        assert_eq!(ask(Ok(150), Ok(100)), Answer::Ok);
        assert_eq!(ask(Ok(149), Ok(100)), Answer::No);
        assert_eq!(ask(Ok(u64::MAX - 1), Ok(u64::MAX)), Answer::No);
        assert_eq!(ask(Ok(0), Ok(0)), Answer::Ok);
        assert_eq!(ask(Err("no channel".into()), Ok(0)), Answer::Unknown);
        assert_eq!(ask(Ok(9), Err("no answer".into())), Answer::Unknown);
    }

    #[test]
    fn a_run_asks_for_its_own_migration() {
        let all = [one("u-1", 3, 3, "1"), one("u-2", 2, 1, "2")];
        assert_eq!(schema_state(&all, Some("u-1")), SchemaState::New);
        assert_eq!(schema_state(&all, Some("u-2")), SchemaState::Half);
        assert_eq!(schema_state(&all, Some("u-3")), SchemaState::Old);
    }

    #[test]
    fn a_black_box_is_not_begun_running_done_or_failed() {
        let script = |begun, done, running| {
            Migration { statements: 1, running, ..one("s", begun, done, "1") }.stage().word()
        };
        assert_eq!(script(0, 0, false), "not begun");
        assert_eq!(script(1, 0, true), "running");
        assert_eq!(script(1, 1, false), "done");
        assert_eq!(script(1, 0, false), "failed");
    }
}
