//! The program `composer`: arguments in, exit code out.

use std::{io, process::ExitCode};

use orchestra::{
    cli::{self, Exit, logging, usage},
    composer, net,
    ui::to_stderr,
};

fn main() -> ExitCode {
    let settings = match cli::composer::settings(std::env::args_os()) {
        Ok(settings) => settings,
        Err(error) => usage::end("composer", error),
    };
    if let Err(error) = logging::start("composer", &settings.log_dir) {
        to_stderr(&error.to_string());
    }
    run(settings)
        .unwrap_or_else(|error| {
            to_stderr(&format!("error: composer cannot start: {error}"));
            Exit::Other
        })
        .into()
}

fn run(settings: cli::composer::Settings) -> io::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let exit = runtime.block_on(async {
        let stop = net::shutdown::on_signal()?;
        Ok(composer::run(settings, stop).await)
    });
    // What was interrupted may still be reading; nothing of it is waited for.
    runtime.shutdown_background();
    exit
}
