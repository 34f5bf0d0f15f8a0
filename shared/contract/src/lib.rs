//! What the tools need of the world, as traits, and the one [`Error`].
//!
//! Each trait's comment is its contract, checked for every driver by the suite of the same name in tests/contract.
//! Rules for all: reads change nothing; a verb may be repeated, and the second call changes nothing; nothing waits
//! for ever; an error's [`Kind`] tells the caller what it may do.

mod cloud;
mod database;
mod error;
mod families;
mod secret;
mod state;

pub use cloud::{
    Cloud, Launch, Mode, Place, Progress, Retag, RunRequest, RunResult, Target, Work, World,
};
pub use database::{
    Database, MigrationEvent, Privileged, Session, Setting, SilenceFacts, SourceSpec, WritesState,
};
pub use error::{Error, Kind, Result};
pub use families::{
    Alerts, Balancer, Change, Channel, Command, Dns, Endpoint, Listen, Machine, Machines, Output,
    PageSwitch, Snapshots,
};
pub use secret::Secret;
pub use state::{Entry, Expect, Hand, Holder, Lock, Locked, State, Txn, epoch_key, same_epoch};
