//! Time is an argument. Pure code is told what the time is and never asks.

/// Time since the program (or the simulation) started.
pub type Time = std::time::Duration;
