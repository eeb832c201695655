//! One function a route: it reads what is asked, calls one operation, answers.

mod applications;
mod certificates;
mod dispatch;
mod events;
mod images;
mod maintenance;
mod operations;
mod registry;
mod service;
mod uploads;

pub(crate) use dispatch::handle;
pub(crate) use uploads::{follow_override, say_version};
