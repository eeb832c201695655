//! The registry daemon's configuration file, parsed and proved.
