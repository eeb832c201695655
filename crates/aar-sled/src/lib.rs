//! The registry's rebuildable index, in sled.
