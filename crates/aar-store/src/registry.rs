//! Operations of the registry.
