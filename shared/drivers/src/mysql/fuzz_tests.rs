//! What the databases answer, whatever that is.

use proptest::prelude::*;

use super::conn::Row;
use super::dialect::{MARIADB, MYSQL, choose, fill, literal, name};
use super::facts::channel;
use crate::fuzz::fuzz;

#[test]
fn no_row_of_a_status_panics_and_no_hole_in_it_is_a_value() {
    let value = proptest::option::of(
        "Yes|No|Connecting|None|[0-9]{0,11}|-?[0-9]{1,3}|0-1-[0-9]{1,20}|\\PC{0,8}",
    );
    for dialect in [&MARIADB, &MYSQL] {
        let columns = &dialect.columns;
        let mut names = vec![
            columns.name,
            columns.host,
            columns.port,
            columns.server_id,
            columns.io,
            columns.sql,
            columns.behind,
            columns.delay,
            columns.until,
            columns.gtid.0,
            columns.received,
        ];
        names.extend(columns.errors.iter().flat_map(|(errno, text)| [*errno, *text]));
        names.extend(columns.filters);
        fuzz(
            (proptest::collection::vec(value.clone(), names.len()), 0..names.len()),
            |(values, gone)| {
                let mut row: Row =
                    names.iter().map(|name| (*name).to_owned()).zip(values).collect();
                if let Ok(read) = channel(&row, columns) {
                    for must in [columns.io, columns.sql, columns.delay, columns.port] {
                        prop_assert!(row[must].is_some(), "{must} was NULL: {read:?}");
                    }
                }
                let _ = row.remove(names[gone]);
                prop_assert!(channel(&row, columns).is_err(), "{} is not needed", names[gone]);
                Ok(())
            },
        );
    }
}

#[test]
fn a_value_stays_within_its_quotes() {
    fuzz("(?s)[^\\x00]{0,12}|['\"`\\\\\n{}]{0,6}", |text| {
        let _ = choose(&text);
        let inner = literal(&text);
        prop_assert!(
            inner.len() >= 2 && inner.starts_with('\'') && inner.ends_with('\''),
            "{inner}"
        );
        let mut chars = inner[1..inner.len() - 1].chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' => prop_assert!(chars.next().is_some(), "{inner}"),
                '\'' => prop_assert_eq!(chars.next(), Some('\''), "{}", inner),
                _ => {}
            }
        }
        let quoted = name(&text);
        let body = &quoted[1..quoted.len() - 1];
        prop_assert!(!body.replace("``", "").contains('`'), "{quoted}");
        // what is put in is not looked at again
        prop_assert_eq!(fill("{a} {b}", &[("a", &text), ("b", "x")]), format!("{text} x"));
        Ok(())
    });
}
