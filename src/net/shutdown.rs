//! When to stop: the signals that ask a program to end become one token that everything it started listens to.

use std::{fs, io};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first SIGTERM, SIGINT or SIGHUP. From this call on these signals no longer end
/// the process by themselves. A SIGHUP that is ignored stays so: that is what `nohup` is for.
///
/// To be called inside a tokio runtime.
///
/// # Errors
/// The system does not let a signal be caught.
pub fn on_signal() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = match is_ignored(SignalKind::hangup()) {
        true => None,
        false => Some(signal(SignalKind::hangup())?),
    };
    let stop = CancellationToken::new();
    let heard = stop.clone();
    tokio::spawn(async move {
        let hung_up = async {
            match &mut hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = hung_up => "SIGHUP",
        };
        log::info!("{name}: ending");
        heard.cancel();
    });
    Ok(stop)
}

/// Whether whoever started this process had the signal ignored; as Linux tells it, elsewhere no.
fn is_ignored(kind: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored(&status) >> (kind.as_raw_value() - 1) & 1 == 1
}

/// The mask of ignored signals in a `/proc/PID/status`.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        assert_eq!(ignored("SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0\n"), 0x1001);
        assert_eq!(ignored(""), 0);
    }
}
