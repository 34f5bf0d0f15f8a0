//! What a name may be. Servers, arrays and deployments may be called anything that a person can read, blanks and
//! quotes included; pools, hosts and inputs follow their own grammars, because they end up in configuration files.

use crate::Bad;

/// The longest name of a server, array or deployment, in bytes.
pub const LONGEST: usize = 200;

/// Checks the name of a server, array or deployment: not empty, no control characters, at most [`LONGEST`] bytes,
/// no blank at either end (it could not be seen).
pub fn object(kind: &str, name: &str) -> Result<(), Bad> {
    let bad = |what: String| {
        Err(Bad::new(
            what,
            format!("a {kind} name is 1 to {LONGEST} bytes without control characters"),
        ))
    };
    if name.is_empty() {
        return bad(format!("the {kind} name is empty"));
    }
    if name.len() > LONGEST {
        return bad(format!("the {kind} name has {} bytes", name.len()));
    }
    if name.chars().any(char::is_control) {
        return bad(format!("the {kind} name {name:?} holds a control character"));
    }
    if name.trim() != name {
        return bad(format!("the {kind} name {name:?} begins or ends with a blank"));
    }
    Ok(())
}

/// Checks a pool's name: it is a backend of HAProxy and part of a tag (`[A-Za-z0-9_.-]`, at most 64).
pub fn pool(name: &str) -> Result<(), Bad> {
    word("pool", name, 64, |c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// Names by which a process finds its programs, libraries and folders, or a shell what to run first; a last `*` stands
/// for any end. `RS_` is what the tools and a script's runner say of themselves.
const OF_THE_PROCESS: [&str; 10] =
    ["PATH", "HOME", "SHELL", "IFS", "ENV", "BASH_ENV", "BASHOPTS", "SHELLOPTS", "LD_*", "RS_*"];

/// Checks the name of an input that gets a value: [`input_word`], and none of the process's own environment, which a
/// script and our helpers beside it live on.
pub fn input(name: &str) -> Result<(), Bad> {
    input_word(name)?;
    let taken = OF_THE_PROCESS.iter().any(|own| match own.strip_suffix('*') {
        Some(begin) => name.starts_with(begin),
        None => name == *own,
    });
    if taken {
        return Err(Bad::new(
            format!("the input {name} would replace the process's own {name}"),
            format!(
                "call it otherwise: {} are not for inputs; one that is there can be unset",
                OF_THE_PROCESS.join(", ")
            ),
        ));
    }
    Ok(())
}

/// Checks how an input's name is written, `[A-Za-z_][A-Za-z0-9_]*`, since it becomes an environment variable.
pub fn input_word(name: &str) -> Result<(), Bad> {
    word("input", name, 128, |c| c.is_ascii_alphanumeric() || c == '_')?;
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Bad::new(
            format!("the input name {name:?} begins with a digit"),
            "begin it with a letter",
        ));
    }
    Ok(())
}

/// Checks a host name (RFC 1123, with `_` as DNS allows it): labels of 1 to 63, 253 in all.
pub fn host(name: &str) -> Result<(), Bad> {
    let plain = name.strip_suffix('.').unwrap_or(name);
    let good = !plain.is_empty()
        && plain.len() <= 253
        && plain.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
    if good {
        Ok(())
    } else {
        Err(Bad::new(format!("{name:?} is no host name"), "write it like test1.mysite.com"))
    }
}

/// The known names that somebody may have meant, the likeliest first, at most three: those that differ in case, blanks
/// or signs only, else those with a typing error or two.
pub fn alike<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let plain = |text: &str| {
        text.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase()
    };
    let wanted = plain(given);
    let errors = match wanted.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        _ => 2,
    };
    let mut found: Vec<(usize, &str)> = known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&plain(name), &wanted), name))
        .filter(|(far, _)| !wanted.is_empty() && *far <= errors)
        .collect();
    found.sort_by_key(|(far, _)| *far);
    if found.first().is_some_and(|(far, _)| *far == 0) {
        found.retain(|(far, _)| *far == 0);
    }
    found.into_iter().map(|(_, name)| name).take(3).collect()
}

/// [`alike`] as a hint, `did you mean "A" or "B"`; absent when nothing is.
pub fn did_you_mean<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let near: Vec<String> = alike(given, known).iter().map(|name| format!("{name:?}")).collect();
    (!near.is_empty()).then(|| format!("did you mean {}", near.join(" or ")))
}

