//! Where an attempt of a migration left the master: what is there beyond the hold is excused only where it is the
//! migration's own.

use serde::{Deserialize, Serialize};

use crate::price::Moment;

/// The newest attempt of a migration, as the state store keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// RFC 3339 UTC.
    pub begun: String,
    /// Where its end left the master; absent: it was cut off, and what it sent may have gone on.
    pub left: Option<Moment>,
}

/// What is known of a master since a copy of it was held.
#[derive(Clone, Debug, Default)]
pub struct Since {
    /// When the copy was held, or fenced; RFC 3339 UTC.
    pub held_at: String,
    /// The copy is an abandoned master: it was held before it was fenced, and promoted since.
    pub fenced: bool,
    /// The newest attempt of the migration.
    pub attempt: Option<Attempt>,
    /// Where the master was when it was abandoned for another, the last time since the attempt was begun.
    pub abandoned: Option<Moment>,
    /// Each act that switched writes on, or found them on: when, and its verb.
    pub opened: Vec<(String, String)>,
}

/// Where the newest attempt left a master.
#[derive(Clone, Debug, PartialEq)]
pub enum Left<'a> {
    /// Here: what came after is not the migration's.
    At(&'a Moment),
    /// It was cut off, and writes were on since: by the act of this time and verb.
    Opened(&'a str, &'a str),
    /// It was cut off, and no writes were on since: what is there is its own.
    Alone,
    /// There was none since the hold, or nobody knows where it left the master: nothing is excused.
    Unknown,
}

impl Since {
    /// Where the newest attempt left the master. One that was cut off left it at no known place, until the master was
    /// abandoned: then nobody may have switched writes on meanwhile.
    pub fn left(&self) -> Left<'_> {
        let attempt = self.attempt.as_ref().filter(|one| self.fenced || one.begun > self.held_at);
        let Some(attempt) = attempt else { return Left::Unknown };
        if let Some(left) = &attempt.left {
            return Left::At(left);
        }
        let opened = |to: Option<&str>| {
            let begun = attempt.begun.as_str();
            self.opened
                .iter()
                .find(|(at, _)| at.as_str() >= begun && to.is_none_or(|to| at.as_str() <= to))
        };
        if let Some(moment) = self.abandoned.as_ref().filter(|moment| moment.at > attempt.begun) {
            return match opened(Some(&moment.at)) {
                None => Left::At(moment),
                Some(_) => Left::Unknown,
            };
        }
        match opened(None) {
            _ if self.fenced => Left::Unknown,
            Some((at, verb)) => Left::Opened(at, verb),
            None => Left::Alone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(at: &str) -> Moment {
        Moment { at: at.into(), position: crate::Position::default(), canaries: 0 }
    }

    fn cut_off() -> Since {
        let attempt = Attempt { begun: "02".into(), left: None };
        Since { held_at: "01".into(), attempt: Some(attempt), ..Since::default() }
    }

    fn opened(at: &str) -> Vec<(String, String)> {
        vec![(at.into(), "writes on".into())]
    }

    #[test]
    fn an_attempt_that_ended_left_it_at_a_place_and_none_or_an_earlier_one_at_none() {
        let place = moment("03");
        let ended = Attempt { begun: "02".into(), left: Some(place.clone()) };
        let since = Since { attempt: Some(ended), opened: opened("04"), ..cut_off() };
        assert_eq!(since.left(), Left::At(&place));
        assert_eq!(Since { held_at: "02".into(), ..since.clone() }.left(), Left::Unknown);
        let fenced = Since { held_at: "05".into(), fenced: true, ..since };
        assert_eq!(fenced.left(), Left::At(&place));
        assert_eq!(Since { attempt: None, ..cut_off() }.left(), Left::Unknown);
    }

    #[test]
    fn one_that_was_cut_off_excuses_all_until_somebody_else_could_write() {
        assert_eq!(cut_off().left(), Left::Alone);
        assert_eq!(Since { opened: opened("01"), ..cut_off() }.left(), Left::Alone);
        let since = Since { opened: opened("02"), ..cut_off() };
        assert_eq!(since.left(), Left::Opened("02", "writes on"));
        assert_eq!(Since { fenced: true, ..cut_off() }.left(), Left::Unknown);
    }

    #[test]
    fn one_whose_master_was_abandoned_is_known_up_to_there_where_no_writes_were_on_before() {
        let place = moment("03");
        let since = Since { abandoned: Some(place.clone()), ..cut_off() };
        assert_eq!(since.left(), Left::At(&place));
        assert_eq!(Since { opened: opened("04"), ..since.clone() }.left(), Left::At(&place));
        assert_eq!(Since { opened: opened("03"), ..since.clone() }.left(), Left::Unknown);
        assert_eq!(Since { fenced: true, ..since.clone() }.left(), Left::At(&place));
        let before = Since { abandoned: Some(moment("01")), ..since };
        assert_eq!(before.left(), Left::Alone);
    }
}
