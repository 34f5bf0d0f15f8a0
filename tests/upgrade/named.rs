//! What the settings name is there and is what the steps take it for; what is to be made is not there yet. Told before
//! anything is made.

use super::site::Site;

/// A line of the settings, what stands in its place, the exit code and a part of what is said.
const WRONG: [(&str, &str, i32, &str); 16] = [
    (
        "APP_LIKE=",
        "Load Balancer-1",
        5,
        "APP_LIKE is 'Load Balancer-1', which is there and has not the role app",
    ),
    (
        "TEST_LB_LIKE=",
        "App Server-1",
        5,
        "TEST_LB_LIKE is 'App Server-1', which is there and has not the role lb",
    ),
    (
        "OLD_ARRAY=",
        "App Server-1",
        5,
        "OLD_ARRAY is 'App Server-1', which is there and has not the role array",
    ),
    (
        "WARM=",
        "App Server-1 => Slave2 DB",
        5,
        "WARM is 'App Server-1', which is there and has not the role db",
    ),
    ("WARM=", "Slave 7 DB => Slave2 DB", 4, "WARM names what is not there: Slave 7 DB"),
    ("WARM=", "Slave DB => Master DB", 5, "WARM is 'Master DB', which is there already"),
    ("TEST_LB=", "Load Balancer-2", 5, "TEST_LB is 'Load Balancer-2', which is there already"),
    ("NEW_ARRAY=", "App Server-2", 5, "NEW_ARRAY is 'App Server-2', which is there already"),
    (
        "NEW_ARRAY_MIN=",
        "900",
        2,
        "NEW_ARRAY_MIN is 900, and 'array-1', whose copy it is for, has 4 instances at most",
    ),
    (
        "TEST_HOST=",
        "WWW.mysite.test",
        2,
        "TEST_HOST is 'WWW.mysite.test', which is the name of the site itself",
    ),
    (
        "RELEASE=APPLICATION=",
        "blank\nRELEASE=NO_SUCH=text:1",
        2,
        "App Server-1 refuses inputs of the release",
    ),
    (
        "RELEASE=APPLICATION=",
        "blank\nRELEASE=LB_HOSTNAME=text:new.mysite.test",
        2,
        "RELEASE and ISOLATION both set LB_HOSTNAME",
    ),
    (
        "OLD_ARRAY=",
        "",
        5,
        "the array 'array-1' is on and has instances in the pool 'www', and the settings do not name it",
    ),
    ("MIGRATION_SCRIPT=", "no such", 4, "MIGRATION_SCRIPT names what is not there"),
    (
        "MIGRATION_SCRIPT=",
        "\nMIGRATION_SQL=/nowhere/migrate.sql",
        2,
        "MIGRATION_SQL names a file that cannot be read: /nowhere/migrate.sql",
    ),
    (
        "MIGRATION_SCRIPT=",
        "\nMIGRATION_SQL=PLACE/refused.sql",
        2,
        "refused.sql: line 2: what may be done twice when it is cut off, or what nothing shows, (PREPARE) is refused",
    ),
];

/// By a dry run, and by the run itself, which then has done nothing.
pub fn wrong_names_are_told_before_anything_is_made(site: &Site) {
    let conf = site.place.join("upgrade.conf");
    let settings = std::fs::read_to_string(&conf).unwrap();
    let servers = || site.tool("rs-server").args(["list", "--all"]).run().exits(0).stdout;
    let before = servers();
    let place = site.place.display().to_string();
    let sql = "CREATE TABLE one (a INT);\nPREPARE p FROM 'UPDATE t SET a = a + 1';\n";
    std::fs::write(site.place.join("refused.sql"), sql).unwrap();
    for (at, (setting, value, exit, says)) in WRONG.into_iter().enumerate() {
        let line = settings.lines().find(|line| line.starts_with(setting)).unwrap();
        std::fs::write(
            &conf,
            settings.replace(line, &format!("{setting}{value}").replace("PLACE", &place)),
        )
        .unwrap();
        // one of the two each time: what says it is the same
        let args: &[&str] = if at % 2 == 0 { &["--dry-run"] } else { &["--until", "3"] };
        let ran = site.run("scripts/upgrade.sh", args).exits(exit).says(says);
        assert!(!ran.stderr.contains("))\n"), "a hint in brackets twice\n{ran}");
        assert!(!ran.stderr.contains("back from here"), "a step was begun\n{ran}");
    }
    std::fs::write(&conf, settings).unwrap();
    assert_eq!(servers(), before);
    let marks = ["show", "--run", "u-1", "--allow-none"];
    assert_eq!(site.tool("rs-journal").args(marks).run().exits(0).stdout, "");
}
