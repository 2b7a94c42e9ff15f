//! The three programs as a user starts them: real processes, real files, free ports.

mod catalogue;
mod endings;
mod foreign;
mod main_job;
mod network;
mod options;
mod resume;
mod support;
