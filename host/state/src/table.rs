//! Keyed in-memory tables: the live state of keyed steps.
