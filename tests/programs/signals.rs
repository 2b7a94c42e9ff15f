//! Which signals ask a program to end.

use std::fs;

use rustix::process::Signal;

/// Not SIGHUP under nohup: who starts the programs there wants them to stay, and they do.
pub fn that_end() -> Vec<Signal> {
    let mut signals = vec![Signal::TERM, Signal::INT];
    signals.extend(a_hang_up_counts().then_some(Signal::HUP));
    signals
}

fn a_hang_up_counts() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|signals| u64::from_str_radix(signals.trim(), 16).ok()).is_none_or(|signals| signals & 1 == 0)
}