/// Checks the name of a run, such as `u-42`: it becomes part of a tag (`[A-Za-z0-9_.-]`, at most 64).
pub fn run(name: &str) -> Result<(), Bad> {
    word("run", name, 64, |c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// Checks a tag that somebody writes: `namespace:predicate=value`, as the tools read them. A control plane may hold plain
/// ones of others; among ours it would be one with a slip, which nothing finds.
pub fn tag(tag: &str) -> Result<(), Bad> {
    object("tag", tag)?;
    let word = |word: &str, more: &str| {
        word.starts_with(|c: char| c.is_ascii_alphabetic())
            && word.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    // a predicate may hold a pool, a value anything
    let parts = tag
        .split_once('=')
        .and_then(|(key, value)| key.split_once(':').map(|(space, name)| (space, name, value)));
    match parts {
        Some((space, name, value))
            if word(space, "_") && word(name, "_.-") && !value.trim().is_empty() =>
        {
            Ok(())
        }
        _ => Err(Bad::new(
            format!("the tag {tag:?} is not namespace:predicate=value"),
            "write e.g. application:active_www=true",
        )),
    }
}

fn word(kind: &str, name: &str, longest: usize, fits: impl Fn(char) -> bool) -> Result<(), Bad> {
    if !name.is_empty() && name.len() <= longest && name.chars().all(fits) && !name.starts_with('-')
    {
        return Ok(());
    }
    Err(Bad::new(
        format!("{name:?} is no {kind} name"),
        format!("use letters, digits and `_` (pools and runs also `.` and `-`), at most {longest}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_be_called_anything_that_a_person_can_read() {
        for name in ["Load Balancer-1", "a;b", "$(reboot)", "it's \"this\"", "Ünï"] {
            object("server", name).unwrap();
        }
        object("server", &"x".repeat(200)).unwrap();
        for name in ["", " a", "a ", "a\nb", "a\u{0}", "a\u{7f}", &"x".repeat(201)] {
            object("server", name).unwrap_err();
        }
    }

    #[test]
    fn what_may_have_been_meant_is_offered_and_nothing_far_from_it() {
        let known = ["App Server-1", "App Server-2", "Master DB", "One"];
        assert_eq!(alike("app server 1", known), ["App Server-1"]);
        assert_eq!(alike("App Server-9", known), ["App Server-1", "App Server-2"]);
        assert_eq!(alike("Matser DB", known), ["Master DB"]);
        for given in ["", "-", "no", "Load Balancer"] {
            assert!(alike(given, known).is_empty(), "{given}");
        }
        assert_eq!(did_you_mean("one", known).unwrap(), "did you mean \"One\"");
    }

    #[test]
    fn a_tag_that_is_written_says_namespace_predicate_and_value() {
        for good in [
            "application:active_www=true",
            "load_balancer:active_shop-2.eu=true",
            "database:master_active=a `b`; $(c) = d:e",
            "rs_agent:mime_shellscript=https://a.example/10.6.0/boot.sh",
            "X:y=1",
        ] {
            tag(good).unwrap();
        }
        for bad in [
            "",
            "nocolon",
            "novalue:here",
            "nothing:here=",
            "nothing:here= ",
            "application.active_www=true",
            "application=active:www",
            ":active_www=true",
            "application:=true",
            "app lication:active_www=true",
            "application:active www=true",
            "application-x:active_www=true",
            "1a:active_www=true",
            "application:active_www=tr\nue",
            " application:active_www=true",
        ] {
            tag(bad).expect_err(bad);
        }
    }

    #[test]
    fn pools_inputs_and_hosts_have_grammars() {
        pool("www").unwrap();
        pool("www;disable frontend www").unwrap_err();
        pool("-x").unwrap_err();
        input("LB_HOSTNAME").unwrap();
        input("A B").unwrap_err();
        input("1A").unwrap_err();
        for own in ["PATH", "LD_PRELOAD", "HOME", "IFS", "BASH_ENV", "ENV", "SHELL", "RS_STATE"] {
            assert!(input(own).unwrap_err().what.contains(own), "{own}");
            input_word(own).unwrap();
        }
        for near in ["SVN_PATH", "PATH_INFO", "HOMES", "BUILD_ENV", "RS", "LDAP_HOST", "path"] {
            input(near).unwrap();
        }
        host("test1.mysite.com").unwrap();
        host("test1.mysite.com\nquit").unwrap_err();
        host("a..b").unwrap_err();
        for bad in ["", "-a.b", "a-.b", ".", "a b", "ü.de"] {
            host(bad).unwrap_err();
        }
        let label = |long: usize| "x".repeat(long);
        host(&label(63)).unwrap();
        host(&label(64)).unwrap_err();
        let dotted = |last: usize| [label(63), label(63), label(63), label(last)].join(".");
        host(&dotted(61)).unwrap();
        host(&format!("{}.", dotted(61))).unwrap();
        host(&dotted(62)).unwrap_err();
        // what becomes a variable, a tag or a word of a configuration file
        for bad in ["", "ÜBER", "A-B", "A=B", "A;B", &"A".repeat(129)] {
            input(bad).unwrap_err();
        }
        for (name, good) in [("u-1.a_b", true), ("u:1", false), ("u=1", false), ("-u", false)] {
            assert_eq!((run(name).is_ok(), pool(name).is_ok()), (good, good), "{name}");
        }
        for (long, good) in [(64, true), (65, false)] {
            let name = label(long);
            assert_eq!((run(&name).is_ok(), pool(&name).is_ok()), (good, good), "{long}");
        }
        assert!(run("").is_err() && pool("").is_err());
    }
}
