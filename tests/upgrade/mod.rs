//! The scripts: what they say without servers, and the whole upgrade end to end.

mod releases;
mod rehearse;
mod scripts;
mod site;
mod whole;
