//! The charm. Every event runs the same reconciliation: gather [`facts`], compute a [`plan`], which is a pure function,
//! print it, carry its steps out ([`effects`]), and again, until nothing is left to do. What the unit's status says is
//! what the last plan says.
//!
//! A step may be cut off anywhere and done twice. What fails becomes a fact of the next plan, and so a status.

pub mod actions;
pub mod command;
pub mod cos;
pub mod daemon;
pub mod effects;
pub mod event;
pub mod facts;
pub mod files;
pub mod memory;
pub mod options;
pub mod plan;
pub mod pro;
pub mod reconcile;
pub mod relation;
pub mod status;
pub mod tools;
pub mod workload;
