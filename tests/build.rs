//! Whether the newer engines are there: tests that need them are ignored (and counted as that) where they are not.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(rs_no_engines)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../scripts/setup.sh");
    println!("cargo::rerun-if-env-changed=RS_DEMO_DIR");
    let said = Command::new("../scripts/setup.sh").arg("place").output();
    let place = said.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    let engines = Path::new(&place.unwrap_or_default()).join("engines");
    for name in ["mysql", "haproxy3"] {
        // asked again as long as it is not there
        let done = engines.join(name).join(".done");
        println!("cargo::rerun-if-changed={}", done.display());
        if !done.exists() {
            println!("cargo::rustc-cfg=rs_no_engines");
        }
    }
}
