use std::path::{Path, PathBuf};

use crate::scene::{Scene, demo_dir, hand_over, unprivileged};
use crate::servers::Db;

/// What a fresh data directory is made with and run with.
const OPTIONS: &str = "secure-file-priv=NULL\nmysqlx=OFF\ngtid-mode=ON\nenforce-gtid-consistency=ON\n\
                       innodb-buffer-pool-size=64M\ninnodb-redo-log-capacity=16M\n\
                       cte-max-recursion-depth=1000000\n";

/// What is added to the option file of a database that is MySQL.
pub fn mysql_options() -> String {
    format!("{OPTIONS}plugin-load-add=mysql_clone.so\n")
}

impl Scene {
    /// Gives a database that is MySQL an empty data directory.
    pub(crate) fn install_mysql(&self, db: &Db) {
        let image = image(&self.program("mysqld"));
        let copied = unprivileged(Path::new("/bin/cp"))
            .arg("-a")
            .arg(image)
            .arg(db.dir.join("data"))
            .status()
            .unwrap();
        assert!(copied.success());
    }
}

/// An initialised data directory of this version, made once: it takes seconds each time.
fn image(daemon: &Path) -> PathBuf {
    let version = std::process::Command::new(daemon).arg("--version").output().unwrap();
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let number = version.split_whitespace().nth(2).unwrap();
    let folder = demo_dir().join("images");
    std::fs::create_dir_all(&folder).unwrap();
    hand_over(&folder);
    let lock = std::fs::File::create(folder.join(".lock")).unwrap();
    lock.lock().unwrap();
    let image = folder.join(format!("mysql-{number}"));
    if image.is_dir() {
        return image;
    }
    let new = folder.join("new");
    let _ = std::fs::remove_dir_all(&new);
    let options = folder.join("new.cnf");
    std::fs::write(&options, format!("[mysqld]\n{OPTIONS}")).unwrap();
    let made = unprivileged(daemon)
        .arg(format!("--defaults-file={}", options.display()))
        .arg(format!("--datadir={}", new.display()))
        .args(["--initialize-insecure", "--skip-log-bin"])
        .output()
        .unwrap();
    assert!(made.status.success(), "mysqld: {}", String::from_utf8_lossy(&made.stderr));
    // each server makes an identity of its own
    let _ = std::fs::remove_file(new.join("auto.cnf"));
    std::fs::rename(&new, &image).unwrap();
    image
}
