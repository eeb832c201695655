//! The registry's REST API: routes, envelope, authorisation.
