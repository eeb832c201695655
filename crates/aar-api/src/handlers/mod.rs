//! One function a route: it reads what is asked, calls one operation, answers.

mod applications;
mod certificates;
mod dispatch;
mod images;
mod maintenance;
mod operations;
mod registry;
mod service;

pub(crate) use dispatch::handle;
