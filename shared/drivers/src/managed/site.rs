//! Site files.
