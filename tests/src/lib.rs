//! Harnesses of the end-to-end tests.
