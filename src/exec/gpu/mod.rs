//! The gpu executor.
