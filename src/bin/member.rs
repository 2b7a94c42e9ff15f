//! `member`: arguments in, exit code out.

use std::process::ExitCode;

use orchestra::{
    cli::{
        Exit, logging,
        member::{Settings, settings},
    },
    hashing, member,
    net::shutdown,
    ui::to_stderr,
};

fn main() -> ExitCode {
    let settings = settings(std::env::args_os()).unwrap_or_else(|error| error.exit());
    for note in &settings.notes {
        to_stderr(note);
    }
    if let Err(error) = logging::start("member", &settings.log_dir) {
        to_stderr(&error.to_string());
    }
    log::info!("SHA-1: {}", hashing::backend());
    let exit = run(settings).unwrap_or_else(|error| {
        to_stderr(&format!("member: cannot start: {error}"));
        Exit::Other
    });
    exit.into()
}

fn run(settings: Settings) -> std::io::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let exit = runtime.block_on(async {
        let stop = shutdown::on_signal()?;
        Ok(member::run(settings, stop).await)
    });
    // What still runs on other threads is on its way to the disk or to nobody; it is not waited for.
    runtime.shutdown_background();
    exit
}
