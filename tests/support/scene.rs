use std::cell::RefCell;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant};

use crate::ran::Call;

/// The project's folder.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The folder of the demo, where the engines are. `scripts/setup.sh` settles which: `$RS_DEMO_DIR`, `.demo`, or
/// another where servers cannot live in the checkout.
pub fn demo_dir() -> PathBuf {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE
        .get_or_init(|| {
            let asked =
                Command::new(root().join("scripts/setup.sh")).arg("place").output().unwrap();
            let said = String::from_utf8(asked.stdout).unwrap();
            assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
            std::fs::create_dir_all(said.trim_end()).unwrap();
            Path::new(said.trim_end()).canonicalize().unwrap()
        })
        .clone()
}

/// The folder that holds the built tools: beside the test binary.
pub fn tools() -> PathBuf {
    let mut dir = std::env::current_exe().unwrap();
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    dir
}

/// A program of the engines' folder, or of the machine.
pub fn program(name: &str) -> PathBuf {
    let mut folders = vec![demo_dir().join("engines/bin")];
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    folders.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is not there: run scripts/setup.sh servers"))
}

/// Which engines a scene's servers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engines {
    /// The machine's own: MariaDB, HAProxy 2.6 and later.
    Host,
    /// Unpacked beside them: MySQL 9 and HAProxy 3.
    Newer,
}

impl Engines {
    /// As `RS_DEMO_ENGINES` of scripts/demo/demo.sh has it.
    pub fn word(self) -> &'static str {
        match self {
            Engines::Host => "host",
            Engines::Newer => "newer",
        }
    }

    /// Folders of programs that come before the others.
    fn folders(self) -> Vec<PathBuf> {
        let folder = |name: &str| demo_dir().join("engines").join(name).join("bin");
        match self {
            Engines::Host => Vec::new(),
            Engines::Newer => vec![folder("mysql"), folder("haproxy3")],
        }
    }
}

/// Makes a test of a function for each of the [`Engines`]: `NAME::host` and `NAME::newer`.
#[macro_export]
macro_rules! each_engine {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn host() {
                super::$name($crate::Engines::Host);
            }
            #[test]
            #[cfg_attr(rs_no_engines, ignore = "run scripts/setup.sh engines mysql haproxy3")]
            fn newer() {
                super::$name($crate::Engines::Newer);
            }
        }
    )+};
}

/// Polls until `done` says yes, at most half of the time: what is waited for needs the processors too. Fails the test
/// after `limit`, naming what it waited for.
#[track_caller]
pub fn until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    loop {
        let asked = Instant::now();
        if done() {
            return;
        }
        assert!(begun.elapsed() < limit, "waited {limit:?} in vain for: {what}");
        std::thread::park_timeout(asked.elapsed().max(Duration::from_millis(10)));
    }
}

/// A test's own world.
pub struct Scene {
    /// Its folder.
    pub dir: PathBuf,
    /// The first three numbers of its addresses, e.g. `127.120.7`.
    pub net: String,
    /// What its servers are.
    pub engines: Engines,
    /// Held as long as the scene lives: no other scene of this machine takes the range.
    _claim: TcpListener,
    children: RefCell<Vec<Child>>,
    next: AtomicU32,
}

impl Scene {
    /// A fresh scene of the machine's own engines; `name` names the folder.
    pub fn new(name: &str) -> Scene {
        Scene::on(Engines::Host, name)
    }

