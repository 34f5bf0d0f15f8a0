//! What HAProxy answers and what its file says, whatever that is.

use std::net::IpAddr;

use proptest::prelude::*;

use super::config::{Wanted, backend, binds, page_rules, split};
use super::words;
use crate::fuzz::fuzz;

const ANSWER: &str = "(?s)(1\n|# |be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_port|pxname,svname|\
    www|127\\.0\\.0\\.1|[0-9]{1,12}|#<PID>|workers|old workers|[,\"; :\n\t-]{1,3}|\\PC{0,4}){0,20}";

#[test]
fn no_answer_of_the_runtime_panics() {
    fuzz(ANSWER, |text| {
        let head = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_port\n";
        for reply in [
            text.clone(),
            format!("{head}{text}"),
            format!("# pxname,svname,{text}"),
            format!("#<PID>\n{text}"),
        ] {
            let _ = words::servers_state("here", "show", &reply);
            let _ = words::stat("here", "show", &reply);
            let _ = words::map_value("here", "show", &reply, "www");
            let _ = words::processes("here", &reply);
            let _ = (words::info(&reply, "Pid"), words::silent("here", "set", &reply));
        }
        Ok(())
    });
}

#[test]
fn what_is_told_to_the_runtime_is_one_command_of_plain_words() {
    fuzz(("\\PC{0,12}|[a-z;\n ]{0,6}", "\\PC{0,8}|[a-z\n;|]{0,6}"), |(one, two)| {
        for told in [
            words::show_map(&one),
            words::set_map(&one, &two, "on"),
            words::add_map(&one, "www", &two),
            words::show_state(&one),
            words::del_server(&one, &two),
        ]
        .into_iter()
        .flatten()
        {
            prop_assert!(!told.contains([';', '\n', '\r', '<']), "{told:?}");
        }
        Ok(())
    });
}

#[test]
fn members_that_were_written_are_read_back_and_the_rest_stays() {
    let line = "[ \t]{0,2}(global|defaults|frontend f|bind 127\\.0\\.0\\.1:80|bind :[0-9]{1,3}-[0-9]{1,3}|bind [a-z@:/\\[\\]]{0,9}|server a 127\\.0\\.0\\.9:80 check|\
        default-server inter 2s|option x|use_backend be|# rs-members begin other|\\PC{0,20}|[\"'\\\\#$\\{\\}A a-]{0,8})";
    let lines = || proptest::collection::vec(line, 0..6);
    let members = proptest::collection::btree_map(1_u8..9, any::<bool>(), 0..4);
    fuzz((lines(), lines(), lines(), members), |(before, between, after, members)| {
        let none = |_: &str| None;
        let text = format!(
            "{}\nbackend be\n{}\n  # rs-members begin www\n  # rs-members end www\nbackend last\n{}\n",
            before.join("\n"),
            between
                .iter()
                .filter(|line| !line.contains("global") && !line.contains("defaults"))
                .cloned()
                .collect::<Vec<_>>()
                .join("\n"),
            after.join("\n")
        );
        for line in text.lines() {
            let _ = split(line, &none);
        }
        let _ = (binds(&text, "be", &none), page_rules(&text, "be", "/m", &none));
        let Some(found) = backend(&text, "be", "www", &none) else { return Ok(()) };
        let wanted: Vec<Wanted> = members
            .iter()
            .map(|(last, disabled)| Wanted {
                name: format!("m{last}"),
                address: IpAddr::from([127, 9, 9, *last]),
                port: 80,
                disabled: *disabled,
            })
            .collect();
        let Ok(new) = found.rewrite(&text, &wanted) else { return Ok(()) };
        let read = backend(&new, "be", "www", &none).ok_or_else(|| TestCaseError::fail("gone"))?;
        for one in &wanted {
            let line = read.line_of(one.address, one.port, &one.name);
            prop_assert!(
                line.is_some_and(|l| read.is_ours(l) && l.disabled == one.disabled),
                "{new}"
            );
        }
        let again = read.rewrite(&new, &wanted).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(&again, &new);
        let rest = |text: &str| {
            let (head, tail) = text.split_once("# rs-members begin www").unwrap();
            (head.to_owned(), tail.split_once("# rs-members end www").unwrap().1.to_owned())
        };
        prop_assert_eq!(rest(&new), rest(&text));
        Ok(())
    });
}
