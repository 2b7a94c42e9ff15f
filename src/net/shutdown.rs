//! When to stop: the signals that ask a program to end become one token that everything it started listens to. A program
//! that runs as a service is asked by SIGHUP to read its files again ([`on_signal_or_reload`]).

use std::{
    fs,
    io::{self, IsTerminal},
};

use rustix::termios::tcgetattr;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first SIGTERM, SIGINT or SIGHUP. From this call on these signals no longer end
/// the process by themselves. A SIGHUP that is ignored stays so: that is what `nohup` is for.
///
/// To be called inside a tokio runtime.
///
/// # Errors
/// The system does not let a signal be caught.
pub fn on_signal() -> io::Result<CancellationToken> {
    let hang_up = match is_ignored(SignalKind::hangup()) {
        true => None,
        false => Some(signal(SignalKind::hangup())?),
    };
    stop_on(async move {
        match hang_up {
            Some(mut hang_up) => _ = hang_up.recv().await,
            None => std::future::pending().await,
        }
    })
}

/// As [`on_signal`], but a SIGHUP asks the program to read its files again: the receiver hears of each. It ends the
/// program only if it came from a terminal that is gone.
///
/// # Errors
/// The system does not let a signal be caught.
pub fn on_signal_or_reload() -> io::Result<(CancellationToken, mpsc::Receiver<()>)> {
    let hangs_on = !is_ignored(SignalKind::hangup()) && io::stdin().is_terminal();
    let hang_up = signal(SignalKind::hangup())?;
    // One that waits to be heard stands for all.
    let (asked, reload) = mpsc::channel(1);
    let stop = stop_on(async move { until_terminal_is_gone(hang_up, hangs_on, asked).await })?;
    Ok((stop, reload))
}

/// `hangs_on`: whether the program ends with its terminal.
async fn until_terminal_is_gone(mut hang_up: Signal, hangs_on: bool, asked: mpsc::Sender<()>) {
    while hang_up.recv().await.is_some() {
        if hangs_on && tcgetattr(io::stdin()).is_err() {
            return;
        }
        log::info!("SIGHUP: reading the token file again");
        // It is full while the one before is not heard yet.
        let _ = asked.try_send(());
    }
    std::future::pending().await
}

/// A token that is cancelled by SIGTERM, by SIGINT or once this has happened.
fn stop_on(hung_up: impl Future<Output = ()> + Send + 'static) -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let heard = stop.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            () = hung_up => "SIGHUP",
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
