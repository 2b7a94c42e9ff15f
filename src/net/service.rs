//! What a service manager is told, where one started this program (`NOTIFY_SOCKET`, as systemd has it).
//!
//! Not told: anything else than when it is ready and when it ends. Where nobody listens nothing happens.

use sd_notify::NotifyState;

/// The program does its work from now on.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// The program begins to end.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        log::warn!(
            "the service manager cannot be told ({error}): it is taken for hung, unless its unit says Type=exec"
        );
    }
}
