//! What operators run. An action that fails says so with a sentence, and what it finds can be read by programs.

mod backup;
mod clients;
mod maintenance;
mod run;

pub use backup::finish_restore;
pub use run::run;
