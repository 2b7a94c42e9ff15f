//! `--on-complete`: a program that is told of the whole file.
//!
//! It is started without a shell, so that no file name can become a command. It is not waited for, and goes on when the
//! member ends: whole and verified is what the exit code speaks of.

use std::{
    path::Path,
    process::{Command, Stdio},
    thread,
};

/// The variable in which the program finds the path.
pub const PATH_VARIABLE: &str = "ORCHESTRA_PATH";

/// Starts `program` with `path` as its only argument.
///
/// Its standard output is ours for errors, since ours may carry JSON lines; its standard input is empty.
///
/// # Errors
/// It could not be started; the message names it. That it failed is told to `on_failure`, while this process is there.
pub fn start(program: &Path, path: &Path, on_failure: impl FnOnce(String) + Send + 'static) -> Result<(), String> {
    let child =
        Command::new(program).arg(path).env(PATH_VARIABLE, path).stdin(Stdio::null()).stdout(std::io::stderr()).spawn();
    let mut child = child.map_err(|e| format!("--on-complete: cannot start {}: {e}", program.display()))?;
    let shown = program.display().to_string();
    thread::spawn(move || match child.wait() {
        Ok(status) if status.success() => log::info!("--on-complete: {shown} is done"),
        Ok(status) => on_failure(format!("--on-complete: {shown} failed: {status}")),
        Err(error) => on_failure(format!("--on-complete: {shown}: {error}")),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_started_is_named() {
        let error = start(Path::new("/no/such/program"), Path::new("x"), |_| {}).unwrap_err();
        assert!(error.contains("/no/such/program"), "{error}");
    }
}
