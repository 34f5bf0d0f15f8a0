//! Backups and their schedule.

use serde::{Deserialize, Serialize};

use crate::Position;

/// One backup.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Unique in its lineage, sorts by time, e.g. `20261124T141503Z-pre-upgrade`.
    pub id: String,
    /// The lineage: which database set's data it is.
    pub lineage: String,
    /// Label that somebody gave it; a label names at most one snapshot of a lineage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The server that it was read from.
    pub server: String,
    /// Whether that server was the master.
    pub from_master: bool,
    /// When it was complete, RFC 3339 UTC; absent while it is being taken or when it broke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<String>,
    /// Complete and restorable as far as its own files say. Only [`Snapshot::proven_at`] is a proof.
    pub perfect: bool,
    /// Somebody takes it just now; neither this nor `perfect`: it broke half way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub taking: bool,
    /// Never pruned while pinned.
    #[serde(default)]
    pub pinned: bool,
    /// Bytes on disk.
    pub bytes: u64,
    /// The master's position that the data stands for.
    pub position: Position,
    /// When a restore of it was started and answered, RFC 3339 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven_at: Option<String>,
    /// Where it lies, for people.
    pub place: String,
    /// Engine version that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
}

/// The backup schedule of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Whether backups are taken.
    pub enabled: bool,
    /// Minutes from one to the next.
    pub every_minutes: u64,
    /// How many unpinned ones are kept.
    pub keep: u64,
}
