//! The scripts: what they say without servers, and the whole upgrade end to end.

mod back;
mod emptied;
mod gates;
mod interrupted;
mod named;
mod newer;
mod rehearse;
mod releases;
mod scripts;
mod second_site;
mod secrets;
pub mod site;
pub mod whole;
