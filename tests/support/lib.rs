//! Scenes for the tests: real servers on loopback addresses of their own, tools and scripts as black boxes.
//!
//! A scene owns a folder and an address range; everything that it started is gone when it is dropped, also when the
//! test failed (a failed test keeps its folder and prints where it is). Nothing here sleeps instead of waiting for
//! a condition: [`until`] polls it, and gives up late and loudly.

#![expect(clippy::unwrap_used, reason = "what cannot be had here fails the test, as it should")]

mod app;
mod balanced;
mod here;
mod mysql;
mod named;
mod ran;
mod scene;
mod servers;
mod session;
mod shell;
mod site;
mod terminal;
mod wire;

pub use app::App;
pub use balanced::{BYPASS, Balanced, CONFIG};
pub use here::Here;
pub use named::Named;
pub use ran::{Call, Ran};
pub use scene::{
    Engines, Scene, demo_dir, processes_of, program, root, tools, unprivileged, until,
};
pub use servers::{Db, Haproxy};
pub use session::Session;
pub use shell::Shell;
pub use site::{Mood, Site};
pub use terminal::Terminal;
pub use wire::Wire;

/// A [`Db`], in tests that know the machine's own engine only.
pub type MariaDb = Db;