    /// A fresh scene of those engines.
    pub fn on(engines: Engines, name: &str) -> Scene {
        let scenes = demo_dir().join("scenes");
        std::fs::create_dir_all(&scenes).unwrap();
        let dir = scenes.join(format!("{name}-{}-{}", std::process::id(), random()));
        std::fs::create_dir_all(dir.join("credentials")).unwrap();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        let (net, claim) = claim();
        let next = AtomicU32::new(1);
        Scene { dir, net, engines, _claim: claim, children: RefCell::default(), next }
    }

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A path in its folder, as text.
    pub fn text(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// Writes a file into its folder.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// The next address of its range that nobody has.
    pub fn address(&self) -> String {
        format!("{}.{}", self.net, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// A port below the ephemeral ones that belongs to this scene on every address, as its range does.
    pub fn own_port(&self) -> u16 {
        let mut numbers = self.net.split('.').skip(1).filter_map(|n| n.parse::<u16>().ok());
        let (high, low) = (numbers.next().unwrap_or(160), numbers.next().unwrap_or(1));
        9000 + high.saturating_sub(160) * 254 + low
    }

    /// Puts a secret where `cred:NAME` finds it.
    pub fn credential(&self, name: &str, secret: &str) {
        let path = self.dir.join("credentials").join(name);
        std::fs::write(&path, secret).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Its control plane.
    pub fn cloud(&self) -> String {
        format!("sqlite:{}", self.text("site.db"))
    }

    /// A call of one of our tools.
    pub fn tool(&self, name: &str) -> Call {
        let path = tools().join(name);
        assert!(path.is_file(), "{} is not there: run `make build` first", path.display());
        self.call(&path.display().to_string(), name)
    }

    /// A call of a script of the project, e.g. `scripts/upgrade.sh`.
    pub fn script(&self, path: &str) -> Call {
        self.call(&root().join(path).display().to_string(), path)
    }

    /// A call of any program, in the scene's environment.
    pub fn call(&self, program: &str, shown: &str) -> Call {
        let mut command = Command::new(program);
        command.current_dir(&self.dir);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("RS_") {
                command.env_remove(name);
            }
        }
        command.env("RS_CLOUD", self.cloud()).env("RS_CREDENTIALS", self.dir.join("credentials"));
        command.env("RS_DEMO_DIR", demo_dir()).env("NO_COLOR", "1").env("PATH", self.search_path());
        Call {
            command,
            shown: shown.to_owned(),
            stdin: None,
            limit: Duration::from_secs(120),
            gone: false,
        }
    }

    /// Tools first, then the scene's engines, then the others, then the machine.
    pub fn search_path(&self) -> String {
        let here = std::env::var("PATH").unwrap_or_default();
        let newer: String =
            self.engines.folders().iter().map(|folder| format!("{}:", folder.display())).collect();
        format!(
            "{}:{newer}{}:{here}:/usr/sbin:/sbin",
            tools().display(),
            demo_dir().join("engines/bin").display()
        )
    }

    /// A program of the scene's engines, or another.
    pub fn program(&self, name: &str) -> PathBuf {
        let newer = self.engines.folders().into_iter().map(|folder| folder.join(name));
        newer.into_iter().find(|path| path.is_file()).unwrap_or_else(|| program(name))
    }

    /// Starts a server as an unprivileged user and ends it with the scene.
    pub fn serve(&self, program: &Path, args: &[&str]) -> u32 {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("servers.log"))
            .unwrap();
        let mut command = unprivileged(program);
        command
            .args(args)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", program.display()));
        let pid = child.id();
        self.children.borrow_mut().push(child);
        pid
    }

    /// Kills a server that [`Scene::serve`] started, and waits until nothing is left of it.
    pub fn kill(&self, pid: u32) {
        let mut children = self.children.borrow_mut();
        let child = children.iter_mut().find(|child| child.id() == pid).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks a server to end, and waits for it.
    pub fn end(&self, pid: u32) {
        let mut children = self.children.borrow_mut();
        let child = children.iter_mut().find(|child| child.id() == pid).unwrap();
        let signal = rustix::process::Signal::TERM;
        rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
        child.wait().unwrap();
    }

    /// Gives a path in the scene to the user who runs the servers.
    pub fn hand_over(&self, path: &Path) {
        hand_over(path);
    }
}

const NOBODY: u32 = 65_534;
const NOGROUP: u32 = 65_534;

/// Gives a path to the user who runs the servers.
pub fn hand_over(path: &Path) {
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOGROUP)).unwrap();
    }
}

/// A command that runs as an unprivileged user when we are root.
pub fn unprivileged(program: &Path) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOGROUP);
    }
    command
}

/// Four hexadecimal digits that no other scene has just now.
fn random() -> String {
    let mut bytes = [0_u8; 4];
    getrandom::fill(&mut bytes).unwrap();
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A range of addresses: whoever listens on its `.254` port 61000 has it. This process goes on from the last one it
/// had, since listeners in its threads outlive the scene that they were started for.
fn claim() -> (String, TcpListener) {
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| {
        let mut bytes = [0_u8; 2];
        getrandom::fill(&mut bytes).unwrap();
        AtomicU32::new(u32::from(u16::from_le_bytes(bytes)))
    });
    for _ in 0..20_000_u32 {
        let number = NEXT.fetch_add(7, Ordering::Relaxed) % (90 * 254); // 7 meets each of them once a round
        let net = format!("127.{}.{}", 160 + number / 254, 1 + number % 254);
        if let Ok(claim) = TcpListener::bind(format!("{net}.254:61000")) {
            return (net, claim);
        }
    }
    panic!("no address range is free");
}

/// Every process whose environment, working directory or command line names the folder.
pub fn processes_of(dir: &Path) -> Vec<i32> {
    let needle = dir.display().to_string();
    let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
    all.flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok())
        .filter(|pid| *pid != std::process::id() as i32)
        .filter(|pid| {
            let proc = PathBuf::from(format!("/proc/{pid}"));
            let holds = |name: &str| {
                std::fs::read(proc.join(name))
                    .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(&needle))
            };
            let below = std::fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
            below || holds("environ") || holds("cmdline")
        })
        .collect()
}

impl Drop for Scene {
    fn drop(&mut self) {
        let begun = Instant::now();
        loop {
            let left = processes_of(&self.dir);
            if left.is_empty() || begun.elapsed() > Duration::from_secs(20) {
                break;
            }
            for pid in left {
                if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
            for child in self.children.borrow_mut().iter_mut() {
                let _ = child.try_wait();
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        for child in self.children.borrow_mut().iter_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "the scene is kept in {}", self.dir.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
