//! The three programs as a user starts them: real processes, real files, free ports.

mod catalogue;
mod dht;
mod endings;
mod folders;
mod foreign;
mod hosts;
mod kill;
mod lan;
mod lines;
mod live;
mod magnet;
mod magnet_foreign;
mod main_job;
mod many;
mod network;
mod options;
mod page;
mod paths;
mod redis;
mod resume;
mod room;
mod service;
mod share;
mod stage;
mod support;
mod udp_tracker;
